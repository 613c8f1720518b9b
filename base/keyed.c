#include "base/keyed.h"

#include <string.h>

size_t keyed_mark(unsigned version, uint8_t out[static KEYED_STORED_MAX - KEYED_LEN])
{
    if (version <= 1)
        return 0;
    out[0] = (uint8_t)(version >> 8);
    out[1] = (uint8_t)version;
    return KEYED_STORED_MAX - KEYED_LEN;
}

size_t keyed_store(
    const uint8_t hash[static KEYED_LEN], unsigned version, uint8_t out[static KEYED_STORED_MAX])
{
    memcpy(out, hash, KEYED_LEN);
    return KEYED_LEN + keyed_mark(version, out + KEYED_LEN);
}

bool keyed_read(
    const uint8_t *stored, size_t len, uint8_t ret_hash[static KEYED_LEN], uint16_t *ret_version)
{
    unsigned version = 1;

    if (len == KEYED_STORED_MAX) {
        version = (unsigned)stored[KEYED_LEN] << 8 | stored[KEYED_LEN + 1];
        if (version <= 1 || version > KEYED_VERSION_MAX)
            return false;
    } else if (len != KEYED_LEN) {
        return false;
    }
    memcpy(ret_hash, stored, KEYED_LEN);
    *ret_version = (uint16_t)version;
    return true;
}
