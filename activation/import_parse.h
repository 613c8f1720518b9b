/* What the formats of import_reader share: what a format is, and what its parser tells the reader.
 * Pure but for memory. */
#pragma once

#include "activation/import_draft.h"

struct import_column_name {
    const char *text;
    enum import_column column;
};

/** A format; one file each (import_thingpark.c and so on). */
struct import_rules {
    const char *name;
    bool is_json;
    bool has_header;      /* else the columns are by place */
    bool has_comments;    /* lines that begin with '#' */
    bool ignores_unknown; /* columns of the header line */
    bool finds_delimiter; /* ';' or ',', whichever the header line has first */
    bool has_all_columns; /* each row, also without a header line */
    bool app_key_wins;    /* over the NwkKey of a 1.0.x device */
    char delimiter;
    const struct import_column_name *names; /* in the header line, or of members */
    const enum import_column *places;
    size_t n_columns; /* names or places */
};

extern const struct import_rules import_thingpark, import_tts, import_plain, import_jsonl,
    import_sigfox;

/** The names of the plain format, which the members of JSON lines have too. */
extern const struct import_column_name import_plain_names[];
#define IMPORT_PLAIN_COLUMNS (N_IMPORT_COLUMNS - IMPORT_COLUMN_DEV_EUI)

/** The column that a name means; IMPORT_COLUMN_IGNORED when it means none. Case does not count. */
enum import_column import_rules_find(
    const struct import_rules *rules, const char *name, size_t len);

/** The reading of a file, as a parser sees it. */
struct import_reading {
    const struct import_rules *rules;
    struct import_defaults defaults;
    struct import_draft draft;
    struct import_chunk *chunk; /* of the present call; it has room for a row */
    uint64_t line;              /* physical, being read */
    uint64_t row_line;          /* where the present row began */
    struct digest *digest;      /* of all bytes so far but what ends the present line */
    uint64_t resume_after;      /* 0: all rows are given */
    bool resumed;               /* the row at that line was found as it was */
    uint8_t resume_digest[DIGEST_LEN];
    uint64_t n_rows;
    bool has_mark; /* a byte order mark, not yet told */
    int result;    /* enum import_outcome, or negative */
    char fault[IMPORT_FAULT_MAX];
};

/** The draft is complete: settled, it goes into the chunk. */
void import_reading_give(struct import_reading *reading);
/** The file can be read no further; the first reason stays. */
void PRINTF_LIKE(2, 3) import_reading_break(struct import_reading *reading, const char *fmt, ...);

/** Rows of separated fields, by libcsv. */
struct import_table;
int import_table_new(struct import_reading *reading, struct import_table **ret) MUST_CHECK;
void import_table_free(struct import_table *table);
/** Bytes of one physical line, perhaps its last: then `ends_line`. What is wrong is in the reading.
 */
void import_table_feed(struct import_table *table, const char *bytes, size_t len, bool ends_line);
void import_table_end(struct import_table *table);
/** True within a row that goes over several lines. */
bool import_table_in_row(const struct import_table *table);

/** Objects of one line each. */
struct import_json;
int import_json_new(struct import_reading *reading, struct import_json **ret) MUST_CHECK;
void import_json_free(struct import_json *json);
void import_json_feed(struct import_json *json, const char *bytes, size_t len);
/** The line, or the file, ends here. */
void import_json_end_line(struct import_json *json);
