/* RSAES-OAEP with SHA-1, MGF1-SHA-1 and an empty label, as JWE calls RSA-OAEP and the HSM has it:
 * for what a maker opens with his private key. Services only seal. */
#pragma once

#include "base/cleanup.h"
#include <stddef.h>
#include <stdint.h>

#define RSA_OAEP_MAX 1024 /* bytes of a text: RSA-8192 */

/** To the public key in `pem`. */
int rsa_oaep_seal(const char *pem, const void *clear, size_t len, uint8_t ret[static RSA_OAEP_MAX],
    size_t *ret_len) MUST_CHECK;
/** With the private key in `pem`, which has no pass phrase; at most `size` bytes, which the caller
 * wipes. ERROR_INPUT: it is no such key, or the text does not open. */
int rsa_oaep_open(const char *pem, const void *sealed, size_t len, uint8_t *ret, size_t size,
    size_t *ret_len) MUST_CHECK;
