/* Offers: POST /v1/devices/{dev_eui}/offer, and /v1/offers. A device goes on working for its owner
 * until the other one accepts it; then it has a new owner, a new epoch and a new code. */
#include "activation/home.h"
#include "activation/move_call.h"
#include "activation/new_code.h"
#include "base/error.h"
#include "base/hex.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define LIFETIME_DAYS 14
#define LIFETIME_DAYS_MAX 90
#define DETAIL_MAX 160

static const char no_offer[] = "there is no such offer, or it is neither by you nor to you";
static const char changed[] =
    "the device or the offer has changed since it was looked at: look again";

/* --- making one ------------------------------------------------------------------------------- */

struct offer_body {
    uint8_t to[ACCOUNT_ID_LEN];
    uint32_t days;
    bool has_days;
};

static const struct json_field offer_fields[] = {
    {.name = "to",
        .kind = JSON_HEX,
        .offset = offsetof(struct offer_body, to),
        .size = sizeof(((struct offer_body *)0)->to),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "days",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct offer_body, days),
        .max = LIFETIME_DAYS_MAX,
        .present_offset = offsetof(struct offer_body, has_days)},
};

static void write_offer(struct text *out, const struct db_offer *offer)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    text_add(out, "{\"id\":\"");
    text_add_hex(out, offer->id, sizeof(offer->id));
    text_addf(out, "\",\"dev_eui\":\"%s\",\"from\":\"", device_id_format(&offer->dev_eui, dev_eui));
    text_add_hex(out, offer->from, sizeof(offer->from));
    text_add(out, "\",\"to\":\"");
    text_add_hex(out, offer->to, sizeof(offer->to));
    text_addf(out, "\",\"state\":\"%s\",\"created_at\":\"%s\",\"expires_at\":\"%s\"}",
        db_offer_state_text(offer->state), offer->created_at, offer->expires_at);
}

static unsigned answer_offer(struct act_call *call, unsigned status, const struct db_offer *offer)
{
    struct text body = {0};

    write_offer(&body, offer);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

/* In the histories of both. */
static int audit(struct act_call *call, const struct db_offer *offer, const char *action)
{
    char object[EUI64_TEXT_LEN + 1], id[2 * ACCOUNT_ID_LEN + 1], detail[DETAIL_MAX];
    int r;

    (void)snprintf(
        detail, sizeof(detail), "{\"offer\":\"%s\"}", hex_encode(offer->id, sizeof(offer->id), id));
    (void)device_id_format(&offer->dev_eui, object);
    r = act_call_audit(call, offer->from_id, action, object, detail);
    return r < 0 ? r : act_call_audit(call, offer->to_id, action, object, detail);
}

unsigned act_offer_read(struct act_call *call, const uint8_t to[static ACCOUNT_ID_LEN],
    const uint32_t *days, struct mover *mover)
{
    struct db_organization receiver;
    int r;

    if (days != NULL && (*days == 0 || *days > LIFETIME_DAYS_MAX))
        return act_call_bad_field(call, "days", "days is not an integer from 1 to 90");
    if ((r = db_organization_find(call->worker->db, to, &receiver)) < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_bad_field(call, "to", "to is no organization that is known here");
    if (receiver.row_id == call->caller->organization_id)
        return act_call_bad_field(call, "to", "to is your own organization");
    mover->to_id = receiver.row_id;
    mover->lifetime_s = (int64_t)(days != NULL ? *days : LIFETIME_DAYS) * DAY_S;
    return 0;
}

static unsigned post_offer(struct act_call *call)
{
    struct mover mover = act_move_of(call, MOVE_OFFER);
    struct moving moving;
    struct offer_body body;
    char id[2 * ACCOUNT_ID_LEN + 1];
    unsigned status =
        act_call_read(call, offer_fields, sizeof(offer_fields) / sizeof(offer_fields[0]), &body);

    if (status != 0 ||
        (status = act_offer_read(call, body.to, body.has_days ? &body.days : NULL, &mover)) != 0 ||
        (status = act_move_load(call, &mover, &moving)) != 0 ||
        (status = act_move_make(call, &mover, &moving)) != 0)
        return status;
    act_call_locate(
        call, "/v1/offers/%s", hex_encode(moving.offer.id, sizeof(moving.offer.id), id));
    return answer_offer(call, 201, &moving.offer);
}

/* --- looking ---------------------------------------------------------------------------------- */

static unsigned find_offer(struct act_call *call, struct db_offer *ret)
{
    const char *text = act_call_param(call, 0);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_offer_find(call->worker->db, id, call->caller->organization_id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? act_call_problem(call, PROBLEM_NOT_FOUND, no_offer) : 0;
}

static unsigned get_offer(struct act_call *call)
{
    struct db_offer offer;
    unsigned status = find_offer(call, &offer);

    return status != 0 ? status : answer_offer(call, 200, &offer);
}

static unsigned get_offers(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_offer *list = NULL;
    int64_t before;
    size_t limit, n;
    unsigned status = act_call_page_number(call, &limit, &before);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_offer_list(call->worker->db, call->caller->organization_id, before, list, limit + 1, &n);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_offer(&body, &list[i]);
    }
    act_list_end_number(&body, n > limit ? list[limit - 1].row_id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* --- ending one ------------------------------------------------------------------------------- */

/* The device of an open offer, which the move may be made of. 0, or the status it set. */
static unsigned find_offered(struct act_call *call, enum device_move move,
    const struct db_offer *offer, struct db_device *ret)
{
    char fault[DEVICE_MOVE_FAULT_MAX];
    int r;

    /* One whose time is over is still to be ended, by whoever comes first. */
    if (offer->state != OFFER_OPEN && !(move == MOVE_DECLINE && offer->state == OFFER_EXPIRED)) {
        (void)snprintf(fault, sizeof(fault), "the offer is %s", db_offer_state_text(offer->state));
        return act_call_problem(call, PROBLEM_CONFLICT, fault);
    }
    if ((r = db_device_find(call->worker->db, &offer->dev_eui, offer->from_id, ret)) < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, changed);
    return device_move_judge(move, &ret->record, fault)
               ? 0
               : act_call_problem(call, PROBLEM_CONFLICT, fault);
}

/* Either of the two may: it is declined by who got it, and withdrawn by who made it. */
static unsigned post_decline(struct act_call *call)
{
    struct db_offer offer;
    struct db_device device;
    struct device_record after;
    unsigned status = find_offer(call, &offer);
    bool own;
    int r;

    if (status != 0 || (status = find_offered(call, MOVE_DECLINE, &offer, &device)) != 0)
        return status;
    own = offer.from_id == call->caller->organization_id;
    offer.state = own ? OFFER_WITHDRAWN : OFFER_DECLINED;
    after = device.record;
    device_move_make(MOVE_DECLINE, &after);
    r = db_device_change(call->worker->db,
        &(struct db_device_change){.owner_id = offer.from_id,
            .new_owner_id = offer.from_id,
            .before = &device,
            .after = &after,
            .name = device.name},
        1);
    if (r == 0)
        r = db_offer_end(call->worker->db, offer.row_id, offer.state);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, changed);
    r = r < 0 ? r : audit(call, &offer, own ? "device.offer.withdraw" : "device.offer.decline");
    return r < 0 ? act_call_failed(call, r) : answer_offer(call, 200, &offer);
}

/* With nothing in between the device has its new owner, and nobody else knows its code. */
static unsigned accept(struct act_call *call, struct db_offer *offer, struct db_device *device,
    const struct device_record *after, const struct act_new_code *code)
{
    struct db *db = call->worker->db;
    struct text body = {0};
    int r = db_device_change(db,
        &(struct db_device_change){.owner_id = offer->from_id,
            .new_owner_id = offer->to_id,
            .before = device,
            .after = after,
            .name = ""},
        1);

    if (r == 0)
        r = act_new_code_store(call, code, CODE_ROTATED);
    if (r == 0)
        r = db_offer_end(db, offer->row_id, OFFER_ACCEPTED);
    if (r == 0)
        r = db_device_find(db, &offer->dev_eui, offer->to_id, device);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, changed);
    if (r < 0 || (r = audit(call, offer, "device.offer.accept")) < 0)
        return act_call_failed(call, r);
    act_device_write(&body, device);
    text_add(&body, ",");
    act_new_code_tell(call, code, &body);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned post_accept(struct act_call *call)
{
    CLEANUP(act_new_code_wipe) struct act_new_code code = {0};
    struct db_code_standing standing;
    struct act_home home;
    struct db_offer offer;
    struct db_device device;
    struct device_record after;
    unsigned status = act_home_read(call, &home);
    int r;

    if (status != 0 || (status = find_offer(call, &offer)) != 0)
        return status;
    if (offer.to_id != call->caller->organization_id)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "the offer is by you: only who it is to can accept it");
    if ((status = find_offered(call, MOVE_ACCEPT, &offer, &device)) != 0)
        return status;
    after = device.record;
    device_move_make(MOVE_ACCEPT, &after);
    if ((status = act_home_set(call, &home, &after)) != 0)
        return status;
    if (after.has_home_net_id && device_kind_of(&after.dev_eui) == DEVICE_SIGFOX)
        return act_call_bad_field(call, "home_net_id", ACT_NO_HOME);
    r = db_code_standing(call->worker->db, &after.dev_eui, offer.to_id, &standing);
    if (r == 0)
        r = act_new_code_make(call, &after.dev_eui, standing.generation + 1, &code);
    if (r != 0)
        return r < 0 ? act_call_failed(call, r) : act_call_problem(call, PROBLEM_CONFLICT, changed);
    return accept(call, &offer, &device, &after, &code);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/devices/{dev_eui}/offer",
        .right = RIGHT_DEVICES_CHANGE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_offer,
        .changes = true},
    {.method = API_GET, .path = "/v1/offers", .right = RIGHT_OFFERS, .work = get_offers},
    {.method = API_GET, .path = "/v1/offers/{offer}", .right = RIGHT_OFFERS, .work = get_offer},
    {.method = API_POST,
        .path = "/v1/offers/{offer}/accept",
        .right = RIGHT_DEVICES_CHANGE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_accept,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/offers/{offer}/decline",
        .right = RIGHT_DEVICES_CHANGE,
        .work = post_decline,
        .changes = true},
};

const struct act_area act_area_offers = ACT_AREA(routes);
