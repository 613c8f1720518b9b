#include "db/rows.h"

#include "base/error.h"
#include <libpq-fe.h>
#include <string.h>

/** The value's bytes, or NULL and `failed`. */
static const char *value_at(struct db_rows *rows, size_t row, int column, size_t *ret_len)
{
    if (row >= rows->n || column >= PQnfields(rows->result) ||
        PQgetisnull(rows->result, (int)row, column)) {
        rows->failed = true;
        return NULL;
    }
    *ret_len = (size_t)PQgetlength(rows->result, (int)row, column);
    return PQgetvalue(rows->result, (int)row, column);
}

void db_rows_done(struct db_rows *rows)
{
    PQclear(rows->result);
    *rows = (struct db_rows){0};
}

int db_rows_check(const struct db_rows *rows)
{
    if (rows->failed)
        return error_set(
            ERROR_INTERNAL, "database: a row is not of the shape this program expects");
    return 0;
}

bool db_row_is_null(struct db_rows *rows, size_t row, int column)
{
    return row < rows->n && PQgetisnull(rows->result, (int)row, column);
}

int64_t db_row_int(struct db_rows *rows, size_t row, int column, int64_t min, int64_t max)
{
    size_t len = 0;
    const char *value = value_at(rows, row, column, &len);
    uint64_t bits = 0;
    int64_t v;

    if (!value)
        return 0;
    if (len != 1 && len != 2 && len != 4 && len != 8) {
        rows->failed = true;
        return 0;
    }
    /* Sign first: the value is two's complement in network order. */
    if ((uint8_t)value[0] & 0x80)
        bits = UINT64_MAX;
    for (size_t i = 0; i < len; i++)
        bits = bits << 8 | (uint8_t)value[i];
    v = (int64_t)bits;
    if (v < min || v > max) {
        rows->failed = true;
        return 0;
    }
    return v;
}

bool db_row_bool(struct db_rows *rows, size_t row, int column)
{
    return db_row_int(rows, row, column, 0, 1) == 1;
}

void db_row_bytes(struct db_rows *rows, size_t row, int column, void *out, size_t len)
{
    if (db_row_bytes_upto(rows, row, column, out, len) != len)
        rows->failed = true;
}

void db_row_keyed(struct db_rows *rows, size_t row, int column, uint8_t out[static KEYED_LEN],
    uint16_t *ret_version)
{
    uint8_t stored[KEYED_STORED_MAX];
    const size_t len = db_row_bytes_upto(rows, row, column, stored, sizeof(stored));

    memset(out, 0, KEYED_LEN);
    *ret_version = 1;
    if (!rows->failed && !keyed_read(stored, len, out, ret_version))
        rows->failed = true;
}

size_t db_row_bytes_upto(struct db_rows *rows, size_t row, int column, void *out, size_t max)
{
    size_t len = 0;
    const char *value = value_at(rows, row, column, &len);

    memset(out, 0, max);
    if (!value)
        return 0;
    if (len > max) {
        rows->failed = true;
        return 0;
    }
    memcpy(out, value, len);
    return len;
}

void db_row_text(struct db_rows *rows, size_t row, int column, char *out, size_t size)
{
    size_t len = 0;

    if (!db_row_is_null(rows, row, column))
        len = db_row_bytes_upto(rows, row, column, out, size - 1);
    out[len] = '\0';
}

char *db_row_text_new(struct db_rows *rows, size_t row, int column)
{
    size_t len = 0;
    const char *value;
    char *text;

    if (db_row_is_null(rows, row, column) || (value = value_at(rows, row, column, &len)) == NULL)
        return NULL;
    text = strndup(value, len);
    if (!text)
        rows->failed = true;
    return text;
}
