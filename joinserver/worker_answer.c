/* Step 5 of a join worker: answers, and the record of refusals. */
#include "joinserver/worker_steps.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "device/nonce.h"
#include <stdio.h>

#define ANSWER_MAX 4096 /* bytes; more than any answer with keys has */

/* The words and the sender; then into the ring. */
static void keep_refusal(struct join_shared *shared, struct db_join_refusal *refusal,
    const struct join_work *work, enum join_result result, const char *reason)
{
    (void)snprintf(
        refusal->outcome, sizeof(refusal->outcome), "%s", join_result_row(result)->outcome);
    (void)snprintf(refusal->reason, sizeof(refusal->reason), "%s", reason != NULL ? reason : "");
    (void)net_id_format(&work->request.sender, refusal->sender_id);
    refusal->refused_ms = clock_monotonic_ms();
    if (!join_refusals_add(shared->refusals, refusal))
        metric_add(&shared->metrics->refusals_dropped, 1);
}

/* What another network than the home one is refused counts for itself. */
static void count_roaming(struct join_worker *w, const struct join_item *item)
{
    const struct device_record *d = &item->row.record;
    struct db_roaming_refused refused = {.dev_eui = d->dev_eui,
        .ownership_epoch = d->ownership_epoch,
        .home = d->home_net_id,
        .sender = item->work->request.sender,
        .what = item->work->message->away,
        .n = 1};

    if (!item->row.found || !d->has_home_net_id || refused.what == 0 ||
        !roaming_reason_of(item->reason, &refused.reason))
        return;
    refused.first_ms = refused.last_ms = clock_monotonic_ms();
    if (!roaming_refusals_add(w->shared->roaming_refusals, &refused))
        metric_add(&w->shared->metrics->roaming_refusals_dropped, 1);
}

static void record_refusal(struct join_worker *w, const struct join_item *item)
{
    struct db_join_refusal refusal = {.dev_eui = item->row.record.dev_eui,
        .join_eui = item->work->request.frame_join_eui,
        .join_type = item->work->request.join_type,
        .dev_nonce = item->work->request.dev_nonce,
        .peer_id = item->work->peer_id,
        .was_loaded = true,
        .ownership_epoch = item->row.record.ownership_epoch};

    count_roaming(w, item);
    /* Nobody is entitled to know about a device that is not here. */
    if (!item->row.found || !item->work->message->activates)
        return;
    keep_refusal(
        w->shared, &refusal, item->work, item->result, device_refusal_reason(item->reason));
}

void join_record_unloaded(struct join_shared *shared, const struct join_work *work,
    enum join_result result, const char *reason)
{
    struct db_join_refusal refusal = {.dev_eui = work->request.dev_eui,
        .join_eui = work->request.frame_join_eui,
        .join_type = work->request.join_type,
        .dev_nonce = work->request.dev_nonce,
        .peer_id = work->peer_id};

    if (work->message != NULL && work->message->activates && work->request.has_dev_eui)
        keep_refusal(shared, &refusal, work, result, reason);
}

static void count_answer(
    struct join_shared *shared, const struct join_work *work, enum join_result result)
{
    join_metrics_count(shared->metrics, work->message, work->counts, result);
    metric_observe_us(&shared->metrics->latency, clock_monotonic_us() - work->started_us);
}

/* Half an answer would be worse than none: without memory for the text the peer is told to retry.
 */
static void send_text(struct join_work *work, const struct text *text)
{
    if (work->delivery != NULL)
        join_delivery_send(work->delivery, text);
    else if (text->failed)
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

/* What somebody should look at before it becomes a refusal. */
static void count_joined(struct join_metrics *m, const struct join_item *item)
{
    const struct ts002_request *q = &item->work->request;
    bool is_join = q->join_type == LW_JOIN;

    if (device_join_nonces_low(item->decision.join_nonce))
        metric_add(&m->nonces_low[JOIN_COUNTER_JOIN_NONCE], 1);
    if (is_join &&
        device_dev_nonces_low(&item->row.record, q->dev_nonce, item->decision.join_nonce))
        metric_add(&m->nonces_low[JOIN_COUNTER_DEV_NONCE], 1);
    if (is_join && device_nonce_jumps(&item->row.record, &item->row.state, q->dev_nonce))
        metric_add(&m->dev_nonce_jumps, 1);
}

static void answer_success(struct join_worker *w, struct join_item *item)
{
    struct join_answer from = {.row = &item->row,
        .join_nonce = item->decision.join_nonce,
        .session_key_id_omit = item->work->terms.session_key_id_omit};
    struct eui64 home_ns_id;

    if (item->keyd_at >= 0) {
        from.reply = &w->replies[item->keyd_at];
        from.ns_kek_label = item->ns_plain ? NULL : item->ns_kek->label;
        from.as_kek_label = item->as_plain ? NULL : item->as_kek->label;
    } else if (item->decision.act == JOIN_ACT_DERIVE) {
        from.app_s_key = &item->derived.app_s_key;
        from.as_kek_label = item->as_plain ? NULL : item->as_kek->label;
    } else if (join_directory_only_ns_id(
                   w->directory, &item->row.record.home_net_id, &home_ns_id)) {
        from.home_ns_id = &home_ns_id;
    }
    text_clear(&w->answer);
    text_reserve(&w->answer, ANSWER_MAX);
    item->work->message->write(&w->answer, &item->work->request, &from);
    send_text(item->work, &w->answer);
    secret_wipe(w->answer.data, w->answer.len); /* keys may be in clear */
    count_answer(w->shared, item->work, JOIN_SUCCESS);
    if (item->decision.act == JOIN_ACT_PLAN)
        count_joined(w->shared->metrics, item);
    if (item->decision.act == JOIN_ACT_RETRY)
        metric_add(&w->shared->metrics->retries, 1);
}

void join_worker_answer(struct join_worker *w)
{
    struct api_request *done[JOIN_BATCH_MAX];
    struct join_work *finished[JOIN_BATCH_MAX];
    size_t n_done = 0, n_finished = 0;

    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        if (item->again) {
            join_queue_put_back(w->shared->queue, item->work);
            continue;
        }
        if (item->result == JOIN_SUCCESS)
            answer_success(w, item);
        else
            answer_refusal(w->shared, &w->answer, item->work, item->result);
        if (item->work->http != NULL)
            done[n_done++] = item->work->http;
    }
    (void)FAILPOINT(join_before_answer, 0);
    if (n_done > 0)
        api_give_back(done, n_done);
    (void)FAILPOINT(join_answered, 0);
    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        if (item->again)
            continue;
        if (item->result != JOIN_SUCCESS)
            record_refusal(w, item);
        secret_wipe(&item->derived, sizeof(item->derived));
        finished[n_finished++] = item->work;
    }
    join_work_give(w->shared->queue, finished, n_finished);
    secret_wipe(w->replies, w->n_requests * sizeof(w->replies[0]));
}

void join_answer_expired(struct join_shared *shared, struct join_work *list)
{
    struct text text = {0};

    while (list != NULL) {
        struct join_work *work = list;

        list = work->next;
        answer_refusal(shared, &text, work, JOIN_DEADLINE);
        join_record_unloaded(
            shared, work, JOIN_DEADLINE, device_refusal_reason(REFUSAL_LATE_IN_QUEUE));
        if (work->http != NULL)
            api_give_back(&work->http, 1);
        join_work_give(shared->queue, &work, 1);
    }
    text_done(&text);
}
