/* The row that is being read: the columns that files have, what each may hold, and what must hold
 * between them. For the parsers of import_reader only. Pure. */
#pragma once

#include "activation/import_reader.h"

enum import_column {
    IMPORT_COLUMN_IGNORED,
    IMPORT_COLUMN_DIRECTIVE,
    IMPORT_COLUMN_TAG, /* a DevEUI, or a TR005 tag */
    IMPORT_COLUMN_SIGFOX_ID,
    IMPORT_COLUMN_PAC,
    IMPORT_COLUMN_DEV_EUI, /* or, spelled so, a Sigfox id */
    IMPORT_COLUMN_JOIN_EUI,
    IMPORT_COLUMN_APP_KEY,
    IMPORT_COLUMN_NWK_KEY,
    IMPORT_COLUMN_APP_KEY_WRAPPED,
    IMPORT_COLUMN_NWK_KEY_WRAPPED,
    IMPORT_COLUMN_APP_KEY_SEALED,
    IMPORT_COLUMN_NWK_KEY_SEALED,
    IMPORT_COLUMN_MAC_VERSION,
    IMPORT_COLUMN_HOME_NET_ID,
    IMPORT_COLUMN_AS_ID,
    IMPORT_COLUMN_CODE,
    IMPORT_COLUMN_SERIAL,
    IMPORT_COLUMN_NAME,
    IMPORT_COLUMN_JOIN_NONCE,
    IMPORT_COLUMN_DEV_NONCE,
    IMPORT_COLUMN_USED_DEV_NONCES,
    IMPORT_COLUMN_STATE,
    N_IMPORT_COLUMNS
};

/** How a value was written; CSV knows texts only. */
enum import_kind { IMPORT_TEXT, IMPORT_NUMBER, IMPORT_LIST };

/** NULL for those that no header line names. */
const char *import_column_name(enum import_column column);

#define IMPORT_NONCE_WORDS (IMPORT_DEV_NONCES / 64)

struct import_draft {
    struct import_row row;
    bool has_used;
    uint64_t used[IMPORT_NONCE_WORDS]; /* a bit each */
};

/** Forgets the last row. */
void import_draft_begin(struct import_draft *draft, uint64_t line);
/** One field; an empty one is an absent one. */
void import_draft_field(struct import_draft *draft, enum import_column column,
    enum import_kind kind, const char *text, size_t len);
/** After the last field. `app_key_wins`: a second key of a 1.0.x device is left out, with a
 * warning, instead of being an error. */
void import_draft_settle(
    struct import_draft *draft, const struct import_defaults *defaults, bool app_key_wins);
/** Moves the row to a chunk with room for it. */
void import_draft_give(struct import_draft *draft, struct import_chunk *chunk);
