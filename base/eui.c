#include "base/eui.h"

#include "base/hex.h"
#include <string.h>
#include <strings.h>

static const char sigfox_prefix[] = "sigfox:";
#define SIGFOX_PREFIX_LEN (sizeof(sigfox_prefix) - 1)
#define SIGFOX_AT (sizeof(struct eui64) - SIGFOX_ID_LEN)
_Static_assert(SIGFOX_PREFIX_LEN + 2 * (size_t)SIGFOX_ID_LEN <= DEVICE_ID_TEXT_LEN, "it has room");

bool eui64_parse(const char *text, size_t len, struct eui64 *ret)
{
    return hex_decode_spelled(text, len, ret->bytes, sizeof(ret->bytes));
}

bool net_id_parse(const char *text, size_t len, struct net_id *ret)
{
    return hex_decode_spelled(text, len, ret->bytes, sizeof(ret->bytes));
}

const char *eui64_format(const struct eui64 *eui, char out[static EUI64_TEXT_LEN + 1])
{
    return hex_encode(eui->bytes, sizeof(eui->bytes), out);
}

const char *net_id_format(const struct net_id *id, char out[static NET_ID_TEXT_LEN + 1])
{
    return hex_encode(id->bytes, sizeof(id->bytes), out);
}

bool device_id_is_sigfox(const struct eui64 *id)
{
    static const uint8_t none[SIGFOX_AT];

    return memcmp(id->bytes, none, sizeof(none)) == 0;
}

bool device_id_says_sigfox(const char *text, size_t len)
{
    return len >= SIGFOX_PREFIX_LEN && strncasecmp(text, sigfox_prefix, SIGFOX_PREFIX_LEN) == 0;
}

bool device_id_parse(const char *text, size_t len, struct eui64 *ret)
{
    struct eui64 id = {{0}};

    if (!device_id_says_sigfox(text, len))
        return eui64_parse(text, len, ret);
    /* hex_decode would take "0x" too. */
    if (len != SIGFOX_PREFIX_LEN + 2 * (size_t)SIGFOX_ID_LEN ||
        !hex_decode(
            text + SIGFOX_PREFIX_LEN, len - SIGFOX_PREFIX_LEN, id.bytes + SIGFOX_AT, SIGFOX_ID_LEN))
        return false;
    *ret = id;
    return true;
}

const char *device_id_format(const struct eui64 *id, char out[static DEVICE_ID_TEXT_LEN + 1])
{
    if (!device_id_is_sigfox(id))
        return eui64_format(id, out);
    memcpy(out, sigfox_prefix, SIGFOX_PREFIX_LEN);
    (void)hex_encode(id->bytes + SIGFOX_AT, SIGFOX_ID_LEN, out + SIGFOX_PREFIX_LEN);
    return out;
}
