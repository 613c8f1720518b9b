/* Jobs over REST. */
#pragma once

#include "activation/call.h"
#include "db/job.h"

/** Writes what a job is and how far it is, as a JSON object. */
void act_job_write(const struct db_job *job, struct text *out);
/** Streams the report of a job, or answers that it cannot. Returns the status. */
unsigned act_job_report_answer(struct act_call *call, const struct db_job *job);
