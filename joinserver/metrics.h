/* What the join server counts, and how it tells it to Prometheus. */
#pragma once

#include "base/metrics.h"
#include "db/directory.h"
#include "joinserver/message.h"
#include <pthread.h>

/** Where the time of a request goes, in its order. */
enum join_stage {
    JOIN_STAGE_QUEUE,  /* waiting for a worker */
    JOIN_STAGE_LOAD,   /* step 1 */
    JOIN_STAGE_KEYD,   /* steps 2 and 3, of what keyd was asked */
    JOIN_STAGE_COMMIT, /* step 4, of what was planned */
    JOIN_STAGE_ANSWER, /* step 5 */
    N_JOIN_STAGES
};

/** What may run out for a device. */
enum join_counter { JOIN_COUNTER_JOIN_NONCE, JOIN_COUNTER_DEV_NONCE, N_JOIN_COUNTERS };

#define JOIN_METRIC_PEERS_MAX 256 /* peers counted apart; the others together */

struct join_peer_counts {
    _Atomic int64_t peer_id; /* 0: free */
    char *labels;            /* on the heap, of a peer's name as Prometheus takes it */
    struct metric answers[N_JOIN_RESULTS];
};

struct join_metrics {
    struct metric answers[N_JOIN_SERIES][N_JOIN_RESULTS];     /* ..._requests_total{outcome=...} */
    struct join_peer_counts peers[JOIN_METRIC_PEERS_MAX + 1]; /* the last: all others */
    pthread_mutex_t peers_lock;                               /* to claim a free one */
    struct metric notifications;
    struct metric mic_unchecked;
    struct metric shed;
    struct metric retries, races_lost, batches, refusals_dropped, commits_unknown, sealed_refused,
        roaming_refusals_dropped;
    struct metric nonces_low[N_JOIN_COUNTERS];
    struct metric dev_nonce_jumps;
    struct metric first_joins;
    struct metric_histogram latency;
    struct metric_histogram stages[N_JOIN_STAGES];
};

void join_metrics_init(struct join_metrics *metrics);
void join_metrics_done(struct join_metrics *metrics);
void join_metrics_write(struct join_metrics *metrics, struct text *out);

/** Where this peer's answers are counted. Any thread; valid as long as the metrics. */
struct join_peer_counts *join_metrics_peer(
    struct join_metrics *metrics, const struct db_peer *peer);
/** Counts an answer. `message` NULL: refused before it was known to be anything but a JoinReq. */
void join_metrics_count(struct join_metrics *metrics, const struct join_message *message,
    struct join_peer_counts *counts, enum join_result result);
