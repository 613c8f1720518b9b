#include "joinserver/worker_steps.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include <stdlib.h>

/* Until the last request of the batch is too late. */
static int64_t latest_deadline(const struct join_worker *w)
{
    int64_t latest = 0;

    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].work->deadline_ms > latest)
            latest = w->items[i].work->deadline_ms;
    return latest;
}

/* Whatever the device is: that it is unknown must not be told by the time it takes. A failure is
 * this item's alone. */
static void load_session(struct join_worker *w, struct join_item *item)
{
    const struct ts002_request *q = &item->work->request;

    if (db_join_session_find(w->db, &q->dev_eui, q->session_join_nonce, &item->row.session) == 0)
        return;
    log_error("a session could not be loaded: %s", error_text());
    item->session_failed = true;
}

int join_worker_load(struct join_worker *w)
{
    int r;

    db_set_deadline(w->db, latest_deadline(w));

    for (size_t i = 0; i < w->n_items; i++) {
        w->keys[i].dev_eui = w->items[i].work->request.dev_eui;
        w->keys[i].dev_nonce = w->items[i].work->request.dev_nonce;
    }
    if ((r = FAILPOINT(join_before_load, ERROR_DB)) < 0 ||
        (r = db_join_load(w->db, w->keys, w->n_items, w->rows)) < 0 ||
        (r = FAILPOINT(join_loaded, ERROR_DB)) < 0)
        return r;
    for (size_t i = 0; i < w->n_items; i++)
        w->items[i].row = w->rows[i];
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].work->message->needs_session)
            load_session(w, &w->items[i]);
    return 0;
}

/* A batch's time at a stage, for each request that took part in it. Returns the present. */
static int64_t observe(struct join_worker *w, enum join_stage stage, int64_t since_us, size_t n)
{
    int64_t now_us = clock_monotonic_us();

    for (size_t i = 0; i < n; i++)
        metric_observe_us(&w->shared->metrics->stages[stage], now_us - since_us);
    return now_us;
}

static int64_t observe_queue(struct join_worker *w)
{
    int64_t now_us = clock_monotonic_us();

    for (size_t i = 0; i < w->n_items; i++)
        metric_observe_us(
            &w->shared->metrics->stages[JOIN_STAGE_QUEUE], now_us - w->items[i].work->queued_us);
    return now_us;
}

/* A retry is no join, and who lost a race has not joined yet. */
static void count_accepted(struct join_worker *w)
{
    int64_t now_ms = clock_monotonic_ms();

    for (size_t i = 0; i < w->n_items; i++) {
        const struct join_item *item = &w->items[i];
        const struct join_work *work = item->work;

        if (item->decision.act == JOIN_ACT_PLAN && item->result == JOIN_SUCCESS && !item->again)
            loop_limit_joined(&w->shared->loop_limit, &work->request.dev_eui, work->peer_id,
                work->fingerprint, now_ms);
    }
}

static void work_batch(struct join_worker *w, struct join_work *const *batch, size_t n)
{
    int64_t at_us;
    int r;

    w->n_items = n;
    w->n_requests = 0;
    w->n_commits = 0;
    for (size_t i = 0; i < n; i++) {
        w->items[i].work = batch[i];
        w->items[i].row.found = false;
        w->items[i].keyd_at = -1;
        w->items[i].commit_at = -1;
        w->items[i].session_failed = false;
        w->items[i].again = false;
    }
    metric_add(&w->shared->metrics->batches, 1);
    w->directory = join_directory_acquire(w->shared->directory);
    at_us = observe_queue(w);
    r = join_worker_load(w);
    at_us = observe(w, JOIN_STAGE_LOAD, at_us, n);
    if (r < 0) {
        log_error("devices could not be loaded: %s", error_text());
        for (size_t i = 0; i < n; i++) {
            w->items[i].decision = (struct join_decision){.act = JOIN_ACT_HIDE};
            join_item_set(&w->items[i], JOIN_UNAVAILABLE, REFUSAL_DATABASE_NO_ANSWER);
        }
    } else {
        join_worker_decide(w);
        join_worker_ask_keyd(w);
        at_us = observe(w, JOIN_STAGE_KEYD, at_us, w->n_requests);
        join_worker_commit(w);
        count_accepted(w);
        at_us = observe(w, JOIN_STAGE_COMMIT, at_us, w->n_commits);
    }
    join_worker_answer(w);
    (void)observe(w, JOIN_STAGE_ANSWER, at_us, n);
    join_directory_release(w->shared->directory, w->directory);
}

static void *run(void *arg)
{
    struct join_worker *w = arg;
    struct join_work *batch[JOIN_BATCH_MAX];
    size_t n;

    while ((n = join_queue_take(w->shared->queue, batch, JOIN_BATCH_MAX)) > 0)
        work_batch(w, batch, n);
    return NULL;
}

int join_worker_start(struct join_shared *shared, const char *conninfo,
    struct keyd_channel *channel, struct join_worker **ret)
{
    struct join_worker *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a join worker");
    w->shared = shared;
    w->channel = channel;
    r = db_open(
        &(struct db_config){
            .conninfo = conninfo, .program = "cradle-joinserver", .statement_ms = JOIN_DEADLINE_MS},
        &w->db);
    if (r == 0 && pthread_create(&w->thread, NULL, run, w) != 0)
        r = error_set(ERROR_SYSTEM, "cannot start a thread for a join worker");
    if (r < 0) {
        db_close(w->db);
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void join_worker_join(struct join_worker *w)
{
    if (w == NULL)
        return;
    (void)pthread_join(w->thread, NULL);
    db_close(w->db);
    text_done(&w->answer);
    free(w);
}
