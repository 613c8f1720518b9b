/* Identifiers of the field, in human (big-endian) byte order, and their text.
 * Input accepts any common spelling: upper or lower case, an optional 0x/0X, and '-', ':' or ' '
 * between bytes. Output is lower-case hex without separators. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eui64 {
    uint8_t bytes[8];
};

/** NetID, TS002 "HNetID", 24 bits. */
struct net_id {
    uint8_t bytes[3];
};

struct dev_addr {
    uint8_t bytes[4];
};

#define EUI64_TEXT_LEN 16
#define NET_ID_TEXT_LEN 6
#define DEV_ADDR_TEXT_LEN 8

bool eui64_parse(const char *text, size_t len, struct eui64 *ret);
bool net_id_parse(const char *text, size_t len, struct net_id *ret);
/** Both write a NUL-terminated string and return it. */
const char *eui64_format(const struct eui64 *eui, char out[static EUI64_TEXT_LEN + 1]);
const char *net_id_format(const struct net_id *id, char out[static NET_ID_TEXT_LEN + 1]);

static inline uint64_t eui64_to_u64(const struct eui64 *eui)
{
    uint64_t v = 0;

    for (size_t i = 0; i < sizeof(eui->bytes); i++)
        v = v << 8 | eui->bytes[i];
    return v;
}
