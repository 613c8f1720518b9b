/* What a SQLSTATE means to us. Private to db/. */
#pragma once

#include <stdbool.h>

#define DB_SQLSTATE_NO_LOCK "55P03"   /* lock_timeout */
#define DB_SQLSTATE_STALE_KEY "ZK001" /* our own: key_fence_holds() */

struct db_sqlstate {
    const char *prefix; /* 5 characters, or the first 2 for a whole class */
    bool unknown;       /* a commit that was on its way may or may not have happened */
    bool drop;          /* the connection is of no more use */
};

/** The entry for a state: the exact one, else its class, else one that says nothing was committed.
 */
const struct db_sqlstate *db_sqlstate_find(const char *state);
/** The table, for the test that walks it. */
const struct db_sqlstate *db_sqlstate_at(unsigned i);
