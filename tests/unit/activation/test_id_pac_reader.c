#include "activation/id_pac_reader.h"

#include "base/text.h"
#include "tests/support/suite.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EUI "02C0FFEE00000017"
#define PAC "A1B2C3D4E5F60718"

/* What came of a list: "line id pac", or "line fault", each. */
static struct text dump;
static char fault[ID_PAC_FAULT_MAX];

static void take(struct id_pac_chunk *chunk)
{
    static const char *const faults[] = {
        [ID_PAC_BAD_ID] = "bad-id", [ID_PAC_NO_PAC] = "no-pac", [ID_PAC_BAD_PAC] = "bad-pac"};
    char id[EUI64_TEXT_LEN + 1];

    for (size_t i = 0; i < chunk->n; i++) {
        const struct id_pac_line *line = &chunk->lines[i];

        if (line->fault != ID_PAC_LINE_GOOD)
            text_addf(&dump, "%" PRIu32 " %s\n", line->number, faults[line->fault]);
        else
            text_addf(&dump, "%" PRIu32 " %s %s\n", line->number, eui64_format(&line->dev_eui, id),
                line->code);
    }
    chunk->n = 0;
}

/* Reads it in pieces of that size; what the last step came to. */
static enum id_pac_reading read_list(const char *list, size_t len, size_t piece)
{
    CLEANUP(id_pac_reader_freep) struct id_pac_reader *reader = NULL;
    static struct id_pac_chunk chunk;
    enum id_pac_reading outcome = ID_PAC_READ;

    text_done(&dump);
    text_add(&dump, "");
    chunk.n = 0;
    ck_assert_int_eq(id_pac_reader_new(&reader), 0);
    for (size_t at = 0; at < len && outcome != ID_PAC_BROKEN;) {
        size_t n = len - at < piece ? len - at : piece, consumed;

        outcome = id_pac_reader_feed(reader, list + at, n, &chunk, &consumed);
        ck_assert(outcome != ID_PAC_READ || consumed == n);
        ck_assert_uint_le(consumed, n);
        at += consumed;
        take(&chunk);
    }
    if (outcome != ID_PAC_BROKEN) {
        while ((outcome = id_pac_reader_end(reader, &chunk)) == ID_PAC_FULL)
            take(&chunk);
        take(&chunk);
    }
    (void)snprintf(fault, sizeof(fault), "%s", id_pac_reader_fault(reader));
    return outcome;
}

static const struct {
    const char *list, *expected;
} lists[] = {
    {EUI ";" PAC "\n", "1 02c0ffee00000017 " PAC "\n"},
    {EUI ";" PAC, "1 02c0ffee00000017 " PAC "\n"},
    {EUI ";" PAC ";N/A\n" EUI ";" PAC ";x;y;\n",
        "1 02c0ffee00000017 " PAC "\n2 02c0ffee00000017 " PAC "\n"},
    {"\xEF\xBB\xBF" EUI ";" PAC "\r\n\r\n" EUI ";" PAC "\r\n",
        "1 02c0ffee00000017 " PAC "\n3 02c0ffee00000017 " PAC "\n"},
    {"# built today\n\n \t \n  # and this\n" EUI ";" PAC "\n", "5 02c0ffee00000017 " PAC "\n"},
    {"02-c0-ff-ee-00-00-00-17 ; a1b2-c3d4 e5f6-0718 ;\n", "1 02c0ffee00000017 " PAC "\n"},
    {"02:C0:FF:EE:00:00:00:17;" PAC "\r" EUI ";" PAC "\r",
        "1 02c0ffee00000017 " PAC "\n2 02c0ffee00000017 " PAC "\n"},
    {"0123aBcD;" PAC ";N/A\nsigfox:0123ABCD;" PAC "\nSIGFOX:0123abcd;" PAC "\n",
        "1 000000000123abcd " PAC "\n2 000000000123abcd " PAC "\n3 000000000123abcd " PAC "\n"},
    {"ID;PAC\n" EUI "\n" EUI ";\n" EUI ";;N/A\n" EUI ";a/b\n;" PAC "\n",
        "1 bad-id\n2 no-pac\n3 no-pac\n4 no-pac\n5 bad-pac\n6 bad-id\n"},
    {"0123abc;" PAC "\n0x123abc;" PAC "\nsigfox:;" PAC "\nsigfox:0x0123ab;" PAC "\n",
        "1 bad-id\n2 bad-id\n3 bad-id\n4 bad-id\n"},
    {EUI ";" PAC PAC PAC "\n" EUI ";\xC3\xA4\n\xEF\xBB\xBF" EUI ";" PAC "\n",
        "1 bad-pac\n2 bad-pac\n3 bad-id\n"},
    {"", ""},
    {"\n\n#\n", ""},
};
#define N_LISTS (sizeof(lists) / sizeof(lists[0]))

START_TEST(a_line_is_an_identifier_and_a_pac_and_what_is_behind_is_nothing)
{
    static const size_t pieces[] = {1, 2, 7, 4096};

    for (size_t i = 0; i < N_LISTS * sizeof(pieces) / sizeof(pieces[0]); i++) {
        const char *list = lists[i % N_LISTS].list;

        ck_assert_int_eq(read_list(list, strlen(list), pieces[i / N_LISTS]), ID_PAC_READ);
        ck_assert_str_eq(dump.data, lists[i % N_LISTS].expected);
        ck_assert_str_eq(fault, "");
    }
}
END_TEST

START_TEST(a_list_of_any_length_comes_chunk_by_chunk)
{
    CLEANUP(text_done) struct text list = {0}, expected = {0};

    for (unsigned i = 1; i <= 5 * ID_PAC_CHUNK_LINES; i++) {
        text_addf(&list, "02c0ffee0000%04x;%016X\n", i, i);
        text_addf(&expected, "%u 02c0ffee0000%04x %016X\n", i, i, i);
    }
    ck_assert_int_eq(read_list(list.data, list.len, 1000), ID_PAC_READ);
    ck_assert_str_eq(dump.data, expected.data);
    ck_assert_int_eq(read_list(list.data, list.len - 1, list.len), ID_PAC_READ);
    ck_assert_str_eq(dump.data, expected.data);
}
END_TEST

START_TEST(what_is_no_text_or_has_an_endless_line_ends_the_reading_and_names_it)
{
    CLEANUP(text_done) struct text list = {0};

    ck_assert_int_eq(
        read_list(EUI ";" PAC "\n" EUI "\0" PAC, 2 * sizeof(EUI ";" PAC) - 1, 3), ID_PAC_BROKEN);
    ck_assert_str_eq(dump.data, "1 02c0ffee00000017 " PAC "\n");
    ck_assert_str_eq(fault, "line 2: a NUL or control character: the list is not text");
    text_add(&list, EUI ";" PAC ";");
    while (list.len < ID_PAC_LINE_MAX)
        text_add(&list, "x");
    ck_assert_int_eq(read_list(list.data, list.len, 100), ID_PAC_READ);
    ck_assert_str_eq(dump.data, "1 02c0ffee00000017 " PAC "\n");
    text_add(&list, "x\n");
    ck_assert_int_eq(read_list(list.data, list.len, 100), ID_PAC_BROKEN);
    ck_assert_str_eq(dump.data, "");
    ck_assert_str_eq(fault, "line 1: longer than 1024 bytes: no line is");
}
END_TEST

START_TEST(a_list_has_no_more_than_a_million_lines)
{
    static const char line[] = "0;\n";
    CLEANUP(id_pac_reader_freep) struct id_pac_reader *reader = NULL;
    static struct id_pac_chunk chunk;
    enum id_pac_reading outcome = ID_PAC_READ;
    size_t consumed, n = 0;

    ck_assert_int_eq(id_pac_reader_new(&reader), 0);
    while (outcome != ID_PAC_BROKEN && n <= ID_PAC_LINES_MAX) {
        outcome = id_pac_reader_feed(reader, line, sizeof(line) - 1, &chunk, &consumed);
        n++;
        chunk.n = 0;
    }
    ck_assert_uint_eq(n, ID_PAC_LINES_MAX + 1);
    ck_assert_uint_eq(id_pac_reader_lines(reader), ID_PAC_LINES_MAX);
    ck_assert_ptr_nonnull(strstr(id_pac_reader_fault(reader), "line 1000001: more than 1000000"));
}
END_TEST

SUITE_MAIN("id_pac_reader", 20, a_line_is_an_identifier_and_a_pac_and_what_is_behind_is_nothing,
    a_list_of_any_length_comes_chunk_by_chunk,
    what_is_no_text_or_has_an_endless_line_ends_the_reading_and_names_it,
    a_list_has_no_more_than_a_million_lines)
