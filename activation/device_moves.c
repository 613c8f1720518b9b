/* What owners do to their devices: one handler for the moves of device/moves.h, a call each. */
#include "activation/home.h"
#include "activation/move_call.h"
#include "activation/new_code.h"
#include "activation/operator_check.h"
#include "base/error.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_MAX 60

static unsigned answer_device(struct act_call *call, const struct mover *mover,
    const struct moving *moving, const struct act_new_code *code)
{
    struct text body = {0};

    act_move_write(&body, mover, moving);
    if (code != NULL) {
        text_add(&body, ",");
        act_new_code_tell(call, code, &body);
    }
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* Of the device in the path; with a new code where the move makes one. */
static unsigned make_move(struct act_call *call, const struct mover *mover)
{
    CLEANUP(act_new_code_wipe) struct act_new_code code = {0};
    bool has_code = device_move_renews_code(mover->move);
    struct moving moving;
    unsigned status = act_move_load(call, mover, &moving);
    int r;

    if (status != 0)
        return status;
    if (has_code) {
        r = act_new_code_make(call, &moving.code.dev_eui, moving.code.generation, &code);
        if (r < 0)
            return act_call_failed(call, r);
        moving.code = code.code;
    }
    status = act_move_make(call, mover, &moving);
    return status != 0 ? status : answer_device(call, mover, &moving, has_code ? &code : NULL);
}

static unsigned move(struct act_call *call, enum device_move move)
{
    const struct mover mover = act_move_of(call, move);

    return make_move(call, &mover);
}

static unsigned post_suspend(struct act_call *call)
{
    return move(call, MOVE_SUSPEND);
}

static unsigned post_resume(struct act_call *call)
{
    return move(call, MOVE_RESUME);
}

static unsigned post_release(struct act_call *call)
{
    return move(call, MOVE_RELEASE);
}

static unsigned post_reset_nonces(struct act_call *call)
{
    return move(call, MOVE_RESET_NONCES);
}

static int audit(struct act_call *call, const char *action, const struct eui64 *dev_eui,
    const struct act_new_code *code)
{
    char detail[DETAIL_MAX] = "{}", object[EUI64_TEXT_LEN + 1];

    if (code != NULL)
        (void)snprintf(
            detail, sizeof(detail), "{\"generation\":%" PRIu32 "}", code->code.generation);
    return act_call_audit(
        call, call->caller->organization_id, action, device_id_format(dev_eui, object), detail);
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
    if (r < 0 || (r = audit(call, "device.reissue-code", dev_eui, &code)) < 0)
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

    if (!device_id_parse(text, strlen(text), &dev_eui))
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

    if (device_id_parse(text, strlen(text), &dev_eui))
        r = db_device_find(call->worker->db, &dev_eui, call->caller->organization_id, &device);
    may = r == 0 && device.is_brought && device.record.ownership == OWNERSHIP_UNOWNED;
    if (r >= 0 && !may && device_id_parse(text, strlen(text), &dev_eui)) {
        r = db_code_standing(call->worker->db, &dev_eui, call->caller->organization_id, &standing);
        may = r == 0 && standing.former;
    }
    if (r < 0)
        return act_call_failed(call, r);
    if (!may)
        return act_call_problem(call, PROBLEM_NOT_FOUND,
            "there is no such device that nobody owns, or it was not yours");
    if ((r = db_code_unlock(call->worker->db, &dev_eui)) < 0 ||
        (r = audit(call, "device.unlock-code", &dev_eui, NULL)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

/* --- PATCH ------------------------------------------------------------------------------------ */

struct device_body {
    struct act_home home; /* first: its fields say so */
    char name[DB_DEVICE_NAME_MAX + 1];
    struct net_id net_ids[DEVICE_ROAMING_MAX];
    size_t n_net_ids; /* or what stands for "agreed" */
    bool has_name, has_roaming;
};

#define ROAMING_AGREED (DEVICE_ROAMING_MAX + 1)
static const struct word_bits roaming_words[] = {
    {"agreed", ROAMING_AGREED}, {"none", 0}, {NULL, 0}};

static const struct json_field fields[] = {
    ACT_HOME_FIELD(home_net_id),
    ACT_HOME_FIELD(as_id),
    {.name = "name",
        .kind = JSON_TEXT,
        .offset = offsetof(struct device_body, name),
        .size = sizeof(((struct device_body *)0)->name),
        .nullable = true,
        .present_offset = offsetof(struct device_body, has_name)},
    {.name = "roaming",
        .kind = JSON_HEX_LIST,
        .offset = offsetof(struct device_body, net_ids),
        .size = sizeof(struct net_id),
        .max = DEVICE_ROAMING_MAX,
        .words = roaming_words,
        .present_offset = offsetof(struct device_body, has_roaming),
        .len_offset = offsetof(struct device_body, n_net_ids)},
};

static unsigned patch_device(struct act_call *call)
{
    struct mover mover = act_move_of(call, MOVE_BIND);
    struct device_record home = {0};
    struct device_body body;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);

    if (status != 0 || (status = act_home_set(call, &body.home, &home)) != 0)
        return status;
    if (body.has_name && body.name[0] != '\0' && !act_name_valid(body.name, DB_DEVICE_NAME_MAX))
        return act_call_bad_field(
            call, "name", "name is not a text of 1 to 100 bytes without control characters");
    mover.rebinds = body.home.has_home_net_id;
    mover.has_home_net_id = home.has_home_net_id;
    mover.home_net_id = home.home_net_id;
    memcpy(mover.as_id, home.as_id, sizeof(mover.as_id));
    mover.name = body.has_name ? body.name : NULL;
    mover.narrows = body.has_roaming;
    if (body.has_roaming && body.n_net_ids != ROAMING_AGREED)
        (void)device_roaming_list(body.net_ids, body.n_net_ids, &mover.roaming);
    return make_move(call, &mover);
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
