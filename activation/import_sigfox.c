/* Classic Sigfox credentials as their maker has them of id_key.bin and id_pac.txt: id, PAC and NAK,
 * by place. */
#include "activation/import_parse.h"

static const enum import_column places[] = {
    IMPORT_COLUMN_SIGFOX_ID,
    IMPORT_COLUMN_PAC,
    IMPORT_COLUMN_APP_KEY,
};

const struct import_rules import_sigfox = {
    .name = "sigfox-csv",
    .has_comments = true,
    .has_all_columns = true,
    .delimiter = ';',
    .places = places,
    .n_columns = sizeof(places) / sizeof(places[0]),
};
