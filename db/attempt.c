#include "db/attempt.h"

#include "db/connection.h"
#include <string.h>

#define MICROSECONDS(column) "(extract(epoch FROM " column ") * 1000000)::int8"

/* Whole in itself, so that a page goes on where the one before ended, also among attempts of one
 * moment. */
#define NEWEST_FIRST                                                                                \
    " ORDER BY at DESC, join_nonce DESC NULLS LAST, dev_nonce DESC NULLS LAST, join_type, outcome," \
    " reason, sender_id"

/* Successes and refusals have an index each, which both end after one page. */
#define ATTEMPTS(of)                                                                                    \
    "(SELECT at, outcome, reason, join_type, join_eui, sender_id, dev_nonce, join_nonce, net_id,"       \
    "  dev_addr, test_join FROM join_event WHERE dev_eui = $1 AND ownership_epoch = $2 AND outcome " of \
    "  AND at <= coalesce('epoch'::timestamptz + $3::int8 * interval '1 microsecond',"                  \
    "   'infinity')" NEWEST_FIRST " LIMIT $4::int8 + $5::int8)"

const struct db_statement db_attempt_list_statement = {
    .name = "attempt_list",
    .sql = "SELECT " MICROSECONDS("at") ", " DB_UTC(
        "at") ", outcome, reason, join_type,"
              "  join_eui, sender_id, dev_nonce, join_nonce, net_id, dev_addr,"
              "  test_join FROM (" ATTEMPTS("= 'success'") " UNION ALL " ATTEMPTS(
                  "<> 'success'") ") e" NEWEST_FIRST " OFFSET $4 LIMIT $5",
    .shape = DB_SHAPE_MANY,
    .n_params = 5,
    .params = {DB_BYTEA, DB_INT8, DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_attempt_uses_statement = {
    .name = "attempt_uses",
    .sql = "SELECT dev_nonce, " MICROSECONDS("at") ", " DB_UTC(
        "at") " FROM join_event"
              " WHERE dev_eui = $1 AND ownership_epoch = $2 AND outcome = 'success'"
              "  AND join_type = 255 AND dev_nonce = ANY($3) ORDER BY at DESC LIMIT $4",
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_BYTEA, DB_INT8, DB_INT4_ARRAY, DB_INT8},
};

static void read_attempt(struct db_rows *rows, size_t row, struct db_attempt *ret)
{
    *ret = (struct db_attempt){.dev_nonce = DEVICE_NO_NONCE};
    ret->at_us = db_row_int(rows, row, 0, 0, INT64_MAX);
    db_row_text(rows, row, 1, ret->at, sizeof(ret->at));
    db_row_text(rows, row, 2, ret->outcome, sizeof(ret->outcome));
    ret->success = strcmp(ret->outcome, "success") == 0;
    db_row_text(rows, row, 3, ret->reason, sizeof(ret->reason));
    ret->join_type = (enum lw_join_type)db_row_int(rows, row, 4, LW_REJOIN_0, LW_JOIN);
    if (!db_row_is_null(rows, row, 5))
        db_row_bytes(rows, row, 5, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
    db_row_text(rows, row, 6, ret->sender_id, sizeof(ret->sender_id));
    if (!db_row_is_null(rows, row, 7))
        ret->dev_nonce = (int32_t)db_row_int(rows, row, 7, 0, UINT16_MAX);
    if (!ret->success)
        return;
    ret->join_nonce = (uint32_t)db_row_int(rows, row, 8, 0, LW_JOIN_NONCE_MAX);
    db_row_bytes(rows, row, 9, ret->net_id.bytes, sizeof(ret->net_id.bytes));
    if (!db_row_is_null(rows, row, 11))
        ret->test_join = (uint16_t)db_row_int(rows, row, 11, 1, INT16_MAX);
    db_row_bytes(rows, row, 10, ret->dev_addr.bytes, sizeof(ret->dev_addr.bytes));
}

int db_attempt_list(struct db *db, const struct eui64 *dev_eui, uint32_t ownership_epoch,
    const struct db_attempt_place *place, struct db_attempt *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_int(p, DB_INT8, ownership_epoch);
    if (place != NULL)
        db_param_int(p, DB_INT8, place->at_us);
    else
        db_param_null(p, DB_INT8);
    db_param_int(p, DB_INT8, place != NULL ? place->n_given : 0);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_ATTEMPT_LIST, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_attempt(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_attempt_uses(struct db *db, const struct eui64 *dev_eui, uint32_t ownership_epoch,
    const uint16_t *nonces, size_t n_nonces, struct db_nonce_use *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_int(p, DB_INT8, ownership_epoch);
    db_param_array(p, DB_INT4_ARRAY, n_nonces);
    for (size_t i = 0; i < n_nonces; i++)
        db_element_int(p, nonces[i]);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_ATTEMPT_USES, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        ret[i].dev_nonce = (uint16_t)db_row_int(&rows, i, 0, 0, UINT16_MAX);
        ret[i].at_us = db_row_int(&rows, i, 1, 0, INT64_MAX);
        db_row_text(&rows, i, 2, ret[i].at, sizeof(ret[i].at));
    }
    return db_rows_check(&rows);
}
