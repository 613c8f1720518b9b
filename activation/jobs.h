/* Jobs over REST. */
#pragma once

#include "activation/call.h"
#include "db/job.h"
#include "db/report.h"

#define ACT_DECIMAL_(number) #number
#define ACT_DECIMAL(number) ACT_DECIMAL_(number)

/* What an organization is told that has DB_REPORT_ROWS_MAX rows of reports, and what it may do. */
#define ACT_REPORTS_FULL                                                                           \
    "the reports of this organization have " ACT_DECIMAL(DB_REPORT_ROWS_MAX) " rows"
#define ACT_REPORTS_ADVICE                                                                         \
    "wait until the oldest are deleted (after " ACT_DECIMAL(                                       \
        DB_REPORT_DAYS) " days, of dry runs after " ACT_DECIMAL(DB_REPORT_TRY_DAYS) "), or ask "   \
                                                                                    "the operator"

/** Writes what a job is and how far it is, as a JSON object. */
void act_job_write(const struct db_job *job, struct text *out);
/** Streams the report of a job, or answers that it cannot. Returns the status. */
unsigned act_job_report_answer(struct act_call *call, const struct db_job *job);

/** 410: the report was deleted. Returns the status. */
unsigned act_job_answer_deleted(struct act_call *call);
/** The job that path parameter 0 names: an administrator's, or of the caller's organization. 0, or
 * the status of the answer that was set. */
unsigned act_job_find(struct act_call *call, struct db_job *ret);
