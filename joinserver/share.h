/* What one peer may take of a bounded pool: three quarters, so that a quarter is left to the
 * others. Peers share counters by their number; a collision makes two peers share a share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define JOIN_SHARES 256
#define JOIN_SHARE_NUMERATOR 3
#define JOIN_SHARE_DENOMINATOR 4

static inline unsigned join_share_of(int64_t peer_id)
{
    return (unsigned)((uint64_t)peer_id % JOIN_SHARES);
}

/** Whether who has `taken` of `n` may take one more. */
static inline bool join_share_allows(unsigned taken, unsigned n)
{
    return (uint64_t)taken * JOIN_SHARE_DENOMINATOR < (uint64_t)n * JOIN_SHARE_NUMERATOR;
}
