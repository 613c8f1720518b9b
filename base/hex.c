#include "base/hex.h"

#include <string.h>

/* The value of a digit, or -1, without a branch or a table look-up on the digit. */
static inline int digit_value(unsigned char c)
{
    int v = (int)c;
    int is_decimal = ((('0' - 1 - v) & (v - ('9' + 1))) >> 8) & 1;
    int lower = v | 0x20;
    int is_letter = ((('a' - 1 - lower) & (lower - ('f' + 1))) >> 8) & 1;

    return (is_decimal * (v - '0')) + (is_letter * (lower - 'a' + 10)) +
           ((is_decimal | is_letter) - 1);
}

static bool is_separator(char c)
{
    return c == '-' || c == ':' || c == ' ';
}

static bool decode(const char *text, size_t text_len, uint8_t *out, size_t bytes_len, bool spelled)
{
    size_t at = 0;
    size_t n = 0;
    int bad = 0;

    memset(out, 0, bytes_len);
    if (text_len >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        at = 2;
    while (at < text_len && n < bytes_len) {
        int high, low;

        if (spelled && n > 0 && is_separator(text[at]))
            at++;
        if (text_len - at < 2)
            break;
        high = digit_value((unsigned char)text[at]);
        low = digit_value((unsigned char)text[at + 1]);
        bad |= high | low;
        out[n++] = (uint8_t)((unsigned)high << 4 | ((unsigned)low & 0x0F));
        at += 2;
    }
    if (bad < 0 || n != bytes_len || at != text_len) {
        memset(out, 0, bytes_len);
        return false;
    }
    return true;
}

bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t bytes_len)
{
    return decode(text, text_len, out, bytes_len, false);
}

bool hex_decode_spelled(const char *text, size_t text_len, uint8_t *out, size_t bytes_len)
{
    return decode(text, text_len, out, bytes_len, true);
}

char *hex_encode(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        for (unsigned half = 0; half < 2; half++) {
            int v = half == 0 ? bytes[i] >> 4 : bytes[i] & 0x0F;

            /* 39 is the distance from '9' + 1 to 'a': added when v > 9, without a branch. */
            out[2 * i + half] = (char)('0' + v + (((9 - v) >> 8) & 39));
        }
    }
    out[2 * len] = '\0';
    return out;
}
