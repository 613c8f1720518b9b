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

START_TEST(a_text_with_room_is_not_moved)
{
    CLEANUP(text_done) struct text t = {0};
    const char *data;

    text_reserve(&t, 4000);
    data = t.data;
    for (int i = 0; i < 1000; i++)
        text_addf(&t, "%04d", i);
    ck_assert(!t.failed);
    ck_assert_ptr_eq(t.data, data);
    ck_assert_uint_eq(t.len, 4000);
}
END_TEST

START_TEST(a_number_has_its_digits_and_no_more)
{
    CLEANUP(text_done) struct text t = {0};

    text_add_unsigned(&t, 0);
    text_add(&t, " ");
    text_add_unsigned(&t, 4294967295);
    text_add(&t, " ");
    text_add_unsigned(&t, UINT64_MAX);
    ck_assert_str_eq(t.data, "0 4294967295 18446744073709551615");
}
END_TEST

START_TEST(hex_is_lower_case)
{
    CLEANUP(text_done) struct text t = {0};

    text_add_hex(&t, "\xAB\x01", 2);
    ck_assert_str_eq(t.data, "ab01");
}
END_TEST

START_TEST(a_beginning_ends_with_a_whole_character)
{
    ck_assert_uint_eq(text_fit("abc", 3), 3);
    ck_assert_uint_eq(text_fit("abcd", 3), 3);
    ck_assert_uint_eq(text_fit("", 3), 0);
    ck_assert_uint_eq(text_fit("ab\xc3\xa4", 4), 4);
    ck_assert_uint_eq(text_fit("ab\xc3\xa4", 3), 2);
    ck_assert_uint_eq(text_fit("a\xf0\x9f\x98\x80z", 4), 1);
    ck_assert_uint_eq(text_fit("a\xf0\x9f\x98\x80z", 5), 5);
    ck_assert_uint_eq(text_fit("\x80\x80\x80", 2), 0);
}
END_TEST

SUITE_MAIN("base text", 4, a_beginning_ends_with_a_whole_character, a_json_string_is_escaped,
    a_text_grows_past_its_first_size, a_text_with_room_is_not_moved,
    a_number_has_its_digits_and_no_more, hex_is_lower_case)
