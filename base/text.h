/* A growing text: JSON answers, metrics, NDJSON reports. Memory failure is sticky in `failed`. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *data; /* NUL-terminated once anything was added */
    size_t len;
    size_t capacity;
    bool failed;
};

void text_add(struct text *t, const char *s);
void text_add_len(struct text *t, const char *s, size_t len);
void text_addf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_add_unsigned(struct text *t, uint64_t number);
/** Adds `s` as a quoted JSON string (RFC 8259 7), escaped; bytes are taken as UTF-8. */
void text_add_json(struct text *t, const char *s);
void text_add_hex(struct text *t, const void *bytes, size_t len);
/** Room for `len` more bytes. What is added within it is not moved again: no copy of a secret stays
 * behind in freed memory. */
void text_reserve(struct text *t, size_t len);
/** Bytes of the longest beginning of at most `max` bytes that cuts no UTF-8 character in two; what
 * is quoted in part ("%.*s") is UTF-8 then if the whole is. */
size_t text_fit(const char *s, size_t max);
/** Bytes of the UTF-8 character (RFC 3629) that begins at `s`, no longer than `max`; 0: there is
 * none. */
size_t text_utf8_len(const char *s, size_t max);
void text_clear(struct text *t);
void text_done(struct text *t);
