#include "db/replacement.h"

#include "db/connection.h"

const struct db_statement db_replacement_lock_statement = {
    .name = "replacement_lock",
    .sql = "SELECT 1 FROM device WHERE dev_eui IN ($1, $2) AND owner_id = $3"
           " ORDER BY dev_eui FOR NO KEY UPDATE",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_BYTEA, DB_BYTEA, DB_INT8},
};

const struct db_statement db_replacement_add_statement = {
    .name = "replacement_add",
    .sql = "INSERT INTO replacement (dev_eui, epoch, by_dev_eui, by_epoch)"
           " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_BYTEA, DB_INT8, DB_BYTEA, DB_INT8},
};

/* Locked before a place of them moves: who acts on their end, or puts it off, waits, and finds the
 * device that holds the place then. */
const struct db_statement db_replacement_places_statement = {
    .name = "replacement_places",
    .sql = "SELECT 1 FROM subscription_places(ARRAY(SELECT subscription_id FROM device_entitlement"
           "  WHERE dev_eui IN ($1, $2)))",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_BYTEA},
};

/* A place that is over gives way to one that is not. */
const struct db_statement db_replacement_make_way_statement = {
    .name = "replacement_make_way",
    .sql = "DELETE FROM device_entitlement e USING subscription s"
           " WHERE e.dev_eui = $2 AND s.id = e.subscription_id AND NOT subscription_runs(s)"
           "  AND EXISTS (SELECT FROM device_entitlement a JOIN subscription t"
           "   ON t.id = a.subscription_id WHERE a.dev_eui = $1 AND subscription_runs(t))",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_BYTEA},
};

/* The place goes with the place, but for one that is over and that nobody needs. Whoever was
 * replaced is suspended by its owner, and is not resumed by a renewal. */
const struct db_statement db_replacement_entitle_statement = {
    .name = "replacement_entitle",
    .sql = "WITH kept AS (UPDATE device SET suspended_by = NULL"
           "   WHERE dev_eui = $1 AND suspended_by IS NOT NULL)"
           " UPDATE device_entitlement SET dev_eui = $2 WHERE dev_eui = $1"
           "  AND NOT EXISTS (SELECT FROM device_entitlement WHERE dev_eui = $2)"
           "  AND (EXISTS (SELECT FROM subscription s"
           "    WHERE s.id = subscription_id AND subscription_runs(s))"
           "   OR (SELECT o.subscription_required FROM organization o"
           "    JOIN device d ON d.owner_id = o.id WHERE d.dev_eui = $1))",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_BYTEA},
};

const struct db_statement db_replacement_settle_statement = {
    .name = "replacement_settle",
    .sql = "SELECT 1 FROM entitlement_settle(ARRAY[$1], $2)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_TEXT},
};

const struct db_statement db_replacement_end_statement = {
    .name = "replacement_end",
    .sql = "DELETE FROM replacement WHERE (dev_eui, epoch) IN"
           " (SELECT * FROM unnest($1::bytea[], $2::int8[]))",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA_ARRAY, DB_INT8_ARRAY},
};

static void put(struct db_params *p, const struct device_record *device)
{
    db_param_bytes(p, device->dev_eui.bytes, sizeof(device->dev_eui.bytes));
    db_param_int(p, DB_INT8, device->ownership_epoch);
}

static void put_both(struct db_params *p, const struct eui64 *dev_eui, const struct eui64 *by)
{
    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_bytes(p, by->bytes, sizeof(by->bytes));
}

int db_replacement_lock(
    struct db *db, int64_t owner_id, const struct eui64 *dev_eui, const struct eui64 *by)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);

    put_both(p, dev_eui, by);
    db_param_int(p, DB_INT8, owner_id);
    return db_run(db, DB_REPLACEMENT_LOCK, &rows);
}

int db_replacement_add(
    struct db *db, const struct device_record *device, const struct device_record *by)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    put(p, device);
    put(p, by);
    r = db_run(db, DB_REPLACEMENT_ADD, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_replacement_entitle(
    struct db *db, const struct eui64 *dev_eui, const struct eui64 *by, const char *request_id)
{
    CLEANUP(db_rows_done) struct db_rows places = {0};
    struct db_params *p = db_params_of(db);
    int r;

    put_both(p, dev_eui, by);
    if ((r = db_run(db, DB_REPLACEMENT_PLACES, &places)) < 0)
        return r;
    put_both(db_params_of(db), dev_eui, by);
    if ((r = db_run_quiet(db, DB_REPLACEMENT_MAKE_WAY)) < 0)
        return r;
    put_both(db_params_of(db), dev_eui, by);
    if ((r = db_run_quiet(db, DB_REPLACEMENT_ENTITLE)) < 0)
        return r;
    p = db_params_of(db);
    db_param_bytes(p, by->bytes, sizeof(by->bytes));
    db_param_text(p, request_id);
    return db_run_quiet(db, DB_REPLACEMENT_SETTLE);
}

int db_replacement_end(struct db *db, const struct db_device_change *changes, size_t n)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, changes[i].after->dev_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, changes[i].after->ownership_epoch);
    return db_run_quiet(db, DB_REPLACEMENT_END);
}
