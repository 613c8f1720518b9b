#include "activation/label.h"

#include "activation/label_qr.h"
#include "base/error.h"
#include "base/secret.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

#define CODE "0123456789ABCDEF"
#define LONGEST_CODE "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
#define LONGEST_SERIAL LONGEST_CODE LONGEST_CODE
#define HEAD "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122"

static struct label label_of(const char *code, const char *serial)
{
    struct label label = {
        .kind = LABEL_LORAWAN,
        .dev_eui = {{0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0x00, 0x11}},
        .join_eui = {{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}},
        .profile_id = {0xAA, 0xBB, 0x11, 0x22},
    };

    memcpy(label.code, code, strlen(code));
    memcpy(label.serial, serial, strlen(serial));
    return label;
}

static struct label sigfox_of(const char *pac, const char *serial)
{
    struct label label = label_of(pac, serial);

    label.kind = LABEL_SIGFOX;
    memset(label.dev_eui.bytes, 0, 4);
    return label;
}

static void says(const struct label *label, const char *expected)
{
    char text[LABEL_TEXT_MAX + 1];

    ck_assert_int_eq(label_text(label, text), 0);
    ck_assert_str_eq(text, expected);
}

static void csv_is(const struct label *label, const char *expected)
{
    CLEANUP(text_done) struct text out = {0};

    ck_assert_int_eq(label_csv_line(label, &out), 0);
    ck_assert_str_eq(out.data, expected);
}

START_TEST(the_text_is_that_of_tr005_with_its_checksum)
{
    struct label label = label_of("AABBCCDDEEFF", "YYWWNNNNNN");

    says(&label, HEAD ":OAABBCCDDEEFF:SYYWWNNNNNN:C6466");
    label = label_of("1", "");
    says(&label, HEAD ":O1:C0966");
}
END_TEST

START_TEST(a_serial_number_without_a_short_form_is_left_out_of_the_text)
{
    static const char *const serials[] = {"a", "1:2", "A_B", "1,2", "<&>", "1:CAF2C"};

    for (size_t i = 0; i < sizeof(serials) / sizeof(serials[0]); i++) {
        struct label label = label_of("1", serials[i]);

        says(&label, HEAD ":O1:C0966");
    }
}
END_TEST

START_TEST(a_sigfox_device_has_a_text_of_its_own)
{
    struct label label = sigfox_of(CODE, "1");

    says(&label, "SIGFOX:EEFF0011:" CODE);
    csv_is(&label, "sigfox:eeff0011,,1," CODE ",SIGFOX:EEFF0011:" CODE "\r\n");
}
END_TEST

START_TEST(what_no_label_can_have_is_refused_by_name_and_nothing_is_given_out)
{
    static const struct {
        const char *code, *serial, *what;
    } cases[] = {
        {"", "", "has no code"},
        {"abc9", "", "code is not"},
        {"ABC-9", "", "code is not"},
        {"ABC:9", "", "code is not"},
        {"ABC9", "1\t2", "serial number"},
        {"ABC9", "\xc3\xa4", "serial number"},
        {"ABC9", "\x7f", "serial number"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct label kinds[] = {
            label_of(cases[i].code, cases[i].serial), sigfox_of(cases[i].code, cases[i].serial)};

        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
            CLEANUP(text_done) struct text out = {0};
            struct label_sheet sheet;
            char text[LABEL_TEXT_MAX + 1];

            ck_assert_int_eq(label_text(&kinds[k], text), ERROR_INPUT);
            ck_assert_str_eq(text, "");
            ck_assert_ptr_nonnull(strstr(error_text(), k == 0 ? "AABBCCDDEEFF0011" : "EEFF0011"));
            ck_assert_ptr_nonnull(strstr(error_text(), cases[i].what));
            ck_assert(cases[i].code[0] == '\0' || strstr(error_text(), cases[i].code) == NULL);
            ck_assert_int_eq(label_csv_line(&kinds[k], &out), ERROR_INPUT);
            ck_assert_int_eq(label_svg(&kinds[k], &out), ERROR_INPUT);
            ck_assert_uint_eq(out.len, 0);
            label_sheet_begin(&sheet, label_layout_at(0), &out);
            ck_assert_int_eq(label_sheet_add(&sheet, &kinds[k], &out), ERROR_INPUT);
            ck_assert_uint_eq(sheet.n, 0);
        }
    }
}
END_TEST

START_TEST(a_field_that_a_spreadsheet_would_compute_is_a_text)
{
    static const struct {
        const char *serial, *field;
    } cases[] = {
        {"", ""},
        {"SN-1", "SN-1"},
        {"=1+1", "\"'=1+1\""},
        {"+1", "\"'+1\""},
        {"-1", "\"'-1\""},
        {"@A1", "\"'@A1\""},
        {"1,2", "\"1,2\""},
        {"1\"2", "\"1\"\"2\""},
        {"=\"1\"", "\"'=\"\"1\"\"\""},
        {" =1", "\" =1\""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct label label = label_of("ABC9", cases[i].serial);
        char text[LABEL_TEXT_MAX + 1];
        CLEANUP(text_done) struct text expected = {0};

        ck_assert_int_eq(label_text(&label, text), 0);
        text_addf(&expected, "aabbccddeeff0011,1122334455667788,%s,ABC9,", cases[i].field);
        if (strpbrk(text, ", ") != NULL)
            text_addf(&expected, "\"%s\"\r\n", text);
        else
            text_addf(&expected, "%s\r\n", text);
        csv_is(&label, expected.data);
    }
}
END_TEST

START_TEST(a_label_is_never_longer_than_said)
{
    char quotes[TR005_SERIAL_MAX + 1], amps[TR005_SERIAL_MAX + 1];
    struct label labels[3];

    memset(quotes, '"', TR005_SERIAL_MAX);
    memset(amps, '&', TR005_SERIAL_MAX);
    quotes[TR005_SERIAL_MAX] = amps[TR005_SERIAL_MAX] = '\0';
    labels[0] = label_of(LONGEST_CODE, quotes);
    labels[1] = label_of(LONGEST_CODE, amps);
    labels[2] = label_of(LONGEST_CODE, LONGEST_SERIAL);
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        CLEANUP(text_done) struct text csv = {0}, svg = {0}, page = {0};
        struct label_sheet sheet;
        size_t begun;

        ck_assert_int_eq(label_csv_line(&labels[i], &csv), 0);
        ck_assert_uint_le(csv.len, LABEL_CSV_LINE_MAX);
        ck_assert_int_eq(label_svg(&labels[i], &svg), 0);
        ck_assert_uint_le(svg.len, LABEL_SVG_MAX);
        label_sheet_begin(&sheet, label_layout_at(0), &page);
        begun = page.len;
        ck_assert_int_eq(label_sheet_add(&sheet, &labels[i], &page), 0);
        ck_assert_uint_le(page.len - begun, LABEL_SVG_MAX);
        label_sheet_end(&sheet, &page);
    }
}
END_TEST

START_TEST(a_qr_code_says_its_text_and_no_other)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
    struct label_qr qr;

    for (size_t len = 1; len <= LABEL_QR_TEXT_MAX; len++) {
        char text[LABEL_QR_TEXT_MAX + 1] = "";

        for (size_t i = 0; i < len; i++)
            text[i] = alphabet[(i * i + len) % (sizeof(alphabet) - 1)];
        ck_assert_int_eq(label_qr_make(text, &qr), 0);
        ck_assert(label_qr_says(&qr, text));
        for (size_t i = 0; i < len; i++) {
            char was = text[i];

            text[i] = was == 'A' ? 'B' : 'A';
            if (label_qr_says(&qr, text))
                ck_abort_msg("character %zu of %zu", i, len);
            text[i] = was;
        }
        text[len - 1] = '\0';
        ck_assert(!label_qr_says(&qr, text));
    }
}
END_TEST

START_TEST(a_qr_code_with_a_wrong_module_says_nothing)
{
    static const char text[] = HEAD ":O" CODE ":S1234567";
    struct label_qr qr;
    size_t n_told = 0, n;

    ck_assert_int_eq(label_qr_make(text, &qr), 0);
    n = (size_t)qr.width * qr.width;
    for (size_t i = 0; i < n; i++) {
        qr.modules[i] ^= 1;
        n_told += !label_qr_says(&qr, text);
        qr.modules[i] ^= 1;
    }
    /* Each bit of mode, length and pairs, and those of level and mask; not what corrects errors. */
    ck_assert_uint_eq(n_told, 4 + 9 + (sizeof(text) - 1) / 2 * 11 + (sizeof(text) - 1) % 2 * 6 + 5);
    for (unsigned width = 0; width <= LABEL_QR_WIDTH_MAX; width++) {
        struct label_qr other = qr;

        other.width = width;
        ck_assert_int_eq(label_qr_says(&other, text), width == qr.width);
    }
}
END_TEST

START_TEST(the_same_label_gives_the_same_bytes)
{
    CLEANUP(text_done) struct text one = {0}, two = {0}, other = {0};
    const struct label label = label_of(CODE, "1"), unlike = label_of(CODE, "2");

    ck_assert_int_eq(label_svg(&label, &one), 0);
    ck_assert_int_eq(label_svg(&unlike, &other), 0);
    ck_assert_int_eq(label_svg(&label, &two), 0);
    ck_assert_str_eq(one.data, two.data);
    ck_assert_str_ne(one.data, other.data);
}
END_TEST

START_TEST(a_page_takes_as_many_labels_as_it_has_places)
{
    const struct label label = label_of(CODE, "");
    const struct label_layout *layout;

    for (size_t i = 0; (layout = label_layout_at(i)) != NULL; i++) {
        CLEANUP(text_done) struct text out = {0};
        struct label_sheet sheet;
        size_t len;

        ck_assert_ptr_eq(label_layout_find(label_layout_name(layout)), layout);
        label_sheet_begin(&sheet, layout, &out);
        for (unsigned k = 0; k < label_layout_size(layout); k++)
            ck_assert_int_eq(label_sheet_add(&sheet, &label, &out), 0);
        len = out.len;
        ck_assert_int_eq(label_sheet_add(&sheet, &label, &out), LABEL_SHEET_FULL);
        ck_assert_uint_eq(out.len, len);
        label_sheet_end(&sheet, &out);
        ck_assert(!out.failed);
    }
    ck_assert_ptr_null(label_layout_find("a4"));
    ck_assert_ptr_null(label_layout_find(""));
}
END_TEST

/* --- what stays in memory ----------------------------------------------------------------------
 * Sanitizers have a heap of their own, and keep freed memory as it was: nothing is tried there. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* How often the heap has the code; it is looked for character by character, and never stands
 * in one piece here. */
static size_t times_in_heap(const char *hidden, size_t len)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    size_t n = 0;

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from, to;

        if (strstr(line, "[heap]") == NULL || sscanf(line, "%lx-%lx", &from, &to) != 2)
            continue;
        for (const char *at = (const char *)from; at + len <= (const char *)to; at++) {
            size_t same = 0;

            while (same < len && at[same] == (char)(hidden[same] ^ 1))
                same++;
            n += same == len;
        }
    }
    (void)fclose(maps);
    return n;
}

static struct label hidden_label(const char *hidden)
{
    struct label label = label_of("", "1");

    for (size_t i = 0; hidden[i] != '\0'; i++)
        label.code[i] = (char)(hidden[i] ^ 1);
    return label;
}

START_TEST(no_code_stays_in_memory_behind_a_label)
{
    static const char hidden[] = "PVDSUXTHNQ1083EG"; /* each character one bit off */
    static const size_t len = sizeof(hidden) - 1;
    CLEANUP(text_done) struct text out = {0};
    struct label_sheet sheet;
    struct label label = hidden_label(hidden);

    if (SANITIZED)
        return;
    text_reserve(&out, 2 * LABEL_SVG_MAX); /* of the heap */
    ck_assert_int_eq(label_csv_line(&label, &out), 0);
    ck_assert_uint_ge(times_in_heap(hidden, len), 1); /* in `out` it is seen */
    secret_wipe(out.data, out.capacity);
    text_clear(&out);
    ck_assert_int_eq(label_svg(&label, &out), 0);
    label_sheet_begin(&sheet, label_layout_at(0), &out);
    ck_assert_int_eq(label_sheet_add(&sheet, &label, &out), 0);
    secret_wipe(out.data, out.capacity);
    label_wipe(&label);
    ck_assert_uint_eq(times_in_heap(hidden, len), 0);
}
END_TEST

SUITE_MAIN("label", 20, the_text_is_that_of_tr005_with_its_checksum,
    a_serial_number_without_a_short_form_is_left_out_of_the_text,
    a_sigfox_device_has_a_text_of_its_own,
    what_no_label_can_have_is_refused_by_name_and_nothing_is_given_out,
    a_field_that_a_spreadsheet_would_compute_is_a_text, a_qr_code_says_its_text_and_no_other,
    a_qr_code_with_a_wrong_module_says_nothing, a_label_is_never_longer_than_said,
    the_same_label_gives_the_same_bytes, a_page_takes_as_many_labels_as_it_has_places,
    no_code_stays_in_memory_behind_a_label)
