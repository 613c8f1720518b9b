#include "db/eui_block.h"

#include "db/connection.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BITS_OF_BYTE 8
#define NUMBER_MAX 20 /* 18446744073709551615 */
#define KIND_TEXT_MAX 8

#define COLUMNS                                                                                    \
    "e.id, e.public_id, e.organization_id, o.public_id, e.kind, e.first, e.size, e.n_given,"       \
    " " DB_UTC("e.created_at") ", " DB_UTC("e.closed_at")
#define SELECT "SELECT " COLUMNS " FROM eui_block e JOIN organization o ON o.id = e.organization_id"

/* The run as numbers: EUIs have 64 bits without a sign, which no integer here has. */
#define SPAN(first, size) "numrange(" first "::numeric, " first "::numeric + " size ")"

/* clang-format off */
const struct db_statement db_eui_block_add_statement = {
    .name = "eui_block_add",
    .sql = "WITH e AS (INSERT INTO eui_block (organization_id, kind, first, last, size, span)"
           "  VALUES ($1, $2, $3, $6, $5, " SPAN("$4", "$5") ")"
           "  ON CONFLICT ON CONSTRAINT eui_block_apart DO NOTHING RETURNING *)"
           " SELECT " COLUMNS " FROM e JOIN organization o ON o.id = e.organization_id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_INT8, DB_TEXT, DB_BYTEA, DB_TEXT, DB_INT8, DB_BYTEA},
};

const struct db_statement db_eui_block_overlapping_statement = {
    .name = "eui_block_overlapping",
    .sql = SELECT " WHERE e.span && " SPAN("$1", "$2") " ORDER BY e.id LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_TEXT, DB_INT8},
};
/* clang-format on */

const struct db_statement db_eui_block_find_statement = {
    .name = "eui_block_find",
    .sql = SELECT " WHERE e.public_id = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

const struct db_statement db_eui_block_list_statement = {
    .name = "eui_block_list",
    .sql = SELECT " WHERE ($1 = 0 OR e.organization_id = $1) AND e.id > $2 ORDER BY e.id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_eui_block_close_statement = {
    .name = "eui_block_close",
    .sql = "UPDATE eui_block SET closed_at = now() WHERE id = $1 AND closed_at IS NULL"
           " RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

struct eui64 db_eui_block_at(const struct eui64 *first, int64_t n)
{
    uint64_t value = eui64_to_u64(first) + (uint64_t)n;
    struct eui64 at;

    for (size_t i = sizeof(at.bytes); i-- > 0; value >>= BITS_OF_BYTE)
        at.bytes[i] = (uint8_t)value;
    return at;
}

static void put_number(struct db_params *p, const struct eui64 *eui)
{
    char text[NUMBER_MAX + 1];

    (void)snprintf(text, sizeof(text), "%" PRIu64, eui64_to_u64(eui));
    db_param_text(p, text);
}

static void read_block(struct db_rows *rows, size_t row, struct db_eui_block *ret)
{
    char kind[KIND_TEXT_MAX];

    *ret = (struct db_eui_block){0};
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    ret->organization_id = db_row_int(rows, row, 2, 1, INT64_MAX);
    db_row_bytes(rows, row, 3, ret->organization_public_id, sizeof(ret->organization_public_id));
    db_row_text(rows, row, 4, kind, sizeof(kind));
    ret->kind = strcmp(kind, device_kind_text(DEVICE_SIGFOX)) == 0 ? DEVICE_SIGFOX : DEVICE_LORAWAN;
    db_row_bytes(rows, row, 5, ret->first.bytes, sizeof(ret->first.bytes));
    ret->size = db_row_int(rows, row, 6, 1, DB_EUI_BLOCK_SIZE_MAX);
    ret->n_given = db_row_int(rows, row, 7, 0, DB_EUI_BLOCK_SIZE_MAX);
    db_row_text(rows, row, 8, ret->created, sizeof(ret->created));
    db_row_text(rows, row, 9, ret->closed_at, sizeof(ret->closed_at));
}

/* Of a statement that gives one row, or none: outcome 1. */
static int run_for_one(struct db *db, enum db_statement_id id, struct db_eui_block *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = db_run(db, id, &rows);

    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_block(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_eui_block_add(struct db *db, struct db_eui_block *block)
{
    const struct eui64 last = db_eui_block_at(&block->first, block->size - 1);
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, block->organization_id);
    db_param_text(p, device_kind_text(block->kind));
    db_param_bytes(p, block->first.bytes, sizeof(block->first.bytes));
    put_number(p, &block->first);
    db_param_int(p, DB_INT8, block->size);
    db_param_bytes(p, last.bytes, sizeof(last.bytes));
    return run_for_one(db, DB_EUI_BLOCK_ADD, block);
}

int db_eui_block_overlapping(
    struct db *db, const struct eui64 *first, int64_t size, struct db_eui_block *ret)
{
    struct db_params *p = db_params_of(db);

    put_number(p, first);
    db_param_int(p, DB_INT8, size);
    return run_for_one(db, DB_EUI_BLOCK_OVERLAPPING, ret);
}

int db_eui_block_find(
    struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_eui_block *ret)
{
    db_param_bytes(db_params_of(db), id, ACCOUNT_ID_LEN);
    return run_for_one(db, DB_EUI_BLOCK_FIND, ret);
}

int db_eui_block_list(struct db *db, int64_t organization_id, int64_t after,
    struct db_eui_block *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_EUI_BLOCK_LIST, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_block(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_eui_block_close(struct db *db, int64_t row_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, row_id);
    r = db_run(db, DB_EUI_BLOCK_CLOSE, &rows);
    return r < 0 ? r : rows.n == 0;
}
