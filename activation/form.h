/* application/x-www-form-urlencoded bodies, into fixed fields. Pure. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

struct form_field {
    const char *name;
    char *value; /* `size` bytes; NUL-terminated */
    size_t size;
    bool present;
};

enum form_outcome {
    FORM_OK = 0,
    FORM_MALFORMED = 1, /* a bad escape, or a NUL */
    FORM_TOO_LONG = 2,  /* a value does not fit its field */
    FORM_REPEATED = 3,  /* a field given twice: RFC 6749 3.2 forbids it */
};

/** Fills the fields named in the body; unknown ones are ignored (RFC 6749 3.2). Fields that do not
 * occur keep `present` false and get an empty value. */
enum form_outcome form_read(
    const char *body, size_t len, struct form_field *fields, size_t n_fields) MUST_CHECK;
/** True when a Content-Type names such a body, with or without parameters. NULL is false. */
bool form_is_type(const char *content_type);
