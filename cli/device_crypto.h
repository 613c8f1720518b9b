/* The simulated device's cryptography: OpenSSL in clear, apart from base/aes.h on purpose. The join
 * server's answers are checked with this, so it shares no line with what made them. */
#pragma once

#include "base/secret.h"

#define SIMDEV_KEK_MAX 32         /* AES-256 */
#define SIMDEV_WRAPPED_KEY_LEN 24 /* RFC 3394 of an AES-128 key */

/** First four bytes of the AES-CMAC (RFC 4493). ERROR_INTERNAL when OpenSSL refuses. */
int simdev_crypto_mic(
    const struct secret_key *key, const uint8_t *in, size_t len, uint8_t out[static 4]);

/** AES-128-ECB, encrypt direction; `len` a multiple of 16. ERROR_INTERNAL when OpenSSL refuses. */
int simdev_crypto_encrypt(
    const struct secret_key *key, const uint8_t *in, size_t len, uint8_t *out);

/** RFC 3394 with the default IV; `kek_len` 16, 24 or 32. Returns 1 when the integrity check fails:
 * another KEK, or damaged bytes. */
int simdev_crypto_unwrap(const uint8_t *kek, size_t kek_len,
    const uint8_t wrapped[static SIMDEV_WRAPPED_KEY_LEN], struct secret_key *ret);
