#include "activation/move_call.h"

#include <stdio.h>
#include <string.h>

#define DETAIL_MAX 120

struct mover act_move_of(struct act_call *call, enum device_move move)
{
    struct mover mover = {.move = move,
        .organization_id = call->caller->organization_id,
        .client_id = call->caller->client_id,
        .request_id = api_request_id(call->request),
        .is_operator = (call->caller->roles & ROLE_OPERATOR) != 0};

    act_call_name(call, api_request_header(call->request, "Idempotency-Key"), mover.made_by);
    return mover;
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

unsigned act_move_load(struct act_call *call, const struct mover *mover, struct moving *ret)
{
    const char *text = act_call_param(call, 0);
    char fault[DEVICE_MOVE_FAULT_MAX];
    struct eui64 dev_eui;
    int r;

    if (!device_id_parse(text, strlen(text), &dev_eui))
        return act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
    if ((r = mover_load(call->worker, mover, &dev_eui, 1, ret)) < 0)
        return act_call_failed(call, r);
    if (ret->refusal == MOVE_NOT_REFUSED)
        return 0;
    if (ret->refusal == MOVE_REFUSED_UNKNOWN)
        return act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
    if (ret->refusal == MOVE_REFUSED_SUBSCRIPTION)
        return answer_not_entitled(call, &ret->found.device);
    move_refusal_explain(mover->move, ret->refusal, fault);
    return act_call_problem(call, PROBLEM_CONFLICT, fault);
}

unsigned act_move_make(struct act_call *call, const struct mover *mover, struct moving *moving)
{
    int r = mover_make(call->worker, mover, moving, 1);

    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
    return r < 0 ? act_call_failed(call, r) : 0;
}

void act_move_write(struct text *out, const struct mover *mover, const struct moving *moving)
{
    struct db_device device = moving->found.device;
    const char *name = mover->move == MOVE_RELEASE ? "" : mover->name;

    act_device_moved(&device, &moving->after);
    if (mover->move == MOVE_SUSPEND)
        device.is_suspended_by_subscription = false;
    device.is_held = moving->after.ownership != OWNERSHIP_UNOWNED || device.is_brought;
    if (name != NULL)
        (void)snprintf(device.name, sizeof(device.name), "%s", name);
    act_device_write(out, &device);
}
