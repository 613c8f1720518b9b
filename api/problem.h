/* Errors of the REST API as RFC 9457 problem documents, from one table. */
#pragma once

#include "api/server.h"

enum problem {
    PROBLEM_NOT_FOUND,
    PROBLEM_METHOD_NOT_ALLOWED,
    PROBLEM_UNAUTHENTICATED,
    PROBLEM_FORBIDDEN,
    PROBLEM_CLAIM_REFUSED, /* 403: why is not said */
    PROBLEM_BAD_REQUEST,   /* malformed; `detail` names the field or line */
    PROBLEM_CONFLICT,      /* 409: what is there already stands against it */
    PROBLEM_UNPROCESSABLE, /* 422: understood, and cannot be done as it is said */
    PROBLEM_GONE,          /* 410: it was there, and is deleted for good */
    PROBLEM_BODY_TOO_LARGE,
    PROBLEM_TOO_MANY,    /* 429: the answer says Retry-After */
    PROBLEM_UNAVAILABLE, /* 503, Retry-After */
    PROBLEM_INTERNAL,
    N_PROBLEMS
};

/** Answers with application/problem+json: type, title, status, detail, instance (the request id).
 */
void api_problem(struct api_request *request, enum problem problem, const char *detail);
unsigned api_problem_status(enum problem problem);
/** The header that an answer with this problem must carry, and its value; NULL when none. */
const char *api_problem_header(enum problem problem, const char **ret_value);
/** The first problem with this HTTP status; PROBLEM_INTERNAL when the table has none. */
enum problem api_problem_of_status(unsigned status);
/** The document alone. `detail` may be NULL; so may `field`, the member or line at fault;
 * `instance` is the request id. */
void api_problem_text(struct text *out, enum problem problem, const char *detail, const char *field,
    const char *instance);
/** The same for who knows no problem documents: {"message": detail, or the title}. */
void api_problem_message(struct text *out, enum problem problem, const char *detail);
