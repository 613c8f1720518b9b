/* KEKs that are made in the token: opened by OpenSSL with the private key of whoever gets them. */
#include "tests/integration/keyd_fault.h"

#include "base/clock.h"
#include "base/error.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <p11-kit/pkcs11.h>
#include <string.h>

#define KEK_MAX 32
#define N_LENGTHS 3
/* A key of so many primes is made in a second. */
#define PRIMES_OF_8192 5

static const uint8_t lengths[N_LENGTHS] = {16, 24, 32};

static struct p11_fault_control *control;
static struct keyd_pool *pool;
static struct keyd_channel *channel;
static struct keyd_test_device device;
static EVP_PKEY *owner;
static struct keyd_public_key to;

static void read_number(EVP_PKEY *pkey, const char *name, uint8_t *out, size_t size, size_t *len)
{
    BIGNUM *n = NULL;

    ck_assert_int_eq(EVP_PKEY_get_bn_param(pkey, name, &n), 1);
    ck_assert_int_le(BN_num_bytes(n), (int)size);
    *len = (size_t)BN_bn2bin(n, out);
    BN_free(n);
}

static struct keyd_public_key public_of(EVP_PKEY *pkey)
{
    struct keyd_public_key ret = {0};
    size_t n = 0, e = 0;

    read_number(pkey, OSSL_PKEY_PARAM_RSA_N, ret.modulus, sizeof(ret.modulus), &n);
    read_number(pkey, OSSL_PKEY_PARAM_RSA_E, ret.exponent, sizeof(ret.exponent), &e);
    ret.modulus_len = (uint16_t)n;
    ret.exponent_len = (uint8_t)e;
    return ret;
}

static void setup(void)
{
    static char uri[512];
    const struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1};

    control = keyd_fault_open(uri, sizeof(uri));
    ck_assert_msg(keyd_pool_open(&config, &pool) == 0, "%s", error_text());
    channel = keyd_pool_channel(pool, 0);
    keyd_test_adopt(channel, 0x20635F00C4006000, true, &device);
    owner = EVP_RSA_gen(2048);
    ck_assert_ptr_nonnull(owner);
    to = public_of(owner);
}

static void teardown(void)
{
    EVP_PKEY_free(owner);
    keyd_pool_close(pool);
}

static struct sealed_kek transport_kek(void)
{
    return (struct sealed_kek){.peer_kind = PEER_ORGANIZATION,
        .peer_id = "00112233445566778899aabbccddeeff",
        .kek_class = KEK_CLASS_TRANSPORT,
        .label = "made"};
}

static enum keyd_status make(const struct keyd_public_key *whose, unsigned key_len,
    struct sealed_kek *kek, struct keyd_made_kek *made)
{
    enum keyd_status status = KEYD_HSM_FAILED;

    ck_assert_msg(
        keyd_make_kek(channel, whose, key_len, kek, made, &status, keyd_test_deadline()) == 0, "%s",
        error_text());
    return status;
}

/* What the owner of the public key gets; fails the test where it is no key of `key_len`. */
static void open_made(
    EVP_PKEY *pkey, const struct keyd_made_kek *made, size_t key_len, uint8_t ret[static KEK_MAX])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    uint8_t clear[KEYD_RSA_MAX];
    size_t len = sizeof(clear);

    ck_assert_int_eq(made->len, EVP_PKEY_get_size(pkey));
    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, clear, &len, made->text, made->len), 1);
    ck_assert_uint_eq(len, key_len);
    memcpy(ret, clear, key_len);
    EVP_PKEY_CTX_free(ctx);
}

/* Key wrap is the same each time, and so is the tag: the two forms of one KEK are equal byte by
 * byte. */
static void must_be_the_adopted_one(
    const struct sealed_kek *kek, const uint8_t *clear, size_t key_len)
{
    struct sealed_kek adopted = *kek;

    adopted.key = (struct sealed_key){0};
    keyd_test_adopt_kek(channel, clear, key_len, &adopted);
    ck_assert_str_eq(adopted.key.kek_label, kek->key.kek_label);
    ck_assert_uint_eq(kek->key.blob_len, key_len + 8);
    ck_assert_mem_eq(adopted.key.blob, kek->key.blob, key_len + 8);
    ck_assert_mem_eq(adopted.key.tag, kek->key.tag, SEALED_TAG_LEN);
}

/* A device key wrapped by whoever has the KEK, and sealed by keyd, is what it is from clear. */
static void must_open_what_it_wrapped(
    const struct sealed_kek *kek, const uint8_t *clear, size_t key_len)
{
    const struct sealed_kek *const keks[] = {kek};
    struct keyd_adopt_request row = {.dev_eui = device.dev_eui,
        .join_eui = device.join_eui,
        .slot = KEY_SLOT_APP,
        .form = KEYD_FORM_WRAPPED};
    struct keyd_adopt_reply reply;

    ck_assert_int_eq(aes_wrap(clear, key_len, device.app_clear.bytes, AES_KEY_LEN, row.wrapped), 0);
    ck_assert_int_eq(
        keyd_adopt_device_keys(channel, keks, 1, &row, 1, &reply, keyd_test_deadline()), 0);
    ck_assert_msg(reply.status == KEYD_OK, "%s", keyd_status_text(reply.status));
    ck_assert_mem_eq(reply.sealed.blob, device.app.blob, device.app.blob_len);
    ck_assert_mem_eq(reply.sealed.tag, device.app.tag, SEALED_TAG_LEN);
}

START_TEST(a_made_kek_is_for_its_owner_what_an_adopted_one_is)
{
    const unsigned key_len = lengths[_i];
    struct sealed_kek kek = transport_kek();
    struct keyd_made_kek made;
    uint8_t clear[KEK_MAX], first[KEK_MAX] = {0};

    for (unsigned round = 0; round < 2; round++) {
        ck_assert_int_eq(make(&to, key_len, &kek, &made), KEYD_OK);
        open_made(owner, &made, key_len, clear);
        ck_assert_mem_ne(clear, first, key_len); /* another one each time */
        memcpy(first, clear, key_len);
        must_be_the_adopted_one(&kek, clear, key_len);
        must_open_what_it_wrapped(&kek, clear, key_len);
    }
    if (key_len == AES_KEY_LEN) {
        static const uint8_t zeros[16];
        struct secret_key as_key;
        uint8_t mac[16];

        memcpy(as_key.bytes, clear, AES_KEY_LEN);
        ck_assert_int_eq(aes_cmac(&as_key, zeros, sizeof(zeros), mac), 0);
        ck_assert_mem_eq(made.kcv, mac, KEYD_KCV_LEN);
    }
}
END_TEST

START_TEST(made_keks_wrap_the_session_keys_of_joins)
{
    struct keyd_test_peers peers;
    struct keyd_join_request join;
    struct keyd_join_reply joined;

    keyd_test_peers(channel, &peers); /* for their names */
    for (size_t i = 0; i < 2; i++) {
        struct keyd_made_kek made;

        ck_assert_int_eq(make(&to, (unsigned)peers.clear_len[i], &peers.sealed[i], &made), KEYD_OK);
        open_made(owner, &made, peers.clear_len[i], peers.clear[i]);
    }
    keyd_test_request(&device, 1, true, false, &join);
    ck_assert_int_eq(
        keyd_answer_joins(channel, peers.list, 2, &join, 1, &joined, keyd_test_deadline()), 0);
    keyd_test_check(&device, &peers, &join, &joined);
}
END_TEST

static EVP_PKEY *key_of_8192(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *ret = NULL;

    ck_assert_int_eq(EVP_PKEY_keygen_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 8 * KEYD_RSA_MAX), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, PRIMES_OF_8192), 1);
    ck_assert_int_eq(EVP_PKEY_generate(ctx, &ret), 1);
    EVP_PKEY_CTX_free(ctx);
    return ret;
}

START_TEST(keys_of_every_size_that_is_taken_open_it)
{
    EVP_PKEY *const keys[] = {EVP_RSA_gen(2056), EVP_RSA_gen(3072), key_of_8192()};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const struct keyd_public_key whose = public_of(keys[i]);
        struct sealed_kek kek = transport_kek();
        struct keyd_made_kek made;
        uint8_t clear[KEK_MAX];

        ck_assert_int_eq(make(&whose, KEK_MAX, &kek, &made), KEYD_OK);
        open_made(keys[i], &made, KEK_MAX, clear);
        must_be_the_adopted_one(&kek, clear, KEK_MAX);
        EVP_PKEY_free(keys[i]);
    }
}
END_TEST

/* --- refusals --------------------------------------------------------------------------------- */

static void must_be_refused(const char *what, const struct keyd_public_key *whose, unsigned key_len)
{
    struct sealed_kek kek = transport_kek();
    struct keyd_made_kek made;
    enum keyd_status status = KEYD_OK;

    ck_assert_msg(keyd_make_kek(channel, whose, key_len, &kek, &made, &status,
                      keyd_test_deadline()) == ERROR_INPUT,
        "%s", what);
    ck_assert_uint_eq(kek.key.blob_len, 0);
}

START_TEST(what_cannot_be_is_refused_before_it_is_sent)
{
    static const unsigned wrong_lengths[] = {0, 1, 15, 17, 20, 31, 33, 64, 256 + 16};
    struct keyd_public_key wrong;
    EVP_PKEY *small = EVP_RSA_gen(1024);

    for (size_t i = 0; i < sizeof(wrong_lengths) / sizeof(wrong_lengths[0]); i++)
        must_be_refused("a length", &to, wrong_lengths[i]);
    wrong = public_of(small);
    EVP_PKEY_free(small);
    must_be_refused("1024 bits", &wrong, 16);
    wrong = to;
    wrong.modulus[0] &= 0x7F;
    must_be_refused("2047 bits", &wrong, 16);
    wrong = to;
    wrong.modulus[wrong.modulus_len - 1] &= 0xFE;
    must_be_refused("an even modulus", &wrong, 16);
    wrong = to;
    wrong.exponent[wrong.exponent_len - 1] &= 0xFE;
    must_be_refused("an even exponent", &wrong, 16);
    wrong = to;
    wrong.exponent_len = 1; /* 1: it would leave in clear */
    must_be_refused("exponent 1", &wrong, 16);
    wrong.exponent_len = 0;
    must_be_refused("no exponent", &wrong, 16);
    wrong = to;
    wrong.modulus_len = KEYD_RSA_MAX + 1;
    must_be_refused("more than 8192 bits", &wrong, 16);
    ck_assert_int_eq(keyd_self_test(channel, keyd_test_deadline()), 0);
}
END_TEST

START_TEST(a_kek_of_another_class_than_its_peers_is_refused)
{
    struct sealed_kek kek = transport_kek();
    struct keyd_made_kek made;

    kek.kek_class = KEK_CLASS_NS;
    ck_assert_int_eq(make(&to, 16, &kek, &made), KEYD_BAD_INPUT);
    kek.kek_class = KEK_CLASS_TRANSPORT;
    kek.peer_kind = PEER_APPLICATION_SERVER;
    ck_assert_int_eq(make(&to, 16, &kek, &made), KEYD_BAD_INPUT);
    ck_assert_uint_eq(kek.key.blob_len, 0);
}
END_TEST

/* Its tag holds it to the peer it was made for. */
START_TEST(a_made_kek_of_one_peer_is_nobody_elses)
{
    struct sealed_kek kek = transport_kek();
    const struct sealed_kek *const keks[] = {&kek};
    struct keyd_adopt_request row = {.dev_eui = device.dev_eui,
        .join_eui = device.join_eui,
        .slot = KEY_SLOT_APP,
        .form = KEYD_FORM_WRAPPED};
    struct keyd_adopt_reply reply;
    struct keyd_made_kek made;

    ck_assert_int_eq(make(&to, 16, &kek, &made), KEYD_OK);
    kek.peer_id[0] = 'f';
    ck_assert_int_eq(
        keyd_adopt_device_keys(channel, keks, 1, &row, 1, &reply, keyd_test_deadline()), 0);
    ck_assert_int_eq(reply.status, KEYD_KEK_TAG_REFUSED);
}
END_TEST

/* --- what stays ------------------------------------------------------------------------------- */

static unsigned calls(enum p11_fault_function function)
{
    return atomic_load(&control->calls[function]);
}

static unsigned objects_made(void)
{
    return calls(P11_FAULT_C_CreateObject) + calls(P11_FAULT_C_GenerateKey);
}

START_TEST(nothing_of_it_stays_in_the_token)
{
    const unsigned made_before = objects_made(), gone_before = calls(P11_FAULT_C_DestroyObject);
    const unsigned read_before = calls(P11_FAULT_C_GetAttributeValue);
    struct sealed_kek kek = transport_kek();
    struct keyd_made_kek made;

    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(make(&to, lengths[i % N_LENGTHS], &kek, &made), KEYD_OK);
    ck_assert_uint_eq(objects_made() - made_before, 20); /* the KEK and the public key */
    ck_assert_uint_eq(calls(P11_FAULT_C_DestroyObject) - gone_before, 20);
    ck_assert_uint_eq(calls(P11_FAULT_C_GetAttributeValue), read_before); /* nobody read it */
}
END_TEST

START_TEST(a_failing_token_makes_nothing_and_leaves_nothing)
{
    /* The function, which of its calls, and how many of the two objects were made by then. */
    static const struct {
        enum p11_fault_function function;
        unsigned call, made;
    } cases[] = {
        {P11_FAULT_C_CreateObject, 1, 0},
        {P11_FAULT_C_GenerateKey, 1, 1},
        {P11_FAULT_C_SignInit, 1, 2},
        {P11_FAULT_C_Sign, 1, 2},
        {P11_FAULT_C_WrapKey, 1, 2},
        {P11_FAULT_C_SignInit, 2, 2},
        {P11_FAULT_C_Sign, 2, 2},
        {P11_FAULT_C_WrapKey, 2, 2},
        {P11_FAULT_C_DestroyObject, 1, 2},
        {P11_FAULT_C_DestroyObject, 2, 2},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sealed_kek kek = transport_kek();
        struct keyd_made_kek made;
        uint8_t clear[KEK_MAX];
        unsigned gone;

        keyd_fault_arm(control, cases[i].function, cases[i].call, 1, CKR_GENERAL_ERROR);
        gone = calls(P11_FAULT_C_DestroyObject);
        ck_assert_msg(make(&to, 16, &kek, &made) == KEYD_HSM_FAILED, "case %zu", i);
        ck_assert_uint_eq(kek.key.blob_len, 0);
        ck_assert_msg(calls(P11_FAULT_C_DestroyObject) - gone == cases[i].made, "case %zu", i);
        keyd_fault_disarm(control);
        ck_assert_int_eq(make(&to, 16, &kek, &made), KEYD_OK);
        open_made(owner, &made, 16, clear);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keyd-make");
    TCase *tcase = tcase_create("keyd-make");
    const TTest *const tests[] = {
        made_keks_wrap_the_session_keys_of_joins,
        keys_of_every_size_that_is_taken_open_it,
        what_cannot_be_is_refused_before_it_is_sent,
        a_kek_of_another_class_than_its_peers_is_refused,
        a_made_kek_of_one_peer_is_nobody_elses,
        nothing_of_it_stays_in_the_token,
        a_failing_token_makes_nothing_and_leaves_nothing,
    };

    tcase_add_loop_test(tcase, a_made_kek_is_for_its_owner_what_an_adopted_one_is, 0, N_LENGTHS);
    return keyd_test_run(suite, tcase, tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
