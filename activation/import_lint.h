/* What can be said about a row of an import file: each lint has a name, a level, a sentence and an
 * advice, in one table (docs/onboarding.md, "What a row can be told", has the same ones). Those of
 * the text itself are set by import_reader; import_lint_row adds those of keys, EUIs, codes and
 * nonces. A new lint is a member here, a row in import_lint.c and a row in that document. Pure.
 *
 * The members are bit positions in job_row.lints: new ones go to the end, and none is ever taken
 * out or moved. */
#pragma once

#include "base/eui.h"
#include <stdbool.h>
#include <stdint.h>

struct import_row;

enum import_level {
    IMPORT_WARNING, /* the row is taken */
    IMPORT_ERROR,   /* the row is refused, the others are not */
};

enum import_lint {
    /* of the text */
    IMPORT_LINT_NOT_JSON,
    IMPORT_LINT_UNKNOWN_MEMBER,
    IMPORT_LINT_REPEATED_MEMBER,
    IMPORT_LINT_FIELD_COUNT,
    IMPORT_LINT_UNKNOWN_DIRECTIVE,
    IMPORT_LINT_BAD_DEV_EUI,
    IMPORT_LINT_BAD_JOIN_EUI,
    IMPORT_LINT_BAD_TAG,
    IMPORT_LINT_BROKEN_CHECKSUM,
    IMPORT_LINT_TAG_DIFFERS,
    IMPORT_LINT_BAD_APP_KEY,
    IMPORT_LINT_BAD_NWK_KEY,
    IMPORT_LINT_TWO_KEY_FORMS,
    IMPORT_LINT_BAD_MAC_VERSION,
    IMPORT_LINT_BAD_HOME_NET_ID,
    IMPORT_LINT_BAD_AS_ID,
    IMPORT_LINT_BAD_CODE,
    IMPORT_LINT_BAD_SERIAL,
    IMPORT_LINT_BAD_JOIN_NONCE,
    IMPORT_LINT_BAD_DEV_NONCE,
    IMPORT_LINT_BAD_USED_DEV_NONCES,
    IMPORT_LINT_BAD_STATE,
    /* of what is there and what is not */
    IMPORT_LINT_MISSING_DEV_EUI,
    IMPORT_LINT_MISSING_JOIN_EUI,
    IMPORT_LINT_MISSING_KEY,
    IMPORT_LINT_MISSING_APP_KEY,
    IMPORT_LINT_MISSING_NWK_KEY,
    IMPORT_LINT_MISSING_MAC_VERSION,
    IMPORT_LINT_MISSING_HOME_NET_ID,
    IMPORT_LINT_MISSING_AS_ID,
    IMPORT_LINT_TWO_ROOT_KEYS,
    IMPORT_LINT_NWK_KEY_UNUSED,
    IMPORT_LINT_NAME_CUT,
    IMPORT_LINT_BYTE_ORDER_MARK,
    /* of keys */
    IMPORT_LINT_ZERO_KEY,
    IMPORT_LINT_REPEATED_BYTE_KEY,
    IMPORT_LINT_REPEATED_PATTERN_KEY,
    IMPORT_LINT_EUI_DERIVED_KEY,
    IMPORT_LINT_SAMPLE_KEY,
    IMPORT_LINT_EQUAL_ROOT_KEYS,
    /* of EUIs and codes */
    IMPORT_LINT_ZERO_DEV_EUI,
    IMPORT_LINT_ZERO_JOIN_EUI,
    IMPORT_LINT_REVERSED_EUI,
    IMPORT_LINT_FOREIGN_JOIN_EUI,
    IMPORT_LINT_WEAK_CODE,
    /* of nonces */
    IMPORT_LINT_JOIN_NONCE_SPENT,
    IMPORT_LINT_NONCES_LOW,
    IMPORT_LINT_DEV_NONCE_BEHIND,
    IMPORT_LINT_USED_DEV_NONCES_MISSING,
    IMPORT_LINT_JOIN_NONCE_MISSING,
    /* of what is here already */
    IMPORT_LINT_CLEAR_KEY,
    IMPORT_LINT_NO_TRANSPORT_KEK,
    IMPORT_LINT_KEY_DOES_NOT_OPEN,
    IMPORT_LINT_DUPLICATE_KEY,
    IMPORT_LINT_UNKNOWN_HOME_NET_ID,
    IMPORT_LINT_UNKNOWN_AS_ID,
    /* since; whatever they are of */
    IMPORT_LINT_DEV_EUI_TAKEN,
    IMPORT_LINT_DEV_EUI_RESERVED,
    IMPORT_LINT_BAD_SIGFOX_ID,
    IMPORT_LINT_BAD_PAC,
    IMPORT_LINT_LORAWAN_FIELD,
    IMPORT_LINT_OWNED_JOIN_EUI,
    N_IMPORT_LINTS
};

struct import_lint_rule {
    const char *name; /* stable, "zero-key" */
    enum import_level level;
    const char *field;    /* the column at fault, "line" for the row as a whole */
    const char *sentence; /* what is wrong; holds nothing of the file */
    const char *advice;   /* what to do */
};

const struct import_lint_rule *import_lint_rule(enum import_lint lint);

/** True when the JoinEUI is one of ours. */
typedef bool import_join_eui_is_ours(const void *context, const struct eui64 *join_eui);

/** Adds to row->lints what its values tell. Keys are looked at only where they are in clear. `ours`
 * may be NULL: then no JoinEUI is foreign. */
void import_lint_row(struct import_row *row, import_join_eui_is_ours *ours, const void *context);
