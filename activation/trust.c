/* POST /v1/devices/{dev_eui}/quarantine, /lift and /scrap: devices that are not to be trusted, and
 * those that are no more. */
#include "activation/move_call.h"
#include <string.h>

#define EUI_TEXT_MAX 40

/* What is none of the caller's has no answer but that it is done. */
static unsigned answer(
    struct act_call *call, const struct mover *mover, const struct moving *moving)
{
    struct text body = {0};
    bool was_quarantined = moving->found.device.record.trust == TRUST_QUARANTINED;

    if (!moving->found.device.is_held || (mover->move == MOVE_QUARANTINE && was_quarantined))
        return act_call_no_content(call);
    act_move_write(&body, mover, moving);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned move(struct act_call *call, enum device_move move)
{
    const struct mover mover = act_move_of(call, move);
    struct moving moving;
    unsigned status = act_move_load(call, &mover, &moving);

    if (status != 0 || (status = act_move_make(call, &mover, &moving)) != 0)
        return status;
    return answer(call, &mover, &moving);
}

static unsigned post_quarantine(struct act_call *call)
{
    return move(call, MOVE_QUARANTINE);
}

static unsigned post_lift(struct act_call *call)
{
    return move(call, MOVE_LIFT);
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
    const struct mover mover = act_move_of(call, MOVE_SCRAP);
    struct moving moving;
    struct scrap_body body;
    struct eui64 confirmed;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);

    if (status != 0 || (status = act_move_load(call, &mover, &moving)) != 0)
        return status;
    if (!device_id_parse(body.confirm, strlen(body.confirm), &confirmed) ||
        eui64_to_u64(&confirmed) != eui64_to_u64(&moving.after.dev_eui))
        return act_call_bad_field(call, "confirm",
            "confirm is not the identifier of the path: the device's keys are destroyed for good");
    status = act_move_make(call, &mover, &moving);
    return status != 0 ? status : answer(call, &mover, &moving);
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
