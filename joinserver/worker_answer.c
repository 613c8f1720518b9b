/* Step 5 of a join worker: answers, and the record of refusals. */
#include "joinserver/worker_steps.h"

#include "base/clock.h"
#include <stdio.h>

static void record_refusal(struct join_worker *w, const struct join_item *item)
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

static void answer_success(struct join_worker *w, struct join_item *item)
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

void join_worker_answer(struct join_worker *w)
{
    struct api_request *done[JOIN_BATCH_MAX];
    size_t n_done = 0;

    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        if (item->again) {
            join_queue_put_back(w->shared->queues, w->index, item->work);
            continue;
        }
        if (item->result == JOIN_SUCCESS)
            answer_success(w, item);
        else
            answer_refusal(w->shared, &w->answer, item->work, item->result);
        if (item->work->http != NULL)
            done[n_done++] = item->work->http;
    }
    if (n_done > 0)
        api_give_back(done, n_done);
    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        if (item->again)
            continue;
        if (item->result != JOIN_SUCCESS)
            record_refusal(w, item);
        secret_wipe(&item->derived, sizeof(item->derived));
        join_work_give(w->shared->queues, item->work);
    }
    secret_wipe(w->replies, w->n_requests * sizeof(w->replies[0]));
}

void join_answer_expired(struct join_shared *shared, struct join_work *list)
{
    struct text text = {0};

    while (list != NULL) {
        struct join_work *work = list;

        list = work->next;
        answer_refusal(shared, &text, work, JOIN_DEADLINE);
        if (work->http != NULL)
            api_give_back(&work->http, 1);
        join_work_give(shared->queues, work);
    }
    text_done(&text);
}
