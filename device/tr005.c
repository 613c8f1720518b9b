#include "device/tr005.h"

#include "base/hex.h"
#include "base/secret.h"
#include <assert.h>
#include <string.h>
#include <strings.h>

#define CHECKSUM_LEN 2
#define BLANKS " \t\r\n"
/* The alphanumeric mode of QR codes (ISO/IEC 18004) without the colon. */
#define SERIAL_ALPHABET "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./"

static const struct grammar {
    const char *prefix;
    char separator;      /* between the identifiers, and before the tags */
    char between;        /* the tags */
    const char *escaped; /* what may stand behind it: a URN writes "%" as "%25" */
    char token;          /* its tag */
    char checksum;       /* its tag; NUL: it has none */
} grammars[] = {
    {"LW:D0:", ':', ':', "", 'O', 'C'},
    {"URN:DEV:LW:", '_', '_', "", 'V', '\0'},
    {"URN:LW:DP:", ':', '%', "25", 'V', '\0'},
};

static_assert(sizeof("LW:D0:0000000000000000:0000000000000000:00000000:O:S:C0000") - 1 +
                      DEVICE_CODE_MAX + TR005_SERIAL_MAX ==
                  TR005_WRITTEN_MAX,
    "the longest text that is written");

struct piece {
    const char *at; /* NULL: none */
    size_t len;
};

struct tags {
    struct piece token, serial, checksum;
    const char *checked_end; /* of what the checksum is over */
};

static char capital(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* CRC-16/MODBUS: polynomial 0x8005 reflected, beginning with 0xFFFF. */
static uint16_t checksum(const char *text, size_t len, bool as_capitals)
{
    unsigned crc = 0xFFFF;

    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)(as_capitals ? capital(text[i]) : text[i]);
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0xA001 : crc >> 1;
    }
    return (uint16_t)crc;
}

/* Of what is typed in small letters, the label had capitals. */
static bool checksum_holds(const char *text, const struct tags *tags)
{
    size_t len = (size_t)(tags->checked_end - text);
    uint8_t bytes[CHECKSUM_LEN];
    unsigned said;

    if (!hex_decode(tags->checksum.at, tags->checksum.len, bytes, sizeof(bytes)))
        return false;
    said = (unsigned)bytes[0] << 8 | bytes[1];
    return said == checksum(text, len, true) || said == checksum(text, len, false);
}

/* Bytes written as hexadecimal digits; the separator behind them goes too. */
static bool take(const char **at, const char *end, char separator, uint8_t *out, size_t out_len)
{
    size_t digits = 2 * out_len;

    if ((size_t)(end - *at) < digits || !hex_decode(*at, digits, out, out_len))
        return false;
    *at += digits;
    if (*at == end)
        return true;
    return *(*at)++ == separator;
}

static const struct grammar *find_grammar(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof(grammars) / sizeof(grammars[0]); i++) {
        size_t n = strlen(grammars[i].prefix);

        if (len >= n && strncasecmp(text, grammars[i].prefix, n) == 0)
            return &grammars[i];
    }
    return NULL;
}

/* NULL: a tag of no interest. */
static struct piece *piece_of(struct tags *tags, const struct grammar *grammar, char tag)
{
    if (tag == grammar->token)
        return &tags->token;
    if (tag == 'S')
        return &tags->serial;
    return tag == grammar->checksum ? &tags->checksum : NULL;
}

/* False: one of those that count stands there twice. */
static bool find_tags(
    const struct grammar *grammar, const char *at, const char *end, struct tags *ret)
{
    const size_t n_escaped = strlen(grammar->escaped);

    *ret = (struct tags){0};
    while (at < end) {
        const char *mark = at - 1;
        const char *next = memchr(at, grammar->between, (size_t)(end - at));
        struct piece *piece;

        next = next != NULL ? next : end;
        if ((size_t)(next - at) >= n_escaped && memcmp(at, grammar->escaped, n_escaped) == 0)
            at += n_escaped;
        if (next - at > 1 && (piece = piece_of(ret, grammar, capital(*at))) != NULL) {
            if (piece->at != NULL)
                return false;
            *piece = (struct piece){at + 1, (size_t)(next - at) - 1};
            if (piece == &ret->checksum)
                ret->checked_end = mark;
        }
        at = next < end ? next + 1 : end;
    }
    return true;
}

static bool read_serial(const struct piece *piece, char out[static TR005_SERIAL_MAX + 1])
{
    if (piece->len > TR005_SERIAL_MAX)
        return false;
    for (size_t i = 0; i < piece->len; i++)
        if (piece->at[i] < ' ' || piece->at[i] > '~')
            return false;
    if (piece->len > 0)
        memcpy(out, piece->at, piece->len);
    return true;
}

/* A wrong checksum is told before a wrong token: more may be wrong than that. */
static enum tr005_outcome read_tags(const struct grammar *grammar, const char *text, const char *at,
    const char *end, struct tr005 *ret)
{
    struct tags tags;

    if (!find_tags(grammar, at, end, &tags))
        return TR005_DOUBLED_TAG;
    if (tags.checksum.at != NULL && !checksum_holds(text, &tags))
        return TR005_CHECKSUM;
    if (tags.token.at != NULL && !device_code_parse(tags.token.at, tags.token.len, ret->token))
        return TR005_TOKEN;
    return read_serial(&tags.serial, ret->serial) ? TR005_OK : TR005_SERIAL;
}

static bool is_blank(char c)
{
    return c != '\0' && strchr(BLANKS, c) != NULL;
}

enum tr005_outcome tr005_parse(const char *text, size_t len, struct tr005 *ret)
{
    const struct grammar *grammar;
    const char *at, *end;

    *ret = (struct tr005){.token = ""};
    for (; len > 0 && is_blank(text[len - 1]); len--)
        ;
    for (; len > 0 && is_blank(*text); len--)
        text++;
    grammar = find_grammar(text, len);
    if (grammar == NULL)
        return TR005_NO_TAG;
    if (len > TR005_TEXT_MAX)
        return TR005_TOO_LONG;
    at = text + strlen(grammar->prefix);
    end = text + len;
    if (!take(&at, end, grammar->separator, ret->join_eui.bytes, sizeof(ret->join_eui.bytes)))
        return TR005_JOIN_EUI;
    if (!take(&at, end, grammar->separator, ret->dev_eui.bytes, sizeof(ret->dev_eui.bytes)))
        return TR005_DEV_EUI;
    if (!take(&at, end, grammar->separator, ret->profile_id, sizeof(ret->profile_id)))
        return TR005_PROFILE_ID;
    return read_tags(grammar, text, at, end, ret);
}

enum tr005_outcome tr005_parse_claim(const char *text, size_t len, struct tr005 *ret)
{
    enum tr005_outcome outcome = tr005_parse(text, len, ret);

    return outcome == TR005_OK && ret->token[0] == '\0' ? TR005_NO_TOKEN : outcome;
}

/* --- writing ---------------------------------------------------------------------------------- */

struct writer {
    char *out;
    size_t len;
};

static void put(struct writer *w, const char *text, size_t len)
{
    memcpy(w->out + w->len, text, len);
    w->len += len;
}

static void put_hex(struct writer *w, const uint8_t *bytes, size_t len)
{
    char *digits = w->out + w->len;

    (void)hex_encode(bytes, len, digits);
    w->len += 2 * len;
    for (size_t i = 0; i < 2 * len; i++)
        digits[i] = capital(digits[i]);
}

static void put_tag(struct writer *w, const char *tag, const char *value)
{
    if (value[0] == '\0')
        return;
    put(w, tag, strlen(tag));
    put(w, value, strlen(value));
}

static bool is_normal(const char token[static DEVICE_CODE_MAX + 1])
{
    char normal[DEVICE_CODE_MAX + 1];
    size_t len = strnlen(token, sizeof(normal));
    bool same = device_code_parse(token, len, normal) && secret_equal(normal, token, len + 1);

    secret_wipe(normal, sizeof(normal));
    return len == 0 || same;
}

static bool is_short_form(const char serial[static TR005_SERIAL_MAX + 1])
{
    return memchr(serial, '\0', TR005_SERIAL_MAX + 1) != NULL &&
           serial[strspn(serial, SERIAL_ALPHABET)] == '\0';
}

enum tr005_outcome tr005_write(const struct tr005 *tag, char out[static TR005_WRITTEN_MAX + 1])
{
    const struct grammar *grammar = &grammars[0];
    struct writer w = {out, 0};
    uint8_t sum[CHECKSUM_LEN];
    uint16_t crc;

    out[0] = '\0';
    if (!is_normal(tag->token))
        return TR005_TOKEN;
    if (!is_short_form(tag->serial))
        return TR005_SERIAL;
    put(&w, grammar->prefix, strlen(grammar->prefix));
    put_hex(&w, tag->join_eui.bytes, sizeof(tag->join_eui.bytes));
    put(&w, ":", 1);
    put_hex(&w, tag->dev_eui.bytes, sizeof(tag->dev_eui.bytes));
    put(&w, ":", 1);
    put_hex(&w, tag->profile_id, sizeof(tag->profile_id));
    put_tag(&w, ":O", tag->token);
    put_tag(&w, ":S", tag->serial);
    crc = checksum(out, w.len, false);
    sum[0] = (uint8_t)(crc >> 8);
    sum[1] = (uint8_t)(crc & UINT8_MAX);
    put(&w, ":C", 2);
    put_hex(&w, sum, sizeof(sum));
    out[w.len] = '\0';
    return TR005_OK;
}

const char *tr005_outcome_text(enum tr005_outcome outcome)
{
    static const char *const texts[N_TR005_OUTCOMES] = {
        [TR005_OK] = "The text is that of an onboarding QR code.",
        [TR005_NO_TAG] = "The text is none of an onboarding QR code: it begins neither with LW:D0: "
                         "nor with URN:DEV:LW: or URN:LW:DP:.",
        [TR005_TOO_LONG] = "The text is longer than a QR code can be.",
        [TR005_JOIN_EUI] = "The JoinEUI, the first of the identifiers, is not 16 hexadecimal "
                           "digits.",
        [TR005_DEV_EUI] = "The DevEUI, the second of the identifiers, is not 16 hexadecimal "
                          "digits.",
        [TR005_PROFILE_ID] = "The ProfileID, the third of the identifiers, is not 8 hexadecimal "
                             "digits.",
        [TR005_DOUBLED_TAG] = "The owner token, the serial number or the checksum stands there "
                              "twice.",
        [TR005_CHECKSUM] = "The checksum is another one: something in the text is wrong.",
        [TR005_TOKEN] = "The owner token is not 1 to 32 letters A-Z and digits.",
        [TR005_SERIAL] = "The serial number is longer than 64 characters, or has some that it may "
                         "not have.",
        [TR005_NO_TOKEN] = "The text has no owner token.",
    };

    return texts[outcome];
}

void tr005_wipe(struct tr005 *tag)
{
    secret_wipe(tag, sizeof(*tag));
}
