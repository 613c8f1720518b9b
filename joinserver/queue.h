/* Requests waiting for a worker: one queue that all workers take from. Work items come from a
 * bounded pool. What a peer has waiting stands in a lane of its own, and a batch is filled from all
 * lanes in turn: a peer that floods us waits behind itself. A device is in the hands of one worker
 * at a time, and there only once.
 *
 * Any thread may call. */
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

/** One request on its way. Owned by the pool, then by the queue, then by its worker. */
struct join_work {
    struct join_work *next;
    bool in_hand; /* a worker has it */
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

struct join_queue;

/** `n_workers`: threads that call join_queue_take. `max_wait_ms`: see join_work_take; 0: no limit.
 */
int join_queue_new(
    unsigned n_workers, unsigned n_work, unsigned max_wait_ms, struct join_queue **ret);
void join_queue_free(struct join_queue *queue);

/** A free work item for this peer, or NULL (answer 503): when the peer has its share of them
 * (share.h), or when by the pace of the last thousand requests it would wait longer than
 * max_wait_ms. What goes before it is its peer's own and as many of each other's, so the others do
 * not notice who is told to come again. */
struct join_work *join_work_take(struct join_queue *queue, int64_t peer_id);
/** Whether join_work_take would say so now, without taking. */
bool join_queue_has_place(struct join_queue *queue, int64_t peer_id);
/** They are done with. */
void join_work_give(struct join_queue *queue, struct join_work *const *work, size_t n);

/** Puts work at the end of its peer's lane. A worker is woken when none is awake, or when enough
 * wait to be worth another one. False when the queue is closed: the work is still the caller's. */
bool join_queue_put(struct join_queue *queue, struct join_work *work) MUST_CHECK;
/** Puts work that lost a race back at the front of its lane. */
void join_queue_put_back(struct join_queue *queue, struct join_work *work);
/** Waits for work and takes what is waiting, up to `n_max`: one of each lane in turn, none whose
 * device is in the hands of a worker. 0 when the queue is closed and nothing is left for this
 * worker. */
size_t join_queue_take(struct join_queue *queue, struct join_work **batch, size_t n_max);
/** To be called every few milliseconds: takes every item whose deadline has passed, and returns
 * them as a list. Wakes another worker when one waits longer than a batch takes, since the worker
 * that is awake may be stuck in a call. */
struct join_work *join_queue_sweep(struct join_queue *queue, int64_t now_ms);
/** No more waiting: workers finish what is queued, and end. */
void join_queue_close(struct join_queue *queue);
unsigned join_queue_waiting(struct join_queue *queue);
