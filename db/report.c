#include "db/report.h"

#include "db/job_row.h"

const struct db_statement db_report_kept_statement = {
    .name = "report_kept",
    .sql = "SELECT coalesce(sum(n_kept), 0)::int8 FROM job"
           " WHERE organization_id = $1 AND n_kept > 0",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_INT8},
};

#define NOBODY_CAME "nobody went on with it in time"

/* Somebody may work on a job that is old: its lease says so. An export or a move that waits has a
 * service to wait for. */
const struct db_statement db_report_expire_statement = {
    .name = "report_expire",
    .sql = "WITH old AS (UPDATE job SET report_deleted_at = now(),"
           "  fault = CASE WHEN state IN ('running', 'interrupted')"
           "   THEN '" NOBODY_CAME "' ELSE fault END,"
           "  state = CASE WHEN state IN ('running', 'interrupted') THEN 'failed' ELSE state END"
           " WHERE id IN (SELECT j.id FROM job j WHERE j.kind = $1 AND j.report_deleted_at IS NULL"
           "  AND j.created_at < now() - make_interval(days => $2)"
           "  AND j.changed_at < now() - make_interval(days => $2) AND j.lease_until < now()"
           "  AND (j.kind IN ('import', 'dry_run') OR j.state NOT IN ('waiting', 'running'))"
           "  ORDER BY j.created_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING *),"
           " told AS (INSERT INTO audit_event (organization_id, request_id, action, object, detail)"
           "  SELECT organization_id, format('expired-%s', id), 'import.end',"
           "   encode(public_id, 'hex'), jsonb_build_object('state', state, 'line', line,"
           "   'created', n_created, 'exists', n_exists, 'refused', n_refused)"
           "  FROM old WHERE kind = 'import' AND fault = '" NOBODY_CAME "')"
           " SELECT id FROM old",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 3,
    .params = {DB_TEXT, DB_INT4, DB_INT8},
};

/* A job is looked at until no row of it is left, whatever its number says: that is put right, and
 * not believed. */
const struct db_statement db_report_purge_statement = {
    .name = "report_purge",
    .sql = "WITH old AS MATERIALIZED (SELECT id FROM job WHERE report_deleted_at IS NOT NULL"
           "   AND n_kept > 0 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED),"
           " piece AS MATERIALIZED (SELECT r.job_id, r.line FROM old CROSS JOIN LATERAL"
           "  (SELECT k.job_id, k.line FROM job_row k WHERE k.job_id = old.id ORDER BY k.line"
           "   LIMIT $1) r LIMIT $1),"
           " gone AS (DELETE FROM job_row r USING piece"
           "  WHERE r.job_id = piece.job_id AND r.line = piece.line RETURNING r.job_id),"
           " n AS (SELECT job_id, count(*) AS n FROM gone GROUP BY job_id)"
           " UPDATE job j SET n_kept = CASE"
           "   WHEN EXISTS (SELECT FROM job_row r WHERE r.job_id = j.id) THEN greatest(1,"
           "    j.n_kept - coalesce((SELECT n.n FROM n WHERE n.job_id = j.id), 0))"
           "   ELSE 0 END"
           "  FROM old WHERE j.id = old.id RETURNING j.id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* How long the report of each kind of job is kept. */
static const struct {
    enum db_job_kind kind;
    int days;
} kept[] = {
    {JOB_IMPORT, DB_REPORT_DAYS},
    {JOB_DRY_RUN, DB_REPORT_TRY_DAYS},
    {JOB_EXPORT, DB_REPORT_DAYS},
    {JOB_MOVE, DB_REPORT_DAYS},
    {JOB_ORDER, DB_REPORT_DAYS},
};

int db_report_kept(struct db *db, int64_t organization_id, int64_t *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    if ((r = db_run(db, DB_REPORT_KEPT, &rows)) < 0)
        return r;
    *ret = db_row_int(&rows, 0, 0, 0, INT64_MAX);
    return db_rows_check(&rows);
}

int db_report_expire(struct db *db, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        CLEANUP(db_rows_done) struct db_rows rows = {0};
        struct db_params *p = db_params_of(db);
        int r;

        db_param_text(p, db_job_kind_text(kept[i].kind));
        db_param_int(p, DB_INT4, kept[i].days);
        db_param_int(p, DB_INT8, DB_REPORT_PIECE);
        if ((r = db_run(db, DB_REPORT_EXPIRE, &rows)) < 0)
            return r;
        *ret_n += rows.n;
    }
    return 0;
}

int db_report_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, DB_REPORT_PIECE);
    if ((r = db_run(db, DB_REPORT_PURGE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}
