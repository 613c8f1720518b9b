/* The job of an import, as its call sees it: taken, renewed and ended in transactions of their own,
 * each with its audit event, and each asked after where the answer of its commit was lost. What the
 * chunks do with the job is import_run.h's. Of a dry run the first taking alone leaves an event. */
#pragma once

#include "activation/call.h"
#include "activation/import_run.h"

enum { IMPORT_JOB_REPORTS_FULL = 100 }; /* beside the outcomes of db_job_take */
/** As db_job_take; *ret is running, done or cancelled. A new one is not begun where the reports of
 * the organization are full; one that has begun is asked with each chunk (import_run.c).
 * *ret_kept: how many rows those of its other jobs have. */
int import_job_take(struct act_call *call, const struct db_job_call *wanted, struct db_job *ret,
    int64_t *ret_kept, int64_t *ret_busy_s) MUST_CHECK;
/** As db_job_end. Outcome 1: the job is not ours any more, and nothing was changed. */
int import_job_end(struct act_call *call, struct db_job *job, enum db_job_state state,
    const char *fault, const uint8_t *digest) MUST_CHECK;
