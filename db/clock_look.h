/* The database's wall clock, which leases, limits and all that is due later are reckoned by, may
 * have been wrong. Role cradle_activation. */
#pragma once

#include "db/db.h"
#include <stddef.h>
#include <stdint.h>

/** Unix time, by the database. */
int db_clock_read(struct db *db, int64_t *ret_s) MUST_CHECK;

#define DB_CLOCK_PIECE                                                                             \
    500 /* rows of one statement: it must end within its time, however many there are */
#define DB_CLOCK_N_PARTS 11 /* tables */

/** What was written while the database's clock was ahead is due, or over, in days or years, now
 * that it has gone back: leases, rests, limits and looks that lie further ahead than any may be are
 * brought back to now, and subscriptions that ended too early run again. A piece of one table, from
 * 0 to DB_CLOCK_N_PARTS - 1, of its own transaction. Gives the number of rows, 0 as a rule;
 * DB_CLOCK_PIECE: there may be more. */
int db_clock_settle(struct db *db, unsigned part, size_t *ret_n) MUST_CHECK;
