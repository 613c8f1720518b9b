/* Two clocks, the database's and our own, that must agree before anything is ended or deleted by
 * time: a clock that was set wrong by years would do it all at once, and for good. What was written
 * while the database's was ahead is settled when they agree again. Of main's thread. */
#pragma once

#include "db/db.h"
#include <stdbool.h>
#include <stdint.h>

#define ACT_CLOCKS_APART_S 600     /* and no further, or nothing is ended */
#define ACT_CLOCKS_SETTLE_MS 10000 /* between two rounds over what lies too far ahead */
#define ACT_CLOCKS_SPEND_MS                                                                        \
    300 /* of main's thread, in one look; then the round goes on in the next */

struct act_clocks {
    int64_t again_ms; /* monotonic: when to begin a round */
    unsigned at;      /* which table the round is at (db/clock_look.h) */
    size_t n_back;    /* rows of this round */
    bool failed;      /* a table of this round */
    bool apart;       /* as they were last seen, and as the log says */
    bool ill;         /* the log says so; until a round without a failure */
};

/** Whether they agree, now. Logs when that changes, and when something was settled. */
bool act_clocks_look(struct act_clocks *clocks, struct db *db) MUST_CHECK;
