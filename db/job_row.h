/* A job as its row says it, for the statements that give one. Private to db/. */
#pragma once

#include "db/connection.h"
#include "db/job.h"

#define DB_JOB_LEASE "now() + make_interval(secs => " DB_DECIMAL(DB_JOB_LEASE_S) ")"

#define DB_JOB_TIMES DB_UTC("created_at") ", " DB_UTC("changed_at")
#define DB_JOB_RESULT "n_exported, " DB_UTC("result_until")
#define DB_JOB_BATCH "(SELECT b.public_id FROM batch b WHERE b.id = batch_id)"
#define DB_JOB_REPORT_KEPT "n_kept, report_deleted_at IS NOT NULL"
#define DB_JOB_COLUMNS                                                                             \
    "id, public_id, organization_id, kind, state, coalesce(batch_id, 0), line, n_created,"         \
    " n_exists, n_refused, n_warned, fault, cancel_wanted,"                                        \
    " " DB_JOB_TIMES ", " DB_JOB_RESULT ", " DB_JOB_BATCH ", turn, digest, " DB_JOB_REPORT_KEPT    \
    ", n_moved, n_rows, move"
#define DB_JOB_N_COLUMNS 25

/** Reads DB_JOB_COLUMNS, which stand first in the row. */
void db_job_read(struct db_rows *rows, size_t row, struct db_job *ret);
