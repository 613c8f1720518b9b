/* /v1/subscriptions, and POST and DELETE /v1/devices/{dev_eui}/subscription. Who sells them makes
 * and changes them; the owner whose devices they are for sees them, and takes places and gives them
 * back. */
#include "activation/subscriptions.h"

#include "activation/devices.h"
#include "activation/moment.h"
#include "activation/operator_check.h"
#include "base/error.h"
#include "base/hex.h"
#include "db/subscription.h"
#include "device/moves.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_TEXT_LEN ((size_t)2 * ACCOUNT_ID_LEN)
#define RENEWAL_TEXT_MAX 8
#define NOTICE_DAYS 14
#define DETAIL_MAX 100

static const char no_subscription[] = "there is no such subscription, or it is not yours to see";
static const char *const renewals[] = {"none", "auto"};

/* --- reading and writing ---------------------------------------------------------------------- */

struct subscription_body {
    uint8_t organization[ACCOUNT_ID_LEN];
    char name[DB_SUBSCRIPTION_NAME_MAX + 1];
    char starts_at[ACT_MOMENT_MAX + 1], ends_at[ACT_MOMENT_MAX + 1];
    char renewal[RENEWAL_TEXT_MAX + 1];
    uint32_t count, notice_days;
    bool has_organization, has_name, has_starts_at, has_ends_at, has_renewal, has_count,
        has_notice_days;
    /* Read from the texts. */
    int64_t starts_s, ends_s;
    bool renews;
};

#define MEMBER(member) offsetof(struct subscription_body, member)
#define MEMBER_TEXT(member)                                                                        \
    {                                                                                              \
        .name = #member, .kind = JSON_TEXT, .offset = MEMBER(member),                              \
        .size = sizeof(((struct subscription_body *)0)->member),                                   \
        .present_offset = MEMBER(has_##member)                                                     \
    }
#define MEMBER_NUMBER(member, most)                                                                \
    {                                                                                              \
        .name = #member, .kind = JSON_UNSIGNED, .offset = MEMBER(member), .max = (most),           \
        .present_offset = MEMBER(has_##member)                                                     \
    }
#define CHANGE_FIELDS                                                                              \
    MEMBER_TEXT(name), MEMBER_TEXT(ends_at), MEMBER_TEXT(renewal),                                 \
        MEMBER_NUMBER(count, DB_SUBSCRIPTION_PLACES_MAX),                                          \
        MEMBER_NUMBER(notice_days, DB_SUBSCRIPTION_NOTICE_DAYS_MAX)

static const struct json_field change_fields[] = {CHANGE_FIELDS};
static const struct json_field new_fields[] = {
    CHANGE_FIELDS,
    MEMBER_TEXT(starts_at),
    {.name = "organization",
        .kind = JSON_HEX,
        .offset = MEMBER(organization),
        .size = sizeof(((struct subscription_body *)0)->organization),
        .required = true,
        .present_offset = MEMBER(has_organization)},
};

static unsigned read_moment(
    struct act_call *call, const char *member, const char *text, bool present, int64_t *ret_s)
{
    char fault[DETAIL_MAX];

    if (!present || act_moment_parse(text, ret_s))
        return 0;
    (void)snprintf(
        fault, sizeof(fault), "%s is not a time of UTC, as 2027-01-31T00:00:00Z", member);
    return act_call_bad_field(call, member, fault);
}

static unsigned read_renewal(struct act_call *call, struct subscription_body *body)
{
    for (size_t i = 0; body->has_renewal && i < sizeof(renewals) / sizeof(renewals[0]); i++) {
        body->renews = i > 0;
        if (strcmp(body->renewal, renewals[i]) == 0)
            return 0;
    }
    return body->has_renewal ? act_call_bad_field(call, "renewal", "renewal is none or auto") : 0;
}

/* 0, or the status of the answer it set. */
static unsigned read_body(struct act_call *call, const struct json_field *fields, size_t n_fields,
    struct subscription_body *ret)
{
    unsigned status = act_call_read(call, fields, n_fields, ret);

    if (status != 0)
        return status;
    if (ret->has_name && !act_name_valid(ret->name, DB_SUBSCRIPTION_NAME_MAX))
        return act_call_bad_field(
            call, "name", "name is not a text of 1 to 100 bytes without control characters");
    if (ret->has_count && ret->count == 0)
        return act_call_bad_field(call, "count", "count is not an integer from 1 on");
    if ((status = read_moment(
             call, "starts_at", ret->starts_at, ret->has_starts_at, &ret->starts_s)) != 0 ||
        (status = read_moment(call, "ends_at", ret->ends_at, ret->has_ends_at, &ret->ends_s)) != 0)
        return status;
    return read_renewal(call, ret);
}

static void write_subscription(struct text *out, const struct db_subscription *s)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, s->id, sizeof(s->id));
    text_add(out, "\",\"organization\":\"");
    text_add_hex(out, s->organization, sizeof(s->organization));
    text_add(out, "\",\"seller\":\"");
    text_add_hex(out, s->seller, sizeof(s->seller));
    text_add(out, "\",\"name\":");
    text_add_json(out, s->name);
    text_addf(out, ",\"state\":\"%s\",\"starts_at\":\"%s\",\"ends_at\":\"%s\"",
        db_subscription_state_text(s->state), s->starts_at, s->ends_at);
    text_addf(out, ",\"count\":%" PRIu32 ",\"used\":%" PRIu32 ",\"free\":%" PRIu32, s->n_places,
        s->n_used, s->n_places - s->n_used);
    text_addf(out, ",\"renewal\":\"%s\",\"notice_days\":%" PRIu32 ",\"created_at\":\"%s\"}",
        renewals[s->renews], s->notice_days, s->created_at);
}

static unsigned answer_subscription(
    struct act_call *call, unsigned status, const struct db_subscription *s)
{
    struct text body = {0};

    write_subscription(&body, s);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

/* In the histories of its owner and of who sold it. */
static int audit(struct act_call *call, const char *action, const struct db_subscription *s)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[ID_TEXT_LEN + 1];
    int r;

    text_add(&detail, "{\"name\":");
    text_add_json(&detail, s->name);
    text_addf(&detail, ",\"starts_at\":\"%s\",\"ends_at\":\"%s\",\"count\":%" PRIu32, s->starts_at,
        s->ends_at, s->n_places);
    text_addf(&detail, ",\"renewal\":\"%s\",\"notice_days\":%" PRIu32 "}", renewals[s->renews],
        s->notice_days);
    (void)hex_encode(s->id, sizeof(s->id), id);
    r = act_call_audit(call, s->organization_id, action, id, detail.data);
    return r < 0 || s->seller_id == s->organization_id
               ? r
               : act_call_audit(call, s->seller_id, action, id, detail.data);
}

/* --- making, seeing, changing ----------------------------------------------------------------- */

/* `changes`: as who sells, and not as who uses. */
static struct db_subscription_eye eye_of(const struct act_call *call, bool changes)
{
    const unsigned roles = call->caller->roles;

    return (struct db_subscription_eye){
        .organization_id = call->caller->organization_id,
        .uses = !changes && (roles & ROLE_OWNER) != 0,
        .sells = (roles & ROLE_OPERATOR) != 0,
        .all = (roles & ROLE_ADMIN) != 0,
    };
}

static unsigned post_subscription(struct act_call *call)
{
    struct db_subscription s = {0};
    struct db_organization organization;
    struct subscription_body body;
    char id[ID_TEXT_LEN + 1];
    unsigned status =
        read_body(call, new_fields, sizeof(new_fields) / sizeof(new_fields[0]), &body);
    int r;

    if (status != 0)
        return status;
    if (!body.has_name || !body.has_ends_at || !body.has_count)
        return act_call_bad_field(call,
            !body.has_name      ? "name"
            : !body.has_ends_at ? "ends_at"
                                : "count",
            "name, ends_at and count are needed");
    if ((r = db_organization_find(call->worker->db, body.organization, &organization)) != 0)
        return r < 0 ? act_call_failed(call, r)
                     : act_call_bad_field(call, "organization",
                           "organization is no organization that is known here");
    s.organization_id = organization.row_id;
    s.seller_id = call->caller->organization_id;
    memcpy(s.name, body.name, sizeof(s.name));
    s.starts_s = body.starts_s;
    s.ends_s = body.ends_s;
    s.n_places = body.count;
    s.renews = body.renews;
    s.notice_days = body.has_notice_days ? body.notice_days : NOTICE_DAYS;
    if ((r = db_subscription_add(call->worker->db, &s)) > 0)
        return act_call_bad_field(call, "ends_at", "ends_at is not a day or more after starts_at");
    if (r < 0 || (r = audit(call, "subscription.create", &s)) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/subscriptions/%s", hex_encode(s.id, sizeof(s.id), id));
    return answer_subscription(call, 201, &s);
}

/* The one of the path. 0, or the status of the answer it set. */
static unsigned find(struct act_call *call, bool changes, struct db_subscription *ret)
{
    const struct db_subscription_eye eye = eye_of(call, changes);
    const char *text = act_call_param(call, 0);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (strlen(text) == ID_TEXT_LEN && hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_subscription_find(call->worker->db, id, &eye, ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? act_call_problem(call, PROBLEM_NOT_FOUND, no_subscription) : 0;
}

static unsigned get_subscription(struct act_call *call)
{
    struct db_subscription s;
    unsigned status = find(call, false, &s);

    return status != 0 ? status : answer_subscription(call, 200, &s);
}

static unsigned get_subscriptions(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_subscription *list = NULL;
    const struct db_subscription_eye eye = eye_of(call, false);
    int64_t before;
    size_t limit, n;
    unsigned status = act_call_page_number(call, &limit, &before);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_subscription_list(call->worker->db, &eye, before, list, limit + 1, &n);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_subscription(&body, &list[i]);
    }
    act_list_end_number(&body, n > limit ? list[limit - 1].row_id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned patch_subscription(struct act_call *call)
{
    struct db_subscription_change change = {0};
    struct db_subscription s;
    struct subscription_body body;
    unsigned status = find(call, true, &s);
    int r;

    if (status == 0)
        status =
            read_body(call, change_fields, sizeof(change_fields) / sizeof(change_fields[0]), &body);
    if (status != 0)
        return status;
    change.name = body.has_name ? body.name : NULL;
    change.ends_s = body.has_ends_at ? &body.ends_s : NULL;
    change.n_places = body.has_count ? &body.count : NULL;
    change.notice_days = body.has_notice_days ? &body.notice_days : NULL;
    change.renews = body.has_renewal ? &body.renews : NULL;
    if (body.has_ends_at && body.ends_s < s.starts_s)
        return act_call_bad_field(call, "ends_at", "ends_at is before starts_at");
    if ((r = db_subscription_set(call->worker->db, s.row_id, &change, &s)) > 0)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "more devices hold the subscription than that: their owner gives places back first");
    if (r < 0 || (r = audit(call, "subscription.change", &s)) < 0)
        return act_call_failed(call, r);
    return answer_subscription(call, 200, &s);
}

/* --- places ----------------------------------------------------------------------------------- */

struct take_body {
    uint8_t subscription_id[ACCOUNT_ID_LEN];
};
static const struct json_field take_fields[] = {
    {.name = "subscription_id",
        .kind = JSON_HEX,
        .offset = offsetof(struct take_body, subscription_id),
        .size = sizeof(((struct take_body *)0)->subscription_id),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
};

/* The device of the path, which the move may be made of. 0, or the status of the answer it set. */
static unsigned find_device(struct act_call *call, enum device_move move, struct db_device *ret)
{
    char fault[DEVICE_MOVE_FAULT_MAX];
    unsigned status = act_device_find_held(call, 0, ret);

    if (status != 0)
        return status;
    return device_move_judge(move, &ret->record, fault)
               ? 0
               : act_call_problem(call, PROBLEM_CONFLICT, fault);
}

/* What follows for the device is done with the change, and its joins obey at once. 0 or negative.
 */
static int follow(struct act_call *call, enum device_move move, const struct eui64 *dev_eui,
    const uint8_t *subscription_id)
{
    char action[DETAIL_MAX], detail[DETAIL_MAX], object[EUI64_TEXT_LEN + 1], id[ID_TEXT_LEN + 1];
    size_t n_suspended;
    int r;

    (void)snprintf(action, sizeof(action), "device.%s", device_move_text(move));
    (void)snprintf(detail, sizeof(detail), "{\"subscription\":\"%s\"}",
        hex_encode(subscription_id, ACCOUNT_ID_LEN, id));
    r = act_call_audit(
        call, call->caller->organization_id, action, device_id_format(dev_eui, object), detail);
    return r < 0 ? r
                 : db_subscription_settle(
                       call->worker->db, dev_eui, 1, api_request_id(call->request), &n_suspended);
}

/* Of the owner's own, that runs. 0, or the status of the answer it set. */
static unsigned find_wanted(
    struct act_call *call, const struct take_body *body, struct db_subscription *ret)
{
    const struct db_subscription_eye eye = {
        .organization_id = call->caller->organization_id, .uses = true};
    int r = db_subscription_find(call->worker->db, body->subscription_id, &eye, ret);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_bad_field(call, "subscription_id", ACT_SUBSCRIPTION_UNKNOWN);
    return ret->state == SUBSCRIPTION_RUNNING
               ? 0
               : act_call_problem(call, PROBLEM_CONFLICT, ACT_SUBSCRIPTION_ENDED);
}

static unsigned post_take(struct act_call *call)
{
    const int64_t owner_id = call->caller->organization_id;
    struct take_body body;
    struct db_subscription s;
    struct db_device device;
    struct text answer = {0};
    unsigned status =
        act_call_read(call, take_fields, sizeof(take_fields) / sizeof(take_fields[0]), &body);
    int r;

    if (status != 0 || (status = find_device(call, MOVE_SUBSCRIBE, &device)) != 0 ||
        (status = find_wanted(call, &body, &s)) != 0)
        return status;
    r = db_subscription_take(call->worker->db, &device.record.dev_eui, owner_id, s.row_id);
    if (r > 0)
        return act_call_problem(
            call, PROBLEM_CONFLICT, r == 1 ? ACT_SUBSCRIPTION_FULL : ACT_DEVICE_CHANGED);
    if (r == 0)
        r = follow(call, MOVE_SUBSCRIBE, &device.record.dev_eui, s.id);
    if (r == 0)
        r = db_device_find(call->worker->db, &device.record.dev_eui, owner_id, &device);
    if (r != 0)
        return r < 0 ? act_call_failed(call, r)
                     : act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    act_device_write(&answer, &device);
    text_add(&answer, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &answer);
}

static unsigned delete_take(struct act_call *call)
{
    struct db_device device;
    unsigned status = find_device(call, MOVE_UNSUBSCRIBE, &device);
    int r;

    if (status != 0)
        return status;
    r = db_subscription_give_back(
        call->worker->db, &device.record.dev_eui, call->caller->organization_id);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "the device holds no subscription");
    if (r < 0 ||
        (r = follow(call, MOVE_UNSUBSCRIBE, &device.record.dev_eui, device.subscription.id)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

#define SUBSCRIPTION "/v1/subscriptions/{subscription}"
#define OF_DEVICE "/v1/devices/{dev_eui}/subscription"
static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/subscriptions",
        .right = RIGHT_SUBSCRIPTIONS_CHANGE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_subscription,
        .changes = true},
    {.method = API_GET,
        .path = "/v1/subscriptions",
        .right = RIGHT_SUBSCRIPTIONS,
        .work = get_subscriptions},
    {.method = API_GET,
        .path = SUBSCRIPTION,
        .right = RIGHT_SUBSCRIPTIONS,
        .work = get_subscription},
    {.method = API_PATCH,
        .path = SUBSCRIPTION,
        .right = RIGHT_SUBSCRIPTIONS_CHANGE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_subscription,
        .changes = true},
    {.method = API_POST,
        .path = OF_DEVICE,
        .right = RIGHT_DEVICES_CHANGE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_take,
        .changes = true},
    {.method = API_DELETE,
        .path = OF_DEVICE,
        .right = RIGHT_DEVICES_CHANGE,
        .work = delete_take,
        .changes = true},
};

const struct act_area act_area_subscriptions = ACT_AREA(routes);
