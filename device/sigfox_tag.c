#include "device/sigfox_tag.h"

#include "base/hex.h"
#include "base/secret.h"
#include <assert.h>
#include <string.h>
#include <strings.h>

#define PREFIX "SIGFOX:"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define ID_DIGITS ((size_t)2 * SIGFOX_ID_LEN)
#define BLANKS " \t\r\n"

static_assert(PREFIX_LEN + ID_DIGITS + 1 + DEVICE_CODE_MAX == SIGFOX_TAG_MAX,
    "the longest text that is written");

static bool is_blank(char c)
{
    return c != '\0' && strchr(BLANKS, c) != NULL;
}

bool sigfox_tag_parse(const char *text, size_t len, struct sigfox_tag *ret)
{
    const char *pac = text;

    *ret = (struct sigfox_tag){.pac = ""};
    for (; len > 0 && is_blank(text[len - 1]); len--)
        ;
    for (; len > 0 && is_blank(*text); len--)
        text++;
    if (len <= PREFIX_LEN + ID_DIGITS || strncasecmp(text, PREFIX, PREFIX_LEN) != 0)
        return false;
    pac = text + PREFIX_LEN + ID_DIGITS;
    if (*pac++ == ':' && hex_decode(text + PREFIX_LEN, ID_DIGITS, ret->id, sizeof(ret->id)) &&
        device_code_parse(pac, (size_t)(text + len - pac), ret->pac))
        return true;
    sigfox_tag_wipe(ret);
    return false;
}

bool sigfox_tag_write(const struct sigfox_tag *tag, char out[static SIGFOX_TAG_MAX + 1])
{
    char normal[DEVICE_CODE_MAX + 1];
    size_t len = strnlen(tag->pac, sizeof(normal));
    bool is_normal =
        device_code_parse(tag->pac, len, normal) && secret_equal(normal, tag->pac, len + 1);

    secret_wipe(normal, sizeof(normal));
    out[0] = '\0';
    if (!is_normal)
        return false;
    memcpy(out, PREFIX, PREFIX_LEN);
    (void)hex_encode(tag->id, sizeof(tag->id), out + PREFIX_LEN);
    for (char *c = out + PREFIX_LEN; *c != '\0'; c++)
        *c = *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
    out[PREFIX_LEN + ID_DIGITS] = ':';
    memcpy(out + PREFIX_LEN + ID_DIGITS + 1, tag->pac, len + 1);
    return true;
}

void sigfox_tag_wipe(struct sigfox_tag *tag)
{
    secret_wipe(tag, sizeof(*tag));
}
