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

char *base64url_encode(const uint8_t *bytes, size_t len, char *out)
{
    (void)base64_encode(bytes, len, out);
    for (char *c = out; *c != '\0'; c++) {
        if (*c == '+')
            *c = '-';
        else if (*c == '/')
            *c = '_';
        else if (*c == '=')
            *c = '\0';
    }
    return out;
}

static int url_value(char c)
{
    if (c == '+' || c == '/')
        return -1;
    return c == '-' ? 62 : c == '_' ? 63 : base64_value(c);
}

ssize_t base64url_decode(const char *text, size_t len, uint8_t *out, size_t out_size)
{
    uint32_t group = 0;
    size_t n = 0, n_bits = 0;

    if (len == 0 || len % 4 == 1 || (len + 3) / 4 * 3 > out_size)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int v = url_value(text[i]);

        if (v < 0)
            return -1;
        group = group << 6 | (uint32_t)v;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (uint8_t)(group >> n_bits);
            group &= (1u << n_bits) - 1;
        }
    }
    return group == 0 ? (ssize_t)n : -1;
}
