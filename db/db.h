/* A connection to PostgreSQL, and what its failures mean.
 *
 * One connection belongs to one thread. It is opened with time limits, `synchronous_commit=on`
 * asserted; statements are prepared on first use; a connection that broke is opened again by
 * the next call, never inside one. SQLSTATEs are translated by one table: ERROR_DB (nothing was
 * committed), ERROR_DB_UNKNOWN (the connection broke, or a synchronous wait was cancelled, after
 * the statement was sent), ERROR_STALE_KEY (db/fence.h; nothing was committed). */
#pragma once

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;
struct db_guard;

struct db_config {
    const char *conninfo;   /* libpq: host=... dbname=... user=... passfile=... */
    const char *program;    /* application_name */
    unsigned statement_ms;  /* statement_timeout; 0: none */
    struct db_guard *guard; /* db/guard.h; outlives the connection. NULL: any database will do */
};

/** Opens lazily: no connection is made yet. */
int db_open(const struct db_config *config, struct db **ret);
void db_close(struct db *db);
static inline void db_cleanup(struct db **db)
{
    db_close(*db);
}

/** Connects if not connected and asks the server for a row. ERROR_DB with a sentence when it
 * cannot; ERROR_CONFIG when the schema version is not the one this program was built for, or
 * synchronous_commit, fsync or full_page_writes is off. */
int db_check(struct db *db);
/** For the start of a service: db_check until the database answers, for at most DB_AWAIT_MS; it may
 * be starting too. `stop_wanted` is called for each pause and ends the wait with outcome 1 when it
 * returns true. ERROR_CONFIG ends it at once. */
#define DB_AWAIT_MS 30000
int db_await(struct db *db, bool (*stop_wanted)(long pause_ms));
/** An absolute time (monotonic ms) after which no call on this connection waits any longer: not to
 * connect, and not for an answer. What was waited for then fails as if the connection had broken.
 * 0: only the connection's own limits. Stays until it is set anew. */
void db_set_deadline(struct db *db, int64_t deadline_ms);
/** Drops the connection; the next call makes a new one. */
void db_drop(struct db *db);
/** File descriptor to poll for notifications; -1 when not connected. */
int db_socket(struct db *db);

/** A transaction for acts of more than one statement. */
int db_begin(struct db *db);
/** One whose statements fail (and the transaction with them) rather than wait longer than that for
 * a lock. */
int db_begin_impatient(struct db *db, unsigned lock_ms);
int db_commit(struct db *db);
void db_rollback(struct db *db);
