/* Base64 (RFC 4648 4). */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Characters of the text of `n` bytes. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/** Writes BASE64_LEN(len) characters and a NUL. */
char *base64_encode(const uint8_t *bytes, size_t len, char *out);
/** Strict: whole groups of four, padding only at the end, no stray bits. Returns the length, or -1;
 * also when the whole groups are longer than `out_size` bytes. */
ssize_t base64_decode(const char *text, uint8_t *out, size_t out_size);
/** As base64_encode in the alphabet of RFC 4648 5 and without padding; `out` has room for
 * BASE64_LEN(len) characters and a NUL. */
char *base64url_encode(const uint8_t *bytes, size_t len, char *out);
/** As strict as base64_decode, of `len` characters. The whole groups must fit `out_size`. */
ssize_t base64url_decode(const char *text, size_t len, uint8_t *out, size_t out_size);
/** The 6 bits that a character of it stands for, or -1. */
int base64_value(char c);
