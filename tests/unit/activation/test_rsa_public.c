#include "activation/rsa_public.h"

#include "tests/support/suite.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define PEM_MAX 8192

/* Of any odd number: nobody looks whether it is a product of primes. */
static EVP_PKEY *make_key_with(int bits, BN_ULONG e)
{
    BIGNUM *modulus = BN_new(), *exponent = BN_new();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *numbers;
    EVP_PKEY *key = NULL;

    ck_assert_int_eq(BN_rand(modulus, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD), 1);
    ck_assert_int_eq(BN_set_word(exponent, e), 1);
    ck_assert_int_eq(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus), 1);
    ck_assert_int_eq(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent), 1);
    numbers = OSSL_PARAM_BLD_to_param(build);
    ck_assert_int_eq(EVP_PKEY_fromdata_init(context), 1);
    ck_assert_int_eq(EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, numbers), 1);
    OSSL_PARAM_free(numbers);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(context);
    BN_free(exponent);
    BN_free(modulus);
    return key;
}

static EVP_PKEY *make_key(int bits)
{
    return make_key_with(bits, 65537);
}

static void write_pem(EVP_PKEY *key, char out[static PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    int n;

    ck_assert_int_eq(PEM_write_bio_PUBKEY(bio, key), 1);
    n = BIO_read(bio, out, PEM_MAX - 1);
    ck_assert_int_gt(n, 0);
    out[n] = '\0';
    BIO_free(bio);
}

static enum rsa_public_outcome parse(EVP_PKEY *key, struct keyd_public_key *ret)
{
    char pem[PEM_MAX];

    write_pem(key, pem);
    EVP_PKEY_free(key);
    return rsa_public_parse(pem, KEYD_EXPORT_RSA_MAX, ret);
}

START_TEST(sizes_that_keyd_takes_are_read)
{
    static const int sizes[] = {2048, 3072, 4096};
    struct keyd_public_key greatest;
    EVP_PKEY *made = make_key(8 * KEYD_RSA_MAX);
    char pem[PEM_MAX];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct keyd_public_key key;

        ck_assert_int_eq(parse(make_key(sizes[i]), &key), RSA_PUBLIC_OK);
        ck_assert_int_eq(key.modulus_len, sizes[i] / 8);
        ck_assert_uint_eq(key.exponent_len, 3);
        ck_assert_mem_eq(key.exponent, "\x01\x00\x01", 3);
        ck_assert_uint_eq(key.modulus[0] >> 7, 1);
    }
    write_pem(made, pem);
    EVP_PKEY_free(made);
    ck_assert_uint_lt(strlen(pem), RSA_PUBLIC_PEM_MAX);
    ck_assert_int_eq(rsa_public_parse(pem, KEYD_RSA_MAX, &greatest), RSA_PUBLIC_OK);
    ck_assert_uint_eq(greatest.modulus_len, KEYD_RSA_MAX);
    ck_assert_int_eq(rsa_public_parse(pem, KEYD_EXPORT_RSA_MAX, &greatest), RSA_PUBLIC_WEAK);
}
END_TEST

START_TEST(numbers_are_those_of_the_key)
{
    EVP_PKEY *made = make_key(2048);
    BIGNUM *modulus = NULL;
    uint8_t bytes[256];
    struct keyd_public_key key;

    ck_assert_int_eq(EVP_PKEY_get_bn_param(made, "n", &modulus), 1);
    ck_assert_int_eq(BN_bn2bin(modulus, bytes), sizeof(bytes));
    BN_free(modulus);
    ck_assert_int_eq(parse(made, &key), RSA_PUBLIC_OK);
    ck_assert_mem_eq(key.modulus, bytes, sizeof(bytes));
}
END_TEST

START_TEST(other_sizes_and_other_keys_are_not)
{
    struct keyd_public_key key;

    ck_assert_int_eq(parse(make_key(1024), &key), RSA_PUBLIC_WEAK);
    ck_assert_int_eq(parse(make_key(4608), &key), RSA_PUBLIC_WEAK);
    ck_assert_int_eq(parse(EVP_EC_gen("P-256"), &key), RSA_PUBLIC_MALFORMED);
    ck_assert_int_eq(parse(make_key_with(2048, 65538), &key), RSA_PUBLIC_WEAK);
    ck_assert_int_eq(parse(make_key_with(2048, 1), &key), RSA_PUBLIC_WEAK);
    ck_assert_int_eq(parse(make_key_with(2048, 3), &key), RSA_PUBLIC_OK);
}
END_TEST

START_TEST(a_text_must_be_one_public_key)
{
    EVP_PKEY *made = make_key(2048);
    char pem[PEM_MAX], with_private[PEM_MAX + 40], twice[2 * PEM_MAX], after[PEM_MAX + 32];
    struct keyd_public_key key;

    write_pem(made, pem);
    EVP_PKEY_free(made);
    (void)snprintf(twice, sizeof(twice), "%s%s", pem, pem);
    (void)snprintf(with_private, sizeof(with_private), "%s-----BEGIN RSA PRIVATE KEY-----\n", pem);
    (void)snprintf(after, sizeof(after), "a remark\n%s\n", pem);
    ck_assert_int_eq(rsa_public_parse(pem, KEYD_RSA_MAX, &key), RSA_PUBLIC_OK);
    ck_assert_int_eq(rsa_public_parse(after, KEYD_RSA_MAX, &key), RSA_PUBLIC_OK);
    ck_assert_int_eq(rsa_public_parse(with_private, KEYD_RSA_MAX, &key), RSA_PUBLIC_PRIVATE);
    ck_assert_int_eq(rsa_public_parse(twice, KEYD_RSA_MAX, &key), RSA_PUBLIC_MALFORMED);
    ck_assert_int_eq(rsa_public_parse("", KEYD_RSA_MAX, &key), RSA_PUBLIC_MALFORMED);
    ck_assert_int_eq(
        rsa_public_parse("-----BEGIN PUBLIC KEY-----\n", KEYD_RSA_MAX, &key), RSA_PUBLIC_MALFORMED);
    pem[100]++;
    pem[strlen(pem) / 2] = '\0';
    ck_assert_int_eq(rsa_public_parse(pem, KEYD_RSA_MAX, &key), RSA_PUBLIC_MALFORMED);
}
END_TEST

START_TEST(each_outcome_is_explained)
{
    static const struct {
        enum rsa_public_outcome outcome;
        const char *words;
    } cases[] = {{RSA_PUBLIC_MALFORMED, "not one RSA public key in PEM"},
        {RSA_PUBLIC_PRIVATE, "is a private key"}, {RSA_PUBLIC_WEAK, "2048 to 8192 bits"}};
    char text[RSA_PUBLIC_TEXT_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rsa_public_explain(cases[i].outcome, KEYD_RSA_MAX, text);
        ck_assert_msg(strstr(text, cases[i].words) != NULL, "%s", text);
        ck_assert_int_eq(strncmp(text, "public_key is", 13), 0);
        ck_assert_uint_lt(strlen(text), RSA_PUBLIC_TEXT_MAX - 1);
    }
}
END_TEST

SUITE_MAIN("rsa public", 20, sizes_that_keyd_takes_are_read, numbers_are_those_of_the_key,
    other_sizes_and_other_keys_are_not, a_text_must_be_one_public_key, each_outcome_is_explained)
