#include "api/json_plain.h"

#include <string.h>

#define DIGITS_MAX 18 /* always fits 64 bits */

static void skip_blanks(struct json_plain *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
        p->at++;
}

static bool skip(struct json_plain *p, char c)
{
    if (p->at == p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

static bool skip_word(struct json_plain *p, const char *word, size_t len)
{
    if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
        return false;
    p->at += len;
    return true;
}

static bool read_text(struct json_plain *p, const char **ret, size_t *ret_len)
{
    const char *text;

    if (!skip(p, '"'))
        return false;
    text = p->at;
    while (p->at < p->end && *p->at >= ' ' && *p->at < 0x7f && *p->at != '"' && *p->at != '\\')
        p->at++;
    *ret = text;
    *ret_len = (size_t)(p->at - text);
    return skip(p, '"');
}

static bool is_digit(const struct json_plain *p)
{
    return p->at < p->end && *p->at >= '0' && *p->at <= '9';
}

/* A zero in front, a sign, a fraction or an exponent is seen by what then stands behind. */
static bool read_integer(struct json_plain *p, int64_t *ret)
{
    const char *first = p->at;
    int64_t number = 0;

    if (skip(p, '0')) {
        *ret = 0;
        return true;
    }
    while (is_digit(p) && p->at - first < DIGITS_MAX)
        number = number * 10 + (*p->at++ - '0');
    *ret = number;
    return p->at > first;
}

static bool read_value(struct json_plain *p, struct json_scalar *ret)
{
    *ret = (struct json_scalar){.kind = SCALAR_TEXT};
    if (p->at < p->end && *p->at == '"')
        return read_text(p, &ret->text, &ret->len);
    ret->kind = SCALAR_INTEGER;
    if (is_digit(p))
        return read_integer(p, &ret->number);
    ret->kind = SCALAR_NULL;
    if (skip_word(p, "null", 4))
        return true;
    ret->kind = SCALAR_BOOL;
    ret->number = skip_word(p, "true", 4);
    return ret->number != 0 || skip_word(p, "false", 5);
}

static enum json_plain_step end(struct json_plain *p)
{
    skip_blanks(p);
    return p->at == p->end ? PLAIN_END : PLAIN_NOT;
}

enum json_plain_step json_plain_next(struct json_plain *p, struct json_member *ret)
{
    skip_blanks(p);
    if (!p->begun) {
        if (!skip(p, '{'))
            return PLAIN_NOT;
        skip_blanks(p);
        p->begun = true;
        if (skip(p, '}'))
            return end(p);
    } else if (skip(p, '}')) {
        return end(p);
    } else if (!skip(p, ',')) {
        return PLAIN_NOT;
    }
    skip_blanks(p);
    if (!read_text(p, &ret->name, &ret->name_len))
        return PLAIN_NOT;
    skip_blanks(p);
    if (!skip(p, ':'))
        return PLAIN_NOT;
    skip_blanks(p);
    return read_value(p, &ret->value) ? PLAIN_MEMBER : PLAIN_NOT;
}
