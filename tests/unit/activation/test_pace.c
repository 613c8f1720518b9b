#include "activation/pace.h"

#include "base/clock.h"
#include "base/error.h"
#include "db/join.h"
#include "tests/support/suite.h"
#include <time.h>

static int64_t now_ms, now_us, n_joins, rested_us;
static int answer;

int __wrap_db_join_count(struct db *db, int64_t *ret);
int64_t __wrap_clock_monotonic_ms(void);
int64_t __wrap_clock_monotonic_us(void);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

int __wrap_db_join_count(struct db *db, int64_t *ret)
{
    (void)db;
    *ret = n_joins;
    return answer;
}

int64_t __wrap_clock_monotonic_ms(void)
{
    return now_ms;
}

int64_t __wrap_clock_monotonic_us(void)
{
    return now_us;
}

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)left;
    rested_us = (int64_t)wanted->tv_sec * 1000000 + wanted->tv_nsec / 1000;
    return 0;
}

static struct act_pace pace;

static void begin(unsigned percent)
{
    now_ms = 1000;
    n_joins = 7;
    answer = 0;
    act_pace_init(&pace, percent);
}

static bool slow_after_look(int64_t ms)
{
    now_ms += ms;
    (void)act_pace_look(&pace, NULL);
    return act_pace_is_slow(&pace);
}

START_TEST(slow_until_two_looks_saw_nobody_join)
{
    begin(50);
    ck_assert(act_pace_is_slow(&pace));
    ck_assert(slow_after_look(0));
    ck_assert(!slow_after_look(1000));
}
END_TEST

START_TEST(slow_for_a_while_after_each_join)
{
    begin(50);
    (void)slow_after_look(0);
    ck_assert(!slow_after_look(1000));
    n_joins++;
    ck_assert(slow_after_look(1000));
    ck_assert(slow_after_look(ACT_PACE_HOLD_MS - 1));
    n_joins++;
    ck_assert(slow_after_look(0));
    ck_assert(slow_after_look(ACT_PACE_HOLD_MS - 1));
    ck_assert(!slow_after_look(1));
}
END_TEST

START_TEST(statistics_that_begin_again_are_joins_that_may_have_been)
{
    begin(50);
    (void)slow_after_look(0);
    ck_assert(!slow_after_look(1000));
    n_joins = 0;
    ck_assert(slow_after_look(1000));
}
END_TEST

START_TEST(slow_while_the_database_does_not_say)
{
    begin(50);
    (void)slow_after_look(0);
    ck_assert(!slow_after_look(1000));
    answer = ERROR_DB;
    ck_assert_int_eq(act_pace_look(&pace, NULL), ERROR_DB);
    ck_assert(act_pace_is_slow(&pace));
    ck_assert(slow_after_look(10 * ACT_PACE_HOLD_MS));
    answer = 0;
    n_joins++;
    ck_assert(slow_after_look(1000));
    ck_assert(!slow_after_look(1000));
}
END_TEST

START_TEST(full_pace_is_never_slow)
{
    struct act_pace_turn turn;

    begin(ACT_PACE_FULL);
    ck_assert(!act_pace_is_slow(&pace));
    ck_assert(!act_pace_enter(&pace, &turn));
    act_pace_leave(&turn); /* has nothing to leave */
    (void)slow_after_look(0);
    n_joins++;
    ck_assert(!slow_after_look(0));
}
END_TEST

START_TEST(one_import_has_the_turn)
{
    struct act_pace_turn turn;

    begin(50);
    ck_assert(act_pace_enter(&pace, &turn));
    ck_assert_int_ne(pthread_mutex_trylock(&pace.turn), 0);
    act_pace_leave(&turn);
    ck_assert_int_eq(pthread_mutex_trylock(&pace.turn), 0);
    (void)pthread_mutex_unlock(&pace.turn);
    act_pace_leave(&turn); /* twice is once */
}
END_TEST

/* What an import rests that has worked for so long. */
static int64_t rest_after(unsigned percent, int64_t worked_us)
{
    struct act_pace_turn turn;

    begin(percent);
    rested_us = 0;
    ck_assert(act_pace_enter(&pace, &turn));
    now_us += worked_us;
    act_pace_leave(&turn);
    return rested_us;
}

START_TEST(work_is_its_percent_of_the_time)
{
    ck_assert_int_eq(rest_after(50, 12345), 12345);
    ck_assert_int_eq(rest_after(25, 1000), 3000);
    ck_assert_int_eq(rest_after(99, 9900), 100);
    ck_assert_int_eq(rest_after(1, 5000), 495000);
    ck_assert_int_eq(rest_after(1, 50000), 1000000); /* a second at most */
}
END_TEST

SUITE_MAIN("pace", 20, slow_until_two_looks_saw_nobody_join, slow_for_a_while_after_each_join,
    statistics_that_begin_again_are_joins_that_may_have_been, slow_while_the_database_does_not_say,
    full_pace_is_never_slow, one_import_has_the_turn, work_is_its_percent_of_the_time)
