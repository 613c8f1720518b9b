/* Import files to rows. Two formats:
 *
 *   thingpark-csv  DIRECTIVE,DevEUI,DevAddr,model,JoinEUI,AppKey,...; only CREATE_OTAA is taken
 *   csv            a header line names the columns, in any order, among dev_eui, join_eui, app_key,
 *                  nwk_key, mac_version, home_net_id and as_id
 *
 * Quoting is RFC 4180's, strictly; lines end with LF, CRLF or CR; empty lines and lines beginning
 * with '#' are skipped, and so is a byte order mark. What is wrong with one row is a fault of that
 * row; what makes the rest unreadable is a fault of the file. Pure but for memory. */
#pragma once

#include "activation/import_rows.h"
#include "activation/import_text.h"
#include "base/text.h"

#define IMPORT_LINE_MAX 8192  /* bytes of a physical line */
#define IMPORT_FIELD_MAX 1024 /* bytes of a field, which may go over several lines */
#define IMPORT_FILE_FAULT_MAX 200

enum import_format { IMPORT_THINGPARK_CSV, IMPORT_CSV };

/** "thingpark-csv" and "csv". */
bool import_format_parse(const char *text, enum import_format *ret);
const char *import_format_text(enum import_format format);

/** What the request says for every row that does not say otherwise. */
struct import_defaults {
    bool has_mac_version, has_home_net_id;
    enum lw_mac_version mac_version;
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1]; /* "" for none */
};

enum import_outcome {
    IMPORT_OK = 0,
    IMPORT_BROKEN = 1,   /* not such a file: `fault` names the line or column and why */
    IMPORT_TOO_MANY = 2, /* more than IMPORT_ROWS_MAX rows */
    IMPORT_EMPTY = 3,    /* no data row at all */
};

/** Fills `ret` (import_file_done it in every case). Negative: no memory. `fault` never holds
 * anything that stood in the file. */
int import_csv_read(enum import_format format, const char *body, size_t len,
    const struct import_defaults *defaults, struct import_file *ret,
    char fault[static IMPORT_FILE_FAULT_MAX]) MUST_CHECK;
