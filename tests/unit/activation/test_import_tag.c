#include "activation/import_tag.h"

#include "tests/support/suite.h"
#include <string.h>

/* The example of TR005 1.0, with the checksum that its rule gives. */
#define EXAMPLE "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:OAABBCCDDEEFF:SYYWWNNNNNN:PFOOBAR"

static void holds(
    const char *text, enum import_tag_outcome outcome, const char *token, const char *serial)
{
    struct import_tag tag;

    ck_assert_msg(import_tag_parse(text, strlen(text), &tag) == outcome, "%s", text);
    if (outcome == IMPORT_TAG_NONE || outcome == IMPORT_TAG_BROKEN)
        return;
    ck_assert_uint_eq(eui64_to_u64(&tag.join_eui), 0x1122334455667788);
    ck_assert_uint_eq(eui64_to_u64(&tag.dev_eui), 0xAABBCCDDEEFF0011);
    ck_assert_uint_eq(tag.token_len, strlen(token));
    ck_assert(tag.token_len == 0 || memcmp(tag.token, token, tag.token_len) == 0);
    ck_assert_uint_eq(tag.serial_len, strlen(serial));
    ck_assert(tag.serial_len == 0 || memcmp(tag.serial, serial, tag.serial_len) == 0);
}

START_TEST(the_example_of_the_specification_holds)
{
    holds(EXAMPLE ":CAF2C", IMPORT_TAG_OK, "AABBCCDDEEFF", "YYWWNNNNNN");
    holds(EXAMPLE, IMPORT_TAG_OK, "AABBCCDDEEFF", "YYWWNNNNNN");
}
END_TEST

START_TEST(a_checksum_that_is_another_is_told)
{
    holds(EXAMPLE ":CAF2D", IMPORT_TAG_CHECKSUM, "AABBCCDDEEFF", "YYWWNNNNNN");
    holds(EXAMPLE ":CAF2", IMPORT_TAG_CHECKSUM, "AABBCCDDEEFF", "YYWWNNNNNN");
}
END_TEST

START_TEST(extensions_come_in_any_order_and_may_be_empty_or_unknown)
{
    holds("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122", IMPORT_TAG_OK, "", "");
    holds("lw:d0:1122334455667788:aabbccddeeff0011:aabb1122:S1:O2", IMPORT_TAG_OK, "2", "1");
    holds("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122::O:X9:C:", IMPORT_TAG_OK, "", "");
}
END_TEST

START_TEST(drafts_are_still_on_labels)
{
    holds("URN:DEV:LW:1122334455667788_AABBCCDDEEFF0011_AABB1122_V0102_S7", IMPORT_TAG_OK, "0102",
        "7");
    holds("URN:DEV:LW:1122334455667788_AABBCCDDEEFF0011_AABB1122", IMPORT_TAG_OK, "", "");
    holds("URN:LW:DP:1122334455667788:AABBCCDDEEFF0011:AABB1122:%VF1FB552B%S2019", IMPORT_TAG_OK,
        "F1FB552B", "2019");
}
END_TEST

START_TEST(what_is_no_tag_is_told_from_a_broken_one)
{
    holds("AABBCCDDEEFF0011", IMPORT_TAG_NONE, "", "");
    holds("LW:D0", IMPORT_TAG_NONE, "", "");
    holds("LW:D0:", IMPORT_TAG_BROKEN, "", "");
    holds("LW:D0:1122334455667788", IMPORT_TAG_BROKEN, "", "");
    holds("LW:D0:1122334455667788:AABBCCDDEEFF0011", IMPORT_TAG_BROKEN, "", "");
    holds("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB11", IMPORT_TAG_BROKEN, "", "");
    holds("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB112233", IMPORT_TAG_BROKEN, "", "");
    holds("LW:D0:1122334455667788_AABBCCDDEEFF0011_AABB1122", IMPORT_TAG_BROKEN, "", "");
}
END_TEST

SUITE_MAIN("import_tag", 10, the_example_of_the_specification_holds,
    a_checksum_that_is_another_is_told, extensions_come_in_any_order_and_may_be_empty_or_unknown,
    drafts_are_still_on_labels, what_is_no_tag_is_told_from_a_broken_one)
