/* Numbers and kinds of LoRaWAN that every room shares. */
#pragma once

#include "base/eui.h"
#include <stdbool.h>
#include <stdint.h>

#define LW_JOIN_REQUEST_LEN 23 /* LoRaWAN 1.1 6.2.2 */
#define LW_JOIN_ACCEPT_MAX 33  /* with CFList; 17 without */
#define LW_CF_LIST_LEN 16
#define LW_MIC_LEN 4
#define LW_JOIN_NONCE_MAX 0xFFFFFFu
#define LW_OPT_NEG 0x80u /* DLSettings bit 7, LoRaWAN 1.1 6.2.3 */

/** What a device's record says it was built to. Decides the nonce rule and the root-key slots;
 * the MACVersion of a request never does. */
enum lw_mac_version {
    LW_MAC_1_0_0,
    LW_MAC_1_0_1,
    LW_MAC_1_0_2,
    LW_MAC_1_0_3,
    LW_MAC_1_0_4,
    LW_MAC_1_1
};

/** "1.0.3" and the like. Parsing takes "1.0" = 1.0.0, "1.1", "1.1.0" and "1.1.1". */
const char *lw_mac_version_text(enum lw_mac_version version);
bool lw_mac_version_parse(const char *text, enum lw_mac_version *ret);

/** JoinReqType of LoRaWAN 1.1 6.2.3: what the accept answers. */
enum lw_join_type { LW_REJOIN_0 = 0, LW_REJOIN_1 = 1, LW_REJOIN_2 = 2, LW_JOIN = 0xFF };

/** The fields of a Join-Accept before protection, LoRaWAN 1.1 6.2.3. */
struct lw_join_accept {
    uint32_t join_nonce; /* 24 bits */
    struct net_id net_id;
    struct dev_addr dev_addr;
    uint8_t dl_settings;
    uint8_t rx_delay;
    bool has_cf_list;
    uint8_t cf_list[LW_CF_LIST_LEN]; /* copied blindly, on-air order as given */
};
