#include "db/custody.h"

#include "db/connection.h"

#define AT DB_UTC("e.at")

const struct db_statement db_custody_device_statement = {
    .name = "custody_device",
    .sql = "SELECT coalesce((SELECT b.format FROM batch b WHERE b.id = d.batch_id), '')"
           " FROM device d WHERE d.dev_eui = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

const struct db_statement db_custody_keys_statement = {
    .name = "custody_keys",
    .sql = "SELECT slot, kek_label, fingerprint, coalesce(origin, ''), coalesce(transport_kek, '')"
           " FROM device_key WHERE dev_eui = $1 ORDER BY slot",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_BYTEA},
};

/* As enum db_custody_actor: what it is to the device by now. What somebody is goes before what he
 * was. */
#define ACTOR(organization_id)                                                                     \
    "CASE " organization_id " WHEN d.organization_id THEN 0 WHEN d.owner_id THEN 1"                \
    " WHEN b.organization_id THEN 2 ELSE 3 END"

/* clang-format off */
/* The chunk of the import or order that the device's line was in, and what has happened to its keys
 * since. A hand-over is in two histories, and done by one of the two: the client tells which. One
 * more than are told. */
const struct db_statement db_custody_events_statement = {
    .name = "custody_events",
    .sql =
        "SELECT e.action, " AT ", " ACTOR("e.organization_id") ","
        "  coalesce(e.organization_id = $2, false), coalesce(c.seq, 0::int8),"
        "  c.organization_chain"
        " FROM device d LEFT JOIN batch b ON b.id = d.batch_id CROSS JOIN LATERAL ("
        "   SELECT * FROM audit_event a WHERE a.object = device_text(d.dev_eui)"
        "    AND a.action IN ('device.export', 'device.hand-over', 'device.scrap')"
        "    AND (a.action <> 'device.hand-over' OR a.client_id IS NOT NULL)"
        "   UNION ALL SELECT f.* FROM job j CROSS JOIN LATERAL ("
        "    SELECT * FROM audit_event a WHERE a.object = encode(j.public_id, 'hex')"
        "     AND a.action = 'import.chunk' AND (a.detail->>'line')::int8 >= d.batch_line"
        "    ORDER BY (a.detail->>'line')::int8 LIMIT 1) f WHERE j.batch_id = d.batch_id"
        "   UNION ALL SELECT f.* FROM job j CROSS JOIN LATERAL ("
        "    SELECT * FROM audit_event a WHERE a.object = encode(j.public_id, 'hex')"
        "     AND a.action = 'order.chunk' AND (a.detail->>'line')::int8 >= d.batch_line"
        "    ORDER BY (a.detail->>'line')::int8 LIMIT 1) f WHERE j.batch_id = d.batch_id) e"
        " LEFT JOIN audit_chain c ON c.event_id = e.id"
        " WHERE d.dev_eui = $1 ORDER BY e.id LIMIT " DB_DECIMAL(DB_CUSTODY_EVENTS_MAX) " + 1",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT8},
};

/* The files that hold keys: they are for whoever ordered the batch. */
const struct db_statement db_custody_deliveries_statement = {
    .name = "custody_deliveries",
    .sql =
        "SELECT w.name, count(*), " DB_UTC("min(w.at)") ", " DB_UTC("max(w.at)") ","
        "  " ACTOR("b.organization_id")
        " FROM device d JOIN batch b ON b.id = d.batch_id"
        " JOIN batch_download w ON w.batch_id = d.batch_id"
        " WHERE d.dev_eui = $1 AND w.name IN ('delivery.jwe', 'id_key.bin')"
        " GROUP BY w.name, d.dev_eui, b.id ORDER BY w.name"
        " LIMIT " DB_DECIMAL(DB_CUSTODY_DELIVERIES_MAX),
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_BYTEA},
};
/* clang-format on */

static int load_device(struct db *db, const struct eui64 *dev_eui, struct db_custody *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_bytes(db_params_of(db), dev_eui->bytes, sizeof(dev_eui->bytes));
    if ((r = db_run(db, DB_CUSTODY_DEVICE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    db_row_text(&rows, 0, 0, ret->import_format, sizeof(ret->import_format));
    return db_rows_check(&rows);
}

static int load_keys(struct db *db, const struct eui64 *dev_eui, struct db_custody *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_bytes(db_params_of(db), dev_eui->bytes, sizeof(dev_eui->bytes));
    if ((r = db_run(db, DB_CUSTODY_KEYS, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n && i < DB_CUSTODY_KEYS_MAX; i++) {
        struct db_custody_key *k = &ret->keys[ret->n_keys++];

        k->slot = (enum key_slot)db_row_int(&rows, i, 0, KEY_SLOT_APP, KEY_SLOT_NWK);
        db_row_text(&rows, i, 1, k->kek_label, sizeof(k->kek_label));
        k->has_fingerprint = !db_row_is_null(&rows, i, 2);
        if (k->has_fingerprint)
            db_row_bytes(&rows, i, 2, k->fingerprint, sizeof(k->fingerprint));
        db_row_text(&rows, i, 3, k->origin, sizeof(k->origin));
        db_row_text(&rows, i, 4, k->transport_kek, sizeof(k->transport_kek));
    }
    return db_rows_check(&rows);
}

static int load_events(
    struct db *db, const struct eui64 *dev_eui, int64_t organization_id, struct db_custody *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_int(p, DB_INT8, organization_id);
    if ((r = db_run(db, DB_CUSTODY_EVENTS, &rows)) < 0)
        return r;
    ret->has_more = rows.n > DB_CUSTODY_EVENTS_MAX;
    for (size_t i = 0; i < rows.n && i < DB_CUSTODY_EVENTS_MAX; i++) {
        struct db_custody_event *e = &ret->events[ret->n_events++];

        db_row_text(&rows, i, 0, e->action, sizeof(e->action));
        db_row_text(&rows, i, 1, e->at, sizeof(e->at));
        e->actor = (enum db_custody_actor)db_row_int(&rows, i, 2, 0, CUSTODY_FORMER_OWNER);
        e->is_own = db_row_bool(&rows, i, 3);
        e->seq = db_row_int(&rows, i, 4, 0, INT64_MAX);
        if (e->seq > 0)
            db_row_bytes(&rows, i, 5, e->chain, sizeof(e->chain));
    }
    return db_rows_check(&rows);
}

static int load_deliveries(struct db *db, const struct eui64 *dev_eui, struct db_custody *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_bytes(db_params_of(db), dev_eui->bytes, sizeof(dev_eui->bytes));
    if ((r = db_run(db, DB_CUSTODY_DELIVERIES, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n && i < DB_CUSTODY_DELIVERIES_MAX; i++) {
        struct db_custody_delivery *d = &ret->deliveries[ret->n_deliveries++];

        db_row_text(&rows, i, 0, d->file, sizeof(d->file));
        d->times = db_row_int(&rows, i, 1, 1, INT64_MAX);
        db_row_text(&rows, i, 2, d->first_at, sizeof(d->first_at));
        db_row_text(&rows, i, 3, d->last_at, sizeof(d->last_at));
        d->exposed_to = (enum db_custody_actor)db_row_int(&rows, i, 4, 0, CUSTODY_FORMER_OWNER);
    }
    return db_rows_check(&rows);
}

int db_custody_load(
    struct db *db, const struct eui64 *dev_eui, int64_t organization_id, struct db_custody *ret)
{
    int r;

    *ret = (struct db_custody){.n_keys = 0};
    if ((r = load_device(db, dev_eui, ret)) != 0 || (r = load_keys(db, dev_eui, ret)) < 0 ||
        (r = load_deliveries(db, dev_eui, ret)) < 0)
        return r;
    return load_events(db, dev_eui, organization_id, ret);
}
