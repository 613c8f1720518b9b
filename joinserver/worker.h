/* A join worker: one thread, one database connection, one keyd channel. It takes what is waiting,
 * loads, decides, has keyd verify and compute, commits, and answers (docs/architecture.md, "The way
 * of a join"). A worker that is alone with one request waits for nobody. */
#pragma once

#include "hsm/client.h"
#include "joinserver/directory.h"
#include "joinserver/dns.h"
#include "joinserver/forward.h"
#include "joinserver/loop_limit.h"
#include "joinserver/metrics.h"
#include "joinserver/mic_limit.h"
#include "joinserver/queue.h"
#include "joinserver/refusals.h"
#include "joinserver/roaming_refusals.h"
#include <stdatomic.h>

#define JOIN_BATCH_MAX 64     /* measured best at 256 connections; bounded by keyd and db frames */
#define JOIN_DEADLINE_MS 1000 /* from accept to the sending of the commit */
#define JOIN_KEYD_MS 1000   /* for a batch, whatever its deadlines: only a stuck keyd is given up */
#define JOIN_COMMIT_MS 1500 /* for the answer to a commit that was sent */
#define JOIN_RESOLVE_MS 1500 /* how long a commit of unknown result is asked about */
#define JOIN_TRIES_MAX 8     /* races one request may lose */

_Static_assert(JOIN_BATCH_MAX <= KEYD_BATCH_MAX && JOIN_BATCH_MAX <= DB_JOIN_BATCH_MAX,
    "a batch must fit one keyd message and one statement");

#define JOIN_LISTENERS_MAX 3 /* plain, mutual TLS, TLS with a token */

/** What all workers share. Nothing here is owned by a worker. */
struct join_shared {
    struct api_server *servers[JOIN_LISTENERS_MAX];
    _Atomic size_t n_servers; /* of these; raised when one has started */
    struct join_queue *queue;
    struct join_deliveries *deliveries;
    struct join_forwards *forwards;
    struct join_dns *dns;
    struct join_directory_holder *directory;
    struct join_refusals *refusals;
    struct roaming_refusals *roaming_refusals;
    struct join_metrics *metrics;
    struct mic_limit mic_limit;
    struct loop_limit loop_limit;
    struct db_guard *guard; /* of all database connections */
    unsigned retry_window_ms;
    /* Keyd was started so that a peer's record may let session keys out in clear. */
    bool plain_keys;
};

struct join_worker;

/** `conninfo` must outlive the worker. */
int join_worker_start(struct join_shared *shared, const char *conninfo,
    struct keyd_channel *channel, struct join_worker **ret);
/** After join_queue_close: waits until the worker has answered what it had. NULL is fine. */
void join_worker_join(struct join_worker *worker);

/** Records a refusal of what was not looked up: whether its device is here shows when it is
 * written. Not what names no device, or activates none. */
void join_record_unloaded(struct join_shared *shared, const struct join_work *work,
    enum join_result result, const char *reason);

/** Answers a list of work whose time has passed; gives the items back. */
void join_answer_expired(struct join_shared *shared, struct join_work *list);
