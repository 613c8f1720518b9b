#include "db/device_view.h"

#include "db/connection.h"
#include "db/record_row.h"
#include <string.h>

#define TEST_JOINS                                                                                 \
    "(SELECT t.test_joins FROM device_join t"                                                      \
    " WHERE t.dev_eui = d.dev_eui AND d.test_net_id IS NOT NULL)"

/* Of a device d and whether the subscription that it holds runs, null where it holds none. */
#define ENTITLED(runs)                                                                             \
    "coalesce(" runs ", NOT (SELECT o.subscription_required FROM organization o"                   \
    " WHERE o.id = d.owner_id), true)"

/* The subscription that it holds, if any. */
#define SUBSCRIPTION                                                                               \
    " LEFT JOIN LATERAL (SELECT s.public_id AS id, s.name, " DB_UTC(                               \
        "s.ends_at") " AS ends_at,"                                                                \
                     "   subscription_runs(s) AS runs FROM device_entitlement e"                   \
                     "   JOIN subscription s ON s.id = e.subscription_id WHERE e.dev_eui = d.dev_eui) sub ON true"

/* $1: the organization that asks. */
#define VIEW                                                                                       \
    "d.dev_eui, " DB_RECORD_COLUMNS ","                                                            \
    " coalesce(d.owner_id, d.organization_id) = $1, d.organization_id = $1, d.serial, d.name,"     \
    " (SELECT b.public_id FROM batch b WHERE b.id = d.batch_id AND b.organization_id = $1),"       \
    " " DB_UTC("d.created_at") ", " DB_UTC("d.exposed_since") ", " VIEW_HOLDING
/* A column that was called dev_eui would be taken for what a list is sorted by. */
#define VIEW_HOLDING                                                                               \
    "coalesce(d.owner_id, 0), coalesce(d.owner_id, d.organization_id), d.quarantined_by,"          \
    " (SELECT r.by_dev_eui FROM replacement r"                                                     \
    "  WHERE r.dev_eui = d.dev_eui AND r.epoch = d.ownership_epoch),"                              \
    " (SELECT r.dev_eui AS replaces FROM replacement r"                                            \
    "  WHERE r.by_dev_eui = d.dev_eui AND r.by_epoch = d.ownership_epoch),"                        \
    " " DB_TEST_COLUMNS(TEST_JOINS) ", " DB_UTC("d.test_opened_at") ", " DB_UTC(                   \
        "d.test_until") ","                                                                        \
                        " sub.id, sub.name, sub.ends_at, coalesce(sub.runs, false), " ENTITLED(    \
                            "sub.runs") ","                                                        \
                                        " d.suspended_by IS NOT NULL"

enum view_column {
    VIEW_DEV_EUI,
    VIEW_RECORD,
    VIEW_IS_HELD = VIEW_RECORD + DB_N_RECORD_COLUMNS,
    VIEW_IS_BROUGHT,
    VIEW_SERIAL,
    VIEW_NAME,
    VIEW_BATCH,
    VIEW_CREATED_AT,
    VIEW_EXPOSED_SINCE,
    VIEW_OWNER,
    VIEW_HOLDER,
    VIEW_QUARANTINED_BY,
    VIEW_REPLACED_BY,
    VIEW_REPLACES,
    VIEW_TEST,
    VIEW_TEST_OPENED_AT = VIEW_TEST + DB_N_TEST_COLUMNS,
    VIEW_TEST_UNTIL,
    VIEW_SUBSCRIPTION,
    VIEW_IS_ENTITLED = VIEW_SUBSCRIPTION + 4,
    VIEW_IS_SUSPENDED_SO,
    VIEW_REJOIN_PENDING,
    VIEW_ORDINAL, /* of devices that are moved; so with the next */
    VIEW_CODE_GENERATION,
    VIEW_RELEASED_BY_ANOTHER,
};

/* An ownership epoch only goes up, so that of the last join tells whether there is one of the
 * present epoch. */
const struct db_statement db_device_find_statement = {
    .name = "device_find",
    .sql = "SELECT " VIEW ", d.kind = 'lorawan' AND d.ownership <> 'unowned'"
           "  AND d.service = 'active'"
           "  AND (SELECT e.ownership_epoch FROM join_event e WHERE e.dev_eui = d.dev_eui"
           "   AND e.outcome = 'success' ORDER BY e.at DESC LIMIT 1)"
           "  IS DISTINCT FROM d.ownership_epoch"
           " FROM device d" SUBSCRIPTION " WHERE d.dev_eui = $2"
           "  AND (d.owner_id = $1 OR d.organization_id = $1)",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA},
};

const struct db_statement db_device_load_moving_statement = {
    .name = "device_load_moving",
    .sql = "SELECT " VIEW ", NULL::bool, i.ordinal::int4, coalesce(c.generation, 0),"
           "  coalesce(d.ownership = 'unowned' AND c.released_by <> $1, false)"
           " FROM unnest($2::bytea[]) WITH ORDINALITY AS i(dev_eui, ordinal)"
           " JOIN device d ON d.dev_eui = i.dev_eui" SUBSCRIPTION
           " LEFT JOIN claim_code c ON c.dev_eui = d.dev_eui",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA_ARRAY},
};

/* Bounds of whole rows, and no equation, for the reason said in db/export.c: so the order is that
 * of one index, which begins behind the last device and holds nobody else's. */
const struct db_statement db_device_list_statement = {
    .name = "device_list",
    .sql = "SELECT " VIEW ", NULL::bool FROM device d" SUBSCRIPTION " WHERE (" DB_HOLDER
           ", dev_eui) > ($1, $2)"
           "  AND " DB_HOLDER " <= $1"
           " ORDER BY " DB_HOLDER ", dev_eui LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_INT8},
};

const struct db_statement db_device_list_batch_statement = {
    .name = "device_list_batch",
    .sql = "SELECT " VIEW ", NULL::bool FROM device d" SUBSCRIPTION " WHERE batch_id = $4"
           "  AND (" DB_HOLDER ", dev_eui) > ($1, $2) AND " DB_HOLDER " <= $1"
           "  ORDER BY " DB_HOLDER ", dev_eui LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_INT8, DB_BYTEA, DB_INT8, DB_INT8},
};

#define HOME_PEER                                                                                  \
    "SELECT FROM peer_net_id n JOIN peer p ON p.id = n.peer_id"                                    \
    " WHERE n.net_id = d.home_net_id AND p.kind = 'network_server' AND p.revoked_at IS NULL"

/* A KEK of an NSID, "NetID/NSID", wraps for the network server that names it. */
const struct db_statement db_device_preflight_statement = {
    .name = "device_preflight",
    .sql = "SELECT " DB_RECORD_COLUMNS ", " DB_JOIN_NONCE_FLOOR(
        "j") ", j.last_dev_nonce, j.nonce_epoch,"
             "  (SELECT coalesce(sum(bit_count(p.bits)), 0)::int8 FROM dev_nonce_page p"
             "   WHERE p.dev_eui = d.dev_eui AND p.join_eui = d.join_eui"
             "   AND p.nonce_epoch = d.nonce_epoch)"
             "  + CASE WHEN j.recent_join_eui = d.join_eui AND j.nonce_epoch = d.nonce_epoch"
             "    THEN octet_length(j.recent_nonces) / 2 ELSE 0 END,"
             "  EXISTS (SELECT FROM device_key k WHERE k.dev_eui = d.dev_eui AND k.slot = 1),"
             "  EXISTS (SELECT FROM device_key k WHERE k.dev_eui = d.dev_eui AND k.slot = 2),"
             "  EXISTS (" HOME_PEER "),"
             "  EXISTS (SELECT FROM kek k WHERE k.peer_kind = 'network_server' AND k.class = 'ns'"
             "   AND k.is_current AND split_part(k.peer_id, '/', 1) = encode(d.home_net_id, 'hex')),"
             "  EXISTS (" HOME_PEER " AND p.allow_plain_keys),"
             "  EXISTS (" HOME_PEER " AND p.app_s_key = 'plain'),"
             "  EXISTS (SELECT FROM peer p WHERE p.kind = 'application_server' AND p.name = d.as_id"
             "   AND p.revoked_at IS NULL),"
             "  EXISTS (SELECT FROM kek k WHERE k.peer_kind = 'application_server' AND k.class = 'as'"
             "   AND k.is_current AND k.peer_id = d.as_id),"
             "  coalesce((SELECT r.kind IN ('local', 'local-any') FROM join_routes_of(d.join_eui) r"
             "   ORDER BY r.prefix_len DESC LIMIT 1), false), " ENTITLED(
                 "sub.runs") " FROM device d JOIN device_join j ON j.dev_eui = d.dev_eui" SUBSCRIPTION
                             " WHERE d.dev_eui = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

static void read_subscription(struct db_rows *rows, size_t row, struct db_device_subscription *ret)
{
    ret->present = !db_row_is_null(rows, row, VIEW_SUBSCRIPTION);
    if (!ret->present)
        return;
    db_row_bytes(rows, row, VIEW_SUBSCRIPTION, ret->id, sizeof(ret->id));
    db_row_text(rows, row, VIEW_SUBSCRIPTION + 1, ret->name, sizeof(ret->name));
    db_row_text(rows, row, VIEW_SUBSCRIPTION + 2, ret->ends_at, sizeof(ret->ends_at));
    ret->runs = db_row_bool(rows, row, VIEW_SUBSCRIPTION + 3);
}

static void read_device(struct db_rows *rows, size_t row, struct db_device *ret)
{
    *ret = (struct db_device){0};
    db_row_bytes(
        rows, row, VIEW_DEV_EUI, ret->record.dev_eui.bytes, sizeof(ret->record.dev_eui.bytes));
    db_row_record(rows, row, VIEW_RECORD, &ret->record);
    ret->is_held = db_row_bool(rows, row, VIEW_IS_HELD);
    ret->is_brought = db_row_bool(rows, row, VIEW_IS_BROUGHT);
    db_row_text(rows, row, VIEW_SERIAL, ret->serial, sizeof(ret->serial));
    db_row_text(rows, row, VIEW_NAME, ret->name, sizeof(ret->name));
    ret->has_batch = !db_row_is_null(rows, row, VIEW_BATCH);
    if (ret->has_batch)
        db_row_bytes(rows, row, VIEW_BATCH, ret->batch_id, sizeof(ret->batch_id));
    db_row_text(rows, row, VIEW_CREATED_AT, ret->created_at, sizeof(ret->created_at));
    db_row_text(rows, row, VIEW_EXPOSED_SINCE, ret->exposed_since, sizeof(ret->exposed_since));
    ret->owner_id = db_row_int(rows, row, VIEW_OWNER, 0, INT64_MAX);
    ret->holder_id = db_row_int(rows, row, VIEW_HOLDER, 1, INT64_MAX);
    db_row_text(rows, row, VIEW_QUARANTINED_BY, ret->quarantined_by, sizeof(ret->quarantined_by));
    ret->has_replaced_by = !db_row_is_null(rows, row, VIEW_REPLACED_BY);
    if (ret->has_replaced_by)
        db_row_bytes(rows, row, VIEW_REPLACED_BY, ret->replaced_by.bytes, sizeof(ret->replaced_by));
    ret->has_replaces = !db_row_is_null(rows, row, VIEW_REPLACES);
    if (ret->has_replaces)
        db_row_bytes(rows, row, VIEW_REPLACES, ret->replaces.bytes, sizeof(ret->replaces));
    db_row_test_window(rows, row, VIEW_TEST, &ret->record.test);
    db_row_text(rows, row, VIEW_TEST_OPENED_AT, ret->test_opened_at, sizeof(ret->test_opened_at));
    db_row_text(rows, row, VIEW_TEST_UNTIL, ret->test_until, sizeof(ret->test_until));
    read_subscription(rows, row, &ret->subscription);
    ret->is_entitled = db_row_bool(rows, row, VIEW_IS_ENTITLED);
    ret->is_suspended_by_subscription = db_row_bool(rows, row, VIEW_IS_SUSPENDED_SO);
    ret->rejoin_pending = !db_row_is_null(rows, row, VIEW_REJOIN_PENDING) &&
                          db_row_bool(rows, row, VIEW_REJOIN_PENDING);
}

int db_device_find(
    struct db *db, const struct eui64 *dev_eui, int64_t organization_id, struct db_device *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    if ((r = db_run(db, DB_DEVICE_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_device(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_device_load_moving(struct db *db, const struct eui64 *dev_euis, size_t n,
    int64_t organization_id, struct db_device_moving *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, dev_euis[i].bytes, sizeof(dev_euis[i].bytes));
    if ((r = db_run(db, DB_DEVICE_LOAD_MOVING, &rows)) < 0)
        return r;
    memset(ret, 0, n * sizeof(*ret));
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, VIEW_ORDINAL, 1, (int64_t)n);
        struct db_device_moving *moving = &ret[ordinal > 0 ? ordinal - 1 : 0];

        read_device(&rows, i, &moving->device);
        moving->is_here = true;
        moving->code_generation =
            (uint32_t)db_row_int(&rows, i, VIEW_CODE_GENERATION, 0, INT32_MAX - 1);
        moving->released_by_another = db_row_bool(&rows, i, VIEW_RELEASED_BY_ANOTHER);
    }
    return db_rows_check(&rows);
}

int db_device_list(struct db *db, int64_t organization_id, const struct eui64 *after,
    int64_t batch_row_id, struct db_device *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_bytes(p, after != NULL ? (const char *)after->bytes : "",
        after != NULL ? sizeof(after->bytes) : 0);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if (batch_row_id != 0)
        db_param_int(p, DB_INT8, batch_row_id);
    r = db_run(db, batch_row_id != 0 ? DB_DEVICE_LIST_BATCH : DB_DEVICE_LIST, &rows);
    if (r < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_device(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_device_preflight(struct db *db, const struct eui64 *dev_eui, struct device_preflight *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int column = DB_N_RECORD_COLUMNS, r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    if ((r = db_run(db, DB_DEVICE_PREFLIGHT, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret = (struct device_preflight){.record.dev_eui = *dev_eui};
    db_row_record(&rows, 0, 0, &ret->record);
    ret->state.join_nonce = (uint32_t)db_row_int(&rows, 0, column++, 0, LW_JOIN_NONCE_MAX);
    ret->state.last_dev_nonce =
        (int32_t)db_row_int(&rows, 0, column++, DEVICE_NO_NONCE, UINT16_MAX);
    ret->state.nonce_epoch = (uint32_t)db_row_int(&rows, 0, column++, 0, UINT32_MAX);
    ret->n_used = (uint32_t)db_row_int(&rows, 0, column++, 0, UINT16_MAX + 1);
    ret->has_app = db_row_bool(&rows, 0, column++);
    ret->has_nwk = db_row_bool(&rows, 0, column++);
    ret->home_is_known = db_row_bool(&rows, 0, column++);
    ret->home_has_kek = db_row_bool(&rows, 0, column++);
    ret->home_may_have_plain_keys = db_row_bool(&rows, 0, column++);
    ret->home_has_plain_app_s_key = db_row_bool(&rows, 0, column++);
    ret->as_is_known = db_row_bool(&rows, 0, column++);
    ret->as_has_kek = db_row_bool(&rows, 0, column++);
    ret->join_eui_is_routed = db_row_bool(&rows, 0, column++);
    ret->is_entitled = db_row_bool(&rows, 0, column++);
    return db_rows_check(&rows);
}
