#include "device/sigfox_tag.h"

#include "tests/support/suite.h"
#include <string.h>

#define LONGEST "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

START_TEST(what_is_written_is_read_back)
{
    static const char *const pacs[] = {"0123456789ABCDEF", "1", LONGEST};

    for (size_t i = 0; i < sizeof(pacs) / sizeof(pacs[0]); i++) {
        struct sigfox_tag tag = {.id = {0x00, 0x11, 0xAA, 0xBB}}, again;
        char text[SIGFOX_TAG_MAX + 1];

        memcpy(tag.pac, pacs[i], strlen(pacs[i]));
        ck_assert(sigfox_tag_write(&tag, text));
        ck_assert_uint_eq(strlen(text), strlen("SIGFOX:0011AABB:") + strlen(pacs[i]));
        ck_assert_mem_eq(text, "SIGFOX:0011AABB:", strlen("SIGFOX:0011AABB:"));
        ck_assert(sigfox_tag_parse(text, strlen(text), &again));
        ck_assert_mem_eq(&again, &tag, sizeof(tag));
    }
}
END_TEST

START_TEST(what_people_type_is_read)
{
    static const char *const texts[] = {
        "sigfox:0011aabb:01ab", " Sigfox:0011AABB:01 AB\r\n", "SIGFOX:0011aabb:01-ab"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        static const uint8_t id[] = {0x00, 0x11, 0xAA, 0xBB};
        struct sigfox_tag tag;

        ck_assert_msg(sigfox_tag_parse(texts[i], strlen(texts[i]), &tag), "%s", texts[i]);
        ck_assert_mem_eq(tag.id, id, sizeof(id));
        ck_assert_str_eq(tag.pac, "01AB");
    }
}
END_TEST

START_TEST(anything_else_is_no_such_text)
{
    static const char *const texts[] = {"", "SIGFOX:", "SIGFOX:0011AABB",
        "SIGFOX:0011AABB:", "SIGFOX:0011AAB:01", "SIGFOX:0011AABBC:01", "SIGFOX:0x11AABB:01",
        "SIGFOX:0011AABG:01", "SIGFOX:0011AABB:0_1", "SIGFOX:0011AABB:01:", "SIGFOX:0011AABB;01",
        "SIGFOX:0011AABB:" LONGEST "6", "LW:D0:0011AABB:01"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        static const struct sigfox_tag none;
        struct sigfox_tag tag;

        ck_assert_msg(!sigfox_tag_parse(texts[i], strlen(texts[i]), &tag), "%s", texts[i]);
        ck_assert_mem_eq(&tag, &none, sizeof(tag));
    }
}
END_TEST

START_TEST(a_pac_that_is_not_in_normal_form_is_not_written)
{
    static const char *const pacs[] = {"", "ab", "A-B", "A:B", LONGEST "6"};

    for (size_t i = 0; i < sizeof(pacs) / sizeof(pacs[0]); i++) {
        struct sigfox_tag tag = {.pac = ""};
        char text[SIGFOX_TAG_MAX + 1] = "x";

        memcpy(tag.pac, pacs[i], strlen(pacs[i]));
        ck_assert(!sigfox_tag_write(&tag, text));
        ck_assert_str_eq(text, "");
    }
}
END_TEST

SUITE_MAIN("sigfox_tag", 10, what_is_written_is_read_back, what_people_type_is_read,
    anything_else_is_no_such_text, a_pac_that_is_not_in_normal_form_is_not_written)
