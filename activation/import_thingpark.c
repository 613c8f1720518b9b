/* ThingPark's device import CSV: columns by place, A to X. C is a DevAddr, D a model, G the
 * network's own, H to J profiles and marks; from L on position and administration. */
#include "activation/import_parse.h"

static const enum import_column places[] = {
    IMPORT_COLUMN_DIRECTIVE,
    IMPORT_COLUMN_TAG,
    IMPORT_COLUMN_IGNORED,
    IMPORT_COLUMN_IGNORED,
    IMPORT_COLUMN_JOIN_EUI,
    IMPORT_COLUMN_APP_KEY,
    IMPORT_COLUMN_IGNORED,
    IMPORT_COLUMN_IGNORED,
    IMPORT_COLUMN_IGNORED,
    IMPORT_COLUMN_IGNORED,
    IMPORT_COLUMN_NAME,
};

const struct import_rules import_thingpark = {
    .name = "thingpark-csv",
    .has_comments = true,
    .delimiter = ',',
    .places = places,
    .n_columns = sizeof(places) / sizeof(places[0]),
};
