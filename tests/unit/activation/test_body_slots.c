#include "activation/body_slots.h"

#include "tests/support/suite.h"

#define KNOWN_MAX (ACT_BIG_BODIES_MAX - ACT_BIG_BODIES_UNKNOWN)

enum { NOBODY, ALICE, BOB }; /* organizations */

/* Takes until there is no more; how many there were. */
static unsigned fill(struct act_body_slots *slots, int64_t organization_id)
{
    unsigned n = 0;

    while (act_body_slot_take(slots, organization_id) != NULL)
        ck_assert_uint_le(++n, ACT_BIG_BODIES_MAX);
    return n;
}

START_TEST(unknown_tokens_share_a_few_and_leave_the_rest)
{
    struct act_body_slots slots;

    act_body_slots_init(&slots);
    ck_assert_uint_eq(fill(&slots, NOBODY), ACT_BIG_BODIES_UNKNOWN);
    ck_assert_uint_eq(fill(&slots, ALICE), ACT_BIG_BODIES_PER_ORGANIZATION);
    ck_assert_uint_eq(fill(&slots, BOB), KNOWN_MAX - ACT_BIG_BODIES_PER_ORGANIZATION);
}
END_TEST

START_TEST(known_organizations_leave_the_share_of_unknown_tokens)
{
    struct act_body_slots slots;

    act_body_slots_init(&slots);
    (void)fill(&slots, ALICE);
    (void)fill(&slots, BOB);
    ck_assert_uint_eq(fill(&slots, NOBODY), ACT_BIG_BODIES_UNKNOWN);
}
END_TEST

START_TEST(a_slot_that_was_left_is_for_whoever_has_a_share)
{
    struct act_body_slots slots;
    struct act_body_slot *slot;

    act_body_slots_init(&slots);
    slot = act_body_slot_take(&slots, ALICE);
    ck_assert_uint_eq(fill(&slots, ALICE), ACT_BIG_BODIES_PER_ORGANIZATION - 1);
    ck_assert_uint_eq(fill(&slots, BOB), KNOWN_MAX - ACT_BIG_BODIES_PER_ORGANIZATION);
    ck_assert_uint_eq(fill(&slots, NOBODY), ACT_BIG_BODIES_UNKNOWN);
    act_body_slot_leave(slot);
    ck_assert_uint_eq(fill(&slots, NOBODY), 0);
    ck_assert_uint_eq(fill(&slots, BOB), 1);
    ck_assert_uint_eq(fill(&slots, ALICE), 0);
}
END_TEST

SUITE_MAIN("body_slots", 10, unknown_tokens_share_a_few_and_leave_the_rest,
    known_organizations_leave_the_share_of_unknown_tokens,
    a_slot_that_was_left_is_for_whoever_has_a_share)
