#include "joinserver/forward.h"
#include "tests/support/suite.h"

START_TEST(a_hub_gives_up_before_it_is_given_up)
{
    ck_assert_uint_eq(join_forward_time_ms(2000, 0, false), 2000);
    for (unsigned n_hops = 0; n_hops < 4; n_hops++)
        ck_assert_uint_eq(join_forward_time_ms(2000, n_hops + 1, false),
            join_forward_time_ms(2000, n_hops, false) - JOIN_FORWARD_HOP_MS);
}
END_TEST

START_TEST(a_partner_has_half_of_its_time_however_far_a_request_has_come)
{
    ck_assert_uint_eq(join_forward_time_ms(2000, 16, false), 1000);
    ck_assert_uint_eq(join_forward_time_ms(100, 1, false), 50);
}
END_TEST

START_TEST(an_answer_can_still_be_delivered)
{
    ck_assert_uint_eq(join_forward_time_ms(4000, 0, false), 4000);
    ck_assert_uint_eq(join_forward_time_ms(4000, 0, true), JOIN_FORWARD_DELIVERED_MS);
    ck_assert_uint_lt(JOIN_FORWARD_DELIVERED_MS, JOIN_ANSWER_BUDGET_MS);
    ck_assert_uint_eq(join_forward_time_ms(2000, 0, true), 2000);
}
END_TEST

SUITE_MAIN("joinserver forward", 10, a_hub_gives_up_before_it_is_given_up,
    a_partner_has_half_of_its_time_however_far_a_request_has_come, an_answer_can_still_be_delivered)
