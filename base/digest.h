/* SHA-256 of what comes piece by piece, and at any moment of what has come so far. Belongs to one
 * thread. Of what was added, the last 63 bytes are in memory until more comes or it is freed, which
 * wipes them. */
#pragma once

#include "base/cleanup.h"
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32

struct digest;

int digest_new(struct digest **ret) MUST_CHECK;
/** NULL is fine. */
void digest_free(struct digest *digest);
static inline void digest_freep(struct digest **digest)
{
    digest_free(*digest);
}

/** What goes wrong is told by digest_so_far. */
void digest_add(struct digest *digest, const void *bytes, size_t len);
/** SHA-256 of all that was added; more may be added after it. */
int digest_so_far(struct digest *digest, uint8_t ret[static DIGEST_LEN]) MUST_CHECK;
