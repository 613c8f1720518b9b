/* A JWE in compact form (RFC 7516) to an RSA public key, RSA-OAEP and A256GCM, written and read in
 * pieces, so that its length costs no memory. Belongs to one thread. */
#pragma once

#include "base/gcm.h"
#include "base/text.h"
#include <stdio.h>

#define JWE_HEADER "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}"

struct jwe_writer;

/** Begins one to the key in `pem`, and adds what stands before its content to `out`. The content's
 * key and IV are random, and the caller's, who wipes the key. */
int jwe_writer_new(const char *pem, const uint8_t key[static GCM_KEY_LEN],
    const uint8_t iv[static GCM_IV_LEN], struct jwe_writer **ret, struct text *out) MUST_CHECK;
void jwe_writer_free(struct jwe_writer *writer);
static inline void jwe_writer_freep(struct jwe_writer **writer)
{
    jwe_writer_free(*writer);
}
/** Adds `len` bytes of content; up to 2 of them stay with the writer until more come. */
int jwe_writer_add(
    struct jwe_writer *writer, const void *bytes, size_t len, struct text *out) MUST_CHECK;
int jwe_writer_end(struct jwe_writer *writer, struct text *out) MUST_CHECK;

/** Takes a piece of the content; not 0: it is enough, and the reading's result. */
typedef int (*jwe_take)(void *context, const uint8_t *bytes, size_t len);
/** Reads one from a file that can be read again, with the RSA private key in `pem`: first all of
 * it, to see that it is whole and was not changed, then once more, giving the content to `take`.
 * ERROR_INPUT: it is none, is for another key, or was changed. */
int jwe_read(FILE *file, const char *pem, jwe_take take, void *context) MUST_CHECK;
