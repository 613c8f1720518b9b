#include "hsm/p11_quirks.h"

#include <string.h>

static const struct p11_quirks table[] = {
    {.name = "softhsm",
        .manufacturer = "SoftHSM project",
        .model = "SoftHSM",
        .key_wrap = CKM_AES_KEY_WRAP,
        .works_on_copies = true,
        .doubts_pins = true,
        .exercised = true},
    /* Documented by its vendor and never run here: firmware before 7.9.3 wants the length in the
     * template. Its key wrap may have a number of the vendor's own; until somebody has confirmed it
     * on a device, the probe refuses a token without the standard one. */
    {.name = "luna",
        .manufacturer = "SafeNet",
        .model = "Luna",
        .key_wrap = CKM_AES_KEY_WRAP,
        .value_len_in_unwrap = true},
    {.name = "luna",
        .manufacturer = "Thales",
        .model = "Luna",
        .key_wrap = CKM_AES_KEY_WRAP,
        .value_len_in_unwrap = true},
    {.name = "generic", .manufacturer = "", .model = "", .key_wrap = CKM_AES_KEY_WRAP},
};

const struct p11_quirks *p11_quirks_find(const CK_TOKEN_INFO *info)
{
    const size_t n = sizeof(table) / sizeof(table[0]);

    for (size_t i = 0; i + 1 < n; i++) {
        if (strncmp((const char *)info->manufacturerID, table[i].manufacturer,
                strlen(table[i].manufacturer)) == 0 &&
            strncmp((const char *)info->model, table[i].model, strlen(table[i].model)) == 0)
            return &table[i];
    }
    return &table[n - 1];
}
