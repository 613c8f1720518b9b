/* What owners do to their devices: one handler for the moves of device/moves.h, a call each. */
#include "activation/devices.h"
#include "activation/home.h"
#include "activation/new_code.h"
#include "activation/operator_check.h"
#include "base/error.h"
#include "db/replacement.h"
#include "db/signal.h"
#include "device/moves.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_MAX 160
#define ACTION_MAX 40

/* A code is told by its generation, in the audit and everywhere else. */
static int audit(struct act_call *call, const char *word, const struct eui64 *dev_eui,
    const struct act_new_code *code, const struct device_record *after)
{
    char action[ACTION_MAX], detail[DETAIL_MAX], object[EUI64_TEXT_LEN + 1];
    char net_id[NET_ID_TEXT_LEN + 1] = "";

    (void)snprintf(action, sizeof(action), "device.%s", word);
    if (code != NULL)
        (void)snprintf(
            detail, sizeof(detail), "{\"generation\":%" PRIu32 "}", code->code.generation);
    else if (after != NULL && after->has_home_net_id)
        (void)snprintf(detail, sizeof(detail), "{\"home_net_id\":\"%s\",\"as_id\":\"%s\"}",
            net_id_format(&after->home_net_id, net_id), after->as_id);
    else
        (void)snprintf(detail, sizeof(detail), "{}");
    return act_call_audit(
        call, call->caller->organization_id, action, eui64_format(dev_eui, object), detail);
}

static unsigned answer_device(struct act_call *call, struct db_device *device,
    const struct device_record *after, const struct act_new_code *code)
{
    struct text body = {0};

    act_device_moved(device, after);
    device->is_held = after->ownership != OWNERSHIP_UNOWNED || device->is_brought;
    act_device_write(&body, device);
    if (code != NULL) {
        text_add(&body, ",");
        act_new_code_tell(call, code, &body);
    }
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* Makes a move that is legal; `code`: with a new one. */
static unsigned make_move(struct act_call *call, enum device_move move, struct db_device *device,
    const struct device_record *after, const char *name, const struct act_new_code *code)
{
    const int64_t owner_id = call->caller->organization_id;
    struct db_device before = *device;
    int r = db_device_change(call->worker->db, owner_id, owner_id, &before, after, name);

    if (r == 0 && move == MOVE_RESUME && device->has_replaced_by)
        r = db_replacement_end(call->worker->db, &before.record);
    if (r == 0 && code != NULL)
        r = act_new_code_store(call, code, move == MOVE_RELEASE ? CODE_RELEASED : CODE_ROTATED);
    if (r == 0 && move == MOVE_RESET_NONCES)
        r = db_signal_forget(call->worker->db, &after->dev_eui);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    if (r < 0 || (r = audit(call, device_move_text(move), &after->dev_eui, code,
                      move == MOVE_BIND ? after : NULL)) < 0)
        return act_call_failed(call, r);
    if (name != device->name)
        (void)snprintf(device->name, sizeof(device->name), "%s", name);
    return answer_device(call, device, after, code);
}

/* The device of the path, which the move may be made of. 0, or the status of the answer it set. */
static unsigned find(struct act_call *call, enum device_move move, struct db_device *ret)
{
    char fault[DEVICE_MOVE_FAULT_MAX];
    unsigned status = act_device_find_held(call, 0, ret);

    if (status != 0)
        return status;
    return device_move_judge(move, &ret->record, fault)
               ? 0
               : act_call_problem(call, PROBLEM_CONFLICT, fault);
}

static unsigned move(struct act_call *call, enum device_move move)
{
    CLEANUP(act_new_code_wipe) struct act_new_code code = {0};
    bool has_code = move == MOVE_RELEASE || move == MOVE_ROTATE_CODE;
    struct db_code_standing standing;
    struct device_record after;
    struct db_device device;
    unsigned status = find(call, move, &device);
    int r;

    if (status != 0)
        return status;
    after = device.record;
    device_move_make(move, &after);
    if (!has_code)
        return make_move(call, move, &device, &after, device.name, NULL);
    r = db_code_standing(
        call->worker->db, &after.dev_eui, call->caller->organization_id, &standing);
    if (r == 0)
        r = act_new_code_make(call, &after.dev_eui, standing.generation + 1, &code);
    if (r != 0)
        return r < 0 ? act_call_failed(call, r)
                     : act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    return make_move(call, move, &device, &after, move == MOVE_RELEASE ? "" : device.name, &code);
}

/* --- suspend and resume ----------------------------------------------------------------------- */

/* One that is suspended for want of a subscription is its owner's to resume from now on. */
static unsigned hand_over(struct act_call *call, struct db_device *device)
{
    const struct device_record same = device->record;
    int r =
        db_subscription_hand_over(call->worker->db, &same.dev_eui, call->caller->organization_id);

    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    if (r < 0 || (r = audit(call, device_move_text(MOVE_SUSPEND), &same.dev_eui, NULL, NULL)) < 0)
        return act_call_failed(call, r);
    device->is_suspended_by_subscription = false;
    return answer_device(call, device, &same, NULL);
}

static unsigned post_suspend(struct act_call *call)
{
    struct db_device device;
    unsigned status = act_device_find_held(call, 0, &device);

    if (status != 0)
        return status;
    return device.is_suspended_by_subscription && device.record.ownership == OWNERSHIP_CLAIMED
               ? hand_over(call, &device)
               : move(call, MOVE_SUSPEND);
}

static unsigned answer_not_entitled(struct act_call *call, const struct db_device *device)
{
    const struct db_device_subscription *s = &device->subscription;
    char detail[DB_SUBSCRIPTION_NAME_MAX + DETAIL_MAX];

    if (!s->present)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "the device holds no subscription, and devices of your organization need one");
    (void)snprintf(detail, sizeof(detail),
        "the device's subscription %s ended at %s: have it extended, or take a place in another",
        s->name, s->ends_at);
    return act_call_problem(call, PROBLEM_CONFLICT, detail);
}

/* Judged once more behind the move, when nobody else can change the device: the subscription may
 * have ended in between. */
static unsigned post_resume(struct act_call *call)
{
    struct db_device device;
    unsigned status = find(call, MOVE_RESUME, &device);
    int r;

    if (status != 0)
        return status;
    if (!device.is_entitled)
        return answer_not_entitled(call, &device);
    if ((status = move(call, MOVE_RESUME)) >= 400)
        return status;
    r = db_subscription_settle(
        call->worker->db, &device.record.dev_eui, 1, api_request_id(call->request));
    if (r == 0)
        r = db_device_find(
            call->worker->db, &device.record.dev_eui, call->caller->organization_id, &device);
    if (r != 0)
        return r < 0 ? act_call_failed(call, r)
                     : act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    return device.is_entitled ? status : answer_not_entitled(call, &device);
}

static unsigned post_release(struct act_call *call)
{
    return move(call, MOVE_RELEASE);
}

static unsigned post_reset_nonces(struct act_call *call)
{
    return move(call, MOVE_RESET_NONCES);
}

/* --- rotate-code ------------------------------------------------------------------------------ */

/* Who released a device may lose the code on its way to the next owner. Only the newest one holds.
 */
static unsigned reissue(struct act_call *call, const struct eui64 *dev_eui)
{
    CLEANUP(act_new_code_wipe) struct act_new_code code = {0};
    struct db_code_standing standing;
    struct text body = {0};
    int r = db_code_standing(call->worker->db, dev_eui, call->caller->organization_id, &standing);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || !standing.former)
        return act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
    if (!standing.reissuable)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "whoever released a device can have its code made anew within 30 days");
    if ((r = act_new_code_make(call, dev_eui, standing.generation + 1, &code)) == 0)
        r = act_new_code_store(call, &code, CODE_REISSUED);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    if (r < 0 || (r = audit(call, "reissue-code", dev_eui, &code, NULL)) < 0)
        return act_call_failed(call, r);
    text_add(&body, "{");
    act_new_code_tell(call, &code, &body);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}
_Static_assert(DB_CODE_REISSUE_DAYS == 30, "the sentence says another number");

/* Of a device that its owner has released, the code of the next one; else that of its owner. */
static unsigned post_rotate_code(struct act_call *call)
{
    const char *text = act_call_param(call, 0);
    struct db_code_standing standing;
    struct eui64 dev_eui;
    int r;

    if (!eui64_parse(text, strlen(text), &dev_eui))
        return act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
    r = db_code_standing(call->worker->db, &dev_eui, call->caller->organization_id, &standing);
    if (r < 0)
        return act_call_failed(call, r);
    return r == 0 && standing.former ? reissue(call, &dev_eui) : move(call, MOVE_ROTATE_CODE);
}

/* For who may tell its maker's labels or its last owner's by sight: a weak code is tried again. */
static unsigned post_unlock_code(struct act_call *call)
{
    const char *text = act_call_param(call, 0);
    struct db_code_standing standing = {0};
    struct db_device device;
    struct eui64 dev_eui;
    bool may;
    int r = 1;

    if (eui64_parse(text, strlen(text), &dev_eui))
        r = db_device_find(call->worker->db, &dev_eui, call->caller->organization_id, &device);
    may = r == 0 && device.is_brought && device.record.ownership == OWNERSHIP_UNOWNED;
    if (r >= 0 && !may && eui64_parse(text, strlen(text), &dev_eui)) {
        r = db_code_standing(call->worker->db, &dev_eui, call->caller->organization_id, &standing);
        may = r == 0 && standing.former;
    }
    if (r < 0)
        return act_call_failed(call, r);
    if (!may)
        return act_call_problem(call, PROBLEM_NOT_FOUND,
            "there is no such device that nobody owns, or it was not yours");
    if ((r = db_code_unlock(call->worker->db, &dev_eui)) < 0 ||
        (r = audit(call, "unlock-code", &dev_eui, NULL, NULL)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

/* --- PATCH ------------------------------------------------------------------------------------ */

struct device_body {
    struct act_home home; /* first: its fields say so */
    char name[DB_DEVICE_NAME_MAX + 1];
    bool has_name;
};

static const struct json_field fields[] = {
    ACT_HOME_FIELD(home_net_id),
    ACT_HOME_FIELD(as_id),
    {.name = "name",
        .kind = JSON_TEXT,
        .offset = offsetof(struct device_body, name),
        .size = sizeof(((struct device_body *)0)->name),
        .nullable = true,
        .present_offset = offsetof(struct device_body, has_name)},
};

static unsigned patch_device(struct act_call *call)
{
    struct device_body body;
    struct device_record after;
    struct db_device device;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);

    if (status != 0 || (status = find(call, MOVE_BIND, &device)) != 0)
        return status;
    after = device.record;
    if ((status = act_home_set(call, &body.home, &after)) != 0)
        return status;
    if (body.has_name && body.name[0] != '\0' && !act_name_valid(body.name, DB_DEVICE_NAME_MAX))
        return act_call_bad_field(
            call, "name", "name is not a text of 1 to 100 bytes without control characters");
    return make_move(
        call, MOVE_BIND, &device, &after, body.has_name ? body.name : device.name, NULL);
}

#define POST(verb, handler, need)                                                                  \
    {                                                                                              \
        .method = API_POST, .path = "/v1/devices/{dev_eui}/" verb, .right = (need),                \
        .work = (handler), .changes = true                                                         \
    }
static const struct act_route routes[] = {
    {.method = API_PATCH,
        .path = "/v1/devices/{dev_eui}",
        .right = RIGHT_DEVICES_CHANGE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_device,
        .changes = true},
    POST("suspend", post_suspend, RIGHT_DEVICES_CHANGE),
    POST("resume", post_resume, RIGHT_DEVICES_CHANGE),
    POST("release", post_release, RIGHT_DEVICES_CHANGE),
    POST("rotate-code", post_rotate_code, RIGHT_DEVICES_CHANGE),
    POST("reset-nonces", post_reset_nonces, RIGHT_DEVICES_CHANGE),
    POST("unlock-code", post_unlock_code, RIGHT_DEVICES),
};

const struct act_area act_area_device_moves = ACT_AREA(routes);
