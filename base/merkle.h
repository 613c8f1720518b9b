/* The root of a tree of hashes, as RFC 9162, section 2.1, builds it with SHA-256: one value that
 * stands for many, of which each can be shown to be there. Pure. */
#pragma once

#include "base/cleanup.h"
#include <stddef.h>
#include <stdint.h>

#define MERKLE_HASH_LEN 32
#define MERKLE_ENTRY_MAX 2048 /* bytes */

/** SHA-256(0x00 | entry). ERROR_INPUT for one of more than MERKLE_ENTRY_MAX. */
int merkle_leaf(const void *entry, size_t len, uint8_t ret[static MERKLE_HASH_LEN]) MUST_CHECK;
/** The root over `n` leaves in their order, which are overwritten; of none: SHA-256 of nothing. */
void merkle_root(uint8_t (*leaves)[MERKLE_HASH_LEN], size_t n, uint8_t ret[static MERKLE_HASH_LEN]);
