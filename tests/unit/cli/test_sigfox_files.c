#include "cli/sigfox_files.h"

#include "base/aes.h"
#include "base/error.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

#define N_MAX 64
#define BLOCK_LEN 16

static const struct secret_key file_key = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
static struct sigfox_files files;
static uint8_t clear[N_MAX * SIGFOX_RECORD_LEN], sealed[sizeof(clear)];
static char pacs[N_MAX * 40];

/* Descending, so that neither file is in the order of its ids. */
static uint32_t id_of(unsigned i)
{
    return 0xFEDCBA98U - i * 0x01010101U;
}

static void make_files(unsigned n)
{
    size_t at = 0;

    sigfox_files_done(&files);
    memset(clear, 0, sizeof(clear));
    for (unsigned i = 0; i < n; i++) {
        uint8_t *record = clear + i * SIGFOX_RECORD_LEN;

        for (unsigned k = 0; k < 4; k++)
            record[k] = (uint8_t)(id_of(i) >> (8 * k));
        memset(record + BLOCK_LEN, (int)(0x10 + i), AES_KEY_LEN);
        at += (size_t)snprintf(pacs + at, sizeof(pacs) - at, "%08X;%016X;N/A\r\n", id_of(n - 1 - i),
            0x1000 + n - 1 - i);
    }
    ck_assert_int_eq(aes_ecb_encrypt(&file_key, clear, n * SIGFOX_RECORD_LEN, sealed), 0);
}

static int read_keys(const struct secret_key *key, size_t len)
{
    return sigfox_files_read_keys(&files, key, sealed, len);
}

static int read_pacs(void)
{
    return sigfox_files_read_pacs(&files, pacs, strlen(pacs));
}

static int join(unsigned n)
{
    ck_assert_int_eq(read_keys(&file_key, n * SIGFOX_RECORD_LEN), 0);
    ck_assert_int_eq(read_pacs(), 0);
    return sigfox_files_join(&files);
}

static void is_refused(int r, const char *said)
{
    ck_assert_int_eq(r, ERROR_INPUT);
    ck_assert_msg(strstr(error_text(), said) != NULL, "%s: %s", said, error_text());
}

START_TEST(each_id_gets_its_pac_and_its_nak_in_the_order_of_the_pacs)
{
    char line[SIGFOX_LINE_LEN + 1];

    make_files(3);
    ck_assert_int_eq(join(3), 0);
    ck_assert_uint_eq(files.n_pacs, 3);
    sigfox_files_line(&files, 0, line);
    ck_assert_str_eq(line, "fcdab896;0000000000001002;12121212121212121212121212121212\n");
    sigfox_files_line(&files, 2, line);
    ck_assert_str_eq(line, "fedcba98;0000000000001000;10101010101010101010101010101010\n");
    sigfox_files_done(&files);
}
END_TEST

START_TEST(a_file_that_was_cut_off_names_its_last_record)
{
    make_files(3);
    is_refused(
        read_keys(&file_key, 2 * SIGFOX_RECORD_LEN + 5), "5 bytes stand behind its record 2");
    is_refused(read_keys(&file_key, 0), "empty");
}
END_TEST

START_TEST(a_wrong_key_is_told_from_a_changed_record)
{
    struct secret_key wrong = file_key;

    make_files(8);
    wrong.bytes[0] ^= 1;
    is_refused(
        read_keys(&wrong, 8 * SIGFOX_RECORD_LEN), "probably not this file's: 8 of 8 records");
    sigfox_files_done(&files);
    sealed[5 * SIGFOX_RECORD_LEN] ^= 1;
    is_refused(read_keys(&file_key, 8 * SIGFOX_RECORD_LEN), "record 6 of the key file");
    sigfox_files_done(&files);
}
END_TEST

START_TEST(an_id_that_is_not_once_in_both_is_named_with_its_place)
{
    make_files(3);
    memcpy(sealed + 3 * SIGFOX_RECORD_LEN, sealed, SIGFOX_RECORD_LEN);
    is_refused(join(4), "fedcba98 is in records 1 and 4 of the key file");
    make_files(3);
    memcpy(pacs, "FEDCBA98", 8);
    is_refused(join(3), "fcdab896 is in record 3 of the key file, and not in the PAC file");
    make_files(3);
    memcpy(strchr(pacs, '\n') + 1, "FCDAB896", 8);
    is_refused(join(3), "fcdab896 is in lines 1 and 2 of the PAC file");
    make_files(3);
    memcpy(pacs, "00000007", 8);
    is_refused(join(3), "00000007 is in line 1 of the PAC file, and not in the key file");
    make_files(3);
    is_refused(join(2), "fcdab896 is in line 1 of the PAC file, and not in the key file");
    sigfox_files_done(&files);
}
END_TEST

START_TEST(a_line_that_is_none_is_named_and_empty_ones_are_skipped)
{
    static const char *const bad[] = {"12345678", "1234567;0123456789ABCDEF",
        "12345678;0123456789ABCDE", "12345678;0123456789ABCDEFG", "12345678,0123456789ABCDEF",
        "0x345678;0123456789ABCDEF", "12345678;0x23456789ABCDEF", "12345678;0123456789ABCDEF,x"};
    static const char *const good[] = {"12345678;0123456789ABCDEF", "12345678;0123456789abcdef;",
        "12345678;0123456789ABCDEF;N/A;more", "\xEF\xBB\xBF\r\n12345678;0123456789ABCDEF\n\n\r\n"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(pacs, sizeof(pacs), "\r\n%s\n", bad[i]);
        is_refused(read_pacs(), "line 2 of the PAC file");
        sigfox_files_done(&files);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        (void)snprintf(pacs, sizeof(pacs), "%s", good[i]);
        ck_assert_msg(read_pacs() == 0, "%s", good[i]);
        ck_assert_uint_eq(files.n_pacs, 1);
        ck_assert_uint_eq(files.pacs[0].id, 0x12345678);
        sigfox_files_done(&files);
    }
    (void)snprintf(pacs, sizeof(pacs), "\n \r\n");
    is_refused(read_pacs(), "empty");
    sigfox_files_done(&files);
}
END_TEST

SUITE_MAIN("sigfox_files", 20, each_id_gets_its_pac_and_its_nak_in_the_order_of_the_pacs,
    a_file_that_was_cut_off_names_its_last_record, a_wrong_key_is_told_from_a_changed_record,
    an_id_that_is_not_once_in_both_is_named_with_its_place,
    a_line_that_is_none_is_named_and_empty_ones_are_skipped)
