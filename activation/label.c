#include "activation/label_draw.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/secret.h"
#include "device/sigfox_tag.h"
#include <assert.h>
#include <string.h>

#define FORMULA "=+-@" /* what spreadsheets begin a formula with */

static_assert(LABEL_TEXT_MAX >= SIGFOX_TAG_MAX, "either text has room");

void label_wipe(struct label *label)
{
    secret_wipe(label, sizeof(*label));
}

/* --- what is on it ---------------------------------------------------------------------------- */

/* In capitals, as it is printed. */
static void name_of(const struct label *label, char out[static LABEL_NAME_MAX + 1])
{
    const struct eui64 *eui = &label->dev_eui;
    size_t skipped = label->kind == LABEL_SIGFOX ? sizeof(eui->bytes) - SIGFOX_ID_LEN : 0;

    (void)hex_encode(eui->bytes + skipped, sizeof(eui->bytes) - skipped, out);
    for (char *c = out; *c != '\0'; c++)
        *c = *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
}

static bool is_printable(const char serial[static TR005_SERIAL_MAX + 1])
{
    size_t len = strnlen(serial, TR005_SERIAL_MAX + 1);

    for (size_t i = 0; i < len; i++)
        if (serial[i] < ' ' || serial[i] > '~')
            return false;
    return len <= TR005_SERIAL_MAX;
}

/* 0, TR005_TOKEN, or ERROR_INTERNAL. */
static int write_lorawan(const struct label *label, char out[static LABEL_TEXT_MAX + 1])
{
    CLEANUP(tr005_wipe) struct tr005 tag = {.join_eui = label->join_eui, .dev_eui = label->dev_eui};
    CLEANUP(tr005_wipe) struct tr005 again = {.token = ""};
    enum tr005_outcome outcome;

    memcpy(tag.profile_id, label->profile_id, sizeof(tag.profile_id));
    memcpy(tag.token, label->code, sizeof(tag.token));
    memcpy(tag.serial, label->serial, sizeof(tag.serial));
    outcome = tr005_write(&tag, out);
    if (outcome == TR005_SERIAL) {
        tag.serial[0] = '\0';
        outcome = tr005_write(&tag, out);
    }
    if (outcome != TR005_OK)
        return TR005_TOKEN;
    if (tr005_parse_claim(out, strlen(out), &again) == TR005_OK &&
        memcmp(&again.join_eui, &tag.join_eui, sizeof(tag.join_eui)) == 0 &&
        memcmp(&again.dev_eui, &tag.dev_eui, sizeof(tag.dev_eui)) == 0 &&
        memcmp(again.profile_id, tag.profile_id, sizeof(tag.profile_id)) == 0 &&
        secret_equal(again.token, tag.token, strlen(tag.token) + 1) &&
        strcmp(again.serial, tag.serial) == 0)
        return 0;
    return ERROR_INTERNAL;
}

static int write_sigfox(const struct label *label, char out[static LABEL_TEXT_MAX + 1])
{
    CLEANUP(sigfox_tag_wipe) struct sigfox_tag tag = {.pac = ""};
    CLEANUP(sigfox_tag_wipe) struct sigfox_tag again = {.pac = ""};

    memcpy(tag.id, label->dev_eui.bytes + sizeof(label->dev_eui.bytes) - sizeof(tag.id),
        sizeof(tag.id));
    memcpy(tag.pac, label->code, sizeof(tag.pac));
    if (!sigfox_tag_write(&tag, out))
        return TR005_TOKEN;
    if (sigfox_tag_parse(out, strlen(out), &again) &&
        memcmp(again.id, tag.id, sizeof(tag.id)) == 0 &&
        secret_equal(again.pac, tag.pac, strlen(tag.pac) + 1))
        return 0;
    return ERROR_INTERNAL;
}

int label_read(const struct label *label, char out[static LABEL_TEXT_MAX + 1],
    char ret_name[static LABEL_NAME_MAX + 1])
{
    int r;

    out[0] = '\0';
    name_of(label, ret_name);
    if (!is_printable(label->serial))
        return error_set(ERROR_INPUT,
            "device %s: its serial number is not up to %d printable characters of ASCII", ret_name,
            TR005_SERIAL_MAX);
    if (label->code[0] == '\0')
        return error_set(ERROR_INPUT, "device %s: it has no code", ret_name);
    r = label->kind == LABEL_SIGFOX ? write_sigfox(label, out) : write_lorawan(label, out);
    if (r == 0)
        return 0;
    secret_wipe(out, LABEL_TEXT_MAX + 1);
    if (r > 0)
        return error_set(
            ERROR_INPUT, "device %s: its code is not 1 to 32 letters A-Z and digits", ret_name);
    return error_set(
        ERROR_INTERNAL, "device %s: the text of its label is read as something else", ret_name);
}

int label_text(const struct label *label, char out[static LABEL_TEXT_MAX + 1])
{
    char name[LABEL_NAME_MAX + 1];

    return label_read(label, out, name);
}

/* --- CSV -------------------------------------------------------------------------------------- */

const char *label_csv_head(void)
{
    return "dev_eui,join_eui,serial,code,qr\r\n";
}

static void add_field(struct text *out, const char *before, const char *value)
{
    bool formula = value[0] != '\0' && strchr(FORMULA, value[0]) != NULL;
    bool quoted = formula || value[strcspn(value, "\",\r\n ")] != '\0';

    text_add(out, before);
    text_add(out, quoted ? "\"" : "");
    text_add(out, formula ? "'" : "");
    for (const char *c = value; *c != '\0'; c++) {
        text_add(out, *c == '"' ? "\"" : "");
        text_add_len(out, c, 1);
    }
    text_add(out, quoted ? "\"" : "");
}

int label_csv_line(const struct label *label, struct text *out)
{
    char text[LABEL_TEXT_MAX + 1], id[EUI64_TEXT_LEN + 1], join_eui[EUI64_TEXT_LEN + 1] = "";
    char name[LABEL_NAME_MAX + 1];
    int r = label_read(label, text, name);

    if (r < 0)
        return r;
    (void)eui64_format(&label->dev_eui, id);
    if (label->kind == LABEL_LORAWAN)
        (void)eui64_format(&label->join_eui, join_eui);
    if (label->kind == LABEL_SIGFOX)
        text_add(out, "sigfox:");
    text_add(out, id + (strlen(id) - strlen(name)));
    add_field(out, ",", join_eui);
    add_field(out, ",", label->serial);
    add_field(out, ",", label->code);
    add_field(out, ",", text);
    text_add(out, "\r\n");
    secret_wipe(text, sizeof(text));
    return 0;
}
