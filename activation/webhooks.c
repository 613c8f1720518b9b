/* /v1/webhooks: who wants to be told of what, and what became of it. */
#include "activation/call.h"
#include "activation/webhook_post.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include <stdlib.h>
#include <string.h>

#define ID_TEXT_LEN ((size_t)2 * ACCOUNT_ID_LEN)
#define ANSWER_RESERVE (DB_WEBHOOK_URL_MAX + 1024) /* bytes of one with its secret */

static const char too_many[] = "the organization has as many webhooks as it may have";

static void write_events(struct text *out, unsigned events)
{
    const char *comma = "";

    text_add(out, "[");
    for (const struct word_bits *w = webhook_event_names; w->word != NULL; w++) {
        if ((events & w->bits) == 0)
            continue;
        text_addf(out, "%s\"%s\"", comma, w->word);
        comma = ",";
    }
    text_add(out, "]");
}

static void write_webhook(
    struct text *out, const struct db_webhook *w, const struct act_webhook_secret *secret)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, w->id, sizeof(w->id));
    text_add(out, "\",\"url\":");
    text_add_json(out, w->url);
    text_add(out, ",\"events\":");
    write_events(out, w->events);
    if (secret != NULL)
        text_addf(out, ",\"secret\":\"%s\"", secret->text);
    text_addf(
        out, ",\"active\":%s,\"created_at\":\"%s\"}", w->active ? "true" : "false", w->created);
}

/* With a secret, which is shown this once, where there is one. */
static unsigned answer_webhook(struct act_call *call, unsigned status, const struct db_webhook *w,
    const struct act_webhook_secret *secret)
{
    struct text body = {0};

    text_reserve(&body, ANSWER_RESERVE);
    if (secret != NULL)
        call->shown_once = true;
    write_webhook(&body, w, secret);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

/* What a body may say of a webhook. */
struct webhook_body {
    char url[DB_WEBHOOK_URL_MAX + 1];
    bool has_url;
    unsigned events;
    bool has_events;
    bool active;
    bool has_active;
    bool new_secret;
    bool has_new_secret;
};

#define FIELD(member, k)                                                                           \
    .name = #member, .kind = (k), .offset = offsetof(struct webhook_body, member),                 \
    .present_offset = offsetof(struct webhook_body, has_##member)

static const struct json_field fields[] = {
    {FIELD(url, JSON_TEXT), .size = DB_WEBHOOK_URL_MAX + 1},
    {FIELD(events, JSON_WORDS), .words = webhook_event_names},
    {FIELD(active, JSON_BOOL)},
    {FIELD(new_secret, JSON_BOOL)},
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))
#define N_FIELDS_OF_A_NEW_ONE (N_FIELDS - 1) /* its secret is new in any case */

/* Before anything is posted; each address is looked at again when it is connected to. */
static unsigned check_url(struct act_call *call, const char *url)
{
    const bool allow_private = call->worker->service->settings.webhook_allow_private;
    int r = allow_private ? api_client_check_url(url) : api_client_check_public_url(url);

    if (r == ERROR_INPUT)
        return act_call_bad_field(call, "url", error_text());
    return r < 0 ? act_call_failed(call, r) : 0;
}

/* 0, or the status of the answer that was set. */
static unsigned read_webhook(struct act_call *call, size_t n_fields, struct webhook_body *ret)
{
    unsigned status = act_call_read(call, fields, n_fields, ret);

    if (status == 0 && ret->has_url)
        status = check_url(call, ret->url);
    if (status == 0 && ret->has_events && ret->events == 0)
        return act_call_bad_field(call, "events", "events names none");
    return status;
}

static int audit(
    struct act_call *call, const char *action, const struct db_webhook *w, const char *more)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[ID_TEXT_LEN + 1];

    /* Not its URL, which may hold a secret of the receiver's. */
    text_add(&detail, "{\"events\":");
    write_events(&detail, w->events);
    text_addf(&detail, ",\"active\":%s%s}", w->active ? "true" : "false", more);
    return act_call_audit(call, call->caller->organization_id, action,
        hex_encode(w->id, sizeof(w->id), id), detail.data);
}

static unsigned post_webhook(struct act_call *call)
{
    CLEANUP(act_webhook_secret_wipe) struct act_webhook_secret secret = {0};
    struct db_webhook w = {.active = true};
    struct webhook_body body;
    char id[ID_TEXT_LEN + 1];
    unsigned status = read_webhook(call, N_FIELDS_OF_A_NEW_ONE, &body);
    int r;

    if (status != 0)
        return status;
    if (!body.has_url)
        return act_call_bad_field(call, "url", "url is missing");
    if (!body.has_events)
        return act_call_bad_field(call, "events", "events is missing");
    memcpy(w.url, body.url, sizeof(w.url));
    w.events = body.events;
    if (body.has_active)
        w.active = body.active;
    /* The secret before the row: nothing is locked while keyd is waited for. */
    if ((r = random_bytes(w.id, sizeof(w.id))) < 0 ||
        (r = act_webhook_secret_get(call->worker->keyd, w.id, 1, &secret)) < 0)
        return act_call_failed(call, r);
    if ((r = db_webhook_add(call->worker->db, call->caller->organization_id, &w)) > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, too_many);
    if (r < 0 || (r = audit(call, "webhook.create", &w, "")) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/webhooks/%s", hex_encode(w.id, sizeof(w.id), id));
    return answer_webhook(call, 201, &w, &secret);
}

static unsigned get_webhooks(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    struct db_webhook *list;
    uint8_t cursor[ACCOUNT_ID_LEN];
    bool has_cursor;
    size_t limit, n;
    unsigned status = act_call_page(call, &limit, cursor, &has_cursor);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_webhook_list(call->worker->db, call->caller->organization_id, has_cursor ? cursor : NULL,
        list, limit + 1, &n);
    if (r == 0) {
        text_add(&body, ACT_LIST_BEGIN);
        for (size_t i = 0; i < n && i < limit; i++) {
            text_add(&body, i > 0 ? "," : "");
            write_webhook(&body, &list[i], NULL);
        }
        act_list_end(&body, n > limit ? list[limit - 1].id : NULL);
    }
    free(list);
    return r < 0 ? act_call_failed(call, r) : act_call_answer(call, 200, TYPE_JSON, &body);
}

/* The webhook of the path, of the caller's organization. 0, or the status of the answer set. */
static unsigned find_webhook(struct act_call *call, struct db_webhook *ret)
{
    const char *text = act_call_param(call, 0);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (strlen(text) == ID_TEXT_LEN && hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_webhook_find(call->worker->db, call->caller->organization_id, id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? act_call_problem(call, PROBLEM_NOT_FOUND, "there is no such webhook") : 0;
}

static unsigned get_webhook(struct act_call *call)
{
    struct db_webhook w;
    unsigned status = find_webhook(call, &w);

    return status != 0 ? status : answer_webhook(call, 200, &w, NULL);
}

static unsigned change_webhook(
    struct act_call *call, const struct webhook_body *body, struct db_webhook *w)
{
    CLEANUP(act_webhook_secret_wipe) struct act_webhook_secret secret = {0};
    const bool new_secret = body->has_new_secret && body->new_secret;
    const uint32_t generation = w->generation + 1;
    const struct db_webhook_change change = {.url = body->has_url ? body->url : NULL,
        .events = body->has_events ? &body->events : NULL,
        .active = body->has_active ? &body->active : NULL,
        .new_secret = new_secret};
    int r = 0;

    if (new_secret)
        r = act_webhook_secret_get(call->worker->keyd, w->id, generation, &secret);
    if (r == 0)
        r = db_webhook_set(call->worker->db, w->row_id, &change, w);
    if (r > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "there is no such webhook");
    if (r == 0 && new_secret && w->generation != generation)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "another call has just made its secret anew: ask again");
    if (r == 0)
        r = audit(call, "webhook.change", w, new_secret ? ",\"new_secret\":true" : "");
    if (r < 0)
        return act_call_failed(call, r);
    return answer_webhook(call, 200, w, new_secret ? &secret : NULL);
}

static unsigned patch_webhook(struct act_call *call)
{
    struct webhook_body body;
    struct db_webhook w;
    unsigned status = find_webhook(call, &w);

    if (status == 0)
        status = read_webhook(call, N_FIELDS, &body);
    return status != 0 ? status : change_webhook(call, &body, &w);
}

static unsigned delete_webhook(struct act_call *call)
{
    struct db_webhook w;
    unsigned status = find_webhook(call, &w);
    int r;

    if (status != 0)
        return status;
    if ((r = db_webhook_remove(call->worker->db, w.row_id)) > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "there is no such webhook");
    if (r < 0 || (r = audit(call, "webhook.remove", &w, "")) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

/* --- deliveries ------------------------------------------------------------------------------ */

static void write_time(struct text *out, const char *name, const char *time)
{
    text_addf(out, time[0] != '\0' ? ",\"%s\":\"%s\"" : ",\"%s\":null", name, time);
}

static void write_delivery(struct text *out, const struct db_delivery *d)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, d->id, sizeof(d->id));
    text_add(out, "\",\"event\":\"");
    text_add_hex(out, d->event_id, sizeof(d->event_id));
    text_addf(out, "\",\"type\":\"%s\",\"state\":\"%s\",\"tries\":%u", d->type,
        db_delivery_state_text(d->state), d->n_tries);
    text_addf(out, d->status > 0 ? ",\"status\":%u" : ",\"status\":null", d->status);
    text_add(out, ",\"fault\":");
    if (d->fault[0] != '\0')
        text_add_json(out, d->fault);
    else
        text_add(out, "null");
    write_time(out, "created_at", d->created);
    write_time(out, "tried_at", d->tried);
    write_time(out, "due_at", d->state == DELIVERY_WAITING ? d->due : "");
    text_addf(out, ",\"body\":%s}", d->body); /* JSON already */
}

static unsigned get_deliveries(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    struct db_delivery *list;
    struct db_webhook w;
    uint8_t cursor[ACCOUNT_ID_LEN];
    bool has_cursor;
    size_t limit, n;
    unsigned status = find_webhook(call, &w);
    int r;

    if (status == 0)
        status = act_call_page(call, &limit, cursor, &has_cursor);
    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_delivery_list(
        call->worker->db, w.row_id, has_cursor ? cursor : NULL, list, limit + 1, &n);
    if (r == 0) {
        text_add(&body, ACT_LIST_BEGIN);
        for (size_t i = 0; i < n && i < limit; i++) {
            text_add(&body, i > 0 ? "," : "");
            write_delivery(&body, &list[i]);
        }
        act_list_end(&body, n > limit ? list[limit - 1].id : NULL);
    }
    free(list);
    return r < 0 ? act_call_failed(call, r) : act_call_answer(call, 200, TYPE_JSON, &body);
}

static int audit_replay(struct act_call *call, const struct db_webhook *w)
{
    char id[ID_TEXT_LEN + 1];
    CLEANUP(text_done) struct text detail = {0};

    text_addf(&detail, "{\"webhook\":\"%s\"}", hex_encode(w->id, sizeof(w->id), id));
    return act_call_audit(call, call->caller->organization_id, "webhook.replay",
        act_call_param(call, 1), detail.data);
}

static unsigned post_replay(struct act_call *call)
{
    const char *text = act_call_param(call, 1);
    struct text body = {0};
    struct db_webhook w;
    struct db_delivery d;
    uint8_t id[ACCOUNT_ID_LEN];
    unsigned status = find_webhook(call, &w);
    int r = DB_DELIVERY_UNKNOWN;

    if (status != 0)
        return status;
    if (strlen(text) == ID_TEXT_LEN && hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_delivery_replay(call->worker->db, w.row_id, id, &d);
    if (r == DB_DELIVERY_UNKNOWN)
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "the webhook has no such delivery, or no more");
    if (r == DB_DELIVERY_BUSY)
        return act_call_problem(call, PROBLEM_CONFLICT, "it is on its way");
    if (r < 0 || (r = audit_replay(call, &w)) < 0)
        return act_call_failed(call, r);
    write_delivery(&body, &d);
    text_add(&body, "\n");
    return act_call_answer(call, 202, TYPE_JSON, &body);
}

#define WEBHOOKS "/v1/webhooks"
#define WEBHOOK WEBHOOKS "/{webhook}"

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = WEBHOOKS,
        .right = RIGHT_WEBHOOKS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_webhook,
        .changes = true},
    {.method = API_GET, .path = WEBHOOKS, .right = RIGHT_WEBHOOKS, .work = get_webhooks},
    {.method = API_GET, .path = WEBHOOK, .right = RIGHT_WEBHOOKS, .work = get_webhook},
    {.method = API_PATCH,
        .path = WEBHOOK,
        .right = RIGHT_WEBHOOKS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_webhook,
        .changes = true},
    {.method = API_DELETE,
        .path = WEBHOOK,
        .right = RIGHT_WEBHOOKS,
        .work = delete_webhook,
        .changes = true},
    {.method = API_GET,
        .path = WEBHOOK "/deliveries",
        .right = RIGHT_WEBHOOKS,
        .work = get_deliveries},
    {.method = API_POST,
        .path = WEBHOOK "/deliveries/{delivery}/replay",
        .right = RIGHT_WEBHOOKS,
        .work = post_replay,
        .changes = true},
};

const struct act_area act_area_webhooks = ACT_AREA(routes);
