#include "base/rsa_oaep.h"

#include "base/error.h"
#include "base/secret.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

static void pkey_cleanup(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void pkey_ctx_cleanup(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
}

static void bio_cleanup(BIO **bio)
{
    BIO_free(*bio);
}

/* Nobody is asked for one. */
static int no_pass_phrase(char *out, int size, int rwflag, void *context)
{
    (void)out;
    (void)size;
    (void)rwflag;
    (void)context;
    return 0;
}

int rsa_oaep_seal(const char *pem, const void *clear, size_t len, uint8_t ret[static RSA_OAEP_MAX],
    size_t *ret_len)
{
    CLEANUP(bio_cleanup) BIO *bio = BIO_new_mem_buf(pem, -1);
    CLEANUP(pkey_cleanup)
    EVP_PKEY *to = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, no_pass_phrase, NULL) : NULL;
    CLEANUP(pkey_ctx_cleanup)
    EVP_PKEY_CTX *ctx = to != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, to, NULL) : NULL;

    *ret_len = RSA_OAEP_MAX;
    if (ctx == NULL || EVP_PKEY_encrypt_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_encrypt(ctx, ret, ret_len, clear, len) != 1)
        return error_set(ERROR_INTERNAL, "OpenSSL cannot encrypt to a public key");
    return 0;
}

int rsa_oaep_open(
    const char *pem, const void *sealed, size_t len, uint8_t *ret, size_t size, size_t *ret_len)
{
    CLEANUP(bio_cleanup) BIO *bio = BIO_new_mem_buf(pem, -1);
    CLEANUP(pkey_cleanup)
    EVP_PKEY *own = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    CLEANUP(pkey_ctx_cleanup)
    EVP_PKEY_CTX *ctx = own != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL) : NULL;
    uint8_t clear[RSA_OAEP_MAX];
    size_t clear_len = sizeof(clear);
    int r = 0;

    if (ctx == NULL || !EVP_PKEY_is_a(own, "RSA") || EVP_PKEY_get_size(own) > RSA_OAEP_MAX)
        return error_set(ERROR_INPUT, "the key is no RSA private key in PEM without a pass phrase");
    if (EVP_PKEY_decrypt_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_decrypt(ctx, clear, &clear_len, sealed, len) != 1 || clear_len > size)
        r = error_set(ERROR_INPUT, "it was not encrypted to this key");
    if (r == 0) {
        memcpy(ret, clear, clear_len);
        *ret_len = clear_len;
    }
    secret_wipe(clear, sizeof(clear));
    return r;
}
