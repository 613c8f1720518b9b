/* How many connections each address, or each peer, has open. All memory is taken at the start, for
 * as many keys as can be there at once; a key nobody has any more leaves its room. One thread's. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct tally_entry {
    uint64_t key;
    uint32_t n;
    uint32_t next; /* of its bucket, or of those that are free */
};

struct tally {
    struct tally_entry *entries;
    uint32_t *buckets;
    uint64_t multiplier;
    unsigned shift;
    uint32_t first_free;
    uint32_t n_keys; /* in use */
};

/** Room for `max_keys`. `secret`: a random number, so that nobody can choose keys that all fall
 * into one bucket. */
int tally_init(struct tally *tally, uint32_t max_keys, uint64_t secret);
void tally_done(struct tally *tally);

/** One more for this key; false, and nothing counted, when it has `limit` already (0: no limit) or
 * no room is left. */
bool tally_take(struct tally *tally, uint64_t key, uint32_t limit) MUST_CHECK;
/** One that was taken goes. */
void tally_give(struct tally *tally, uint64_t key);
uint32_t tally_count(const struct tally *tally, uint64_t key);

/** An IPv4 address, also when it is written as an IPv6 one, or the /64 of an IPv6 address: whoever
 * has one address of a /64 has all 2^64. IPv4 is told apart by 0000::/8, where no IPv6 host is. */
uint64_t tally_key_of_address(const struct sockaddr *address);
/** Of such a key, that of the network: the /24 of an IPv4 address; a /64 is one. */
uint64_t tally_network_of_key(uint64_t key);
