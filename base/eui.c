#include "base/eui.h"

#include "base/hex.h"

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
