#include "device/nonce.h"

bool device_nonce_is_counted(enum lw_mac_version version)
{
    return version == LW_MAC_1_0_4 || version == LW_MAC_1_1;
}

enum device_nonce device_nonce_judge(const struct device_record *record,
    const struct device_join_state *state, uint16_t dev_nonce, bool bit_set)
{
    if (!device_nonce_is_counted(record->mac_version))
        return bit_set ? NONCE_USED : NONCE_FRESH;
    if (record->nonce_epoch != state->nonce_epoch)
        return NONCE_FRESH;
    return (int32_t)dev_nonce > state->last_dev_nonce ? NONCE_FRESH : NONCE_NOT_ABOVE;
}

uint32_t device_next_join_nonce(const struct device_join_state *state)
{
    return state->join_nonce < LW_JOIN_NONCE_MAX ? state->join_nonce + 1 : 0;
}

const char *device_nonce_reason(enum device_nonce verdict)
{
    static const char *const reasons[] = {
        [NONCE_FRESH] = "the DevNonce is fresh",
        [NONCE_USED] = "the DevNonce was used before",
        [NONCE_NOT_ABOVE] = "the DevNonce is not above the last one",
    };

    return (size_t)verdict < sizeof(reasons) / sizeof(reasons[0]) ? reasons[verdict] : "unknown";
}
