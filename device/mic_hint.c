#include "device/mic_hint.h"

#define WRONG "the MIC is wrong"
#define OVER_REVERSED(euis)                                                                        \
    WRONG ": the device computed it over its " euis " in the other byte order than it sends"

const char *device_mic_hint_reason(enum lw_mic_mistake mistake)
{
    static const char *const reasons[LW_N_MIC_MISTAKES] = {
        [LW_MIC_NO_MISTAKE] = WRONG,
        [LW_MIC_OTHER_KEY] = WRONG ": it is by the AppKey, not the NwkKey: the two are swapped, or "
                                   "the device is not of LoRaWAN 1.1",
        [LW_MIC_DEV_EUI_REVERSED] = OVER_REVERSED("DevEUI"),
        [LW_MIC_JOIN_EUI_REVERSED] = OVER_REVERSED("JoinEUI"),
        [LW_MIC_BOTH_REVERSED] = OVER_REVERSED("JoinEUI and DevEUI"),
    };

    return (unsigned)mistake < LW_N_MIC_MISTAKES ? reasons[mistake] : WRONG;
}
