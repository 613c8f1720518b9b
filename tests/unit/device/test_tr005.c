#include "device/tr005.h"

#include "tests/support/suite.h"
#include <ctype.h>
#include <string.h>

/* The example of TR005 1.0, with the checksum that its rule gives. */
#define IDS "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122"
#define EXAMPLE IDS ":OAABBCCDDEEFF:SYYWWNNNNNN:PFOOBAR"
#define DRAFT_2 "URN:LW:DP:1122334455667788:AABBCCDDEEFF0011:AABB1122"
#define DRAFT_3 "URN:DEV:LW:1122334455667788_AABBCCDDEEFF0011_AABB1122"
#define LONGEST_TOKEN "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
#define LONGEST_SERIAL LONGEST_TOKEN LONGEST_TOKEN

static void gives(const char *text, const char *token, const char *serial)
{
    static const uint8_t profile[TR005_PROFILE_ID_LEN] = {0xAA, 0xBB, 0x11, 0x22};
    struct tr005 tag;
    enum tr005_outcome outcome = tr005_parse(text, strlen(text), &tag);

    ck_assert_msg(outcome == TR005_OK, "%s: %s", text, tr005_outcome_text(outcome));
    ck_assert_uint_eq(eui64_to_u64(&tag.join_eui), 0x1122334455667788);
    ck_assert_uint_eq(eui64_to_u64(&tag.dev_eui), 0xAABBCCDDEEFF0011);
    ck_assert_mem_eq(tag.profile_id, profile, sizeof(profile));
    ck_assert_str_eq(tag.token, token);
    ck_assert_str_eq(tag.serial, serial);
}

/* With an outcome that says so, the identifiers are there, and no token and no serial number. */
static void is_wrong(const char *text, enum tr005_outcome expected)
{
    struct tr005 tag;
    enum tr005_outcome outcome = tr005_parse(text, strlen(text), &tag);

    ck_assert_msg(outcome == expected, "%s: %s", text, tr005_outcome_text(outcome));
    if (expected >= TR005_DOUBLED_TAG)
        ck_assert_uint_eq(eui64_to_u64(&tag.dev_eui), 0xAABBCCDDEEFF0011);
    if (expected != TR005_SERIAL)
        ck_assert_str_eq(tag.token, "");
    ck_assert_str_eq(tag.serial, "");
}

START_TEST(the_example_of_the_specification_holds)
{
    gives(EXAMPLE ":CAF2C", "AABBCCDDEEFF", "YYWWNNNNNN");
    gives(EXAMPLE, "AABBCCDDEEFF", "YYWWNNNNNN");
}
END_TEST

START_TEST(a_checksum_that_is_another_is_told)
{
    is_wrong(EXAMPLE ":CAF2D", TR005_CHECKSUM);
    is_wrong(EXAMPLE ":CAF2", TR005_CHECKSUM);
    is_wrong(EXAMPLE ":CAF2CC", TR005_CHECKSUM);
    is_wrong(IDS ":OAABBCCDDEEF0:SYYWWNNNNNN:PFOOBAR:CAF2C", TR005_CHECKSUM);
}
END_TEST

START_TEST(a_checksum_is_over_what_stands_before_it)
{
    gives(EXAMPLE ":CAF2C:X1", "AABBCCDDEEFF", "YYWWNNNNNN");
    is_wrong(IDS ":CAF2C:OAABBCCDDEEFF:SYYWWNNNNNN:PFOOBAR", TR005_CHECKSUM);
}
END_TEST

START_TEST(what_is_typed_in_small_letters_is_read)
{
    char small[] = EXAMPLE ":CAF2C";

    for (size_t i = 0; small[i] != '\0'; i++)
        small[i] = (char)tolower((unsigned char)small[i]);
    gives(small, "AABBCCDDEEFF", "yywwnnnnnn");
    gives("urn:dev:lw:1122334455667788_aabbccddeeff0011_aabb1122_vab_s1", "AB", "1");
}
END_TEST

START_TEST(blanks_around_a_text_do_not_count)
{
    gives(" \t" EXAMPLE ":CAF2C \r\n", "AABBCCDDEEFF", "YYWWNNNNNN");
    is_wrong("", TR005_NO_TAG);
    is_wrong(" \n", TR005_NO_TAG);
}
END_TEST

START_TEST(tags_come_in_any_order_and_may_be_empty_or_unknown)
{
    gives(IDS, "", "");
    gives(IDS ":", "", "");
    gives(IDS ":S1:O2", "2", "1");
    gives(IDS "::O:X9:C:", "", "");
    gives(IDS ":O:OAB:S:S1:C", "AB", "1");
    gives(IDS ":P1:P2:X1:X2:V3", "", ""); /* V is a tag of the drafts */
}
END_TEST

START_TEST(a_token_is_in_the_normal_form_of_a_code)
{
    gives(IDS ":Oab-12 CD", "AB12CD", "");
    gives(IDS ":O" LONGEST_TOKEN, LONGEST_TOKEN, "");
    is_wrong(IDS ":O" LONGEST_TOKEN "6", TR005_TOKEN);
    is_wrong(IDS ":O--", TR005_TOKEN);
    is_wrong(IDS ":OAB_1:S1", TR005_TOKEN);
}
END_TEST

START_TEST(a_serial_number_is_printable_and_not_longer_than_it_may_be)
{
    gives(IDS ":Sa b~" LONGEST_TOKEN, "", "a b~" LONGEST_TOKEN);
    gives(IDS ":S" LONGEST_SERIAL, "", LONGEST_SERIAL);
    is_wrong(IDS ":S" LONGEST_SERIAL "6", TR005_SERIAL);
    is_wrong(IDS ":O1:S\x7f", TR005_SERIAL);
    is_wrong(IDS ":S\xc3\xa4", TR005_SERIAL);
}
END_TEST

START_TEST(a_tag_that_counts_stands_there_once)
{
    is_wrong(IDS ":O1:O1", TR005_DOUBLED_TAG);
    is_wrong(IDS ":O1:S1:o2", TR005_DOUBLED_TAG);
    is_wrong(IDS ":S1:O1:S1", TR005_DOUBLED_TAG);
    is_wrong(EXAMPLE ":CAF2C:CAF2C", TR005_DOUBLED_TAG);
    is_wrong(DRAFT_3 "_V1_V2", TR005_DOUBLED_TAG);
}
END_TEST

START_TEST(drafts_are_still_on_labels)
{
    gives(DRAFT_3 "_V0102_S7", "0102", "7");
    gives(DRAFT_3, "", "");
    gives(DRAFT_3 "_O1_CDEAD", "", ""); /* tags of no draft */
    gives(DRAFT_2, "", "");
    gives(DRAFT_2 ":%VF1FB552B%S2019", "F1FB552B", "2019");
    gives(DRAFT_2 ":%25VF1FB552B%25S2019%P:1", "F1FB552B", "2019");
}
END_TEST

START_TEST(what_is_no_tag_is_told_from_a_broken_one)
{
    is_wrong("AABBCCDDEEFF0011", TR005_NO_TAG);
    is_wrong("LW:D0", TR005_NO_TAG);
    is_wrong("LW:D1:1122334455667788:AABBCCDDEEFF0011:AABB1122", TR005_NO_TAG);
    is_wrong("LW:D0:", TR005_JOIN_EUI);
    is_wrong("LW:D0:112233445566778:AABBCCDDEEFF0011:AABB1122", TR005_JOIN_EUI);
    is_wrong("LW:D0:112233445566778G:AABBCCDDEEFF0011:AABB1122", TR005_JOIN_EUI);
    is_wrong("LW:D0:1122334455667788_AABBCCDDEEFF0011_AABB1122", TR005_JOIN_EUI);
    is_wrong("LW:D0:1122334455667788", TR005_DEV_EUI);
    is_wrong("LW:D0:1122334455667788:AABBCCDDEEFF001122:AABB1122", TR005_DEV_EUI);
    is_wrong("LW:D0:1122334455667788:AABBCCDDEEFF0011", TR005_PROFILE_ID);
    is_wrong("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB11", TR005_PROFILE_ID);
    is_wrong("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB112233", TR005_PROFILE_ID);
    is_wrong(DRAFT_3 ":V1", TR005_PROFILE_ID);
}
END_TEST

START_TEST(no_text_is_longer_than_a_qr_code_can_be)
{
    static char text[TR005_TEXT_MAX + 2];

    memset(text, 'X', TR005_TEXT_MAX + 1);
    is_wrong(text, TR005_NO_TAG);
    memcpy(text, IDS ":", strlen(IDS ":"));
    is_wrong(text, TR005_TOO_LONG);
    text[TR005_TEXT_MAX] = '\0';
    gives(text, "", "");
}
END_TEST

START_TEST(a_claim_needs_the_token)
{
    struct tr005 tag;

    ck_assert_int_eq(tr005_parse_claim(IDS ":S1", strlen(IDS ":S1"), &tag), TR005_NO_TOKEN);
    ck_assert_int_eq(tr005_parse_claim(IDS ":O1", strlen(IDS ":O1"), &tag), TR005_OK);
    ck_assert_int_eq(tr005_parse_claim(IDS ":O_", strlen(IDS ":O_"), &tag), TR005_TOKEN);
}
END_TEST

START_TEST(what_is_written_is_read_back)
{
    static const struct {
        const char *token, *serial, *text;
    } cases[] = {
        {"", "", IDS ":C0757"},
        {"AABBCCDDEEFF", "", IDS ":OAABBCCDDEEFF:CB8D5"},
        {"AABBCCDDEEFF", "YYWWNNNNNN", IDS ":OAABBCCDDEEFF:SYYWWNNNNNN:C6466"},
        {"", " 1 $%*+-./", IDS ":S 1 $%*+-./:CE19C"},
        {LONGEST_TOKEN, LONGEST_SERIAL, IDS ":O" LONGEST_TOKEN ":S" LONGEST_SERIAL ":C179F"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr005 tag, again;
        char text[TR005_WRITTEN_MAX + 1];

        ck_assert_int_eq(tr005_parse(IDS, strlen(IDS), &tag), TR005_OK);
        memcpy(tag.token, cases[i].token, strlen(cases[i].token));
        memcpy(tag.serial, cases[i].serial, strlen(cases[i].serial));
        ck_assert_int_eq(tr005_write(&tag, text), TR005_OK);
        ck_assert_str_eq(text, cases[i].text);
        ck_assert_int_eq(tr005_parse(text, strlen(text), &again), TR005_OK);
        ck_assert_mem_eq(&again, &tag, sizeof(tag));
    }
    ck_assert_uint_eq(strlen(cases[4].text), TR005_WRITTEN_MAX);
}
END_TEST

static char pick(uint64_t *state, const char *alphabet)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return alphabet[(*state >> 33) % strlen(alphabet)];
}

START_TEST(whatever_is_written_is_read_as_it_was_and_written_again_the_same)
{
    static const char code[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char serial[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./";
    uint64_t state = 1;

    for (size_t i = 0; i < 2000; i++) {
        struct tr005 tag = {.token = ""}, again;
        char text[TR005_WRITTEN_MAX + 1], twice[TR005_WRITTEN_MAX + 1];

        for (size_t k = 0; k < sizeof(tag.dev_eui.bytes); k++) {
            tag.dev_eui.bytes[k] = (uint8_t)pick(&state, code);
            tag.join_eui.bytes[k] = (uint8_t)pick(&state, serial);
        }
        for (size_t k = 0; k < i % (DEVICE_CODE_MAX + 1); k++)
            tag.token[k] = pick(&state, code);
        for (size_t k = 0; k < i % (TR005_SERIAL_MAX + 1); k++)
            tag.serial[k] = pick(&state, serial);
        ck_assert_int_eq(tr005_write(&tag, text), TR005_OK);
        ck_assert_int_eq(tr005_parse(text, strlen(text), &again), TR005_OK);
        ck_assert_mem_eq(&again, &tag, sizeof(tag));
        ck_assert_int_eq(tr005_write(&again, twice), TR005_OK);
        ck_assert_str_eq(twice, text);
    }
}
END_TEST

START_TEST(nothing_is_written_that_would_be_read_as_another)
{
    static const struct {
        const char *token, *serial;
        enum tr005_outcome outcome;
    } cases[] = {
        {"ab", "", TR005_TOKEN},
        {"A-B", "", TR005_TOKEN},
        {"A:B", "", TR005_TOKEN},
        {LONGEST_TOKEN "6", "", TR005_TOKEN},
        {"", "a", TR005_SERIAL},
        {"", "1:CAF2C", TR005_SERIAL},
        {"", LONGEST_SERIAL "6", TR005_SERIAL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr005 tag = {.token = ""};
        char text[TR005_WRITTEN_MAX + 1] = "x";

        memcpy(tag.token, cases[i].token, strlen(cases[i].token));
        memcpy(tag.serial, cases[i].serial, strlen(cases[i].serial));
        ck_assert_int_eq(tr005_write(&tag, text), cases[i].outcome);
        ck_assert_str_eq(text, "");
    }
}
END_TEST

START_TEST(each_outcome_has_a_sentence_of_its_own)
{
    for (unsigned i = 0; i < N_TR005_OUTCOMES; i++) {
        const char *text = tr005_outcome_text((enum tr005_outcome)i);

        ck_assert_int_eq(text[strlen(text) - 1], '.');
        for (unsigned j = 0; j < i; j++)
            ck_assert_str_ne(text, tr005_outcome_text((enum tr005_outcome)j));
    }
}
END_TEST

SUITE_MAIN("tr005", 10, the_example_of_the_specification_holds, a_checksum_that_is_another_is_told,
    a_checksum_is_over_what_stands_before_it, what_is_typed_in_small_letters_is_read,
    blanks_around_a_text_do_not_count, tags_come_in_any_order_and_may_be_empty_or_unknown,
    a_token_is_in_the_normal_form_of_a_code,
    a_serial_number_is_printable_and_not_longer_than_it_may_be, a_tag_that_counts_stands_there_once,
    drafts_are_still_on_labels, what_is_no_tag_is_told_from_a_broken_one,
    no_text_is_longer_than_a_qr_code_can_be, a_claim_needs_the_token, what_is_written_is_read_back,
    whatever_is_written_is_read_as_it_was_and_written_again_the_same,
    nothing_is_written_that_would_be_read_as_another, each_outcome_has_a_sentence_of_its_own)
