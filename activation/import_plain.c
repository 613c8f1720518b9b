/* Our own CSV: every column there is, by its name. */
#include "activation/import_parse.h"

const struct import_column_name import_plain_names[IMPORT_PLAIN_COLUMNS] = {
    {"dev_eui", IMPORT_COLUMN_DEV_EUI},
    {"join_eui", IMPORT_COLUMN_JOIN_EUI},
    {"app_key", IMPORT_COLUMN_APP_KEY},
    {"nwk_key", IMPORT_COLUMN_NWK_KEY},
    {"app_key_wrapped", IMPORT_COLUMN_APP_KEY_WRAPPED},
    {"nwk_key_wrapped", IMPORT_COLUMN_NWK_KEY_WRAPPED},
    {"app_key_sealed", IMPORT_COLUMN_APP_KEY_SEALED},
    {"nwk_key_sealed", IMPORT_COLUMN_NWK_KEY_SEALED},
    {"mac_version", IMPORT_COLUMN_MAC_VERSION},
    {"home_net_id", IMPORT_COLUMN_HOME_NET_ID},
    {"as_id", IMPORT_COLUMN_AS_ID},
    {"code", IMPORT_COLUMN_CODE},
    {"serial", IMPORT_COLUMN_SERIAL},
    {"name", IMPORT_COLUMN_NAME},
    {"join_nonce", IMPORT_COLUMN_JOIN_NONCE},
    {"dev_nonce", IMPORT_COLUMN_DEV_NONCE},
    {"used_dev_nonces", IMPORT_COLUMN_USED_DEV_NONCES},
    {"state", IMPORT_COLUMN_STATE},
};

const struct import_rules import_plain = {
    .name = "csv",
    .has_header = true,
    .has_comments = true,
    .delimiter = ',',
    .names = import_plain_names,
    .n_columns = IMPORT_PLAIN_COLUMNS,
};
