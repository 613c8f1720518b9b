/* The steps of a join worker over its present batch, in order; one file each. Inside joinserver/
 * only. */
#pragma once

#include "base/manager.h"
#include "joinserver/worker.h"
#include <pthread.h>

#define JOIN_KEKS_MAX (2 * JOIN_BATCH_MAX)

_Static_assert(KEYD_SESSIONS_MAX == DEVICE_N_SESSIONS, "keyd is shown every session of a device");
_Static_assert(JOIN_KEKS_MAX <= KEYD_KEKS_MAX, "every item may name two KEKs of its own");

/* One request of the present batch. */
struct join_item {
    struct join_work *work;
    struct db_join_row row;
    struct join_decision decision;
    enum join_result result; /* what it will be answered with */
    enum device_refusal reason;
    const struct sealed_kek *ns_kek, *as_kek;
    bool ns_plain, as_plain;             /* in the place of the KEK: in clear */
    struct keyd_app_s_key_reply derived; /* of JOIN_ACT_DERIVE */
    int keyd_at;                         /* index of its keyd request, or -1 */
    int commit_at;                       /* index of its commit, or -1 */
    bool session_failed;                 /* its session could not be loaded */
    bool again;                          /* lost its race: back to the queue */
};

struct join_worker {
    struct join_shared *shared;
    struct db *db;
    struct keyd_channel *channel;
    pthread_t thread;
    struct manager_pulse pulse; /* beats at the beginning of a batch, rests behind it */

    const struct join_directory *directory; /* of the present batch */
    struct join_item items[JOIN_BATCH_MAX];
    size_t n_items;
    struct db_join_key keys[JOIN_BATCH_MAX];
    struct db_join_row rows[JOIN_BATCH_MAX];
    struct keyd_join_request requests[JOIN_BATCH_MAX];
    struct keyd_join_reply replies[JOIN_BATCH_MAX];
    size_t n_requests;
    const struct sealed_kek *keks[JOIN_KEKS_MAX];
    size_t n_keks;
    struct db_join_commit commits[JOIN_BATCH_MAX];
    bool won[JOIN_BATCH_MAX];
    size_t n_commits;
    int64_t plain_logged_ms; /* when it was said last that join.plain_keys is off; 0: never */
    struct text answer;
};

static inline void join_item_set(
    struct join_item *item, enum join_result result, enum device_refusal reason)
{
    item->result = result;
    item->reason = reason;
}

/** Step 1: the rows of all devices. Negative: nothing was loaded. */
int join_worker_load(struct join_worker *w);
/** Step 2: what to do about each, and what keyd is to be asked. */
void join_worker_decide(struct join_worker *w);
/** Step 3: keyd verifies and computes. */
void join_worker_ask_keyd(struct join_worker *w);
/** Step 4: what was planned becomes durable, or is refused or decided again. */
void join_worker_commit(struct join_worker *w);
/** Step 5: answers go out, work is given back, refusals are recorded. */
void join_worker_answer(struct join_worker *w);
