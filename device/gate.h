/* The join gate: may this device join through this network server now? Pure. */
#pragma once

#include "device/agreement.h"
#include "device/record.h"
#include "device/refusal.h"

/** HIDDEN gates are answered exactly as an unknown device, without touching its key; BLOCKED gates
 * are told to the sender, but only once the MIC has proved that the device itself is asking. */
enum device_gate {
    GATE_OPEN,
    GATE_TEST,              /* nobody owns it yet, and its maker's factory test lets it join */
    GATE_HIDDEN_CREDENTIAL, /* not activable: never released, or scrapped */
    GATE_HIDDEN_UNCLAIMED,
    /* The sender is not the home network that the owner named, and ... */
    GATE_HIDDEN_NOT_HOME,            /* has no agreement with it */
    GATE_HIDDEN_AGREEMENT_ENDED,     /* what they had is over */
    GATE_HIDDEN_AGREEMENT_NOT_BEGUN, /* what they have is still to come */
    GATE_HIDDEN_AGREEMENT_ELSE,      /* what they have does not allow this */
    GATE_HIDDEN_NARROWED,            /* the owner does not want the device there */
    GATE_HIDDEN_JOIN_EUI,            /* the frame names another JoinEUI than the record */
    GATE_HIDDEN_TEST_NETWORK,        /* the sender is not the network of its factory test */
    GATE_HIDDEN_TEST_EXPIRED,
    GATE_HIDDEN_TEST_USED_UP,
    GATE_BLOCKED_INACTIVE,
    GATE_BLOCKED_SUSPENDED,
    GATE_BLOCKED_QUARANTINED,
    N_DEVICE_GATES
};

/** Without any agreement: for the home network, or that of a factory test, alone. */
enum device_gate device_gate_judge(const struct device_record *record, const struct net_id *sender,
    const struct eui64 *frame_join_eui);
/** `agreed`: what the sender, where it is not the home network, has agreed with that. */
enum device_gate device_gate_judge_away(const struct device_record *record,
    const struct net_id *sender, const struct eui64 *frame_join_eui, enum device_agreed agreed);
bool device_gate_is_hidden(enum device_gate gate);
/** Why it is shut, for those entitled to know; REFUSAL_NONE of GATE_OPEN and GATE_TEST. */
enum device_refusal device_gate_refusal(enum device_gate gate);
