#include "base/aes.h"

#include "base/error.h"
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

static void cipher_cleanup(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

static void mac_cleanup(EVP_MAC_CTX **ctx)
{
    EVP_MAC_CTX_free(*ctx);
}

static int failed(const char *what)
{
    return error_set(ERROR_INTERNAL, "OpenSSL refused %s", what);
}

static int ecb(
    const struct secret_key *key, const uint8_t *in, size_t len, uint8_t *out, int encrypt)
{
    CLEANUP(cipher_cleanup) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    if (len > INT_MAX || len % 16 != 0)
        return failed("a length that is not whole AES blocks");
    if (ctx == NULL ||
        EVP_CipherInit_ex(ctx, EVP_aes_128_ecb(), NULL, key->bytes, NULL, encrypt) != 1 ||
        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
        EVP_CipherUpdate(ctx, out, &n, in, (int)len) != 1 || (size_t)n != len)
        return failed("AES-128-ECB");
    return 0;
}

int aes_ecb_encrypt(const struct secret_key *key, const uint8_t *in, size_t len, uint8_t *out)
{
    return ecb(key, in, len, out, 1);
}

int aes_ecb_decrypt(const struct secret_key *key, const uint8_t *in, size_t len, uint8_t *out)
{
    return ecb(key, in, len, out, 0);
}

int aes_cmac(const struct secret_key *key, const uint8_t *in, size_t len, uint8_t out[static 16])
{
    char cipher[] = "AES-128-CBC";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
        OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    CLEANUP(mac_cleanup) EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    size_t n = 0;

    EVP_MAC_free(mac); /* the context holds its own reference */
    if (ctx == NULL || EVP_MAC_init(ctx, key->bytes, sizeof(key->bytes), params) != 1 ||
        EVP_MAC_update(ctx, in, len) != 1 || EVP_MAC_final(ctx, out, &n, 16) != 1 || n != 16)
        return failed("AES-CMAC");
    return 0;
}

static const EVP_CIPHER *wrap_cipher(size_t kek_len)
{
    switch (kek_len) {
    case 16:
        return EVP_aes_128_wrap();
    case 24:
        return EVP_aes_192_wrap();
    case 32:
        return EVP_aes_256_wrap();
    default:
        return NULL;
    }
}

/* 0 done, 1 the cipher refused the data (for unwrap: the integrity check). */
static int wrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out,
    size_t out_len, int encrypt)
{
    CLEANUP(cipher_cleanup) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const EVP_CIPHER *cipher = wrap_cipher(kek_len);
    int n = 0;

    if (cipher == NULL || len > INT_MAX)
        return failed("the length of a key encryption key");
    if (ctx == NULL)
        return failed("a cipher context");
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex(ctx, cipher, NULL, kek, NULL, encrypt) != 1)
        return failed("AES key wrap");
    if (EVP_CipherUpdate(ctx, out, &n, in, (int)len) != 1 || (size_t)n != out_len)
        return 1;
    return 0;
}

int aes_wrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out)
{
    int r = wrap(kek, kek_len, in, len, out, len + 8, 1);

    return r == 1 ? failed("AES key wrap") : r;
}

int aes_unwrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out)
{
    if (len < 24)
        return 1;
    return wrap(kek, kek_len, in, len, out, len - 8, 0);
}
