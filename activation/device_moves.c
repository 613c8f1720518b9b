/* What owners do to their devices: one handler for the moves of device/moves.h, a call each. */
#include "activation/code_hash.h"
#include "activation/devices.h"
#include "activation/operator_check.h"
#include "base/clock.h"
#include "base/error.h"
#include "db/device_change.h"
#include "device/code.h"
#include "device/moves.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_MAX 160
#define ACTION_MAX 40

static const char changed[] =
    "the device has changed since it was looked at: look again, and repeat what is still wanted";

/* A code on its way to whoever asked for it. */
struct new_code {
    char text[DEVICE_CODE_MADE_LEN + 1];
    struct db_code code;
};

static void new_code_wipe(struct new_code *code)
{
    secret_wipe(code, sizeof(*code));
}

/* Nothing is locked meanwhile but the call's Idempotency-Key. */
static int make_code(
    struct act_call *call, const struct eui64 *dev_eui, uint32_t generation, struct new_code *ret)
{
    uint8_t random[DEVICE_CODE_RANDOM_LEN];
    struct keyd_claim_code clear = {
        .dev_eui = *dev_eui, .generation = generation, .code_len = DEVICE_CODE_MADE_LEN};
    int r = keyd_random(
        call->worker->keyd, random, sizeof(random), 1, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r < 0)
        return r;
    device_code_make(random, ret->text);
    secret_wipe(random, sizeof(random));
    memcpy(clear.code, ret->text, DEVICE_CODE_MADE_LEN);
    r = act_code_hash(call->worker, &clear, 1, &ret->code);
    secret_wipe(&clear, sizeof(clear));
    return r;
}

static int store_code(
    struct act_call *call, const struct new_code *code, enum db_code_renewal renewal)
{
    uint8_t name[DB_CODE_CALL_LEN];

    act_call_name(call, api_request_header(call->request, "Idempotency-Key"), name);
    return db_code_renew(
        call->worker->db, &code->code, renewal, call->caller->organization_id, name);
}

/* A code is told by its generation, in the audit and everywhere else. */
static int audit(struct act_call *call, const char *word, const struct eui64 *dev_eui,
    const struct new_code *code, const struct device_record *after)
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

static void write_code(struct text *out, const struct new_code *code)
{
    text_addf(out, "\"code\":\"%s\",\"generation\":%" PRIu32, code->text, code->code.generation);
}

static unsigned answer_device(struct act_call *call, struct db_device *device,
    const struct device_record *after, const struct new_code *code)
{
    struct text body = {0};

    device->record = *after;
    device->is_held = after->ownership != OWNERSHIP_UNOWNED || device->is_brought;
    act_device_write(&body, device);
    if (code != NULL) {
        text_add(&body, ",");
        write_code(&body, code);
        call->shown_once = true;
    }
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* Makes a move that is legal; `code`: with a new one. */
static unsigned make_move(struct act_call *call, enum device_move move, struct db_device *device,
    const struct device_record *after, const char *name, const struct new_code *code)
{
    struct db_device before = *device;
    int r = db_device_change(call->worker->db, call->caller->organization_id, &before, after, name);

    if (r == 0 && code != NULL)
        r = store_code(call, code, move == MOVE_RELEASE ? CODE_RELEASED : CODE_ROTATED);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, changed);
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
    CLEANUP(new_code_wipe) struct new_code code = {0};
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
        r = make_code(call, &after.dev_eui, standing.generation + 1, &code);
    if (r != 0)
        return r < 0 ? act_call_failed(call, r) : act_call_problem(call, PROBLEM_CONFLICT, changed);
    return make_move(call, move, &device, &after, move == MOVE_RELEASE ? "" : device.name, &code);
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

/* --- rotate-code ------------------------------------------------------------------------------ */

static const char not_yours[] = "there is no such device, or it is not yours to see";

/* Who released a device may lose the code on its way to the next owner, once. */
static unsigned reissue(struct act_call *call, const struct eui64 *dev_eui)
{
    CLEANUP(new_code_wipe) struct new_code code = {0};
    struct db_code_standing standing;
    struct text body = {0};
    int r = db_code_standing(call->worker->db, dev_eui, call->caller->organization_id, &standing);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || !standing.former)
        return act_call_problem(call, PROBLEM_NOT_FOUND, not_yours);
    if (!standing.reissuable)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "whoever released a device gets its code once more, within 30 days");
    if ((r = make_code(call, dev_eui, standing.generation + 1, &code)) == 0)
        r = store_code(call, &code, CODE_REISSUED);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, changed);
    if (r < 0 || (r = audit(call, "reissue-code", dev_eui, &code, NULL)) < 0)
        return act_call_failed(call, r);
    text_add(&body, "{");
    write_code(&body, &code);
    text_add(&body, "}\n");
    call->shown_once = true;
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
        return act_call_problem(call, PROBLEM_NOT_FOUND, not_yours);
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
    char home_net_id[NET_ID_TEXT_LEN + 1];
    char as_id[PEER_ID_MAX + 1];
    char name[DB_DEVICE_NAME_MAX + 1];
    bool has_home_net_id, has_as_id, has_name;
};

#define MEMBER(member)                                                                             \
    {                                                                                              \
        .name = #member, .kind = JSON_TEXT, .offset = offsetof(struct device_body, member),        \
        .size = sizeof(((struct device_body *)0)->member), .nullable = true,                       \
        .present_offset = offsetof(struct device_body, has_##member)                               \
    }
static const struct json_field fields[] = {MEMBER(home_net_id), MEMBER(as_id), MEMBER(name)};

/* 0, or the status of the answer it set. */
static unsigned read_home(
    struct act_call *call, const struct device_body *body, struct device_record *record)
{
    bool home_known, as_known;
    int r;

    if (body->has_home_net_id != body->has_as_id ||
        (body->home_net_id[0] == '\0') != (body->as_id[0] == '\0'))
        return act_call_bad_field(
            call, "home_net_id", "home_net_id and as_id go together: give both, or null for both");
    if (!body->has_home_net_id)
        return 0;
    record->has_home_net_id = body->home_net_id[0] != '\0';
    memset(&record->home_net_id, 0, sizeof(record->home_net_id));
    memcpy(record->as_id, body->as_id, sizeof(record->as_id));
    if (!record->has_home_net_id)
        return 0;
    if (!net_id_parse(body->home_net_id, strlen(body->home_net_id), &record->home_net_id))
        return act_call_bad_field(call, "home_net_id", "home_net_id is not 6 hexadecimal digits");
    if (!act_as_id_valid(body->as_id))
        return act_call_bad_field(call, "as_id",
            "as_id is not 1 to 64 printable characters without blank, quote and backslash");
    r = db_home_known(call->worker->db, &record->home_net_id, body->as_id, &home_known, &as_known);
    if (r < 0)
        return act_call_failed(call, r);
    if (!home_known)
        return act_call_bad_field(
            call, "home_net_id", "home_net_id is of no network server that is known here");
    return as_known ? 0
                    : act_call_bad_field(
                          call, "as_id", "as_id is no application server that is known here");
}

static unsigned patch_device(struct act_call *call)
{
    struct device_body body;
    struct device_record after;
    struct db_device device;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);

    if (status != 0 || (status = find(call, MOVE_BIND, &device)) != 0)
        return status;
    after = device.record;
    if ((status = read_home(call, &body, &after)) != 0)
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
