#include "db/signal.h"

#include "db/connection.h"
#include "db/job_row.h"
#include "db/record_row.h"
#include "db/signal_row.h"
#include <string.h>

#define KIND_MAX 20

const struct db_statement db_signal_waiting_statement = {
    .name = "signal_waiting",
    .sql = "WITH waiting AS MATERIALIZED (SELECT id, dev_eui FROM trust_signal WHERE NOT judged"
           "   ORDER BY id LIMIT $1),"
           " few AS MATERIALIZED (SELECT dev_eui FROM waiting GROUP BY dev_eui ORDER BY min(id)"
           "   LIMIT $2)"
           " SELECT w.dev_eui, w.id FROM waiting w JOIN few USING (dev_eui)"
           " UNION ALL (SELECT dev_eui, 0 FROM device WHERE trust_look_at <= now()"
           "  ORDER BY trust_look_at LIMIT $2)",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_signal_devices_statement = {
    .name = "signal_devices",
    .sql = "SELECT d.dev_eui, " DB_RECORD_COLUMNS ", coalesce(d.owner_id, d.organization_id),"
           "  coalesce((SELECT o.quarantine_clones FROM organization o WHERE o.id = d.owner_id),"
           "   false)"
           " FROM device d WHERE d.dev_eui = ANY($1::bytea[])"
           " ORDER BY d.dev_eui",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

/* $2: kinds that outlive a change of owners. */
const struct db_statement db_signal_list_statement = {
    .name = "signal_list",
    .sql = "SELECT s.dev_eui, s.kind, extract(epoch FROM now() - s.at)::int8, " DB_UTC(
        "s.at") ","
                "  s.from_value, s.to_value FROM device d CROSS JOIN LATERAL (SELECT * FROM trust_signal t"
                "   WHERE t.dev_eui = d.dev_eui AND t.at > coalesce(d.trust_since, '-infinity')"
                "    AND (t.ownership_epoch = d.ownership_epoch OR t.kind = ANY($2::text[]))"
                "   ORDER BY t.at DESC LIMIT $3) s"
                " WHERE d.dev_eui = ANY($1::bytea[]) ORDER BY s.dev_eui, s.at DESC, s.id DESC",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_INT8},
};

const struct db_statement db_signal_move_statement = {
    .name = "signal_move",
    .sql =
        "UPDATE device SET trust = $2, trust_look_at = CASE WHEN $2 = 'suspect'"
        "   THEN now() + make_interval(mins => " DB_DECIMAL(
            DB_SIGNAL_LOOK_MINUTES) ") END,"
                                    "  quarantined_by = CASE WHEN $2 = 'quarantined' THEN 'service' END"
                                    " WHERE dev_eui = $1 AND trust = $3 AND credential = $4 AND ownership_epoch = $5"
                                    "  AND nonce_epoch = $6 AND ($2 <> 'quarantined' OR (SELECT"
                                    "   o.quarantine_clones FROM organization o WHERE o.id = device.owner_id))"
                                    " RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_BYTEA, DB_TEXT, DB_TEXT, DB_TEXT, DB_INT8, DB_INT8},
};

const struct db_statement db_signal_judged_statement = {
    .name = "signal_judged",
    .sql = "UPDATE trust_signal SET judged = true WHERE id = ANY($1::int8[])",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8_ARRAY},
};

/* In the order of DevEUIs, as in every statement that changes several devices. */
const struct db_statement db_signal_later_statement = {
    .name = "signal_later",
    .sql = "WITH due AS MATERIALIZED (SELECT dev_eui FROM device WHERE dev_eui = ANY($1::bytea[])"
           "   AND trust_look_at <= now() ORDER BY dev_eui FOR NO KEY UPDATE SKIP LOCKED)"
           " UPDATE device d SET trust_look_at = CASE WHEN d.trust = 'suspect'"
           "   THEN now() + make_interval(mins => " DB_DECIMAL(
               DB_SIGNAL_LOOK_MINUTES) ") END"
                                       " FROM due WHERE d.dev_eui = due.dev_eui",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

const struct db_statement db_signal_forget_statement = {
    .name = "signal_forget",
    .sql = "UPDATE device SET trust_since = now(), trust_look_at = NULL"
           " WHERE dev_eui = ANY ($1)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

const struct db_statement db_signal_purge_statement = {
    .name = "signal_purge",
    .sql = "DELETE FROM trust_signal WHERE id IN (SELECT id FROM trust_signal"
           "  WHERE at < now() - make_interval(days => " DB_DECIMAL(
               DB_SIGNAL_DAYS) ") ORDER BY at LIMIT $1) RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

bool db_row_signal(struct db_rows *rows, size_t row, int column, enum device_signal *ret)
{
    char kind[KIND_MAX + 1];

    db_row_text(rows, row, column, kind, sizeof(kind));
    if (device_signal_parse(kind, ret))
        return true;
    rows->failed = true;
    return false;
}

static void put_euis(struct db_params *p, const struct eui64 *dev_euis, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, dev_euis[i].bytes, sizeof(dev_euis[i].bytes));
}

static void put_lasting_kinds(struct db_params *p)
{
    size_t n = 0;

    for (unsigned i = 0; i < N_DEVICE_SIGNALS; i++)
        n += device_signal_row((enum device_signal)i)->of_key;
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (unsigned i = 0; i < N_DEVICE_SIGNALS; i++)
        if (device_signal_row((enum device_signal)i)->of_key)
            db_element_text(p, device_signal_row((enum device_signal)i)->name);
}

static int run_list(struct db *db, const struct eui64 *dev_euis, size_t n, struct db_rows *ret)
{
    struct db_params *p = db_params_of(db);

    put_euis(p, dev_euis, n);
    put_lasting_kinds(p);
    db_param_int(p, DB_INT8, DB_SIGNALS_MAX);
    return db_run(db, DB_SIGNAL_LIST, ret);
}

/* --- judging ---------------------------------------------------------------------------------- */

static bool is_same(const struct eui64 *a, const struct eui64 *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static int find_waiting(struct db *db, struct db_signal_round *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, DB_SIGNAL_WAITING_MAX);
    db_param_int(p, DB_INT8, DB_SIGNAL_DEVICES_MAX);
    if ((r = db_run(db, DB_SIGNAL_WAITING, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t id = db_row_int(&rows, i, 1, 0, INT64_MAX);
        struct eui64 dev_eui;
        size_t at = 0;

        db_row_bytes(&rows, i, 0, dev_eui.bytes, sizeof(dev_eui.bytes));
        if (id != 0)
            ret->ids[ret->n_ids++] = id;
        while (at < ret->n_dev_euis && !is_same(&ret->dev_euis[at], &dev_eui))
            at++;
        if (at == ret->n_dev_euis)
            ret->dev_euis[ret->n_dev_euis++] = dev_eui;
    }
    return db_rows_check(&rows);
}

static int load_devices(struct db *db, struct db_signal_round *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    put_euis(db_params_of(db), ret->dev_euis, ret->n_dev_euis);
    if ((r = db_run(db, DB_SIGNAL_DEVICES, &rows)) < 0)
        return r;
    ret->n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        struct db_signal_device *d = &ret->devices[i];

        d->n = 0;
        d->record = (struct device_record){0};
        db_row_bytes(&rows, i, 0, d->record.dev_eui.bytes, sizeof(d->record.dev_eui.bytes));
        db_row_record(&rows, i, 1, &d->record);
        d->holder_id = db_row_int(&rows, i, 1 + DB_N_RECORD_COLUMNS, 1, INT64_MAX);
        d->may_quarantine = db_row_bool(&rows, i, 2 + DB_N_RECORD_COLUMNS);
    }
    return db_rows_check(&rows);
}

/* Both are in the order of DevEUIs. */
static int load_seen(struct db *db, struct db_signal_round *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    size_t at = 0;
    int r = run_list(db, ret->dev_euis, ret->n_dev_euis, &rows);

    for (size_t i = 0; i < rows.n && r == 0; i++) {
        struct device_signal_seen seen;
        struct eui64 dev_eui;

        db_row_bytes(&rows, i, 0, dev_eui.bytes, sizeof(dev_eui.bytes));
        if (!db_row_signal(&rows, i, 1, &seen.signal))
            break;
        seen.age_s = db_row_int(&rows, i, 2, INT64_MIN, INT64_MAX);
        while (at < ret->n && !is_same(&ret->devices[at].record.dev_eui, &dev_eui))
            at++;
        if (at < ret->n && ret->devices[at].n < DB_SIGNALS_MAX)
            ret->devices[at].seen[ret->devices[at].n++] = seen;
    }
    return r < 0 ? r : db_rows_check(&rows);
}

int db_signal_due(struct db *db, struct db_signal_round *ret)
{
    int r;

    ret->n = ret->n_dev_euis = ret->n_ids = 0;
    if ((r = find_waiting(db, ret)) < 0 || ret->n_dev_euis == 0)
        return r;
    if ((r = load_devices(db, ret)) < 0)
        return r;
    return load_seen(db, ret);
}

int db_signal_move(
    struct db *db, const struct device_record *before, const struct device_record *after)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, before->dev_eui.bytes, sizeof(before->dev_eui.bytes));
    db_param_text(p, device_trust_text(after->trust));
    db_param_text(p, device_trust_text(before->trust));
    db_param_text(p, device_credential_text(before->credential));
    db_param_int(p, DB_INT8, before->ownership_epoch);
    db_param_int(p, DB_INT8, before->nonce_epoch);
    r = db_run(db, DB_SIGNAL_MOVE, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_signal_judged(struct db *db, const struct db_signal_round *round)
{
    struct db_params *p;
    int r;

    put_euis(db_params_of(db), round->dev_euis, round->n_dev_euis);
    if ((r = db_run_quiet(db, DB_SIGNAL_LATER)) < 0 || round->n_ids == 0)
        return r;
    p = db_params_of(db);
    db_param_array(p, DB_INT8_ARRAY, round->n_ids);
    for (size_t i = 0; i < round->n_ids; i++)
        db_element_int(p, round->ids[i]);
    return db_run_quiet(db, DB_SIGNAL_JUDGED);
}

/* --- telling ---------------------------------------------------------------------------------- */

int db_signal_list(struct db *db, const struct eui64 *dev_eui, struct db_signal_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = run_list(db, dev_eui, 1, &rows);

    if (r < 0)
        return r;
    ret->n = rows.n < DB_SIGNALS_MAX ? rows.n : DB_SIGNALS_MAX;
    for (size_t i = 0; i < ret->n; i++) {
        struct db_signal *s = &ret->items[i];

        if (!db_row_signal(&rows, i, 1, &s->signal))
            break;
        s->age_s = db_row_int(&rows, i, 2, INT64_MIN, INT64_MAX);
        db_row_text(&rows, i, 3, s->at, sizeof(s->at));
        s->from_value = db_row_int(&rows, i, 4, INT64_MIN, INT64_MAX);
        s->to_value = db_row_int(&rows, i, 5, INT64_MIN, INT64_MAX);
    }
    return db_rows_check(&rows);
}

double db_signal_list_score(const struct db_signal_list *list)
{
    struct device_signal_seen seen[DB_SIGNALS_MAX];

    for (size_t i = 0; i < list->n; i++)
        seen[i] = (struct device_signal_seen){list->items[i].signal, list->items[i].age_s};
    return device_signal_score(seen, list->n);
}

int db_signal_forget(struct db *db, const struct eui64 *dev_euis, size_t n)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, dev_euis[i].bytes, sizeof(dev_euis[i].bytes));
    return db_run_quiet(db, DB_SIGNAL_FORGET);
}

int db_signal_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, DB_SIGNAL_PIECE);
    if ((r = db_run(db, DB_SIGNAL_PURGE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}
