#include "activation/form.h"

#include "base/hex.h"
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define FORM_TYPE "application/x-www-form-urlencoded"
#define NAME_MAX_LEN 64 /* longer names are none of ours */

/* Decodes one name or value; `out` always gets a NUL. */
static enum form_outcome decode(const char *text, size_t len, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (len - i < 3 || !hex_decode(text + i + 1, 2, &c, 1))
                return FORM_MALFORMED;
            i += 2;
        }
        if (c == '\0')
            return FORM_MALFORMED;
        if (n + 1 >= size)
            return FORM_TOO_LONG;
        out[n++] = (char)c;
        out[n] = '\0';
    }
    return FORM_OK;
}

static struct form_field *find_field(struct form_field *fields, size_t n_fields, const char *name)
{
    for (size_t i = 0; i < n_fields; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static enum form_outcome read_pair(
    const char *pair, size_t len, struct form_field *fields, size_t n_fields)
{
    const char *equals = memchr(pair, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - pair) : len;
    const char *value = equals != NULL ? equals + 1 : pair + len;
    char name[NAME_MAX_LEN + 1];
    enum form_outcome outcome = decode(pair, name_len, name, sizeof(name));
    struct form_field *field;

    if (outcome == FORM_TOO_LONG)
        return FORM_OK;
    if (outcome != FORM_OK)
        return outcome;
    field = find_field(fields, n_fields, name);
    if (field == NULL)
        return FORM_OK;
    if (field->present)
        return FORM_REPEATED;
    field->present = true;
    return decode(value, len - (size_t)(value - pair), field->value, field->size);
}

enum form_outcome form_read(
    const char *body, size_t len, struct form_field *fields, size_t n_fields)
{
    for (size_t i = 0; i < n_fields; i++) {
        fields[i].present = false;
        fields[i].value[0] = '\0';
    }
    for (size_t at = 0; at < len;) {
        const char *end = memchr(body + at, '&', len - at);
        size_t pair_len = end != NULL ? (size_t)(end - (body + at)) : len - at;
        enum form_outcome outcome = read_pair(body + at, pair_len, fields, n_fields);

        if (outcome != FORM_OK)
            return outcome;
        at += pair_len + 1;
    }
    return FORM_OK;
}

bool form_is_type(const char *content_type)
{
    size_t len = sizeof(FORM_TYPE) - 1;

    return content_type != NULL && strncasecmp(content_type, FORM_TYPE, len) == 0 &&
           (content_type[len] == '\0' || content_type[len] == ';' || content_type[len] == ' ');
}
