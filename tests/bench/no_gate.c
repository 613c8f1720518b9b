/* A gate that is never shut, in place of device/gate.c: what scripts/bench gate compares with. */
#include "device/gate.h"

enum device_gate device_gate_judge(const struct device_record *record, const struct net_id *sender,
    const struct eui64 *frame_join_eui)
{
    (void)record;
    (void)sender;
    (void)frame_join_eui;
    return GATE_OPEN;
}

enum device_gate device_gate_judge_away(const struct device_record *record,
    const struct net_id *sender, const struct eui64 *frame_join_eui, enum device_agreed agreed)
{
    (void)agreed;
    return device_gate_judge(record, sender, frame_join_eui);
}

bool device_gate_is_hidden(enum device_gate gate)
{
    (void)gate;
    return false;
}

enum device_refusal device_gate_refusal(enum device_gate gate)
{
    (void)gate;
    return REFUSAL_NONE;
}
