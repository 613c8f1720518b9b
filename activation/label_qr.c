#include "activation/label_qr.h"

#include "base/error.h"
#include "base/secret.h"
#include <qrencode.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static void input_done(QRinput **input)
{
    if (*input != NULL)
        QRinput_free(*input);
}

static void code_done(QRcode **code)
{
    if (*code == NULL)
        return;
    secret_wipe((*code)->data, (size_t)(*code)->width * (size_t)(*code)->width);
    QRcode_free(*code);
}

static int encode(const char *text, size_t len, struct label_qr *ret)
{
    CLEANUP(input_done) QRinput *input = QRinput_new2(0, QR_ECLEVEL_M);
    CLEANUP(code_done) QRcode *code = NULL;

    if (input == NULL ||
        QRinput_append(input, QR_MODE_AN, (int)len, (const unsigned char *)text) != 0 ||
        (code = QRcode_encodeInput(input)) == NULL)
        return error_set_errno("a QR code cannot be made");
    if (code->width < 1 || code->width > LABEL_QR_WIDTH_MAX)
        return error_set(ERROR_INTERNAL, "a QR code is larger than its text is long");
    ret->width = (unsigned)code->width;
    for (size_t i = 0; i < (size_t)ret->width * ret->width; i++)
        ret->modules[i] = code->data[i] & 1;
    return 0;
}

/* The library gives memory back that it has not wiped, and takes no memory of others. So a text of
 * the same length follows, which takes the same steps, and the same blocks again. */
static void cover(size_t len)
{
    char text[LABEL_QR_TEXT_MAX];
    struct label_qr nothing;

    memset(text, 'X', sizeof(text));
    (void)encode(text, len, &nothing);
}

int label_qr_make(const char *text, struct label_qr *ret)
{
    size_t len = strlen(text);
    int r;

    if (len > LABEL_QR_TEXT_MAX)
        return error_set(ERROR_INTERNAL, "a text of %zu characters is too long for a QR code", len);
    r = encode(text, len, ret);
    cover(len);
    return r;
}

/* --- read back (ISO/IEC 18004) ---------------------------------------------------------------- */

#define ALPHABET "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
#define MODE_ALPHANUMERIC 2
#define MODE_BITS 4
#define COUNT_BITS 9 /* up to version 9 */
#define PAIR_BITS 11
#define SINGLE_BITS 6
#define FORMAT_MASK 0x5412 /* over the bits of the format: level, mask, checks */
#define LEVEL_M 0
#define CODEWORDS_MAX 172

/* By version: data codewords of a block at level M, and how many blocks there are. */
static const struct {
    unsigned data, blocks;
} versions[] = {{0, 0}, {16, 1}, {28, 1}, {44, 1}, {32, 2}, {43, 2}, {27, 4}};
#define VERSION_MAX (sizeof(versions) / sizeof(versions[0]) - 1)

static bool dark(const struct label_qr *qr, unsigned x, unsigned y)
{
    return qr->modules[(size_t)y * qr->width + x] != 0;
}

/* Finders with the format beside them, timing, and the one alignment pattern of these versions. */
static bool is_pattern(unsigned width, unsigned x, unsigned y)
{
    unsigned far = width - 8, middle = width - 7;

    if (x == 6 || y == 6 || (x <= 8 && y <= 8) || (x <= 8 && y >= far) || (x >= far && y <= 8))
        return true;
    return width > 21 && x + 2 >= middle && x <= middle + 2 && y + 2 >= middle && y <= middle + 2;
}

static unsigned read_format(const struct label_qr *qr)
{
    static const uint8_t at[][2] = {{0, 8}, {1, 8}, {2, 8}, {3, 8}, {4, 8}, {5, 8}, {7, 8}, {8, 8},
        {8, 7}, {8, 5}, {8, 4}, {8, 3}, {8, 2}, {8, 1}, {8, 0}};
    unsigned format = 0;

    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
        format = format << 1 | dark(qr, at[i][0], at[i][1]);
    return format ^ FORMAT_MASK;
}

static bool is_turned(unsigned mask, unsigned x, unsigned y)
{
    switch (mask) {
    case 0:
        return (x + y) % 2 == 0;
    case 1:
        return y % 2 == 0;
    case 2:
        return x % 3 == 0;
    case 3:
        return (x + y) % 3 == 0;
    case 4:
        return (y / 2 + x / 3) % 2 == 0;
    case 5:
        return x * y % 2 + x * y % 3 == 0;
    case 6:
        return (x * y % 2 + x * y % 3) % 2 == 0;
    default:
        return ((x + y) % 2 + x * y % 3) % 2 == 0;
    }
}

/* All codewords, two columns at a time from the right, upwards first. */
static void read_codewords(
    const struct label_qr *qr, unsigned mask, uint8_t out[static CODEWORDS_MAX])
{
    size_t bit = 0;
    bool up = true;

    memset(out, 0, CODEWORDS_MAX);
    for (unsigned right = qr->width - 1; right > 0 && right < qr->width; right -= 2, up = !up) {
        if (right == 6)
            right--; /* the timing pattern takes a whole column */
        for (unsigned i = 0; i < 2 * qr->width; i++) {
            unsigned x = right - i % 2, y = up ? qr->width - 1 - i / 2 : i / 2;

            if (is_pattern(qr->width, x, y) || bit / 8 >= CODEWORDS_MAX)
                continue;
            if (dark(qr, x, y) != is_turned(mask, x, y))
                out[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
            bit++;
        }
    }
}

struct bits {
    const uint8_t *codewords;
    unsigned version;
    size_t at;
};

/* Codewords of blocks stand there by turns. Beyond the data there are zeros. */
static unsigned take(struct bits *bits, unsigned n)
{
    const unsigned data = versions[bits->version].data, blocks = versions[bits->version].blocks;
    unsigned value = 0;

    for (; n > 0; n--, bits->at++) {
        size_t i = bits->at / 8, place = i % data * blocks + i / data;
        unsigned codeword = i < (size_t)data * blocks ? bits->codewords[place] : 0;

        value = value << 1 | (codeword >> (7 - bits->at % 8) & 1);
    }
    return value;
}

static unsigned value_of(char c)
{
    const char *at = c != '\0' ? strchr(ALPHABET, c) : NULL;

    return at != NULL ? (unsigned)(at - ALPHABET) : sizeof(ALPHABET);
}

static bool says(struct bits *bits, const char *text)
{
    size_t len = strlen(text);
    bool same = take(bits, MODE_BITS) == MODE_ALPHANUMERIC && take(bits, COUNT_BITS) == len;

    for (size_t i = 0; same && i + 1 < len; i += 2)
        same = take(bits, PAIR_BITS) ==
               (sizeof(ALPHABET) - 1) * value_of(text[i]) + value_of(text[i + 1]);
    if (same && len % 2 != 0)
        same = take(bits, SINGLE_BITS) == value_of(text[len - 1]);
    return same;
}

bool label_qr_says(const struct label_qr *qr, const char *text)
{
    uint8_t codewords[CODEWORDS_MAX];
    struct bits bits = {codewords, (qr->width - 17) / 4, 0};
    unsigned format;
    bool same;

    if (qr->width < 21 || qr->width % 4 != 1 || bits.version > VERSION_MAX)
        return false;
    format = read_format(qr);
    if (format >> 13 != LEVEL_M)
        return false;
    read_codewords(qr, format >> 10 & 7, codewords);
    same = says(&bits, text);
    secret_wipe(codewords, sizeof(codewords));
    return same;
}
