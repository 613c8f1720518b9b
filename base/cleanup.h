/* Scope-exit destructors. A destructor used with CLEANUP takes a pointer to the variable and
 * accepts NULL and half-built objects; success hands ownership over and nulls the local. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/** Frees a heap pointer at scope exit: `CLEANUP(cleanup_free) char *text = NULL;` */
static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

/** Closes a file descriptor at scope exit; -1 means none. */
static inline void cleanup_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}
