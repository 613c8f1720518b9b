/* Root keys on their way out, on a real token: opened by OpenSSL with the owner's key. */
#include "tests/integration/keyd_fault.h"

#include "base/clock.h"
#include "base/error.h"
#include "hsm/ceremony.h"
#include "hsm/p11_keys.h"
#include "hsm/p11_ops.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <string.h>

static struct p11_fault_control *control;
static struct keyd_pool *pool;
static struct keyd_channel *channel;
static struct keyd_test_device device;

static struct keyd_pool *open_pool(const char *uri)
{
    const struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1};
    struct keyd_pool *ret = NULL;

    ck_assert_msg(keyd_pool_open(&config, &ret) == 0, "%s", error_text());
    return ret;
}

static void setup(void)
{
    char uri[512];

    control = keyd_fault_open(uri, sizeof(uri));
    pool = open_pool(uri);
    channel = keyd_pool_channel(pool, 0);
    keyd_test_adopt(channel, 0x20635F00C4005000, true, &device);
}

static void teardown(void)
{
    keyd_pool_close(pool);
}

/* --- the owner's side ------------------------------------------------------------------------- */

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
    struct keyd_public_key to = {0};
    size_t n = 0, e = 0;

    read_number(pkey, OSSL_PKEY_PARAM_RSA_N, to.modulus, sizeof(to.modulus), &n);
    read_number(pkey, OSSL_PKEY_PARAM_RSA_E, to.exponent, sizeof(to.exponent), &e);
    to.modulus_len = (uint16_t)n;
    to.exponent_len = (uint8_t)e;
    return to;
}

static EVP_PKEY *owner_key(unsigned bits, struct keyd_public_key *to)
{
    EVP_PKEY *pkey = EVP_RSA_gen(bits);

    ck_assert_ptr_nonnull(pkey);
    *to = public_of(pkey);
    return pkey;
}

static void must_open(
    EVP_PKEY *pkey, const struct keyd_export_reply *reply, const struct secret_key *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    uint8_t clear[KEYD_EXPORT_RSA_MAX];
    size_t len = sizeof(clear);

    ck_assert_msg(reply->status == KEYD_OK, "%s", keyd_status_text(reply->status));
    ck_assert_int_eq(reply->len, EVP_PKEY_get_size(pkey));
    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, clear, &len, reply->text, reply->len), 1);
    ck_assert_uint_eq(len, AES_KEY_LEN);
    ck_assert_mem_eq(clear, key->bytes, AES_KEY_LEN);
    EVP_PKEY_CTX_free(ctx);
}

static struct keyd_export_request row_of(const struct keyd_test_device *d, enum key_slot slot)
{
    return (struct keyd_export_request){.dev_eui = d->dev_eui,
        .join_eui = d->join_eui,
        .slot = slot,
        .key = slot == KEY_SLOT_NWK ? d->nwk : d->app};
}

static void export(const struct keyd_public_key *to, const struct keyd_export_request *rows,
    size_t n, struct keyd_export_reply *replies)
{
    ck_assert_msg(keyd_export_keys(channel, to, rows, n, replies, keyd_test_deadline()) == 0, "%s",
        error_text());
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(an_exported_key_opens_with_its_owners_key_alone)
{
    static const unsigned bits[] = {2048, 4096, 2048};
    const struct keyd_export_request rows[] = {
        row_of(&device, KEY_SLOT_APP), row_of(&device, KEY_SLOT_NWK)};
    struct keyd_export_reply first[2], again[2];

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        struct keyd_public_key to;
        EVP_PKEY *pkey = owner_key(bits[i], &to);

        export(&to, rows, 2, first);
        must_open(pkey, &first[0], &device.app_clear);
        must_open(pkey, &first[1], &device.nwk_clear);
        export(&to, rows, 2, again); /* not the same text twice */
        must_open(pkey, &again[0], &device.app_clear);
        ck_assert_mem_ne(first[0].text, again[0].text, first[0].len);
        EVP_PKEY_free(pkey);
    }
}
END_TEST

START_TEST(a_full_batch_loses_only_what_was_altered_or_moved)
{
    static struct keyd_export_request rows[KEYD_BATCH_MAX];
    static struct keyd_export_reply replies[KEYD_BATCH_MAX];
    struct keyd_public_key to;
    EVP_PKEY *pkey = owner_key(2048, &to);
    int before = 0, after = 0;

    ck_assert_uint_eq(keyd_pool_pids(pool, &before, 1), 1);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        rows[i] = row_of(&device, KEY_SLOT_APP);
        switch (i % 8) {
        case 0:
            rows[i].key.tag[i / 8] ^= 1;
            break;
        case 1:
            rows[i].key.blob[i / 8] ^= 1;
            break;
        case 2:
            rows[i].dev_eui.bytes[i / 8] ^= 1;
            break;
        case 3:
            rows[i].join_eui.bytes[i / 8] ^= 1;
            break;
        case 4:
            rows[i].slot = KEY_SLOT_NWK;
            break;
        case 5:
            rows[i].key.kek_label[12] = '2';
            break;
        case 6:
            rows[i].key.blob_len = 25; /* what cannot be sent */
            break;
        default:
            break;
        }
    }
    export(&to, rows, KEYD_BATCH_MAX, replies);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        if (i % 8 == 7) {
            must_open(pkey, &replies[i], &device.app_clear);
            continue;
        }
        ck_assert_msg(replies[i].status == KEYD_TAG_REFUSED, "%zu: %s", i,
            keyd_status_text(replies[i].status));
        ck_assert_uint_eq(replies[i].len, 0);
    }
    ck_assert_uint_eq(keyd_pool_pids(pool, &after, 1), 1);
    ck_assert_int_eq(before, after);
    EVP_PKEY_free(pkey);
}
END_TEST

START_TEST(a_weak_public_key_is_refused_before_it_is_sent)
{
    const struct keyd_export_request row = row_of(&device, KEY_SLOT_APP);
    struct keyd_public_key good, wrong;
    struct keyd_export_reply reply;

    EVP_PKEY_free(owner_key(2048, &good));
    for (unsigned i = 0; i < 7; i++) {
        wrong = good;
        switch (i) {
        case 0: {
            EVP_PKEY_free(owner_key(1024, &wrong));
            break;
        }
        case 1:
            wrong.modulus[0] &= 0x7F; /* 2047 bits */
            break;
        case 2:
            wrong.modulus[wrong.modulus_len - 1] &= 0xFE;
            break;
        case 3:
            wrong.exponent_len = 1;
            wrong.exponent[0] = 1;
            break;
        case 4:
            wrong.exponent[wrong.exponent_len - 1] &= 0xFE;
            break;
        case 5:
            wrong.exponent_len = 0;
            break;
        default:
            wrong.modulus_len = KEYD_EXPORT_RSA_MAX + 1;
        }
        ck_assert_msg(
            keyd_export_keys(channel, &wrong, &row, 1, &reply, keyd_test_deadline()) == ERROR_INPUT,
            "case %u", i);
    }
    ck_assert_int_eq(keyd_self_test(channel, keyd_test_deadline()), 0);
}
END_TEST

static unsigned calls(enum p11_fault_function function)
{
    return atomic_load(&control->calls[function]);
}

START_TEST(a_failing_token_exports_nothing_wrong_and_leaves_nothing)
{
    static const enum p11_fault_function functions[] = {P11_FAULT_C_CreateObject,
        P11_FAULT_C_UnwrapKey, P11_FAULT_C_WrapKey, P11_FAULT_C_SignInit, P11_FAULT_C_Sign,
        P11_FAULT_C_DestroyObject};
    const struct keyd_export_request row = row_of(&device, KEY_SLOT_APP);
    struct keyd_public_key to;
    EVP_PKEY *pkey = owner_key(2048, &to);
    struct keyd_export_reply reply;
    unsigned made, gone;

    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        keyd_fault_arm(control, functions[i], 1, 1, CKR_GENERAL_ERROR);
        export(&to, &row, 1, &reply);
        keyd_fault_disarm(control);
        ck_assert_msg(
            reply.status == KEYD_HSM_FAILED, "function %zu: %s", i, keyd_status_text(reply.status));
        ck_assert_uint_eq(reply.len, 0);
        export(&to, &row, 1, &reply);
        must_open(pkey, &reply, &device.app_clear);
    }
    made = calls(P11_FAULT_C_UnwrapKey) + calls(P11_FAULT_C_CreateObject);
    gone = calls(P11_FAULT_C_DestroyObject);
    for (unsigned i = 0; i < 10; i++)
        export(&to, &row, 1, &reply);
    ck_assert_uint_eq(calls(P11_FAULT_C_UnwrapKey) + calls(P11_FAULT_C_CreateObject) - made, 10);
    ck_assert_uint_eq(calls(P11_FAULT_C_DestroyObject) - gone, 10);
    EVP_PKEY_free(pkey);
}
END_TEST

/* --- the twin --------------------------------------------------------------------------------- */

static void open_token(struct p11_token *token, bool read_write)
{
    CLEANUP(cleanup_close) int lock = -1;

    ck_assert_int_eq(p11_lock(keyd_test_hsm.lock_file, &lock), 0);
    ck_assert_msg(
        p11_token_open(token, keyd_test_hsm.uri, read_write, lock) == 0, "%s", error_text());
}

START_TEST(what_the_twin_opens_can_be_wrapped_out_and_nothing_else)
{
    CK_MECHANISM cmac = {CKM_AES_CMAC, NULL, 0}, ecb = {CKM_AES_ECB, NULL, 0};
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE, derived = CK_INVALID_HANDLE, other;
    static const uint8_t block[16];
    uint8_t value[64], blob[P11_WRAPPED_MAX];
    CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof(value)};
    struct p11_token token;
    struct p11_keys keys;
    size_t len = 0;

    open_token(&token, false);
    ck_assert_int_eq(p11_keys_find(&token, &keys), 0);
    ck_assert_uint_eq(keys.export.n, 1);
    for (unsigned use = 0; use < P11_N_USES; use++) {
        const bool good = p11_unwrap(&token, token.work, keys.export.keks[0].handle,
                              (enum p11_use)use, device.app.blob, 24, &other) == 0;

        /* A session key is made as a key on its way out is. */
        ck_assert_msg(good == (use == P11_USE_EXPORT || use == P11_USE_SESSION), "use %u", use);
    }
    ck_assert_int_eq(p11_unwrap(&token, token.work, keys.export.keks[0].handle, P11_USE_EXPORT,
                         device.app.blob, 24, &opened),
        0);
    ck_assert_uint_ne(token.f->C_SignInit(token.work, &cmac, opened), CKR_OK);
    ck_assert_uint_ne(token.f->C_EncryptInit(token.work, &ecb, opened), CKR_OK);
    ck_assert_uint_ne(token.f->C_DecryptInit(token.work, &ecb, opened), CKR_OK);
    ck_assert_int_lt(p11_derive(&token, opened, P11_USE_SESSION, block, &derived), 0);
    ck_assert_int_lt(p11_wrap(&token, opened, opened, blob, &len), 0);
    ck_assert_int_lt(
        p11_unwrap(&token, token.work, opened, P11_USE_KNOWN, device.nwk.blob, 24, &other), 0);
    ck_assert_uint_eq(
        token.f->C_GetAttributeValue(token.work, opened, &read, 1), CKR_ATTRIBUTE_SENSITIVE);
    p11_token_close(&token);
}
END_TEST

static int destroy_twin(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct p11_token *token = context;

    if (strcmp(label, P11_LABEL_EXPORT "1") == 0)
        ck_assert_uint_eq(token->f->C_DestroyObject(token->anchor, handle), CKR_OK);
    return 0;
}

static void lose_twin(void)
{
    struct p11_token token;

    open_token(&token, true);
    ck_assert_int_eq(p11_objects_walk(&token, CKO_SECRET_KEY, destroy_twin, &token), 0);
    p11_token_close(&token);
}

static void make_false_twin(bool restricted)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG len = 32;
    char label[] = P11_LABEL_EXPORT "1";
    struct p11_restriction restriction;
    CK_ATTRIBUTE attributes[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_MODIFIABLE, &no, sizeof(no)},
        {CKA_WRAP, &yes, sizeof(yes)},
        {CKA_UNWRAP, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, label, strlen(label)},
        {CKA_UNWRAP_TEMPLATE, restriction.attributes, 0},
    };
    const CK_ULONG n = sizeof(attributes) / sizeof(attributes[0]);
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    struct p11_token token;

    p11_restriction_fill(&restriction, P11_USE_EXPORT);
    attributes[n - 1].ulValueLen = restriction.n * sizeof(CK_ATTRIBUTE);
    open_token(&token, true);
    ck_assert_uint_eq(token.f->C_GenerateKey(
                          token.anchor, &generate, attributes, restricted ? n : n - 1, &handle),
        CKR_OK);
    p11_token_close(&token);
}

static void must_not_start(const char *word)
{
    const struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1};
    struct keyd_pool *none = NULL;

    ck_assert_int_eq(keyd_pool_open(&config, &none), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), P11_LABEL_EXPORT "1") != NULL, "%s", error_text());
    ck_assert_msg(strstr(error_text(), word) != NULL, "%s", error_text());
}

/* The last test: the token has no twin afterwards. */
START_TEST(a_token_without_a_twin_does_everything_but_export)
{
    const struct hsm_ceremony what = {
        keyd_test_hsm.uri, keyd_test_hsm.lock_file, keyd_test_hsm.exchange_pem};
    CLEANUP(text_done) struct text list = {0};
    struct keyd_test_peers peers;
    struct keyd_test_device old = device, fresh;
    struct keyd_join_request join;
    struct keyd_join_reply joined;
    struct keyd_export_request rows[2];
    struct keyd_export_reply replies[2];
    struct keyd_public_key to;
    struct keyd_made_kek made;
    enum keyd_status status = KEYD_HSM_FAILED;

    ck_assert_msg(hsm_ceremony_list(&what, &list) == 0, "%s", error_text());
    ck_assert_ptr_nonnull(strstr(list.data, P11_LABEL_EXPORT "1"));
    ck_assert_ptr_null(strstr(list.data, "cannot export"));
    EVP_PKEY_free(owner_key(2048, &to));
    keyd_pool_close(pool);
    lose_twin();
    list.len = 0;
    ck_assert_msg(hsm_ceremony_list(&what, &list) == 0, "%s", error_text());
    ck_assert_ptr_nonnull(strstr(list.data, "cannot export"));
    ck_assert_ptr_null(strstr(list.data, "MISSING"));
    pool = open_pool(keyd_test_hsm.uri);
    channel = keyd_pool_channel(pool, 0);
    keyd_test_peers(channel, &peers);
    keyd_test_adopt(channel, 0x20635F00C4005001, false, &fresh);
    keyd_test_request(&old, 1, true, false, &join);
    ck_assert_int_eq(
        keyd_answer_joins(channel, peers.list, 2, &join, 1, &joined, keyd_test_deadline()), 0);
    keyd_test_check(&old, &peers, &join, &joined);
    rows[0] = row_of(&fresh, KEY_SLOT_APP);
    rows[1] = rows[0];
    rows[1].key.tag[0] ^= 1;
    export(&to, rows, 2, replies);
    ck_assert_int_eq(replies[0].status, KEYD_CANNOT_EXPORT);
    ck_assert_int_eq(replies[1].status, KEYD_TAG_REFUSED);
    ck_assert_int_eq(
        keyd_make_kek(channel, &to, 16, &peers.sealed[0], &made, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(status, KEYD_OK); /* it was never under the twin */
    ck_assert_str_eq(keyd_status_text(replies[0].status), "this token cannot export");

    make_false_twin(true);
    must_not_start("not the same key");
    lose_twin();
    make_false_twin(false);
    must_not_start("template");
    lose_twin();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_exported_key_opens_with_its_owners_key_alone,
        a_full_batch_loses_only_what_was_altered_or_moved,
        a_weak_public_key_is_refused_before_it_is_sent,
        a_failing_token_exports_nothing_wrong_and_leaves_nothing,
        what_the_twin_opens_can_be_wrapped_out_and_nothing_else,
        a_token_without_a_twin_does_everything_but_export,
    };

    return keyd_test_main("keyd-export", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
