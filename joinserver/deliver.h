/* Answers that are requests of their own: a peer with an answer URL is not answered in the HTTP
 * response but by a POST to that URL (TS002-1.0, asynchronous mode), tried again with growing
 * pauses until it is taken or the answer budget is over. Counted either way.
 *
 * The place of an answer is taken before its request is worked on, so that no answered join is
 * lost to a limit of our own: without a place the request is refused. */
#pragma once

#include "api/client.h"
#include "base/text.h"
#include "db/directory.h"
#include "joinserver/share.h"

/* Of an answer, from the first byte of its request. The device opens RX1 5 s after its uplink (and
 * RX2 6 s after it); deduplication has passed before the request came, and the network server needs
 * some hundreds of milliseconds to have the downlink at the gateway in time. */
#define JOIN_ANSWER_BUDGET_MS 4000
#define JOIN_ANSWER_ATTEMPT_MS                                                                     \
    1500 /* one POST: a peer may have a healthy address beside a sick one */
#define JOIN_ANSWER_ATTEMPT_MIN_MS 50 /* no attempt is begun with less left */
#define JOIN_ANSWER_BACKOFF_MS 100    /* after the first attempt; doubled after each */
#define JOIN_ANSWER_BACKOFF_MAX_MS 1000

struct join_deliveries;
struct join_delivery;

struct join_deliveries_config {
    const char *directory; /* of credentials; must outlive them */
    unsigned max_answers;  /* waiting, all peers together */
    unsigned max_connections;
};

int join_deliveries_open(const struct join_deliveries_config *config, struct join_deliveries **ret);
/** Goes on delivering until `give_up_ms` (monotonic), counts the rest, ends. Every delivery must
 * have been sent or given back, and no more may be taken. NULL is fine. */
void join_deliveries_stop(struct join_deliveries *deliveries, int64_t give_up_ms);

enum join_delivery_take {
    JOIN_DELIVERY_TAKEN = 0,
    JOIN_DELIVERY_FULL = 1,     /* all places are in use, or the peer has its share of them */
    JOIN_DELIVERY_UNUSABLE = 2, /* its URL or its credential; the log says what */
};

/** The place of one answer to this peer. What is not taken is counted. Any thread. */
enum join_delivery_take join_delivery_take(struct join_deliveries *deliveries,
    const struct db_peer *peer, int64_t started_us, struct join_delivery **ret);
/** Gives an unused place back. Any thread. */
void join_delivery_give(struct join_delivery *delivery);
/** The answer is copied and goes its way; the place is given back after it. Any thread. */
void join_delivery_send(struct join_delivery *delivery, const struct text *answer);

/** How long after attempt `n_attempts` (from 1) the next one begins: half of a pause that doubles,
 * and by chance up to the other half. */
int64_t join_delivery_backoff_ms(unsigned n_attempts, uint16_t dice);
/** Whether another attempt may be taken otherwise. */
bool join_delivery_is_final(enum api_post_outcome outcome, unsigned status);

void join_deliveries_metrics(struct join_deliveries *deliveries, struct text *out);
