#include "base/text.h"

#include "base/hex.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY 512
#define DIGITS_MAX 20 /* of 64 bits */

/* Room for `len` more bytes and the NUL. */
static bool reserve(struct text *t, size_t len)
{
    size_t capacity = t->capacity > 0 ? t->capacity : FIRST_CAPACITY;
    char *bigger;

    if (t->failed)
        return false;
    if (len < t->capacity - t->len)
        return true;
    if (len >= SIZE_MAX / 4 - t->len) {
        t->failed = true;
        return false;
    }
    while (capacity < t->len + len + 1)
        capacity *= 2;
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
    const size_t room = t->failed ? 0 : t->capacity - t->len;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(room > 0 ? t->data + t->len : NULL, room, fmt, args);
    va_end(args);
    if (n < 0 || !reserve(t, (size_t)n)) {
        t->failed = true;
        return;
    }
    if ((size_t)n >= room) {
        va_start(args, fmt);
        (void)vsnprintf(t->data + t->len, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    t->len += (size_t)n;
}

void text_add_unsigned(struct text *t, uint64_t number)
{
    char digits[DIGITS_MAX];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    text_add_len(t, digits + at, sizeof(digits) - at);
}

void text_add_json(struct text *t, const char *s)
{
    text_add_len(t, "\"", 1);
    while (*s != '\0') {
        size_t n = 0;

        while ((unsigned char)s[n] >= 0x20 && s[n] != '"' && s[n] != '\\')
            n++;
        if (n > 0)
            text_add_len(t, s, n);
        s += n;
        if (*s == '\0')
            break;
        if (*s == '"' || *s == '\\') {
            text_add_len(t, "\\", 1);
            text_add_len(t, s, 1);
        } else {
            text_addf(t, "\\u%04x", (unsigned char)*s);
        }
        s++;
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

size_t text_utf8_len(const char *text, size_t max)
{
    const unsigned char *s = (const unsigned char *)text;
    const unsigned char c = max > 0 ? s[0] : 0xFF;
    const size_t n = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;

    if (n == 0 || n > max)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    /* Too long a form, half a pair of UTF-16, or beyond the last character. */
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F) || (c == 0xF0 && s[1] < 0x90) ||
        (c == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
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
