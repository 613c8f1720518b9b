/* The epoch of a database, and its bump.
 *
 * A database that was set back (a restored dump or base backup, a failover that lost commits) would
 * give JoinNonces a second time. So it has a row that says which cluster and timeline an operator
 * has vouched for; a service looks at it with each connection (db/guard.h) and refuses any other. A
 * bump vouches for what is there now and leaves a gap in the JoinNonce of every device, which the
 * device's next join leaves out. */
#pragma once

#include "base/eui.h"
#include "db/db.h"

#define DB_EPOCH_MARK_LEN 16

/* More joins than a device may have had since the backup. Two days of a device that joins as often
 * as `join.device_burst` and `join.device_interval_s` let it by default (100 + 2 * 8,640), nearly;
 * and JoinNonces last for 1,023 bumps. */
#define DB_EPOCH_GAP 16384
#define DB_EPOCH_GAP_MAX 1048576

/* So far go the numbers of all that is numbered: none that was told to anybody is given twice. */
#define DB_EPOCH_ID_STEP 1000000

/** What the database says of itself, and what was vouched for. */
struct db_epoch {
    uint32_t epoch;                  /* bumps so far */
    uint8_t mark[DB_EPOCH_MARK_LEN]; /* of the last bump */
    uint32_t join_nonce_total;       /* sum of the gaps */
    uint64_t system_identifier;      /* vouched for */
    uint32_t timeline;
};

struct db_place {
    uint64_t system_identifier; /* as it is now */
    uint32_t timeline;
    uint64_t lsn;      /* where its WAL ends */
    bool has_standbys; /* synchronous_standby_names is not empty */
    bool is_dump;      /* its tables were made anew since, and filled */
};

/** Outcome 1: the database has no such row yet (its schema is older). ERROR_DB on a standby. */
int db_epoch_look(struct db *db, struct db_epoch *ret_epoch, struct db_place *ret_place);

#define DB_EPOCH_LOW_SHOWN 20
struct db_epoch_report {
    struct db_epoch before, after;
    uint64_t n_low; /* devices beyond 90 % of their JoinNonces, by this bump or before */
    uint64_t n_used_up;
    struct eui64 low[DB_EPOCH_LOW_SHOWN]; /* the first, those with fewest left first */
    size_t n_shown;
};

/** In one transaction: vouches for what is there, adds `gap` to what every JoinNonce leaves out
 * (above `above`, which a service's witness has seen), moves sequences on, and writes an audit
 * event. Role cradle_owner. ERROR_INPUT when no JoinNonces would be left. */
int db_epoch_bump(struct db *db, uint32_t gap, uint32_t above, struct db_epoch_report *ret);
