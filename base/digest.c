/* SHA256_Init() and the like: see digest_sha256(). */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/digest.h"

#include "base/aes.h"
#include "base/error.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>

/* Asked for in each request, by functions that cannot fail: OpenSSL's newer calls allocate, and
 * look the algorithm up under locks that all threads share. These do neither. */
void digest_sha256(const void *data, size_t len, uint8_t out[static 32])
{
    SHA256_CTX context;

    (void)SHA256_Init(&context);
    (void)SHA256_Update(&context, data, len);
    (void)SHA256_Final(out, &context);
    OPENSSL_cleanse(&context, sizeof(context));
}

struct digest {
    EVP_MD_CTX *running, *copy; /* what ends a digest spends it, so a copy is ended */
    bool failed;
};

int digest_new(struct digest **ret)
{
    CLEANUP(digest_freep) struct digest *digest = calloc(1, sizeof(*digest));

    if (digest == NULL || (digest->running = EVP_MD_CTX_new()) == NULL ||
        (digest->copy = EVP_MD_CTX_new()) == NULL ||
        EVP_DigestInit_ex(digest->running, EVP_sha256(), NULL) != 1)
        return error_set(ERROR_SYSTEM, "out of memory for a digest");
    *ret = digest;
    digest = NULL;
    return 0;
}

void digest_free(struct digest *digest)
{
    if (digest == NULL)
        return;
    EVP_MD_CTX_free(digest->running);
    EVP_MD_CTX_free(digest->copy);
    free(digest);
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
    if (len > 0 && EVP_DigestUpdate(digest->running, bytes, len) != 1)
        digest->failed = true;
}

int digest_so_far(struct digest *digest, uint8_t ret[static DIGEST_LEN])
{
    unsigned len = DIGEST_LEN;

    if (digest->failed || EVP_MD_CTX_copy_ex(digest->copy, digest->running) != 1 ||
        EVP_DigestFinal_ex(digest->copy, ret, &len) != 1)
        return error_set(ERROR_SYSTEM, "out of memory for a digest");
    return 0;
}
