/* POST /v1/devices/{dev_eui}/replace: another device takes the place of a dead one, and is claimed
 * for it where it is not its owner's yet. All of it is one transaction; what a wrong code came to
 * is counted and answered as by POST /v1/claims, and a repeated call finds itself in the same way.
 */
#include "activation/claim_run.h"
#include "activation/devices.h"
#include "base/error.h"
#include "db/device_change.h"
#include "db/replacement.h"
#include "device/moves.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EUI_TEXT_MAX 40  /* characters, in any spelling */
#define CODE_TEXT_MAX 64 /* characters of a code as it was typed */
#define DETAIL_MAX 240

struct replace_body {
    char by[EUI_TEXT_MAX + 1];
    char code[CODE_TEXT_MAX + 1];
    bool has_code;
};

static const struct json_field fields[] = {
    {.name = "by",
        .kind = JSON_TEXT,
        .offset = offsetof(struct replace_body, by),
        .size = sizeof(((struct replace_body *)0)->by),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "code",
        .kind = JSON_TEXT,
        .offset = offsetof(struct replace_body, code),
        .size = sizeof(((struct replace_body *)0)->code),
        .present_offset = offsetof(struct replace_body, has_code)},
};

/* Of secret_realloc: it holds codes. */
struct replace_run {
    struct act_claim_run run; /* first */
    struct replace_body body;
    struct act_claim_entry entry; /* the only one */
    struct eui64 dev_eui;         /* which is replaced */
    struct db_device device, by;  /* as they are in the transaction */
};

static void run_freep(struct replace_run **replace)
{
    secret_free(*replace);
}

/* --- in the transaction ----------------------------------------------------------------------- */

static int against(struct act_claim_run *run, const char *detail)
{
    (void)act_call_problem(run->call, PROBLEM_CONFLICT, detail);
    return CLAIM_RUN_ANSWERED;
}

static int judge(struct act_claim_run *run, enum device_move move, const struct db_device *device)
{
    char fault[DEVICE_MOVE_FAULT_MAX + 4], by[EUI64_TEXT_LEN + 1];

    if (device->has_replaced_by) {
        (void)snprintf(fault, sizeof(fault),
            "%s was replaced by %s: resume it first, if it is to be in use again",
            move == MOVE_REPLACE ? "the device" : "by", device_id_format(&device->replaced_by, by));
        return against(run, fault);
    }
    if (move == MOVE_TAKE_PLACE && device->has_replaces) {
        (void)snprintf(fault, sizeof(fault), "by has the place of %s already",
            device_id_format(&device->replaces, by));
        return against(run, fault);
    }
    if (device_move_judge(move, &device->record, fault))
        return 0;
    return against(run, fault);
}

static int load(struct replace_run *replace)
{
    struct act_claim_run *run = &replace->run;
    struct db *db = run->call->worker->db;
    const int64_t owner_id = run->claimant.organization_id;
    const struct eui64 *by = &replace->entry.claim.dev_eui;
    int r = db_replacement_lock(db, owner_id, &replace->dev_eui, by);

    if (r == 0)
        r = db_device_find(db, &replace->dev_eui, owner_id, &replace->device);
    if (r < 0)
        return r;
    if (r > 0 || !replace->device.is_held) {
        (void)act_call_problem(run->call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
        return CLAIM_RUN_ANSWERED;
    }
    if ((r = db_device_find(db, by, owner_id, &replace->by)) < 0)
        return r;
    if (r == 0 && replace->by.owner_id == owner_id)
        return 0;
    /* One answer, whoever has it and whether it is here. */
    (void)act_call_bad_field(
        run->call, "code", "code is missing: by is not yours yet, so it has to be claimed");
    return CLAIM_RUN_ANSWERED;
}

/* In the histories of the two, which are one organization's. */
static int audit(struct act_call *call, enum device_move move, const struct device_record *record,
    const char *detail)
{
    char object[EUI64_TEXT_LEN + 1], action[40];

    (void)snprintf(action, sizeof(action), "device.%s", device_move_text(move));
    return act_call_audit(call, call->caller->organization_id, action,
        device_id_format(&record->dev_eui, object), detail);
}

static int tell(
    struct act_call *call, const struct device_record *device, const struct device_record *by)
{
    char detail[DETAIL_MAX], text[EUI64_TEXT_LEN + 1], home[NET_ID_TEXT_LEN + 1] = "";
    int r;

    (void)snprintf(detail, sizeof(detail), "{\"by\":\"%s\"}", device_id_format(&by->dev_eui, text));
    if ((r = audit(call, MOVE_REPLACE, device, detail)) < 0)
        return r;
    (void)device_id_format(&device->dev_eui, text);
    if (by->has_home_net_id)
        (void)snprintf(detail, sizeof(detail),
            "{\"replaces\":\"%s\",\"home_net_id\":\"%s\",\"as_id\":\"%s\"}", text,
            net_id_format(&by->home_net_id, home), by->as_id);
    else
        (void)snprintf(detail, sizeof(detail), "{\"replaces\":\"%s\"}", text);
    return audit(call, MOVE_TAKE_PLACE, by, detail);
}

/* The two are locked: nothing of them changes any more. */
static int change(struct replace_run *replace)
{
    struct act_call *call = replace->run.call;
    struct db *db = call->worker->db;
    const int64_t owner_id = replace->run.claimant.organization_id;
    const struct db_device *before = &replace->device, *spare = &replace->by;
    struct device_record device = before->record, by = spare->record;
    struct db_device_change changes[2];
    int r;

    device_move_make(MOVE_REPLACE, &device);
    device_move_make(MOVE_TAKE_PLACE, &by);
    by.has_home_net_id = device.has_home_net_id;
    by.home_net_id = device.home_net_id;
    memcpy(by.as_id, device.as_id, sizeof(by.as_id));
    by.roaming = device.roaming;
    changes[0] = (struct db_device_change){.owner_id = owner_id,
        .new_owner_id = owner_id,
        .before = before,
        .after = &device,
        .name = before->name};
    changes[1] = (struct db_device_change){.owner_id = owner_id,
        .new_owner_id = owner_id,
        .before = spare,
        .after = &by,
        .name = before->name[0] != '\0' ? before->name : spare->name};
    r = db_device_change(db, changes, 2);
    if (r == 0)
        r = db_replacement_add(db, &device, &by);
    if (r == 0)
        r = db_replacement_entitle(
            db, &device.dev_eui, &by.dev_eui, replace->run.claimant.request_id);
    if (r > 0)
        return against(&replace->run, ACT_DEVICE_CHANGED);
    if (r == 0)
        r = tell(call, &device, &by);
    if (r == 0)
        r = db_device_find(db, &by.dev_eui, owner_id, &replace->by);
    return r;
}

static int replace_in_place(struct act_claim_run *run, const struct db_claim *claim)
{
    struct replace_run *replace = run->context;
    const struct eui64 *by = &replace->entry.claim.dev_eui;
    int r;

    if (claim != NULL && claim->outcome > CLAIM_OWN)
        return 0; /* refused, and that is all */
    if ((r = load(replace)) != 0)
        return r;
    /* What the same call did before is not done once more; the device may be resumed by now. */
    if (claim != NULL && claim->outcome == CLAIM_REPEATED)
        return 0;
    if (run->came_before && replace->device.has_replaced_by &&
        eui64_to_u64(&replace->device.replaced_by) == eui64_to_u64(by))
        return 0;
    /* Without a code a key is kept only where the call came through. */
    if (claim == NULL && run->key_found)
        return 0;
    if ((r = judge(run, MOVE_REPLACE, &replace->device)) != 0 ||
        (r = judge(run, MOVE_TAKE_PLACE, &replace->by)) != 0)
        return r;
    return change(replace);
}

/* --- the call --------------------------------------------------------------------------------- */

/* 0, or the status of the answer it set. */
static unsigned read_call(struct replace_run *replace)
{
    struct act_call *call = replace->run.call;
    struct replace_body *body = &replace->body;
    struct act_claim_entry *entry = &replace->entry;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), body);

    if (status != 0 || (status = act_call_key(call, &replace->run.key)) != 0 ||
        (status = act_device_find_held(call, 0, &replace->device)) != 0)
        return status;
    replace->dev_eui = replace->device.record.dev_eui;
    if (!device_id_parse(body->by, strlen(body->by), &entry->claim.dev_eui))
        return act_call_bad_field(
            call, "by", "by is no DevEUI of 16 hexadecimal digits and no Sigfox id");
    if (eui64_to_u64(&entry->claim.dev_eui) == eui64_to_u64(&replace->dev_eui))
        return act_call_bad_field(call, "by", "by is the device itself");
    if (device_kind_of(&entry->claim.dev_eui) != device_kind_of(&replace->dev_eui))
        return act_call_bad_field(call, "by",
            "by is of another kind: a LoRaWAN device replaces one, a Sigfox device one");
    if (body->has_code && !device_code_parse(body->code, strlen(body->code), entry->code))
        return act_call_bad_field(call, "code", "code is not 1 to 32 letters and digits");
    return 0;
}

static void name(struct replace_run *replace)
{
    CLEANUP(text_done) struct text what = {0};
    const struct eui64 *by = &replace->entry.claim.dev_eui;

    text_add_hex(&what, replace->dev_eui.bytes, sizeof(replace->dev_eui.bytes));
    text_add(&what, "|");
    text_add_hex(&what, by->bytes, sizeof(by->bytes));
    act_claim_run_name(&replace->run, "POST /v1/devices/{dev_eui}/replace", &what);
}

static unsigned answer(struct replace_run *replace)
{
    struct act_call *call = replace->run.call;
    const struct act_claim_entry *entry = &replace->entry;
    struct text body = {0};
    bool has_code = replace->body.has_code && entry->claim.outcome <= CLAIM_REPEATED;

    if (has_code)
        text_reserve(&body, 2048); /* and nowhere else is a copy of the code */
    act_device_write(&body, &replace->by);
    if (has_code)
        text_addf(
            &body, ",\"code\":\"%s\",\"generation\":%" PRIu32, entry->new_code, entry->generation);
    text_add(&body, "}\n");
    call->shown_once = has_code;
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned post_replace(struct act_call *call)
{
    CLEANUP(run_freep) struct replace_run *replace = act_claim_room(sizeof(*replace));
    struct act_claim_run *run;
    unsigned status;
    size_t n;
    int r;

    if (replace == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    run = &replace->run;
    run->call = call;
    run->entries = &replace->entry;
    run->n = 1;
    run->also = replace_in_place;
    run->context = replace;
    if (api_request_unknown_query(call->request, NULL, 0) != NULL)
        return act_call_problem(call, PROBLEM_BAD_REQUEST, "this call takes no query");
    if ((status = read_call(replace)) != 0)
        return status;
    name(replace);
    r = replace->body.has_code ? act_claim_run_chunk(run, 0, &n) : act_claim_run_alone(run);
    if (r != 0)
        return act_claim_run_failed(run, r);
    if (replace->body.has_code && (status = act_claim_refuse(call, &replace->entry)) != 0)
        return status;
    return answer(replace);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/devices/{dev_eui}/replace",
        .right = RIGHT_DEVICES_CHANGE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_replace},
};

const struct act_area act_area_replace = ACT_AREA(routes);
