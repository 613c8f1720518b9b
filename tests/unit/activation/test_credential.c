#include "activation/credential.h"

#include "base/hex.h"
#include "tests/support/suite.h"
#include <string.h>

START_TEST(a_secret_is_256_bits_as_lower_case_hex)
{
    struct act_secret secret;
    uint8_t hash[ACT_SECRET_HASH_LEN], bytes[ACT_SECRET_BYTES];
    char again[ACT_SECRET_TEXT_LEN + 1];

    ck_assert_int_eq(act_secret_make(&secret, hash), 0);
    ck_assert_uint_eq(strlen(secret.text), 64);
    ck_assert(hex_decode(secret.text, strlen(secret.text), bytes, sizeof(bytes)));
    ck_assert_str_eq(hex_encode(bytes, sizeof(bytes), again), secret.text);
}
END_TEST

START_TEST(two_secrets_differ)
{
    struct act_secret one, two;
    uint8_t hash[ACT_SECRET_HASH_LEN];

    ck_assert_int_eq(act_secret_make(&one, hash), 0);
    ck_assert_int_eq(act_secret_make(&two, hash), 0);
    ck_assert_str_ne(one.text, two.text);
}
END_TEST

START_TEST(what_is_kept_is_the_sha_256_of_the_text)
{
    /* FIPS 180-2, appendix B.1 */
    static const char expected[] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    uint8_t hash[ACT_SECRET_HASH_LEN], made[ACT_SECRET_HASH_LEN];
    char text[2 * ACT_SECRET_HASH_LEN + 1];
    struct act_secret secret;

    act_secret_hash("abc", 3, hash);
    ck_assert_str_eq(hex_encode(hash, sizeof(hash), text), expected);
    ck_assert_int_eq(act_secret_make(&secret, made), 0);
    act_secret_hash(secret.text, strlen(secret.text), hash);
    ck_assert_mem_eq(made, hash, sizeof(hash));
}
END_TEST

SUITE_MAIN("credential", 10, a_secret_is_256_bits_as_lower_case_hex, two_secrets_differ,
    what_is_kept_is_the_sha_256_of_the_text)
