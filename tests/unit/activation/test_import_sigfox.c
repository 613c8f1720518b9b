/* Sigfox credentials in files: their own format, and rows of ours. */
#include "activation/import_reader.h"
#include "tests/support/suite.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_A "c0a1b2c3d4e5f60718293a4b5c6d7e80"
#define KEY_B "d1a1b2c3d4e5f60718293a4b5c6d7e81"
#define JOIN "02cafe0000000100"
#define PAC "0123456789ABCDEF"
#define SIGFOX "1f23abcd;" PAC ";" KEY_A
#define ROWS_MAX 4

static const struct import_defaults nothing = {.state = CREDENTIAL_PERSONALIZED};
/* What a call says of all devices is not for these. */
static const struct import_defaults all = {.has_mac_version = true,
    .mac_version = LW_MAC_1_1,
    .has_home_net_id = true,
    .as_id = "as",
    .state = CREDENTIAL_PERSONALIZED};

static struct import_row rows[ROWS_MAX];

/* In pieces of `step` bytes. How many rows there are. */
static size_t read_in(enum import_format format, const struct import_defaults *defaults,
    const char *text, size_t step)
{
    CLEANUP(import_reader_freep) struct import_reader *reader = NULL;
    struct import_chunk chunk;
    size_t len = strlen(text), n, n_rows;

    ck_assert_int_eq(import_chunk_init(&chunk, ROWS_MAX), 0);
    ck_assert_int_eq(import_reader_new(format, defaults, &reader), 0);
    for (size_t at = 0; at < len; at += n)
        ck_assert_int_eq(
            import_reader_feed(reader, text + at, len - at < step ? len - at : step, &chunk, &n),
            IMPORT_OK);
    ck_assert_int_eq(import_reader_end(reader, &chunk), IMPORT_OK);
    n_rows = chunk.n_rows;
    memcpy(rows, chunk.rows, n_rows * sizeof(rows[0]));
    import_chunk_done(&chunk);
    return n_rows;
}

static void has_only(const struct import_row *row, enum import_lint lint, const char *text)
{
    uint64_t expected = lint == N_IMPORT_LINTS ? 0 : UINT64_C(1) << lint;

    ck_assert_msg(row->lints == expected, "%s: %" PRIx64, text, row->lints);
}

START_TEST(a_file_has_id_pac_and_nak_in_their_places)
{
    static const char text[] = "\xEF\xBB\xBF# ids\r\n1F23ABCD;0123456789abcdef;" KEY_A "\r\n\r\n"
                               "00000001; ;" KEY_B;
    static const struct eui64 id = {{0, 0, 0, 0, 0x1f, 0x23, 0xab, 0xcd}};

    for (size_t step = 1; step <= sizeof(text); step += 7) {
        ck_assert_uint_eq(read_in(IMPORT_SIGFOX_CSV, &all, text, step), 2);
        has_only(&rows[0], IMPORT_LINT_BYTE_ORDER_MARK, "the first");
        ck_assert(rows[0].is_sigfox && rows[0].has_dev_eui && rows[0].app.form == IMPORT_KEY_CLEAR);
        ck_assert(!rows[0].has_join_eui && !rows[0].has_mac_version && !rows[0].has_home_net_id);
        ck_assert_mem_eq(&rows[0].dev_eui, &id, sizeof(id));
        ck_assert_uint_eq(rows[0].app.clear.bytes[0], 0xc0);
        ck_assert_str_eq(rows[0].code, PAC);
        ck_assert_str_eq(rows[0].as_id, "");
        has_only(&rows[1], N_IMPORT_LINTS, "without a PAC");
        ck_assert_str_eq(rows[1].code, "");
        ck_assert_uint_eq(rows[1].line, 4);
    }
}
END_TEST

START_TEST(what_is_wrong_with_a_row_is_its_own)
{
    static const struct {
        const char *text;
        enum import_lint lint;
    } cases[] = {
        {SIGFOX, N_IMPORT_LINTS},
        {"1f23abc;" PAC ";" KEY_A, IMPORT_LINT_BAD_SIGFOX_ID},
        {"0x23abcd;" PAC ";" KEY_A, IMPORT_LINT_BAD_SIGFOX_ID},
        {"sigfox:1f23abcd;" PAC ";" KEY_A, IMPORT_LINT_BAD_SIGFOX_ID},
        {";" PAC ";" KEY_A, IMPORT_LINT_BAD_SIGFOX_ID},
        {"1f23abcd;0123456789ABCDE;" KEY_A, IMPORT_LINT_BAD_PAC},
        {"1f23abcd;0123-4567-89AB-CD;" KEY_A, IMPORT_LINT_BAD_PAC},
        {"1f23abcd;0123456789ABCDEG;" KEY_A, IMPORT_LINT_BAD_PAC},
        {"1f23abcd;" PAC ";c0a1", IMPORT_LINT_BAD_APP_KEY},
        {"1f23abcd;" PAC ";", IMPORT_LINT_MISSING_KEY},
        {SIGFOX ";N/A", IMPORT_LINT_FIELD_COUNT},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_uint_eq(read_in(IMPORT_SIGFOX_CSV, &nothing, cases[i].text, SIZE_MAX), 1);
        has_only(&rows[0], cases[i].lint, cases[i].text);
    }
    ck_assert_uint_eq(read_in(IMPORT_SIGFOX_CSV, &nothing, "1f23abcd;" PAC, SIZE_MAX), 1);
    ck_assert(import_row_has_lint(&rows[0], IMPORT_LINT_FIELD_COUNT));
}
END_TEST

START_TEST(a_row_of_our_own_formats_may_say_that_it_is_one)
{
    static const struct {
        const char *more;
        enum import_lint lint;
    } cases[] = {
        {"", N_IMPORT_LINTS},
        {",\"code\":\"" PAC "\",\"serial\":\"SN\",\"state\":\"activable\"", N_IMPORT_LINTS},
        {",\"join_eui\":\"" JOIN "\"", IMPORT_LINT_LORAWAN_FIELD},
        {",\"mac_version\":\"1.1\"", IMPORT_LINT_LORAWAN_FIELD},
        {",\"nwk_key\":\"" KEY_B "\"", IMPORT_LINT_LORAWAN_FIELD},
        {",\"home_net_id\":\"000013\",\"as_id\":\"as\"", IMPORT_LINT_LORAWAN_FIELD},
        {",\"join_nonce\":1", IMPORT_LINT_LORAWAN_FIELD},
        {",\"dev_nonce\":1", IMPORT_LINT_LORAWAN_FIELD},
        {",\"used_dev_nonces\":[1]", IMPORT_LINT_LORAWAN_FIELD},
    };
    char text[400];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(text, sizeof(text),
            "{\"dev_eui\":\"Sigfox:1F23ABCD\",\"app_key\":\"" KEY_A "\"%s}", cases[i].more);
        ck_assert_uint_eq(read_in(IMPORT_JSONL, &all, text, SIZE_MAX), 1);
        ck_assert(rows[0].is_sigfox);
        has_only(&rows[0], cases[i].lint, text);
    }
    (void)read_in(IMPORT_JSONL, &all, "{\"dev_eui\":\"sigfox:1f23abc\"}", SIZE_MAX);
    has_only(&rows[0], IMPORT_LINT_BAD_SIGFOX_ID, "7 digits");
}
END_TEST

START_TEST(sixteen_digits_are_a_dev_eui_whatever_they_begin_with)
{
    (void)read_in(IMPORT_JSONL, &all,
        "{\"dev_eui\":\"000000001f23abcd\",\"join_eui\":\"" JOIN "\",\"app_key\":\"" KEY_A
        "\",\"nwk_key\":\"" KEY_B "\"}",
        SIZE_MAX);
    ck_assert(rows[0].has_dev_eui && !rows[0].is_sigfox && rows[0].has_mac_version);
    has_only(&rows[0], N_IMPORT_LINTS, "before the linter");
    import_lint_row(&rows[0], NULL, NULL);
    has_only(&rows[0], IMPORT_LINT_DEV_EUI_RESERVED, "after it");
}
END_TEST

SUITE_MAIN("import_sigfox", 20, a_file_has_id_pac_and_nak_in_their_places,
    what_is_wrong_with_a_row_is_its_own, a_row_of_our_own_formats_may_say_that_it_is_one,
    sixteen_digits_are_a_dev_eui_whatever_they_begin_with)
