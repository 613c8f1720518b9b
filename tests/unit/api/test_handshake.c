/* Whose handshakes wait for the next round, with times that the test says. */
#include "api/handshake.h"
#include <check.h>
#include <stdlib.h>

#define ROOM 64
#define CROWD 1
#define OTHER 2
#define BEGIN_US 1000000

static struct handshakes handshakes;

static void arrive(uint64_t address, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ck_assert(tally_take(&handshakes.addresses, address, 0));
}

static void setup(void)
{
    ck_assert_int_eq(handshakes_init(&handshakes, ROOM, 1), 0);
    arrive(CROWD, HANDSHAKE_UNCROWDED + 1);
    arrive(OTHER, HANDSHAKE_UNCROWDED);
    handshakes_round(&handshakes);
}

static void teardown(void)
{
    handshakes_done(&handshakes);
}

START_TEST(a_crowd_waits_when_its_time_of_the_round_is_over)
{
    ck_assert(handshakes_admit(&handshakes, CROWD, BEGIN_US));
    handshakes_work(&handshakes, CROWD, BEGIN_US);
    ck_assert(handshakes_admit(&handshakes, CROWD, BEGIN_US + HANDSHAKE_ROUND_US - 1));
    handshakes_work(&handshakes, CROWD, BEGIN_US + HANDSHAKE_ROUND_US - 1);
    ck_assert(!handshakes.held_back);
    ck_assert(!handshakes_admit(&handshakes, CROWD, BEGIN_US + HANDSHAKE_ROUND_US));
    ck_assert(handshakes.held_back);
}
END_TEST

START_TEST(in_each_round_the_first_of_a_crowd_goes_on_however_late_it_is)
{
    for (int round = 0; round < 3; round++) {
        handshakes_round(&handshakes);
        ck_assert(!handshakes.held_back);
        ck_assert(handshakes_admit(&handshakes, CROWD, BEGIN_US * (round + 2)));
        handshakes_work(&handshakes, CROWD, BEGIN_US * (round + 2));
    }
}
END_TEST

START_TEST(those_of_an_address_without_a_crowd_wait_for_nobody_and_take_nobody_s_time)
{
    handshakes_work(&handshakes, OTHER, BEGIN_US);
    ck_assert(handshakes_admit(&handshakes, CROWD, BEGIN_US + 2 * HANDSHAKE_ROUND_US));
    handshakes_work(&handshakes, CROWD, BEGIN_US + 2 * HANDSHAKE_ROUND_US);
    ck_assert(!handshakes_admit(&handshakes, CROWD, BEGIN_US + 4 * HANDSHAKE_ROUND_US));
    ck_assert(handshakes_admit(&handshakes, OTHER, BEGIN_US + 4 * HANDSHAKE_ROUND_US));
}
END_TEST

START_TEST(who_has_sent_nothing_takes_nobody_s_time)
{
    for (int64_t us = 0; us < 3; us++)
        ck_assert(handshakes_admit(&handshakes, CROWD, BEGIN_US + us * HANDSHAKE_ROUND_US));
    ck_assert(!handshakes.held_back);
}
END_TEST

START_TEST(a_crowd_that_has_shaken_hands_is_none)
{
    handshakes_work(&handshakes, CROWD, BEGIN_US);
    ck_assert(!handshakes_admit(&handshakes, CROWD, BEGIN_US + HANDSHAKE_ROUND_US));
    tally_give(&handshakes.addresses, CROWD);
    ck_assert(handshakes_admit(&handshakes, CROWD, BEGIN_US + HANDSHAKE_ROUND_US));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handshake");
    TCase *tc = tcase_create("handshake");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_crowd_waits_when_its_time_of_the_round_is_over);
    tcase_add_test(tc, in_each_round_the_first_of_a_crowd_goes_on_however_late_it_is);
    tcase_add_test(tc, those_of_an_address_without_a_crowd_wait_for_nobody_and_take_nobody_s_time);
    tcase_add_test(tc, who_has_sent_nothing_takes_nobody_s_time);
    tcase_add_test(tc, a_crowd_that_has_shaken_hands_is_none);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
