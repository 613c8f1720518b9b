#include "device/nonce.h"

#include <check.h>

static enum device_nonce judge(enum lw_mac_version v, int32_t last, uint16_t nonce, bool bit)
{
    struct device_record r = {.mac_version = v, .nonce_epoch = 3};
    struct device_join_state s = {.last_dev_nonce = last, .nonce_epoch = 3};

    return device_nonce_judge(&r, &s, nonce, bit);
}

START_TEST(counted_versions_are_1_0_4_and_1_1)
{
    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++)
        ck_assert_int_eq(device_nonce_is_counted((enum lw_mac_version)v), v >= LW_MAC_1_0_4);
}
END_TEST

START_TEST(devnonce_zero_is_allowed_once_as_the_first)
{
    ck_assert_int_eq(judge(LW_MAC_1_0_4, DEVICE_NO_NONCE, 0, false), NONCE_FRESH);
    ck_assert_int_eq(judge(LW_MAC_1_0_4, 0, 0, false), NONCE_NOT_ABOVE);
}
END_TEST

START_TEST(devnonce_equal_to_or_below_last_is_replay)
{
    ck_assert_int_eq(judge(LW_MAC_1_1, 7, 7, false), NONCE_NOT_ABOVE);
    ck_assert_int_eq(judge(LW_MAC_1_1, 7, 6, false), NONCE_NOT_ABOVE);
    ck_assert_int_eq(judge(LW_MAC_1_1, 7, 8, false), NONCE_FRESH);
    ck_assert_int_eq(judge(LW_MAC_1_1, 65535, 65535, false), NONCE_NONE_LEFT);
    ck_assert_int_eq(judge(LW_MAC_1_0_4, 65535, 3, false), NONCE_NONE_LEFT);
    ck_assert_int_eq(judge(LW_MAC_1_1, 65534, 65535, false), NONCE_FRESH);
}
END_TEST

START_TEST(a_list_holds_what_stands_in_it)
{
    static const uint8_t list[] = {0x12, 0x34, 0xff, 0xff, 0x00, 0x01};

    ck_assert(device_nonce_is_among(list, sizeof(list), 0x1234));
    ck_assert(device_nonce_is_among(list, sizeof(list), 0xffff));
    ck_assert(device_nonce_is_among(list, sizeof(list), 1));
    ck_assert(!device_nonce_is_among(list, sizeof(list), 0x34ff)); /* across two */
    ck_assert(!device_nonce_is_among(list, 4, 1));
    ck_assert(!device_nonce_is_among(list, 0, 0));
}
END_TEST

START_TEST(random_devnonces_go_by_whether_they_were_used_alone)
{
    ck_assert_int_eq(judge(LW_MAC_1_0_3, 500, 7, false), NONCE_FRESH);
    ck_assert_int_eq(judge(LW_MAC_1_0_3, DEVICE_NO_NONCE, 7, true), NONCE_USED);
    ck_assert_int_eq(judge(LW_MAC_1_0_2, DEVICE_NO_NONCE, 0, false), NONCE_FRESH);
}
END_TEST

START_TEST(a_newer_nonce_epoch_empties_the_counter_memory)
{
    struct device_record r = {.mac_version = LW_MAC_1_0_4, .nonce_epoch = 4};
    struct device_join_state s = {.last_dev_nonce = 900, .nonce_epoch = 3};

    ck_assert_int_eq(device_nonce_judge(&r, &s, 0, false), NONCE_FRESH);
    s.nonce_epoch = 4;
    ck_assert_int_eq(device_nonce_judge(&r, &s, 0, false), NONCE_NOT_ABOVE);
}
END_TEST

START_TEST(rj_counts_only_go_up)
{
    struct device_record r = {.mac_version = LW_MAC_1_1, .nonce_epoch = 3};
    struct device_join_state s = {.rj_count1 = 7, .nonce_epoch = 3};
    struct device_session session = {.rj_count0 = DEVICE_NO_NONCE};

    ck_assert_int_eq(device_rj_count0_judge(&session, 0), NONCE_FRESH);
    session.rj_count0 = 0;
    ck_assert_int_eq(device_rj_count0_judge(&session, 0), RJ_COUNT_NOT_ABOVE);
    ck_assert_int_eq(device_rj_count0_judge(&session, 1), NONCE_FRESH);
    session.rj_count0 = 65535; /* it never wraps */
    ck_assert_int_eq(device_rj_count0_judge(&session, 65535), RJ_COUNT_NOT_ABOVE);
    ck_assert_int_eq(device_rj_count1_judge(&r, &s, 7), RJ_COUNT_NOT_ABOVE);
    ck_assert_int_eq(device_rj_count1_judge(&r, &s, 8), NONCE_FRESH);
    r.nonce_epoch = 4;
    ck_assert_int_eq(device_rj_count1_judge(&r, &s, 0), NONCE_FRESH);
}
END_TEST

START_TEST(a_jump_is_more_than_a_thousand_above_a_counted_one)
{
    struct device_record r = {.mac_version = LW_MAC_1_0_4};
    struct device_join_state s = {.last_dev_nonce = 5};

    ck_assert(!device_nonce_jumps(&r, &s, 1005));
    ck_assert(device_nonce_jumps(&r, &s, 1006));
    s.last_dev_nonce = DEVICE_NO_NONCE;
    ck_assert(!device_nonce_jumps(&r, &s, 60000));
    s.last_dev_nonce = 5;
    r.nonce_epoch = 1;
    ck_assert(!device_nonce_jumps(&r, &s, 60000));
    r.nonce_epoch = 0;
    r.mac_version = LW_MAC_1_0_3;
    ck_assert(!device_nonce_jumps(&r, &s, 60000));
}
END_TEST

START_TEST(a_warning_is_due_at_80_percent_of_a_counter)
{
    struct device_record counted = {.mac_version = LW_MAC_1_1},
                         random = {.mac_version = LW_MAC_1_0_3};

    ck_assert(!device_join_nonces_low(13421700));
    ck_assert(device_join_nonces_low(13421800));
    ck_assert(!device_dev_nonces_low(&counted, 52300, 60000));
    ck_assert(device_dev_nonces_low(&counted, 52430, 1));
    ck_assert(!device_dev_nonces_low(&random, 65535, 52300));
    ck_assert(device_dev_nonces_low(&random, 1, 52430));
    random.nonce_epoch = 1; /* how many are used is not known then */
    ck_assert(!device_dev_nonces_low(&random, 1, 52430));
}
END_TEST

START_TEST(join_nonce_starts_at_one_and_ends_at_its_24_bits)
{
    ck_assert_uint_eq(device_next_join_nonce(&(struct device_join_state){.join_nonce = 0}), 1);
    ck_assert_uint_eq(
        device_next_join_nonce(&(struct device_join_state){.join_nonce = 0xFFFFFE}), 0xFFFFFF);
    ck_assert_uint_eq(
        device_next_join_nonce(&(struct device_join_state){.join_nonce = 0xFFFFFF}), 0);
    /* What epoch bumps leave out, and never around the end. */
    ck_assert_uint_eq(
        device_next_join_nonce(&(struct device_join_state){.join_nonce = 7, .join_nonce_gap = 100}),
        108);
    ck_assert_uint_eq(device_next_join_nonce(&(struct device_join_state){
                          .join_nonce = 0xFFFF00, .join_nonce_gap = 0xFE}),
        0xFFFFFF);
    ck_assert_uint_eq(device_next_join_nonce(&(struct device_join_state){
                          .join_nonce = 0xFFFF00, .join_nonce_gap = 0xFF}),
        0);
    ck_assert_uint_eq(device_next_join_nonce(&(struct device_join_state){
                          .join_nonce = 0xFFFFFF, .join_nonce_gap = 0xFFFFFF}),
        0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device nonce");
    TCase *tc = tcase_create("nonce");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_test(tc, counted_versions_are_1_0_4_and_1_1);
    tcase_add_test(tc, devnonce_zero_is_allowed_once_as_the_first);
    tcase_add_test(tc, devnonce_equal_to_or_below_last_is_replay);
    tcase_add_test(tc, a_list_holds_what_stands_in_it);
    tcase_add_test(tc, random_devnonces_go_by_whether_they_were_used_alone);
    tcase_add_test(tc, a_newer_nonce_epoch_empties_the_counter_memory);
    tcase_add_test(tc, rj_counts_only_go_up);
    tcase_add_test(tc, a_jump_is_more_than_a_thousand_above_a_counted_one);
    tcase_add_test(tc, a_warning_is_due_at_80_percent_of_a_counter);
    tcase_add_test(tc, join_nonce_starts_at_one_and_ends_at_its_24_bits);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
