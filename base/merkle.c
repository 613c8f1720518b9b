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

/* Level by level: pairs become one, and an odd one goes up as it is. That is the tree of the RFC,
 * whose left side is always the largest power of two. */
void merkle_root(uint8_t (*leaves)[MERKLE_HASH_LEN], size_t n, uint8_t ret[static MERKLE_HASH_LEN])
{
    uint8_t tagged[1 + 2 * MERKLE_HASH_LEN] = {NODE};

    if (n == 0) {
        digest_sha256("", 0, ret);
        return;
    }
    for (; n > 1; n = n / 2 + n % 2) {
        for (size_t i = 0; i < n / 2; i++) {
            memcpy(tagged + 1, leaves[2 * i], 2 * MERKLE_HASH_LEN);
            digest_sha256(tagged, sizeof(tagged), leaves[i]);
        }
        if (n % 2 == 1)
            memmove(leaves[n / 2], leaves[n - 1], MERKLE_HASH_LEN);
    }
    memcpy(ret, leaves[0], MERKLE_HASH_LEN);
}
