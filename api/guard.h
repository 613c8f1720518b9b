/* What cannot be a sane HTTP/1.x request is refused before its body is read. The library's parser
 * is lenient (two lengths, a length together with chunks, folded or blank-ridden names, ...), and a
 * proxy in front may read such a request in another way than we do: request smuggling.
 *
 * Not visible here, since the library deals with it: a raw NUL in the target or in a value cuts it;
 * a malformed Content-Length is answered 400 by the library itself. Pure: no I/O, no allocation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_HEADERS_MAX 64 /* header lines of one request */
#define GUARD_PATH_MAX 512   /* characters of the raw target before '?' */

/** One header line as the library read it. Name and value need not be NUL-terminated. */
struct guard_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

struct guard_request {
    const char *method;
    const char *version;
    const struct guard_header *headers;
    size_t n_headers; /* more than GUARD_HEADERS_MAX is a fault; the rest need not be given */
};

struct guard_body {
    bool chunked;
    uint64_t length; /* of Content-Length; 0 without one */
};

/** NULL when the raw target (before percent-decoding, with the query) is sane; else one sentence.
 * The library decodes a target in place, so this is asked before the rest. */
const char *guard_target(const char *target);
/** NULL when the request is sane, and `ret_body` filled; else one sentence saying what is wrong,
 * without anything of the request in it. */
const char *guard_check(const struct guard_request *request, struct guard_body *ret_body);
