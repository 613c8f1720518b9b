/* POST /v1/devices/{dev_eui}/quarantine, /lift and /scrap: devices that are not to be trusted, and
 * those that are no more. */
#include "activation/devices.h"
#include "base/error.h"
#include "db/device_change.h"
#include "db/signal.h"
#include "device/moves.h"
#include <stdio.h>
#include <string.h>

#define DETAIL_MAX 60
#define ACTION_MAX 40
#define EUI_TEXT_MAX 40

static bool is_operator(const struct act_call *call)
{
    return (call->caller->roles & ROLE_OPERATOR) != 0;
}

/* A device that its last owner has released is its maker's to hold, and not to destroy: it may have
 * been sold on. */
static unsigned check_way(struct act_call *call, const struct eui64 *dev_eui)
{
    struct db_code_standing standing;
    int r = db_code_standing(call->worker->db, dev_eui, call->caller->organization_id, &standing);

    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 || standing.of_another
               ? act_call_problem(call, PROBLEM_CONFLICT,
                     "its last owner has released the device for the next one: it may be sold on")
               : 0;
}

/* Its holder's, or for an operator any. 0, or the status of the answer it set. */
static unsigned find_any(struct act_call *call, enum device_move move, struct db_device *ret)
{
    const char *text = act_call_param(call, 0);
    struct eui64 dev_eui;
    int r = 1;

    if (eui64_parse(text, strlen(text), &dev_eui))
        r = db_device_find_any(call->worker->db, &dev_eui, call->caller->organization_id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 || !(ret->is_held || (is_operator(call) && move != MOVE_SCRAP))
               ? act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE)
               : 0;
}

static unsigned judge(struct act_call *call, enum device_move move, const struct db_device *device)
{
    char fault[DEVICE_MOVE_FAULT_MAX];

    if (!device_move_judge(move, &device->record, fault))
        return act_call_problem(call, PROBLEM_CONFLICT, fault);
    return is_operator(call) && move != MOVE_SCRAP ? 0 : check_way(call, &device->record.dev_eui);
}

/* Both. */
static unsigned find(struct act_call *call, enum device_move move, struct db_device *ret)
{
    unsigned status = find_any(call, move, ret);

    return status != 0 ? status : judge(call, move, ret);
}

/* In the holder's history; what an operator did stands there as his. */
static int audit(struct act_call *call, enum device_move move, const struct db_device *device)
{
    char action[ACTION_MAX], detail[DETAIL_MAX], object[EUI64_TEXT_LEN + 1];

    (void)snprintf(action, sizeof(action), "device.%s", device_move_text(move));
    (void)snprintf(
        detail, sizeof(detail), "{\"by\":\"%s\"}", is_operator(call) ? "operator" : "holder");
    return act_call_audit(
        call, device->holder_id, action, eui64_format(&device->record.dev_eui, object), detail);
}

/* `mark`: who has put it into quarantine, from now on. */
static unsigned make_move(
    struct act_call *call, enum device_move move, struct db_device *device, const char *mark)
{
    struct db *db = call->worker->db;
    const struct db_device before = *device;
    struct device_record after = device->record;
    struct text body = {0};
    int r;

    device_move_make(move, &after);
    r = db_device_change(db, device->owner_id, device->owner_id, device, &after, device->name);
    if (r == 0 && move == MOVE_SCRAP)
        r = db_device_destroy_keys(db, &after.dev_eui);
    if (r == 0)
        r = db_device_mark_quarantine(db, &before, mark);
    if (r == 0 && move == MOVE_LIFT)
        r = db_signal_forget(db, &after.dev_eui);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    if (r < 0 || (r = audit(call, move, device)) < 0)
        return act_call_failed(call, r);
    if (!device->is_held)
        return act_call_no_content(call);
    act_device_moved(device, &after);
    act_device_write(&body, device);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const char operators[] =
    "the device was put into quarantine by the operator of this service: ask him";

/* Also one that nobody asked for is not its holder's to lift; one by its signals is, for he wanted
 * it so. */
static bool is_held_by_operator(const struct act_call *call, const struct db_device *device)
{
    return !is_operator(call) && device->record.trust == TRUST_QUARANTINED &&
           strcmp(device->quarantined_by, "holder") != 0 &&
           strcmp(device->quarantined_by, "service") != 0;
}

/* What its holder has put into quarantine himself, or had put there, becomes the operator's: or he
 * could lift it first. */
static unsigned take_over(struct act_call *call, struct db_device *device)
{
    int r = db_device_mark_quarantine(call->worker->db, device, "operator");

    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    if (r < 0 || (r = audit(call, MOVE_QUARANTINE, device)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static unsigned post_quarantine(struct act_call *call)
{
    struct db_device device;
    unsigned status = find_any(call, MOVE_QUARANTINE, &device);

    if (status != 0)
        return status;
    if (is_operator(call) && device.record.trust == TRUST_QUARANTINED &&
        strcmp(device.quarantined_by, "operator") != 0)
        return take_over(call, &device);
    status = judge(call, MOVE_QUARANTINE, &device);
    return status != 0 ? status
                       : make_move(call, MOVE_QUARANTINE, &device,
                             is_operator(call) ? "operator" : "holder");
}

static unsigned post_lift(struct act_call *call)
{
    struct db_device device;
    unsigned status = find(call, MOVE_LIFT, &device);

    if (status != 0)
        return status;
    if (is_held_by_operator(call, &device))
        return act_call_problem(call, PROBLEM_CONFLICT, operators);
    return make_move(call, MOVE_LIFT, &device, "");
}

/* --- scrap ------------------------------------------------------------------------------------ */

struct scrap_body {
    char confirm[EUI_TEXT_MAX + 1];
};

static const struct json_field fields[] = {
    {.name = "confirm",
        .kind = JSON_TEXT,
        .offset = offsetof(struct scrap_body, confirm),
        .size = sizeof(((struct scrap_body *)0)->confirm),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
};

/* There is no way back, so the device is named twice. */
static unsigned post_scrap(struct act_call *call)
{
    struct db_device device;
    struct scrap_body body;
    struct eui64 confirmed;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);

    if (status != 0 || (status = find(call, MOVE_SCRAP, &device)) != 0)
        return status;
    if (!eui64_parse(body.confirm, strlen(body.confirm), &confirmed) ||
        eui64_to_u64(&confirmed) != eui64_to_u64(&device.record.dev_eui))
        return act_call_bad_field(call, "confirm",
            "confirm is not the DevEUI of the path: the device's keys are destroyed for good");
    if (is_held_by_operator(call, &device))
        return act_call_problem(call, PROBLEM_CONFLICT, operators);
    return make_move(call, MOVE_SCRAP, &device, "");
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/devices/{dev_eui}/quarantine",
        .right = RIGHT_QUARANTINE,
        .work = post_quarantine,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/devices/{dev_eui}/lift",
        .right = RIGHT_QUARANTINE,
        .work = post_lift,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/devices/{dev_eui}/scrap",
        .right = RIGHT_DEVICES,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_scrap,
        .changes = true},
};

const struct act_area act_area_trust = ACT_AREA(routes);
