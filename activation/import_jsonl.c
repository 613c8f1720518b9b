/* JSON lines: the columns of our CSV as members of one object a line. */
#include "activation/import_parse.h"

const struct import_rules import_jsonl = {
    .name = "jsonl",
    .is_json = true,
    .names = import_plain_names,
    .n_columns = IMPORT_PLAIN_COLUMNS,
};
