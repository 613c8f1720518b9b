#include "base/eui.h"
#include "base/hex.h"
#include "tests/support/suite.h"

#include <string.h>

START_TEST(every_byte_has_its_two_digits_in_both_cases)
{
    for (unsigned v = 0; v < 256; v++) {
        static const char upper[] = "0123456789ABCDEF";
        uint8_t byte = (uint8_t)v, back = 0;
        char text[3];
        const char big[] = {upper[v >> 4], upper[v & 15], '\0'};

        ck_assert_str_eq(hex_encode(&byte, 1, text), text);
        ck_assert(hex_decode(text, 2, &back, 1));
        ck_assert_uint_eq(back, v);
        ck_assert(hex_decode(big, 2, &back, 1));
        ck_assert_uint_eq(back, v);
    }
}
END_TEST

START_TEST(only_the_22_digits_are_digits)
{
    for (int c = 0; c < 256; c++) {
        const char text[] = {(char)c, '0'}, low[] = {'0', (char)c};
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        uint8_t out;

        ck_assert_int_eq(hex_decode(text, 2, &out, 1), digit);
        ck_assert_int_eq(hex_decode(low, 2, &out, 1), digit);
    }
}
END_TEST

START_TEST(a_wrong_length_is_refused_and_leaves_zeros)
{
    uint8_t out[2] = {1, 1};

    ck_assert(!hex_decode("012", 3, out, 2));
    ck_assert_uint_eq(out[0], 0);
    ck_assert(!hex_decode("012345", 6, out, 2));
    ck_assert(!hex_decode("", 0, out, 2));
    ck_assert(!hex_decode("0x", 2, out, 1));
    ck_assert(hex_decode("", 0, out, 0));
}
END_TEST

START_TEST(a_prefix_0x_is_allowed_once)
{
    uint8_t out[1];

    ck_assert(hex_decode("0x7f", 4, out, 1));
    ck_assert(hex_decode("0X7F", 4, out, 1));
    ck_assert(!hex_decode("0x0x7f", 6, out, 1));
}
END_TEST

START_TEST(an_eui_is_read_in_any_common_spelling)
{
    static const char *const same[] = {"70b3d57ed0000001", "70B3D57ED0000001", "0x70b3d57ed0000001",
        "70-b3-d5-7e-d0-00-00-01", "70:B3:D5:7E:D0:00:00:01", "70 b3 d5 7e d0 00 00 01"};
    static const char *const bad[] = {"70b3d57ed00000", "70b3d57ed000000100", "70--b3d57ed0000001",
        "-70b3d57ed0000001", "70b3d57ed0000001-", "7-0b3d57ed0000001", "70b3d57ed000000g"};
    struct eui64 eui;
    char text[EUI64_TEXT_LEN + 1];

    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        ck_assert_msg(eui64_parse(same[i], strlen(same[i]), &eui), "%s", same[i]);
        ck_assert_str_eq(eui64_format(&eui, text), "70b3d57ed0000001");
        ck_assert(eui64_to_u64(&eui) == UINT64_C(0x70b3d57ed0000001));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!eui64_parse(bad[i], strlen(bad[i]), &eui), "%s", bad[i]);
}
END_TEST

START_TEST(plain_hex_has_no_separators)
{
    uint8_t out[2];

    ck_assert(!hex_decode("01-02", 5, out, 2));
}
END_TEST

SUITE_MAIN("base hex", 4, every_byte_has_its_two_digits_in_both_cases,
    only_the_22_digits_are_digits, a_wrong_length_is_refused_and_leaves_zeros,
    a_prefix_0x_is_allowed_once, an_eui_is_read_in_any_common_spelling, plain_hex_has_no_separators)
