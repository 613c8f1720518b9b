#include "activation/rsa_public.h"

#include "activation/pem.h"
#include "base/aes.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

static const char begin[] = "-----BEGIN PUBLIC KEY-----";

static bool take_number(
    const EVP_PKEY *key, const char *name, uint8_t *out, size_t size, size_t *ret_len)
{
    BIGNUM *number = NULL;
    bool fits;

    if (EVP_PKEY_get_bn_param(key, name, &number) != 1)
        return false;
    *ret_len = (size_t)BN_num_bytes(number);
    fits = *ret_len > 0 && *ret_len <= size;
    if (fits)
        (void)BN_bn2bin(number, out);
    BN_free(number);
    return fits;
}

static enum rsa_public_outcome take_key(
    const EVP_PKEY *key, size_t modulus_max, struct keyd_public_key *ret)
{
    size_t modulus_len = 0, exponent_len = 0;

    *ret = (struct keyd_public_key){0};
    if (!EVP_PKEY_is_a(key, "RSA"))
        return RSA_PUBLIC_MALFORMED;
    if (!take_number(
            key, OSSL_PKEY_PARAM_RSA_N, ret->modulus, sizeof(ret->modulus), &modulus_len) ||
        !take_number(
            key, OSSL_PKEY_PARAM_RSA_E, ret->exponent, sizeof(ret->exponent), &exponent_len))
        return RSA_PUBLIC_WEAK;
    ret->modulus_len = (uint16_t)modulus_len;
    ret->exponent_len = (uint8_t)exponent_len;
    return keyd_public_key_valid(ret, modulus_max) ? RSA_PUBLIC_OK : RSA_PUBLIC_WEAK;
}

static EVP_PKEY *read_key(const char *first)
{
    BIO *bio = BIO_new_mem_buf(first, -1);
    EVP_PKEY *key =
        bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, act_pem_no_pass_phrase, NULL) : NULL;

    BIO_free(bio);
    return key;
}

enum rsa_public_outcome rsa_public_parse(
    const char *pem, size_t modulus_max, struct keyd_public_key *ret)
{
    enum rsa_public_outcome outcome = RSA_PUBLIC_MALFORMED;
    const char *first = strstr(pem, begin);
    EVP_PKEY *key;

    if (strstr(pem, "PRIVATE KEY") != NULL)
        return RSA_PUBLIC_PRIVATE;
    if (first == NULL || strstr(first + 1, "-----BEGIN ") != NULL)
        return RSA_PUBLIC_MALFORMED;
    key = read_key(first);
    if (key != NULL)
        outcome = take_key(key, modulus_max, ret);
    EVP_PKEY_free(key);
    return outcome;
}

bool rsa_public_digest(const char *pem, uint8_t ret[static RSA_PUBLIC_DIGEST_LEN])
{
    const char *first = strstr(pem, begin);
    EVP_PKEY *key = first != NULL ? read_key(first) : NULL;
    unsigned char *der = NULL;
    int len = key != NULL ? i2d_PUBKEY(key, &der) : -1;

    if (len > 0)
        digest_sha256(der, (size_t)len, ret);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return len > 0;
}

void rsa_public_explain(
    enum rsa_public_outcome outcome, size_t modulus_max, char out[static RSA_PUBLIC_TEXT_MAX])
{
    static const char private_key[] =
        "public_key is a private key, which nobody else may see: make another one, and send its "
        "public part";
    static const char *const texts[] = {
        [RSA_PUBLIC_OK] = "public_key is good",
        [RSA_PUBLIC_MALFORMED] =
            "public_key is not one RSA public key in PEM (-----BEGIN PUBLIC KEY-----)",
        [RSA_PUBLIC_PRIVATE] = private_key,
    };

    if (outcome == RSA_PUBLIC_WEAK)
        (void)snprintf(out, RSA_PUBLIC_TEXT_MAX,
            "public_key is no RSA key of %d to %zu bits with an odd exponent of 3 or more, of at "
            "most %d bits",
            8 * KEYD_RSA_MIN, 8 * modulus_max, 8 * KEYD_RSA_EXPONENT_MAX);
    else
        (void)snprintf(out, RSA_PUBLIC_TEXT_MAX, "%s", texts[outcome]);
}
