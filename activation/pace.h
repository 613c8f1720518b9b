/* How fast imports go: as fast as they can while no device joins, and else in turn, with rests, so
 * that a join seldom finds every core at work for them (docs/architecture.md, "An import beside
 * joins"). Whether devices join is what the database has counted; the main loop looks. */
#pragma once

#include "db/db.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define ACT_PACE_HOLD_MS 30000 /* after the last join that was seen, devices may be joining */
#define ACT_PACE_FULL 100      /* percent: imports never rest, whoever joins */

struct act_pace {
    pthread_mutex_t turn;          /* held for a chunk and the rest after it */
    unsigned percent;              /* of the time, that imports may work while devices join */
    int64_t n_joins;               /* as last looked; negative: not known */
    _Atomic int64_t slow_until_ms; /* monotonic */
};

/* What an import has to leave: nothing, where it may go as fast as it can. */
struct act_pace_turn {
    struct act_pace *pace; /* NULL: it does not have the turn */
    int64_t begun_us;
};

/** Slow, until two looks have seen that nobody joins. */
void act_pace_init(struct act_pace *pace, unsigned percent);
void act_pace_done(struct act_pace *pace);

/** Compares what the database has counted with the last look. ERROR_DB: it did not say, and until
 * it does devices may be joining. */
int act_pace_look(struct act_pace *pace, struct db *db);

/** Whether devices may be joining, and imports are not to go as fast as they can. */
bool act_pace_is_slow(struct act_pace *pace);

/** Before a chunk. True: devices may be joining, and this import alone has the turn of the service,
 * which it leaves when the chunk is stored. False: there is nothing to wait for or to leave. */
bool act_pace_enter(struct act_pace *pace, struct act_pace_turn *ret);
/** Rests for as long as the chunk's work demands, and lets the next one go. */
void act_pace_leave(struct act_pace_turn *turn);
