/* JSON as programs mostly write it: one object of texts without an escape or a character beyond
 * ASCII, whole numbers, true, false and null, read where it stands. Any other body, good or bad, is
 * not plain: json.c makes a tree of it, and only there is judged what is wrong with one. Inside
 * api/ only. Pure: no allocation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_scalar_kind {
    SCALAR_TEXT,
    SCALAR_INTEGER,
    SCALAR_BOOL,
    SCALAR_NULL,
    SCALAR_NONE, /* an object, an array, a number with a fraction or an exponent */
};

struct json_scalar {
    enum json_scalar_kind kind;
    const char *text; /* SCALAR_TEXT; what stands behind it is no hexadecimal digit */
    size_t len;
    int64_t number; /* SCALAR_INTEGER; SCALAR_BOOL: not 0 for true */
};

struct json_member {
    const char *name;
    size_t name_len;
    struct json_scalar value;
};

/** Over a body. Zero but for these two, it begins. */
struct json_plain {
    const char *at, *end;
    bool begun;
};

enum json_plain_step {
    PLAIN_MEMBER, /* the next one */
    PLAIN_END,    /* there is none, and nothing behind the object */
    PLAIN_NOT,    /* the body is not plain */
};

/** That two members have different names is the caller's to see to. */
enum json_plain_step json_plain_next(struct json_plain *plain, struct json_member *ret);
