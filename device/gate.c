#include "device/gate.h"

#include <string.h>

static const struct {
    enum device_refusal refusal;
    bool hidden;
} gates[N_DEVICE_GATES] = {
    [GATE_OPEN] = {REFUSAL_NONE, false},
    [GATE_TEST] = {REFUSAL_NONE, false},
    [GATE_HIDDEN_CREDENTIAL] = {REFUSAL_NOT_ACTIVABLE, true},
    [GATE_HIDDEN_UNCLAIMED] = {REFUSAL_UNCLAIMED, true},
    [GATE_HIDDEN_NOT_HOME] = {REFUSAL_NOT_HOME, true},
    [GATE_HIDDEN_JOIN_EUI] = {REFUSAL_OTHER_JOIN_EUI, true},
    [GATE_HIDDEN_TEST_NETWORK] = {REFUSAL_TEST_NETWORK, true},
    [GATE_HIDDEN_TEST_EXPIRED] = {REFUSAL_TEST_EXPIRED, true},
    [GATE_HIDDEN_TEST_USED_UP] = {REFUSAL_TEST_USED_UP, true},
    [GATE_BLOCKED_INACTIVE] = {REFUSAL_INACTIVE, false},
    [GATE_BLOCKED_SUSPENDED] = {REFUSAL_SUSPENDED, false},
    [GATE_BLOCKED_QUARANTINED] = {REFUSAL_QUARANTINED, false},
};

/* Without an owner there is no service that could be active, and no home but the test's. */
static enum device_gate judge_test(const struct device_record *record, const struct net_id *sender,
    const struct eui64 *frame_join_eui)
{
    if (memcmp(&record->test.net_id, sender, sizeof(*sender)) != 0)
        return GATE_HIDDEN_TEST_NETWORK;
    if (memcmp(&record->join_eui, frame_join_eui, sizeof(*frame_join_eui)) != 0)
        return GATE_HIDDEN_JOIN_EUI;
    if (record->test.expired)
        return GATE_HIDDEN_TEST_EXPIRED;
    if (record->trust == TRUST_QUARANTINED) /* before "used up", which still answers retries */
        return GATE_BLOCKED_QUARANTINED;
    return record->test.joins >= record->test.max_joins ? GATE_HIDDEN_TEST_USED_UP : GATE_TEST;
}

/* It has a key, and is not destroyed. */
static bool is_tested(const struct device_record *record)
{
    return record->test.present && record->ownership == OWNERSHIP_UNOWNED &&
           record->credential != CREDENTIAL_ORDERED && record->credential != CREDENTIAL_SCRAPPED;
}

enum device_gate device_gate_judge(const struct device_record *record, const struct net_id *sender,
    const struct eui64 *frame_join_eui)
{
    if (is_tested(record))
        return judge_test(record, sender, frame_join_eui);
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

enum device_refusal device_gate_refusal(enum device_gate gate)
{
    return gate < N_DEVICE_GATES ? gates[gate].refusal : REFUSAL_OTHER;
}
