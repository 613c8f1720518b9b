/* One error language for the project.
 *
 * Every fallible function returns int: 0 is ok; a negative value is one of the codes below, fatal
 * to the act and forwarded untouched; a positive value is an outcome, documented at the function.
 * Where an error is born, error_set() records one sentence (no secret in it, no allocation) in a
 * thread-local buffer; it is logged once, at an edge (HTTP dispatcher, worker loop, main). */
#pragma once

#include "base/cleanup.h"

#define ERROR_TEXT_MAX 512 /* bytes, with the terminating NUL */

enum error_code {
    ERROR_INTERNAL = -1,   /* a broken assumption of our own */
    ERROR_SYSTEM = -2,     /* the operating system refused (file, memory, socket) */
    ERROR_CONFIG = -3,     /* a setting is wrong; trying again will not help */
    ERROR_INPUT = -4,      /* what the caller was given is malformed */
    ERROR_DB = -5,         /* the database refused or is away; nothing was committed */
    ERROR_DB_UNKNOWN = -6, /* the connection broke after a commit was sent: read back */
    ERROR_HSM = -7,        /* keyd or the token is failing */
    ERROR_PIN = -8,        /* the token refused the PIN: stop, never try again */
    ERROR_DEADLINE = -9,   /* the time given to the act has passed */
    ERROR_STALE_KEY = -10, /* a version of a key is on its way out: nothing was stored under it,
                            * and what is done anew takes another */
};

/** Records the sentence and returns `code`, so that `return error_set(...)` is the usual form. */
int error_set(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** As error_set(ERROR_SYSTEM, ...), with the text of the present errno appended. */
int error_set_errno(const char *fmt, ...) PRINTF_LIKE(1, 2);

/** The last sentence recorded on this thread; "" when none. Valid until the next error_set(). */
const char *error_text(void);

/** The stable name of a code ("db", "hsm", ...), for logs and exit messages. */
const char *error_name(int code);
