/* Requests waiting for a worker. Work items come from a bounded pool, so the queues are bounded
 * together; a device always goes to the same queue and is at most once in a batch. */
#pragma once

#include "api/server.h"
#include "joinserver/deliver.h"
#include "joinserver/metrics.h"

/** How its peer is answered: as the directory said when it asked, which may be replaced since. */
struct join_terms {
    bool mutual_tls;       /* it came over mutual TLS */
    bool tls_to_the_end;   /* its answer leaves over nothing less than TLS, seen from there */
    bool ns_id_is_its_own; /* request.sender_ns_id is one that the peer is known to have */
    /* Of the peer's record (db/directory.h). Both of the first need both of the above. */
    bool allow_plain_keys, app_s_key_plain;
    bool session_key_id_omit;
};

/** One request on its way. Owned by the pool, then by a queue, then by its worker. */
struct join_work {
    struct join_work *next;
    /* Where its answer goes: into the HTTP response, or to the peer's answer URL. */
    struct api_request *http;       /* NULL: answered already, by an acknowledgement */
    struct join_delivery *delivery; /* NULL: in the response */
    int64_t started_us;             /* monotonic: the first byte of the request */
    int64_t queued_us;              /* monotonic: when it began to wait for a worker */
    int64_t deadline_ms;            /* monotonic: no commit is sent after it */
    int64_t peer_id;
    struct join_peer_counts *counts; /* of that peer */
    unsigned n_tries;                /* races lost so far */
    const struct join_message *message;
    struct join_terms terms;
    struct ts002_request request;
    uint8_t fingerprint[JOIN_FINGERPRINT_LEN];
};

struct join_queues;

int join_queues_new(unsigned n_queues, unsigned n_work, struct join_queues **ret);
void join_queues_free(struct join_queues *queues);

/** A free work item for this peer, or NULL when all are in use or the peer has its share of them
 * (answer 503): one peer's flood leaves a quarter of the pool to the others. */
struct join_work *join_work_take(struct join_queues *queues, int64_t peer_id);
void join_work_give(struct join_queues *queues, struct join_work *work);

/** Puts work at the end of its device's queue and wakes that worker. False when the queues are
 * closed: the work is still the caller's. */
bool join_queue_put(struct join_queues *queues, struct join_work *work) MUST_CHECK;
/** Puts work that lost a race back at the front of queue `index`. */
void join_queue_put_back(struct join_queues *queues, unsigned index, struct join_work *work);
/** Waits for work on queue `index` and takes what is waiting, up to `n_max`, each device once. 0
 * when the queues are closed and this one is empty. */
size_t join_queue_take(
    struct join_queues *queues, unsigned index, struct join_work **batch, size_t n_max);
/** Takes every item whose deadline has passed from all queues; returns them as a list. */
struct join_work *join_queue_take_expired(struct join_queues *queues, int64_t now_ms);
/** No more waiting: workers finish what is queued, and end. */
void join_queues_close(struct join_queues *queues);
unsigned join_queues_waiting(struct join_queues *queues);
