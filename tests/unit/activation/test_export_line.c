#include "activation/export_line.h"

#include "activation/import_reader.h"
#include "base/error.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

static struct db_export_row row;
static struct db_export_nonces pages[DB_EXPORT_PAGES];
static struct export_line line;
static struct text text;

static void setup(enum lw_mac_version version)
{
    memset(pages, 0, sizeof(pages));
    row = (struct db_export_row){.record = {.dev_eui = {{0x02, 0xcd, 0xcd, 0, 0, 0, 0, 0xab}},
                                     .join_eui = {{0x20, 0x63, 0x5f, 0, 0, 0, 1, 0}},
                                     .mac_version = version,
                                     .credential = CREDENTIAL_ACTIVABLE},
        .last_dev_nonce = DEVICE_NO_NONCE};
    line = (struct export_line){.row = &row, .pages = pages, .model = ""};
    text_done(&text);
}

static const char *written(enum db_export_format format)
{
    text_clear(&text);
    export_line_write(format, &line, &text);
    ck_assert(!text.failed);
    return text.data;
}

static void use(uint32_t nonce)
{
    size_t i = 0;

    while (i < line.n_pages && pages[i].page != nonce / 2048)
        i++;
    if (i == line.n_pages)
        pages[line.n_pages++].page = (uint16_t)(nonce / 2048);
    pages[i].bits[nonce % 2048 / 8] |= (uint8_t)(1u << (nonce % 8));
}

#define HEAD "{\"dev_eui\":\"02cdcd00000000ab\",\"join_eui\":\"20635f0000000100\",\"mac_version\":"
#define TAIL ",\"state\":\"activable\"}\n"

START_TEST(a_device_says_what_there_is_of_it_and_no_more)
{
    setup(LW_MAC_1_0_4);
    ck_assert_str_eq(written(EXPORT_CRADLE_JSONL), HEAD "\"1.0.4\",\"join_nonce\":0" TAIL);
    row.join_nonce = 16777215;
    row.last_dev_nonce = 0;
    line.app_key = "QQ==";
    ck_assert_str_eq(written(EXPORT_CRADLE_JSONL),
        HEAD "\"1.0.4\",\"app_key_sealed\":\"QQ==\",\"join_nonce\":16777215,\"dev_nonce\":0" TAIL);
    row.record.credential = CREDENTIAL_DELIVERED; /* no state that an import knows */
    row.record.has_home_net_id = true;            /* and a home without an application server */
    ck_assert_ptr_null(strstr(written(EXPORT_CRADLE_JSONL), "state"));
    ck_assert_ptr_null(strstr(text.data, "home_net_id"));
    memcpy(row.record.as_id, "as", 3);
    ck_assert_ptr_nonnull(
        strstr(written(EXPORT_CRADLE_JSONL), ",\"home_net_id\":\"000000\",\"as_id\":\"as\"}\n"));
}
END_TEST

START_TEST(used_dev_nonces_are_ranges)
{
    static const struct {
        uint32_t from, to;
    } ranges[] = {{0, 0}, {2, 3}, {5, 5}, {2040, 2060}, {4096, 4096}, {65535, 65535}};

    setup(LW_MAC_1_0_2);
    row.last_dev_nonce = 7; /* not of a version that counts */
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        for (uint32_t nonce = ranges[i].from; nonce <= ranges[i].to; nonce++)
            use(nonce);
    ck_assert_str_eq(written(EXPORT_CRADLE_JSONL),
        HEAD "\"1.0.2\",\"join_nonce\":0,\"used_dev_nonces\":\"0 2-3 5 2040-2047 2048-2060 4096 "
             "65535\"" TAIL);
}
END_TEST

/* The longest there is: every other one. */
START_TEST(the_longest_line_fits_a_piece_and_an_import)
{
    struct import_reader *reader = NULL;
    struct import_chunk chunk = {0};
    char key[513];
    size_t consumed;

    setup(LW_MAC_1_0_2);
    for (uint32_t nonce = 0; nonce < 65536; nonce += 2)
        use(nonce);
    memset(key, 'Q', 512);
    key[512] = '\0';
    line.app_key = key;
    memset(row.serial, '"', DB_SERIAL_MAX);
    memset(row.name, 1, DB_DEVICE_NAME_MAX);
    (void)written(EXPORT_CRADLE_JSONL);
    ck_assert_uint_lt(text.len, DB_EXPORT_PART_MAX / 2);
    ck_assert_int_eq(import_reader_new(IMPORT_JSONL,
                         &(struct import_defaults){.state = CREDENTIAL_ACTIVABLE}, &reader),
        0);
    ck_assert_int_eq(import_chunk_init(&chunk, 4), 0);
    ck_assert_int_ge(import_reader_feed(reader, text.data, text.len, &chunk, &consumed), 0);
    ck_assert_int_eq(import_reader_end(reader, &chunk), IMPORT_OK);
    ck_assert_uint_eq(chunk.n_rows, 1);
    ck_assert_uint_eq(chunk.rows[0].n_used_dev_nonces, 32768);
    ck_assert_str_eq(chunk.rows[0].serial, row.serial);
    ck_assert_str_eq(chunk.rows[0].name, row.name);
    ck_assert_int_eq(chunk.rows[0].app.form, IMPORT_KEY_SEALED);
    import_chunk_done(&chunk);
    import_reader_free(reader);
}
END_TEST

START_TEST(csv_is_quoted_where_need_be)
{
    setup(LW_MAC_1_1);
    ck_assert_str_eq(written(EXPORT_TTS_CSV),
        "eui-02cdcd00000000ab;02CDCD00000000AB;20635F0000000100;;MAC_V1_1\n");
    ck_assert_str_eq(
        written(EXPORT_THINGPARK_CSV), "CREATE_OTAA,02CDCD00000000AB,,,20635F0000000100,,,,,,\n");
    memcpy(row.name, "a\"b;c,d\n", 9);
    line.model = "m,1";
    ck_assert_str_eq(written(EXPORT_TTS_CSV),
        "eui-02cdcd00000000ab;02CDCD00000000AB;20635F0000000100;\"a\"\"b;c,d\n\";MAC_V1_1\n");
    ck_assert_str_eq(written(EXPORT_THINGPARK_CSV),
        "CREATE_OTAA,02CDCD00000000AB,,\"m,1\",20635F0000000100,,,,,,\"a\"\"b;c,d\n\"\n");
}
END_TEST

START_TEST(versions_are_named_as_the_things_stack_names_them)
{
    static const char *const names[] = {[LW_MAC_1_0_0] = ";MAC_V1_0\n",
        [LW_MAC_1_0_1] = ";MAC_V1_0_1\n",
        [LW_MAC_1_0_2] = ";MAC_V1_0_2\n",
        [LW_MAC_1_0_3] = ";MAC_V1_0_3\n",
        [LW_MAC_1_0_4] = ";MAC_V1_0_4\n",
        [LW_MAC_1_1] = ";MAC_V1_1\n"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setup((enum lw_mac_version)i);
        (void)written(EXPORT_TTS_CSV);
        ck_assert_str_eq(text.data + text.len - strlen(names[i]), names[i]);
    }
    text_done(&text);
}
END_TEST

SUITE_MAIN("export line", 20, a_device_says_what_there_is_of_it_and_no_more,
    used_dev_nonces_are_ranges, the_longest_line_fits_a_piece_and_an_import,
    csv_is_quoted_where_need_be, versions_are_named_as_the_things_stack_names_them)
