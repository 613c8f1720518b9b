#include "activation/operator_check.h"

#include "activation/import_text.h"
#include "api/client.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

#define EUI64_BITS 64u
#define QUOTED_MAX 60 /* bytes of what is refused */

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool is_utf8(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;

    while (*c != '\0') {
        unsigned more = *c < 0x80 ? 0 : *c < 0xE0 ? 1 : *c < 0xF0 ? 2 : 3;
        uint32_t point = more == 0 ? *c : *c & (0x3Fu >> more);
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

        if (*c > 0xF4 || (*c >= 0x80 && *c < 0xC0))
            return false;
        c++;
        for (unsigned i = 0; i < more; i++, c++) {
            if ((*c & 0xC0) != 0x80)
                return false;
            point = point << 6 | (*c & 0x3Fu);
        }
        if (point < least[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return false;
    }
    return true;
}

bool act_name_valid(const char *name, size_t max)
{
    size_t len = strnlen(name, max + 1);

    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7F)
            return false;
    return is_utf8(name);
}

static bool parse_number(const char *text, unsigned max, unsigned *ret)
{
    unsigned v = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = 10 * v + (unsigned)(*text - '0');
        if (v > max)
            return false;
    }
    *ret = v;
    return true;
}

bool act_peer_name_valid(const char *name)
{
    return act_name_valid(name, PEER_ID_MAX) && strchr(name, '/') == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

const char *act_none_named(
    const char *what, const char *name, const char *more, char out[static ACT_NONE_MAX])
{
    if (act_peer_name_valid(name))
        (void)snprintf(out, ACT_NONE_MAX, "there is no %s \"%s\"%s", what, name, more);
    else
        (void)snprintf(out, ACT_NONE_MAX, "there is no such %s%s", what, more);
    return out;
}

bool act_as_id_valid(const char *as_id)
{
    return import_id_valid(as_id, strlen(as_id)) && act_peer_name_valid(as_id);
}

/* The digits of a beginning of an EUI, spelled as base/eui.h has a whole one; zeros behind it. */
static bool read_digits(const char *text, char ret[static EUI64_TEXT_LEN + 1])
{
    size_t n = 0;

    memset(ret, '0', EUI64_TEXT_LEN);
    ret[EUI64_TEXT_LEN] = '\0';
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    for (; *text != '\0'; text++) {
        if (n > 0 && n % 2 == 0 && strchr("-: ", *text) != NULL && text[1] != '\0')
            text++;
        if (n == EUI64_TEXT_LEN || strchr("0123456789abcdefABCDEF", *text) == NULL)
            return false;
        ret[n++] = *text;
    }
    return n > 0;
}

bool act_route_make(const char *text, unsigned bits, struct db_join_route *ret)
{
    char digits[EUI64_TEXT_LEN + 1];
    struct eui64 prefix;
    uint64_t value;

    if (bits > EUI64_BITS || !read_digits(text, digits) ||
        !hex_decode(digits, EUI64_TEXT_LEN, prefix.bytes, sizeof(prefix.bytes)))
        return false;
    value = eui64_to_u64(&prefix);
    if (bits < EUI64_BITS && value << bits != 0)
        return false;
    *ret = (struct db_join_route){.prefix = prefix, .prefix_len = bits};
    return true;
}

bool act_route_parse(const char *text, char separator, struct db_join_route *ret)
{
    const char *behind = strrchr(text, separator);
    char digits[ACT_PREFIX_TEXT_MAX + 1];
    unsigned bits;

    if (behind == NULL || (size_t)(behind - text) >= sizeof(digits) ||
        !parse_number(behind + 1, EUI64_BITS, &bits))
        return false;
    (void)snprintf(digits, sizeof(digits), "%.*s", (int)(behind - text), text);
    return act_route_make(digits, bits, ret);
}

bool act_network_parse(
    const char *text, struct net_id *ret_net_id, bool *ret_has_ns_id, struct eui64 *ret_ns_id)
{
    size_t len = strcspn(text, "/");

    *ret_has_ns_id = text[len] == '/';
    return net_id_parse(text, len, ret_net_id) &&
           (!*ret_has_ns_id || eui64_parse(text + len + 1, strlen(text + len + 1), ret_ns_id));
}

bool act_key_length_valid(unsigned length)
{
    return length == 16 || length == 24 || length == 32;
}

const char *const act_peer_words[N_PEER_CHOICES][2] = {
    [PEER_CHOICE_APP_S_KEY] = {"wrapped", "plain"},
    [PEER_CHOICE_SESSION_KEY_ID] = {"send", "omit"},
};

bool act_peer_word_parse(enum act_peer_choice choice, const char *word, bool *ret)
{
    for (int i = 0; i < 2; i++)
        if (strcmp(act_peer_words[choice][i], word) == 0) {
            *ret = i != 0;
            return true;
        }
    return false;
}

/* What stands in the database and in lists: nothing that has to be escaped; and it begins as the
 * join server compares it, which takes a scheme in small letters for TLS, with a host, which curl
 * would take from the path. */
static bool is_plainly_written(const char *url)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (const char *c = url; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || strchr("\"\\<>^`{|}#", *c) != NULL)
            return false;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncmp(url, schemes[i], strlen(schemes[i])) == 0)
            return url[strlen(schemes[i])] != '/';
    return false;
}

/* `what`: "an answer URL". */
static int check_url(const char *url, const char *what)
{
    char why[ERROR_TEXT_MAX];
    int r;

    if (strlen(url) > PEER_URL_MAX || !is_plainly_written(url))
        return error_set(ERROR_INPUT,
            "%s is https://HOST..., or http:// and a loopback address in digits, of at "
            "most %d characters, without a fragment, not \"%.*s\"",
            what, PEER_URL_MAX, (int)text_fit(url, QUOTED_MAX), url);
    if ((r = api_client_check_url(url)) < 0) {
        (void)snprintf(why, sizeof(why), "%s", error_text());
        return error_set(r, "the join server would not post to this URL (%s): %s", what, why);
    }
    return 0;
}

int act_answer_url_check(const char *url)
{
    return check_url(url, "an answer URL");
}

int act_partner_url_check(const char *url)
{
    return check_url(url, "a partner's URL");
}

int act_answer_credential_check(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    static const char *const endings[] = {".crt", ".key", ".ca", ".header"}; /* api/credential.c */
    size_t len = strlen(name);

    if (len == 0 || len > PEER_CREDENTIAL_MAX || name[0] == '.' || strspn(name, letters) != len)
        return error_set(ERROR_INPUT,
            "an answer credential is a name of 1 to %d of A-Z a-z 0-9 . _ -, the first no dot, not "
            "\"%.*s\"",
            PEER_CREDENTIAL_MAX, (int)text_fit(name, QUOTED_MAX), name);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (len > strlen(endings[i]) && strcmp(name + len - strlen(endings[i]), endings[i]) == 0)
            return error_set(ERROR_INPUT,
                "an answer credential is named without the ending of its files: \"%.*s\"",
                (int)(len - strlen(endings[i])), name);
    return 0;
}
