#include "device/gate.h"

#include <string.h>

static const struct {
    const char *reason;
    bool hidden;
} gates[N_DEVICE_GATES] = {
    [GATE_OPEN] = {"the device may join", false},
    [GATE_HIDDEN_CREDENTIAL] = {"the credential is not activable", true},
    [GATE_HIDDEN_UNCLAIMED] = {"nobody has claimed the device", true},
    [GATE_HIDDEN_NOT_HOME] = {"the sender is not the device's home network", true},
    [GATE_HIDDEN_JOIN_EUI] = {"the frame's JoinEUI is not the device's", true},
    [GATE_BLOCKED_INACTIVE] = {"the device's service is not active", false},
    [GATE_BLOCKED_SUSPENDED] = {"the device is suspended", false},
    [GATE_BLOCKED_QUARANTINED] = {"the device is quarantined", false},
};

enum device_gate device_gate_judge(const struct device_record *record, const struct net_id *sender,
    const struct eui64 *frame_join_eui)
{
    if (record->credential != CREDENTIAL_ACTIVABLE)
        return GATE_HIDDEN_CREDENTIAL;
    if (record->ownership == OWNERSHIP_UNOWNED)
        return GATE_HIDDEN_UNCLAIMED;
    if (!record->has_home_net_id || memcmp(&record->home_net_id, sender, sizeof(*sender)) != 0)
        return GATE_HIDDEN_NOT_HOME;
    if (memcmp(&record->join_eui, frame_join_eui, sizeof(*frame_join_eui)) != 0)
        return GATE_HIDDEN_JOIN_EUI;
    if (record->trust == TRUST_QUARANTINED)
        return GATE_BLOCKED_QUARANTINED;
    if (record->service == SERVICE_SUSPENDED)
        return GATE_BLOCKED_SUSPENDED;
    if (record->service == SERVICE_INACTIVE)
        return GATE_BLOCKED_INACTIVE;
    return GATE_OPEN;
}

bool device_gate_is_hidden(enum device_gate gate)
{
    return gate < N_DEVICE_GATES && gates[gate].hidden;
}

const char *device_gate_reason(enum device_gate gate)
{
    return gate < N_DEVICE_GATES ? gates[gate].reason : "unknown";
}
