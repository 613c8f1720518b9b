/* Client secrets and peers' tokens: 256 random bits as lower-case hex. Only the SHA-256 of the text
 * is kept; with that much randomness no slow hash is needed. */
#pragma once

#include "base/cleanup.h"
#include <stddef.h>
#include <stdint.h>

#define ACT_SECRET_BYTES 32
#define ACT_SECRET_TEXT_LEN ((size_t)2 * ACT_SECRET_BYTES)
#define ACT_SECRET_HASH_LEN 32

/** A secret as text, wiped when it leaves scope: CLEANUP(act_secret_wipe). */
struct act_secret {
    char text[ACT_SECRET_TEXT_LEN + 1];
};

void act_secret_wipe(struct act_secret *secret);
/** A fresh one, and the hash to keep. */
int act_secret_make(
    struct act_secret *ret_secret, uint8_t ret_hash[static ACT_SECRET_HASH_LEN]) MUST_CHECK;
/** SHA-256 of the text as it was presented. */
void act_secret_hash(const char *text, size_t len, uint8_t ret_hash[static ACT_SECRET_HASH_LEN]);
