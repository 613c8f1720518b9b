/* The database's wall clock, which leases, limits and all that is due later are reckoned by, may
 * have been wrong. Role cradle_activation. */
#pragma once

#include "db/db.h"
#include <stddef.h>
#include <stdint.h>

/** Unix time, by the database. */
int db_clock_read(struct db *db, int64_t *ret_s) MUST_CHECK;

/** What was written while the database's clock was ahead is due, or over, in days or years, now
 * that it has gone back: leases, rests, limits and looks that lie further ahead than any may be are
 * brought back to now, files are kept from now on for as long as they would be, and subscriptions
 * that ended too early run again. Gives the number of rows; 0 as a rule. */
int db_clock_settle(struct db *db, size_t *ret_n) MUST_CHECK;
