/* A secret of 16 bytes in N shares, of which any K give it back and fewer tell nothing (Shamir,
 * over GF(256) with the polynomial of AES). Pure, in time that does not depend on the secret.
 *
 * A share as text, a line of its own:
 *
 *   cradle-share-1 K N NUMBER SET BYTES CHECK
 *
 * SET, 8 hex digits, is the same for all shares of one split; BYTES are the share's 16 bytes and 4
 * of the digest of the secret, which tell whether what was put together is right; CHECK, 8 hex
 * digits of the digest of all before it, tells a slip of the pen. */
#pragma once

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define SHARES_SECRET_LEN 16
#define SHARES_DIGEST_LEN 4
#define SHARES_SET_LEN 4
#define SHARES_MAX 16
#define SHARES_TEXT_MAX 160

struct share {
    unsigned needed, n;
    unsigned number; /* 1 to n */
    uint8_t set[SHARES_SET_LEN];
    uint8_t bytes[SHARES_SECRET_LEN];
    uint8_t digest[SHARES_DIGEST_LEN]; /* of the secret */
};

/** Makes `n` shares, 2 <= needed <= n <= SHARES_MAX. ERROR_INPUT, ERROR_SYSTEM. */
int shares_split(const uint8_t secret[static SHARES_SECRET_LEN], unsigned needed, unsigned n,
    struct share *ret) MUST_CHECK;
/** Puts the secret together. ERROR_INPUT names what is wrong: too few, one twice, of two splits. */
int shares_join(
    const struct share *shares, size_t n_shares, uint8_t ret[static SHARES_SECRET_LEN]) MUST_CHECK;

/** With its newline; wipe it after use. */
void share_write(const struct share *share, char out[static SHARES_TEXT_MAX]);
/** ERROR_INPUT. */
int share_read(const char *text, struct share *ret) MUST_CHECK;
