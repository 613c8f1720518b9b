/* Pieces of text as import files write them: identifiers, versions, numbers, keys that are not in
 * clear. Pure. */
#pragma once

#include "lorawan/types.h"

#include <stddef.h>

/** True for 1..64 characters of printable ASCII without blank, quote and backslash: what an AS-ID
 * and a KEK label may be. */
bool import_id_valid(const char *text, size_t len);

/** What lw_mac_version_parse takes, also after "v", "MAC_V" (The Things Stack) or "LORAWAN_"
 * (ChirpStack), in any case and with '_' for '.'. */
bool import_version_parse(const char *text, size_t len, enum lw_mac_version *ret);

/** Decimal, or hexadecimal after 0x; at most `max`. */
bool import_number_parse(const char *text, size_t len, uint32_t max, uint32_t *ret);

/** Exactly `bytes_len` bytes (a multiple of 3), in hexadecimal of any common spelling or in Base64
 * (RFC 4648 4 and 5). Base64 that looks like hexadecimal is refused: it is a key in clear that
 * stands in the wrong place. */
bool import_blob_parse(const char *text, size_t len, uint8_t *out, size_t bytes_len);
