#include "lorawan/types.h"

#include <check.h>

START_TEST(every_version_is_read_back_from_its_own_text)
{
    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++) {
        enum lw_mac_version read = LW_MAC_1_0_0;

        ck_assert(lw_mac_version_parse(lw_mac_version_text((enum lw_mac_version)v), &read));
        ck_assert_int_eq(read, v);
    }
}
END_TEST

START_TEST(short_and_long_spellings_are_one_version)
{
    static const struct {
        const char *text;
        enum lw_mac_version version;
    } cases[] = {
        {"1.0", LW_MAC_1_0_0},
        {"1.0.0", LW_MAC_1_0_0},
        {"1.0.3", LW_MAC_1_0_3},
        {"1.1", LW_MAC_1_1},
        {"1.1.0", LW_MAC_1_1},
        {"1.1.1", LW_MAC_1_1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum lw_mac_version read = LW_MAC_1_0_4;

        ck_assert_msg(lw_mac_version_parse(cases[i].text, &read), "%s", cases[i].text);
        ck_assert_int_eq(read, cases[i].version);
    }
}
END_TEST

START_TEST(anything_else_is_no_version_and_leaves_the_result)
{
    static const char *const cases[] = {
        "", "1", "1.0.5", "1.2", " 1.0.3", "1.0.3 ", "1.0.30", "v1.1"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum lw_mac_version read = LW_MAC_1_0_4;

        ck_assert_msg(!lw_mac_version_parse(cases[i], &read), "%s", cases[i]);
        ck_assert_int_eq(read, LW_MAC_1_0_4);
    }
}
END_TEST

START_TEST(a_number_outside_the_enum_has_a_text)
{
    ck_assert_str_eq(lw_mac_version_text((enum lw_mac_version)99), "unknown");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lorawan-types");
    TCase *tc = tcase_create("rules");

    tcase_add_test(tc, every_version_is_read_back_from_its_own_text);
    tcase_add_test(tc, short_and_long_spellings_are_one_version);
    tcase_add_test(tc, anything_else_is_no_version_and_leaves_the_result);
    tcase_add_test(tc, a_number_outside_the_enum_has_a_text);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
