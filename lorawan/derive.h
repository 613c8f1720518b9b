/* Key derivation blocks: every key of a session is aes128_encrypt(root key, block).
 *
 * Only the blocks are made here. In the service the encryption happens inside the HSM, so that a
 * derived key is never in clear; a block holds nothing secret. LoRaWAN 1.1 6.2.5 draws them. Field
 * names are those of LoRaWAN 1.1; 1.0.x says AppNonce for JoinNonce and AppEUI for JoinEUI. Which
 * root key goes with which block:
 *
 *   OptNeg 0 (1.0.x, or a 1.1 device on a 1.0 network)   OptNeg 1
 *   NwkSKey   the one root key (1.1: NwkKey)             FNwkSIntKey SNwkSIntKey NwkSEncKey  NwkKey
 *   AppSKey   the same                                   AppSKey                             AppKey
 *                                                        JSIntKey JSEncKey                   NwkKey
 */
#pragma once

#include "lorawan/types.h"

#define LW_BLOCK_LEN 16

/** The first byte of a session key's block, LoRaWAN 1.1 6.2.3. */
enum lw_session_key {
    LW_KEY_F_NWK_S_INT = 0x01, /* OptNeg 0: NwkSKey, all three network keys at once */
    LW_KEY_APP_S = 0x02,
    LW_KEY_S_NWK_S_INT = 0x03, /* OptNeg 1 only */
    LW_KEY_NWK_S_ENC = 0x04,   /* OptNeg 1 only */
};

/** OptNeg 0, LoRaWAN 1.1 6.2.3 ("OptNeg unset") and 1.0.x 6.2.5:
 * key | JoinNonce | NetID | DevNonce | 00 x 7. `join_nonce` counts with its low 24 bits. */
void lw_block_session_1_0(enum lw_session_key key, uint32_t join_nonce, const struct net_id *net_id,
    uint16_t dev_nonce, uint8_t out[static LW_BLOCK_LEN]);

/** OptNeg 1, LoRaWAN 1.1 6.2.3 ("OptNeg set"): key | JoinNonce | JoinEUI | nonce | 00 x 2. `nonce`
 * is the DevNonce; after a rejoin-request it is the RJcount of that request (6.2.4.4). */
void lw_block_session_1_1(enum lw_session_key key, uint32_t join_nonce,
    const struct eui64 *join_eui, uint16_t nonce, uint8_t out[static LW_BLOCK_LEN]);

/** LoRaWAN 1.1 6.1.1.4: JSEncKey = aes128_encrypt(NwkKey, 05 | DevEUI | 00 x 7). */
void lw_block_js_enc_key(const struct eui64 *dev_eui, uint8_t out[static LW_BLOCK_LEN]);

/** LoRaWAN 1.1 6.1.1.4: JSIntKey = aes128_encrypt(NwkKey, 06 | DevEUI | 00 x 7). */
void lw_block_js_int_key(const struct eui64 *dev_eui, uint8_t out[static LW_BLOCK_LEN]);
