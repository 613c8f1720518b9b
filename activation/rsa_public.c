#include "activation/rsa_public.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
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

static enum rsa_public_outcome take_key(const EVP_PKEY *key, struct keyd_public_key *ret)
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
    return keyd_public_key_valid(ret) ? RSA_PUBLIC_OK : RSA_PUBLIC_WEAK;
}

enum rsa_public_outcome rsa_public_parse(const char *pem, struct keyd_public_key *ret)
{
    enum rsa_public_outcome outcome = RSA_PUBLIC_MALFORMED;
    const char *first = strstr(pem, begin);
    EVP_PKEY *key = NULL;
    BIO *bio;

    if (strstr(pem, "PRIVATE KEY") != NULL)
        return RSA_PUBLIC_PRIVATE;
    if (first == NULL || strstr(first + 1, "-----BEGIN ") != NULL)
        return RSA_PUBLIC_MALFORMED;
    bio = BIO_new_mem_buf(first, -1);
    if (bio != NULL)
        key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (key != NULL)
        outcome = take_key(key, ret);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return outcome;
}
