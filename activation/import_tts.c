/* The Things Stack's device CSV, as its "CSV File Reference" and its own reader (lorawan-stack,
 * pkg/devicetemplates/ttscsv.go) have it: a header line, ';' or ',' between fields, unknown columns
 * ignored. What is a matter of the network server or of a session is ignored too, and of two keys
 * of a 1.0.x device its join server uses the AppKey. */
#include "activation/import_parse.h"

static const struct import_column_name names[] = {
    {"dev_eui", IMPORT_COLUMN_DEV_EUI},
    {"join_eui", IMPORT_COLUMN_JOIN_EUI},
    {"app_eui", IMPORT_COLUMN_JOIN_EUI},
    {"app_key", IMPORT_COLUMN_APP_KEY},
    {"nwk_key", IMPORT_COLUMN_NWK_KEY},
    {"lorawan_version", IMPORT_COLUMN_MAC_VERSION},
    {"mac_version", IMPORT_COLUMN_MAC_VERSION},
    {"name", IMPORT_COLUMN_NAME},
};

const struct import_rules import_tts = {
    .name = "tts-csv",
    .has_header = true,
    .ignores_unknown = true,
    .finds_delimiter = true,
    .app_key_wins = true,
    .delimiter = ';',
    .names = names,
    .n_columns = sizeof(names) / sizeof(names[0]),
};
