#include "joinserver/breaker.h"
#include "tests/support/suite.h"

#define NOW INT64_C(1000000)

static struct breaker breaker; /* each test is a process of its own */

static void exchange(enum breaker_verdict verdict, int64_t now_ms)
{
    enum breaker_pass pass = breaker_ask(&breaker, now_ms);

    ck_assert_int_ne(pass, BREAKER_REFUSE);
    breaker_end(&breaker, pass, verdict, now_ms);
}

static void open_breaker(void)
{
    for (int i = 0; i < BREAKER_FAILURES; i++)
        exchange(BREAKER_FAILED, NOW);
    ck_assert_int_eq(breaker.state, BREAKER_OPEN);
}

START_TEST(failures_in_a_row_open_it)
{
    for (int i = 1; i < BREAKER_FAILURES; i++)
        exchange(BREAKER_FAILED, NOW);
    exchange(BREAKER_WELL, NOW);
    for (int i = 1; i < BREAKER_FAILURES; i++)
        exchange(BREAKER_FAILED, NOW);
    ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
    exchange(BREAKER_FAILED, NOW);
    ck_assert_int_eq(breaker.state, BREAKER_OPEN);
    ck_assert_int_eq(breaker_ask(&breaker, NOW), BREAKER_REFUSE);
}
END_TEST

START_TEST(half_of_the_last_exchanges_open_it)
{
    int n = 0;

    while (breaker.state == BREAKER_CLOSED && n < 10 * BREAKER_WINDOW) {
        exchange(n % 2 == 0 ? BREAKER_WELL : BREAKER_FAILED, NOW);
        n++;
    }
    ck_assert_int_eq(n, BREAKER_WINDOW_LEAST);
}
END_TEST

START_TEST(less_than_half_does_not)
{
    for (int i = 0; i < 10 * BREAKER_WINDOW; i++)
        exchange(i % 3 == 0 ? BREAKER_FAILED : BREAKER_WELL, NOW);
    ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
}
END_TEST

START_TEST(after_its_pause_one_probe_at_a_time_passes)
{
    open_breaker();
    ck_assert(breaker_rests(&breaker, NOW + BREAKER_PAUSE_MS - 1));
    ck_assert_int_eq(breaker_ask(&breaker, NOW + BREAKER_PAUSE_MS - 1), BREAKER_REFUSE);
    ck_assert(!breaker_rests(&breaker, NOW + BREAKER_PAUSE_MS));
    ck_assert_int_eq(breaker_ask(&breaker, NOW + BREAKER_PAUSE_MS), BREAKER_PROBE);
    ck_assert(breaker_rests(&breaker, NOW + BREAKER_PAUSE_MS));
    ck_assert_int_eq(breaker_ask(&breaker, NOW + BREAKER_PAUSE_MS), BREAKER_REFUSE);
    ck_assert_int_eq(breaker_ask(&breaker, NOW + 100 * BREAKER_PAUSE_MS), BREAKER_REFUSE);
    breaker_end(&breaker, BREAKER_PROBE, BREAKER_WELL, NOW + BREAKER_PAUSE_MS);
    ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
    for (int i = 1; i < BREAKER_FAILURES; i++) /* and it has forgotten what was */
        exchange(BREAKER_FAILED, NOW);
    ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
}
END_TEST

START_TEST(each_probe_that_fails_doubles_the_pause_up_to_a_bound)
{
    int64_t now_ms = NOW, pause_ms = BREAKER_PAUSE_MS;

    open_breaker();
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(breaker_ask(&breaker, now_ms + pause_ms - 1), BREAKER_REFUSE);
        now_ms += pause_ms;
        exchange(BREAKER_FAILED, now_ms);
        pause_ms = 2 * pause_ms < BREAKER_PAUSE_MAX_MS ? 2 * pause_ms : BREAKER_PAUSE_MAX_MS;
    }
    ck_assert_int_eq(pause_ms, BREAKER_PAUSE_MAX_MS);
    exchange(BREAKER_WELL, now_ms + pause_ms);
    for (int i = 0; i < BREAKER_FAILURES; i++)
        exchange(BREAKER_FAILED, now_ms);
    ck_assert_int_eq(breaker_ask(&breaker, now_ms + BREAKER_PAUSE_MS), BREAKER_PROBE);
}
END_TEST

START_TEST(a_probe_of_which_nothing_is_known_is_followed_by_another)
{
    open_breaker();
    exchange(BREAKER_NOTHING_KNOWN, NOW + BREAKER_PAUSE_MS);
    ck_assert_int_eq(breaker.state, BREAKER_HALF_OPEN);
    ck_assert_int_eq(breaker_ask(&breaker, NOW + BREAKER_PAUSE_MS), BREAKER_PROBE);
}
END_TEST

START_TEST(what_was_on_its_way_when_it_opened_decides_nothing)
{
    open_breaker();
    breaker_end(&breaker, BREAKER_LET_THROUGH, BREAKER_WELL, NOW);
    ck_assert_int_eq(breaker.state, BREAKER_OPEN);
    ck_assert_int_eq(breaker_ask(&breaker, NOW + BREAKER_PAUSE_MS), BREAKER_PROBE);
    breaker_end(&breaker, BREAKER_LET_THROUGH, BREAKER_FAILED, NOW);
    ck_assert_int_eq(breaker_ask(&breaker, NOW + BREAKER_PAUSE_MS), BREAKER_REFUSE);
    breaker_end(&breaker, BREAKER_PROBE, BREAKER_WELL, NOW + BREAKER_PAUSE_MS);
    ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
}
END_TEST

START_TEST(what_is_not_the_partners_fault_does_not_open_it)
{
    for (int i = 0; i < 10 * BREAKER_WINDOW; i++)
        exchange(BREAKER_NOTHING_KNOWN, NOW);
    ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
}
END_TEST

SUITE_MAIN("joinserver breaker", 10, failures_in_a_row_open_it, half_of_the_last_exchanges_open_it,
    less_than_half_does_not, after_its_pause_one_probe_at_a_time_passes,
    each_probe_that_fails_doubles_the_pause_up_to_a_bound,
    a_probe_of_which_nothing_is_known_is_followed_by_another,
    what_was_on_its_way_when_it_opened_decides_nothing,
    what_is_not_the_partners_fault_does_not_open_it)
