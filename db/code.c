#include "db/code.h"

#include "db/connection.h"
#include <string.h>

/* The number of an advisory lock for a batch or a job. */
#define LOCK "hashtextextended('claim codes of ' || $1 || ' ' || $2, 0)"

const struct db_statement db_code_give_statement = {
    .name = "code_give",
    .sql = "INSERT INTO claim_code (dev_eui, generation, hash, weak, origin)"
           " SELECT dev_eui, generation, hash, weak, 'given'"
           " FROM unnest($1::bytea[], $2::int4[], $3::bytea[], $4::bool[])"
           "  AS i(dev_eui, generation, hash, weak)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BOOL_ARRAY},
};

/* What was tried before there was such a device says nothing of it. */
const struct db_statement db_code_forgive_statement = {
    .name = "code_forgive",
    .sql = "DELETE FROM claim_limit WHERE scope = 2 AND subject = ANY($1)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

const struct db_statement db_code_begin_statement = {
    .name = "code_begin",
    .sql = "SELECT pg_try_advisory_lock(" LOCK ")",
    .shape = DB_SHAPE_ONE,
    .n_params = 2,
    .params = {DB_TEXT, DB_INT8},
};

const struct db_statement db_code_end_statement = {
    .name = "code_end",
    .sql = "SELECT pg_advisory_unlock(" LOCK ")",
    .shape = DB_SHAPE_ONE,
    .n_params = 2,
    .params = {DB_TEXT, DB_INT8},
};

/* A device that was handed over is not its batch's maker's any more.
 * Line by line, whatever is due: a batch where little is costs no more at once than another. */
const struct db_statement db_code_walk_statement = {
    .name = "code_walk",
    .sql = "SELECT d.dev_eui, d.batch_line, d.serial, coalesce(c.generation, 0),"
           "  d.ownership = 'unowned' AND d.organization_id = (SELECT organization_id FROM batch"
           "   WHERE id = $1) AND (c.dev_eui IS NULL"
           "   OR (c.origin = 'made' AND (c.made_by = $2 OR $3))), d.join_eui"
           " FROM (SELECT dev_eui, batch_line, serial, ownership, organization_id, join_eui"
           "  FROM device"
           "  WHERE batch_id = $1 AND batch_line > $4 ORDER BY batch_line LIMIT $5) d"
           " LEFT JOIN claim_code c ON c.dev_eui = d.dev_eui ORDER BY d.batch_line",
    .shape = DB_SHAPE_MANY,
    .n_params = 5,
    .params = {DB_INT8, DB_BYTEA, DB_BOOL, DB_INT8, DB_INT8},
};

/* Devices are locked first, in DevEUI order: a claim that changes one comes before, and its device
 * is left out, or behind, and finds the new code. */
const struct db_statement db_code_make_statement = {
    .name = "code_make",
    .sql = "WITH input AS MATERIALIZED ("
           "  SELECT * FROM unnest($1::bytea[], $2::int4[], $3::bytea[]) WITH ORDINALITY"
           "   AS i(dev_eui, generation, hash, ordinal)),"
           " free AS MATERIALIZED (SELECT d.dev_eui FROM device d JOIN input i USING (dev_eui)"
           "  WHERE d.ownership = 'unowned' AND d.organization_id = (SELECT b.organization_id"
           "   FROM batch b WHERE b.id = d.batch_id)"
           "  ORDER BY d.dev_eui FOR NO KEY UPDATE OF d),"
           " stored AS ("
           "  INSERT INTO claim_code AS c (dev_eui, generation, hash, weak, origin, made_by)"
           "  SELECT dev_eui, generation, hash, false, 'made', $4"
           "   FROM input JOIN free USING (dev_eui) ORDER BY dev_eui"
           "  ON CONFLICT (dev_eui) DO UPDATE SET generation = excluded.generation,"
           "   hash = excluded.hash, weak = excluded.weak, made_by = excluded.made_by,"
           "   issued_at = excluded.issued_at"
           "   WHERE c.generation = excluded.generation - 1 AND c.origin = 'made'"
           "  RETURNING dev_eui)"
           " SELECT ordinal::int4 FROM input JOIN stored USING (dev_eui)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA},
};

/* Whose new code is the organization's ($5) to have: its owner's, and for a while of who released
 * it.
 */
#define ITS_TO_HAVE                                                                                \
    "((d.owner_id = $5 AND d.ownership = 'claimed')"                                               \
    " OR (d.ownership = 'unowned' AND c.released_by = $5"                                          \
    "  AND c.released_at > now() - make_interval(days => " DB_DECIMAL(DB_CODE_REISSUE_DAYS) ")))"

const struct db_statement db_code_walk_job_statement = {
    .name = "code_walk_job",
    .sql = "SELECT r.dev_eui, r.line, d.serial, coalesce(c.generation, 0),"
           "  coalesce(" ITS_TO_HAVE " AND ($3 OR c.made_by IN ($2, $4)), false), d.join_eui"
           " FROM (SELECT dev_eui, line FROM job_row WHERE job_id = $1 AND line > $6"
           "  AND outcome = 'moved' ORDER BY line LIMIT $7) r"
           " JOIN device d ON d.dev_eui = r.dev_eui"
           " LEFT JOIN claim_code c ON c.dev_eui = r.dev_eui ORDER BY r.line",
    .shape = DB_SHAPE_MANY,
    .n_params = 7,
    .params = {DB_INT8, DB_BYTEA, DB_BOOL, DB_BYTEA, DB_INT8, DB_INT8, DB_INT8},
};

/* Locks in the order that those of a batch do. Who has the device by now has a code of another
 * generation. */
const struct db_statement db_code_make_job_statement = {
    .name = "code_make_job",
    .sql = "WITH input AS MATERIALIZED ("
           "  SELECT * FROM unnest($1::bytea[], $2::int4[], $3::bytea[]) WITH ORDINALITY"
           "   AS i(dev_eui, generation, hash, ordinal)),"
           " free AS MATERIALIZED (SELECT i.* FROM input i JOIN device d ON d.dev_eui = i.dev_eui"
           "  JOIN claim_code c ON c.dev_eui = i.dev_eui"
           "  WHERE c.generation = i.generation - 1 AND " ITS_TO_HAVE
           "  ORDER BY d.dev_eui FOR NO KEY UPDATE OF d, c)"
           " UPDATE claim_code c SET generation = f.generation, hash = f.hash, weak = false,"
           "  origin = 'claimed', made_by = $4, issued_at = now()"
           "  FROM free f WHERE c.dev_eui = f.dev_eui RETURNING f.ordinal::int4",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA, DB_INT8},
};

static void put_codes(struct db_params *p, const struct db_code *codes, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, codes[i].dev_eui.bytes, sizeof(codes[i].dev_eui.bytes));
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, codes[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, codes[i].hash, codes[i].version);
}

/* Only weak codes are ever locked. */
static int forgive_weak(struct db *db, const struct db_code *codes, size_t n)
{
    struct db_params *p = db_params_of(db);
    size_t n_weak = 0;

    for (size_t i = 0; i < n; i++)
        n_weak += codes[i].weak;
    if (n_weak == 0)
        return 0;
    db_param_array(p, DB_BYTEA_ARRAY, n_weak);
    for (size_t i = 0; i < n; i++)
        if (codes[i].weak)
            db_element_bytes(p, codes[i].dev_eui.bytes, sizeof(codes[i].dev_eui.bytes));
    return db_run_quiet(db, DB_CODE_FORGIVE);
}

int db_code_give(struct db *db, const struct db_code *codes, size_t n)
{
    struct db_params *p = db_params_of(db);
    int r;

    if (n == 0)
        return 0;
    put_codes(p, codes, n);
    db_param_array(p, DB_BOOL_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, codes[i].weak);
    r = db_run_quiet(db, DB_CODE_GIVE);
    return r < 0 ? r : forgive_weak(db, codes, n);
}

/* What the call has taken. */
static void put_lock(struct db_params *p, const struct db_code_call *call)
{
    bool of_batch = call->batch_id != 0;

    db_param_text(p, of_batch ? "batch" : "job");
    db_param_int(p, DB_INT8, of_batch ? call->batch_id : call->job_id);
}

int db_code_begin(struct db *db, struct db_code_call *call)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    bool taken;
    int r;

    put_lock(db_params_of(db), call);
    if ((r = db_run(db, DB_CODE_BEGIN, &rows)) < 0)
        return r;
    taken = db_row_bool(&rows, 0, 0);
    call->session = db->backend.pid;
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return taken ? 0 : 1;
}

void db_code_end(struct db *db, const struct db_code_call *call)
{
    /* Another session never had it. */
    if (db->conn == NULL || db->backend.pid != call->session)
        return;
    put_lock(db_params_of(db), call);
    if (db_run_quiet(db, DB_CODE_END) < 0)
        db_drop(db);
}

int db_code_walk(struct db *db, const struct db_code_call *call, int64_t after,
    struct db_code_device *ret, size_t n_max, size_t *ret_n)
{
    bool of_batch = call->batch_id != 0;
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, of_batch ? call->batch_id : call->job_id);
    db_param_bytes(p, call->made_by, sizeof(call->made_by));
    db_param_int(p, DB_BOOL, call->renew);
    if (!of_batch) {
        db_param_bytes(p, call->untold_by, sizeof(call->untold_by));
        db_param_int(p, DB_INT8, call->organization_id);
    }
    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, of_batch ? DB_CODE_WALK : DB_CODE_WALK_JOB, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        ret[i] = (struct db_code_device){0};
        db_row_bytes(&rows, i, 0, ret[i].dev_eui.bytes, sizeof(ret[i].dev_eui.bytes));
        ret[i].line = db_row_int(&rows, i, 1, 1, INT64_MAX);
        db_row_text(&rows, i, 2, ret[i].serial, sizeof(ret[i].serial));
        ret[i].generation = (uint32_t)db_row_int(&rows, i, 3, 0, INT32_MAX - 1);
        ret[i].due = db_row_bool(&rows, i, 4);
        ret[i].has_join_eui = !db_row_is_null(&rows, i, 5);
        if (ret[i].has_join_eui)
            db_row_bytes(&rows, i, 5, ret[i].join_eui.bytes, sizeof(ret[i].join_eui.bytes));
    }
    return db_rows_check(&rows);
}

int db_code_make(struct db *db, const struct db_code_call *call, const struct db_code *codes,
    size_t n, bool *ret_stored)
{
    bool of_batch = call->batch_id != 0;
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    memset(ret_stored, 0, n * sizeof(*ret_stored));
    put_codes(p, codes, n);
    db_param_bytes(p, call->made_by, sizeof(call->made_by));
    if (!of_batch)
        db_param_int(p, DB_INT8, call->organization_id);
    if ((r = db_run(db, of_batch ? DB_CODE_MAKE : DB_CODE_MAKE_JOB, &rows)) < 0)
        return r;
    if (db->backend.pid != call->session)
        return error_set(ERROR_DB, "database: the session that had the codes has ended");
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        if (ordinal > 0)
            ret_stored[ordinal - 1] = true;
    }
    return db_rows_check(&rows);
}
