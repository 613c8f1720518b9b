#include "db/order_run.h"

#include "db/job_row.h"
#include <string.h>

#define KIND_TEXT_MAX 8
#define MAC_VERSION_MAX 8

/* clang-format off */
/* In turns, as exports are taken (db/export.c). */
const struct db_statement db_order_run_take_statement = {
    .name = "order_run_take",
    .sql =
        "WITH taken AS (UPDATE job SET state = 'running', turn = turn + 1,"
        "   lease_until = " DB_JOB_LEASE ", changed_at = now(), taken_at = clock_timestamp()"
        "  WHERE id = (SELECT j.id FROM job j WHERE j.kind = 'order'"
        "   AND j.state IN ('waiting', 'running') AND j.lease_until <= now()"
        "   ORDER BY (SELECT max(s.taken_at) FROM job s"
        "    WHERE s.organization_id = j.organization_id AND s.taken_at IS NOT NULL) NULLS FIRST,"
        "   j.taken_at NULLS FIRST, j.id LIMIT 1 FOR UPDATE SKIP LOCKED)"
        "  RETURNING " DB_JOB_COLUMNS ", client_id, batch_id AS of_batch)"
        " SELECT taken.*, o.request_id, g.public_id, c.number, o.device_kind, o.delivery, o.n,"
        "  o.first, o.join_eui, o.mac_version, o.profile_id, o.public_key, o.code_length,"
        "  o.transport_label, o.transport_kek_label, o.transport_blob, o.transport_tag,"
        "  o.transport_kcv, o.transport_text, o.n_broken, (SELECT a.revoked_at IS NOT NULL"
        "   FROM client a WHERE a.id = taken.client_id), o.code_key"
        " FROM taken JOIN batch_order o ON o.batch_id = taken.of_batch"
        "  JOIN certificate c ON c.id = o.module_id"
        "  JOIN organization g ON g.id = taken.organization_id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
};

const struct db_statement db_order_run_begin_statement = {
    .name = "order_run_begin",
    .sql =
        "WITH held AS (UPDATE job SET lease_until = " DB_JOB_LEASE
        "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING batch_id)"
        " UPDATE batch_order o SET transport_label = $3, transport_kek_label = $4,"
        "  transport_blob = $5, transport_tag = $6, transport_kcv = $7, transport_text = $8,"
        "  code_key = $9"
        " FROM held WHERE o.batch_id = held.batch_id AND o.transport_blob IS NULL"
        " RETURNING o.batch_id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 9,
    .params = {DB_INT8, DB_INT4, DB_TEXT, DB_TEXT, DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA,
        DB_INT2},
};

const struct db_statement db_order_run_codes_statement = {
    .name = "order_run_codes",
    .sql = "INSERT INTO claim_code (dev_eui, generation, hash, weak, origin, made_by)"
           " SELECT dev_eui, generation, hash, false, 'made', $4"
           " FROM unnest($1::bytea[], $2::int4[], $3::bytea[]) AS i(dev_eui, generation, hash)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA},
};

const struct db_statement db_order_run_write_statement = {
    .name = "order_run_write",
    .sql = "INSERT INTO delivery_part (batch_id, line, bytes) VALUES ($1, $2, $3)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_BYTEA},
};

const struct db_statement db_order_run_advance_statement = {
    .name = "order_run_advance",
    .sql =
        "WITH moved AS (UPDATE job SET line = line + $4 + $5, n_created = n_created + $4,"
        "   n_refused = n_refused + $5, n_kept = n_kept + $5, digest = $6,"
        "   lease_until = " DB_JOB_LEASE ", changed_at = now()"
        "  WHERE id = $1 AND turn = $2 AND line = $3 AND state = 'running'"
        "  RETURNING batch_id, cancel_wanted),"
        " mark AS (UPDATE batch_order o SET n_broken = 0 FROM moved"
        "  WHERE o.batch_id = moved.batch_id AND o.n_broken <> 0)"
        " SELECT cancel_wanted FROM moved",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_INT8, DB_INT4, DB_INT8, DB_INT8, DB_INT8, DB_BYTEA},
};

/* What is written for files that there will never be is found by its time, as others are. */
const struct db_statement db_order_run_end_statement = {
    .name = "order_run_end",
    .sql =
        "WITH ended AS (UPDATE job SET state = $3, fault = $4, changed_at = now()"
        "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING batch_id)"
        " UPDATE batch_order o SET state = CASE WHEN $3 = 'done' THEN 'ready' ELSE $3 END,"
        "  ready_at = CASE WHEN $3 = 'done' THEN now() END, manifest = $5,"
        "  files_until = now() + make_interval(days => CASE WHEN $3 = 'done'"
        "   THEN " DB_DECIMAL(DB_ORDER_FILES_DAYS) " ELSE 0 END)"
        " FROM ended WHERE o.batch_id = ended.batch_id RETURNING o.batch_id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_INT4, DB_TEXT, DB_TEXT, DB_TEXT},
};

const struct db_statement db_order_run_put_back_statement = {
    .name = "order_run_put_back",
    .sql = "WITH back AS (UPDATE job SET state = 'waiting', changed_at = now(),"
           "   lease_until = now() + make_interval(secs => $3)"
           "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING batch_id)"
           " UPDATE batch_order o SET n_broken = $4 FROM back WHERE o.batch_id = back.batch_id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_INT4, DB_INT4, DB_INT4},
};

/* In DevEUI order, as everybody who locks several devices. Of what has gone further since, or was
 * scrapped, nothing is changed. */
const struct db_statement db_order_run_mark_statement = {
    .name = "order_run_mark",
    .sql =
        "WITH due AS MATERIALIZED (SELECT batch_id, n_marked FROM batch_order"
        "   WHERE delivered_at IS NOT NULL AND n_marked < n"
        "   ORDER BY batch_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED),"
        " ready AS MATERIALIZED (SELECT d.dev_eui FROM due CROSS JOIN LATERAL (SELECT * FROM device"
        "    WHERE batch_id = due.batch_id AND batch_line > due.n_marked"
        "    AND batch_line <= due.n_marked + " DB_DECIMAL(DB_ORDER_MARKED_AT_ONCE) ") d"
        "   WHERE d.credential = 'generated' ORDER BY d.dev_eui FOR NO KEY UPDATE OF d),"
        " marked AS (UPDATE device d SET credential = 'delivered' FROM ready"
        "   WHERE d.dev_eui = ready.dev_eui)"
        " UPDATE batch_order o SET n_marked = least(o.n, o.n_marked"
        "  + " DB_DECIMAL(DB_ORDER_MARKED_AT_ONCE) ") FROM due WHERE o.batch_id = due.batch_id"
        " RETURNING o.batch_id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
};
/* clang-format on */

/* Five columns from `column` on. */
static void read_transport(struct db_rows *rows, int column, struct db_order_run *ret)
{
    struct sealed_kek *kek = &ret->transport;

    kek->peer_kind = PEER_ORGANIZATION;
    kek->kek_class = KEK_CLASS_TRANSPORT;
    ret->has_transport = !db_row_is_null(rows, 0, column + 2);
    if (!ret->has_transport)
        return;
    db_row_text(rows, 0, column, kek->label, sizeof(kek->label));
    db_row_text(rows, 0, column + 1, kek->key.kek_label, sizeof(kek->key.kek_label));
    kek->key.blob_len =
        (uint8_t)db_row_bytes_upto(rows, 0, column + 2, kek->key.blob, sizeof(kek->key.blob));
    db_row_keyed(rows, 0, column + 3, kek->key.tag, &kek->key.tag_version);
    db_row_bytes(rows, 0, column + 4, ret->transport_kcv, sizeof(ret->transport_kcv));
    ret->transport_text_len =
        db_row_bytes_upto(rows, 0, column + 5, ret->transport_text, sizeof(ret->transport_text));
}

static void read_what(struct db_rows *rows, int column, struct db_order_run *ret)
{
    char text[KIND_TEXT_MAX], version[MAC_VERSION_MAX];

    db_row_text(rows, 0, column++, text, sizeof(text));
    ret->is_sigfox = text[0] == 's';
    db_row_text(rows, 0, column++, text, sizeof(text));
    ret->is_legacy = text[0] == 'l';
    ret->n = db_row_int(rows, 0, column++, 1, INT64_MAX);
    db_row_bytes(rows, 0, column++, ret->first.bytes, sizeof(ret->first.bytes));
    if (!ret->is_sigfox) {
        db_row_bytes(rows, 0, column, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
        db_row_text(rows, 0, column + 1, version, sizeof(version));
        if (!lw_mac_version_parse(version, &ret->mac_version))
            rows->failed = true;
    }
    column += 2;
    if (!db_row_is_null(rows, 0, column))
        db_row_bytes(rows, 0, column, ret->profile, sizeof(ret->profile));
    db_row_text(rows, 0, ++column, ret->public_key, sizeof(ret->public_key));
    ret->code_length = (unsigned)db_row_int(rows, 0, ++column, 1, UINT8_MAX);
}

int db_order_run_take(struct db *db, struct db_order_run *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int column = DB_JOB_N_COLUMNS, r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_ORDER_RUN_TAKE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret = (struct db_order_run){0};
    db_job_read(&rows, 0, &ret->job);
    db_row_bytes(&rows, 0, column, ret->client_id, sizeof(ret->client_id));
    column += 2; /* and the batch, which the job knows */
    db_row_text(&rows, 0, column++, ret->request_id, sizeof(ret->request_id));
    db_row_bytes(&rows, 0, column++, ret->organization, sizeof(ret->organization));
    db_row_text(&rows, 0, column++, ret->module, sizeof(ret->module));
    read_what(&rows, column, ret);
    column += 9;
    read_transport(&rows, column, ret);
    column += 6;
    ret->n_broken = db_row_int(&rows, 0, column++, 0, INT32_MAX);
    ret->is_revoked = db_row_bool(&rows, 0, column++);
    ret->code_key = (unsigned)db_row_int(&rows, 0, column, 1, KEYED_VERSION_MAX);
    return db_rows_check(&rows);
}

int db_order_run_begin(struct db *db, const struct db_order_run *run)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    const struct sealed_kek *kek = &run->transport;
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, run->job.row_id);
    db_param_int(p, DB_INT4, run->job.turn);
    db_param_text(p, kek->label);
    db_param_text(p, kek->key.kek_label);
    db_param_bytes(p, kek->key.blob, kek->key.blob_len);
    db_param_keyed(p, kek->key.tag, kek->key.tag_version);
    db_param_bytes(p, run->transport_kcv, sizeof(run->transport_kcv));
    db_param_bytes(p, run->transport_text, run->transport_text_len);
    db_param_int(p, DB_INT2, run->code_key);
    r = db_run(db, DB_ORDER_RUN_BEGIN, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_order_run_codes(struct db *db, const struct db_code *codes, size_t n,
    const uint8_t made_by[static DB_CODE_CALL_LEN])
{
    struct db_params *p = db_params_of(db);

    if (n == 0)
        return 0;
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, codes[i].dev_eui.bytes, sizeof(codes[i].dev_eui.bytes));
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, codes[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, codes[i].hash, codes[i].version);
    db_param_bytes(p, made_by, DB_CODE_CALL_LEN);
    return db_run_quiet(db, DB_ORDER_RUN_CODES);
}

int db_order_run_write(
    struct db *db, const struct db_order_run *run, int64_t line, const void *bytes, size_t len)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, run->job.batch_id);
    db_param_int(p, DB_INT8, line);
    db_param_bytes(p, bytes, len);
    return db_run_quiet(db, DB_ORDER_RUN_WRITE);
}

int db_order_run_advance(struct db *db, struct db_order_run *run, int64_t n_created,
    int64_t n_refused, const uint8_t digest[static DB_JOB_DIGEST_LEN])
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    struct db_job *job = &run->job;
    int r;

    db_param_int(p, DB_INT8, job->row_id);
    db_param_int(p, DB_INT4, job->turn);
    db_param_int(p, DB_INT8, job->line);
    db_param_int(p, DB_INT8, n_created);
    db_param_int(p, DB_INT8, n_refused);
    db_param_bytes(p, digest, DB_JOB_DIGEST_LEN);
    if ((r = db_run(db, DB_ORDER_RUN_ADVANCE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    job->cancel_wanted = db_row_bool(&rows, 0, 0);
    job->line += n_created + n_refused;
    job->counts.created += n_created;
    job->counts.refused += n_refused;
    job->counts.kept += n_refused;
    job->has_digest = true;
    memcpy(job->digest, digest, sizeof(job->digest));
    run->n_broken = 0;
    return db_rows_check(&rows);
}

static void put_text_or_null(struct db_params *p, const char *text)
{
    if (text != NULL)
        db_param_text(p, text);
    else
        db_param_null(p, DB_TEXT);
}

int db_order_run_end(struct db *db, struct db_order_run *run, enum db_job_state state,
    const char *fault, const char *manifest)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, run->job.row_id);
    db_param_int(p, DB_INT4, run->job.turn);
    db_param_text(p, db_job_state_text(state));
    put_text_or_null(p, fault);
    put_text_or_null(p, manifest);
    if ((r = db_run(db, DB_ORDER_RUN_END, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    run->job.state = state;
    if (state != JOB_DONE)
        return 0;
    return db_batch_finish(
        db, run->job.batch_id, (size_t)run->job.counts.created, (size_t)run->job.counts.refused);
}

int db_order_run_put_back(struct db *db, const struct db_order_run *run, unsigned seconds)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, run->job.row_id);
    db_param_int(p, DB_INT4, run->job.turn);
    db_param_int(p, DB_INT4, seconds);
    db_param_int(p, DB_INT4, run->n_broken);
    return db_run_quiet(db, DB_ORDER_RUN_PUT_BACK);
}

int db_order_run_mark(struct db *db)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    r = db_run(db, DB_ORDER_RUN_MARK, &rows);
    return r < 0 ? r : rows.n == 0;
}
