#include "activation/pace.h"

#include "base/clock.h"
#include "base/error.h"
#include "db/join.h"
#include <limits.h>
#include <time.h>

#define REST_MAX_US 1000000 /* a chunk that took long did not take cores for all of it */
#define US_OF_S 1000000
#define NS_OF_US 1000

void act_pace_init(struct act_pace *pace, unsigned percent)
{
    *pace = (struct act_pace){.percent = percent, .n_joins = -1, .slow_until_ms = INT64_MAX};
    (void)pthread_mutex_init(&pace->turn, NULL);
}

void act_pace_done(struct act_pace *pace)
{
    (void)pthread_mutex_destroy(&pace->turn);
}

int act_pace_look(struct act_pace *pace, struct db *db)
{
    int64_t n_joins;
    int r = db_join_count(db, &n_joins);

    if (r < 0) {
        pace->n_joins = -1;
        atomic_store(&pace->slow_until_ms, INT64_MAX);
        return r;
    }
    if (pace->n_joins >= 0 && n_joins != pace->n_joins)
        atomic_store(&pace->slow_until_ms, clock_monotonic_ms() + ACT_PACE_HOLD_MS);
    else if (pace->n_joins >= 0 && atomic_load(&pace->slow_until_ms) == INT64_MAX)
        atomic_store(&pace->slow_until_ms, 0);
    pace->n_joins = n_joins;
    return 0;
}

bool act_pace_is_slow(struct act_pace *pace)
{
    return pace->percent < ACT_PACE_FULL &&
           clock_monotonic_ms() < atomic_load(&pace->slow_until_ms);
}

bool act_pace_enter(struct act_pace *pace, struct act_pace_turn *ret)
{
    *ret = (struct act_pace_turn){.pace = NULL};
    if (!act_pace_is_slow(pace))
        return false;
    (void)pthread_mutex_lock(&pace->turn);
    *ret = (struct act_pace_turn){.pace = pace, .begun_us = clock_monotonic_us()};
    return true;
}

void act_pace_leave(struct act_pace_turn *turn)
{
    struct act_pace *pace = turn->pace;
    struct timespec rest;
    int64_t us;

    if (pace == NULL)
        return;
    turn->pace = NULL;
    us = (clock_monotonic_us() - turn->begun_us) * (ACT_PACE_FULL - pace->percent) / pace->percent;
    if (us > REST_MAX_US)
        us = REST_MAX_US;
    rest = (struct timespec){.tv_sec = us / US_OF_S, .tv_nsec = us % US_OF_S * NS_OF_US};
    (void)nanosleep(&rest, NULL);
    (void)pthread_mutex_unlock(&pace->turn);
}
