#include "cli/cli_text.h"

#include "base/hex.h"
#include <string.h>

#define EUI64_BITS 64u

bool cli_name_valid(const char *name, size_t max)
{
    size_t len = strnlen(name, max + 1);

    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7F)
            return false;
    return true;
}

static bool parse_number(const char *text, unsigned max, unsigned *ret)
{
    unsigned v = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = 10 * v + (unsigned)(*text - '0');
        if (v > max)
            return false;
    }
    *ret = v;
    return true;
}

bool cli_route_parse(const char *text, struct eui64 *ret_prefix, unsigned *ret_bits)
{
    const char *slash = strchr(text, '/');
    char digits[EUI64_TEXT_LEN + 1] = "0000000000000000";
    struct eui64 prefix;
    uint64_t value;
    unsigned bits;
    size_t len;

    if (slash == NULL)
        return false;
    len = (size_t)(slash - text);
    if (len == 0 || len > EUI64_TEXT_LEN || !parse_number(slash + 1, EUI64_BITS, &bits))
        return false;
    memcpy(digits, text, len);
    if (strspn(digits, "0123456789abcdefABCDEF") != EUI64_TEXT_LEN ||
        !hex_decode(digits, EUI64_TEXT_LEN, prefix.bytes, sizeof(prefix.bytes)))
        return false;
    value = eui64_to_u64(&prefix);
    if (bits < EUI64_BITS && value << bits != 0)
        return false;
    *ret_prefix = prefix;
    *ret_bits = bits;
    return true;
}

bool cli_network_parse(
    const char *text, struct net_id *ret_net_id, bool *ret_has_ns_id, struct eui64 *ret_ns_id)
{
    size_t len = strcspn(text, "/");

    *ret_has_ns_id = text[len] == '/';
    return net_id_parse(text, len, ret_net_id) &&
           (!*ret_has_ns_id || eui64_parse(text + len + 1, strlen(text + len + 1), ret_ns_id));
}

bool cli_key_length_parse(const char *text, unsigned *ret)
{
    unsigned v;

    if (!parse_number(text, 32, &v) || (v != 16 && v != 24 && v != 32))
        return false;
    *ret = v;
    return true;
}
