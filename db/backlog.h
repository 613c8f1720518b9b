/* How much work waits in the database, for those who watch the services. Role cradle_activation. */
#pragma once

#include "db/db.h"
#include <stdint.h>

#define DB_BACKLOG_COUNT_MAX 100000 /* no more rows of a kind are counted: enough to worry */

struct db_backlog {
    int64_t audit_pending, audit_oldest_s; /* events that are not chained; the age of the first */
    int64_t webhook_waiting, webhook_oldest_s; /* deliveries; how long one is overdue */
    int64_t jobs_waiting, jobs_running;
    int64_t jobs_oldest_s;    /* the longest that a job has waited, or run without moving on */
    int64_t orders_requested; /* wait for another client's word */
};

/** Reads all at one moment. By indexes that hold what is open alone. */
int db_backlog_read(struct db *db, struct db_backlog *ret);
