#include "activation/import_reader.h"

#include "base/text.h"
#include "tests/support/suite.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_A "c0a1b2c3d4e5f60718293a4b5c6d7e80"
#define KEY_B "D1A1B2C3D4E5F60718293A4B5C6D7E81"
#define EUI "02c0ffee00000017"
#define JOIN "02cafe0000000100"
#define TAG "LW:D0:02CAFE0000000100:02C0FFEE00000017:FFFF0001"
#define TP(dev, key) "CREATE_OTAA," dev ",,EXAM/Sensor.1.classA," JOIN "," key
#define WRAPPED "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX" /* 00 01 .. 17 */
#define CHUNK_ROWS 3
#define SEEDS 20
#define LONG_LINE ((size_t)10 * 1024 * 1024)

static const struct import_defaults version_1_0_3 = {
    .has_mac_version = true, .mac_version = LW_MAC_1_0_3, .state = CREDENTIAL_PERSONALIZED};
static const struct import_defaults nothing = {.state = CREDENTIAL_PERSONALIZED};

/* What came of a file: its rows as text, and copies of them. */
struct reading {
    struct text dump;
    struct import_row rows[16];
    uint16_t used[16][8]; /* the first DevNonces of each row */
    size_t n_rows;
    int outcome;
    char fault[IMPORT_FAULT_MAX];
    size_t largest_chunk;
};

static struct reading reading;

static size_t whole(unsigned *seed, size_t left)
{
    (void)seed;
    return left;
}

static size_t bytewise(unsigned *seed, size_t left)
{
    (void)seed;
    return left > 0 ? 1 : 0;
}

static size_t at_random(unsigned *seed, size_t left)
{
    size_t n = (size_t)rand_r(seed) % 23;

    return n < left ? n : left;
}

static void dump_key(const struct import_key *key)
{
    static const size_t lens[] = {0, AES_KEY_LEN, IMPORT_WRAPPED_LEN, KEYD_OAEP_LEN};

    text_addf(&reading.dump, " %d:", (int)key->form);
    text_add_hex(&reading.dump, key->sealed, lens[key->form]);
}

static void dump_row(const struct import_row *row)
{
    text_addf(&reading.dump, "%" PRIu64 " %" PRIx64 " %d%d%d%d%d%d ", row->line, row->lints,
        row->has_dev_eui, row->has_join_eui, row->has_mac_version, row->has_home_net_id,
        row->has_join_nonce, row->has_dev_nonce);
    text_add_hex(&reading.dump, row->dev_eui.bytes, sizeof(row->dev_eui.bytes));
    text_add(&reading.dump, " ");
    text_add_hex(&reading.dump, row->join_eui.bytes, sizeof(row->join_eui.bytes));
    dump_key(&row->app);
    dump_key(&row->nwk);
    text_addf(&reading.dump, " %d %d %02x%02x%02x <%s> <%s> <%s> <%s> %u %u", (int)row->mac_version,
        (int)row->state, row->home_net_id.bytes[0], row->home_net_id.bytes[1],
        row->home_net_id.bytes[2], row->as_id, row->code, row->serial, row->name, row->join_nonce,
        row->dev_nonce);
    for (uint32_t i = 0; i < row->n_used_dev_nonces; i++)
        text_addf(&reading.dump, " %u", row->used_dev_nonces[i]);
    text_add(&reading.dump, "\n");
}

static void take_chunk(struct import_chunk *chunk)
{
    for (size_t i = 0; i < chunk->n_rows; i++) {
        const struct import_row *row = &chunk->rows[i];

        dump_row(row);
        if (reading.n_rows < sizeof(reading.rows) / sizeof(reading.rows[0])) {
            reading.rows[reading.n_rows] = *row;
            for (uint32_t k = 0; k < row->n_used_dev_nonces && k < 8; k++)
                reading.used[reading.n_rows][k] = row->used_dev_nonces[k];
        }
        reading.n_rows++;
    }
    if (chunk->n_rows > reading.largest_chunk)
        reading.largest_chunk = chunk->n_rows;
    import_chunk_clear(chunk);
}

/* Each piece is a block of its own size, so that a sanitizer sees one byte too far. */
static int feed_piece(
    struct import_reader *reader, struct import_chunk *chunk, const char *bytes, size_t len)
{
    char *exact = malloc(len > 0 ? len : 1);
    size_t at = 0, n;
    int r;

    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, len);
    do {
        r = import_reader_feed(reader, exact + at, len - at, chunk, &n);
        at += n;
        ck_assert(at <= len);
        if (r == IMPORT_FULL)
            take_chunk(chunk);
    } while (r == IMPORT_FULL);
    ck_assert(r != IMPORT_OK || at == len);
    free(exact);
    return r;
}

static int read_cut(enum import_format format, const struct import_defaults *defaults,
    const char *text, size_t len, size_t (*cut)(unsigned *, size_t), unsigned seed)
{
    CLEANUP(import_reader_freep) struct import_reader *reader = NULL;
    struct import_chunk chunk;

    text_done(&reading.dump);
    memset(&reading, 0, sizeof(reading));
    ck_assert_int_eq(import_chunk_init(&chunk, CHUNK_ROWS), 0);
    ck_assert_int_eq(import_reader_new(format, defaults, &reader), 0);
    reading.outcome = IMPORT_OK;
    for (size_t at = 0; reading.outcome == IMPORT_OK && at < len;) {
        size_t n = cut(&seed, len - at);

        reading.outcome = feed_piece(reader, &chunk, text + at, n);
        at += n;
    }
    if (reading.outcome == IMPORT_OK)
        while ((reading.outcome = import_reader_end(reader, &chunk)) == IMPORT_FULL)
            take_chunk(&chunk);
    take_chunk(&chunk);
    (void)snprintf(reading.fault, sizeof(reading.fault), "%s", import_reader_fault(reader));
    ck_assert_int_eq(reading.outcome == IMPORT_BROKEN, reading.fault[0] != '\0');
    text_addf(&reading.dump, "%d %s ", reading.outcome, reading.fault);
    text_add_hex(&reading.dump, chunk.digest, sizeof(chunk.digest));
    import_chunk_done(&chunk);
    return reading.outcome;
}

/* Whole, byte by byte and in pieces of random sizes: the same. */
static int read_len(
    enum import_format format, const struct import_defaults *defaults, const char *text, size_t len)
{
    char *expected;

    (void)read_cut(format, defaults, text, len, whole, 0);
    expected = strdup(reading.dump.data);
    ck_assert_ptr_nonnull(expected);
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        (void)read_cut(format, defaults, text, len, at_random, seed);
        ck_assert_str_eq(reading.dump.data, expected);
    }
    (void)read_cut(format, defaults, text, len, bytewise, 0);
    ck_assert_str_eq(reading.dump.data, expected);
    free(expected);
    return reading.outcome;
}

static int read_as(
    enum import_format format, const struct import_defaults *defaults, const char *text)
{
    return read_len(format, defaults, text, strlen(text));
}

static void has_only(const struct import_row *row, enum import_lint lint, const char *text)
{
    uint64_t expected = lint == N_IMPORT_LINTS ? 0 : UINT64_C(1) << lint;

    ck_assert_msg(row->lints == expected, "%s: %" PRIx64, text, row->lints);
}

static int read_sample(enum import_format format, const char *name)
{
    char path[400], text[8192];
    FILE *file;
    size_t len;

    (void)snprintf(path, sizeof(path), "%s/import/%s", getenv("CRADLE_TEST_DATA"), name);
    file = fopen(path, "rbe");
    ck_assert_msg(file != NULL, "%s", path);
    len = fread(text, 1, sizeof(text), file);
    (void)fclose(file);
    ck_assert(len > 0 && len < sizeof(text));
    return read_len(format, &version_1_0_3, text, len);
}

START_TEST(a_thingpark_file_has_its_values_in_their_places)
{
    ck_assert_int_eq(read_sample(IMPORT_THINGPARK_CSV, "thingpark.csv"), IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 4);
    for (size_t i = 0; i < 3; i++) {
        has_only(&reading.rows[i], N_IMPORT_LINTS, "a row");
        ck_assert_uint_eq(eui64_to_u64(&reading.rows[i].dev_eui), 0x02c0ffee00000101 + i);
        ck_assert_uint_eq(eui64_to_u64(&reading.rows[i].join_eui), 0x02cafe0000000001);
        ck_assert_int_eq(reading.rows[i].app.form, IMPORT_KEY_CLEAR);
        ck_assert_int_eq(reading.rows[i].mac_version, LW_MAC_1_0_3);
    }
    ck_assert_str_eq(reading.rows[0].name, "Cellar, left");
    ck_assert_str_eq(reading.rows[1].code, "K7QM2XW9D4ZT8RHB");
    ck_assert_str_eq(reading.rows[1].serial, "YY26WW47N0002");
    ck_assert_uint_eq(reading.rows[0].line, 2);
    ck_assert_uint_eq(reading.rows[2].line, 5);
    ck_assert(import_row_has_lint(&reading.rows[3], IMPORT_LINT_UNKNOWN_DIRECTIVE));
}
END_TEST

START_TEST(a_file_of_the_things_stack_is_read_by_its_header)
{
    ck_assert_int_eq(read_sample(IMPORT_TTS_CSV, "tts.csv"), IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 3);
    ck_assert_int_eq(reading.rows[0].mac_version, LW_MAC_1_0_3);
    ck_assert_str_eq(reading.rows[0].name, "Roof; north");
    ck_assert_int_eq(reading.rows[1].mac_version, LW_MAC_1_1);
    ck_assert_int_eq(reading.rows[1].nwk.form, IMPORT_KEY_CLEAR);
    ck_assert_str_eq(reading.rows[1].name, "Dachboden S\xC3\xBC"
                                           "d");
    ck_assert_int_eq(reading.rows[2].mac_version, LW_MAC_1_0_4);
    has_only(&reading.rows[2], IMPORT_LINT_NWK_KEY_UNUSED, "two keys of 1.0.4");
    ck_assert_int_eq(reading.rows[2].nwk.form, IMPORT_KEY_NONE);
    /* With commas, app_eui for join_eui, and names that nobody knows. */
    ck_assert_int_eq(read_as(IMPORT_TTS_CSV, &version_1_0_3,
                         "dev_eui,app_eui,vendor_id,app_key\n" EUI "," JOIN ",1," KEY_A "\n"),
        IMPORT_OK);
    has_only(&reading.rows[0], N_IMPORT_LINTS, "commas");
    ck_assert_uint_eq(eui64_to_u64(&reading.rows[0].join_eui), 0x02cafe0000000100);
}
END_TEST

START_TEST(a_plain_file_brings_a_fleet_with_its_counters)
{
    const struct import_row *rows = reading.rows;

    ck_assert_int_eq(read_sample(IMPORT_CSV, "plain.csv"), IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 3);
    for (size_t i = 0; i < 3; i++)
        has_only(&rows[i], N_IMPORT_LINTS, "a row");
    ck_assert_str_eq(rows[0].code, "7F3A91C0D2E488B1");
    ck_assert_str_eq(rows[0].serial, "SN 0001");
    ck_assert_str_eq(rows[0].as_id, "demo-as");
    ck_assert_int_eq(rows[0].state, CREDENTIAL_ACTIVABLE);
    ck_assert(rows[0].has_join_nonce && rows[0].join_nonce == 4711);
    /* The last one is a used one too where DevNonces do not count. */
    ck_assert_uint_eq(rows[0].n_used_dev_nonces, 8);
    ck_assert_uint_eq(reading.used[0][0], 1);
    ck_assert_uint_eq(reading.used[0][2], 9);
    ck_assert_uint_eq(reading.used[0][7], 104);
    ck_assert(rows[1].has_dev_nonce && rows[1].dev_nonce == 300);
    ck_assert_int_eq(rows[1].state, CREDENTIAL_PERSONALIZED);
    ck_assert_uint_eq(rows[2].join_nonce, 16);
    /* And where they count, the highest used one is the last one. */
    ck_assert(rows[2].has_dev_nonce && rows[2].dev_nonce == 18);
}
END_TEST

START_TEST(json_lines_have_the_columns_as_members)
{
    ck_assert_int_eq(read_sample(IMPORT_JSONL, "lines.jsonl"), IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 3);
    for (size_t i = 0; i < 3; i++)
        has_only(&reading.rows[i], N_IMPORT_LINTS, "a row");
    ck_assert_uint_eq(reading.rows[0].n_used_dev_nonces, 3);
    ck_assert_uint_eq(reading.rows[0].join_nonce, 3);
    ck_assert_int_eq(reading.rows[1].app.form, IMPORT_KEY_WRAPPED);
    ck_assert_str_eq(reading.rows[1].name, "T\xC3\xBCr \"B\"");
    ck_assert_str_eq(reading.rows[1].code, "");
    ck_assert_int_eq(reading.rows[2].app.form, IMPORT_KEY_SEALED);
    ck_assert_int_eq(reading.rows[2].nwk.form, IMPORT_KEY_SEALED);
    ck_assert_uint_eq(reading.rows[2].line, 4);
}
END_TEST

START_TEST(lines_are_physical_and_comments_and_empty_lines_are_no_rows)
{
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3,
                         "# a \"comment\n\n   \n" TP(
                             EUI, KEY_A) "\r\n\r\n#\n"
                                         "CREATE_OTAA," EUI ",,\"a model\r\nof two lines\"," JOIN
                                         "," KEY_A "\r" TP(EUI, KEY_A)),
        IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 3);
    ck_assert_uint_eq(reading.rows[0].line, 4);
    ck_assert_uint_eq(reading.rows[1].line, 7);
    ck_assert_uint_eq(reading.rows[2].line, 9);
    for (size_t i = 0; i < reading.n_rows; i++)
        has_only(&reading.rows[i], N_IMPORT_LINTS, "a row");
}
END_TEST

START_TEST(a_full_chunk_stops_the_reading_and_loses_nothing)
{
    struct text text = {0};

    for (unsigned i = 0; i < 3 * CHUNK_ROWS; i++)
        text_addf(&text, "CREATE_OTAA,02c0ffee%08x,,," JOIN "," KEY_A "\n", i);
    ck_assert_int_eq(
        read_len(IMPORT_THINGPARK_CSV, &version_1_0_3, text.data, text.len), IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 3 * CHUNK_ROWS);
    ck_assert_uint_eq(reading.largest_chunk, CHUNK_ROWS);
    /* The last row has no line end, and comes at the end of the file. */
    ck_assert_int_eq(
        read_len(IMPORT_THINGPARK_CSV, &version_1_0_3, text.data, text.len - 1), IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 3 * CHUNK_ROWS);
    text_done(&text);
}
END_TEST

START_TEST(rows_with_many_nonces_fill_a_chunk_too)
{
    const char *text = "dev_eui,join_eui,mac_version,app_key,used_dev_nonces\n"
                       "02c0ffee00000001," JOIN ",1.0.3," KEY_A ",0-65535\n"
                       "02c0ffee00000002," JOIN ",1.0.3," KEY_A ",65535 0-65534\n"
                       "02c0ffee00000003," JOIN ",1.0.3," KEY_A ",0-65535 1\n";

    ck_assert_int_eq(read_as(IMPORT_CSV, &nothing, text), IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 3);
    ck_assert_uint_eq(reading.rows[0].n_used_dev_nonces, IMPORT_DEV_NONCES);
    ck_assert_uint_eq(reading.rows[1].n_used_dev_nonces, IMPORT_DEV_NONCES);
    has_only(&reading.rows[2], IMPORT_LINT_BAD_USED_DEV_NONCES, "more than there are");
    ck_assert(reading.largest_chunk < 3);
}
END_TEST

START_TEST(each_nonce_there_is_may_be_written_out)
{
    struct text text = {0};

    text_add(&text,
        "dev_eui,join_eui,mac_version,app_key,used_dev_nonces\n" EUI "," JOIN ",1.0.3," KEY_A ",");
    for (unsigned i = 0; i < IMPORT_DEV_NONCES; i++)
        text_addf(&text, "%s%u", i > 0 ? " " : "", i);
    text_add(&text, "\n");
    ck_assert_int_eq(read_cut(IMPORT_CSV, &nothing, text.data, text.len, whole, 0), IMPORT_OK);
    ck_assert_uint_eq(reading.rows[0].n_used_dev_nonces, IMPORT_DEV_NONCES);
    text_done(&text);
}
END_TEST

START_TEST(the_fault_of_a_row_is_its_own)
{
    static const struct {
        const char *text;
        enum import_lint lint;
    } cases[] = {
        {TP(EUI, KEY_A), N_IMPORT_LINTS},
        {"UPDATE_OTAA," EUI ",,," JOIN "," KEY_A, IMPORT_LINT_UNKNOWN_DIRECTIVE},
        {"," EUI ",,," JOIN "," KEY_A, IMPORT_LINT_UNKNOWN_DIRECTIVE},
        {TP("02c0ffee0000001", KEY_A), IMPORT_LINT_BAD_DEV_EUI},
        {TP("02c0ffee0000001g", KEY_A), IMPORT_LINT_BAD_DEV_EUI},
        {TP("", KEY_A), IMPORT_LINT_MISSING_DEV_EUI},
        {"CREATE_OTAA," EUI ",,,x," KEY_A, IMPORT_LINT_BAD_JOIN_EUI},
        {"CREATE_OTAA," EUI ",,,," KEY_A, IMPORT_LINT_MISSING_JOIN_EUI},
        {TP(EUI, "00"), IMPORT_LINT_BAD_APP_KEY},
        {TP(EUI, KEY_A "0"), IMPORT_LINT_BAD_APP_KEY},
        {TP(EUI, ""), IMPORT_LINT_MISSING_KEY},
        {TP("02-C0-FF-EE-00-00-00-17", "\"" KEY_B "\""), N_IMPORT_LINTS},
        {TP(" 0x02c0ffee00000017 ", KEY_B), N_IMPORT_LINTS},
        {TP("LW:D0:02CAFE0000000100:02C0FFEE00000017:FFFF0001", KEY_A), N_IMPORT_LINTS},
        {TP("LW:D0:02CAFE0000000101:02C0FFEE00000017:FFFF0001", KEY_A), IMPORT_LINT_TAG_DIFFERS},
        {TP("LW:D0:02CAFE0000000100:02C0FFEE00000017:FFFF0001:CDEAD", KEY_A),
            IMPORT_LINT_BROKEN_CHECKSUM},
        {TP("LW:D0:02CAFE0000000100:02C0FFEE00000017", KEY_A), IMPORT_LINT_BAD_TAG},
        {TP(TAG ":OAB:OCD", KEY_A), IMPORT_LINT_BAD_TAG},
        {TP(TAG ":OA_B", KEY_A), IMPORT_LINT_BAD_CODE},
        {TP(TAG ":S\xc3\xa4", KEY_A), IMPORT_LINT_BAD_SERIAL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, cases[i].text), IMPORT_OK);
        ck_assert_uint_eq(reading.n_rows, 1);
        has_only(&reading.rows[0], cases[i].lint, cases[i].text);
    }
}
END_TEST

START_TEST(what_a_column_cannot_hold_is_a_fault_of_the_row)
{
    static const struct {
        const char *name, *value;
        enum import_lint lint;
    } cases[] = {
        {"app_key_wrapped", WRAPPED, IMPORT_LINT_TWO_KEY_FORMS},
        {"app_key_sealed", "x", IMPORT_LINT_TWO_KEY_FORMS},
        {"nwk_key", KEY_B, IMPORT_LINT_TWO_ROOT_KEYS},
        {"nwk_key_wrapped", KEY_B, IMPORT_LINT_BAD_NWK_KEY}, /* in clear, in the wrong place */
        {"home_net_id", "13", IMPORT_LINT_BAD_HOME_NET_ID},
        {"home_net_id", "000013", IMPORT_LINT_MISSING_AS_ID},
        {"as_id", "two words", IMPORT_LINT_BAD_AS_ID},
        {"as_id", "demo-as", IMPORT_LINT_MISSING_HOME_NET_ID},
        {"code", "ABC!", IMPORT_LINT_BAD_CODE},
        {"code", "0123456789ABCDEF0123456789ABCDEFG", IMPORT_LINT_BAD_CODE},
        {"code", "- -", IMPORT_LINT_BAD_CODE},
        {"code", "ab-12 cd", N_IMPORT_LINTS},
        {"serial", "\xC3\xBC", IMPORT_LINT_BAD_SERIAL},
        {"join_nonce", "16777216", IMPORT_LINT_BAD_JOIN_NONCE},
        {"join_nonce", "-1", IMPORT_LINT_BAD_JOIN_NONCE},
        {"join_nonce", "0xFFFFFF", N_IMPORT_LINTS},
        {"dev_nonce", "65536", IMPORT_LINT_BAD_DEV_NONCE},
        {"dev_nonce", "1e3", IMPORT_LINT_BAD_DEV_NONCE},
        {"used_dev_nonces", "7-3", IMPORT_LINT_BAD_USED_DEV_NONCES},
        {"used_dev_nonces", "1;2|3 x", IMPORT_LINT_BAD_USED_DEV_NONCES},
        {"used_dev_nonces", "1;2|3  4-6", N_IMPORT_LINTS},
        {"state", "delivered", IMPORT_LINT_BAD_STATE},
        {"state", "Activable", N_IMPORT_LINTS},
        {"name", "x", N_IMPORT_LINTS},
    };
    char text[600];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(text, sizeof(text),
            "dev_eui,join_eui,app_key,mac_version,%s\n" EUI "," JOIN "," KEY_A ",1.0.2,%s\n",
            cases[i].name, cases[i].value);
        ck_assert_int_eq(read_as(IMPORT_CSV, &nothing, text), IMPORT_OK);
        has_only(&reading.rows[0], cases[i].lint, cases[i].value);
        (void)snprintf(text, sizeof(text),
            "{\"dev_eui\":\"" EUI "\",\"join_eui\":\"" JOIN "\",\"app_key\":\"" KEY_A
            "\",\"mac_version\":\"1.0.2\",\"%s\":\"%s\"}",
            cases[i].name, cases[i].value);
        ck_assert_int_eq(read_as(IMPORT_JSONL, &nothing, text), IMPORT_OK);
        has_only(&reading.rows[0], cases[i].lint, cases[i].value);
    }
}
END_TEST

START_TEST(the_version_and_the_keys_must_go_together)
{
    static const struct {
        const char *row;
        enum import_lint lint;
        bool has_nwk;
    } cases[] = {
        {"1.0.2," KEY_A ",", N_IMPORT_LINTS, false},
        {"1.0.4,," KEY_A, N_IMPORT_LINTS, false},
        {"MAC_V1_0_3," KEY_A ",", N_IMPORT_LINTS, false},
        {"1.0.3," KEY_A "," KEY_B, IMPORT_LINT_TWO_ROOT_KEYS, false},
        {"1.1," KEY_B "," KEY_A, N_IMPORT_LINTS, true},
        {"1.1," KEY_A ",", IMPORT_LINT_MISSING_NWK_KEY, false},
        {"1.1,," KEY_A, IMPORT_LINT_MISSING_APP_KEY, true},
        {"1.1,,", IMPORT_LINT_MISSING_KEY, false},
        {"," KEY_A ",", IMPORT_LINT_MISSING_MAC_VERSION, false},
        {"1.2," KEY_A ",", IMPORT_LINT_BAD_MAC_VERSION, false},
        {"1.0.2," KEY_A, IMPORT_LINT_FIELD_COUNT, false},
        {"1.0.2," KEY_A ",,", IMPORT_LINT_FIELD_COUNT, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[400];

        (void)snprintf(text, sizeof(text),
            "dev_eui,join_eui,mac_version,app_key,nwk_key\n" EUI "," JOIN ",%s\n", cases[i].row);
        ck_assert_int_eq(read_as(IMPORT_CSV, &nothing, text), IMPORT_OK);
        has_only(&reading.rows[0], cases[i].lint, cases[i].row);
        ck_assert_int_eq(reading.rows[0].nwk.form != IMPORT_KEY_NONE, cases[i].has_nwk);
        ck_assert_int_eq(import_row_refused(&reading.rows[0]), cases[i].lint != N_IMPORT_LINTS);
        if (cases[i].lint == N_IMPORT_LINTS)
            ck_assert_int_eq(reading.rows[0].app.form, IMPORT_KEY_CLEAR);
    }
}
END_TEST

START_TEST(columns_come_in_any_order_and_a_row_overrides_the_request)
{
    static const struct import_defaults defaults = {.has_mac_version = true,
        .mac_version = LW_MAC_1_0_3,
        .has_home_net_id = true,
        .home_net_id = {{0, 0, 0x13}},
        .as_id = "as-of-request",
        .state = CREDENTIAL_ACTIVABLE};

    ck_assert_int_eq(read_as(IMPORT_CSV, &defaults,
                         " AS_ID ,App_Key,\"join_eui\",dev_eui,home_net_id,mac_version\n"
                         "as-of-row," KEY_A "," JOIN "," EUI ",000024,1.0.4\n"
                         "," KEY_A "," JOIN "," EUI ",,\n"),
        IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 2);
    ck_assert_str_eq(reading.rows[0].as_id, "as-of-row");
    ck_assert_uint_eq(reading.rows[0].home_net_id.bytes[2], 0x24);
    ck_assert_int_eq(reading.rows[0].mac_version, LW_MAC_1_0_4);
    ck_assert_str_eq(reading.rows[1].as_id, "as-of-request");
    ck_assert_uint_eq(reading.rows[1].home_net_id.bytes[2], 0x13);
    ck_assert_int_eq(reading.rows[1].mac_version, LW_MAC_1_0_3);
    ck_assert_int_eq(reading.rows[1].state, CREDENTIAL_ACTIVABLE);
}
END_TEST

START_TEST(a_line_that_is_no_object_is_a_fault_of_its_row_and_the_next_one_is_read)
{
    static const struct {
        const char *line;
        enum import_lint lint;
    } cases[] = {
        {"{", IMPORT_LINT_NOT_JSON},
        {"[]", IMPORT_LINT_NOT_JSON},
        {"{}x", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":\"a\",}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\" \"a\"}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":\"a\" \"name\":\"b\"}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":{\"a\":1}}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":\"\\ud800\"}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":\"\\udc00\"}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":\"\\u0000\"}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":\"\\x\"}", IMPORT_LINT_NOT_JSON},
        {"{\"serial\":\"\ta\"}", IMPORT_LINT_NOT_JSON},
        {"{\"join_nonce\":01}", IMPORT_LINT_NOT_JSON},
        {"{\"join_nonce\":1.}", IMPORT_LINT_NOT_JSON},
        {"{\"join_nonce\":1e}", IMPORT_LINT_NOT_JSON},
        {"{\"join_nonce\":nul}", IMPORT_LINT_NOT_JSON},
        {"{\"join_nonce\":-1}", IMPORT_LINT_BAD_JOIN_NONCE},
        {"{\"join_nonce\":1.5e+2}", IMPORT_LINT_BAD_JOIN_NONCE},
        {"{\"join_nonce\":true}", IMPORT_LINT_BAD_JOIN_NONCE},
        {"{\"join_nonce\":[1]}", IMPORT_LINT_BAD_JOIN_NONCE},
        {"{\"dev_eui\":1234567890123456}", IMPORT_LINT_BAD_DEV_EUI},
        {"{\"used_dev_nonces\":[1,]}", IMPORT_LINT_NOT_JSON},
        {"{\"used_dev_nonces\":[01]}", IMPORT_LINT_NOT_JSON},
        {"{\"used_dev_nonces\":[1 2]}", IMPORT_LINT_NOT_JSON},
        {"{\"used_dev_nonces\":[\"1\"]}", IMPORT_LINT_NOT_JSON},
        {"{\"used_dev_nonces\":[65536]}", IMPORT_LINT_BAD_USED_DEV_NONCES},
        {"{\"devEui\":\"a\"}", IMPORT_LINT_UNKNOWN_MEMBER},
        {"{\"a_member_with_a_name_that_is_longer_than_any\":1}", IMPORT_LINT_UNKNOWN_MEMBER},
        {"{\"serial\":\"a\",\"serial\":\"a\"}", IMPORT_LINT_REPEATED_MEMBER},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[600];

        (void)snprintf(text, sizeof(text),
            "%s\r\n { \"dev_eui\" : \"" EUI "\" ,\t\"join_eui\":\"" JOIN
            "\",\"\\u0061pp_key\":\"" KEY_A "\" , \"name\":\"\\ud83d\\ude00\\n\", "
            "\"used_dev_nonces\" : [ 0 , 10 ] , \"join_nonce\" : 0 } \n",
            cases[i].line);
        ck_assert_int_eq(read_as(IMPORT_JSONL, &version_1_0_3, text), IMPORT_OK);
        ck_assert_uint_eq(reading.n_rows, 2);
        has_only(&reading.rows[0], cases[i].lint, cases[i].line);
        has_only(&reading.rows[1], N_IMPORT_LINTS, "the next one");
        ck_assert_uint_eq(reading.rows[1].line, 2);
        ck_assert_str_eq(reading.rows[1].name, "\xF0\x9F\x98\x80\n");
        ck_assert_uint_eq(reading.used[1][1], 10);
    }
}
END_TEST

START_TEST(a_fault_of_the_file_names_the_line_and_keeps_the_rows_before_it)
{
    static const struct {
        enum import_format format;
        const char *text, *named;
        size_t n_rows;
    } cases[] = {
        {IMPORT_THINGPARK_CSV, TP(EUI, KEY_A) "\n" TP(EUI, "\"" KEY_B) "\n", "line 2: a quoted", 1},
        {IMPORT_THINGPARK_CSV, TP(EUI, "\"" KEY_B), "line 1: a quoted", 0},
        {IMPORT_THINGPARK_CSV,
            "CREATE_OTAA," EUI ",,\"two\nlines\",\"" JOIN "\n" TP(EUI, KEY_A) "\n",
            "line 2: a quoted", 0},
        {IMPORT_THINGPARK_CSV, TP(EUI, KEY_A) "\n\n" TP(EUI, KEY_B "\"") "\n", "line 3: a quote",
            1},
        {IMPORT_THINGPARK_CSV, TP(EUI, "\"" KEY_B "\"x") "\n", "line 1: a quote", 0},
        {IMPORT_CSV, "join_eui,app_key\n", "no column dev_eui", 0},
        {IMPORT_CSV, "dev_eui,app_key\n", "no column join_eui", 0},
        {IMPORT_CSV, "dev_eui,join_eui\n", "no column app_key", 0},
        {IMPORT_CSV, "dev_eui,join_eui,app_key_sealed\n", "no column mac_version", 0},
        {IMPORT_CSV, "dev_eui,join_eui,nwk_key,dev_eui\n", "line 1, column 4: dev_eui", 0},
        {IMPORT_CSV, "dev_eui,colour,app_key\n", "line 1, column 2, \"colour\"", 0},
        {IMPORT_TTS_CSV, "dev_eui;join_eui;name\n", "no column app_key", 0},
        {IMPORT_TTS_CSV, "dev_eui;join_eui;app_eui\n", "column 3: join_eui is there twice", 0},
        {IMPORT_JSONL, "{}\n{\"name\":\"\xFC\"}\n", "line 2: not UTF-8", 1},
        {IMPORT_JSONL, "{}\n\x1F\x8B\x08", "line 2: a NUL or control", 1},
        {IMPORT_THINGPARK_CSV, TP(EUI, KEY_A) "\n\xE4\n", "line 2: not UTF-8", 1},
        {IMPORT_THINGPARK_CSV, TP(EUI, KEY_A) "\n# \xC3", "line 2: not UTF-8", 1},
        {IMPORT_THINGPARK_CSV, "\xEF\xBB", "line 1: not UTF-8", 0},
        {IMPORT_THINGPARK_CSV, "\xED\xA0\x80", "line 1: not UTF-8", 0},
        {IMPORT_THINGPARK_CSV, "\xF4\x90\x80\x80", "line 1: not UTF-8", 0},
        {IMPORT_CSV,
            "\xFF\xFE"
            "d",
            "line 1: not UTF-8", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(read_as(cases[i].format, &nothing, cases[i].text) == IMPORT_BROKEN, "%s",
            cases[i].text);
        ck_assert_msg(
            strstr(reading.fault, cases[i].named) != NULL, "%s: %s", cases[i].text, reading.fault);
        ck_assert_uint_eq(reading.n_rows, cases[i].n_rows);
    }
    ck_assert_int_eq(read_len(IMPORT_CSV, &nothing, "dev_eui\0", sizeof("dev_eui")), IMPORT_BROKEN);
    ck_assert_ptr_nonnull(strstr(reading.fault, "line 1: a NUL"));
}
END_TEST

START_TEST(a_fault_says_no_key_again)
{
    static const char *const heads[] = {
        KEY_A, EUI, "deadbeef", "K7QM2XW9D4ZT8RHB", "name with \"quotes\""};

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        char text[200];

        (void)snprintf(text, sizeof(text), "%s,x\n", heads[i]);
        ck_assert_int_eq(read_as(IMPORT_CSV, &nothing, text), IMPORT_BROKEN);
        ck_assert_ptr_null(strstr(reading.fault, heads[i]));
    }
}
END_TEST

START_TEST(a_line_of_ten_megabytes_is_refused_without_being_kept)
{
    static const enum import_format kinds[] = {IMPORT_THINGPARK_CSV, IMPORT_JSONL};
    char *text = malloc(LONG_LINE);

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        memset(text, 'x', LONG_LINE);
        memcpy(text, "\n\n{\"name\":\"", 11);
        if (kinds[i] == IMPORT_THINGPARK_CSV)
            memset(text + 2, 'x', 9);
        ck_assert_int_eq(read_cut(kinds[i], &nothing, text, LONG_LINE, whole, 0), IMPORT_BROKEN);
        ck_assert_ptr_nonnull(strstr(reading.fault, "line 3: longer than 512 KiB"));
    }
    /* A comment and a quoted text are lines like others. */
    memset(text, 'x', LONG_LINE);
    text[0] = '#';
    ck_assert_int_eq(read_cut(IMPORT_CSV, &nothing, text, LONG_LINE, at_random, 1), IMPORT_BROKEN);
    text[0] = '"';
    ck_assert_int_eq(read_cut(IMPORT_CSV, &nothing, text, LONG_LINE, at_random, 2), IMPORT_BROKEN);
    ck_assert_ptr_nonnull(strstr(reading.fault, "line 1: longer"));
    free(text);
}
END_TEST

START_TEST(a_byte_order_mark_is_skipped_with_a_warning_once)
{
    ck_assert_int_eq(read_as(IMPORT_CSV, &version_1_0_3,
                         "\xEF\xBB\xBF"
                         "dev_eui,join_eui,app_key\r\n" EUI "," JOIN "," KEY_A "\r\n" EUI "," JOIN
                         "," KEY_A "\r\n"),
        IMPORT_OK);
    ck_assert_uint_eq(reading.n_rows, 2);
    has_only(&reading.rows[0], IMPORT_LINT_BYTE_ORDER_MARK, "the first");
    has_only(&reading.rows[1], N_IMPORT_LINTS, "the second");
    ck_assert(!import_row_refused(&reading.rows[0]));
}
END_TEST

START_TEST(a_file_without_a_row_is_empty)
{
    static const struct {
        enum import_format format;
        const char *text;
    } cases[] = {
        {IMPORT_CSV, ""},
        {IMPORT_CSV, "\xEF\xBB\xBF"},
        {IMPORT_CSV, "dev_eui,join_eui,app_key\n"},
        {IMPORT_CSV, "dev_eui,join_eui,app_key"},
        {IMPORT_THINGPARK_CSV, "# nothing\r\n\r\n"},
        {IMPORT_JSONL, " \n\n"},
        {IMPORT_TTS_CSV, "\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_int_eq(read_as(cases[i].format, &version_1_0_3, cases[i].text), IMPORT_EMPTY);
}
END_TEST

START_TEST(a_long_name_is_cut_between_characters)
{
    char text[400], name[2 * IMPORT_NAME_MAX];

    memset(name, 'n', sizeof(name));
    memcpy(name + IMPORT_NAME_MAX - 1, "\xC3\xBC", 2);
    (void)snprintf(text, sizeof(text), "CREATE_OTAA," EUI ",,," JOIN "," KEY_A ",,,,,%.*s",
        IMPORT_NAME_MAX + 10, name);
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, text), IMPORT_OK);
    has_only(&reading.rows[0], IMPORT_LINT_NAME_CUT, "a long name");
    ck_assert_uint_eq(strlen(reading.rows[0].name), IMPORT_NAME_MAX - 1);
}
END_TEST

START_TEST(formats_have_names)
{
    enum import_format format;

    for (unsigned i = 0; i < N_IMPORT_FORMATS; i++) {
        ck_assert(
            import_reader_format_parse(import_reader_format_text((enum import_format)i), &format));
        ck_assert_uint_eq(format, i);
    }
    ck_assert(!import_reader_format_parse("xls", &format));
}
END_TEST

START_TEST(a_chunk_that_was_cleared_holds_no_key)
{
    CLEANUP(import_reader_freep) struct import_reader *reader = NULL;
    static const char text[] = TP(EUI, KEY_A) "\n";
    struct import_chunk chunk;
    size_t n;
    const unsigned char *bytes;

    ck_assert_int_eq(import_chunk_init(&chunk, 1), 0);
    bytes = (const unsigned char *)chunk.rows;
    ck_assert_int_eq(import_reader_new(IMPORT_THINGPARK_CSV, &version_1_0_3, &reader), 0);
    ck_assert_int_eq(import_reader_feed(reader, text, sizeof(text) - 1, &chunk, &n), IMPORT_FULL);
    ck_assert_int_eq(chunk.rows[0].app.clear.bytes[0], 0xC0);
    import_chunk_clear(&chunk);
    for (size_t i = 0; i < sizeof(chunk.rows[0]); i++)
        ck_assert_uint_eq(bytes[i], 0);
    import_chunk_done(&chunk);
}
END_TEST

SUITE_MAIN("import_reader", 60, a_thingpark_file_has_its_values_in_their_places,
    a_file_of_the_things_stack_is_read_by_its_header, a_plain_file_brings_a_fleet_with_its_counters,
    json_lines_have_the_columns_as_members,
    lines_are_physical_and_comments_and_empty_lines_are_no_rows,
    a_full_chunk_stops_the_reading_and_loses_nothing, rows_with_many_nonces_fill_a_chunk_too,
    each_nonce_there_is_may_be_written_out, the_fault_of_a_row_is_its_own,
    what_a_column_cannot_hold_is_a_fault_of_the_row, the_version_and_the_keys_must_go_together,
    columns_come_in_any_order_and_a_row_overrides_the_request,
    a_line_that_is_no_object_is_a_fault_of_its_row_and_the_next_one_is_read,
    a_fault_of_the_file_names_the_line_and_keeps_the_rows_before_it, a_fault_says_no_key_again,
    a_line_of_ten_megabytes_is_refused_without_being_kept,
    a_byte_order_mark_is_skipped_with_a_warning_once, a_file_without_a_row_is_empty,
    a_long_name_is_cut_between_characters, formats_have_names,
    a_chunk_that_was_cleared_holds_no_key)
