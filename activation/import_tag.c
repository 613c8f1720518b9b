#include "activation/import_tag.h"

#include "base/hex.h"
#include <string.h>
#include <strings.h>

#define PROFILE_ID_LEN 4
#define CHECKSUM_LEN 2

static const struct grammar {
    const char *prefix;
    char separator;     /* between the identifiers */
    const char *before; /* each extension */
    char token;         /* its letter */
    bool has_checksum;
} grammars[] = {
    {"LW:D0:", ':', ":", 'O', true},
    {"URN:DEV:LW:", '_', "_", 'V', false},
    {"URN:LW:DP:", ':', "%", 'V', false},
};

/* CRC-16/MODBUS: polynomial 0x8005 reflected, beginning with 0xFFFF. */
static uint16_t checksum(const char *text, size_t len)
{
    unsigned crc = 0xFFFF;

    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)text[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0xA001 : crc >> 1;
    }
    return (uint16_t)crc;
}

/* Bytes written as hexadecimal digits; a separator or the end of the text stands behind them. */
static bool take(const char **at, const char *end, char separator, uint8_t *out, size_t out_len)
{
    size_t digits = 2 * out_len;

    if ((size_t)(end - *at) < digits || !hex_decode(*at, digits, out, out_len))
        return false;
    *at += digits;
    return *at == end || **at == separator;
}

static bool checksum_holds(const char *text, const char *mark, const char *value, size_t len)
{
    uint8_t said[CHECKSUM_LEN];

    return hex_decode(value, len, said, sizeof(said)) &&
           (said[0] << 8 | said[1]) == checksum(text, (size_t)(mark - text));
}

static enum import_tag_outcome read_extensions(const struct grammar *grammar, const char *text,
    const char *at, const char *end, struct import_tag *ret)
{
    enum import_tag_outcome outcome = IMPORT_TAG_OK;

    /* Draft 2 has a colon before the first one. */
    if (at < end && *at != *grammar->before)
        at++;
    while (at < end) {
        const char *mark = at++;
        const char *next = memchr(at, *grammar->before, (size_t)(end - at));
        size_t len;

        next = next != NULL ? next : end;
        if (at == next)
            continue;
        len = (size_t)(next - at) - 1;
        if (*at == grammar->token) {
            ret->token = at + 1;
            ret->token_len = len;
        } else if (*at == 'S') {
            ret->serial = at + 1;
            ret->serial_len = len;
        } else if (*at == 'C' && grammar->has_checksum && len > 0 &&
                   !checksum_holds(text, mark, at + 1, len)) {
            outcome = IMPORT_TAG_CHECKSUM;
        }
        at = next;
    }
    return outcome;
}

enum import_tag_outcome import_tag_parse(const char *text, size_t len, struct import_tag *ret)
{
    const char *end = text + len;

    *ret = (struct import_tag){0};
    for (size_t i = 0; i < sizeof(grammars) / sizeof(grammars[0]); i++) {
        const struct grammar *grammar = &grammars[i];
        size_t n = strlen(grammar->prefix);
        const char *at = text + n;
        uint8_t profile[PROFILE_ID_LEN];

        if (len < n || strncasecmp(text, grammar->prefix, n) != 0)
            continue;
        if (!take(&at, end, grammar->separator, ret->join_eui.bytes, sizeof(ret->join_eui.bytes)) ||
            at++ == end ||
            !take(&at, end, grammar->separator, ret->dev_eui.bytes, sizeof(ret->dev_eui.bytes)) ||
            at++ == end || !take(&at, end, grammar->separator, profile, sizeof(profile)))
            return IMPORT_TAG_BROKEN;
        return read_extensions(grammar, text, at, end, ret);
    }
    return IMPORT_TAG_NONE;
}
