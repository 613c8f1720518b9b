#include "base/base64.h"

#include "tests/support/suite.h"
#include <string.h>

START_TEST(the_vectors_of_the_rfc_are_read)
{
    static const struct {
        const char *text, *plain;
    } cases[] = {{"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYg==", "foob"},
        {"Zm9vYmE=", "fooba"}, {"Zm9vYmFy", "foobar"}, {"+/+/", "\xfb\xff\xbf"}};
    uint8_t out[6];
    char text[9];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(
            base64_decode(cases[i].text, out, sizeof(out)), (ssize_t)strlen(cases[i].plain));
        ck_assert_mem_eq(out, cases[i].plain, strlen(cases[i].plain));
        ck_assert_uint_eq(BASE64_LEN(strlen(cases[i].plain)), strlen(cases[i].text));
        ck_assert_str_eq(
            base64_encode((const uint8_t *)cases[i].plain, strlen(cases[i].plain), text),
            cases[i].text);
    }
}
END_TEST

START_TEST(one_text_for_one_value)
{
    static const char *const wrong[] = {"", "Z", "Zg",
        "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "====", "Zm9v\n", "Zm 9", "-_-_", "Zm9vYmFyZm9v"};
    uint8_t out[6];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(base64_decode(wrong[i], out, sizeof(out)) == -1, "%s", wrong[i]);
}
END_TEST

START_TEST(the_url_alphabet_has_no_padding_and_one_text_for_one_value)
{
    static const struct {
        const char *text, *plain;
    } cases[] = {{"Zg", "f"}, {"Zm8", "fo"}, {"Zm9v", "foo"}, {"-_-_", "\xfb\xff\xbf"}};
    static const char *const wrong[] = {
        "", "Z", "Zg==", "Zh", "Zm9", "+/+/", "Zm9v\n", "Zm9vYmFyZm9v"};
    uint8_t out[6];
    char text[9];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].plain);

        ck_assert_int_eq(
            base64url_decode(cases[i].text, strlen(cases[i].text), out, sizeof(out)), (ssize_t)len);
        ck_assert_mem_eq(out, cases[i].plain, len);
        ck_assert_str_eq(
            base64url_encode((const uint8_t *)cases[i].plain, len, text), cases[i].text);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(
            base64url_decode(wrong[i], strlen(wrong[i]), out, sizeof(out)) == -1, "%s", wrong[i]);
}
END_TEST

SUITE_MAIN("base base64", 4, the_vectors_of_the_rfc_are_read, one_text_for_one_value,
    the_url_alphabet_has_no_padding_and_one_text_for_one_value)
