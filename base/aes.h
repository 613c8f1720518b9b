/* OpenSSL helpers over keys in clear: for known-answer tests, the simulated device and unit tests.
 * The services never call these with a device key: those live in the HSM. */
#pragma once

#include "base/cleanup.h"
#include "base/secret.h"

/** AES-128-ECB over `len` bytes (a multiple of 16). */
int aes_ecb_encrypt(const struct secret_key *key, const uint8_t *in, size_t len, uint8_t *out);
int aes_ecb_decrypt(const struct secret_key *key, const uint8_t *in, size_t len, uint8_t *out);
/** AES-CMAC, RFC 4493. */
int aes_cmac(const struct secret_key *key, const uint8_t *in, size_t len, uint8_t out[static 16]);
/** RFC 3394 with the default IV. `kek_len` 16, 24 or 32; `out` takes `len` + 8 bytes. */
int aes_wrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out);
/** Returns 1 (outcome) when the integrity check fails; `out` takes `len` - 8 bytes. */
int aes_unwrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out);
void digest_sha256(const void *data, size_t len, uint8_t out[static 32]);
