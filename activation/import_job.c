#include "activation/import_job.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "db/join.h"
#include "db/report.h"
#include <inttypes.h>
#include <string.h>

static int audit(
    struct act_call *call, const struct db_job *job, const char *action, const struct text *detail)
{
    char id[2 * ACCOUNT_ID_LEN + 1];

    if (detail->failed)
        return error_set(ERROR_SYSTEM, "out of memory for an audit event");
    return act_call_audit(
        call, job->organization_id, action, hex_encode(job->id, sizeof(job->id), id), detail->data);
}

static int audit_taking(struct act_call *call, const struct db_job *job)
{
    CLEANUP(text_done) struct text detail = {0};

    if (job->turn == 1)
        return audit(call, job, job->dry_run ? "import.try" : "import.begin", &detail);
    if (job->dry_run)
        return 0;
    text_addf(&detail, "{\"after\":%" PRId64 "}", job->line);
    return audit(call, job, "import.resume", &detail);
}

static int audit_end(struct act_call *call, const struct db_job *job)
{
    CLEANUP(text_done) struct text detail = {0};

    if (job->dry_run)
        return 0;
    text_addf(
        &detail, "{\"state\":\"%s\",\"line\":%" PRId64, db_job_state_text(job->state), job->line);
    text_addf(&detail, ",\"created\":%" PRId64 ",\"exists\":%" PRId64 ",\"refused\":%" PRId64 "}",
        job->counts.created, job->counts.exists, job->counts.refused);
    return audit(
        call, job, job->state == JOB_INTERRUPTED ? "import.interrupt" : "import.end", &detail);
}

/* Ends the transaction. Where the connection breaks while the commit is on its way, the job tells:
 * it is in this state, of this turn, or nothing has happened. */
static int commit(struct db *db, const struct db_job *job)
{
    struct db_job now;
    int r = db_commit(db);

    if (r != ERROR_DB_UNKNOWN)
        return r;
    log_warn("the result of a job's commit is unknown: %s", error_text());
    db_drop(db);
    if ((r = db_job_find(db, job->id, &now)) < 0)
        return r;
    if (r > 0 || now.turn != job->turn || now.state != job->state)
        return error_set(ERROR_DB, "database: the job's change was not committed");
    return 0;
}

/* What is told of a job that has ended: the wait of its commits for a standby may have been ended,
 * too, by whoever ran it. */
static int settle_found(struct db *db)
{
    int r = db_join_settle(db);

    return r == ERROR_DB_UNKNOWN ? error_set(ERROR_DB, "database: the job's end is not settled")
                                 : r;
}

int import_job_take(struct act_call *call, const struct db_job_call *wanted, struct db_job *ret,
    int64_t *ret_kept, int64_t *ret_busy_s)
{
    struct db *db = call->worker->db;
    int r = db_begin(db);

    if (r < 0)
        return r;
    if ((r = db_report_kept(db, wanted->organization_id, ret_kept)) == 0 &&
        (r = db_job_take(db, wanted, ret, ret_busy_s)) == 0 && ret->state == JOB_RUNNING)
        r = ret->line == 0 && *ret_kept >= DB_REPORT_ROWS_MAX ? IMPORT_JOB_REPORTS_FULL
                                                              : audit_taking(call, ret);
    if (r == 0)
        *ret_kept -= ret->counts.kept;
    if (r != 0 || ret->state != JOB_RUNNING) {
        db_rollback(db);
        return r == 0 ? settle_found(db) : r;
    }
    return commit(db, ret);
}

int import_job_end(struct act_call *call, struct db_job *job, enum db_job_state state,
    const char *fault, const uint8_t *digest)
{
    struct db *db = call->worker->db;
    struct db_job before = *job;
    int r = db_begin(db);

    if (r < 0)
        return r;
    if ((r = db_job_end(db, job, state, fault, digest)) == 0)
        r = audit_end(call, job);
    if (r != 0)
        db_rollback(db);
    else
        r = commit(db, job);
    if (r != 0)
        *job = before;
    return r;
}
