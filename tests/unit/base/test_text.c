#include "base/text.h"
#include "tests/support/suite.h"

START_TEST(a_json_string_is_escaped)
{
    CLEANUP(text_done) struct text t = {0};

    text_add_json(&t, "a\"b\\c\n\x01\xc3\xa9");
    ck_assert_str_eq(t.data, "\"a\\\"b\\\\c\\u000a\\u0001\xc3\xa9\"");
}
END_TEST

START_TEST(a_text_grows_past_its_first_size)
{
    CLEANUP(text_done) struct text t = {0};

    for (int i = 0; i < 1000; i++)
        text_addf(&t, "%04d", i);
    ck_assert(!t.failed);
    ck_assert_uint_eq(t.len, 4000);
    ck_assert_str_eq(t.data + 3996, "0999");
    text_clear(&t);
    ck_assert_str_eq(t.data, "");
}
END_TEST

START_TEST(hex_is_lower_case)
{
    CLEANUP(text_done) struct text t = {0};

    text_add_hex(&t, "\xAB\x01", 2);
    ck_assert_str_eq(t.data, "ab01");
}
END_TEST

SUITE_MAIN(
    "base text", 4, a_json_string_is_escaped, a_text_grows_past_its_first_size, hex_is_lower_case)
