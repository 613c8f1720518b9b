#include "cli/device_crypto.h"

#include "base/error.h"
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#define CMAC_LEN 16

static void cipher_ctx_free(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

int simdev_crypto_mic(
    const struct secret_key *key, const uint8_t *in, size_t len, uint8_t out[static 4])
{
    uint8_t mac[CMAC_LEN];
    size_t mac_len = 0;

    if (EVP_Q_mac(NULL, "CMAC", NULL, "AES-128-CBC", NULL, key->bytes, sizeof(key->bytes), in, len,
            mac, sizeof(mac), &mac_len) == NULL ||
        mac_len != sizeof(mac))
        return error_set(ERROR_INTERNAL, "OpenSSL computes no AES-CMAC");
    memcpy(out, mac, 4);
    return 0;
}

int simdev_crypto_encrypt(const struct secret_key *key, const uint8_t *in, size_t len, uint8_t *out)
{
    CLEANUP(cipher_ctx_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    if (ctx == NULL || len > INT_MAX || len % 16 != 0 ||
        EVP_EncryptInit_ex2(ctx, EVP_aes_128_ecb(), key->bytes, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
        EVP_EncryptUpdate(ctx, out, &n, in, (int)len) != 1 || (size_t)n != len)
        return error_set(ERROR_INTERNAL, "OpenSSL does no AES-128-ECB");
    return 0;
}

int simdev_crypto_unwrap(const uint8_t *kek, size_t kek_len,
    const uint8_t wrapped[static SIMDEV_WRAPPED_KEY_LEN], struct secret_key *ret)
{
    const EVP_CIPHER *cipher = kek_len == 16   ? EVP_aes_128_wrap()
                               : kek_len == 24 ? EVP_aes_192_wrap()
                               : kek_len == 32 ? EVP_aes_256_wrap()
                                               : NULL;
    CLEANUP(cipher_ctx_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CLEANUP(secret_key_wipe) struct secret_key key = {{0}};
    int n = 0;

    if (cipher == NULL)
        return error_set(ERROR_INTERNAL, "no AES key has %zu bytes", kek_len);
    if (ctx == NULL)
        return error_set(ERROR_INTERNAL, "OpenSSL gives no cipher context");
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_DecryptInit_ex2(ctx, cipher, kek, NULL, NULL) != 1)
        return error_set(ERROR_INTERNAL, "OpenSSL does no AES key unwrap");
    if (EVP_DecryptUpdate(ctx, key.bytes, &n, wrapped, SIMDEV_WRAPPED_KEY_LEN) != 1 ||
        (size_t)n != sizeof(key.bytes))
        return 1;
    *ret = key;
    return 0;
}
