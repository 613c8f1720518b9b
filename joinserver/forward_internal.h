/* What forward.c and forward_answer.c share. */
#pragma once

#include "base/metrics.h"
#include "joinserver/forward.h"
#include <pthread.h>

struct join_forward {
    struct join_forward *next; /* of a list: the free ones, or those to be ended */
    struct join_forwards *owner;
    uint32_t transaction_id; /* ours: which use of which place */
    /* Under the lock. */
    unsigned n_users; /* who has not answered yet, and the post */
    bool is_answered; /* or about to be, by whoever has made it so */
    bool is_awaiting; /* the answer of an asynchronous partner */
    /* Who asked, and what. */
    struct api_request *http;       /* NULL: acknowledged */
    struct join_delivery *delivery; /* NULL: in the response */
    int64_t peer_id;
    int64_t started_us, taken_ms; /* its first byte, and all of it */
    struct join_terms terms;
    struct ts002_request request;
    char request_id[17];
    struct trace trace;
    struct text asked;
    struct db_join_route route; /* that it goes */
    unsigned n_hops;            /* servers before us */
    /* Who is asked. */
    bool has_place; /* among what is on its way to the partner */
    struct join_partner_place place;
    struct join_partner_key key;
    char name[PEER_ID_MAX + 1];
    struct carry_out out;
    bool is_async, uses_tls;
    int64_t deadline_ms;
    char url[PEER_URL_MAX + 1];
    struct dns_address pinned[FIND_ADDRESSES_MAX];
    size_t n_pinned;
    uint16_t pinned_port;
    const struct api_credential *credential;
    struct text via;
    char traceparent[TRACE_TEXT_LEN + 1];
    struct api_post_header headers[2];
    struct text body;
    struct api_post post;
};

struct join_forwards {
    struct join_forwards_config config;
    char instance[VIA_INSTANCE_MAX + 1];
    struct api_credentials *credentials;
    struct api_client *client;
    struct join_partners *partners;
    pthread_mutex_t lock;
    struct join_forward *free_places;
    unsigned n_begun; /* places that were taken ever; memory of the others is not touched */
    unsigned n_taken, n_awaiting;
    unsigned taken[JOIN_SHARES]; /* by who asked */
    uint32_t n_uses;
    _Atomic int64_t lines_s;  /* the second of the last line about a trace, ... */
    _Atomic unsigned n_lines; /* ... and how many it had */
    struct metric refused[N_JOIN_FORWARD_TAKES];
    struct metric unmatched;
    struct join_forward places[];
};

/** Whoever gets true answers it, with join_forward_answer; nobody else does any more. */
bool join_forward_claim(struct join_forward *forward);
/** Answers who asked, counts, logs, and lets go of it. `text` is the partner's answer as it goes
 * on, which is taken over; NULL: a refusal. `answer`: what it says. */
void join_forward_answer(struct join_forward *forward, enum join_carried outcome, struct text *text,
    const struct carry_answer *answer, const char *why);
/** Counts a request that came to nothing for the operators. */
void join_forwards_refused(struct join_forwards *forwards, const struct ts002_request *request,
    const struct db_join_route *route, const char *outcome, const char *result_code);
/** Judges what the partner said, and answers. The caller has claimed it. */
void join_forward_judge(struct join_forward *forward, const char *body, size_t len);
/** One user less; without any the place is free. */
void join_forward_release(struct join_forward *forward);
/** Whether a line about a trace may be written now. */
bool join_forwards_may_tell(struct join_forwards *forwards, const struct trace *trace);
