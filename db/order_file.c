#include "db/order_file.h"

#include "db/connection.h"

#define KIND_TEXT_MAX 8
#define MAC_VERSION_MAX 8
#define PURGED_AT_ONCE 200 /* pieces of 256 records */

/* clang-format off */
const struct db_statement db_order_files_statement = {
    .name = "order_files",
    .sql = "SELECT b.public_id, o.state = 'ready', coalesce(o.files_until <= now(), false),"
           "  o.device_kind, o.delivery, o.join_eui, o.mac_version, o.profile_id, o.public_key,"
           "  o.transport_text, coalesce(o.manifest, ''), " DB_UTC("o.files_until") ", "
           DB_UTC("o.files_deleted_at") ", o.code_key"
           " FROM batch_order o JOIN batch b ON b.id = o.batch_id WHERE o.batch_id = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_INT8},
};

/* Whoever takes one at the same time waits here, and counts behind it. */
const struct db_statement db_order_file_hold_statement = {
    .name = "order_file_hold",
    .sql = "WITH held AS MATERIALIZED (SELECT batch_id, delivered_at FROM batch_order"
           "  WHERE batch_id = $1 AND state = 'ready' AND files_until > now() FOR NO KEY UPDATE),"
           " first AS (UPDATE batch_order o SET delivered_at = now() FROM held"
           "  WHERE o.batch_id = held.batch_id AND held.delivered_at IS NULL AND $2)"
           " SELECT batch_id FROM held",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BOOL},
};

const struct db_statement db_order_file_take_statement = {
    .name = "order_file_take",
    .sql = "INSERT INTO batch_download (batch_id, name, client_id, request_id)"
           " VALUES ($1, $2, $3, $4)"
           " RETURNING 1 + (SELECT count(*) FROM batch_download WHERE batch_id = $1 AND name = $2)",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_TEXT, DB_BYTEA, DB_TEXT},
};

const struct db_statement db_order_file_read_statement = {
    .name = "order_file_read",
    .sql = "SELECT line, bytes FROM delivery_part WHERE batch_id = $1 AND line > $2"
           " ORDER BY line LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_order_file_at_statement = {
    .name = "order_file_at",
    .sql = "SELECT line, bytes FROM delivery_part WHERE batch_id = $1 AND line <= $2"
           " ORDER BY line DESC LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_order_file_list_statement = {
    .name = "order_file_list",
    .sql = "SELECT split_part(name, '?', 1), count(*), " DB_UTC("min(at)") ", " DB_UTC("max(at)")
           " FROM batch_download WHERE batch_id = $1 GROUP BY 1 ORDER BY 1 LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_order_file_discard_statement = {
    .name = "order_file_discard",
    .sql = "UPDATE batch_order SET files_until = now()"
           " WHERE batch_id = $1 AND state = 'ready' AND files_until > now() RETURNING batch_id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* One order a time, until nothing of it is left. */
const struct db_statement db_order_file_purge_statement = {
    .name = "order_file_purge",
    .sql = "WITH over AS MATERIALIZED (SELECT batch_id FROM batch_order"
           "   WHERE files_until <= now() AND files_deleted_at IS NULL"
           "   ORDER BY files_until LIMIT 1 FOR UPDATE SKIP LOCKED),"
           " piece AS MATERIALIZED (SELECT p.batch_id, p.line FROM over CROSS JOIN LATERAL"
           "  (SELECT batch_id, line FROM delivery_part WHERE batch_id = over.batch_id"
           "   ORDER BY line LIMIT " DB_DECIMAL(PURGED_AT_ONCE) ") p),"
           " gone AS (DELETE FROM delivery_part d USING piece"
           "  WHERE d.batch_id = piece.batch_id AND d.line = piece.line),"
           " done AS (UPDATE batch_order o SET files_deleted_at = now() FROM over"
           "  WHERE o.batch_id = over.batch_id"
           "  AND (SELECT count(*) FROM piece) < " DB_DECIMAL(PURGED_AT_ONCE) ")"
           " SELECT batch_id FROM over",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
};
/* clang-format on */

int db_order_files(struct db *db, int64_t batch_id, struct db_order_files *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    char text[KIND_TEXT_MAX], version[MAC_VERSION_MAX];
    int r;

    db_param_int(p, DB_INT8, batch_id);
    if ((r = db_run(db, DB_ORDER_FILES, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret = (struct db_order_files){0};
    db_row_bytes(&rows, 0, 0, ret->batch, sizeof(ret->batch));
    ret->is_ready = db_row_bool(&rows, 0, 1);
    ret->are_gone = db_row_bool(&rows, 0, 2);
    db_row_text(&rows, 0, 3, text, sizeof(text));
    ret->is_sigfox = text[0] == 's';
    db_row_text(&rows, 0, 4, text, sizeof(text));
    ret->is_legacy = text[0] == 'l';
    if (!ret->is_sigfox) {
        db_row_bytes(&rows, 0, 5, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
        db_row_text(&rows, 0, 6, version, sizeof(version));
        if (!lw_mac_version_parse(version, &ret->mac_version))
            rows.failed = true;
    }
    if (!db_row_is_null(&rows, 0, 7))
        db_row_bytes(&rows, 0, 7, ret->profile, sizeof(ret->profile));
    db_row_text(&rows, 0, 8, ret->public_key, sizeof(ret->public_key));
    if (!db_row_is_null(&rows, 0, 9))
        ret->transport_text_len =
            db_row_bytes_upto(&rows, 0, 9, ret->transport_text, sizeof(ret->transport_text));
    db_row_text(&rows, 0, 10, ret->manifest, sizeof(ret->manifest));
    db_row_text(&rows, 0, 11, ret->until, sizeof(ret->until));
    db_row_text(&rows, 0, 12, ret->deleted_at, sizeof(ret->deleted_at));
    ret->code_key = (unsigned)db_row_int(&rows, 0, 13, 1, KEYED_VERSION_MAX);
    return db_rows_check(&rows);
}

static int hold(struct db *db, int64_t batch_id, bool holds_keys)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, batch_id);
    db_param_int(p, DB_BOOL, holds_keys);
    r = db_run(db, DB_ORDER_FILE_HOLD, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_order_file_take(struct db *db, int64_t batch_id, const char *name, bool holds_keys,
    const uint8_t client_id[static ACCOUNT_ID_LEN], const char *request_id, int64_t *ret_times)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p;
    int r = hold(db, batch_id, holds_keys);

    if (r != 0)
        return r;
    p = db_params_of(db);
    db_param_int(p, DB_INT8, batch_id);
    db_param_text(p, name);
    db_param_bytes(p, client_id, ACCOUNT_ID_LEN);
    db_param_text(p, request_id);
    if ((r = db_run(db, DB_ORDER_FILE_TAKE, &rows)) < 0)
        return r;
    *ret_times = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}

static int read_part(struct db *db, enum db_statement_id statement, int64_t batch_id, int64_t *line,
    uint8_t *bytes, size_t *ret_len)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, batch_id);
    db_param_int(p, DB_INT8, *line);
    if ((r = db_run(db, statement, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *line = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    *ret_len = db_row_bytes_upto(&rows, 0, 1, bytes, DB_ORDER_PART_MAX);
    return db_rows_check(&rows);
}

int db_order_file_read(
    struct db *db, int64_t batch_id, int64_t *line, uint8_t *bytes, size_t *ret_len)
{
    return read_part(db, DB_ORDER_FILE_READ, batch_id, line, bytes, ret_len);
}

int db_order_file_at(
    struct db *db, int64_t batch_id, int64_t *line, uint8_t *bytes, size_t *ret_len)
{
    return read_part(db, DB_ORDER_FILE_AT, batch_id, line, bytes, ret_len);
}

int db_order_file_list(struct db *db, int64_t batch_id, struct db_order_taken *ret, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, batch_id);
    db_param_int(p, DB_INT8, DB_ORDER_FILES_LISTED_MAX);
    if ((r = db_run(db, DB_ORDER_FILE_LIST, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        db_row_text(&rows, i, 0, ret[i].name, sizeof(ret[i].name));
        ret[i].times = db_row_int(&rows, i, 1, 1, INT64_MAX);
        db_row_text(&rows, i, 2, ret[i].first_at, sizeof(ret[i].first_at));
        db_row_text(&rows, i, 3, ret[i].last_at, sizeof(ret[i].last_at));
    }
    *ret_n = rows.n;
    return db_rows_check(&rows);
}

int db_order_file_discard(struct db *db, int64_t batch_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, batch_id);
    r = db_run(db, DB_ORDER_FILE_DISCARD, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_order_file_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_ORDER_FILE_PURGE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}
