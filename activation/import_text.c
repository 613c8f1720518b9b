#include "activation/import_text.h"

#include "base/base64.h"
#include "base/hex.h"
#include "base/sealed.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define VERSION_TEXT_MAX 15
#define BASE64_GROUP 4 /* characters for 3 bytes */

/* As they stand once '_' has become '.'. */
static const char *const version_prefixes[] = {"MAC.V", "LORAWAN.", "V"};

bool import_id_valid(const char *text, size_t len)
{
    if (len == 0 || len > PEER_ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
            return false;
    return true;
}

bool import_version_parse(const char *text, size_t len, enum lw_mac_version *ret)
{
    char version[VERSION_TEXT_MAX + 1];
    const char *at = version;

    if (len > VERSION_TEXT_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        version[i] = text[i] == '_' ? '.' : text[i];
    version[len] = '\0';
    for (size_t i = 0; i < sizeof(version_prefixes) / sizeof(version_prefixes[0]); i++) {
        size_t n = strlen(version_prefixes[i]);

        if (strncasecmp(version, version_prefixes[i], n) == 0) {
            at += n;
            break;
        }
    }
    return lw_mac_version_parse(at, ret);
}

bool import_number_parse(const char *text, size_t len, uint32_t max, uint32_t *ret)
{
    bool is_hex = len > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    uint64_t base = is_hex ? 16 : 10;
    uint64_t value = 0;

    if (len == 0)
        return false;
    for (size_t i = is_hex ? 2 : 0; i < len; i++) {
        char c = text[i];

        if (!(is_hex ? isxdigit((unsigned char)c) : isdigit((unsigned char)c)))
            return false;
        value = value * base + (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        if (value > max)
            return false;
    }
    *ret = (uint32_t)value;
    return true;
}

/* RFC 4648 5 has two other characters than 4. */
static int either_value(char c)
{
    return base64_value(c == '-' ? '+' : c == '_' ? '/' : c);
}

bool import_blob_parse(const char *text, size_t len, uint8_t *out, size_t bytes_len)
{
    bool only_hex = true;

    if (hex_decode_spelled(text, len, out, bytes_len))
        return true;
    if (bytes_len % 3 != 0 || len != bytes_len / 3 * BASE64_GROUP)
        return false;
    for (size_t i = 0; i < len; i += BASE64_GROUP) {
        uint32_t group = 0;

        for (size_t k = 0; k < BASE64_GROUP; k++) {
            int value = either_value(text[i + k]);

            if (value < 0)
                return false;
            only_hex = only_hex && isxdigit((unsigned char)text[i + k]) != 0;
            group = group << 6 | (uint32_t)value;
        }
        *out++ = (uint8_t)(group >> 16);
        *out++ = (uint8_t)(group >> 8);
        *out++ = (uint8_t)group;
    }
    return !only_hex;
}
