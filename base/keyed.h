/* A keyed hash (a tag, a claim code's) as the database keeps it: 32 bytes, and behind them, where
 * the version of its key is not the first, that version as two bytes, big-endian. So what was
 * written before these keys had versions is of the first, and whoever reads a hash knows its key:
 * none is ever tried. A number that was changed makes the hash a wrong one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYED_LEN 32 /* HMAC-SHA-256 */
#define KEYED_STORED_MAX (KEYED_LEN + 2)
#define KEYED_VERSION_MAX 9999u

/** Returns the length. A version of 0 is taken for the first. */
size_t keyed_store(
    const uint8_t hash[static KEYED_LEN], unsigned version, uint8_t out[static KEYED_STORED_MAX]);
/** What stands behind a hash of that version; returns its length, 0 or 2. */
size_t keyed_mark(unsigned version, uint8_t out[static KEYED_STORED_MAX - KEYED_LEN]);
/** False when it cannot be one: then nothing is written. */
bool keyed_read(
    const uint8_t *stored, size_t len, uint8_t ret_hash[static KEYED_LEN], uint16_t *ret_version);
