/* Secrets have their own types. Nothing here prints, and no logging function takes these types.
 * They are wiped when they leave scope (CLEANUP(secret_..._wipe)) and compared in constant time. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AES_KEY_LEN 16

/** An AES-128 key in clear. It exists only in keyd, in an importer for the moment between reading
 * and sealing, and in the simulated device. Human (big-endian) byte order; never reversed. */
struct secret_key {
    uint8_t bytes[AES_KEY_LEN];
};

/** A growing buffer whose every copy is wiped before it is given back. */
struct secret_buffer {
    uint8_t *data;
    size_t len;
    size_t capacity;
};

void secret_wipe(void *p, size_t len);
void secret_key_wipe(struct secret_key *key);

/** Appends; fails (ERROR_SYSTEM) without memory. The old block is wiped when the buffer moves. */
int secret_buffer_append(struct secret_buffer *buffer, const void *data, size_t len);
/** Wipes what is in it and keeps the memory. */
void secret_buffer_clear(struct secret_buffer *buffer);
/** Wipes and frees; the buffer is empty and usable afterwards. */
void secret_buffer_done(struct secret_buffer *buffer);

/** Constant-time equality. */
bool secret_equal(const void *a, const void *b, size_t len) MUST_CHECK;

/** malloc/realloc/free that remember the size and wipe before giving back: for libraries that take
 * an allocator and would otherwise leave clear text behind. */
void *secret_realloc(void *p, size_t len);
void secret_free(void *p);

/** Process hygiene: no core file, not dumpable, no new privileges. With `lock_limit_bytes` > 0 also
 * locks memory, where RLIMIT_MEMLOCK is at least that large (locking under a smaller limit makes a
 * growing process fail). *ret_locked says whether it was locked; may be NULL. */
int secret_process_harden(size_t lock_limit_bytes, bool *ret_locked);
