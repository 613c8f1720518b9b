/* The rows a statement returned, in binary. A value that is not of the expected size (or null where
 * none may be) yields zeros and sets `failed`: read everything, then look once. Private to db/. */
#pragma once

#include "base/keyed.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg_result;

struct db_rows {
    struct pg_result *result;
    size_t n;
    bool failed;
};

void db_rows_done(struct db_rows *rows);
/** 0, or ERROR_INTERNAL when a value was not what the program expects. */
int db_rows_check(const struct db_rows *rows);

bool db_row_is_null(struct db_rows *rows, size_t row, int column);
/** bool, int2, int4 and int8; outside [min, max] fails. */
int64_t db_row_int(struct db_rows *rows, size_t row, int column, int64_t min, int64_t max);
bool db_row_bool(struct db_rows *rows, size_t row, int column);
/** Exactly `len` bytes. */
void db_row_bytes(struct db_rows *rows, size_t row, int column, void *out, size_t len);
/** A hash of a key that has versions (base/keyed.h). */
void db_row_keyed(struct db_rows *rows, size_t row, int column, uint8_t out[static KEYED_LEN],
    uint16_t *ret_version);
/** At most `max` bytes; returns how many. */
size_t db_row_bytes_upto(struct db_rows *rows, size_t row, int column, void *out, size_t max);
/** At most `size` - 1 bytes, and a NUL. Null reads as "". */
void db_row_text(struct db_rows *rows, size_t row, int column, char *out, size_t size);
/** On the heap, the caller's; NULL for null and when there is no memory (which also fails). */
char *db_row_text_new(struct db_rows *rows, size_t row, int column);
