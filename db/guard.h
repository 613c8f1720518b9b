/* Whether the database is the one that an operator vouched for, asked of each connection before its
 * first use. One guard for all connections of a service; any thread.
 *
 * A connection to any other database is refused, so no join is answered from it. A database that
 * was set back makes the guard refuse for good: the service ends with PROGRAM_EXIT_CONFIG, until
 * `cradle epoch bump`. One that may only be early (a timeline older than what was seen, where
 * failovers are synchronous; no standby yet) is tried again.
 *
 * Of several hosts of a conninfo each is judged by itself: one that is refused is passed over, and
 * the guard refuses for good when all of them were, in one round. */
#pragma once

#include "db/epoch.h"
#include "db/witness.h"

struct db_guard;

enum db_failover { DB_FAILOVER_BUMP, DB_FAILOVER_SYNCHRONOUS };

/** `failover`: "bump" or "synchronous" (setting database.failover); `witness`: path of the witness
 * file, "" for none. ERROR_CONFIG names the setting. */
int db_guard_new(const char *failover, const char *witness, struct db_guard **ret);
void db_guard_free(struct db_guard *guard);

/** For the thread that waits for the service's end, once a second: keeps the witness on the disk.
 * 0, or ERROR_CONFIG with the sentence why the database was refused: then the service ends. */
int db_guard_look(struct db_guard *guard);

/** Commits a record of its own and lets the witness note where it stands; without a witness it does
 * nothing. For a thread that may wait. */
int db_guard_settle(struct db *db);

/* --- pure, for tests ------------------------------------------------------------------------- */

enum db_verdict {
    DB_VERDICT_GOOD,
    DB_VERDICT_TAKE, /* good once the row says this timeline */
    DB_VERDICT_OTHER_CLUSTER,
    DB_VERDICT_DUMP, /* restored from a dump into the same cluster */
    DB_VERDICT_OTHER_TIMELINE,
    DB_VERDICT_TAKEN_BY_OTHERS, /* a later timeline, that services with another setting took */
    DB_VERDICT_BEFORE_BUMP,     /* a service has seen a bump that is not here */
    DB_VERDICT_WENT_BACK,       /* behind what was answered */
    DB_VERDICT_STALE,           /* an older timeline than one that was seen */
    DB_VERDICT_NO_STANDBY,      /* a synchronous failover whose new primary has none yet */
    DB_N_VERDICTS,
};

enum db_verdict db_guard_judge(const struct db_epoch *epoch, const struct db_place *place,
    const struct db_seen *seen, enum db_failover failover);
