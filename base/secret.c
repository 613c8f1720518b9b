#include "base/secret.h"

#include "base/error.h"
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define BUFFER_FIRST_CAPACITY 1024

void secret_wipe(void *p, size_t len)
{
    if (p != NULL && len > 0)
        OPENSSL_cleanse(p, len);
}

void secret_key_wipe(struct secret_key *key)
{
    secret_wipe(key, sizeof(*key));
}

int secret_buffer_append(struct secret_buffer *buffer, const void *data, size_t len)
{
    if (len > SIZE_MAX / 4 - buffer->len)
        return error_set(ERROR_SYSTEM, "a buffer would grow beyond the address space");
    if (buffer->len + len > buffer->capacity) {
        size_t capacity = buffer->capacity > 0 ? buffer->capacity : BUFFER_FIRST_CAPACITY;
        uint8_t *bigger;

        while (capacity < buffer->len + len)
            capacity *= 2;
        bigger = malloc(capacity);
        if (bigger == NULL)
            return error_set(ERROR_SYSTEM, "out of memory for a buffer of %zu bytes", capacity);
        if (buffer->data != NULL) {
            memcpy(bigger, buffer->data, buffer->len);
            secret_wipe(buffer->data, buffer->capacity);
            free(buffer->data);
        }
        buffer->data = bigger;
        buffer->capacity = capacity;
    }
    if (len > 0)
        memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    return 0;
}

void secret_buffer_clear(struct secret_buffer *buffer)
{
    secret_wipe(buffer->data, buffer->len);
    buffer->len = 0;
}

void secret_buffer_done(struct secret_buffer *buffer)
{
    secret_wipe(buffer->data, buffer->capacity);
    free(buffer->data);
    *buffer = (struct secret_buffer){0};
}

bool secret_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

/* The block's size stands in front of it, in a header that keeps malloc's alignment. */
union block_header {
    size_t len;
    max_align_t align;
};

void *secret_realloc(void *p, size_t len)
{
    union block_header *fresh;

    if (len > SIZE_MAX - sizeof(*fresh))
        return NULL;
    fresh = malloc(sizeof(*fresh) + len);
    if (fresh == NULL)
        return NULL;
    fresh->len = len;
    if (p != NULL) {
        const union block_header *old = (const union block_header *)p - 1;

        memcpy(fresh + 1, p, old->len < len ? old->len : len);
        secret_free(p);
    }
    return fresh + 1;
}

void secret_free(void *p)
{
    if (p != NULL) {
        union block_header *header = (union block_header *)p - 1;

        secret_wipe(p, header->len);
        free(header);
    }
}

int secret_process_harden(size_t lock_limit_bytes, bool *ret_locked)
{
    const struct rlimit none = {0, 0};
    struct rlimit lock;
    bool locked = false;

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return error_set_errno("cannot switch core files off");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return error_set_errno("cannot make the process not dumpable");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return error_set_errno("cannot give up new privileges");
    if (lock_limit_bytes > 0 && getrlimit(RLIMIT_MEMLOCK, &lock) == 0 &&
        (lock.rlim_cur == RLIM_INFINITY || lock.rlim_cur >= lock_limit_bytes))
        locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    if (ret_locked != NULL)
        *ret_locked = locked;
    return 0;
}
