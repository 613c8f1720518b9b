#include "db/job.h"

#include "db/batch.h"
#include "db/job_row.h"
#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {
    [JOB_IMPORT] = "import",
    [JOB_DRY_RUN] = "dry_run",
    [JOB_EXPORT] = "export",
    [JOB_MOVE] = "move",
    [JOB_ORDER] = "order",
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const char *const states[] = {
    [JOB_RUNNING] = "running",
    [JOB_INTERRUPTED] = "interrupted",
    [JOB_DONE] = "done",
    [JOB_FAILED] = "failed",
    [JOB_CANCELLED] = "cancelled",
    [JOB_WAITING] = "waiting",
};
#define N_STATES (sizeof(states) / sizeof(states[0]))
#define WORD_MAX 16
#define MOVE_TEXT_MAX 16

static const char *const outcomes[] = {"created", "exists", "refused", "moved"};
#define OUTCOME_TEXT_MAX 8

/* Without a key nobody comes again, and there is nothing to compare with. */
#define KEPT(digest) "CASE WHEN idempotency_key IS NOT NULL THEN " digest " END"

const struct db_statement db_job_add_statement = {
    .name = "job_add",
    .sql = "INSERT INTO job (organization_id, client_id, kind, state, idempotency_key, fingerprint,"
           "  batch_id, lease_until, turn)"
           " VALUES ($1, $2, CASE WHEN $3 THEN 'dry_run' ELSE 'import' END, 'running', $4, $5,"
           "  nullif($6, 0), " DB_JOB_LEASE ", 1) RETURNING " DB_JOB_COLUMNS,
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_INT8, DB_BYTEA, DB_BOOL, DB_TEXT, DB_BYTEA, DB_INT8},
};

const struct db_statement db_job_call_statement = {
    .name = "job_call",
    .sql = "SELECT " DB_JOB_COLUMNS ", fingerprint,"
           "  greatest(1, ceil(extract(epoch FROM lease_until - now())))::int8 FROM job"
           " WHERE client_id = $1 AND idempotency_key = $2",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_TEXT},
};

const struct db_statement db_job_resume_statement = {
    .name = "job_resume",
    .sql =
        "UPDATE job SET state = 'running', fault = NULL, turn = turn + 1,"
        "  lease_until = " DB_JOB_LEASE ", changed_at = now() WHERE id = $1"
        " AND report_deleted_at IS NULL AND (state = 'interrupted' OR (state = 'failed' AND line = 0)"
        "  OR (state = 'running' AND lease_until < now())) RETURNING " DB_JOB_COLUMNS,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_job_advance_statement = {
    .name = "job_advance",
    .sql = "UPDATE job SET line = $4, digest = " KEPT(
        "$5") ", n_created = n_created + $6,"
              "  n_exists = n_exists + $7, n_refused = n_refused + $8, n_warned = n_warned + $9,"
              "  n_kept = n_kept + $10,"
              "  lease_until = " DB_JOB_LEASE ", changed_at = now()"
              " WHERE id = $1 AND turn = $2 AND line = $3 AND state = 'running'"
              " RETURNING cancel_wanted",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 10,
    .params = {DB_INT8, DB_INT4, DB_INT8, DB_INT8, DB_BYTEA, DB_INT8, DB_INT8, DB_INT8, DB_INT8,
        DB_INT8},
};

const struct db_statement db_job_renew_statement = {
    .name = "job_renew",
    .sql = "UPDATE job SET lease_until = " DB_JOB_LEASE
           " WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING cancel_wanted",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_INT4},
};

const struct db_statement db_job_find_statement = {
    .name = "job_find",
    .sql = "SELECT " DB_JOB_COLUMNS " FROM job WHERE public_id = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

const struct db_statement db_job_end_statement = {
    .name = "job_end",
    .sql =
        "UPDATE job SET fault = $4, state = CASE WHEN $3 = 'interrupted' AND cancel_wanted"
        "   THEN 'cancelled' ELSE $3 END,"
        "  digest = " KEPT(
            "coalesce($5, digest)") ", changed_at = now() WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING state",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_INT4, DB_TEXT, DB_TEXT, DB_BYTEA},
};

const struct db_statement db_job_cancel_statement = {
    .name = "job_cancel",
    .sql =
        "WITH told AS (UPDATE job SET cancel_wanted = true, state = CASE WHEN state = 'running'"
        "   AND lease_until >= now() THEN state ELSE 'cancelled' END, changed_at = now()"
        "  WHERE id = $1 AND state IN ('waiting', 'running', 'interrupted') RETURNING id, state, batch_id),"
        " gone AS (DELETE FROM job_part p USING told WHERE p.job_id = told.id"
        "  AND told.state = 'cancelled'),"
        " unlisted AS (DELETE FROM move_device d USING told WHERE d.job_id = told.id"
        "  AND told.state = 'cancelled'),"
        " unordered AS (UPDATE batch_order o SET state = 'cancelled' FROM told"
        "  WHERE o.batch_id = told.batch_id AND o.state = 'approved' AND told.state = 'cancelled')"
        " SELECT id FROM told",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_job_sweep_statement = {
    .name = "job_sweep",
    .sql = "WITH over AS (UPDATE job SET changed_at = now(),"
           "   state = CASE WHEN cancel_wanted THEN 'cancelled' ELSE 'interrupted' END,"
           "   fault = 'who worked on it is gone'"
           "  WHERE state = 'running' AND lease_until < now() AND kind IN ('import', 'dry_run')"
           "  RETURNING *)"
           " INSERT INTO audit_event (organization_id, request_id, action, object, detail)"
           " SELECT organization_id, format('lease-%s-%s', id, turn), 'import.interrupt',"
           "  encode(public_id, 'hex'), jsonb_build_object('state', state, 'line', line,"
           "  'created', n_created, 'exists', n_exists, 'refused', n_refused)"
           " FROM over WHERE kind = 'import'",
    .shape = DB_SHAPE_MANY,
    .commits = true,
};

const struct db_statement db_job_list_statement = {
    .name = "job_list",
    .sql = "SELECT " DB_JOB_COLUMNS " FROM job WHERE ($1 = 0 OR organization_id = $1)"
           " AND id > coalesce((SELECT a.id FROM job a WHERE a.public_id = $2), 0)"
           " ORDER BY id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_INT8},
};

const struct db_statement db_job_look_statement = {
    .name = "job_look",
    .sql = "SELECT " DB_JOB_COLUMNS " FROM job WHERE public_id = ANY ($1)",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

const struct db_statement db_job_rows_add_statement = {
    .name = "job_rows_add",
    .sql = "INSERT INTO job_row (job_id, line, dev_eui, outcome, lints)"
           " SELECT $1, i.* FROM unnest($2::int8[], $3::bytea[], $4::text[], $5::int8[])"
           "  AS i",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_INT8_ARRAY},
};

/* Each half in the order of its index, as many as can be wanted; a row that is kept is said by what
 * is kept of it. */
const struct db_statement db_job_report_statement = {
    .name = "job_report",
    .sql = "SELECT line, dev_eui, outcome, lints FROM ("
           " (SELECT line, dev_eui, outcome, lints FROM job_row"
           "  WHERE job_id = $1 AND line > $3 ORDER BY line LIMIT $4)"
           " UNION ALL"
           " (SELECT d.batch_line, d.dev_eui, 'created', 0 FROM device d"
           "  WHERE d.batch_id = $2 AND d.batch_line > $3 AND NOT EXISTS (SELECT FROM job_row r"
           "   WHERE r.job_id = $1 AND r.line = d.batch_line) ORDER BY d.batch_line LIMIT $4)) u"
           " ORDER BY line LIMIT $4",
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_INT8, DB_INT8, DB_INT8, DB_INT8},
};

const char *db_job_state_text(enum db_job_state state)
{
    return states[state];
}

const char *db_job_kind_text(enum db_job_kind kind)
{
    return kinds[kind];
}

/* The index of the column's word. */
static size_t read_word(
    struct db_rows *rows, size_t row, int column, const char *const *words, size_t n_words)
{
    char text[WORD_MAX];

    db_row_text(rows, row, column, text, sizeof(text));
    for (size_t i = 0; i < n_words; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    rows->failed = true;
    return 0;
}

static enum device_move read_move(struct db_rows *rows, size_t row, int column)
{
    char text[MOVE_TEXT_MAX];
    enum device_move move = N_DEVICE_MOVES;

    db_row_text(rows, row, column, text, sizeof(text));
    if (!device_move_parse(text, &move))
        rows->failed = true;
    return move;
}

void db_job_read(struct db_rows *rows, size_t row, struct db_job *ret)
{
    *ret = (struct db_job){0};
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    ret->organization_id = db_row_int(rows, row, 2, 1, INT64_MAX);
    ret->kind = (enum db_job_kind)read_word(rows, row, 3, kinds, N_KINDS);
    ret->dry_run = ret->kind == JOB_DRY_RUN;
    ret->state = (enum db_job_state)read_word(rows, row, 4, states, N_STATES);
    ret->batch_id = db_row_int(rows, row, 5, 0, INT64_MAX);
    ret->line = db_row_int(rows, row, 6, 0, INT64_MAX);
    ret->counts.created = db_row_int(rows, row, 7, 0, INT64_MAX);
    ret->counts.exists = db_row_int(rows, row, 8, 0, INT64_MAX);
    ret->counts.refused = db_row_int(rows, row, 9, 0, INT64_MAX);
    ret->counts.warned = db_row_int(rows, row, 10, 0, INT64_MAX);
    db_row_text(rows, row, 11, ret->fault, sizeof(ret->fault));
    ret->cancel_wanted = db_row_bool(rows, row, 12);
    db_row_text(rows, row, 13, ret->created, sizeof(ret->created));
    db_row_text(rows, row, 14, ret->changed, sizeof(ret->changed));
    ret->counts.exported = db_row_int(rows, row, 15, 0, INT64_MAX);
    db_row_text(rows, row, 16, ret->result_until, sizeof(ret->result_until));
    if (ret->batch_id != 0)
        db_row_bytes(rows, row, 17, ret->batch, sizeof(ret->batch));
    ret->turn = db_row_int(rows, row, 18, 0, INT32_MAX);
    ret->has_digest = !db_row_is_null(rows, row, 19);
    if (ret->has_digest)
        db_row_bytes(rows, row, 19, ret->digest, sizeof(ret->digest));
    ret->counts.kept = db_row_int(rows, row, 20, 0, INT64_MAX);
    ret->report_deleted = db_row_bool(rows, row, 21);
    ret->counts.moved = db_row_int(rows, row, 22, 0, INT64_MAX);
    ret->has_n_rows = !db_row_is_null(rows, row, 23);
    if (ret->has_n_rows)
        ret->n_rows = db_row_int(rows, row, 23, 0, INT64_MAX);
    if (ret->kind == JOB_MOVE)
        ret->move = read_move(rows, row, 24);
}

static void put_text_or_null(struct db_params *p, const char *text)
{
    if (text != NULL)
        db_param_text(p, text);
    else
        db_param_null(p, DB_TEXT);
}

static int add(struct db *db, const struct db_job_call *call, struct db_job *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p;
    int64_t batch_id = 0;
    int r;

    if (!call->dry_run &&
        (r = db_batch_begin(db, call->organization_id, call->format, &batch_id)) < 0)
        return r;
    p = db_params_of(db);
    db_param_int(p, DB_INT8, call->organization_id);
    db_param_bytes(p, call->client_id, ACCOUNT_ID_LEN);
    db_param_int(p, DB_BOOL, call->dry_run);
    put_text_or_null(p, call->key);
    db_param_bytes(p, call->fingerprint, sizeof(call->fingerprint));
    db_param_int(p, DB_INT8, batch_id);
    if ((r = db_run(db, DB_JOB_ADD, &rows)) < 0)
        return r;
    db_job_read(&rows, 0, ret);
    return db_rows_check(&rows);
}

static int resume(struct db *db, struct db_job *job)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    char fault[sizeof(job->fault)];
    int r;

    memcpy(fault, job->fault, sizeof(fault));
    db_param_int(p, DB_INT8, job->row_id);
    if ((r = db_run(db, DB_JOB_RESUME, &rows)) < 0)
        return r;
    if (rows.n == 0)
        return DB_JOB_BUSY;
    db_job_read(&rows, 0, job);
    memcpy(job->fault, fault, sizeof(job->fault));
    return db_rows_check(&rows);
}

int db_job_take(
    struct db *db, const struct db_job_call *call, struct db_job *ret, int64_t *ret_busy_s)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    uint8_t fingerprint[sizeof(call->fingerprint)];
    struct db_params *p;
    int r;

    if (call->key == NULL)
        return add(db, call, ret);
    p = db_params_of(db);
    db_param_bytes(p, call->client_id, ACCOUNT_ID_LEN);
    db_param_text(p, call->key);
    if ((r = db_run(db, DB_JOB_CALL, &rows)) < 0)
        return r;
    if (rows.n == 0)
        return add(db, call, ret); /* two at once: the second fails, and may try again */
    db_job_read(&rows, 0, ret);
    db_row_bytes(&rows, 0, DB_JOB_N_COLUMNS, fingerprint, sizeof(fingerprint));
    *ret_busy_s = db_row_int(&rows, 0, DB_JOB_N_COLUMNS + 1, 1, INT64_MAX);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    if (memcmp(fingerprint, call->fingerprint, sizeof(fingerprint)) != 0)
        return DB_JOB_OTHER_CALL;
    if (ret->state == JOB_DONE || ret->state == JOB_CANCELLED)
        return 0;
    if ((ret->state == JOB_FAILED && ret->line > 0) || ret->report_deleted)
        return DB_JOB_OVER;
    return resume(db, ret);
}

int db_job_advance(struct db *db, struct db_job *job, int64_t line,
    const uint8_t digest[static DB_JOB_DIGEST_LEN], const struct db_job_counts *added)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job->row_id);
    db_param_int(p, DB_INT4, job->turn);
    db_param_int(p, DB_INT8, job->line);
    db_param_int(p, DB_INT8, line);
    db_param_bytes(p, digest, DB_JOB_DIGEST_LEN);
    db_param_int(p, DB_INT8, added->created);
    db_param_int(p, DB_INT8, added->exists);
    db_param_int(p, DB_INT8, added->refused);
    db_param_int(p, DB_INT8, added->warned);
    db_param_int(p, DB_INT8, added->kept);
    if ((r = db_run(db, DB_JOB_ADVANCE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    job->cancel_wanted = db_row_bool(&rows, 0, 0);
    job->line = line;
    job->has_digest = true;
    memcpy(job->digest, digest, sizeof(job->digest));
    job->counts.created += added->created;
    job->counts.exists += added->exists;
    job->counts.refused += added->refused;
    job->counts.warned += added->warned;
    job->counts.kept += added->kept;
    return db_rows_check(&rows);
}

int db_job_renew(struct db *db, struct db_job *job)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job->row_id);
    db_param_int(p, DB_INT4, job->turn);
    if ((r = db_run(db, DB_JOB_RENEW, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    job->cancel_wanted = db_row_bool(&rows, 0, 0);
    return db_rows_check(&rows);
}

int db_job_sweep(struct db *db)
{
    (void)db_params_of(db);
    return db_run_quiet(db, DB_JOB_SWEEP);
}

int db_job_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_job *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    if ((r = db_run(db, DB_JOB_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    db_job_read(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_job_end(struct db *db, struct db_job *job, enum db_job_state state, const char *fault,
    const uint8_t *digest)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job->row_id);
    db_param_int(p, DB_INT4, job->turn);
    db_param_text(p, states[state]);
    put_text_or_null(p, fault);
    if (digest != NULL)
        db_param_bytes(p, digest, DB_JOB_DIGEST_LEN);
    else
        db_param_null(p, DB_BYTEA);
    if ((r = db_run(db, DB_JOB_END, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    job->state = (enum db_job_state)read_word(&rows, 0, 0, states, N_STATES);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    (void)snprintf(job->fault, sizeof(job->fault), "%s", fault != NULL ? fault : "");
    if (state != JOB_DONE || job->batch_id == 0)
        return 0;
    return db_batch_finish(
        db, job->batch_id, (size_t)job->counts.created, (size_t)job->counts.refused);
}

int db_job_cancel(struct db *db, const struct db_job *job)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job->row_id);
    r = db_run(db, DB_JOB_CANCEL, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_job_list(struct db *db, int64_t organization_id, const uint8_t *after, struct db_job *ret,
    size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    if (after != NULL)
        db_param_bytes(p, after, ACCOUNT_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_JOB_LIST, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        db_job_read(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_job_look(struct db *db, const uint8_t (*ids)[ACCOUNT_ID_LEN], size_t n, struct db_job *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, ids[i], ACCOUNT_ID_LEN);
    if ((r = db_run(db, DB_JOB_LOOK, &rows)) < 0)
        return r;
    memset(ret, 0, n * sizeof(*ret));
    for (size_t row = 0; row < rows.n; row++) {
        struct db_job job;

        db_job_read(&rows, row, &job);
        for (size_t i = 0; i < n; i++)
            if (memcmp(ids[i], job.id, ACCOUNT_ID_LEN) == 0)
                ret[i] = job;
    }
    return db_rows_check(&rows);
}

int db_job_listen(struct db *db, bool for_work)
{
    return db_listen(db, for_work ? "cradle_work" : "cradle_job");
}

int db_job_wait(struct db *db, int timeout_ms)
{
    return db_wait(db, timeout_ms);
}

int db_job_rows_add(struct db *db, int64_t job_row_id, const struct db_job_row *rows, size_t n)
{
    struct db_params *p = db_params_of(db);

    if (n == 0)
        return 0;
    db_param_int(p, DB_INT8, job_row_id);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i].line);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].has_dev_eui)
            db_element_bytes(p, rows[i].dev_eui.bytes, sizeof(rows[i].dev_eui.bytes));
        else
            db_element_null(p);
    }
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, rows[i].outcome);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, (int64_t)rows[i].lints);
    return db_run_quiet(db, DB_JOB_ROWS_ADD);
}

static const char *read_outcome(struct db_rows *rows, size_t row)
{
    char text[OUTCOME_TEXT_MAX];

    db_row_text(rows, row, 2, text, sizeof(text));
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
        if (strcmp(outcomes[i], text) == 0)
            return outcomes[i];
    rows->failed = true;
    return "";
}

int db_job_report(struct db *db, const struct db_job *job, int64_t after, struct db_job_row *ret,
    size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job->row_id);
    db_param_int(p, DB_INT8, job->batch_id);
    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_JOB_REPORT, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        ret[i] = (struct db_job_row){0};
        ret[i].line = db_row_int(&rows, i, 0, 1, INT64_MAX);
        ret[i].has_dev_eui = !db_row_is_null(&rows, i, 1);
        if (ret[i].has_dev_eui)
            db_row_bytes(&rows, i, 1, ret[i].dev_eui.bytes, sizeof(ret[i].dev_eui.bytes));
        ret[i].outcome = read_outcome(&rows, i);
        ret[i].lints = (uint64_t)db_row_int(&rows, i, 3, INT64_MIN, INT64_MAX);
    }
    return db_rows_check(&rows);
}
