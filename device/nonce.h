/* The rules of DevNonce, RJcount and JoinNonce. The record's version decides; a request's
 * MACVersion never does. */
#pragma once

#include "device/record.h"
#include "device/refusal.h"

enum device_nonce {
    NONCE_FRESH,
    NONCE_USED,      /* 1.0.3 and older: this DevNonce was used before */
    NONCE_NOT_ABOVE, /* 1.0.4 and 1.1: not above the last one */
    NONCE_NONE_LEFT, /* the same, and the last one was the greatest: only a reset helps */
    RJ_COUNT_NOT_ABOVE,
    N_DEVICE_NONCES
};

/* A device that lost a thousand Join-Requests in a row is rare; somebody who guessed a MIC to burn
 * its DevNonces is another explanation. */
#define DEVICE_NONCE_JUMP_MAX 1000
#define DEVICE_NONCES_LOW_PERCENT 80 /* of a counter that are used when a warning is due */

/** True when DevNonces are a counter (LoRaWAN 1.0.4; 1.1 6.2.2), false when they are random
 * and every one is remembered (1.0.3 and older). */
bool device_nonce_is_counted(enum lw_mac_version version);

/** Whether a list of DevNonces, two bytes each, most significant first, holds this one. */
bool device_nonce_is_among(const uint8_t *nonces, size_t len, uint16_t dev_nonce);

/** `used`: the DevNonce was used before, for the record's JoinEUI and in its nonce epoch. A record
 * whose nonce_epoch is newer than the state's starts with an empty DevNonce memory. */
enum device_nonce device_nonce_judge(const struct device_record *record,
    const struct device_join_state *state, uint16_t dev_nonce, bool used);

/** RJcount0 counts in a session and never wraps (LoRaWAN 1.1 6.2.4.1). */
enum device_nonce device_rj_count0_judge(const struct device_session *session, uint16_t rj_count);
/** RJcount1 counts for a JoinEUI and never wraps (LoRaWAN 1.1 6.2.4.2). A newer nonce epoch, as of
 * a device that lost its memory, starts it anew. */
enum device_nonce device_rj_count1_judge(
    const struct device_record *record, const struct device_join_state *state, uint16_t rj_count);

/** Whether a counted DevNonce is more than DEVICE_NONCE_JUMP_MAX above the last one. The first of
 * an epoch is no jump, wherever it starts. */
bool device_nonce_jumps(
    const struct device_record *record, const struct device_join_state *state, uint16_t dev_nonce);

/** Whether most of the JoinNonces, or of the DevNonces, are used by this join. Random DevNonces are
 * as many as joins, so that JoinNonce bounds them, unless their memory was ever emptied. */
bool device_join_nonces_low(uint32_t join_nonce);
bool device_dev_nonces_low(
    const struct device_record *record, uint16_t dev_nonce, uint32_t join_nonce);

/** The next JoinNonce, from 1, never twice; 0 when all 2^24 - 1 are used. */
uint32_t device_next_join_nonce(const struct device_join_state *state);

/** REFUSAL_NONE of NONCE_FRESH. */
enum device_refusal device_nonce_refusal(enum device_nonce verdict);
