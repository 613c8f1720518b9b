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
    [GATE_HIDDEN_AGREEMENT_ENDED] = {REFUSAL_AGREEMENT_ENDED, true},
    [GATE_HIDDEN_AGREEMENT_NOT_BEGUN] = {REFUSAL_AGREEMENT_NOT_BEGUN, true},
    [GATE_HIDDEN_AGREEMENT_ELSE] = {REFUSAL_AGREEMENT_ELSE, true},
    [GATE_HIDDEN_NARROWED] = {REFUSAL_ROAMING_NARROWED, true},
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

/* What the networks have agreed comes before what the owner wants: he narrows it, and no more. */
static enum device_gate judge_sender(
    const struct device_record *record, const struct net_id *sender, enum device_agreed agreed)
{
    static const enum device_gate shut[N_DEVICE_AGREED] = {
        [AGREED_NOTHING] = GATE_HIDDEN_NOT_HOME,
        [AGREED_ENDED] = GATE_HIDDEN_AGREEMENT_ENDED,
        [AGREED_NOT_BEGUN] = GATE_HIDDEN_AGREEMENT_NOT_BEGUN,
        [AGREED_ELSE] = GATE_HIDDEN_AGREEMENT_ELSE,
    };

    if (!record->has_home_net_id)
        return GATE_HIDDEN_NOT_HOME;
    if (memcmp(&record->home_net_id, sender, sizeof(*sender)) == 0)
        return GATE_OPEN;
    if (agreed != AGREED)
        return agreed < N_DEVICE_AGREED ? shut[agreed] : GATE_HIDDEN_NOT_HOME;
    return device_roaming_allows(&record->roaming, sender) ? GATE_OPEN : GATE_HIDDEN_NARROWED;
}

enum device_gate device_gate_judge(const struct device_record *record, const struct net_id *sender,
    const struct eui64 *frame_join_eui)
{
    return device_gate_judge_away(record, sender, frame_join_eui, AGREED_NOTHING);
}

enum device_gate device_gate_judge_away(const struct device_record *record,
    const struct net_id *sender, const struct eui64 *frame_join_eui, enum device_agreed agreed)
{
    enum device_gate gate;

    if (is_tested(record))
        return judge_test(record, sender, frame_join_eui);
    if (record->credential != CREDENTIAL_ACTIVABLE)
        return GATE_HIDDEN_CREDENTIAL;
    if (record->ownership == OWNERSHIP_UNOWNED)
        return GATE_HIDDEN_UNCLAIMED;
    if ((gate = judge_sender(record, sender, agreed)) != GATE_OPEN)
        return gate;
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
