/* Labels as SVG. A label is drawn in units of a tenth of a module of its QR code; a document or the
 * place on a sheet scales the whole. */
#include "activation/label_draw.h"
#include "activation/label_qr.h"

#include "base/error.h"
#include "base/secret.h"
#include <assert.h>
#include <string.h>

#define QUIET 4        /* modules around a QR code (ISO/IEC 18004) */
#define UNIT 10        /* units of a module */
#define UM_PER_UNIT 60 /* of a single label: 0.6 mm a module */

#define GROUP 4           /* characters of codes and EUIs between blanks */
#define WORDS_WIDE_MAX 19 /* characters of a line: four groups */
#define WORDS_SLIM_MAX 9  /* two of them */
/* Lines of the longest label: three heads, DevEUI, code, serial number. */
#define LINES_MAX 17
#define SLIM_LINES_MIN 7 /* few lines are drawn no larger than so many would be */
/* A character of a typewriter's font is 0.6 wide; some are a little more. */
#define CHAR_WIDTH_PERCENT 62
#define LINE_HEIGHT_PERCENT 125

static_assert(LABEL_TEXT_MAX <= LABEL_QR_TEXT_MAX, "the longest text has a QR code");

/* What people read. */
struct words {
    unsigned width; /* characters of a line */
    size_t n;
    char lines[LINES_MAX][WORDS_WIDE_MAX + 1];
};

/* A label that is ready to be drawn. It holds the code. */
struct drawing {
    struct label_qr qr;
    struct words words;
    unsigned symbol_size, font_size, line_height; /* units, as the next */
    unsigned width, height;
    bool beneath; /* the words; else they stand beside */
};

static void drawing_wipe(struct drawing *drawing)
{
    secret_wipe(drawing, sizeof(*drawing));
}

/* --- the QR code ------------------------------------------------------------------------------ */

/* Lines of one module's width: the dark runs of a row behind one another. */
static void add_qr(struct text *out, const struct label_qr *qr)
{
    text_addf(out, "<path transform=\"scale(%d)\" stroke=\"#000\" d=\"", UNIT);
    for (unsigned y = 0; y < qr->width; y++) {
        const uint8_t *row = qr->modules + (size_t)y * qr->width;
        unsigned pen = 0; /* where it is; 0: not in this row yet */

        for (unsigned x = 0; x < qr->width; x++) {
            unsigned first = x;

            if (row[x] == 0)
                continue;
            while (x + 1 < qr->width && row[x + 1] != 0)
                x++;
            if (pen == 0)
                text_addf(out, "M%u %u.5", QUIET + first, QUIET + y);
            else
                text_addf(out, "m%u 0", QUIET + first - pen);
            text_addf(out, "h%u", x + 1 - first);
            pen = QUIET + x + 1;
        }
    }
    text_add(out, "\"/>");
}

/* --- the words -------------------------------------------------------------------------------- */

/* The next line begins. */
static char *next_line(struct words *words)
{
    assert(words->n < LINES_MAX);
    return words->lines[words->n++];
}

static void add_words(struct words *words, const char *head, const char *value, bool grouped)
{
    char *line = next_line(words);
    size_t n = 0;

    memcpy(line, head, strlen(head) + 1);
    for (size_t i = 0; value[i] != '\0'; i++) {
        bool apart = grouped && i % GROUP == 0 && n > 0;

        if (i == 0 || n + apart >= words->width) {
            line = next_line(words);
            n = 0;
            apart = false;
        }
        if (apart)
            line[n++] = ' ';
        line[n++] = value[i];
        line[n] = '\0';
    }
}

static void add_escaped(struct text *out, const char *value)
{
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '&')
            text_add(out, "&amp;");
        else if (*c == '<')
            text_add(out, "&lt;");
        else if (*c == '>')
            text_add(out, "&gt;");
        else
            text_add_len(out, c, 1);
    }
}

/* --- a label ---------------------------------------------------------------------------------- */

/* Beside the code the words are as high as it, beneath it as wide. */
static void measure(struct drawing *d)
{
    unsigned n = (unsigned)d->words.n;

    d->symbol_size = UNIT * (d->qr.width + 2 * QUIET);
    if (d->beneath) {
        d->font_size = UNIT * d->qr.width * 100 / (WORDS_WIDE_MAX * CHAR_WIDTH_PERCENT);
    } else {
        n = n > SLIM_LINES_MIN ? n : SLIM_LINES_MIN;
        d->font_size = d->symbol_size * 100 / (n * LINE_HEIGHT_PERCENT);
    }
    d->line_height = d->font_size * LINE_HEIGHT_PERCENT / 100;
    d->width = d->symbol_size;
    d->height = d->symbol_size;
    if (d->beneath)
        d->height += (unsigned)d->words.n * d->line_height + d->font_size / 2;
    else
        d->width += d->font_size * WORDS_SLIM_MAX * CHAR_WIDTH_PERCENT / 100 + d->font_size / 2;
}

static int prepare(const struct label *label, bool beneath, struct drawing *ret)
{
    const bool sigfox = label->kind == LABEL_SIGFOX;
    char text[LABEL_TEXT_MAX + 1], name[LABEL_NAME_MAX + 1];
    int r = label_read(label, text, name);

    *ret = (struct drawing){.beneath = beneath};
    if (r == 0)
        r = label_qr_make(text, &ret->qr);
    if (r == 0 && !label_qr_says(&ret->qr, text))
        r = error_set(
            ERROR_INTERNAL, "device %s: the QR code of its label is read as something else", name);
    secret_wipe(text, sizeof(text));
    if (r < 0)
        return r;
    ret->words.width = beneath ? WORDS_WIDE_MAX : WORDS_SLIM_MAX;
    add_words(&ret->words, sigfox ? "ID" : "DevEUI", name, true);
    add_words(&ret->words, sigfox ? "PAC" : "Code", label->code, true);
    if (label->serial[0] != '\0')
        add_words(&ret->words, "S/N", label->serial, false);
    measure(ret);
    return 0;
}

static void add_drawing(struct text *out, const struct drawing *d)
{
    unsigned x = d->beneath ? QUIET * UNIT : d->symbol_size;
    unsigned y =
        d->beneath ? d->symbol_size : (d->symbol_size - (unsigned)d->words.n * d->line_height) / 2;

    add_qr(out, &d->qr);
    text_addf(
        out, "<g font-family=\"monospace\" font-size=\"%u\" xml:space=\"preserve\">", d->font_size);
    for (size_t i = 0; i < d->words.n; i++) {
        y += d->line_height;
        text_addf(out, "<text x=\"%u\" y=\"%u\">", x, y - d->line_height / 4);
        add_escaped(out, d->words.lines[i]);
        text_add(out, "</text>");
    }
    text_add(out, "</g>");
}

/* Without a floating point, whose text may be another elsewhere. */
static void add_mm(struct text *out, const char *name, unsigned um)
{
    text_addf(out, " %s=\"%u.%03umm\"", name, um / 1000, um % 1000);
}

static void add_head(
    struct text *out, unsigned width_um, unsigned height_um, unsigned width, unsigned height)
{
    text_add(out, "<svg xmlns=\"http://www.w3.org/2000/svg\"");
    add_mm(out, "width", width_um);
    add_mm(out, "height", height_um);
    text_addf(out, " viewBox=\"0 0 %u %u\"><rect width=\"%u\" height=\"%u\" fill=\"#fff\"/>\n",
        width, height, width, height);
}

int label_svg(const struct label *label, struct text *out)
{
    CLEANUP(drawing_wipe) struct drawing d;
    int r = prepare(label, true, &d);

    if (r < 0)
        return r;
    add_head(out, d.width * UM_PER_UNIT, d.height * UM_PER_UNIT, d.width, d.height);
    add_drawing(out, &d);
    text_add(out, "\n</svg>\n");
    return 0;
}

/* --- sheets ----------------------------------------------------------------------------------- */

/* All in micrometres. */
static const struct label_layout {
    const char *name;
    unsigned paper_width, paper_height;
    unsigned columns, rows;
    unsigned left, top;    /* of the first label */
    unsigned across, down; /* from one label to the next */
    unsigned label_width, label_height;
    unsigned inset; /* that stays white on each side */
} layouts[] = {
    /* Avery L7159, L7651, L7160 */
    {"a4-3x8", 210000, 297000, 3, 8, 7250, 12900, 66000, 33900, 63500, 33900, 2000},
    {"a4-5x13", 210000, 297000, 5, 13, 4750, 10700, 40600, 21200, 38100, 21200, 1000},
    {"a4-3x7", 210000, 297000, 3, 7, 7250, 15150, 66000, 38100, 63500, 38100, 2000},
    /* Avery 5160 */
    {"letter-3x10", 215900, 279400, 3, 10, 4763, 12700, 69850, 25400, 66675, 25400, 1500},
};

const struct label_layout *label_layout_at(size_t i)
{
    return i < sizeof(layouts) / sizeof(layouts[0]) ? &layouts[i] : NULL;
}

const struct label_layout *label_layout_find(const char *name)
{
    const struct label_layout *layout;

    for (size_t i = 0; (layout = label_layout_at(i)) != NULL; i++)
        if (strcmp(layout->name, name) == 0)
            return layout;
    return NULL;
}

const char *label_layout_name(const struct label_layout *layout)
{
    return layout->name;
}

unsigned label_layout_size(const struct label_layout *layout)
{
    return layout->columns * layout->rows;
}

void label_sheet_begin(
    struct label_sheet *sheet, const struct label_layout *layout, struct text *out)
{
    *sheet = (struct label_sheet){.layout = layout};
    add_head(
        out, layout->paper_width, layout->paper_height, layout->paper_width, layout->paper_height);
}

int label_sheet_add(struct label_sheet *sheet, const struct label *label, struct text *out)
{
    const struct label_layout *layout = sheet->layout;
    CLEANUP(drawing_wipe) struct drawing d;
    int r;

    if (sheet->n == label_layout_size(layout))
        return LABEL_SHEET_FULL;
    if ((r = prepare(label, false, &d)) < 0)
        return r;
    text_addf(out, "<svg x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\">",
        layout->left + sheet->n % layout->columns * layout->across + layout->inset,
        layout->top + sheet->n / layout->columns * layout->down + layout->inset,
        layout->label_width - 2 * layout->inset, layout->label_height - 2 * layout->inset, d.width,
        d.height);
    add_drawing(out, &d);
    text_add(out, "</svg>\n");
    sheet->n++;
    return 0;
}

void label_sheet_end(struct label_sheet *sheet, struct text *out)
{
    (void)sheet;
    text_add(out, "</svg>\n");
}
