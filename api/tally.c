#include "api/tally.h"

#include "base/error.h"
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define IPV4_PREFIX ((uint64_t)0xffff << 32)
#define HOSTS_OF_24 UINT64_C(0xFF)

int tally_init(struct tally *tally, uint32_t max_keys, uint64_t secret)
{
    unsigned bits = 1;

    while (bits < 31 && (uint32_t)1 << bits < max_keys)
        bits++;
    *tally = (struct tally){
        .multiplier = secret | 1, .shift = 64 - bits, .first_free = max_keys > 0 ? 0 : NONE};
    tally->entries = calloc(max_keys, sizeof(*tally->entries));
    tally->buckets = malloc(sizeof(*tally->buckets) << bits);
    if (tally->entries == NULL || tally->buckets == NULL)
        return error_set(ERROR_SYSTEM, "out of memory to count connections");
    memset(tally->buckets, 0xff, sizeof(*tally->buckets) << bits);
    for (uint32_t i = 0; i < max_keys; i++)
        tally->entries[i].next = i + 1 < max_keys ? i + 1 : NONE;
    return 0;
}

void tally_done(struct tally *tally)
{
    free(tally->entries);
    free(tally->buckets);
    *tally = (struct tally){0};
}

/* Where the number of the key's entry stands, or NONE at the end of its bucket. */
static uint32_t *place_of(const struct tally *tally, uint64_t key)
{
    uint32_t *place = &tally->buckets[key * tally->multiplier >> tally->shift];

    while (*place != NONE && tally->entries[*place].key != key)
        place = &tally->entries[*place].next;
    return place;
}

bool tally_take(struct tally *tally, uint64_t key, uint32_t limit)
{
    uint32_t *place = place_of(tally, key);
    struct tally_entry *entry;

    if (*place != NONE) {
        entry = &tally->entries[*place];
        if (limit > 0 && entry->n >= limit)
            return false;
        entry->n++;
        return true;
    }
    if (tally->first_free == NONE)
        return false;
    *place = tally->first_free;
    entry = &tally->entries[*place];
    tally->first_free = entry->next;
    *entry = (struct tally_entry){.key = key, .n = 1, .next = NONE};
    tally->n_keys++;
    return true;
}

void tally_give(struct tally *tally, uint64_t key)
{
    uint32_t *place = place_of(tally, key);
    uint32_t i = *place;
    struct tally_entry *entry;

    assert(i != NONE);
    entry = &tally->entries[i];
    if (--entry->n > 0)
        return;
    *place = entry->next;
    entry->next = tally->first_free;
    tally->first_free = i;
    tally->n_keys--;
}

uint32_t tally_count(const struct tally *tally, uint64_t key)
{
    uint32_t i = *place_of(tally, key);

    return i != NONE ? tally->entries[i].n : 0;
}

static uint64_t big_endian(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

uint64_t tally_key_of_address(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        return IPV4_PREFIX | ntohl(v4.sin_addr.s_addr);
    }
    if (address->sa_family != AF_INET6)
        return 0;
    memcpy(&v6, address, sizeof(v6));
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
        return IPV4_PREFIX | big_endian(v6.sin6_addr.s6_addr + 12, 4);
    return big_endian(v6.sin6_addr.s6_addr, 8);
}

uint64_t tally_network_of_key(uint64_t key)
{
    return key >> 32 == IPV4_PREFIX >> 32 ? key & ~HOSTS_OF_24 : key;
}
