/* A file that is sent again: the reader goes on behind a line of the same file, and of no other. */
#include "activation/import_reader.h"

#include "base/aes.h"
#include "tests/support/suite.h"
#include <string.h>

#define KEY_A "c0a1b2c3d4e5f60718293a4b5c6d7e80"
#define KEY_B "d1a1b2c3d4e5f60718293a4b5c6d7e81"
#define JOIN "02cafe0000000100"
#define CHUNK_ROWS 8 /* more than any of these files has */

static const struct import_defaults nothing = {.state = CREDENTIAL_PERSONALIZED};

/* What came of a file: its rows are counted. */
struct reading {
    int outcome;
    size_t n_rows;
    uint64_t first, last; /* lines of rows */
    uint8_t digest[DIGEST_LEN];
};

/* In pieces of `most` bytes. */
static struct reading read_after(
    uint64_t line, const uint8_t digest[static DIGEST_LEN], const char *text, size_t most)
{
    CLEANUP(import_reader_freep) struct import_reader *reader = NULL;
    struct import_chunk chunk;
    struct reading reading = {0};
    size_t len = strlen(text), n;

    ck_assert_int_eq(import_chunk_init(&chunk, CHUNK_ROWS), 0);
    ck_assert_int_eq(import_reader_new(IMPORT_CSV, &nothing, &reader), 0);
    import_reader_resume_after(reader, line, digest);
    for (size_t at = 0; at < len && reading.outcome == IMPORT_OK; at += n)
        reading.outcome =
            import_reader_feed(reader, text + at, len - at < most ? len - at : most, &chunk, &n);
    if (reading.outcome == IMPORT_OK)
        reading.outcome = import_reader_end(reader, &chunk);
    reading.n_rows = chunk.n_rows;
    if (chunk.n_rows > 0) {
        reading.first = chunk.rows[0].line;
        reading.last = chunk.rows[chunk.n_rows - 1].line;
    }
    memcpy(reading.digest, chunk.digest, sizeof(reading.digest));
    import_chunk_done(&chunk);
    return reading;
}

static struct reading read_first(const char *text)
{
    static const uint8_t none[DIGEST_LEN];

    return read_after(0, none, text, strlen(text) + 1);
}

#define HEAD "dev_eui,join_eui,mac_version,app_key,name\n"
#define ROW(n, key) "02c0ffee0000000" #n "," JOIN ",1.0.4," key ",x\n"
#define LONG_ROW(n, key) "02c0ffee0000000" #n "," JOIN ",1.0.4," key ",\"a\nb\"\n"

/* `first` is done up to its last whole row; then `again` comes. */
static const struct {
    const char *first, *again;
    int outcome;
    size_t n_rows; /* given of `again` */
} sent_again[] = {
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD ROW(1, KEY_A) ROW(2, KEY_A) ROW(3, KEY_B), IMPORT_OK,
        1},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD ROW(1, KEY_A) ROW(2, KEY_A), IMPORT_OK, 0},
    /* mended where it was broken; broken once more behind it */
    {HEAD ROW(1, KEY_A) "\"a\"b\n", HEAD ROW(1, KEY_A) ROW(2, KEY_A), IMPORT_OK, 1},
    {HEAD ROW(1, KEY_A) "\"a\"b\n", HEAD ROW(1, KEY_A) ROW(2, KEY_A) "\"a\"b\n", IMPORT_BROKEN, 1},
    /* what ends the last line is not a part of it */
    {HEAD "02c0ffee00000001," JOIN ",1.0.4," KEY_A ",x", HEAD ROW(1, KEY_A) ROW(2, KEY_A),
        IMPORT_OK, 1},
    /* a row over several lines */
    {HEAD LONG_ROW(1, KEY_A), HEAD LONG_ROW(1, KEY_A) ROW(2, KEY_A), IMPORT_OK, 1},
    {HEAD LONG_ROW(1, KEY_A), HEAD ROW(1, KEY_A) ROW(2, KEY_A), IMPORT_DIFFERS, 0},
    {HEAD LONG_ROW(1, KEY_A), HEAD "02c0ffee00000001," JOIN ",1.0.4," KEY_A ",\"a\nc\"\n",
        IMPORT_DIFFERS, 0},
    /* other bytes anywhere before it, or lines more and less */
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD ROW(1, KEY_B) ROW(2, KEY_A) ROW(3, KEY_B),
        IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD ROW(1, KEY_A) ROW(2, KEY_B) ROW(3, KEY_B),
        IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD ROW(2, KEY_A) ROW(3, KEY_B), IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD "# remark\n" ROW(1, KEY_A) ROW(2, KEY_A),
        IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD ROW(1, KEY_A) "\n\n\n" ROW(2, KEY_A), IMPORT_DIFFERS,
        0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD ROW(1, KEY_A), IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD "\"a\"b\n", IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), HEAD, IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A) ROW(2, KEY_A), "", IMPORT_DIFFERS, 0},
    {HEAD ROW(1, KEY_A), "name,join_eui,mac_version,app_key,dev_eui\n" ROW(1, KEY_A),
        IMPORT_DIFFERS, 0},
    /* a byte order mark and ends of lines are bytes, too */
    {HEAD ROW(1, KEY_A), "\xEF\xBB\xBF" HEAD ROW(1, KEY_A), IMPORT_DIFFERS, 0},
    {"\xEF\xBB\xBF" HEAD ROW(1, KEY_A), HEAD ROW(1, KEY_A), IMPORT_DIFFERS, 0},
    {"\xEF\xBB\xBF" HEAD ROW(1, KEY_A), "\xEF\xBB\xBF" HEAD ROW(1, KEY_A) ROW(2, KEY_A), IMPORT_OK,
        1},
    {"dev_eui,join_eui,mac_version,app_key,name\r\n" ROW(1, KEY_A), HEAD ROW(1, KEY_A),
        IMPORT_DIFFERS, 0},
};

static const size_t pieces[] = {1, 2, 7, 1000};

START_TEST(only_the_same_file_goes_on_behind_a_line)
{
    for (size_t i = 0; i < sizeof(sent_again) / sizeof(sent_again[0]); i++) {
        struct reading first = read_first(sent_again[i].first);

        ck_assert_uint_gt(first.n_rows, 0);
        for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
            struct reading again =
                read_after(first.last, first.digest, sent_again[i].again, pieces[k]);

            ck_assert_msg(
                again.outcome == sent_again[i].outcome && again.n_rows == sent_again[i].n_rows,
                "%zu: %d, %zu rows", i, again.outcome, again.n_rows);
            ck_assert(again.n_rows == 0 || again.first > first.last);
        }
    }
}
END_TEST

START_TEST(the_digest_of_a_row_is_that_of_the_file_up_to_it)
{
    static const char text[] = "\xEF\xBB\xBF" HEAD "\n# remark\r\n" LONG_ROW(1, KEY_A) "\r";
    struct reading reading = read_first(text);
    uint8_t want[DIGEST_LEN];

    ck_assert_int_eq(reading.outcome, IMPORT_OK);
    digest_sha256(text, strlen(text) - 2, want);
    ck_assert_mem_eq(reading.digest, want, sizeof(want));
}
END_TEST

SUITE_MAIN("import_resume", 10, only_the_same_file_goes_on_behind_a_line,
    the_digest_of_a_row_is_that_of_the_file_up_to_it)
