#include "base/merkle.h"

#include "base/aes.h"
#include "base/error.h"
#include <string.h>

enum { LEAF = 0, NODE = 1 }; /* in front, so that a node is never taken for a leaf */

int merkle_leaf(const void *entry, size_t len, uint8_t ret[static MERKLE_HASH_LEN])
{
    uint8_t tagged[1 + MERKLE_ENTRY_MAX] = {LEAF};

    if (len > MERKLE_ENTRY_MAX)
        return error_set(ERROR_INPUT, "an entry of %zu bytes is too long for a leaf", len);
    memcpy(tagged + 1, entry, len);
    digest_sha256(tagged, 1 + len, ret);
    return 0;
}

void merkle_node(const uint8_t left[static MERKLE_HASH_LEN],
    const uint8_t right[static MERKLE_HASH_LEN], uint8_t ret[static MERKLE_HASH_LEN])
{
    uint8_t tagged[1 + 2 * MERKLE_HASH_LEN] = {NODE};

    memcpy(tagged + 1, left, MERKLE_HASH_LEN);
    memcpy(tagged + 1 + MERKLE_HASH_LEN, right, MERKLE_HASH_LEN);
    digest_sha256(tagged, sizeof(tagged), ret);
}

/* Level by level: pairs become one, and an odd one goes up as it is. That is the tree of the RFC,
 * whose left side is always the largest power of two. */
void merkle_root(uint8_t (*leaves)[MERKLE_HASH_LEN], size_t n, uint8_t ret[static MERKLE_HASH_LEN])
{
    if (n == 0) {
        digest_sha256("", 0, ret);
        return;
    }
    for (; n > 1; n = n / 2 + n % 2) {
        for (size_t i = 0; i < n / 2; i++)
            merkle_node(leaves[2 * i], leaves[2 * i + 1], leaves[i]);
        if (n % 2 == 1)
            memmove(leaves[n / 2], leaves[n - 1], MERKLE_HASH_LEN);
    }
    memcpy(ret, leaves[0], MERKLE_HASH_LEN);
}

/* --- a tree that grows ------------------------------------------------------------------------ */

bool merkle_frontier(uint64_t n, unsigned level, uint64_t *ret_place)
{
    if ((n >> level & 1) == 0)
        return false;
    *ret_place = (n >> level) - 1;
    return true;
}

size_t merkle_append(struct merkle_tree *tree, const uint8_t leaf[static MERKLE_HASH_LEN],
    uint8_t (*ret)[MERKLE_HASH_LEN])
{
    unsigned level = 0;

    memmove(ret[0], leaf, MERKLE_HASH_LEN); /* it may stand there already */
    for (; (tree->n >> level & 1) != 0; level++)
        merkle_node(tree->frontier[level], ret[level], ret[level + 1]);
    memcpy(tree->frontier[level], ret[level], MERKLE_HASH_LEN);
    tree->n++;
    return level + 1;
}

/* What the leaves behind the last complete node of a level come to; false: there are none. */
static bool rest_of(
    const struct merkle_tree *tree, unsigned level, uint8_t ret[static MERKLE_HASH_LEN])
{
    bool any = false;

    for (unsigned l = 0; l < level; l++) {
        if ((tree->n >> l & 1) == 0)
            continue;
        if (any)
            merkle_node(tree->frontier[l], ret, ret);
        else
            memcpy(ret, tree->frontier[l], MERKLE_HASH_LEN);
        any = true;
    }
    return any;
}

void merkle_tree_root(const struct merkle_tree *tree, uint8_t ret[static MERKLE_HASH_LEN])
{
    if (!rest_of(tree, MERKLE_LEVELS, ret))
        digest_sha256("", 0, ret);
}

/* On each level the neighbour is in the path, where there is one. */
size_t merkle_path(uint64_t n, uint64_t leaf, struct merkle_place ret[static MERKLE_LEVELS])
{
    size_t n_path = 0;

    for (unsigned level = 0; level < MERKLE_LEVELS && (n - 1) >> level > 0; level++) {
        const uint64_t neighbour = leaf >> level ^ 1;

        if (neighbour <= (n - 1) >> level)
            ret[n_path++] = (struct merkle_place){.level = level, .place = neighbour};
    }
    return n_path;
}

bool merkle_tree_edge(const struct merkle_tree *tree, const struct merkle_place *at,
    uint8_t ret[static MERKLE_HASH_LEN])
{
    return at->place == tree->n >> at->level && rest_of(tree, at->level, ret);
}

bool merkle_path_root(uint64_t n, uint64_t leaf, const uint8_t hash[static MERKLE_HASH_LEN],
    uint8_t (*path)[MERKLE_HASH_LEN], size_t n_path, uint8_t ret[static MERKLE_HASH_LEN])
{
    struct merkle_place places[MERKLE_LEVELS];

    if (n == 0 || n >> MERKLE_LEVELS != 0 || leaf >= n || merkle_path(n, leaf, places) != n_path)
        return false;
    memcpy(ret, hash, MERKLE_HASH_LEN);
    for (size_t i = 0; i < n_path; i++) {
        if ((places[i].place & 1) != 0)
            merkle_node(ret, path[i], ret);
        else
            merkle_node(path[i], ret, ret);
    }
    return true;
}
