#include "device/nonce.h"

bool device_nonce_is_counted(enum lw_mac_version version)
{
    return version == LW_MAC_1_0_4 || version == LW_MAC_1_1;
}

bool device_nonce_is_among(const uint8_t *nonces, size_t len, uint16_t dev_nonce)
{
    bool found = false;

    for (size_t at = 0; at + 1 < len; at += 2)
        found |= (nonces[at] << 8 | nonces[at + 1]) == dev_nonce;
    return found;
}

enum device_nonce device_nonce_judge(const struct device_record *record,
    const struct device_join_state *state, uint16_t dev_nonce, bool used)
{
    if (!device_nonce_is_counted(record->mac_version))
        return used ? NONCE_USED : NONCE_FRESH;
    if (record->nonce_epoch != state->nonce_epoch)
        return NONCE_FRESH;
    if ((int32_t)dev_nonce > state->last_dev_nonce)
        return NONCE_FRESH;
    return state->last_dev_nonce == UINT16_MAX ? NONCE_NONE_LEFT : NONCE_NOT_ABOVE;
}

enum device_nonce device_rj_count0_judge(const struct device_session *session, uint16_t rj_count)
{
    return (int32_t)rj_count > session->rj_count0 ? NONCE_FRESH : RJ_COUNT_NOT_ABOVE;
}

enum device_nonce device_rj_count1_judge(
    const struct device_record *record, const struct device_join_state *state, uint16_t rj_count)
{
    if (record->nonce_epoch != state->nonce_epoch)
        return NONCE_FRESH;
    return (int32_t)rj_count > state->rj_count1 ? NONCE_FRESH : RJ_COUNT_NOT_ABOVE;
}

bool device_nonce_jumps(
    const struct device_record *record, const struct device_join_state *state, uint16_t dev_nonce)
{
    return device_nonce_is_counted(record->mac_version) &&
           record->nonce_epoch == state->nonce_epoch && state->last_dev_nonce != DEVICE_NO_NONCE &&
           (int32_t)dev_nonce - state->last_dev_nonce > DEVICE_NONCE_JUMP_MAX;
}

bool device_join_nonces_low(uint32_t join_nonce)
{
    return join_nonce >= LW_JOIN_NONCE_MAX / 100 * DEVICE_NONCES_LOW_PERCENT;
}

bool device_dev_nonces_low(
    const struct device_record *record, uint16_t dev_nonce, uint32_t join_nonce)
{
    bool counted = device_nonce_is_counted(record->mac_version);
    uint32_t used = counted ? dev_nonce : join_nonce;

    if (!counted && record->nonce_epoch > 0)
        return false;
    return used >= UINT16_MAX / 100 * DEVICE_NONCES_LOW_PERCENT;
}

uint32_t device_next_join_nonce(const struct device_join_state *state)
{
    uint32_t floor = state->join_nonce + state->join_nonce_gap; /* of 24 bits each */

    return floor < LW_JOIN_NONCE_MAX ? floor + 1 : 0;
}

enum device_refusal device_nonce_refusal(enum device_nonce verdict)
{
    static const enum device_refusal refusals[N_DEVICE_NONCES] = {
        [NONCE_FRESH] = REFUSAL_NONE,
        [NONCE_USED] = REFUSAL_DEV_NONCE_USED,
        [NONCE_NOT_ABOVE] = REFUSAL_DEV_NONCE_NOT_ABOVE,
        [NONCE_NONE_LEFT] = REFUSAL_DEV_NONCES_USED_UP,
        [RJ_COUNT_NOT_ABOVE] = REFUSAL_RJ_COUNT_NOT_ABOVE,
    };

    return verdict < N_DEVICE_NONCES ? refusals[verdict] : REFUSAL_OTHER;
}
