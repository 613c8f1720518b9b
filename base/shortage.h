/* Tells what has run out from what is wrong: a service that ends because of a wrong setting is not
 * started again (exit status 78), and one that had no memory, descriptors or room on a disk for a
 * moment must be.
 */
#pragma once

#include "base/error.h"
#include <errno.h>

/** ERROR_SYSTEM where errno says that something has run out, else `code`. */
static inline int shortage_or(int code)
{
    switch (errno) {
    case ENOMEM:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
        return ERROR_SYSTEM;
    default:
        return code;
    }
}
