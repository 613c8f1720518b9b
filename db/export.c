#include "db/export.h"

#include "db/job_row.h"
#include "db/record_row.h"
#include <stdio.h>
#include <string.h>

#define STATE_NAME_MAX 16
#define FORMAT_TEXT_MAX 16
#define EXPORT_COLUMNS                                                                             \
    " e.format, coalesce(e.of_batch, 0), e.model, e.public_key, e.request_id, e.last_dev_eui,"     \
    " e.n_broken"

static const char *const formats[] = {
    [EXPORT_CRADLE_JSONL] = "cradle-jsonl",
    [EXPORT_TTS_CSV] = "tts-csv",
    [EXPORT_THINGPARK_CSV] = "thingpark-csv",
};
#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

#define N_OPEN                                                                                     \
    "(SELECT count(*) FROM job j WHERE j.organization_id = $1 AND j.kind = 'export'"               \
    "  AND j.state IN ('waiting', 'running'))"

const struct db_statement db_export_open_statement = {
    .name = "export_open",
    .sql = "SELECT" N_OPEN,
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_export_add_statement = {
    .name = "export_add",
    .sql =
        "WITH made AS (INSERT INTO job (organization_id, client_id, kind, state, fingerprint,"
        "   lease_until) SELECT $1, $2, 'export', 'waiting', sha256(''), now()"
        "   WHERE " N_OPEN " < " DB_DECIMAL(
            DB_EXPORT_OPEN_MAX) "  RETURNING " DB_JOB_COLUMNS "),"
                                " told AS (INSERT INTO export (job_id, format, of_batch, model, public_key, request_id)"
                                "  SELECT id, $3, nullif($4, 0), nullif($5, ''), nullif($6, ''), $7 FROM made)"
                                " SELECT * FROM made",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 7,
    .params = {DB_INT8, DB_BYTEA, DB_TEXT, DB_INT8, DB_TEXT, DB_TEXT, DB_TEXT},
};

/* One row, and nobody waits for another's: who comes second takes the next. First the organization
 * that has waited longest since it was served, also by exports that have ended since; then the one
 * of its exports that has. So a small export waits for a turn of each other organization, and not
 * for their fleets. */
const struct db_statement db_export_take_statement = {
    .name = "export_take",
    .sql =
        "WITH taken AS (UPDATE job SET state = 'running', turn = turn + 1,"
        "   lease_until = " DB_JOB_LEASE ", changed_at = now(), taken_at = clock_timestamp()"
        "  WHERE id = (SELECT j.id FROM job j WHERE j.kind = 'export'"
        "   AND j.state IN ('waiting', 'running') AND j.lease_until <= now()"
        "   AND ($1 OR EXISTS (SELECT FROM export k WHERE k.job_id = j.id"
        "    AND k.public_key IS NULL)) ORDER BY (SELECT max(s.taken_at) FROM job s"
        "    WHERE s.organization_id = j.organization_id AND s.taken_at IS NOT NULL) NULLS FIRST,"
        "   j.taken_at NULLS FIRST, j.id LIMIT 1 FOR UPDATE SKIP LOCKED)"
        "  RETURNING " DB_JOB_COLUMNS ", client_id)"
        " SELECT taken.*," EXPORT_COLUMNS ", (SELECT c.revoked_at IS NOT NULL FROM client c"
        "  WHERE c.id = taken.client_id) FROM taken JOIN export e ON e.job_id = taken.id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_BOOL},
};

#define DEVICE_COLUMNS                                                                             \
    " dev_eui, join_eui, mac_version, credential, trust, nonce_epoch, home_net_id, as_id, serial," \
    " name"
#define HOLDER DB_HOLDER /* what was sold is not its maker's to take away any more */
/* What a listed device has, looked up by its DevEUI alone: the sub-selects with their limits leave
 * the planner no other way, whatever the tables held when the plan was made. */
#define OF_LISTED                                                                                            \
    " SELECT d.dev_eui, d.join_eui, d.mac_version, d.credential, d.trust, d.nonce_epoch,"                    \
    "  d.home_net_id, d.as_id, d.serial, d.name, coalesce(j.join_nonce, 0),"                                 \
    "  CASE WHEN j.nonce_epoch = d.nonce_epoch THEN j.last_dev_nonce ELSE -1 END,"                           \
    "  app.kek_label, app.blob, app.tag, nwk.kek_label, nwk.blob, nwk.tag,"                                  \
    "  EXISTS (SELECT FROM device_key s"                                                                     \
    "   WHERE s.fingerprint IN (app.fingerprint, nwk.fingerprint) AND s.dev_eui <> d.dev_eui"                \
    "   AND (SELECT " HOLDER " FROM device t WHERE t.dev_eui = s.dev_eui) <> $1),"                           \
    "  app.fingerprint IS NULL OR nwk.blob IS NOT NULL AND nwk.fingerprint IS NULL"                          \
    " FROM listed d"                                                                                         \
    " LEFT JOIN LATERAL (SELECT " DB_JOIN_NONCE_FLOOR(                                                       \
        "device_join") " AS join_nonce, last_dev_nonce, nonce_epoch FROM device_join"                        \
                       "  WHERE dev_eui = d.dev_eui LIMIT 1) j ON true"                                      \
                       " LEFT JOIN LATERAL (SELECT * FROM device_key WHERE dev_eui = d.dev_eui AND slot = 1" \
                       "  LIMIT 1) app ON true"                                                              \
                       " LEFT JOIN LATERAL (SELECT * FROM device_key WHERE dev_eui = d.dev_eui AND slot = 2" \
                       "  LIMIT 1) nwk ON true"                                                              \
                       " ORDER BY d.dev_eui"

/* Bounds of whole rows, and no equation: so the order is one that a single index has, which begins
 * behind the last device and holds nobody else's. With an equation the planner may walk all devices
 * by DevEUI instead, and leave out whatever is another's. */
const struct db_statement db_export_load_statement = {
    .name = "export_load",
    .sql = "WITH listed AS MATERIALIZED (SELECT" DEVICE_COLUMNS " FROM device"
           "  WHERE (" HOLDER ", dev_eui) > ($1, $2) AND " HOLDER " <= $1"
           "  ORDER BY " HOLDER ", dev_eui LIMIT $3)" OF_LISTED,
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_INT8},
};

const struct db_statement db_export_load_batch_statement = {
    .name = "export_load_batch",
    .sql = "WITH listed AS MATERIALIZED (SELECT" DEVICE_COLUMNS " FROM device"
           "  WHERE batch_id = $4 AND (" HOLDER ", dev_eui) > ($1, $2) AND " HOLDER " <= $1"
           "  ORDER BY " HOLDER ", dev_eui LIMIT $3)" OF_LISTED,
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_INT8, DB_BYTEA, DB_INT8, DB_INT8},
};

/* Pages, and for each DevNonce that is in none yet its bit alone. */
const struct db_statement db_export_nonces_statement = {
    .name = "export_nonces",
    .sql =
        "SELECT i.ordinal::int4, p.page, p.bits FROM unnest($1::bytea[], $2::bytea[],"
        "  $3::int8[]) WITH ORDINALITY AS i(dev_eui, join_eui, nonce_epoch, ordinal)"
        " CROSS JOIN LATERAL (SELECT p.page, p.bits FROM dev_nonce_page p"
        "   WHERE p.dev_eui = i.dev_eui AND p.join_eui = i.join_eui"
        "   AND p.nonce_epoch = i.nonce_epoch"
        "  UNION ALL SELECT (n / 2048)::int2,"
        "   set_bit(decode(repeat('00', 256), 'hex'), n % 2048, 1)"
        "   FROM device_join j CROSS JOIN LATERAL (SELECT get_byte(j.recent_nonces, 2 * at) * 256"
        "     + get_byte(j.recent_nonces, 2 * at + 1)"
        "    FROM generate_series(0, octet_length(j.recent_nonces) / 2 - 1) at) r(n)"
        "   WHERE j.dev_eui = i.dev_eui AND j.recent_join_eui = i.join_eui"
        "   AND j.nonce_epoch = i.nonce_epoch) p"
        " ORDER BY i.ordinal, p.page",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_INT8_ARRAY},
};

const struct db_statement db_export_advance_statement = {
    .name = "export_advance",
    .sql =
        "WITH moved AS (UPDATE job SET line = line + $3 + $4, n_exported = n_exported + $3,"
        "   n_refused = n_refused + $4, n_kept = n_kept + $4, lease_until = " DB_JOB_LEASE
        ", changed_at = now()"
        "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING id, cancel_wanted),"
        " mark AS (UPDATE export e SET last_dev_eui = $5, n_broken = 0 FROM moved WHERE e.job_id = moved.id)"
        " SELECT cancel_wanted FROM moved",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_INT4, DB_INT8, DB_INT8, DB_BYTEA},
};

/* In DevEUI order, as everybody who locks several devices. */
const struct db_statement db_export_expose_statement = {
    .name = "export_expose",
    .sql = "WITH ready AS MATERIALIZED (SELECT dev_eui FROM device WHERE dev_eui = ANY ($1)"
           "   AND coalesce(owner_id, organization_id) = $2 AND trust <> 'quarantined'"
           "   AND credential <> 'scrapped' ORDER BY dev_eui FOR NO KEY UPDATE),"
           " marked AS (UPDATE device d SET exposed_since = coalesce(d.exposed_since, now())"
           "  FROM ready WHERE d.dev_eui = ready.dev_eui RETURNING d.dev_eui),"
           " told AS (INSERT INTO audit_event (organization_id, client_id, request_id, action,"
           "   object, detail) SELECT $2, $3, $4, 'device.export', device_text(dev_eui),"
           "   jsonb_build_object('job', encode($5, 'hex')) FROM marked ORDER BY dev_eui)"
           " SELECT count(*) FROM marked",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA_ARRAY, DB_INT8, DB_BYTEA, DB_TEXT, DB_BYTEA},
};

const struct db_statement db_export_write_statement = {
    .name = "export_write",
    .sql = "INSERT INTO job_part (job_id, n, bytes) SELECT $1,"
           "  coalesce((SELECT max(n) FROM job_part WHERE job_id = $1), 0) + 1, $2",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA},
};

const struct db_statement db_export_end_statement = {
    .name = "export_end",
    .sql =
        "WITH ended AS (UPDATE job SET state = $3, fault = $4, changed_at = now(),"
        "   result_until = CASE WHEN $3 = 'done'"
        "    THEN now() + make_interval(days => " DB_DECIMAL(
            DB_EXPORT_KEPT_DAYS) ") END"
                                 "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING id),"
                                 " gone AS (DELETE FROM job_part p USING ended WHERE p.job_id = ended.id"
                                 "  AND $3 <> 'done')"
                                 " SELECT id FROM ended",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_INT4, DB_TEXT, DB_TEXT},
};

const struct db_statement db_export_put_back_statement = {
    .name = "export_put_back",
    .sql = "WITH back AS (UPDATE job SET state = 'waiting', changed_at = now(),"
           "   lease_until = now() + make_interval(secs => $3)"
           "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING id)"
           " UPDATE export e SET n_broken = $4 FROM back WHERE e.job_id = back.id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_INT4, DB_INT4, DB_INT4},
};

const struct db_statement db_export_read_statement = {
    .name = "export_read",
    .sql = "SELECT n, bytes FROM job_part WHERE job_id = $1 AND n > $2 ORDER BY n LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_INT4},
};

const struct db_statement db_export_format_statement = {
    .name = "export_format",
    .sql = "SELECT format FROM export WHERE job_id = $1",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_export_discard_statement = {
    .name = "export_discard",
    .sql = "WITH ended AS (UPDATE job SET result_until = NULL, changed_at = now()"
           "  WHERE id = $1 AND result_until IS NOT NULL RETURNING id),"
           " gone AS (DELETE FROM job_part p USING ended WHERE p.job_id = ended.id)"
           " SELECT id FROM ended",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_export_sweep_statement = {
    .name = "export_sweep",
    .sql = "WITH over AS (UPDATE job SET result_until = NULL, changed_at = now()"
           "  WHERE result_until < now() RETURNING id)"
           " DELETE FROM job_part p USING over WHERE p.job_id = over.id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
};

const char *db_export_format_text(enum db_export_format format)
{
    return formats[format];
}

bool db_export_format_parse(const char *text, enum db_export_format *ret)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i], text) == 0) {
            *ret = (enum db_export_format)i;
            return true;
        }
    return false;
}

int db_export_add(struct db *db, int64_t organization_id,
    const uint8_t client_id[static ACCOUNT_ID_LEN], const struct db_export_order *order,
    struct db_job *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_bytes(p, client_id, ACCOUNT_ID_LEN);
    db_param_text(p, formats[order->format]);
    db_param_int(p, DB_INT8, order->of_batch);
    db_param_text(p, order->model);
    db_param_text(p, order->public_key);
    db_param_text(p, order->request_id);
    if ((r = db_run(db, DB_EXPORT_ADD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    db_job_read(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_export_has_room(struct db *db, int64_t organization_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int64_t n;
    int r;

    db_param_int(db_params_of(db), DB_INT8, organization_id);
    if ((r = db_run(db, DB_EXPORT_OPEN, &rows)) < 0)
        return r;
    n = db_row_int(&rows, 0, 0, 0, INT64_MAX);
    r = db_rows_check(&rows);
    return r < 0 ? r : n >= DB_EXPORT_OPEN_MAX;
}

static void read_export(struct db_rows *rows, struct db_export *ret)
{
    char format[FORMAT_TEXT_MAX];
    int column = DB_JOB_N_COLUMNS;

    *ret = (struct db_export){0};
    db_job_read(rows, 0, &ret->job);
    db_row_bytes(rows, 0, column++, ret->client_id, sizeof(ret->client_id));
    db_row_text(rows, 0, column++, format, sizeof(format));
    if (!db_export_format_parse(format, &ret->order.format))
        rows->failed = true;
    ret->order.of_batch = db_row_int(rows, 0, column++, 0, INT64_MAX);
    db_row_text(rows, 0, column++, ret->order.model, sizeof(ret->order.model));
    db_row_text(rows, 0, column++, ret->order.public_key, sizeof(ret->order.public_key));
    db_row_text(rows, 0, column++, ret->order.request_id, sizeof(ret->order.request_id));
    ret->has_last =
        db_row_bytes_upto(rows, 0, column++, ret->last.bytes, sizeof(ret->last.bytes)) > 0;
    ret->n_broken = db_row_int(rows, 0, column++, 0, INT32_MAX);
    ret->is_revoked = db_row_bool(rows, 0, column);
}

int db_export_take(struct db *db, bool may_export_keys, struct db_export *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_BOOL, may_export_keys);
    if ((r = db_run(db, DB_EXPORT_TAKE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_export(&rows, ret);
    return db_rows_check(&rows);
}

/* Three columns: kek_label, blob, tag. */
static bool read_key(struct db_rows *rows, size_t row, int column, struct sealed_key *ret)
{
    if (db_row_is_null(rows, row, column))
        return false;
    db_row_text(rows, row, column, ret->kek_label, sizeof(ret->kek_label));
    ret->blob_len = (uint8_t)db_row_bytes_upto(rows, row, column + 1, ret->blob, sizeof(ret->blob));
    db_row_keyed(rows, row, column + 2, ret->tag, &ret->tag_version);
    return true;
}

static void read_row(struct db_rows *rows, size_t row, struct db_export_row *ret)
{
    struct device_record *record = &ret->record;
    char credential[STATE_NAME_MAX], trust[STATE_NAME_MAX];

    *ret = (struct db_export_row){0};
    db_row_bytes(rows, row, 0, record->dev_eui.bytes, sizeof(record->dev_eui.bytes));
    db_row_lorawan(rows, row, 1, 2, record);
    db_row_text(rows, row, 3, credential, sizeof(credential));
    db_row_text(rows, row, 4, trust, sizeof(trust));
    if (!device_credential_parse(credential, &record->credential) ||
        !device_trust_parse(trust, &record->trust))
        rows->failed = true;
    record->nonce_epoch = (uint32_t)db_row_int(rows, row, 5, 0, UINT32_MAX);
    record->has_home_net_id = !db_row_is_null(rows, row, 6);
    if (record->has_home_net_id)
        db_row_bytes(rows, row, 6, record->home_net_id.bytes, sizeof(record->home_net_id.bytes));
    db_row_text(rows, row, 7, record->as_id, sizeof(record->as_id));
    db_row_text(rows, row, 8, ret->serial, sizeof(ret->serial));
    db_row_text(rows, row, 9, ret->name, sizeof(ret->name));
    ret->join_nonce = (uint32_t)db_row_int(rows, row, 10, 0, LW_JOIN_NONCE_MAX);
    ret->last_dev_nonce = (int32_t)db_row_int(rows, row, 11, DEVICE_NO_NONCE, UINT16_MAX);
    ret->has_app = read_key(rows, row, 12, &ret->app);
    ret->has_nwk = read_key(rows, row, 15, &ret->nwk);
    ret->shares_key = db_row_bool(rows, row, 18);
    ret->is_unproved = db_row_bool(rows, row, 19);
}

int db_export_load(
    struct db *db, const struct db_export *export, struct db_export_row *ret, size_t *ret_n)
{
    const bool of_batch = export->order.of_batch != 0;
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, export->job.organization_id);
    db_param_bytes(p, export->last.bytes, export->has_last ? sizeof(export->last.bytes) : 0);
    db_param_int(p, DB_INT8, DB_EXPORT_ROWS_MAX);
    if (of_batch)
        db_param_int(p, DB_INT8, export->order.of_batch);
    if ((r = db_run(db, of_batch ? DB_EXPORT_LOAD_BATCH : DB_EXPORT_LOAD, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++)
        read_row(&rows, i, &ret[i]);
    *ret_n = rows.n;
    return db_rows_check(&rows);
}

int db_export_load_nonces(struct db *db, const struct db_export_row *rows, size_t n_rows,
    struct db_export_nonces *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows pages = {0};
    struct db_params *p = db_params_of(db);
    size_t n = 0;
    int r;

    db_param_array(p, DB_BYTEA_ARRAY, n_rows);
    for (size_t i = 0; i < n_rows; i++)
        db_element_bytes(p, rows[i].record.dev_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_BYTEA_ARRAY, n_rows);
    for (size_t i = 0; i < n_rows; i++)
        db_element_bytes(p, rows[i].record.join_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_INT8_ARRAY, n_rows);
    for (size_t i = 0; i < n_rows; i++)
        db_element_int(p, rows[i].record.nonce_epoch);
    if ((r = db_run(db, DB_EXPORT_NONCES, &pages)) < 0)
        return r;
    for (size_t i = 0; i < pages.n; i++) {
        struct db_export_nonces read;

        read.row = (size_t)db_row_int(&pages, i, 0, 1, (int64_t)n_rows) - 1;
        read.page = (uint16_t)db_row_int(&pages, i, 1, 0, DB_EXPORT_PAGES - 1);
        db_row_bytes(&pages, i, 2, read.bits, sizeof(read.bits));
        if (n > 0 && ret[n - 1].row == read.row && ret[n - 1].page == read.page)
            for (size_t at = 0; at < sizeof(read.bits); at++)
                ret[n - 1].bits[at] |= read.bits[at];
        else if (n < n_max)
            ret[n++] = read;
        else
            return error_set(ERROR_INTERNAL, "database: more than %zu pages of DevNonces", n);
    }
    *ret_n = n;
    return db_rows_check(&pages);
}

int db_export_advance(struct db *db, struct db_export *export, const struct eui64 *last,
    int64_t n_exported, int64_t n_refused)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, export->job.row_id);
    db_param_int(p, DB_INT4, export->job.turn);
    db_param_int(p, DB_INT8, n_exported);
    db_param_int(p, DB_INT8, n_refused);
    db_param_bytes(p, last->bytes, sizeof(last->bytes));
    if ((r = db_run(db, DB_EXPORT_ADVANCE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    export->job.cancel_wanted = db_row_bool(&rows, 0, 0);
    export->job.line += n_exported + n_refused;
    export->job.counts.exported += n_exported;
    export->job.counts.refused += n_refused;
    export->last = *last;
    export->has_last = true;
    export->n_broken = 0;
    return db_rows_check(&rows);
}

int db_export_expose(
    struct db *db, const struct db_export *export, const struct eui64 *dev_euis, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p;
    int64_t n_marked;
    int r;

    if (n == 0)
        return 0;
    p = db_params_of(db);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, dev_euis[i].bytes, sizeof(dev_euis[i].bytes));
    db_param_int(p, DB_INT8, export->job.organization_id);
    db_param_bytes(p, export->client_id, sizeof(export->client_id));
    db_param_text(p, export->order.request_id);
    db_param_bytes(p, export->job.id, sizeof(export->job.id));
    if ((r = db_run(db, DB_EXPORT_EXPOSE, &rows)) < 0)
        return r;
    n_marked = db_row_int(&rows, 0, 0, 0, INT64_MAX);
    r = db_rows_check(&rows);
    return r < 0 ? r : (size_t)n_marked != n;
}

int db_export_write(struct db *db, const struct db_export *export, const void *bytes, size_t len)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, export->job.row_id);
    db_param_bytes(p, bytes, len);
    return db_run_quiet(db, DB_EXPORT_WRITE);
}

int db_export_end(
    struct db *db, struct db_export *export, enum db_job_state state, const char *fault)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, export->job.row_id);
    db_param_int(p, DB_INT4, export->job.turn);
    db_param_text(p, db_job_state_text(state));
    if (fault != NULL)
        db_param_text(p, fault);
    else
        db_param_null(p, DB_TEXT);
    if ((r = db_run(db, DB_EXPORT_END, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    export->job.state = state;
    return 0;
}

int db_export_put_back(struct db *db, const struct db_export *export, unsigned seconds)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, export->job.row_id);
    db_param_int(p, DB_INT4, export->job.turn);
    db_param_int(p, DB_INT4, seconds);
    db_param_int(p, DB_INT4, export->n_broken);
    return db_run_quiet(db, DB_EXPORT_PUT_BACK);
}

int db_export_read(struct db *db, int64_t job_row_id, int64_t *n, uint8_t *bytes, size_t *ret_len)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job_row_id);
    db_param_int(p, DB_INT4, *n);
    if ((r = db_run(db, DB_EXPORT_READ, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *n = db_row_int(&rows, 0, 0, *n + 1, INT32_MAX);
    *ret_len = db_row_bytes_upto(&rows, 0, 1, bytes, DB_EXPORT_PART_MAX);
    return db_rows_check(&rows);
}

int db_export_format(struct db *db, int64_t job_row_id, enum db_export_format *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    char text[FORMAT_TEXT_MAX];
    int r;

    db_param_int(p, DB_INT8, job_row_id);
    if ((r = db_run(db, DB_EXPORT_FORMAT, &rows)) < 0)
        return r;
    db_row_text(&rows, 0, 0, text, sizeof(text));
    if (!db_export_format_parse(text, ret))
        rows.failed = true;
    return db_rows_check(&rows);
}

int db_export_discard(struct db *db, int64_t job_row_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job_row_id);
    r = db_run(db, DB_EXPORT_DISCARD, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_export_sweep(struct db *db)
{
    (void)db_params_of(db);
    return db_run_quiet(db, DB_EXPORT_SWEEP);
}
