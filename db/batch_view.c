#include "db/batch_view.h"

#include "db/order_row.h"

/* What its job has counted; a batch from before jobs has counted at its end. An order that waits
 * for its approval has none. */
#define ORDER_COLUMN 11
#define BATCHES                                                                                    \
    "SELECT b.id, b.public_id, b.organization_id, b.format, j.public_id,"                          \
    " coalesce(j.n_created, b.n_created, 0), coalesce(j.n_exists, 0),"                             \
    " coalesce(j.n_refused, b.n_refused, 0), " DB_UTC("b.created_at") ", " DB_UTC(                 \
        "b.finished_at") ", coalesce(j.line, 0), " DB_ORDER_COLUMNS                                \
                         " FROM batch b LEFT JOIN job j ON j.batch_id = b.id LEFT JOIN" DB_ORDER_JOINS

const struct db_statement db_batch_find_statement = {
    .name = "batch_find",
    .sql = BATCHES " WHERE b.public_id = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

const struct db_statement db_batch_list_statement = {
    .name = "batch_list",
    .sql = BATCHES " WHERE b.organization_id = $1 AND b.id > coalesce((SELECT a.id FROM batch a"
                   "  WHERE a.public_id = $2 AND a.organization_id = $1), 0)"
                   " ORDER BY b.id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_INT8},
};

static void read_batch(struct db_rows *rows, size_t row, struct db_batch *ret)
{
    *ret = (struct db_batch){0};
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    ret->organization_id = db_row_int(rows, row, 2, 1, INT64_MAX);
    db_row_text(rows, row, 3, ret->format, sizeof(ret->format));
    ret->has_job = !db_row_is_null(rows, row, 4);
    if (ret->has_job)
        db_row_bytes(rows, row, 4, ret->job_id, sizeof(ret->job_id));
    ret->created = db_row_int(rows, row, 5, 0, INT64_MAX);
    ret->exists = db_row_int(rows, row, 6, 0, INT64_MAX);
    ret->refused = db_row_int(rows, row, 7, 0, INT64_MAX);
    db_row_text(rows, row, 8, ret->created_at, sizeof(ret->created_at));
    db_row_text(rows, row, 9, ret->finished_at, sizeof(ret->finished_at));
    ret->n_done = db_row_int(rows, row, 10, 0, INT64_MAX);
    ret->is_order = !db_row_is_null(rows, row, ORDER_COLUMN);
    if (ret->is_order)
        db_order_read(rows, row, ORDER_COLUMN, &ret->order);
}

int db_batch_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_batch *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    if ((r = db_run(db, DB_BATCH_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_batch(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_batch_list(struct db *db, int64_t organization_id, const uint8_t *after,
    struct db_batch *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    if (after != NULL)
        db_param_bytes(p, after, ACCOUNT_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_BATCH_LIST, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_batch(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}
