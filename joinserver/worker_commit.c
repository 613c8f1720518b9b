/* Step 4 of a join worker: what was planned becomes durable. */
#include "joinserver/worker_steps.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "device/nonce.h"
#include <string.h>
#include <time.h>

#define RESOLVE_PAUSE_NS 50000000 /* between attempts to reach a database that went away */

static void add_commit(struct join_worker *w, struct join_item *item)
{
    const struct join_work *work = item->work;
    const struct ts002_request *q = &work->request;
    struct db_join_commit *c = &w->commits[w->n_commits];

    *c = (struct db_join_commit){
        .dev_eui = q->dev_eui,
        .join_type = q->join_type,
        .proved =
            item->decision.by_session ? w->replies[item->keyd_at].session : DB_JOIN_NONE_PROVED,
        .jump_from = q->join_type == LW_JOIN &&
                             device_nonce_jumps(&item->row.record, &item->row.state, q->dev_nonce)
                         ? item->row.state.last_dev_nonce
                         : DEVICE_NO_NONCE,
        .join_eui = item->row.record.join_eui,
        .air_join_eui = q->frame_join_eui,
        .old_join_nonce = item->row.state.join_nonce,
        .new_join_nonce = item->decision.join_nonce,
        .gate_rev = item->row.state.gate_rev,
        .nonce_epoch = item->row.record.nonce_epoch,
        .counted = device_nonce_is_counted(item->row.record.mac_version),
        .dev_nonce = q->dev_nonce,
        .opt_neg = (q->dl_settings & LW_OPT_NEG) != 0,
        .peer_id = work->peer_id,
        .net_id = q->sender,
        .dev_addr = q->dev_addr,
        .ownership_epoch = item->row.record.ownership_epoch,
        .test_join = item->decision.test_join,
    };
    memcpy(c->fingerprint, work->fingerprint, sizeof(c->fingerprint));
    (void)net_id_format(&q->sender, c->sender_id);
    item->commit_at = (int)w->n_commits++;
}

/* The connection broke while a commit was on its way: only the database knows. Asked on a fresh
 * connection until it answers or the time is up; then the peer is told to try again, and a retry
 * of what was committed after all gets its answer. */
static int resolve(struct join_worker *w)
{
    int64_t give_up_ms = clock_monotonic_ms() + JOIN_RESOLVE_MS;
    int r;

    metric_add(&w->shared->metrics->commits_unknown, (int64_t)w->n_commits);
    log_warn("the result of a commit of %zu joins is unknown: %s", w->n_commits, error_text());
    db_set_deadline(w->db, give_up_ms);
    for (;;) {
        db_drop(w->db);
        r = db_join_resolve(w->db, w->commits, w->n_commits, w->won);
        if (r == 0 || clock_monotonic_ms() >= give_up_ms)
            return r;
        (void)nanosleep(&(struct timespec){.tv_nsec = RESOLVE_PAUSE_NS}, NULL);
    }
}

/* Fills the commits of what is planned, verified and not too late. */
static void plan_commits(struct join_worker *w)
{
    int64_t now_ms;
    bool any = false;
    int r;

    w->n_commits = 0;
    for (size_t i = 0; i < w->n_items; i++)
        any |= w->items[i].decision.act == JOIN_ACT_PLAN && w->items[i].result == JOIN_SUCCESS;
    if (!any)
        return;
    /* Connecting may take its time: done before the clock is looked at, so that nothing is sent
     * late. */
    r = db_join_ready(w->db);
    if (r < 0)
        log_error("joins could not be committed: %s", error_text());
    now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        if (item->decision.act != JOIN_ACT_PLAN || item->result != JOIN_SUCCESS)
            continue;
        if (now_ms >= item->work->deadline_ms)
            join_item_set(item, JOIN_DEADLINE, REFUSAL_LATE_FOR_COMMIT);
        else if (r < 0)
            join_item_set(item, JOIN_UNAVAILABLE, REFUSAL_DATABASE_NO_ANSWER);
        else
            add_commit(w, item);
    }
}

static void lose(struct join_worker *w, struct join_item *item)
{
    secret_wipe(&w->replies[item->keyd_at], sizeof(w->replies[item->keyd_at]));
    metric_add(&w->shared->metrics->races_lost, 1);
    if (++item->work->n_tries < JOIN_TRIES_MAX)
        item->again = true;
    else
        join_item_set(item, JOIN_UNAVAILABLE, REFUSAL_ROW_CHANGED);
}

static void commit_plans(struct join_worker *w)
{
    int r;

    plan_commits(w);
    if (w->n_commits == 0)
        return;
    db_set_deadline(w->db, clock_monotonic_ms() + JOIN_COMMIT_MS);
    r = FAILPOINT(join_before_commit, ERROR_DB);
    if (r == 0)
        r = db_join_commit(w->db, w->commits, w->n_commits, w->won);
    if (r == 0)
        r = FAILPOINT(join_commit_done, ERROR_DB_UNKNOWN);
    if (r == ERROR_DB_UNKNOWN)
        r = resolve(w);
    if (r < 0)
        log_error("joins could not be committed: %s", error_text());
    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        if (item->commit_at < 0)
            continue;
        if (r < 0)
            join_item_set(item, JOIN_UNAVAILABLE, REFUSAL_DATABASE_REFUSED);
        else if (!w->won[item->commit_at])
            lose(w, item);
    }
}

/* A retry commits nothing, but what it repeats must be as durable as the first answer was: the row
 * may be visible while its own commit still waits for a standby. */
static void settle_retries(struct join_worker *w)
{
    bool any = false;

    for (size_t i = 0; i < w->n_items; i++)
        any |= w->items[i].decision.act == JOIN_ACT_RETRY && w->items[i].result == JOIN_SUCCESS;
    if (!any)
        return;
    db_set_deadline(w->db, clock_monotonic_ms() + JOIN_COMMIT_MS);
    if (db_join_settle(w->db) == 0)
        return;
    log_error("a retry could not be settled: %s", error_text());
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].decision.act == JOIN_ACT_RETRY && w->items[i].result == JOIN_SUCCESS)
            join_item_set(&w->items[i], JOIN_UNAVAILABLE, REFUSAL_RETRY_NOT_DURABLE);
}

void join_worker_commit(struct join_worker *w)
{
    commit_plans(w);
    settle_retries(w);
}
