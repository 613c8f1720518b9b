/* The inside of `struct db`, for the files of this room. */
#pragma once

#include "db/db.h"
#include "db/guard.h"
#include "db/hosts.h"
#include "db/params.h"
#include "db/rows.h"
#include "db/statement.h"

#define DB_SQLSTATE_LEN 5

struct pg_conn;

struct db {
    char *conninfo;
    char *program;
    int passfile; /* db/passfile.h; -1: none */
    unsigned statement_ms;
    struct db_guard *guard; /* NULL: any database will do */
    int64_t deadline_ms;    /* 0: none */

    struct db_hosts hosts;
    struct pg_conn *conn; /* NULL: not connected */
    bool counted;         /* among the open ones (db/metrics.h) */
    bool prepared[DB_N_STATEMENTS];
    bool in_transaction;
    const char *listening;              /* channel, LISTEN again after a reconnect; NULL: none */
    bool session_ended;                 /* the server said goodbye between two calls */
    bool standby_wait_ended;            /* a notice of the running statement said so */
    char sqlstate[DB_SQLSTATE_LEN + 1]; /* of the last error; "" when it had none */

    /* Which backend serves us; and at each host one that may still run a statement whose answer was
     * not waited for. It is ended before that host is used again (db/left.c). */
    struct db_backend {
        int pid; /* 0: none */
        int64_t start_us;
    } backend, left[DB_HOSTS_MAX];
    bool unsettled; /* a commit was not waited for to its good end, and none was made behind it */

    struct db_params params;
};

/** Connected and usable, connecting if need be. A connection found dead with nothing sent on it is
 * replaced; inside a transaction that is ERROR_DB, for the transaction is gone. */
int db_ready(struct db *db);

/** Of a connection that has a guard, before anything else is asked by it. ERROR_DB or ERROR_CONFIG:
 * it must not be used. */
int db_guard_check(struct db *db);
/** After db_guard_check has refused all that the conninfo names: for good. `guard` may be NULL. */
void db_guard_end(struct db_guard *guard);
/** An answer stands on what was committed behind this position. `guard` may be NULL. */
void db_guard_note(struct db_guard *guard, uint64_t lsn);

/** The backend may go on with what it was asked, perhaps a commit: it is left for db_left_end. */
void db_left_note(struct db *db, bool commits);
/** Of a new connection: ends the backend that an earlier one has left at this host; where that may
 * have been a commit, waits for its end and commits a record behind it (as it does where only the
 * wait for a standby was ended), so that whatever of it is found from now on is durable. ERROR_DB,
 * ERROR_DB_UNKNOWN: the connection must not be used. */
int db_left_end(struct db *db);

/** The connection's parameter block, emptied. */
struct db_params *db_params_of(struct db *db);

/** Runs a statement of the table with the parameters of db_params_of. ERROR_DB: nothing was
 * committed. ERROR_DB_UNKNOWN: only from a statement whose end is a commit. ERROR_INTERNAL: the
 * parameters or the number of rows are not what the table says. Release with db_rows_done. */
int db_run(struct db *db, enum db_statement_id id, struct db_rows *ret);

/** db_run for a statement whose rows nobody reads. */
int db_run_quiet(struct db *db, enum db_statement_id id);

/** Text SQL, perhaps several statements, without parameters and result: transaction control,
 * LISTEN, migrations. `commits` as in the table. */
int db_exec(struct db *db, const char *sql, bool commits);

/** Prepares one statement now, for tests that walk the table. */
int db_prepare(struct db *db, enum db_statement_id id);

/** LISTEN on a channel (a text that lasts), now and after each reconnect. */
int db_listen(struct db *db, const char *channel);
/** True when a change was announced since the last call; reads what has come, does not wait. */
bool db_notified(struct db *db);
/** Waits for an announcement at most `timeout_ms`. Outcome 1: there was one, or the connection was
 * made anew and may have missed one; 0: none. */
int db_wait(struct db *db, int timeout_ms);
