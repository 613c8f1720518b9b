#include "activation/import_lint.h"

#include "activation/import_reader.h"
#include "base/hex.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOOD_KEY "c0a1b2c3d4e5f60718293a4b5c6d7e80"
#define OTHER_KEY "d1a1b2c3d4e5f60718293a4b5c6d7e81"
#define DOCUMENT_MAX 65536

static struct import_row row;

static void make_row(const char *dev_eui, const char *join_eui)
{
    row = (struct import_row){.has_mac_version = true, .mac_version = LW_MAC_1_0_3};
    row.has_dev_eui = eui64_parse(dev_eui, strlen(dev_eui), &row.dev_eui);
    row.has_join_eui = eui64_parse(join_eui, strlen(join_eui), &row.join_eui);
    ck_assert(row.has_dev_eui && row.has_join_eui);
}

static void set_key(struct import_key *key, const char *text)
{
    key->form = IMPORT_KEY_CLEAR;
    ck_assert(hex_decode(text, strlen(text), key->clear.bytes, sizeof(key->clear.bytes)));
}

static void expect(enum import_lint lint, const char *why)
{
    uint64_t expected = lint == N_IMPORT_LINTS ? 0 : UINT64_C(1) << lint;

    import_lint_row(&row, NULL, NULL);
    ck_assert_msg(row.lints == expected, "%s: %llx", why, (unsigned long long)row.lints);
}

START_TEST(every_lint_has_a_name_of_its_own_a_sentence_and_an_advice)
{
    for (unsigned i = 0; i < N_IMPORT_LINTS; i++) {
        const struct import_lint_rule *rule = import_lint_rule((enum import_lint)i);

        ck_assert_ptr_nonnull(rule->name);
        ck_assert_msg(rule->field != NULL && rule->sentence != NULL && rule->advice != NULL, "%s",
            rule->name);
        ck_assert_msg(strspn(rule->name, "abcdefghijklmnopqrstuvwxyz-") == strlen(rule->name), "%s",
            rule->name);
        for (unsigned k = 0; k < i; k++)
            ck_assert_str_ne(rule->name, import_lint_rule((enum import_lint)k)->name);
    }
}
END_TEST

START_TEST(every_lint_is_in_the_document_with_its_level_and_words)
{
    static char document[DOCUMENT_MAX];
    char path[400];
    FILE *file;
    size_t len, n_rows = 0;

    (void)snprintf(path, sizeof(path), "%s/onboarding.md", getenv("CRADLE_DOCS"));
    file = fopen(path, "rbe");
    ck_assert_msg(file != NULL, "%s", path);
    len = fread(document, 1, sizeof(document) - 1, file);
    (void)fclose(file);
    ck_assert(len > 0 && len < sizeof(document) - 1);
    for (unsigned i = 0; i < N_IMPORT_LINTS; i++) {
        const struct import_lint_rule *rule = import_lint_rule((enum import_lint)i);
        char line[600];

        (void)snprintf(line, sizeof(line), "\n| `%s` | %s | %s | %s |\n", rule->name,
            rule->level == IMPORT_ERROR ? "error" : "warning", rule->sentence, rule->advice);
        ck_assert_msg(strstr(document, line) != NULL, "not in onboarding.md: %s", line);
    }
    /* Nor any other. */
    for (const char *at = document; (at = strstr(at, "\n| `")) != NULL; at++) {
        const char *cell = strstr(at, "` | ");

        n_rows += cell != NULL &&
                  (strncmp(cell + 4, "error |", 7) == 0 || strncmp(cell + 4, "warning |", 9) == 0);
    }
    ck_assert_uint_eq(n_rows, N_IMPORT_LINTS);
}
END_TEST

START_TEST(keys_that_anybody_knows_are_told_and_no_key_at_all_is_refused)
{
    static const struct {
        const char *key;
        enum import_lint lint;
    } cases[] = {
        {GOOD_KEY, N_IMPORT_LINTS},
        {"00000000000000000000000000000000", IMPORT_LINT_ZERO_KEY},
        {"ffffffffffffffffffffffffffffffff", IMPORT_LINT_REPEATED_BYTE_KEY},
        {"01010101010101010101010101010101", IMPORT_LINT_REPEATED_BYTE_KEY},
        {"deadbeefdeadbeefdeadbeefdeadbeef", IMPORT_LINT_REPEATED_PATTERN_KEY},
        {"0102030405060708"
         "0102030405060708",
            IMPORT_LINT_REPEATED_PATTERN_KEY},
        {"abcdabcdabcdabcdabcdabcdabcdabcd", IMPORT_LINT_REPEATED_PATTERN_KEY},
        {"000102030405060708090a0b0c0d0e0f", IMPORT_LINT_SAMPLE_KEY},
        {"0102030405060708090a0b0c0d0e0f10", IMPORT_LINT_SAMPLE_KEY},
        {"00112233445566778899aabbccddeeff", IMPORT_LINT_SAMPLE_KEY},
        {"ffeeddccbbaa99887766554433221100", IMPORT_LINT_SAMPLE_KEY},
        {"2b7e151628aed2a6abf7158809cf4f3c", IMPORT_LINT_SAMPLE_KEY},
        {"5572404c696e6b4c6f52613230313823", IMPORT_LINT_SAMPLE_KEY},
        {"2b7e151628aed2a6abf7158809cf4f3d", N_IMPORT_LINTS},
        {"02c0ffee1200001702c0ffee12000017", IMPORT_LINT_EUI_DERIVED_KEY},
        {"aa02c0ffee12000017aabbccddeeff01", IMPORT_LINT_EUI_DERIVED_KEY},
        {"aabbccddeeff010217000012eeffc002", IMPORT_LINT_EUI_DERIVED_KEY},
        {"02c0ffee1200001702cafe0000000100", IMPORT_LINT_EUI_DERIVED_KEY},
        {"9b02cafe000000010042e1a77c05d9f3", IMPORT_LINT_EUI_DERIVED_KEY},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        make_row("02c0ffee12000017", "02cafe0000000100");
        set_key(&row.app, cases[i].key);
        expect(cases[i].lint, cases[i].key);
        /* A fleet that is out there has the keys it has. */
        ck_assert_int_eq(import_row_refused(&row), cases[i].lint == IMPORT_LINT_ZERO_KEY);
        /* The other key of a 1.1 device is looked at as well. */
        make_row("02c0ffee12000017", "02cafe0000000100");
        set_key(&row.app, OTHER_KEY);
        set_key(&row.nwk, cases[i].key);
        expect(cases[i].lint, cases[i].key);
    }
}
END_TEST

START_TEST(a_key_that_is_not_in_clear_is_not_looked_at)
{
    make_row("02c0ffee12000017", "02cafe0000000100");
    row.app.form = IMPORT_KEY_WRAPPED;
    row.nwk.form = IMPORT_KEY_SEALED;
    expect(N_IMPORT_LINTS, "zeros, wrapped and sealed");
}
END_TEST

START_TEST(two_root_keys_that_are_one_are_a_warning)
{
    make_row("02c0ffee12000017", "02cafe0000000100");
    set_key(&row.app, GOOD_KEY);
    set_key(&row.nwk, GOOD_KEY);
    expect(IMPORT_LINT_EQUAL_ROOT_KEYS, "equal");
    ck_assert(!import_row_refused(&row));
}
END_TEST

START_TEST(euis_that_are_backwards_are_found)
{
    static const struct {
        const char *dev_eui, *join_eui;
        enum import_lint lint;
    } cases[] = {
        {"70b3d57ed0001234", "70b3d57ed0000001", N_IMPORT_LINTS},
        {"341200d07ed5b370", "70b3d57ed0000001", IMPORT_LINT_REVERSED_EUI},
        {"70b3d57ed0001234", "010000d07ed5b370", IMPORT_LINT_REVERSED_EUI},
        {"341200d07ed5b370", "010000d07ed5b370", IMPORT_LINT_REVERSED_EUI},
        {"02c0ffee12000017", "02c0ff0000000100", N_IMPORT_LINTS},
        {"17000012eeffc002", "02c0ff0000000100", IMPORT_LINT_REVERSED_EUI},
        {"02c0ffee12000017", "0001000000ffc002", IMPORT_LINT_REVERSED_EUI},
        {"02c0ffee12000000", "0000000000000001", N_IMPORT_LINTS},
        {"70b3d57ed0d5b370", "70b3d57ed0000001", N_IMPORT_LINTS}, /* reads the same both ways */
        {"0000000000000000", "02cafe0000000100", IMPORT_LINT_ZERO_DEV_EUI},
        {"02c0ffee12000017", "0000000000000000", IMPORT_LINT_ZERO_JOIN_EUI},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        make_row(cases[i].dev_eui, cases[i].join_eui);
        expect(cases[i].lint, cases[i].dev_eui);
    }
}
END_TEST

START_TEST(eight_zeros_are_a_sigfox_id_s_and_no_dev_eui_begins_so)
{
    make_row("000000007ed01234", "70b3d57ed0000001");
    expect(IMPORT_LINT_DEV_EUI_RESERVED, "a DevEUI");
    ck_assert(import_row_refused(&row));
    make_row("000000017ed01234", "70b3d57ed0000001");
    expect(N_IMPORT_LINTS, "the first that may be one");
    row = (struct import_row){.is_sigfox = true, .has_dev_eui = true};
    /* A DevEUI of a known manufacturer's, backwards. */
    row.dev_eui = (struct eui64){{0, 0, 0, 0, 0, 0xd5, 0xb3, 0x70}};
    expect(N_IMPORT_LINTS, "a Sigfox id");
    row.dev_eui = (struct eui64){{0}};
    expect(IMPORT_LINT_ZERO_DEV_EUI, "none");
}
END_TEST

static bool is_even(const void *context, const struct eui64 *join_eui)
{
    (void)context;
    return join_eui->bytes[7] % 2 == 0;
}

START_TEST(a_join_eui_that_is_not_ours_is_a_warning)
{
    make_row("02c0ffee12000017", "02cafe0000000101");
    import_lint_row(&row, is_even, NULL);
    ck_assert(import_row_has_lint(&row, IMPORT_LINT_FOREIGN_JOIN_EUI));
    ck_assert(!import_row_refused(&row));
    make_row("02c0ffee12000017", "02cafe0000000102");
    import_lint_row(&row, is_even, NULL);
    ck_assert_uint_eq(row.lints, 0);
}
END_TEST

START_TEST(a_code_below_64_bits_is_weak)
{
    static const struct {
        const char *code;
        bool weak;
    } cases[] = {
        {"", false},
        {"F1FB552B", true},
        {"7F3A91C0D2E488B1", false},
        {"7F3A91C0D2E488B", true},
        {"1234567890123456789", true},
        {"12345678901234567890", false},
        {"K7QM2XW9D4ZT", true},
        {"K7QM2XW9D4ZT8", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        make_row("02c0ffee12000017", "02cafe0000000100");
        (void)snprintf(row.code, sizeof(row.code), "%s", cases[i].code);
        expect(cases[i].weak ? IMPORT_LINT_WEAK_CODE : N_IMPORT_LINTS, cases[i].code);
    }
}
END_TEST

START_TEST(nonces_that_do_not_fit_together_are_found)
{
    static const uint16_t used[] = {3, 7, 100};
    static uint16_t many[60000];
    static const struct {
        enum lw_mac_version version;
        int join_nonce, dev_nonce; /* negative: none */
        uint32_t n_used;
        enum import_lint lint;
    } cases[] = {
        {LW_MAC_1_0_3, 5, 100, 3, N_IMPORT_LINTS},
        {LW_MAC_1_0_3, 5, 3, 1, IMPORT_LINT_USED_DEV_NONCES_MISSING},
        {LW_MAC_1_0_3, -1, -1, 0, N_IMPORT_LINTS},
        {LW_MAC_1_0_3, -1, -1, 60000, IMPORT_LINT_NONCES_LOW},
        {LW_MAC_1_0_4, 5, 100, 3, N_IMPORT_LINTS},
        {LW_MAC_1_0_4, 5, 99, 3, IMPORT_LINT_DEV_NONCE_BEHIND},
        {LW_MAC_1_0_4, -1, 99, 0, IMPORT_LINT_JOIN_NONCE_MISSING},
        {LW_MAC_1_1, 5, 65535, 0, IMPORT_LINT_NONCES_LOW},
        {LW_MAC_1_1, LW_JOIN_NONCE_MAX, -1, 0, IMPORT_LINT_JOIN_NONCE_SPENT},
        {LW_MAC_1_1, LW_JOIN_NONCE_MAX - 1, -1, 0, IMPORT_LINT_NONCES_LOW},
        {LW_MAC_1_1, 13000000, 0, 0, N_IMPORT_LINTS},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char why[40];

        make_row("02c0ffee12000017", "02cafe0000000100");
        row.mac_version = cases[i].version;
        row.has_join_nonce = cases[i].join_nonce >= 0;
        row.join_nonce = (uint32_t)cases[i].join_nonce;
        row.has_dev_nonce = cases[i].dev_nonce >= 0;
        row.dev_nonce = (uint16_t)cases[i].dev_nonce;
        row.used_dev_nonces = cases[i].n_used > 3 ? many : used;
        row.n_used_dev_nonces = cases[i].n_used;
        (void)snprintf(why, sizeof(why), "case %zu", i);
        expect(cases[i].lint, why);
    }
}
END_TEST

SUITE_MAIN("import_lint", 20, every_lint_has_a_name_of_its_own_a_sentence_and_an_advice,
    every_lint_is_in_the_document_with_its_level_and_words,
    keys_that_anybody_knows_are_told_and_no_key_at_all_is_refused,
    a_key_that_is_not_in_clear_is_not_looked_at, two_root_keys_that_are_one_are_a_warning,
    euis_that_are_backwards_are_found, eight_zeros_are_a_sigfox_id_s_and_no_dev_eui_begins_so,
    a_join_eui_that_is_not_ours_is_a_warning, a_code_below_64_bits_is_weak,
    nonces_that_do_not_fit_together_are_found)
