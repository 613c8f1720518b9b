#include "joinserver/worker.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "device/nonce.h"
#include "joinserver/mic_limit.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RESOLVE_PAUSE_NS 50000000 /* between attempts to reach a database that went away */
#define KEKS_OF_BATCH_MAX (2 * JOIN_BATCH_MAX)

_Static_assert(KEKS_OF_BATCH_MAX <= KEYD_KEKS_MAX, "every item may name two KEKs of its own");

/* One request of the present batch. */
struct item {
    struct join_work *work;
    struct db_join_row row;
    struct join_decision decision;
    enum join_result result; /* what it will be answered with */
    const char *reason;
    const struct sealed_kek *ns_kek, *as_kek;
    struct keyd_app_s_key_reply derived; /* of JOIN_ACT_DERIVE */
    int keyd_at;                         /* index of its keyd request, or -1 */
    int commit_at;                       /* index of its commit, or -1 */
    bool session_failed;                 /* its session could not be loaded */
    bool again;                          /* lost its race: back to the queue */
};

struct join_worker {
    struct join_shared *shared;
    unsigned index;
    struct db *db;
    struct keyd_channel *channel;
    pthread_t thread;

    const struct join_directory *directory; /* of the present batch */
    struct item items[JOIN_BATCH_MAX];
    size_t n_items;
    struct db_join_key keys[JOIN_BATCH_MAX];
    struct db_join_row rows[JOIN_BATCH_MAX];
    struct keyd_join_request requests[JOIN_BATCH_MAX];
    struct keyd_join_reply replies[JOIN_BATCH_MAX];
    size_t n_requests;
    const struct sealed_kek *keks[KEKS_OF_BATCH_MAX];
    size_t n_keks;
    struct db_join_commit commits[JOIN_BATCH_MAX];
    bool won[JOIN_BATCH_MAX];
    size_t n_commits;
    struct mic_limit mic_limit;
    struct text answer;
};

static void set_result(struct item *item, enum join_result result, const char *reason)
{
    item->result = result;
    item->reason = reason;
}

/* --- step 1: load ---------------------------------------------------------------------------- */

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
static void load_session(struct join_worker *w, struct item *item)
{
    const struct ts002_request *q = &item->work->request;

    if (db_join_session_find(w->db, &q->dev_eui, q->session_join_nonce, &item->row.session) == 0)
        return;
    log_error("a session could not be loaded: %s", error_text());
    item->session_failed = true;
}

static int load(struct join_worker *w)
{
    int r;

    db_set_deadline(w->db, latest_deadline(w));

    for (size_t i = 0; i < w->n_items; i++) {
        w->keys[i].dev_eui = w->items[i].work->request.dev_eui;
        w->keys[i].dev_nonce = w->items[i].work->request.dev_nonce;
    }
    if ((r = db_join_load(w->db, w->keys, w->n_items, w->rows)) < 0)
        return r;
    for (size_t i = 0; i < w->n_items; i++)
        w->items[i].row = w->rows[i];
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].work->message->needs_session)
            load_session(w, &w->items[i]);
    return 0;
}

/* --- step 2: decide -------------------------------------------------------------------------- */

static uint8_t kek_index(struct join_worker *w, const struct sealed_kek *kek)
{
    size_t i = 0;

    if (kek == NULL)
        return KEYD_NO_KEK;
    while (i < w->n_keks && w->keks[i] != kek)
        i++;
    if (i == w->n_keks)
        w->keks[w->n_keks++] = kek;
    return (uint8_t)i;
}

/* A join needs both KEKs: without one there is no answer, never one in clear. */
static void find_keks(struct join_worker *w, struct item *item)
{
    char net_id[NET_ID_TEXT_LEN + 1];

    item->ns_kek = join_directory_kek(
        w->directory, KEK_CLASS_NS, net_id_format(&item->work->request.sender, net_id));
    item->as_kek = join_directory_kek(w->directory, KEK_CLASS_AS, item->row.record.as_id);
    if (item->ns_kek != NULL && item->as_kek != NULL)
        return;
    item->decision = (struct join_decision){.act = JOIN_ACT_VERIFY,
        .result = JOIN_UNAVAILABLE,
        .reason = item->ns_kek == NULL ? "the network server has no KEK"
                                       : "the device's application server has no KEK"};
}

static void add_keyd_request(struct join_worker *w, struct item *item)
{
    const struct ts002_request *q = &item->work->request;
    struct keyd_join_request *r = &w->requests[w->n_requests];

    *r = (struct keyd_join_request){
        .dev_eui = item->row.record.dev_eui,
        .join_eui = item->row.record.join_eui,
        .app = item->row.app,
        .has_nwk = item->row.has_nwk,
        .nwk = item->row.nwk,
        .plan = item->decision.act != JOIN_ACT_VERIFY,
        .ns_kek = KEYD_NO_KEK,
        .as_kek = KEYD_NO_KEK,
    };
    memcpy(r->frame, q->frame, sizeof(q->frame));
    r->frame_len = sizeof(q->frame);
    if (r->plan) {
        r->ns_kek = kek_index(w, item->ns_kek);
        r->as_kek = kek_index(w, item->as_kek);
        r->accept = (struct lw_join_accept){.join_nonce = item->decision.join_nonce,
            .net_id = q->sender,
            .dev_addr = q->dev_addr,
            .dl_settings = q->dl_settings,
            .rx_delay = (uint8_t)q->rx_delay,
            .has_cf_list = q->has_cf_list};
        memcpy(r->accept.cf_list, q->cf_list, sizeof(r->accept.cf_list));
    }
    item->keyd_at = (int)w->n_requests++;
}

/* Without randomness the MIC is checked: a limit must not become a stop. */
static bool is_spared(struct join_worker *w, const struct item *item, int64_t now_ms)
{
    uint8_t dice;

    return mic_limit_is_reached(&w->mic_limit, &item->work->request.dev_eui, now_ms) &&
           random_bytes(&dice, sizeof(dice)) == 0 && dice % MIC_CHECK_ONE_IN != 0;
}

/* Session keys for the application server alone. */
static void find_as_kek(struct join_worker *w, struct item *item)
{
    item->as_kek = join_directory_kek(w->directory, KEK_CLASS_AS, item->row.record.as_id);
    if (item->as_kek == NULL)
        item->decision = (struct join_decision){.act = JOIN_ACT_TELL,
            .result = JOIN_UNAVAILABLE,
            .reason = "the device's application server has no KEK"};
}

/* Whether there is a frame to verify. */
static bool needs_mic(const struct join_decision *decision)
{
    return decision->act == JOIN_ACT_PLAN || decision->act == JOIN_ACT_RETRY ||
           decision->act == JOIN_ACT_VERIFY;
}

static void decide(struct join_worker *w)
{
    int64_t now_ms = clock_monotonic_ms();

    w->n_requests = 0;
    w->n_keks = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];

        if (now_ms >= item->work->deadline_ms) {
            item->decision = (struct join_decision){.act = JOIN_ACT_HIDE};
            set_result(item, JOIN_DEADLINE, "the deadline passed before the key was opened");
            continue;
        }
        if (item->session_failed) {
            item->decision = (struct join_decision){.act = JOIN_ACT_HIDE};
            set_result(item, JOIN_UNAVAILABLE, "the database did not answer");
            continue;
        }
        item->decision = item->work->message->decide(
            &item->row, &item->work->request, item->work->fingerprint, w->shared->retry_window_ms);
        if (needs_mic(&item->decision) && is_spared(w, item, now_ms)) {
            metric_add(&w->shared->metrics->mic_unchecked, 1);
            item->decision = (struct join_decision){.act = JOIN_ACT_HIDE,
                .result = JOIN_MIC_FAILED,
                .reason = "not checked: too many wrong MICs within a minute"};
        }
        if (item->decision.act == JOIN_ACT_PLAN || item->decision.act == JOIN_ACT_RETRY)
            find_keks(w, item);
        if (item->decision.act == JOIN_ACT_DERIVE)
            find_as_kek(w, item);
        set_result(item, item->decision.result, item->decision.reason);
        if (needs_mic(&item->decision))
            add_keyd_request(w, item);
    }
}

/* --- step 3: keyd ---------------------------------------------------------------------------- */

static void take_keyd_status(struct join_worker *w, struct item *item, enum keyd_status status)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    switch (status) {
    case KEYD_OK:
        return;
    case KEYD_MIC_FAILED:
        set_result(item, JOIN_MIC_FAILED, "the MIC is wrong");
        mic_limit_failed(&w->mic_limit, &item->work->request.dev_eui, clock_monotonic_ms());
        return;
    case KEYD_TAG_REFUSED:
    case KEYD_KEK_TAG_REFUSED:
    case KEYD_KEK_UNKNOWN:
        /* Somebody wrote to the database what keyd never sealed, or the token is another one. */
        metric_add(&w->shared->metrics->sealed_refused, 1);
        log_error("keyd refused a sealed key dev_eui=%s status=\"%s\"",
            eui64_format(&item->work->request.dev_eui, dev_eui), keyd_status_text(status));
        set_result(item, JOIN_UNAVAILABLE, keyd_status_text(status));
        return;
    case KEYD_BAD_INPUT:
    case KEYD_HSM_FAILED:
        set_result(item, JOIN_UNAVAILABLE, keyd_status_text(status));
        return;
    }
    set_result(item, JOIN_UNAVAILABLE, "keyd gave an unknown status");
}

/* They are few: each is a message of its own. */
static void derive_app_s_keys(struct join_worker *w)
{
    int64_t deadline_ms = clock_monotonic_ms() + JOIN_KEYD_MS;

    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];
        const struct db_join_row *row = &item->row;
        struct keyd_app_s_key_request q = {.dev_eui = row->record.dev_eui,
            .join_eui = row->record.join_eui,
            .app = row->app,
            .has_nwk = row->has_nwk,
            .nwk = row->nwk,
            .opt_neg = row->session.opt_neg,
            .join_nonce = item->decision.join_nonce,
            .nonce = row->session.dev_nonce,
            .net_id = row->session.net_id};

        if (item->decision.act != JOIN_ACT_DERIVE)
            continue;
        if (keyd_derive_app_s_key(w->channel, item->as_kek, &q, &item->derived, deadline_ms) < 0) {
            log_error("keyd did not answer: %s", error_text());
            set_result(item, JOIN_UNAVAILABLE, "the key process did not answer");
        } else {
            take_keyd_status(w, item, item->derived.status);
        }
    }
}

static void ask_keyd(struct join_worker *w)
{
    int r = 0;

    if (w->n_requests == 0)
        return;
    r = keyd_answer_joins(w->channel, w->keks, w->n_keks, w->requests, w->n_requests, w->replies,
        clock_monotonic_ms() + JOIN_KEYD_MS);
    if (r < 0)
        log_error("keyd did not answer: %s", error_text());
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];

        if (item->keyd_at < 0)
            continue;
        if (r < 0)
            set_result(item, JOIN_UNAVAILABLE, "the key process did not answer");
        else
            take_keyd_status(w, item, w->replies[item->keyd_at].status);
    }
}

/* --- step 4: commit -------------------------------------------------------------------------- */

static void add_commit(struct join_worker *w, struct item *item)
{
    const struct join_work *work = item->work;
    const struct ts002_request *q = &work->request;
    struct db_join_commit *c = &w->commits[w->n_commits];

    *c = (struct db_join_commit){
        .dev_eui = q->dev_eui,
        .join_eui = item->row.record.join_eui,
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
        struct item *item = &w->items[i];

        if (item->decision.act != JOIN_ACT_PLAN || item->result != JOIN_SUCCESS)
            continue;
        if (now_ms >= item->work->deadline_ms)
            set_result(item, JOIN_DEADLINE, "the deadline passed before the commit");
        else if (r < 0)
            set_result(item, JOIN_UNAVAILABLE, "the database did not answer");
        else
            add_commit(w, item);
    }
}

static void lose(struct join_worker *w, struct item *item)
{
    secret_wipe(&w->replies[item->keyd_at], sizeof(w->replies[item->keyd_at]));
    metric_add(&w->shared->metrics->races_lost, 1);
    if (++item->work->n_tries < JOIN_TRIES_MAX)
        item->again = true;
    else
        set_result(item, JOIN_UNAVAILABLE, "the device's row changed at every try");
}

static void commit(struct join_worker *w)
{
    int r;

    plan_commits(w);
    if (w->n_commits == 0)
        return;
    db_set_deadline(w->db, clock_monotonic_ms() + JOIN_COMMIT_MS);
    r = db_join_commit(w->db, w->commits, w->n_commits, w->won);
    if (r == ERROR_DB_UNKNOWN)
        r = resolve(w);
    if (r < 0)
        log_error("joins could not be committed: %s", error_text());
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];

        if (item->commit_at < 0)
            continue;
        if (r < 0)
            set_result(item, JOIN_UNAVAILABLE, "the database did not take the join");
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
            set_result(&w->items[i], JOIN_UNAVAILABLE, "the join it repeats is not durable yet");
}

/* --- step 5: answer -------------------------------------------------------------------------- */

static void record_refusal(struct join_worker *w, const struct item *item)
{
    struct db_join_refusal refusal = {.dev_eui = item->row.record.dev_eui,
        .join_eui = item->work->request.frame_join_eui,
        .dev_nonce = item->work->request.dev_nonce,
        .peer_id = item->work->peer_id,
        .ownership_epoch = item->row.record.ownership_epoch};

    /* Nobody is entitled to know about a device that is not here. */
    if (!item->row.found || !item->work->message->activates)
        return;
    (void)snprintf(
        refusal.outcome, sizeof(refusal.outcome), "%s", join_result_row(item->result)->outcome);
    (void)snprintf(
        refusal.reason, sizeof(refusal.reason), "%s", item->reason != NULL ? item->reason : "");
    (void)net_id_format(&item->work->request.sender, refusal.sender_id);
    if (!join_refusals_add(w->shared->refusals, &refusal))
        metric_add(&w->shared->metrics->refusals_dropped, 1);
}

static void count_answer(
    struct join_shared *shared, const struct join_work *work, enum join_result result)
{
    join_metrics_count(shared->metrics, work->message, result);
    metric_observe_us(
        &shared->metrics->latency, clock_monotonic_us() - api_request_started_us(work->http));
}

/* Half an answer would be worse than none: without memory for the text the peer is told to retry.
 */
static void send_text(struct join_work *work, const struct text *text)
{
    if (text->failed)
        api_answer(work->http, 503, NULL, NULL, 0);
    else
        api_answer(work->http, 200, "application/json", text->data, text->len);
}

static void answer_refusal(
    struct join_shared *shared, struct text *text, struct join_work *work, enum join_result result)
{
    text_clear(text);
    ts002_write_refusal(text, &work->request, result, NULL);
    send_text(work, text);
    count_answer(shared, work, result);
}

static void answer_success(struct join_worker *w, struct item *item)
{
    struct join_answer from = {.row = &item->row, .join_nonce = item->decision.join_nonce};

    if (item->keyd_at >= 0) {
        from.reply = &w->replies[item->keyd_at];
        from.ns_kek_label = item->ns_kek->label;
        from.as_kek_label = item->as_kek->label;
    } else if (item->decision.act == JOIN_ACT_DERIVE) {
        from.app_s_key = &item->derived.app_s_key;
        from.as_kek_label = item->as_kek->label;
    }
    text_clear(&w->answer);
    item->work->message->write(&w->answer, &item->work->request, &from);
    send_text(item->work, &w->answer);
    count_answer(w->shared, item->work, JOIN_SUCCESS);
    if (item->decision.act == JOIN_ACT_RETRY)
        metric_add(&w->shared->metrics->retries, 1);
}

static void answer(struct join_worker *w)
{
    struct api_request *done[JOIN_BATCH_MAX];
    size_t n_done = 0;

    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];

        if (item->again) {
            join_queue_put_back(w->shared->queues, w->index, item->work);
            continue;
        }
        if (item->result == JOIN_SUCCESS)
            answer_success(w, item);
        else
            answer_refusal(w->shared, &w->answer, item->work, item->result);
        done[n_done++] = item->work->http;
    }
    api_give_back(done, n_done);
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];

        if (item->again)
            continue;
        if (item->result != JOIN_SUCCESS)
            record_refusal(w, item);
        secret_wipe(&item->derived, sizeof(item->derived));
        join_work_give(w->shared->queues, item->work);
    }
    secret_wipe(w->replies, w->n_requests * sizeof(w->replies[0]));
}

static void work_batch(struct join_worker *w, struct join_work *const *batch, size_t n)
{
    w->n_items = n;
    w->n_requests = 0;
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
    if (load(w) < 0) {
        log_error("devices could not be loaded: %s", error_text());
        for (size_t i = 0; i < n; i++) {
            w->items[i].decision = (struct join_decision){.act = JOIN_ACT_HIDE};
            set_result(&w->items[i], JOIN_UNAVAILABLE, "the database did not answer");
        }
    } else {
        decide(w);
        ask_keyd(w);
        derive_app_s_keys(w);
        commit(w);
        settle_retries(w);
    }
    answer(w);
    join_directory_release(w->shared->directory, w->directory);
}

static void *run(void *arg)
{
    struct join_worker *w = arg;
    struct join_work *batch[JOIN_BATCH_MAX];
    size_t n;

    while ((n = join_queue_take(w->shared->queues, w->index, batch, JOIN_BATCH_MAX)) > 0)
        work_batch(w, batch, n);
    return NULL;
}

int join_worker_start(struct join_shared *shared, unsigned index, const char *conninfo,
    struct keyd_channel *channel, struct join_worker **ret)
{
    struct join_worker *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a join worker");
    w->shared = shared;
    w->index = index;
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

void join_answer_expired(struct join_shared *shared, struct join_work *list)
{
    struct text text = {0};

    while (list != NULL) {
        struct join_work *work = list;

        list = work->next;
        answer_refusal(shared, &text, work, JOIN_DEADLINE);
        api_give_back(&work->http, 1);
        join_work_give(shared->queues, work);
    }
    text_done(&text);
}
