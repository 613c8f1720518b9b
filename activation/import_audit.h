/* What the audit keeps of the rows of an import: a Merkle root a chunk, over what each row came to.
 * Who has the report can show of each row that it stood there. Pure. */
#pragma once

#include "activation/import_reader.h"
#include "base/merkle.h"

/** The leaf of one row: "LINE DEVEUI OUTCOME WORDS", DevEUI "-" where none could be read, WORDS the
 * names of its warnings and errors in the order of the alphabet with commas between, or "-". */
int import_audit_leaf(const struct import_row *row, const char *outcome,
    uint8_t ret[static MERKLE_HASH_LEN]) MUST_CHECK;
