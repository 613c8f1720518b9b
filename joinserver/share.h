/* What one peer may take of a bounded pool: three times what is left over. One alone gets three
 * quarters, two get three sevenths each, and however many there are, some of it stays free for who
 * has nothing yet. Peers share counters by their number; a collision makes two peers share a share.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define JOIN_SHARES 256
#define JOIN_SHARE_OF_FREE 3

static inline unsigned join_share_of(int64_t peer_id)
{
    return (unsigned)((uint64_t)peer_id % JOIN_SHARES);
}

/** Whether who has `taken` may take one more while `n_free` are free. */
static inline bool join_share_allows(unsigned taken, unsigned n_free)
{
    return taken < (uint64_t)n_free * JOIN_SHARE_OF_FREE;
}
