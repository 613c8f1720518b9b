/* How much is kept of what jobs report, and how long. What an import or an export has to say of a
 * row stands in job_row, and whoever sends files decides how much that is: so it is bounded for
 * each organization, and deleted when its time is over. The jobs themselves stay. Role
 * cradle_activation. */
#pragma once

#include "db/db.h"
#include <stdint.h>

#define DB_REPORT_DAYS 30          /* how long a report is kept from the job's last change on */
#define DB_REPORT_TRY_DAYS 1       /* that of a dry run */
#define DB_REPORT_ROWS_MAX 5000000 /* rows kept of one organization, of all its jobs together */
#define DB_REPORT_PIECE 1000       /* jobs, or rows, of one statement that deletes */

/** How many rows are kept of the organization's jobs: a sum of numbers that stand at the jobs. */
int db_report_kept(struct db *db, int64_t organization_id, int64_t *ret);

/** Reports whose time is over are given no more, at most DB_REPORT_PIECE of each kind of job; an
 * import that nobody has gone on with since has failed. *ret_n: how many there were. */
int db_report_expire(struct db *db, size_t *ret_n);
/** Deletes rows of these: at most DB_REPORT_PIECE. *ret_n: how many jobs were looked at; 0: there
 * is nothing left to delete. Any number of services may do it at once. */
int db_report_purge(struct db *db, size_t *ret_n);
