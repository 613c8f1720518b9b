/* The Join-Accept's MIC and protection, LoRaWAN 1.1 6.2.3, over keys that nobody here can see.
 *
 * A key is two operations and a handle: keyd puts PKCS#11 handles behind it, tests put OpenSSL. */
#pragma once

#include "base/cleanup.h"
#include "lorawan/frame.h"

/** A key somebody else holds. Both functions return 0 or a negative error, forwarded untouched. */
struct lw_key {
    /* AES-CMAC (RFC 4493) over `in`. */
    int (*cmac)(void *key, const uint8_t *in, size_t len, uint8_t out[static 16]);
    /* AES-ECB in the decrypt direction over `len` bytes, a multiple of 16; in and out differ. */
    int (*ecb_decrypt)(void *key, const uint8_t *in, size_t len, uint8_t *out);
    void *key;
};

/* JoinReqType | JoinEUI | DevNonce | clear Join-Accept */
#define LW_ACCEPT_MIC_PREFIX_LEN 11
#define LW_ACCEPT_MIC_INPUT_MAX (LW_ACCEPT_MIC_PREFIX_LEN + LW_JOIN_ACCEPT_PLAIN_MAX)

/** JoinReqType | JoinEUI | nonce: what stands before the clear Join-Accept in the MIC of OptNeg 1,
 * LoRaWAN 1.1 6.2.3. */
void lw_accept_mic_prefix(enum lw_join_type join_type, const struct eui64 *join_eui, uint16_t nonce,
    uint8_t out[static LW_ACCEPT_MIC_PREFIX_LEN]);

/** What the MIC is computed over, LoRaWAN 1.1 6.2.3. OptNeg (bit 7 of dl_settings) decides:
 *   0: the clear Join-Accept alone; under the root key (1.0.x) or NwkKey (1.1), 13 or 29 bytes
 *   1: JoinReqType | JoinEUI | nonce before it; under JSIntKey, 24 or 40 bytes
 * `nonce` is the DevNonce of the Join-Request, or the RJcount of the Rejoin-Request, answered.
 * ERROR_INPUT when join_nonce does not fit 24 bits, or when a rejoin is answered with OptNeg 0:
 * only a 1.1 session can rejoin (6.2.4), and its accept is always MICed with the prefix. */
int lw_accept_mic_input(const struct lw_join_accept *accept, enum lw_join_type join_type,
    const struct eui64 *join_eui, uint16_t nonce, uint8_t out[static LW_ACCEPT_MIC_INPUT_MAX],
    size_t *ret_len) MUST_CHECK;

/** The Join-Accept as it goes on the air, LoRaWAN 1.1 6.2.3:
 * MHDR | aes128_decrypt(enc_key, JoinNonce .. CFList | MIC); 17 or 33 bytes.
 *   mic_key  OptNeg 0: the root key (1.0.x) or NwkKey (1.1); OptNeg 1: JSIntKey
 *   enc_key  answering a Join-Request: the root key or NwkKey; a Rejoin-Request: JSEncKey
 * Neither output is written on error. */
int lw_accept_protect(const struct lw_join_accept *accept, const struct lw_key *mic_key,
    const struct lw_key *enc_key, const struct eui64 *join_eui, uint16_t nonce,
    enum lw_join_type join_type, uint8_t out[static LW_JOIN_ACCEPT_MAX],
    size_t *ret_len) MUST_CHECK;
