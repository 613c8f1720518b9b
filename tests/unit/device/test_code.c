#include "device/code.h"

#include "tests/support/suite.h"
#include <string.h>

#define LONGEST "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

START_TEST(a_code_is_read_as_people_type_it)
{
    char code[DEVICE_CODE_MAX + 1];

    ck_assert(device_code_parse("ab-12 CD-34\t", 12, code));
    ck_assert_str_eq(code, "AB12CD34");
    ck_assert(device_code_parse("z", 1, code));
    ck_assert_str_eq(code, "Z");
}
END_TEST

START_TEST(a_code_has_at_most_32_characters_without_what_does_not_count)
{
    char code[DEVICE_CODE_MAX + 1];

    ck_assert_uint_eq(strlen(LONGEST), DEVICE_CODE_MAX);
    ck_assert(device_code_parse(LONGEST, strlen(LONGEST), code));
    ck_assert_str_eq(code, LONGEST);
    ck_assert(device_code_parse(" " LONGEST "-", strlen(LONGEST) + 2, code));
    ck_assert_str_eq(code, LONGEST);
    ck_assert(!device_code_parse(LONGEST "6", strlen(LONGEST) + 1, code));
}
END_TEST

START_TEST(what_is_no_code_leaves_nothing_behind)
{
    static const char zero[DEVICE_CODE_MAX + 1];
    static const char *const bad[] = {
        "", " - ", "AB_1", "ABC\xc3\x84", "A@", "A[", "A/", "A:", "A`"};
    char code[DEVICE_CODE_MAX + 1];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(code, 'x', sizeof(code));
        ck_assert_msg(!device_code_parse(bad[i], strlen(bad[i]), code), "%s", bad[i]);
        ck_assert_mem_eq(code, zero, sizeof(code));
    }
    ck_assert(!device_code_parse("A\0B", 3, code));
}
END_TEST

START_TEST(a_code_below_64_bits_is_weak)
{
    static const struct {
        const char *code;
        unsigned bits;
        bool weak;
    } cases[] = {
        {"", 0, true},
        {"0123456789012345678", 63, true}, /* 19 digits */
        {"01234567890123456789", 66, false},
        {"0123456789ABCDE", 60, true},
        {"0123456789ABCDEF", 64, false},
        {"0123456789AZ", 61, true},
        {"0123456789AZX", 67, false},
        {"1A2B3C4D", 32, true}, /* as other join servers print them */
        {LONGEST, 165, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(device_code_bits(cases[i].code) == cases[i].bits, "%s: %u", cases[i].code,
            device_code_bits(cases[i].code));
        ck_assert_int_eq(device_code_is_weak(cases[i].code), cases[i].weak);
    }
}
END_TEST

START_TEST(a_short_made_code_is_its_first_bytes_in_capital_digits)
{
    static const uint8_t random[DEVICE_CODE_RANDOM_LEN] = {
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff};
    char made[DEVICE_CODE_MADE_MAX + 1], normal[DEVICE_CODE_MAX + 1];

    device_code_make(random, DEVICE_CODE_HEX_LEN, made);
    ck_assert_str_eq(made, "0123456789ABCDEF");
    ck_assert(device_code_parse(made, strlen(made), normal));
    ck_assert_str_eq(normal, made);
}
END_TEST

/* The value of each of its characters, in the alphabet as Crockford has it. */
START_TEST(a_long_made_code_is_130_bits_in_base_32)
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t random[DEVICE_CODE_RANDOM_LEN];
    char made[DEVICE_CODE_MADE_MAX + 1], normal[DEVICE_CODE_MAX + 1];

    for (unsigned first = 0; first < 256; first++) {
        for (unsigned i = 0; i < DEVICE_CODE_RANDOM_LEN; i++)
            random[i] = (uint8_t)(first + 37 * i);
        device_code_make(random, DEVICE_CODE_BASE32_LEN, made);
        ck_assert_uint_eq(strlen(made), DEVICE_CODE_BASE32_LEN);
        for (unsigned i = 0; i < DEVICE_CODE_BASE32_LEN; i++) {
            unsigned value = 0;

            for (unsigned bit = 5 * i; bit < 5 * i + 5; bit++)
                value = value << 1 | (random[bit / 8] >> (7 - bit % 8) & 1U);
            ck_assert_int_eq(made[i], alphabet[value]);
        }
        ck_assert_uint_ge(device_code_bits(made), 86);
        ck_assert(device_code_parse(made, strlen(made), normal));
        device_code_as_made(normal);
        ck_assert_str_eq(normal, made);
    }
}
END_TEST

START_TEST(codes_are_made_in_two_lengths)
{
    for (unsigned length = 0; length <= DEVICE_CODE_MAX + 1; length++)
        ck_assert_int_eq(device_code_length_is_made(length), length == 16 || length == 26);
}
END_TEST

START_TEST(what_is_taken_for_a_digit_is_one_in_a_long_made_code)
{
    static const struct {
        const char *typed, *read;
    } cases[] = {
        {"oOiIlL-00000 00000 00000 00000", "00111100000000000000000000"},
        {"ABCDEFGHJKMNPQRSTVWXYZU123", "ABCDEFGHJKMNPQRSTVWXYZU123"},
        /* No other length has such characters, or they are a file's. */
        {"OIL0000000000000000000000", "OIL0000000000000000000000"},
        {"OIL000000000000000000000000", "OIL000000000000000000000000"},
        {"OIL0000000000000", "OIL0000000000000"},
        {"O", "O"},
    };
    char code[DEVICE_CODE_MAX + 1];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert(device_code_parse(cases[i].typed, strlen(cases[i].typed), code));
        device_code_as_made(code);
        ck_assert_str_eq(code, cases[i].read);
    }
}
END_TEST

SUITE_MAIN("device code", 10, a_code_is_read_as_people_type_it,
    a_code_has_at_most_32_characters_without_what_does_not_count,
    what_is_no_code_leaves_nothing_behind, a_code_below_64_bits_is_weak,
    a_short_made_code_is_its_first_bytes_in_capital_digits, a_long_made_code_is_130_bits_in_base_32,
    codes_are_made_in_two_lengths, what_is_taken_for_a_digit_is_one_in_a_long_made_code)
