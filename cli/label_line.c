#include "cli/label_line.h"

#include "base/error.h"
#include "base/hex.h"
#include "device/sigfox_tag.h"
#include <jansson.h>
#include <string.h>
#include <strings.h>

#define SIGFOX_PREFIX "sigfox:" /* as paths have their ids */

/* "": there is none. NULL: it is no text. */
static const char *member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    if (value == NULL || json_is_null(value))
        return "";
    return json_string_value(value);
}

/* No DevEUI begins with four zero bytes; a Sigfox id has them before it. */
static bool read_dev_eui(const char *text, struct label *ret)
{
    static const uint8_t zeros[sizeof(ret->dev_eui.bytes) - SIGFOX_ID_LEN];
    const size_t n = strlen(SIGFOX_PREFIX);
    uint8_t *id = ret->dev_eui.bytes + sizeof(zeros);

    if (eui64_parse(text, strlen(text), &ret->dev_eui)) {
        if (memcmp(ret->dev_eui.bytes, zeros, sizeof(zeros)) == 0)
            ret->kind = LABEL_SIGFOX;
        return true;
    }
    ret->kind = LABEL_SIGFOX;
    text += strncasecmp(text, SIGFOX_PREFIX, n) == 0 ? n : 0;
    return hex_decode(text, strlen(text), id, SIGFOX_ID_LEN);
}

static bool read_join_eui(
    const char *text, const struct label_defaults *defaults, struct label *ret)
{
    ret->join_eui = defaults->join_eui;
    if (text[0] == '\0')
        return ret->kind == LABEL_SIGFOX || defaults->has_join_eui;
    return eui64_parse(text, strlen(text), &ret->join_eui);
}

static bool read_profile_id(
    const char *text, const struct label_defaults *defaults, struct label *ret)
{
    memcpy(ret->profile_id, defaults->profile_id, sizeof(ret->profile_id));
    return text[0] == '\0' ||
           hex_decode(text, strlen(text), ret->profile_id, sizeof(ret->profile_id));
}

static bool read_code(const char *text, const struct label_defaults *defaults, struct label *ret)
{
    (void)defaults;
    return device_code_parse(text, strlen(text), ret->code);
}

static bool read_serial(const char *text, const struct label_defaults *defaults, struct label *ret)
{
    size_t len = strlen(text);

    (void)defaults;
    if (len > TR005_SERIAL_MAX)
        return false;
    memcpy(ret->serial, text, len + 1);
    return true;
}

static const struct {
    const char *name, *form;
    bool (*read)(const char *text, const struct label_defaults *defaults, struct label *ret);
} members[] = {
    {"join_eui", "16 hexadecimal digits, or given with --join-eui", read_join_eui},
    {"profile_id", "8 hexadecimal digits", read_profile_id},
    {"code", "1 to 32 letters and digits", read_code},
    {"serial", "a text of up to 64 characters", read_serial},
};

static int read_object(
    const json_t *object, const struct label_defaults *defaults, struct label *ret)
{
    const char *text = member(object, "dev_eui");

    if (text == NULL || !read_dev_eui(text, ret))
        return error_set(
            ERROR_INPUT, "dev_eui must be 16 hexadecimal digits, or 8 of a Sigfox device");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        text = member(object, members[i].name);
        if (text == NULL || !members[i].read(text, defaults, ret))
            return error_set(ERROR_INPUT, "%s must be %s", members[i].name, members[i].form);
    }
    return 0;
}

int cli_label_line(
    const char *line, size_t len, const struct label_defaults *defaults, struct label *ret)
{
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    int r;

    *ret = (struct label){.kind = LABEL_LORAWAN};
    if (json_is_object(object))
        r = read_object(object, defaults, ret);
    else
        r = error_set(ERROR_INPUT, "it is no JSON object");
    json_decref(object);
    if (r < 0)
        label_wipe(ret);
    return r;
}
