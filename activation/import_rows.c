#include "activation/import_rows.h"

#include <stdlib.h>

#define FIRST_CAPACITY 256

static const struct {
    const char *code, *field, *detail;
} faults[N_IMPORT_FAULTS] = {
    [IMPORT_FAULT_NONE] = {"none", "", ""},
    [IMPORT_FAULT_DIRECTIVE] = {"unknown_directive", "directive",
        "only CREATE_OTAA rows can be imported"},
    [IMPORT_FAULT_FIELDS] = {"too_many_fields", "line",
        "the row has more fields than the header line has names"},
    [IMPORT_FAULT_DEV_EUI] = {"bad_dev_eui", "dev_eui", "the DevEUI is not 16 hexadecimal digits"},
    [IMPORT_FAULT_JOIN_EUI] = {"bad_join_eui", "join_eui",
        "the JoinEUI is not 16 hexadecimal digits"},
    [IMPORT_FAULT_APP_KEY] = {"bad_app_key", "app_key", "the AppKey is not 32 hexadecimal digits"},
    [IMPORT_FAULT_NWK_KEY] = {"bad_nwk_key", "nwk_key", "the NwkKey is not 32 hexadecimal digits"},
    [IMPORT_FAULT_MAC_VERSION] = {"bad_mac_version", "mac_version",
        "the LoRaWAN version is none of 1.0.0, 1.0.1, 1.0.2, 1.0.3, 1.0.4 and 1.1"},
    [IMPORT_FAULT_HOME_NET_ID] = {"bad_home_net_id", "home_net_id",
        "the NetID is not 6 hexadecimal digits"},
    [IMPORT_FAULT_AS_ID] = {"bad_as_id", "as_id",
        "the AS-ID is longer than 64 characters or not printable ASCII"},
    [IMPORT_FAULT_NO_DEV_EUI] = {"missing_dev_eui", "dev_eui", "the row has no DevEUI"},
    [IMPORT_FAULT_NO_JOIN_EUI] = {"missing_join_eui", "join_eui", "the row has no JoinEUI"},
    [IMPORT_FAULT_NO_KEY] = {"missing_app_key", "app_key", "the row has no root key"},
    [IMPORT_FAULT_NO_APP_KEY] = {"missing_app_key", "app_key",
        "a LoRaWAN 1.1 device needs an AppKey besides its NwkKey"},
    [IMPORT_FAULT_NO_NWK_KEY] = {"missing_nwk_key", "nwk_key",
        "a LoRaWAN 1.1 device needs a NwkKey besides its AppKey"},
    [IMPORT_FAULT_NO_MAC_VERSION] = {"missing_mac_version", "mac_version",
        "neither the row nor the request says which LoRaWAN version the device has"},
    [IMPORT_FAULT_TWO_KEYS] = {"two_root_keys", "nwk_key",
        "a LoRaWAN 1.0.x device has one root key, the row has two"},
    [IMPORT_FAULT_NO_HOME_NET_ID] = {"missing_home_net_id", "home_net_id",
        "an application server is named without a home network"},
    [IMPORT_FAULT_NO_AS_ID] = {"missing_as_id", "as_id",
        "a home network is named without an application server"},
    [IMPORT_FAULT_UNKNOWN_HOME] = {"unknown_home_net_id", "home_net_id",
        "no network server here speaks for this NetID"},
    [IMPORT_FAULT_UNKNOWN_AS] = {"unknown_as_id", "as_id",
        "no application server here has this AS-ID"},
    [IMPORT_FAULT_REPEATED_DEV_EUI] = {"duplicate_dev_eui", "dev_eui",
        "an earlier row of the file has the same DevEUI"},
};

static const char *const warning_types[N_IMPORT_WARNINGS] = {
    [IMPORT_WARN_DUPLICATE_KEY] = "duplicate_key",
    [IMPORT_WARN_WEAK_KEY] = "weak_key",
    [IMPORT_WARN_NOT_ROUTED] = "join_eui_not_routed",
    [IMPORT_WARN_BOM] = "byte_order_mark",
};

const char *import_fault_code(enum import_fault fault)
{
    return faults[fault].code;
}

const char *import_fault_field(enum import_fault fault)
{
    return faults[fault].field;
}

const char *import_fault_detail(enum import_fault fault)
{
    return faults[fault].detail;
}

const char *import_warning_type(enum import_warning warning)
{
    return warning_types[warning];
}

void import_file_done(struct import_file *file)
{
    secret_free(file->rows);
    free(file->group_rows);
    free(file->group_ends);
    *file = (struct import_file){0};
}

struct import_row *import_file_add(struct import_file *file, unsigned line)
{
    struct import_row *row;

    if (file->n_rows == file->capacity) {
        size_t capacity = file->capacity > 0 ? 2 * file->capacity : FIRST_CAPACITY;
        struct import_row *bigger = secret_realloc(file->rows, capacity * sizeof(*bigger));

        if (bigger == NULL)
            return NULL;
        file->rows = bigger;
        file->capacity = capacity;
    }
    row = &file->rows[file->n_rows++];
    *row = (struct import_row){.line = line, .key_group = IMPORT_NO_GROUP};
    return row;
}
