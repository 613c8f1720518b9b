#include "base/text.h"

#include "base/hex.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY 512

/* Room for `len` more bytes and the NUL. */
static bool reserve(struct text *t, size_t len)
{
    size_t capacity = t->capacity > 0 ? t->capacity : FIRST_CAPACITY;
    char *bigger;

    if (t->failed)
        return false;
    if (len >= SIZE_MAX / 4 - t->len) {
        t->failed = true;
        return false;
    }
    while (capacity < t->len + len + 1)
        capacity *= 2;
    if (capacity == t->capacity)
        return true;
    bigger = realloc(t->data, capacity);
    if (bigger == NULL) {
        t->failed = true;
        return false;
    }
    t->data = bigger;
    t->capacity = capacity;
    return true;
}

void text_reserve(struct text *t, size_t len)
{
    (void)reserve(t, len);
}

void text_add_len(struct text *t, const char *s, size_t len)
{
    if (!reserve(t, len))
        return;
    memcpy(t->data + t->len, s, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void text_add(struct text *t, const char *s)
{
    text_add_len(t, s, strlen(s));
}

void text_addf(struct text *t, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !reserve(t, (size_t)n)) {
        t->failed = true;
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(t->data + t->len, (size_t)n + 1, fmt, args);
    va_end(args);
    t->len += (size_t)n;
}

void text_add_json(struct text *t, const char *s)
{
    text_add_len(t, "\"", 1);
    for (const char *p = s; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '"' || c == '\\') {
            text_add_len(t, "\\", 1);
            text_add_len(t, p, 1);
        } else if (c < 0x20) {
            text_addf(t, "\\u%04x", c);
        } else {
            text_add_len(t, p, 1);
        }
    }
    text_add_len(t, "\"", 1);
}

void text_add_hex(struct text *t, const void *bytes, size_t len)
{
    if (len > SIZE_MAX / 4 || !reserve(t, 2 * len)) {
        t->failed = true;
        return;
    }
    (void)hex_encode(bytes, len, t->data + t->len);
    t->len += 2 * len;
}

size_t text_fit(const char *s, size_t max)
{
    size_t len = strnlen(s, max + 1);

    if (len <= max)
        return len;
    /* The byte behind goes on with a character: back to where that begins. */
    for (len = max; len > 0 && ((unsigned char)s[len] & 0xC0) == 0x80; len--)
        ;
    return len;
}

void text_clear(struct text *t)
{
    t->len = 0;
    t->failed = false;
    if (t->data != NULL)
        t->data[0] = '\0';
}

void text_done(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}
