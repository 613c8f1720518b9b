/* Any line as one of a file of codes: what is taken for a device has a code in normal form, and a
 * label in each form, or none in any; a QR code then says what the list says. */
#include "activation/label_qr.h"
#include "base/error.h"
#include "cli/label_line.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* One line, ended as it is to be, and with quotes that are even. */
static void check_csv(const struct text *csv)
{
    size_t quotes = 0;

    FUZZ_HOLDS(!csv->failed && csv->len <= LABEL_CSV_LINE_MAX);
    FUZZ_HOLDS(strcmp(csv->data + csv->len - 2, "\r\n") == 0);
    FUZZ_HOLDS(strcspn(csv->data, "\r\n") == csv->len - 2);
    for (const char *c = csv->data; *c != '\0'; c++)
        quotes += *c == '"';
    FUZZ_HOLDS(quotes % 2 == 0);
}

/* As many elements end as begin, and nothing in between is one. */
static void check_svg(const struct text *svg)
{
    size_t begun = 0, ended = 0;

    FUZZ_HOLDS(!svg->failed && svg->len <= LABEL_SVG_MAX);
    for (const char *c = svg->data; *c != '\0'; c++) {
        begun += c[0] == '<' && c[1] != '/';
        ended += (c[0] == '<' && c[1] == '/') || (c[0] == '/' && c[1] == '>');
        FUZZ_HOLDS(*c != '&' || strncmp(c, "&lt;", 4) == 0 || strncmp(c, "&gt;", 4) == 0 ||
                   strncmp(c, "&amp;", 5) == 0);
    }
    FUZZ_HOLDS(begun == ended);
}

static void try_label(const struct label *label)
{
    CLEANUP(text_done) struct text csv = {0}, svg = {0}, page = {0};
    char text[LABEL_TEXT_MAX + 1];
    struct label_sheet sheet;
    struct label_qr qr;
    int r = label_text(label, text);

    label_sheet_begin(&sheet, label_layout_at(0), &page);
    FUZZ_HOLDS(r == 0 || r == ERROR_INPUT);
    FUZZ_HOLDS(label_csv_line(label, &csv) == r);
    FUZZ_HOLDS(label_svg(label, &svg) == r);
    FUZZ_HOLDS(label_sheet_add(&sheet, label, &page) == r);
    FUZZ_HOLDS((text[0] == '\0') == (r != 0));
    if (r != 0) {
        FUZZ_HOLDS(csv.len == 0 && svg.len == 0 && sheet.n == 0);
        return;
    }
    FUZZ_HOLDS(strstr(csv.data, text) != NULL);
    FUZZ_HOLDS(label_qr_make(text, &qr) == 0 && label_qr_says(&qr, text));
    check_csv(&csv);
    check_svg(&svg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct label_defaults defaults = {.has_join_eui = size % 2 == 0};
    char normal[DEVICE_CODE_MAX + 1];
    struct label label;
    int r = cli_label_line((const char *)data, size, &defaults, &label);

    FUZZ_HOLDS(r == 0 || r == ERROR_INPUT);
    if (r != 0) {
        FUZZ_HOLDS(label.code[0] == '\0');
        return 0;
    }
    FUZZ_HOLDS(device_code_parse(label.code, strlen(label.code), normal));
    FUZZ_HOLDS(strcmp(normal, label.code) == 0);
    try_label(&label);
    return 0;
}
