/* What became of a file's rows, as one JSON object a line (application/x-ndjson), in the order of
 * the file. Never holds a key, a code or a part of one: of what stood in the file only DevEUIs that
 * could be read are said again. */
#pragma once

#include "base/text.h"
#include "db/job.h"

/** Adds the lines of these rows. */
void import_report_write(const struct db_job_row *rows, size_t n, struct text *out);

/** Takes a piece of the report; negative ends the writing. */
typedef int import_report_take(void *context, struct text *piece);
/** Gives the whole report of a job, page by page: constant memory. */
int import_report_give(
    struct db *db, const struct db_job *job, import_report_take *take, void *context) MUST_CHECK;
