#include "base/base64.h"

#include <string.h>

int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

char *base64_encode(const uint8_t *bytes, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = out;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = 0;

        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (i + k < len ? bytes[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            *at++ = i + k > len ? '=' : digits[group >> (18 - 6 * k) & 0x3f];
    }
    *at = '\0';
    return out;
}

ssize_t base64_decode(const char *text, uint8_t *out, size_t out_size)
{
    size_t len = strlen(text), n = 0, padding = 0;

    if (len == 0 || len % 4 != 0 || len / 4 * 3 > out_size)
        return -1;
    while (padding < 2 && text[len - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < len; i += 4) {
        size_t pads = i + 4 == len ? padding : 0;
        uint32_t group = 0;

        for (size_t k = 0; k < 4; k++) {
            int v = k >= 4 - pads ? 0 : base64_value(text[i + k]);

            if (v < 0)
                return -1;
            group = group << 6 | (uint32_t)v;
        }
        if (pads > 0 && (group & (pads == 1 ? 0xffu : 0xffffu)) != 0)
            return -1;
        for (size_t k = 0; k < 3 - pads; k++)
            out[n++] = (uint8_t)(group >> (16 - 8 * k) & 0xff);
    }
    return (ssize_t)n;
}
