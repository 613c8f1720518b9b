#include "device/record.h"

#include <check.h>

#define WALK(axis, last)                                                                           \
    for (int i = 0; i <= (int)(last); i++) {                                                       \
        enum device_##axis back;                                                                   \
        const char *text = device_##axis##_text((enum device_##axis)i);                            \
                                                                                                   \
        ck_assert_str_ne(text, "unknown");                                                         \
        ck_assert(device_##axis##_parse(text, &back));                                             \
        ck_assert_int_eq((int)back, i);                                                            \
    }                                                                                              \
    ck_assert_str_eq(device_##axis##_text((enum device_##axis)((int)(last) + 1)), "unknown")

START_TEST(every_state_of_every_axis_has_a_name_that_reads_back)
{
    WALK(credential, CREDENTIAL_SCRAPPED);
    WALK(ownership, OWNERSHIP_OFFERED);
    WALK(service, SERVICE_SUSPENDED);
    WALK(trust, TRUST_QUARANTINED);
}
END_TEST

START_TEST(four_zero_bytes_make_a_sigfox_device)
{
    struct eui64 id = {{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}};

    ck_assert_str_eq(device_kind_text(device_kind_of(&id)), "sigfox");
    for (size_t i = 0; i < 4; i++) {
        id.bytes[i] = 1;
        ck_assert_str_eq(device_kind_text(device_kind_of(&id)), "lorawan");
        id.bytes[i] = 0;
    }
}
END_TEST

START_TEST(an_unknown_name_is_refused)
{
    enum device_trust t;

    ck_assert(!device_trust_parse("", &t));
    ck_assert(!device_trust_parse("unknown", &t));
    ck_assert(!device_trust_parse("OK", &t));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device record");
    TCase *tc = tcase_create("record");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_test(tc, every_state_of_every_axis_has_a_name_that_reads_back);
    tcase_add_test(tc, four_zero_bytes_make_a_sigfox_device);
    tcase_add_test(tc, an_unknown_name_is_refused);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
