#include "db/test_window.h"

#include "db/connection.h"

#define DEVICES_MAX DB_DECIMAL(DB_TEST_DEVICES_MAX)

#define TEST_UNTIL "(now() + make_interval(hours => $7))"

/* Before anything is changed, and in the order in which the join server locks them: two that change
 * the same devices wait for each other instead of dying of a deadlock. */
#define HELD                                                                                       \
    " held AS MATERIALIZED (SELECT count(*) AS n,"                                                 \
    "   CASE WHEN count(*) <= " DEVICES_MAX " THEN device_joins_hold(array_agg(dev_eui)) END AS h" \
    "  FROM due)"

/* A device that its last owner has released belongs to the next one: it may be sold on, and is not
 * its maker's to try. */
const struct db_statement db_test_window_open_statement = {
    .name = "test_window_open",
    .sql = "WITH due AS MATERIALIZED (SELECT d.dev_eui FROM device d"
           "  WHERE d.batch_id = $1 AND coalesce(d.owner_id, d.organization_id) = $2"
           "   AND ($3::bytea[] IS NULL OR d.dev_eui = ANY($3)) AND d.kind = 'lorawan'"
           "   AND d.ownership = 'unowned' AND d.credential NOT IN ('ordered', 'scrapped')"
           "   AND NOT EXISTS (SELECT FROM claim_code c WHERE c.dev_eui = d.dev_eui"
           "    AND c.released_by <> $2)"
           "  ORDER BY d.dev_eui LIMIT " DEVICES_MAX " + 1 FOR NO KEY UPDATE OF d)," HELD
           ", opened AS (UPDATE device d SET test_net_id = $4, test_as_id = $5,"
           "   test_max_joins = $6::int4::int2, test_opened_at = now(),"
           "   test_until = " TEST_UNTIL
           "  FROM due, held WHERE d.dev_eui = due.dev_eui AND held.h = held.n)"
           " SELECT n, " DB_UTC("now()") ", " DB_UTC(TEST_UNTIL) " FROM held",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 7,
    .params = {DB_INT8, DB_INT8, DB_BYTEA_ARRAY, DB_BYTEA, DB_TEXT, DB_INT4, DB_INT4},
};

const struct db_statement db_test_window_missing_statement = {
    .name = "test_window_missing",
    .sql = "SELECT i.dev_eui FROM unnest($2::bytea[]) WITH ORDINALITY AS i(dev_eui, ordinal)"
           " WHERE NOT EXISTS (SELECT FROM device d WHERE d.dev_eui = i.dev_eui"
           "  AND d.batch_id = $1 AND d.test_opened_at = now()) ORDER BY i.ordinal LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA_ARRAY},
};

const struct db_statement db_test_window_close_statement = {
    .name = "test_window_close",
    .sql = "WITH due AS MATERIALIZED (SELECT dev_eui FROM device"
           "  WHERE batch_id = $1 AND test_net_id IS NOT NULL"
           "  ORDER BY dev_eui LIMIT " DEVICES_MAX " FOR NO KEY UPDATE)," HELD
           ", closed AS (UPDATE device d SET test_net_id = NULL, test_as_id = NULL,"
           "   test_max_joins = NULL, test_opened_at = NULL, test_until = NULL"
           "  FROM due, held WHERE d.dev_eui = due.dev_eui AND held.h = held.n)"
           " SELECT n FROM held",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_test_window_list_statement = {
    .name = "test_window_list",
    .sql = "SELECT d.test_net_id, d.test_as_id, d.test_max_joins, " DB_UTC(
        "d.test_opened_at") ","
                            "  " DB_UTC(
                                "d.test_until") ", d.test_until <= now(), count(*),"
                                                "  coalesce(sum(j.test_joins), 0)::int8,"
                                                "  count(*) FILTER (WHERE j.test_joins >= d.test_max_joins)"
                                                " FROM device d JOIN device_join j ON j.dev_eui = d.dev_eui"
                                                " WHERE d.batch_id = $1 AND d.test_net_id IS NOT NULL"
                                                " GROUP BY d.test_opened_at, d.test_until, d.test_net_id, d.test_as_id, d.test_max_joins"
                                                " ORDER BY d.test_opened_at DESC, d.test_until, d.test_net_id"
                                                " LIMIT " DB_DECIMAL(DB_TEST_WINDOWS_MAX),
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_INT8},
};

static void put_devices(struct db_params *p, const struct eui64 *devices, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, devices[i].bytes, sizeof(devices[i].bytes));
}

int db_test_window_open(struct db *db, int64_t batch_row_id, int64_t organization_id,
    const struct eui64 *devices, size_t n_devices, struct db_test_window *window, int64_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, batch_row_id);
    db_param_int(p, DB_INT8, organization_id);
    if (devices != NULL)
        put_devices(p, devices, n_devices);
    else
        db_param_null(p, DB_BYTEA_ARRAY);
    db_param_bytes(p, window->net_id.bytes, sizeof(window->net_id.bytes));
    if (window->as_id[0] != '\0')
        db_param_text(p, window->as_id);
    else
        db_param_null(p, DB_TEXT);
    db_param_int(p, DB_INT4, window->max_joins);
    db_param_int(p, DB_INT4, window->hours);
    if ((r = db_run(db, DB_TEST_WINDOW_OPEN, &rows)) < 0)
        return r;
    *ret_n = db_row_int(&rows, 0, 0, 0, INT64_MAX);
    db_row_text(&rows, 0, 1, window->opened_at, sizeof(window->opened_at));
    db_row_text(&rows, 0, 2, window->expires_at, sizeof(window->expires_at));
    return db_rows_check(&rows);
}

int db_test_window_missing(struct db *db, int64_t batch_row_id, const struct eui64 *devices,
    size_t n_devices, struct eui64 *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, batch_row_id);
    put_devices(p, devices, n_devices);
    if ((r = db_run(db, DB_TEST_WINDOW_MISSING, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    db_row_bytes(&rows, 0, 0, ret->bytes, sizeof(ret->bytes));
    return db_rows_check(&rows);
}

int db_test_window_close(struct db *db, int64_t batch_row_id, int64_t *ret_n)
{
    int64_t n;

    *ret_n = 0;
    do {
        CLEANUP(db_rows_done) struct db_rows rows = {0};
        int r;

        db_param_int(db_params_of(db), DB_INT8, batch_row_id);
        if ((r = db_run(db, DB_TEST_WINDOW_CLOSE, &rows)) < 0)
            return r;
        n = db_row_int(&rows, 0, 0, 0, DB_TEST_DEVICES_MAX);
        if ((r = db_rows_check(&rows)) < 0)
            return r;
        *ret_n += n;
    } while (n == DB_TEST_DEVICES_MAX);
    return 0;
}

int db_test_window_list(struct db *db, int64_t batch_row_id,
    struct db_test_window ret[static DB_TEST_WINDOWS_MAX], size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, batch_row_id);
    if ((r = db_run(db, DB_TEST_WINDOW_LIST, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        struct db_test_window *w = &ret[i];

        *w = (struct db_test_window){.expired = db_row_bool(&rows, i, 5)};
        db_row_bytes(&rows, i, 0, w->net_id.bytes, sizeof(w->net_id.bytes));
        db_row_text(&rows, i, 1, w->as_id, sizeof(w->as_id));
        w->max_joins = (uint32_t)db_row_int(&rows, i, 2, 1, INT16_MAX);
        db_row_text(&rows, i, 3, w->opened_at, sizeof(w->opened_at));
        db_row_text(&rows, i, 4, w->expires_at, sizeof(w->expires_at));
        w->n_devices = db_row_int(&rows, i, 6, 1, INT64_MAX);
        w->n_joins = db_row_int(&rows, i, 7, 0, INT64_MAX);
        w->n_used_up = db_row_int(&rows, i, 8, 0, INT64_MAX);
    }
    return db_rows_check(&rows);
}
