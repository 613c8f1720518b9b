#include "joinserver/roaming_refusals.h"

#include "device/gate.h"
#include "tests/support/suite.h"
#include <stdio.h>

static struct db_roaming_refused refused_of(uint32_t device, enum db_roaming_reason reason)
{
    struct db_roaming_refused refused = {.reason = reason, .what = AWAY_ACTIVATION, .n = 1};

    for (int i = 0; i < 4; i++)
        refused.dev_eui.bytes[7 - i] = (uint8_t)(device >> (8 * i));
    return refused;
}

START_TEST(each_gate_that_is_shut_away_from_home_has_a_reason_of_its_own)
{
    bool seen[N_ROAMING_REASONS] = {false};

    for (int i = 0; i < N_DEVICE_GATES; i++) {
        bool is_away = i >= GATE_HIDDEN_NOT_HOME && i <= GATE_HIDDEN_NARROWED;
        enum db_roaming_reason reason = N_ROAMING_REASONS;

        ck_assert_int_eq(
            roaming_reason_of(device_gate_refusal((enum device_gate)i), &reason), is_away);
        if (!is_away)
            continue;
        ck_assert_int_lt(reason, N_ROAMING_REASONS);
        ck_assert(!seen[reason]);
        seen[reason] = true;
        for (unsigned k = 0; k < reason; k++)
            ck_assert_str_ne(
                db_roaming_reason_text(reason), db_roaming_reason_text((enum db_roaming_reason)k));
    }
    ck_assert(!roaming_reason_of(REFUSAL_NONE, &(enum db_roaming_reason){0}));
}
END_TEST

START_TEST(what_is_alike_takes_one_place_however_often_it_comes)
{
    struct roaming_refusals *refusals;

    ck_assert_int_eq(roaming_refusals_new(&refusals), 0);
    for (uint32_t i = 0; i < 100 * ROAMING_REFUSALS_MAX; i++) {
        struct db_roaming_refused refused = refused_of(i % 8, (enum db_roaming_reason)(i % 2));

        ck_assert(roaming_refusals_add(refusals, &refused));
    }
    roaming_refusals_free(refusals);
}
END_TEST

START_TEST(a_full_table_drops_and_goes_on_counting_what_it_has)
{
    struct db_roaming_refused first = refused_of(0, ROAMING_ENDED);
    struct roaming_refusals *refusals;
    size_t n_taken = 0;

    ck_assert_int_eq(roaming_refusals_new(&refusals), 0);
    ck_assert(roaming_refusals_add(refusals, &first));
    for (uint32_t i = 1; i < 8 * ROAMING_REFUSALS_MAX; i++) {
        struct db_roaming_refused refused = refused_of(i, ROAMING_ENDED);

        n_taken += roaming_refusals_add(refusals, &refused);
    }
    ck_assert_uint_gt(n_taken, ROAMING_REFUSALS_MAX / 2);
    ck_assert_uint_lt(n_taken, ROAMING_REFUSALS_MAX);
    ck_assert(roaming_refusals_add(refusals, &first));
    roaming_refusals_free(refusals);
}
END_TEST

static struct db_roaming_refused carried_of(uint32_t i, const char *code)
{
    struct db_roaming_refused refused = {
        .side = ROAMING_CARRIED, .carried = {.partner_id = 7, .outcome = "answered"}, .n = 1};

    (void)snprintf(refused.carried.sender, sizeof(refused.carried.sender), "%06x", i);
    (void)snprintf(refused.carried.result_code, sizeof(refused.carried.result_code), "%s", code);
    return refused;
}

/* Who floods one side must not keep the other's operator from being told. */
START_TEST(each_side_has_room_of_its_own)
{
    struct roaming_refusals *refusals;
    size_t n_taken = 0;

    ck_assert_int_eq(roaming_refusals_new(&refusals), 0);
    for (uint32_t i = 0; i < 8 * ROAMING_REFUSALS_MAX; i++) {
        struct db_roaming_refused refused = carried_of(i, "UnknownDevEUI");

        n_taken += roaming_refusals_add(refusals, &refused);
    }
    ck_assert_uint_gt(n_taken, ROAMING_REFUSALS_MAX / 2);
    ck_assert_uint_le(n_taken, ROAMING_REFUSALS_MAX);
    for (uint32_t i = 0; i < ROAMING_REFUSALS_MAX / 4; i++) {
        struct db_roaming_refused refused = refused_of(i, ROAMING_ENDED);

        ck_assert(roaming_refusals_add(refusals, &refused));
    }
    roaming_refusals_free(refusals);
}
END_TEST

START_TEST(what_was_carried_takes_a_place_for_each_answer)
{
    static const char *const codes[] = {"UnknownDevEUI", "Other"};
    struct roaming_refusals *refusals;

    ck_assert_int_eq(roaming_refusals_new(&refusals), 0);
    for (uint32_t i = 0; i < 100 * ROAMING_REFUSALS_MAX; i++) {
        struct db_roaming_refused refused = carried_of(i % 8, codes[i / 8 % 2]);

        ck_assert(roaming_refusals_add(refusals, &refused));
    }
    roaming_refusals_free(refusals);
}
END_TEST

SUITE_MAIN("roaming refusals", 4, each_gate_that_is_shut_away_from_home_has_a_reason_of_its_own,
    what_is_alike_takes_one_place_however_often_it_comes,
    a_full_table_drops_and_goes_on_counting_what_it_has, each_side_has_room_of_its_own,
    what_was_carried_takes_a_place_for_each_answer)
