/* What anybody may answer to `cradle top`: two pages, parted by a form feed. A page is read as what
 * it is, and whatever it says, the screen keeps to its size and shows no control character. The
 * first byte is the size of the screen. */
#include "base/error.h"
#include "cli/top_paint.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

#define ROWS_MAX 16
#define COLUMNS_STEP 16u
#define COLUMNS_LEAST 1u

static bool read_page(const uint8_t *text, size_t len, struct prom_page *ret)
{
    int r = prom_page_read((const char *)text, len, ret);

    FUZZ_HOLDS(r == 0 || (r == ERROR_INPUT && error_text()[0] != '\0'));
    return r == 0;
}

/* Each sample is found by its name, in the order of names. */
static void check_page(const struct prom_page *page, const struct prom_page *before)
{
    char value[PROM_LABEL_MAX];

    FUZZ_HOLDS(page->n > 0);
    for (size_t i = 0; i < page->n; i++) {
        const struct prom_sample *sample = &page->samples[i];
        size_t first, n = prom_find(page, sample->name, &first);

        FUZZ_HOLDS(sample->name[0] != '\0' && isfinite(sample->value));
        FUZZ_HOLDS(first <= i && i < first + n && first + n <= page->n);
        FUZZ_HOLDS(i == 0 || strcmp(page->samples[i - 1].name, sample->name) <= 0);
        FUZZ_HOLDS(prom_growth(before, sample) >= 0);
        FUZZ_HOLDS(prom_label(sample, "peer", value) || value[0] == '\0');
        FUZZ_HOLDS(memchr(value, '\0', sizeof(value)) != NULL);
    }
}

static void check_text(const struct text *out, unsigned rows, unsigned columns)
{
    unsigned row = 1, column = 0;

    FUZZ_HOLDS(!out->failed);
    for (size_t i = 0; i < out->len; i++) {
        const unsigned char c = (unsigned char)out->data[i];

        if (c == '\n') {
            row++;
            column = 0;
            continue;
        }
        FUZZ_HOLDS(c >= 0x20 && c != 0x7F);
        /* U+0080 to U+009F are controls, too. */
        FUZZ_HOLDS(c != 0xC2 || (unsigned char)out->data[i + 1] >= 0xA0);
        column += (c & 0xC0) != 0x80;
        FUZZ_HOLDS(column <= columns);
    }
    FUZZ_HOLDS(row <= rows);
}

static void paint(const struct top_service *service, uint8_t size)
{
    static struct top_view view;
    const unsigned rows = 1 + size % ROWS_MAX,
                   columns = COLUMNS_LEAST + COLUMNS_STEP * (size / ROWS_MAX);
    CLEANUP(text_done) struct text screen = {0}, line = {0};
    json_t *object;

    top_view_make(&view, service, 1, 1);
    top_paint_screen(&screen, &view, service, 1, rows, columns);
    check_text(&screen, rows, columns);
    top_paint_line(&line, &view, service, 1, "now");
    check_text(&line, 2, UINT32_MAX); /* it ends with a newline */
    object = top_paint_json(&view, service, 1, "now");
    FUZZ_HOLDS(object != NULL);
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct top_service service = {.url = "http://a\x1b", .answers = true};
    const uint8_t *parted;

    if (size == 0)
        return 0;
    parted = memchr(data + 1, '\f', size - 1);
    if (read_page(
            data + 1, parted != NULL ? (size_t)(parted - data) - 1 : size - 1, &service.now)) {
        if (parted != NULL)
            (void)read_page(parted + 1, size - (size_t)(parted - data) - 1, &service.before);
        check_page(&service.now, &service.before);
        paint(&service, data[0]);
    }
    prom_page_done(&service.before);
    prom_page_done(&service.now);
    return 0;
}
