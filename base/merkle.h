/* The root of a tree of hashes, as RFC 9162, section 2.1, builds it with SHA-256: one value that
 * stands for many, of which each can be shown to be there. Pure. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MERKLE_HASH_LEN 32
#define MERKLE_ENTRY_MAX 2048 /* bytes */

/** SHA-256(0x00 | entry). ERROR_INPUT for one of more than MERKLE_ENTRY_MAX. */
int merkle_leaf(const void *entry, size_t len, uint8_t ret[static MERKLE_HASH_LEN]) MUST_CHECK;
/** The root over `n` leaves in their order, which are overwritten; of none: SHA-256 of nothing. */
void merkle_root(uint8_t (*leaves)[MERKLE_HASH_LEN], size_t n, uint8_t ret[static MERKLE_HASH_LEN]);

/** What stands for two: SHA-256(0x01 | left | right). */
void merkle_node(const uint8_t left[static MERKLE_HASH_LEN],
    const uint8_t right[static MERKLE_HASH_LEN], uint8_t ret[static MERKLE_HASH_LEN]);

/* --- a tree that grows ------------------------------------------------------------------------ */

/* Level 0 has the leaves; a node on level L at place P is over the leaves P * 2^L and up, and is
 * complete when it is over 2^L. A complete node never changes, so whoever keeps them computes any
 * root and any path from few of them. */

#define MERKLE_LEVELS 63 /* of a tree of less than 2^63 leaves */

struct merkle_place {
    unsigned level;
    uint64_t place;
};

struct merkle_tree {
    uint64_t n;                                       /* leaves */
    uint8_t frontier[MERKLE_LEVELS][MERKLE_HASH_LEN]; /* where merkle_frontier() says */
};

/** The complete node that a tree of `n` leaves needs of this level to go on; false: it needs none.
 */
bool merkle_frontier(uint64_t n, unsigned level, uint64_t *ret_place);
/** Adds a leaf. The nodes that are complete by it, itself first and a level each: returns how many.
 */
size_t merkle_append(struct merkle_tree *tree, const uint8_t leaf[static MERKLE_HASH_LEN],
    uint8_t (*ret)[MERKLE_HASH_LEN]);
void merkle_tree_root(const struct merkle_tree *tree, uint8_t ret[static MERKLE_HASH_LEN]);

/** The path of leaf number `leaf` (from 0) in a tree of `n`: the places of its hashes, from below.
 * Returns how many there are, at most MERKLE_LEVELS. */
size_t merkle_path(uint64_t n, uint64_t leaf, struct merkle_place ret[static MERKLE_LEVELS]);
/** The node at a place of such a path, where it is not complete; false: it is. */
bool merkle_tree_edge(const struct merkle_tree *tree, const struct merkle_place *at,
    uint8_t ret[static MERKLE_HASH_LEN]);
/** The root that a path leads to (RFC 9162, 2.1.3.2). False when it is none of this leaf and size.
 */
bool merkle_path_root(uint64_t n, uint64_t leaf, const uint8_t hash[static MERKLE_HASH_LEN],
    uint8_t (*path)[MERKLE_HASH_LEN], size_t n_path, uint8_t ret[static MERKLE_HASH_LEN]);
