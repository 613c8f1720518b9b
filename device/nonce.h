/* The DevNonce and JoinNonce rules. The record's version decides; a request's MACVersion never
 * does. */
#pragma once

#include "device/record.h"

enum device_nonce {
    NONCE_FRESH,
    NONCE_USED,      /* 1.0.3 and older: this DevNonce was used before */
    NONCE_NOT_ABOVE, /* 1.0.4 and 1.1: not above the last one */
};

/** True when DevNonces are a counter (LoRaWAN 1.0.4; 1.1 6.2.2), false when they are random
 * and every one is remembered (1.0.3 and older). */
bool device_nonce_is_counted(enum lw_mac_version version);

/** `bit_set`: the DevNonce's bit in the pages of the record's JoinEUI and nonce epoch. A record
 * whose nonce_epoch is newer than the state's starts with an empty DevNonce memory. */
enum device_nonce device_nonce_judge(const struct device_record *record,
    const struct device_join_state *state, uint16_t dev_nonce, bool bit_set);

/** The next JoinNonce, from 1, never twice; 0 when all 2^24 - 1 are used. */
uint32_t device_next_join_nonce(const struct device_join_state *state);

const char *device_nonce_reason(enum device_nonce verdict);
