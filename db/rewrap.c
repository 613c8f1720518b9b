#include "db/rewrap.h"

#include "db/audit.h"
#include "db/connection.h"
#include "db/peer_names.h"
#include "db/statement.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_MAX 64
#define REQUEST_ID_MAX 40

/* What stands behind a hash that says its version (base/keyed.h), and the version that it says. */
#define MARK(hash) "substring(" hash " FROM " DB_DECIMAL(DB_REWRAP_MARK_AT) ")"
#define VERSION(mark)                                                                              \
    "CASE WHEN " mark " = '' THEN 1 ELSE get_byte(" mark ", 0) * 256 + get_byte(" mark ", 1) END"

/* clang-format off */
/* A row that gives nothing to do is read, and neither locked nor written. */
const struct db_statement db_rewrap_take_statement = {
    .name = "rewrap_take",
    .sql = "INSERT INTO key_rewrap AS w (target, turn, lease_until)"
           " SELECT $1, 1, now() + interval '" DB_REWRAP_LEASE_S " s'"
           "  WHERE NOT EXISTS (SELECT FROM key_rewrap WHERE target = $1"
           "   AND (finished_at IS NOT NULL OR lease_until >= now()))"
           " ON CONFLICT (target) DO UPDATE SET turn = w.turn + 1,"
           "  lease_until = excluded.lease_until"
           "  WHERE w.finished_at IS NULL AND w.lease_until < now()"
           " RETURNING part, at_device, at_id, turn",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_TEXT},
};

/* Nothing finds an old label but looking, and nearly all rows of a walk may be under the new one:
 * so many are looked at in one statement, and the last of them is told, whatever it is under. */
const struct db_statement db_rewrap_devices_statement = {
    .name = "rewrap_devices",
    .sql = "WITH looked AS MATERIALIZED (SELECT dev_eui, slot, kek_label,"
           "   " MARK("tag") " AS mark FROM device_key"
           "  WHERE (dev_eui, slot) > ($1, $2) ORDER BY dev_eui, slot"
           "  LIMIT " DB_DECIMAL(DB_REWRAP_LOOK) "),"
           " few AS MATERIALIZED (SELECT l.dev_eui, l.slot FROM looked l"
           "  WHERE l.kek_label <> $3 OR l.mark <> $4 OR (l.dev_eui, l.slot) ="
           "   (SELECT e.dev_eui, e.slot FROM looked e ORDER BY e.dev_eui DESC, e.slot DESC LIMIT 1)"
           "  ORDER BY l.dev_eui, l.slot LIMIT " DB_DECIMAL(DB_REWRAP_PIECE) ")"
           " SELECT k.dev_eui, k.slot, k.kek_label, k.blob, k.tag,"
           "  coalesce(d.join_eui, '\\x0000000000000000'::bytea)"
           " FROM few f JOIN device_key k ON k.dev_eui = f.dev_eui AND k.slot = f.slot"
           " JOIN device d ON d.dev_eui = k.dev_eui ORDER BY k.dev_eui, k.slot",
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_BYTEA, DB_INT2, DB_TEXT, DB_BYTEA},
};

const struct db_statement db_rewrap_keks_statement = {
    .name = "rewrap_keks",
    .sql = "SELECT id, kek_label, blob, tag, peer_kind, peer_id, class, label FROM kek"
           " WHERE id > $1 AND (kek_label <> $2 OR"
           "  " MARK("tag") " <> $3)"
           " ORDER BY id LIMIT " DB_DECIMAL(DB_REWRAP_PIECE),
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_TEXT, DB_BYTEA},
};

const struct db_statement db_rewrap_orders_statement = {
    .name = "rewrap_orders",
    .sql = "SELECT o.batch_id, o.transport_kek_label, o.transport_blob, o.transport_tag,"
           "  'organization', encode(g.public_id, 'hex'), 'transport', o.transport_label"
           " FROM batch_order o JOIN batch b ON b.id = o.batch_id"
           "  JOIN organization g ON g.id = b.organization_id"
           " WHERE o.batch_id > $1 AND (o.transport_kek_label <> $2 OR"
           "  " MARK("o.transport_tag") " <> $3)"
           " ORDER BY o.batch_id LIMIT " DB_DECIMAL(DB_REWRAP_PIECE),
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_TEXT, DB_BYTEA},
};

/* A row that has changed since it was read has another tag, which is over all of it: it stays as it
 * is, and is come upon again. */
const struct db_statement db_rewrap_write_devices_statement = {
    .name = "rewrap_write_devices",
    .sql = "UPDATE device_key k SET kek_label = i.kek_label, blob = i.blob, tag = i.tag,"
           "  n_rewrapped = k.n_rewrapped + 1"
           " FROM unnest($1::bytea[], $2::int2[], $3::bytea[], $4::text[], $5::bytea[],"
           "  $6::bytea[]) AS i(dev_eui, slot, old_tag, kek_label, blob, tag)"
           " WHERE k.dev_eui = i.dev_eui AND k.slot = i.slot AND k.tag = i.old_tag",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 6,
    .params = {DB_BYTEA_ARRAY, DB_INT2_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY,
        DB_BYTEA_ARRAY},
};

const struct db_statement db_rewrap_write_keks_statement = {
    .name = "rewrap_write_keks",
    .sql = "UPDATE kek k SET kek_label = i.kek_label, blob = i.blob, tag = i.tag"
           " FROM unnest($1::int8[], $2::bytea[], $3::text[], $4::bytea[], $5::bytea[])"
           "  AS i(id, old_tag, kek_label, blob, tag)"
           " WHERE k.id = i.id AND k.tag = i.old_tag",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_rewrap_write_orders_statement = {
    .name = "rewrap_write_orders",
    .sql = "UPDATE batch_order k SET transport_kek_label = i.kek_label, transport_blob = i.blob,"
           "  transport_tag = i.tag"
           " FROM unnest($1::int8[], $2::bytea[], $3::text[], $4::bytea[], $5::bytea[])"
           "  AS i(id, old_tag, kek_label, blob, tag)"
           " WHERE k.batch_id = i.id AND k.transport_tag = i.old_tag",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY},
};

/* $9: all parts were walked. Then the walk is over, or the next pass begins when the lease ends. */
const struct db_statement db_rewrap_step_statement = {
    .name = "rewrap_step",
    .sql = "UPDATE key_rewrap SET part = $3, at_device = $4, at_id = $5, n_done = n_done + $6,"
           "  n_pass = CASE WHEN $9 THEN 0 ELSE n_pass + $6 END,"
           "  n_stuck_pass = CASE WHEN $9 THEN 0 ELSE n_stuck_pass + $7 END,"
           "  n_stuck = CASE WHEN $9 THEN n_stuck_pass + $7 ELSE n_stuck END,"
           "  n_idle = CASE WHEN n_pass + $6 > 0 OR ($9 AND n_stuck_pass + $7 = 0) THEN 0"
           "   WHEN $9 THEN least(n_idle + 1, 20)"
           "   ELSE n_idle END,"
           "  reason = CASE WHEN $7 > 0 THEN $8 WHEN $9 AND n_stuck_pass = 0 THEN ''"
           "   ELSE reason END,"
           "  lease_until = now() + CASE WHEN $9 THEN least(interval '" DB_REWRAP_PAUSE_S " s'"
           "    * (1 << least(n_idle, 20)), interval '" DB_REWRAP_PAUSE_MAX_S " s')"
           "   ELSE interval '" DB_REWRAP_LEASE_S " s' END,"
           "  finished_at = CASE WHEN $9 AND n_pass + $6 = 0 AND n_stuck_pass + $7 = 0"
           "   AND started_at < now() - interval '" DB_DECIMAL(DB_REWRAP_SETTLE_S) " s' THEN now() END"
           " WHERE target = $1 AND turn = $2 AND finished_at IS NULL"
           " RETURNING finished_at IS NOT NULL, n_done",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 9,
    .params = {DB_TEXT, DB_INT4, DB_INT2, DB_BYTEA, DB_INT8, DB_INT8, DB_INT8, DB_TEXT, DB_BOOL},
};

const struct db_statement db_rewrap_uses_statement = {
    .name = "rewrap_uses",
    .sql = "WITH sealed AS (SELECT kek_label AS label, " MARK("tag") " AS mark, count(*) AS n,"
           "   'device keys' AS what FROM device_key GROUP BY 1, 2"
           "  UNION ALL SELECT kek_label, " MARK("tag") ", count(*), 'KEKs of peers'"
           "   FROM kek GROUP BY 1, 2"
           "  UNION ALL SELECT transport_kek_label, " MARK("transport_tag") ", count(*),"
           "   'transport KEKs of orders' FROM batch_order WHERE transport_blob IS NOT NULL"
           "   GROUP BY 1, 2),"
           " hashed AS (SELECT " MARK("hash") " AS mark, count(*) AS n, 'claim codes' AS what"
           "   FROM claim_code GROUP BY 1"
           "  UNION ALL SELECT " MARK("pac_hash") ", count(*), '" DB_REWRAP_LABELS "'"
           "   FROM claim_code WHERE pac_hash IS NOT NULL GROUP BY 1)"
           " SELECT u.key, u.what, sum(u.n)::int8 FROM ("
           "  SELECT label AS key, what, n FROM sealed"
           "  UNION ALL SELECT 'tag.' || " VERSION("mark") ", what, n FROM sealed"
           "  UNION ALL SELECT 'code.' || " VERSION("mark") ", what, n FROM hashed"
           "  UNION ALL SELECT 'code.' || code_key, 'orders with files', count(*) FROM batch_order"
           "   WHERE transport_blob IS NOT NULL AND files_deleted_at IS NULL GROUP BY 1) u"
           " WHERE $1 = '' OR u.key = $1 GROUP BY u.key, u.what"
           " ORDER BY u.key, u.what",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_TEXT},
};

const struct db_statement db_rewrap_again_statement = {
    .name = "rewrap_again",
    .sql = "UPDATE key_rewrap SET finished_at = NULL, lease_until = '-infinity'"
           " WHERE target = $1 AND finished_at IS NOT NULL",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_TEXT},
};

const struct db_statement db_rewrap_wake_statement = {
    .name = "rewrap_wake",
    .sql = "UPDATE key_rewrap SET n_idle = 0, lease_until = '-infinity'"
           " WHERE finished_at IS NULL AND n_idle > 0",
    .shape = DB_SHAPE_MANY,
    .commits = true,
};

const struct db_statement db_rewrap_forget_labels_statement = {
    .name = "rewrap_forget_labels",
    .sql = "WITH old AS MATERIALIZED (SELECT dev_eui FROM claim_code"
           "  WHERE 'code.' || " VERSION(MARK("pac_hash")) " = $1"
           "  ORDER BY dev_eui LIMIT " DB_DECIMAL(DB_REWRAP_LOOK) " FOR NO KEY UPDATE)"
           " UPDATE claim_code c SET pac_generation = NULL, pac_hash = NULL, pac_made = NULL"
           " FROM old WHERE c.dev_eui = old.dev_eui RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_TEXT},
};

const struct db_statement db_rewrap_progress_statement = {
    .name = "rewrap_progress",
    .sql = "SELECT target, finished_at IS NOT NULL, n_done, n_stuck, reason FROM key_rewrap"
           " ORDER BY started_at DESC LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
};
/* clang-format on */

int db_rewrap_take(struct db *db, const char *target, struct db_rewrap *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    *ret = (struct db_rewrap){0};
    db_param_text(db_params_of(db), target);
    if ((r = db_run(db, DB_REWRAP_TAKE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    (void)strncpy(ret->target, target, sizeof(ret->target) - 1);
    ret->part = (enum db_rewrap_part)db_row_int(&rows, 0, 0, 0, N_DB_REWRAP_PARTS - 1);
    (void)db_row_bytes_upto(&rows, 0, 1, ret->at_device.bytes, sizeof(ret->at_device.bytes));
    ret->at_id = db_row_int(&rows, 0, 2, 0, INT64_MAX);
    ret->turn = (int)db_row_int(&rows, 0, 3, 1, INT32_MAX);
    return db_rows_check(&rows);
}

static void read_device(struct db_rows *rows, size_t i, struct db_rewrap_row *row)
{
    struct sealed_key *key = &row->kek.key;

    db_row_bytes(rows, i, 0, row->dev_eui.bytes, sizeof(row->dev_eui.bytes));
    row->slot = (enum key_slot)db_row_int(rows, i, 1, KEY_SLOT_APP, KEY_SLOT_NWK);
    db_row_text(rows, i, 2, key->kek_label, sizeof(key->kek_label));
    key->blob_len = (uint8_t)db_row_bytes_upto(rows, i, 3, key->blob, sizeof(key->blob));
    db_row_keyed(rows, i, 4, key->tag, &key->tag_version);
    db_row_bytes(rows, i, 5, row->join_eui.bytes, sizeof(row->join_eui.bytes));
}

static void read_kek(struct db_rows *rows, size_t i, struct db_rewrap_row *row)
{
    struct sealed_key *key = &row->kek.key;

    row->id = db_row_int(rows, i, 0, 1, INT64_MAX);
    db_row_text(rows, i, 1, key->kek_label, sizeof(key->kek_label));
    key->blob_len = (uint8_t)db_row_bytes_upto(rows, i, 2, key->blob, sizeof(key->blob));
    db_row_keyed(rows, i, 3, key->tag, &key->tag_version);
    row->kek.peer_kind = db_row_peer_kind(rows, i, 4);
    db_row_text(rows, i, 5, row->kek.peer_id, sizeof(row->kek.peer_id));
    row->kek.kek_class = db_row_kek_class(rows, i, 6);
    db_row_text(rows, i, 7, row->kek.label, sizeof(row->kek.label));
}

int db_rewrap_load(struct db *db, const struct db_rewrap *rewrap, const char *label,
    unsigned tag_version, struct db_rewrap_row ret[static DB_REWRAP_PIECE], size_t *ret_n)
{
    static const enum db_statement_id loads[] = {
        DB_REWRAP_DEVICES, DB_REWRAP_KEKS, DB_REWRAP_ORDERS};
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    uint8_t mark[KEYED_STORED_MAX - KEYED_LEN];
    int r;

    if (rewrap->part == DB_REWRAP_PART_DEVICES) {
        db_param_bytes(p, rewrap->at_device.bytes, sizeof(rewrap->at_device.bytes));
        db_param_int(p, DB_INT2, rewrap->at_id);
    } else {
        db_param_int(p, DB_INT8, rewrap->at_id);
    }
    db_param_text(p, label);
    db_param_bytes(p, mark, keyed_mark(tag_version, mark));
    if ((r = db_run(db, loads[rewrap->part], &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        ret[i] = (struct db_rewrap_row){0};
        if (rewrap->part == DB_REWRAP_PART_DEVICES)
            read_device(&rows, i, &ret[i]);
        else
            read_kek(&rows, i, &ret[i]);
    }
    return db_rows_check(&rows);
}

static size_t count_changed(const struct db_rewrap_row *rows, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += rows[i].changed ? 1 : 0;
    return count;
}

/* Arrays: the row's name, its old tag, and the new key. */
static void put_rows(struct db_params *p, enum db_rewrap_part part,
    const struct db_rewrap_row *rows, size_t n, size_t n_changed)
{
    enum { DEV_EUI, NAME, OLD_TAG, LABEL, BLOB, TAG, N_ARRAYS };
    const bool devices = part == DB_REWRAP_PART_DEVICES;
    const enum db_type types[N_ARRAYS] = {DB_BYTEA_ARRAY, devices ? DB_INT2_ARRAY : DB_INT8_ARRAY,
        DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY};

    for (int a = devices ? DEV_EUI : NAME; a < N_ARRAYS; a++) {
        db_param_array(p, types[a], n_changed);
        for (size_t i = 0; i < n; i++) {
            const struct db_rewrap_row *row = &rows[i];

            if (!row->changed)
                continue;
            if (a == DEV_EUI)
                db_element_bytes(p, row->dev_eui.bytes, sizeof(row->dev_eui.bytes));
            else if (a == NAME)
                db_element_int(p, devices ? (int64_t)row->slot : row->id);
            else if (a == OLD_TAG)
                db_element_keyed(p, row->kek.key.tag, row->kek.key.tag_version);
            else if (a == LABEL)
                db_element_text(p, row->fresh.kek_label);
            else if (a == BLOB)
                db_element_bytes(p, row->fresh.blob, row->fresh.blob_len);
            else
                db_element_keyed(p, row->fresh.tag, row->fresh.tag_version);
        }
    }
}

static int write_rows(
    struct db *db, enum db_rewrap_part part, const struct db_rewrap_row *rows, size_t n)
{
    static const enum db_statement_id writes[] = {
        DB_REWRAP_WRITE_DEVICES, DB_REWRAP_WRITE_KEKS, DB_REWRAP_WRITE_ORDERS};
    CLEANUP(db_rows_done) struct db_rows ignored = {0};
    const size_t n_changed = count_changed(rows, n);

    if (n_changed == 0)
        return 0;
    put_rows(db_params_of(db), part, rows, n, n_changed);
    return db_run(db, writes[part], &ignored);
}

/* Where the walk is after these rows; true: all parts were walked. */
static bool go_on(struct db_rewrap *rewrap, const struct db_rewrap_row *rows, size_t n, bool end)
{
    bool over = false;

    if (end) {
        over = rewrap->part + 1 == N_DB_REWRAP_PARTS;
        rewrap->part = over ? DB_REWRAP_PART_DEVICES : rewrap->part + 1;
        rewrap->at_device = (struct eui64){0};
        rewrap->at_id = 0;
    } else if (n > 0) {
        rewrap->at_device = rows[n - 1].dev_eui;
        rewrap->at_id =
            rewrap->part == DB_REWRAP_PART_DEVICES ? (int64_t)rows[n - 1].slot : rows[n - 1].id;
    }
    return over;
}

/* In nobody's history but the administrators'. */
static int tell(struct db *db, const struct db_rewrap *rewrap, const char *action, int64_t n_done)
{
    char detail[DETAIL_MAX], request_id[REQUEST_ID_MAX];
    const struct db_audit_event event = {
        .request_id = request_id, .action = action, .object = rewrap->target, .detail = detail};

    (void)snprintf(request_id, sizeof(request_id), "rewrap-%d", rewrap->turn);
    (void)snprintf(detail, sizeof(detail), "{\"sealed\":%" PRId64 "}", n_done);
    return db_audit_add(db, &event);
}

static int write_step(
    struct db *db, const struct db_rewrap *rewrap, const struct db_rewrap_step *step, bool over)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, rewrap->target);
    db_param_int(p, DB_INT4, rewrap->turn);
    db_param_int(p, DB_INT2, rewrap->part);
    db_param_bytes(p, rewrap->at_device.bytes, sizeof(rewrap->at_device.bytes));
    db_param_int(p, DB_INT8, rewrap->at_id);
    db_param_int(p, DB_INT8, (int64_t)step->n_changed);
    db_param_int(p, DB_INT8, (int64_t)step->n_stuck);
    db_param_text(p, step->reason);
    db_param_int(p, DB_BOOL, over);
    if ((r = db_run(db, DB_REWRAP_STEP, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    if (!db_row_bool(&rows, 0, 0))
        return db_rows_check(&rows);
    return tell(db, rewrap, "keys.rewrap.end", db_row_int(&rows, 0, 1, 0, INT64_MAX));
}

int db_rewrap_write(struct db *db, struct db_rewrap *rewrap, const struct db_rewrap_row *rows,
    size_t n, const struct db_rewrap_step *step)
{
    const enum db_rewrap_part part = rewrap->part;
    struct db_rewrap after = *rewrap;
    const bool over = go_on(&after, rows, n, step->end);
    int r = db_begin(db);

    if (r < 0)
        return r;
    /* First whether it is still ours: that row's lock keeps it so. */
    r = write_step(db, &after, step, over);
    if (r == 0)
        r = write_rows(db, part, rows, n);
    if (r == 0)
        r = db_commit(db);
    else
        db_rollback(db);
    if (r == 0)
        *rewrap = after;
    return r;
}

int db_rewrap_progress(struct db *db, struct db_rewrap_progress *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    *ret = (struct db_rewrap_progress){0};
    (void)db_params_of(db);
    if ((r = db_run(db, DB_REWRAP_PROGRESS, &rows)) < 0 || rows.n == 0)
        return r;
    db_row_text(&rows, 0, 0, ret->target, sizeof(ret->target));
    ret->finished = db_row_bool(&rows, 0, 1);
    ret->n_done = db_row_int(&rows, 0, 2, 0, INT64_MAX);
    ret->n_stuck = db_row_int(&rows, 0, 3, 0, INT64_MAX);
    db_row_text(&rows, 0, 4, ret->reason, sizeof(ret->reason));
    return db_rows_check(&rows);
}

int db_rewrap_uses(struct db *db, const char *key,
    struct db_rewrap_use ret[static DB_REWRAP_USES_MAX], size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_text(db_params_of(db), key);
    if ((r = db_run(db, DB_REWRAP_USES, &rows)) < 0)
        return r;
    *ret_n = rows.n < DB_REWRAP_USES_MAX ? rows.n : DB_REWRAP_USES_MAX;
    for (size_t i = 0; i < *ret_n; i++) {
        db_row_text(&rows, i, 0, ret[i].key, sizeof(ret[i].key));
        db_row_text(&rows, i, 1, ret[i].what, sizeof(ret[i].what));
        ret[i].n = db_row_int(&rows, i, 2, 0, INT64_MAX);
    }
    return db_rows_check(&rows);
}

int db_rewrap_again(struct db *db, const char *target)
{
    db_param_text(db_params_of(db), target);
    return db_run_quiet(db, DB_REWRAP_AGAIN);
}

int db_rewrap_wake(struct db *db)
{
    (void)db_params_of(db);
    return db_run_quiet(db, DB_REWRAP_WAKE);
}

int db_rewrap_forget_labels(struct db *db, const char *key, int64_t *ret_n)
{
    size_t n = 1;

    *ret_n = 0;
    while (n > 0) {
        CLEANUP(db_rows_done) struct db_rows rows = {0};
        int r;

        db_param_text(db_params_of(db), key);
        if ((r = db_run(db, DB_REWRAP_FORGET_LABELS, &rows)) < 0)
            return r;
        n = rows.n;
        *ret_n += (int64_t)n;
    }
    return 0;
}
