/* Hexadecimal text, in time that does not depend on the digits (keys pass through here). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Decodes exactly `bytes_len` bytes from `text` (`text_len` characters, both cases, an optional
 * leading 0x or 0X). False when the length or a digit is wrong; `out` is then all zero. */
bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t bytes_len);

/** As hex_decode, and allows '-', ':' or ' ' between bytes: how people write EUIs. */
bool hex_decode_spelled(const char *text, size_t text_len, uint8_t *out, size_t bytes_len);

/** Writes 2 * len lower-case digits and a NUL. */
char *hex_encode(const uint8_t *bytes, size_t len, char *out);
