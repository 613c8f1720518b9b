/* Requests that another join server answers: carried to a partner, and its answer carried back
 * (docs/architecture.md, "The way of a carried request"). Each has a place here from its reading to
 * its answer, which comes in the HTTP response or, of an asynchronous partner, as a request of its
 * own; a place is never waited for, and local joins wait for none of it.
 *
 * A request is sent once: it may have spent a nonce. What a partner says is believed only where it
 * fits the request (carry.h); it may hold keys, so it is wiped and never logged. */
#pragma once

#include "api/find_steps.h"
#include "joinserver/partners.h"
#include "joinserver/queue.h"
#include "joinserver/roaming_refusals.h"
#include "joinserver/trace.h"

#define JOIN_FORWARD_ANSWER_MAX 16384 /* bytes of a partner's answer */
#define JOIN_FORWARDS_MAX 65535       /* places: their number is part of a TransactionID */
#define JOIN_TRACE_LINES_PER_S 50     /* of requests whose sender wants them recorded */
/* What a partner has at most where its answer goes to the requester's answer URL: the rest of
 * JOIN_ANSWER_BUDGET_MS is for that. */
#define JOIN_FORWARD_DELIVERED_MS 3000
/* A hub has so much less for each server before it, so that its refusal for a partner that hangs is
 * there before these give up the hub, and leave it alone with all that is behind it. */
#define JOIN_FORWARD_HOP_MS 250

struct join_forwards;
struct join_forward;

/** What of a request that came to nothing is kept for operators; counted by route, so that no
 * requester makes a row, and without any device. */
struct join_carried_refusals {
    struct roaming_refusals *table; /* NULL: nothing is kept */
    struct metric *dropped;         /* counts what it had no room for */
};

struct join_forwards_config {
    struct join_carried_refusals refusals;
    const char *directory; /* of credentials */
    const char *instance;  /* "": a random one */
    unsigned max_hops;     /* servers that a request may have passed before */
    unsigned max_requests; /* on their way at once, to all partners */
};

/** The texts must outlive them. */
int join_forwards_open(const struct join_forwards_config *config, struct join_forwards **ret);
/** What is on its way goes on until `give_up_ms` (monotonic), and is refused then; so is, from then
 * on, what is taken nevertheless. NULL is fine. */
void join_forwards_stop(struct join_forwards *forwards, int64_t give_up_ms);
/** When no request can come any more. */
void join_forwards_free(struct join_forwards *forwards);

enum join_forward_take {
    JOIN_FORWARD_TAKEN,
    JOIN_FORWARD_LOOP,     /* it has been here before */
    JOIN_FORWARD_TOO_FAR,  /* it has passed too many servers */
    JOIN_FORWARD_FULL,     /* all places are taken, or the requester has its share of them */
    JOIN_FORWARD_INTERNAL, /* no memory */
    N_JOIN_FORWARD_TAKES
};

/** A place for the request, which was read into `work` and checked, whose sender may say so, and
 * which goes the way of `route`.
 * What it needs of both is copied; `work` is the caller's again, without its delivery. When it is
 * taken, the request must be deferred, or acknowledged where there is a delivery, and then sent or
 * ended. What is not taken is counted, and told to operators. On the HTTP server's thread. */
enum join_forward_take join_forward_take(struct join_forwards *forwards,
    struct api_request *request, const struct join_work *work, const struct db_join_route *route,
    struct join_forward **ret);

/** How long a partner's answer is waited for, of the time that its record gives it: less behind
 * other servers, but half at least; and no longer than it can be delivered. */
unsigned join_forward_time_ms(unsigned timeout_ms, unsigned n_hops, bool is_delivered);

/** Where a request is carried. */
struct join_target {
    struct join_partner_key key;
    const char *url;
    const char *credential; /* "": none */
    enum ts002_version version;
    bool is_async;
    unsigned timeout_ms; /* from the request's last byte: a slow requester takes none of it */
    const struct dns_address *pinned; /* of one that DNS named: connects to these alone */
    size_t n_pinned;                  /* at most FIND_ADDRESSES_MAX */
    uint16_t pinned_port;
};

/** That of a partner of the directory; its texts are the partner's. */
struct join_target join_target_of(const struct db_partner *partner);

/** Sends it on, unless that cannot be: it is answered either way. The texts are copied. Any
 * thread; the caller has nothing more to do with the forward. */
void join_forward_send(struct join_forward *forward, const struct join_target *target);
/** There is no such target: it is answered with a refusal. `why` is for the log. Any thread. */
void join_forward_end(struct join_forward *forward, enum join_carried outcome, const char *why);

/** An answer that came as a request of its own, from this partner. False: nothing of it waits under
 * this TransactionID; it is counted. Any thread. */
bool join_forwards_answered(
    struct join_forwards *forwards, int64_t partner_id, const char *body, size_t len);

/** To be called every few milliseconds: refuses what an asynchronous partner has not answered. */
void join_forwards_sweep(struct join_forwards *forwards, int64_t now_ms);
/** Requests that wait for the answer of an asynchronous partner. */
unsigned join_forwards_awaiting(struct join_forwards *forwards);

/** Says in the log that a request has come, with its trace, where its sender wants it recorded. */
void join_forwards_note(struct join_forwards *forwards, const struct api_request *request,
    const struct ts002_request *message, int64_t peer_id);

/** Of the partners of the directory. */
void join_forwards_metrics(
    struct join_forwards *forwards, const struct join_directory *directory, struct text *out);
