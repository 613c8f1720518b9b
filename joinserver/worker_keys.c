/* Steps 2 and 3 of a join worker: what to do about each request, and having keyd do it. */
#include "joinserver/worker_steps.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include <string.h>

#define PLAIN_LOG_MS 60000

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

/* What bars the way to a key in clear that a peer's record allows. */
enum plain_bar { BAR_NONE, BAR_TOKEN, BAR_URL, BAR_SETTING, N_PLAIN_BARS };

static const enum device_refusal ns_reasons[N_PLAIN_BARS] = {
    [BAR_TOKEN] = REFUSAL_NS_KEK_MISSING_TOKEN,
    [BAR_URL] = REFUSAL_NS_KEK_MISSING_URL,
    [BAR_SETTING] = REFUSAL_NS_KEK_MISSING_SETTING,
};
static const enum device_refusal as_reasons[N_PLAIN_BARS] = {
    [BAR_NONE] = REFUSAL_AS_KEK_MISSING,
    [BAR_TOKEN] = REFUSAL_AS_KEK_MISSING_TOKEN,
    [BAR_URL] = REFUSAL_AS_KEK_MISSING_URL,
};

/* A peer's record alone lets no key out in clear: whoever starts the join server must want it too.
 */
static bool plain_keys_are_on(struct join_worker *w, const struct join_item *item)
{
    int64_t now_ms = clock_monotonic_ms();

    if (w->shared->plain_keys)
        return true;
    if (w->plain_logged_ms == 0 || now_ms - w->plain_logged_ms >= PLAIN_LOG_MS) {
        w->plain_logged_ms = now_ms;
        log_warn("session keys in clear are allowed by a peer's record and not by join.plain_keys "
                 "in the configuration: such joins are refused peer=%lld",
            (long long)item->work->peer_id);
    }
    return false;
}

static enum plain_bar bar_of(const struct join_terms *terms)
{
    if (!terms->mutual_tls)
        return BAR_TOKEN;
    return terms->tls_to_the_end ? BAR_NONE : BAR_URL;
}

/* REFUSAL_NONE, or why there is no answer: a KEK wins over the leave to do without. */
static enum device_refusal find_ns_kek(struct join_worker *w, struct join_item *item)
{
    const struct join_terms *terms = &item->work->terms;
    const struct ts002_request *q = &item->work->request;
    enum plain_bar bar = bar_of(terms);

    item->ns_plain = false;
    item->ns_kek = join_directory_ns_kek(
        w->directory, &q->sender, terms->ns_id_is_its_own ? &q->sender_ns_id : NULL);
    if (item->ns_kek != NULL)
        return REFUSAL_NONE;
    if (!terms->allow_plain_keys)
        return REFUSAL_NS_KEK_MISSING;
    if (bar == BAR_NONE && !plain_keys_are_on(w, item))
        bar = BAR_SETTING;
    item->ns_plain = bar == BAR_NONE;
    return ns_reasons[bar];
}

/* Through another network than the one that the owner named. */
static bool is_away(const struct join_item *item)
{
    const struct device_record *d = &item->row.record;

    return item->work->message->away != 0 && d->ownership != OWNERSHIP_UNOWNED &&
           memcmp(&d->home_net_id, &item->work->request.sender, sizeof(d->home_net_id)) != 0;
}

/* The same of AppSKey, where wrapped or in clear is the choice of whoever is answered. A visited
 * network has none: what networks have agreed opens no payload of an owner who has not chosen it.
 */
static enum device_refusal find_as_kek(struct join_worker *w, struct join_item *item)
{
    const struct join_terms *terms = &item->work->terms;
    bool wants_plain = terms->app_s_key_plain && !is_away(item);
    enum plain_bar bar = wants_plain ? bar_of(terms) : BAR_NONE;

    item->as_plain = false;
    item->as_kek = NULL;
    if (wants_plain && bar == BAR_NONE) {
        if (!plain_keys_are_on(w, item))
            return REFUSAL_AS_CLEAR_SETTING;
        item->as_plain = true;
        return REFUSAL_NONE;
    }
    item->as_kek = join_directory_kek(w->directory, KEK_CLASS_AS, device_as_id(&item->row.record));
    return item->as_kek != NULL ? REFUSAL_NONE : as_reasons[bar];
}

/* A join needs both: without one there is no answer, never one in clear that was not asked for. */
static void find_keks(struct join_worker *w, struct join_item *item)
{
    enum device_refusal missing = find_ns_kek(w, item);

    if (missing == REFUSAL_NONE)
        missing = find_as_kek(w, item);
    if (missing != REFUSAL_NONE)
        join_decision_refuse(&item->decision, JOIN_UNAVAILABLE, missing);
}

/* A device that sends wrong MICs all the time has had its explanation: the rest would be work for
 * whoever floods us. */
static bool explains(struct join_worker *w, const struct ts002_request *q, int64_t now_ms)
{
    return q->join_type == LW_JOIN &&
           !mic_limit_is_reached(&w->shared->mic_limit, &q->dev_eui, now_ms);
}

static bool is_same_eui(const struct eui64 *a, const struct eui64 *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static void add_keyd_request(struct join_worker *w, struct join_item *item, int64_t now_ms)
{
    const struct ts002_request *q = &item->work->request;
    struct keyd_join_request *r = &w->requests[w->n_requests];

    *r = (struct keyd_join_request){
        .dev_eui = item->row.record.dev_eui,
        .join_eui = item->row.record.join_eui,
        /* The frame's, of whatever route: what a device of 1.1 derives with. */
        .has_air_join_eui = !is_same_eui(&q->frame_join_eui, &item->row.record.join_eui),
        .air_join_eui = q->frame_join_eui,
        .app = item->row.app,
        .has_nwk = item->row.has_nwk,
        .nwk = item->row.nwk,
        .explain = explains(w, q, now_ms),
        .plan = item->decision.act != JOIN_ACT_VERIFY,
        .ns_kek = KEYD_NO_KEK,
        .as_kek = KEYD_NO_KEK,
    };
    memcpy(r->frame, q->frame, sizeof(r->frame));
    r->frame_len = (uint8_t)q->frame_len;
    for (size_t i = 0; i < DEVICE_N_SESSIONS; i++) {
        const struct join_verdict *verdict = &item->decision.sessions[i];
        const struct device_session *session = &item->row.state.sessions[i];

        if (verdict->present)
            r->sessions[i] = (struct keyd_session){.present = true,
                .plan = r->plan && verdict->result == JOIN_SUCCESS,
                .join_nonce = session->join_nonce,
                .nonce = session->nonce};
    }
    if (r->plan) {
        r->ns_kek = item->ns_plain ? KEYD_PLAIN : kek_index(w, item->ns_kek);
        r->as_kek = item->as_plain ? KEYD_PLAIN : kek_index(w, item->as_kek);
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
static bool is_spared(struct join_worker *w, const struct join_item *item, int64_t now_ms)
{
    uint8_t dice;

    return mic_limit_is_reached(&w->shared->mic_limit, &item->work->request.dev_eui, now_ms) &&
           random_bytes(&dice, sizeof(dice)) == 0 && dice % MIC_CHECK_ONE_IN != 0;
}

/* For the application server alone. */
static void find_kek(struct join_worker *w, struct join_item *item)
{
    enum device_refusal missing = find_as_kek(w, item);

    if (missing != REFUSAL_NONE)
        item->decision = (struct join_decision){
            .act = JOIN_ACT_TELL, .result = JOIN_UNAVAILABLE, .reason = missing};
}

/* By the time of the decision: an agreement begins and ends without anybody's doing. */
static void find_agreement(struct join_worker *w, struct join_item *item, int64_t now_s)
{
    const struct device_record *record = &item->row.record;

    if (item->work->message->away != 0)
        item->row.agreed = join_directory_agreed(w->directory, &record->home_net_id,
            &item->work->request.sender, item->work->message->away, now_s);
}

/* Which JoinEUIs are compared says that of the session, as that of the frame does in a join: not
 * the ReceiverID of who asks, who may know the device by its record's. */
static void find_route(struct join_worker *w, struct join_item *item)
{
    const struct db_join_route *route;

    if (!item->work->message->needs_session || !item->row.session.found)
        return;
    route = join_directory_route(w->directory, &item->row.session.join_eui);
    item->work->request.any_join_eui = route != NULL && route->kind == DB_ROUTE_LOCAL_ANY;
}

/* Whether there is a frame to verify. */
static bool needs_mic(const struct join_decision *decision)
{
    return decision->act == JOIN_ACT_PLAN || decision->act == JOIN_ACT_RETRY ||
           decision->act == JOIN_ACT_VERIFY;
}

void join_worker_decide(struct join_worker *w)
{
    int64_t now_ms = clock_monotonic_ms(), now_s = clock_unix_s();

    w->n_requests = 0;
    w->n_keks = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        if (now_ms >= item->work->deadline_ms) {
            item->decision = (struct join_decision){.act = JOIN_ACT_HIDE};
            join_item_set(item, JOIN_DEADLINE, REFUSAL_LATE_FOR_KEY);
            continue;
        }
        if (item->session_failed) {
            item->decision = (struct join_decision){.act = JOIN_ACT_HIDE};
            join_item_set(item, JOIN_UNAVAILABLE, REFUSAL_DATABASE_NO_ANSWER);
            continue;
        }
        find_agreement(w, item, now_s);
        find_route(w, item);
        item->decision = item->work->message->decide(
            &item->row, &item->work->request, item->work->fingerprint, w->shared->retry_window_ms);
        if (needs_mic(&item->decision) && is_spared(w, item, now_ms)) {
            metric_add(&w->shared->metrics->mic_unchecked, 1);
            item->decision = (struct join_decision){
                .act = JOIN_ACT_HIDE, .result = JOIN_MIC_FAILED, .reason = REFUSAL_MIC_UNCHECKED};
        }
        if (item->decision.act == JOIN_ACT_PLAN || item->decision.act == JOIN_ACT_RETRY)
            find_keks(w, item);
        if (item->decision.act == JOIN_ACT_DERIVE)
            find_kek(w, item);
        join_item_set(item, item->decision.result, item->decision.reason);
        if (needs_mic(&item->decision))
            add_keyd_request(w, item, now_ms);
    }
}

static const enum device_refusal mic_refusals[LW_N_MIC_MISTAKES] = {
    [LW_MIC_NO_MISTAKE] = REFUSAL_MIC_WRONG,
    [LW_MIC_OTHER_KEY] = REFUSAL_MIC_OTHER_KEY,
    [LW_MIC_DEV_EUI_REVERSED] = REFUSAL_MIC_DEV_EUI_REVERSED,
    [LW_MIC_JOIN_EUI_REVERSED] = REFUSAL_MIC_JOIN_EUI_REVERSED,
    [LW_MIC_BOTH_REVERSED] = REFUSAL_MIC_BOTH_REVERSED,
};

/* REFUSAL_KEYD_UNKNOWN of what a join is never answered. */
static enum device_refusal reason_of(enum keyd_status status, enum lw_mic_mistake mistake)
{
    switch (status) {
    case KEYD_OK:
        return REFUSAL_NONE;
    case KEYD_MIC_FAILED:
        return mic_refusals[mistake];
    case KEYD_TAG_REFUSED:
        return REFUSAL_KEY_ALTERED;
    case KEYD_KEK_TAG_REFUSED:
        return REFUSAL_KEK_ALTERED;
    case KEYD_KEK_UNKNOWN:
        return REFUSAL_STORAGE_KEK_UNKNOWN;
    case KEYD_BAD_INPUT:
        return REFUSAL_KEYD_INPUT;
    case KEYD_HSM_FAILED:
        return REFUSAL_HSM_FAILED;
    case KEYD_CANNOT_EXPORT:
    case KEYD_NO_AUDIT_KEY: /* never of a join */
        break;
    }
    return REFUSAL_KEYD_UNKNOWN;
}

static void take_keyd_status(struct join_worker *w, struct join_item *item, enum keyd_status status,
    enum lw_mic_mistake mistake)
{
    enum device_refusal reason = reason_of(status, mistake);
    char dev_eui[EUI64_TEXT_LEN + 1];

    if (status == KEYD_OK)
        return;
    if (status == KEYD_MIC_FAILED) {
        join_item_set(item, JOIN_MIC_FAILED, reason);
        mic_limit_failed(&w->shared->mic_limit, &item->work->request.dev_eui, clock_monotonic_ms());
        return;
    }
    if (status == KEYD_TAG_REFUSED || status == KEYD_KEK_TAG_REFUSED ||
        status == KEYD_KEK_UNKNOWN) {
        /* Somebody wrote to the database what keyd never sealed, or the token is another one. */
        metric_add(&w->shared->metrics->sealed_refused, 1);
        log_error("keyd refused a sealed key dev_eui=%s status=\"%s\"",
            eui64_format(&item->work->request.dev_eui, dev_eui), keyd_status_text(status));
    }
    join_item_set(item, JOIN_UNAVAILABLE, reason);
}

/* They are few: each is a message of its own. Without a KEK it is as_plain. */
static void derive_app_s_keys(struct join_worker *w)
{
    int64_t deadline_ms = clock_monotonic_ms() + JOIN_KEYD_MS;

    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];
        const struct db_join_row *row = &item->row;
        struct keyd_app_s_key_request q = {.dev_eui = row->record.dev_eui,
            .join_eui = row->record.join_eui,
            .has_air_join_eui = !is_same_eui(&row->session.join_eui, &row->record.join_eui),
            .air_join_eui = row->session.join_eui,
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
            join_item_set(item, JOIN_UNAVAILABLE, REFUSAL_KEYD_NO_ANSWER);
        } else {
            take_keyd_status(w, item, item->derived.status, LW_MIC_NO_MISTAKE);
        }
    }
}

/* The MIC has told which session the rejoin is of. */
static void take_proof(struct join_item *item, const struct keyd_join_reply *reply)
{
    const struct join_verdict *verdict = &item->decision.sessions[reply->session];

    if (verdict->result != JOIN_SUCCESS)
        join_item_set(item, verdict->result, verdict->reason);
}

static void answer_joins(struct join_worker *w)
{
    int r = 0;

    if (w->n_requests == 0)
        return;
    r = FAILPOINT(join_before_keyd, ERROR_HSM);
    if (r == 0)
        r = keyd_answer_joins(w->channel, w->keks, w->n_keks, w->requests, w->n_requests,
            w->replies, clock_monotonic_ms() + JOIN_KEYD_MS);
    if (r == 0)
        r = FAILPOINT(join_keyd_answered, ERROR_HSM);
    if (r < 0)
        log_error("keyd did not answer: %s", error_text());
    for (size_t i = 0; i < w->n_items; i++) {
        struct join_item *item = &w->items[i];

        const struct keyd_join_reply *reply;

        if (item->keyd_at < 0)
            continue;
        reply = &w->replies[item->keyd_at];
        if (r < 0)
            join_item_set(item, JOIN_UNAVAILABLE, REFUSAL_KEYD_NO_ANSWER);
        else
            take_keyd_status(w, item, reply->status, reply->mistake);
        if (r == 0 && reply->status == KEYD_OK && item->decision.by_session)
            take_proof(item, reply);
    }
}

void join_worker_ask_keyd(struct join_worker *w)
{
    answer_joins(w);
    derive_app_s_keys(w);
}
