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

/** What identifies a device: a DevEUI, or a classic Sigfox id behind 4 zero bytes, which no DevEUI
 * here begins with. The text of the one is 16 hex digits, that of the other "sigfox:0123abcd". Not
 * for JoinEUIs and NSIDs. */
#define SIGFOX_ID_LEN 4
#define DEVICE_ID_TEXT_LEN EUI64_TEXT_LEN
bool device_id_is_sigfox(const struct eui64 *id);
/** Besides any spelling of an EUI, "sigfox:" in any case and 8 hex digits. A Sigfox id may also be
 * written as 16 hex digits, 8 zeros first. */
bool device_id_parse(const char *text, size_t len, struct eui64 *ret);
/** Whether the text says that it is a Sigfox id, sound or not. */
bool device_id_says_sigfox(const char *text, size_t len);
const char *device_id_format(const struct eui64 *id, char out[static DEVICE_ID_TEXT_LEN + 1]);

static inline uint64_t eui64_to_u64(const struct eui64 *eui)
{
    uint64_t v = 0;

    for (size_t i = 0; i < sizeof(eui->bytes); i++)
        v = v << 8 | eui->bytes[i];
    return v;
}
