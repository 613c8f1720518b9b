#include "activation/import_csv.h"

#include "base/text.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_A "000102030405060708090a0b0c0d0e0f"
#define KEY_B "101112131415161718191A1B1C1D1E1F"
#define EUI "20635f00c4000017"
#define JOIN "20635f0000000100"
#define TP(dev, key) "CREATE_OTAA," dev ",,SMTC/LoRaMote.2.classA," JOIN "," key

static struct import_file file;
static char fault[IMPORT_FILE_FAULT_MAX];

static const struct import_defaults version_1_0_3 = {
    .has_mac_version = true, .mac_version = LW_MAC_1_0_3};
static const struct import_defaults nothing;

static int read_as(
    enum import_format format, const struct import_defaults *defaults, const char *text)
{
    import_file_done(&file);
    return import_csv_read(format, text, strlen(text), defaults, &file, fault);
}

START_TEST(a_thingpark_row_has_its_values_in_their_places)
{
    static const uint8_t key[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    ck_assert_int_eq(
        read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, TP(EUI, KEY_A) ",x,y\r\n"), IMPORT_OK);
    ck_assert_uint_eq(file.n_rows, 1);
    ck_assert_int_eq(file.rows[0].fault, IMPORT_FAULT_NONE);
    ck_assert_uint_eq(file.rows[0].line, 1);
    ck_assert_uint_eq(eui64_to_u64(&file.rows[0].dev_eui), 0x20635f00c4000017);
    ck_assert_uint_eq(eui64_to_u64(&file.rows[0].join_eui), 0x20635f0000000100);
    ck_assert_mem_eq(file.rows[0].app.bytes, key, sizeof(key));
    ck_assert(file.rows[0].has_app && !file.rows[0].has_nwk);
    ck_assert_int_eq(file.rows[0].mac_version, LW_MAC_1_0_3);
    ck_assert(!file.rows[0].has_home_net_id);
}
END_TEST

START_TEST(lines_are_physical_and_comments_and_empty_lines_are_no_rows)
{
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3,
                         "# a \"comment\n\n   \n" TP(EUI, KEY_A) "\r\n\r\n#\n"
                                                                 "CREATE_OTAA," EUI
                                                                 ",,\"a model\nof two lines\"," JOIN
                                                                 "," KEY_A "\r" TP(EUI, KEY_A)),
        IMPORT_OK);
    ck_assert_uint_eq(file.n_rows, 3);
    ck_assert_uint_eq(file.rows[0].line, 4);
    ck_assert_uint_eq(file.rows[1].line, 7);
    ck_assert_uint_eq(file.rows[2].line, 9);
    for (size_t i = 0; i < file.n_rows; i++)
        ck_assert_int_eq(file.rows[i].fault, IMPORT_FAULT_NONE);
}
END_TEST

START_TEST(the_fault_of_a_row_is_its_own)
{
    static const struct {
        const char *text;
        enum import_fault fault;
    } cases[] = {
        {TP(EUI, KEY_A), IMPORT_FAULT_NONE},
        {"UPDATE_OTAA," EUI ",,," JOIN "," KEY_A, IMPORT_FAULT_DIRECTIVE},
        {"," EUI ",,," JOIN "," KEY_A, IMPORT_FAULT_DIRECTIVE},
        {TP("20635f00c400001", KEY_A), IMPORT_FAULT_DEV_EUI},
        {TP("20635f00c40000170", KEY_A), IMPORT_FAULT_DEV_EUI},
        {TP("20635f00c400001g", KEY_A), IMPORT_FAULT_DEV_EUI},
        {TP("", KEY_A), IMPORT_FAULT_NO_DEV_EUI},
        {"CREATE_OTAA," EUI ",,,x," KEY_A, IMPORT_FAULT_JOIN_EUI},
        {"CREATE_OTAA," EUI ",,,," KEY_A, IMPORT_FAULT_NO_JOIN_EUI},
        {TP(EUI, "00"), IMPORT_FAULT_APP_KEY},
        {TP(EUI, KEY_A "0"), IMPORT_FAULT_APP_KEY},
        {TP(EUI, ""), IMPORT_FAULT_NO_KEY},
        {"CREATE_OTAA", IMPORT_FAULT_NO_DEV_EUI},
        {TP("20-63-5F-00-C4-00-00-17", "\"" KEY_B "\""), IMPORT_FAULT_NONE},
        {TP(" 0x20635f00c4000017 ", KEY_B), IMPORT_FAULT_NONE},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, cases[i].text) == IMPORT_OK,
            "%s", cases[i].text);
        ck_assert_uint_eq(file.n_rows, 1);
        ck_assert_msg(file.rows[0].fault == cases[i].fault, "%s: %s", cases[i].text,
            import_fault_code(file.rows[0].fault));
    }
}
END_TEST

START_TEST(the_version_and_the_keys_must_go_together)
{
    static const struct {
        const char *row;
        enum import_fault fault;
        bool has_nwk;
    } cases[] = {
        {"1.0.2," KEY_A ",", IMPORT_FAULT_NONE, false},
        {"1.0.4,," KEY_A, IMPORT_FAULT_NONE, false},
        {"1.0.3," KEY_A "," KEY_B, IMPORT_FAULT_TWO_KEYS, true},
        {"1.1," KEY_B "," KEY_A, IMPORT_FAULT_NONE, true},
        {"1.1," KEY_A ",", IMPORT_FAULT_NO_NWK_KEY, false},
        {"1.1,," KEY_A, IMPORT_FAULT_NO_APP_KEY, true},
        {"1.1,,", IMPORT_FAULT_NO_KEY, false},
        {"," KEY_A ",", IMPORT_FAULT_NO_MAC_VERSION, false},
        {"1.2," KEY_A ",", IMPORT_FAULT_MAC_VERSION, false},
        {"1.0.2," KEY_A ",12", IMPORT_FAULT_NWK_KEY, false},
    };
    static const uint8_t key_a[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[400];

        (void)snprintf(text, sizeof(text),
            "dev_eui,join_eui,mac_version,app_key,nwk_key\n" EUI "," JOIN ",%s\n", cases[i].row);
        ck_assert_int_eq(read_as(IMPORT_CSV, &nothing, text), IMPORT_OK);
        ck_assert_msg(file.rows[0].fault == cases[i].fault, "%s: %s", cases[i].row,
            import_fault_code(file.rows[0].fault));
        ck_assert_int_eq(file.rows[0].has_nwk, cases[i].has_nwk);
        if (cases[i].fault == IMPORT_FAULT_NONE && file.rows[0].mac_version != LW_MAC_1_1)
            ck_assert_mem_eq(file.rows[0].app.bytes, key_a, sizeof(key_a));
        if (cases[i].fault == IMPORT_FAULT_NONE && file.rows[0].mac_version == LW_MAC_1_1)
            ck_assert_mem_eq(file.rows[0].nwk.bytes, key_a, sizeof(key_a));
    }
}
END_TEST

START_TEST(columns_come_in_any_order_and_a_row_overrides_the_request)
{
    static const struct import_defaults defaults = {.has_mac_version = true,
        .mac_version = LW_MAC_1_0_3,
        .has_home_net_id = true,
        .home_net_id = {{0, 0, 0x13}},
        .as_id = "as-of-request"};

    ck_assert_int_eq(read_as(IMPORT_CSV, &defaults,
                         " AS_ID ,App_Key,\"join_eui\",dev_eui,home_net_id,mac_version\n"
                         "as-of-row," KEY_A "," JOIN "," EUI ",000024,1.0.4\n"
                         "," KEY_A "," JOIN "," EUI "\n"),
        IMPORT_OK);
    ck_assert_uint_eq(file.n_rows, 2);
    ck_assert_int_eq(file.rows[0].fault, IMPORT_FAULT_NONE);
    ck_assert_str_eq(file.rows[0].as_id, "as-of-row");
    ck_assert_uint_eq(file.rows[0].home_net_id.bytes[2], 0x24);
    ck_assert_int_eq(file.rows[0].mac_version, LW_MAC_1_0_4);
    ck_assert_int_eq(file.rows[1].fault, IMPORT_FAULT_NONE);
    ck_assert_str_eq(file.rows[1].as_id, "as-of-request");
    ck_assert_uint_eq(file.rows[1].home_net_id.bytes[2], 0x13);
    ck_assert_int_eq(file.rows[1].mac_version, LW_MAC_1_0_3);
}
END_TEST

START_TEST(home_network_and_application_server_go_together)
{
    static const struct {
        const char *row;
        enum import_fault fault;
    } cases[] = {
        {"000013,demo-as", IMPORT_FAULT_NONE},
        {",", IMPORT_FAULT_NONE},
        {"000013,", IMPORT_FAULT_NO_AS_ID},
        {",demo-as", IMPORT_FAULT_NO_HOME_NET_ID},
        {"13,demo-as", IMPORT_FAULT_HOME_NET_ID},
        {"000013,two words", IMPORT_FAULT_AS_ID},
        {"000013,demo-as,more", IMPORT_FAULT_FIELDS},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[400];

        (void)snprintf(text, sizeof(text),
            "dev_eui,join_eui,app_key,home_net_id,as_id\n" EUI "," JOIN "," KEY_A ",%s\n",
            cases[i].row);
        ck_assert_int_eq(read_as(IMPORT_CSV, &version_1_0_3, text), IMPORT_OK);
        ck_assert_msg(file.rows[0].fault == cases[i].fault, "%s: %s", cases[i].row,
            import_fault_code(file.rows[0].fault));
    }
}
END_TEST

START_TEST(a_fault_of_the_file_names_the_line_or_column_and_nothing_of_its_contents)
{
    static const struct {
        enum import_format format;
        const char *text, *named;
    } cases[] = {
        {IMPORT_THINGPARK_CSV, TP(EUI, KEY_A) "\n" TP(EUI, "\"" KEY_B) "\n", "line 2"},
        {IMPORT_THINGPARK_CSV, TP(EUI, "\"" KEY_B), "line 1"},
        {IMPORT_THINGPARK_CSV, TP(EUI, KEY_A) "\n\n" TP(EUI, KEY_B "\"") "\n", "line 3"},
        {IMPORT_THINGPARK_CSV, TP(EUI, "\"" KEY_B "\"x") "\n", "line 1"},
        {IMPORT_CSV, "join_eui,app_key\n", "dev_eui"},
        {IMPORT_CSV, "dev_eui,app_key\n", "join_eui"},
        {IMPORT_CSV, "dev_eui,join_eui\n", "app_key"},
        {IMPORT_CSV, "dev_eui,join_eui,nwk_key,dev_eui\n", "dev_eui is there twice"},
        {IMPORT_CSV, EUI "," JOIN "," KEY_B "\n", "line 1, column 1"},
        {IMPORT_CSV, "dev_eui,join_eui,appkey\n", "column 3"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(
            read_as(cases[i].format, &version_1_0_3, cases[i].text) == IMPORT_BROKEN, "%zu", i);
        ck_assert_msg(strstr(fault, cases[i].named) != NULL, "%zu: %s", i, fault);
        ck_assert_msg(strstr(fault, "1011") == NULL, "%s", fault);
    }
}
END_TEST

START_TEST(csv_needs_the_version_from_the_request_or_a_column)
{
    ck_assert_int_eq(read_as(IMPORT_CSV, &nothing, "dev_eui,join_eui,app_key\n"), IMPORT_BROKEN);
    ck_assert_ptr_nonnull(strstr(fault, "mac_version"));
    ck_assert_int_eq(
        read_as(IMPORT_CSV, &nothing, "dev_eui,join_eui,app_key,mac_version\n"), IMPORT_EMPTY);
}
END_TEST

START_TEST(a_file_without_rows_is_empty)
{
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, ""), IMPORT_EMPTY);
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, "# x\n\n"), IMPORT_EMPTY);
    ck_assert_int_eq(read_as(IMPORT_CSV, &version_1_0_3, ""), IMPORT_EMPTY);
    ck_assert_int_eq(read_as(IMPORT_CSV, &version_1_0_3, "\xEF\xBB\xBF"), IMPORT_EMPTY);
}
END_TEST

START_TEST(a_byte_order_mark_is_skipped_with_a_warning)
{
    ck_assert_int_eq(
        read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, "\xEF\xBB\xBF" TP(EUI, KEY_A)), IMPORT_OK);
    ck_assert_int_eq(file.rows[0].fault, IMPORT_FAULT_NONE);
    ck_assert_uint_eq(file.rows[0].warnings, 1u << IMPORT_WARN_BOM);
}
END_TEST

static void read_many(size_t n, int outcome)
{
    struct text text = {0};

    for (size_t i = 0; i < n; i++)
        text_addf(&text, "CREATE_OTAA,%016zx,,," JOIN "," KEY_A "\n", i);
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, text.data), outcome);
    text_done(&text);
}

START_TEST(ten_thousand_rows_are_taken_and_one_more_is_too_many)
{
    read_many(IMPORT_ROWS_MAX, IMPORT_OK);
    ck_assert_uint_eq(file.n_rows, 10000);
    ck_assert_uint_eq(file.rows[9999].line, 10000);
    ck_assert_uint_eq(eui64_to_u64(&file.rows[9999].dev_eui), 9999);
    read_many(IMPORT_ROWS_MAX + 1, IMPORT_TOO_MANY);
}
END_TEST

START_TEST(lines_and_fields_have_a_largest_length)
{
    struct text text = {0};

    text_add(&text, TP(EUI, KEY_A) "\n");
    for (int i = 0; i <= IMPORT_LINE_MAX; i++)
        text_add(&text, "x");
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, text.data), IMPORT_BROKEN);
    ck_assert_ptr_nonnull(strstr(fault, "line 2"));
    text_clear(&text);
    text_add(&text, TP(EUI, KEY_A) "\n\"");
    for (int i = 0; i <= IMPORT_FIELD_MAX; i++)
        text_add(&text, "\n");
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, text.data), IMPORT_BROKEN);
    ck_assert_ptr_nonnull(strstr(fault, "line 2: a field is longer"));
    text_done(&text);
}
END_TEST

START_TEST(the_published_sample_reads_without_a_fault)
{
    static const uint8_t last[] = {0x17, 0x19, 0x22, 0x25, 0x28, 0x31, 0x34, 0x37, 0x40, 0x43, 0x46,
        0x49, 0x52, 0x55, 0x58, 0x61};
    char path[512], text[4096];
    FILE *sample;
    size_t n;

    (void)snprintf(path, sizeof(path), "%s/thingpark-sample.csv", getenv("CRADLE_TEST_DATA"));
    sample = fopen(path, "re");
    ck_assert_ptr_nonnull(sample);
    n = fread(text, 1, sizeof(text) - 1, sample);
    (void)fclose(sample);
    text[n] = '\0';
    ck_assert_int_eq(read_as(IMPORT_THINGPARK_CSV, &version_1_0_3, text), IMPORT_OK);
    ck_assert_uint_eq(file.n_rows, sizeof(last));
    for (size_t i = 0; i < sizeof(last); i++) {
        ck_assert_int_eq(file.rows[i].fault, IMPORT_FAULT_NONE);
        ck_assert_uint_eq(eui64_to_u64(&file.rows[i].dev_eui), 0x20635f00c4000000 | last[i]);
    }
}
END_TEST

START_TEST(formats_have_names)
{
    enum import_format format;

    ck_assert(import_format_parse("thingpark-csv", &format) && format == IMPORT_THINGPARK_CSV);
    ck_assert(import_format_parse("csv", &format) && format == IMPORT_CSV);
    ck_assert_str_eq(import_format_text(IMPORT_CSV), "csv");
    ck_assert(!import_format_parse("", &format));
    ck_assert(!import_format_parse("CSV", &format));
}
END_TEST

SUITE_MAIN("import_csv", 30, a_thingpark_row_has_its_values_in_their_places,
    lines_are_physical_and_comments_and_empty_lines_are_no_rows, the_fault_of_a_row_is_its_own,
    the_version_and_the_keys_must_go_together,
    columns_come_in_any_order_and_a_row_overrides_the_request,
    home_network_and_application_server_go_together,
    a_fault_of_the_file_names_the_line_or_column_and_nothing_of_its_contents,
    csv_needs_the_version_from_the_request_or_a_column, a_file_without_rows_is_empty,
    a_byte_order_mark_is_skipped_with_a_warning,
    ten_thousand_rows_are_taken_and_one_more_is_too_many, lines_and_fields_have_a_largest_length,
    the_published_sample_reads_without_a_fault, formats_have_names)
