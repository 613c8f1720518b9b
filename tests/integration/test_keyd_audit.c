/* Checkpoints that are signed in the token, checked by OpenSSL. */
#include "base/audit_key.h"
#include "base/clock.h"
#include "base/custody_form.h"
#include "base/error.h"
#include "hsm/p11_keys.h"
#include "tests/integration/keyd_fixture.h"
#include <string.h>
#include <unistd.h>

static struct keyd_pool *pool;
static struct keyd_channel *channel;
static struct audit_key *key;

static enum keyd_status sign(
    struct audit_checkpoint *checkpoint, uint8_t signature[static AUDIT_SIGNATURE_LEN])
{
    enum keyd_status status = KEYD_HSM_FAILED;

    ck_assert_msg(
        keyd_sign_checkpoint(channel, checkpoint, signature, &status, keyd_test_deadline()) == 0,
        "%s", error_text());
    return status;
}

static void setup(void)
{
    struct text pem = {0};
    uint8_t point[AUDIT_POINT_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;

    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    ck_assert_int_eq(keyd_audit_key(channel, point, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(status, KEYD_OK);
    audit_key_write(point, &pem);
    ck_assert_msg(audit_key_read(pem.data, pem.len, &key) == 0, "%s", error_text());
    text_done(&pem);
}

static void teardown(void)
{
    audit_key_free(key);
    keyd_pool_close(pool);
}

static struct audit_checkpoint checkpoint_of_all(void)
{
    struct audit_checkpoint checkpoint = {.seq = 17, .count = 17};

    memset(checkpoint.chain, 0xC1, sizeof(checkpoint.chain));
    memset(checkpoint.root, 0xC2, sizeof(checkpoint.root));
    return checkpoint;
}

START_TEST(a_checkpoint_is_signed_over_each_of_its_fields)
{
    struct audit_checkpoint checkpoint = checkpoint_of_all();
    uint8_t signature[AUDIT_SIGNATURE_LEN];

    ck_assert_int_eq(sign(&checkpoint, signature), KEYD_OK);
    ck_assert(audit_key_signed(key, &checkpoint, signature));
    for (size_t i = 0; i < sizeof(checkpoint); i++) {
        struct audit_checkpoint other = checkpoint;

        ((uint8_t *)&other)[i] ^= 1;
        ck_assert_msg(!audit_key_signed(key, &other, signature), "byte %zu", i);
    }
    signature[0] ^= 1;
    ck_assert(!audit_key_signed(key, &checkpoint, signature));
}
END_TEST

START_TEST(a_custody_statement_is_signed_over_its_document_and_the_key_processes_time)
{
    static const char document[] = "{\"dev_eui\":\"70b3d57ed0000001\"}";
    const uint64_t before = (uint64_t)clock_unix_s();
    enum keyd_status status = KEYD_HSM_FAILED;
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    struct text jws = {0}, opened = {0};
    uint64_t time = 0, told = 0;

    ck_assert_int_eq(keyd_sign_custody(channel, CUSTODY_OF_DEVICE, document, strlen(document),
                         &time, signature, &status, keyd_test_deadline()),
        0);
    ck_assert_int_eq(status, KEYD_OK);
    ck_assert_uint_ge(time, before);
    custody_write(CUSTODY_OF_DEVICE, time, document, strlen(document), signature, &jws);
    ck_assert_msg(custody_open(CUSTODY_OF_DEVICE, jws.data, jws.len, key, &told, &opened) == 0,
        "%s", error_text());
    ck_assert_uint_eq(told, time);
    ck_assert_str_eq(opened.data, document);
    text_clear(&opened);
    for (size_t i = 0; i < jws.len; i++) {
        jws.data[i] ^= 1;
        ck_assert_msg(
            custody_open(CUSTODY_OF_DEVICE, jws.data, jws.len, key, &told, &opened) == ERROR_INPUT,
            "character %zu", i);
        jws.data[i] ^= 1;
        ck_assert_int_eq(
            custody_open(CUSTODY_OF_DEVICE, jws.data, i, key, &told, &opened), ERROR_INPUT);
    }
    ck_assert_uint_eq(opened.len, 0);
    text_clear(&jws);
    custody_write(CUSTODY_OF_DEVICE, time - 1, document, strlen(document), signature, &jws);
    ck_assert_int_eq(
        custody_open(CUSTODY_OF_DEVICE, jws.data, jws.len, key, &told, &opened), ERROR_INPUT);
    text_done(&jws);
    text_done(&opened);
}
END_TEST

START_TEST(a_statement_of_one_type_is_none_of_another)
{
    static const char document[] = "{\"batch\":\"00112233445566778899aabbccddeeff\"}";
    const enum custody_type types[] = {CUSTODY_OF_DEVICE, CUSTODY_OF_DELIVERY};
    struct text jws = {0}, opened = {0};

    for (size_t i = 0; i < 2; i++) {
        const enum custody_type type = types[i], other = types[1 - i];
        enum keyd_status status = KEYD_HSM_FAILED;
        uint8_t signature[AUDIT_SIGNATURE_LEN];
        uint64_t time = 0, told = 0;

        ck_assert_int_eq(keyd_sign_custody(channel, type, document, strlen(document), &time,
                             signature, &status, keyd_test_deadline()),
            0);
        ck_assert_int_eq(status, KEYD_OK);
        custody_write(type, time, document, strlen(document), signature, &jws);
        ck_assert_int_eq(custody_open(type, jws.data, jws.len, key, &told, &opened), 0);
        ck_assert_uint_eq(told, time);
        ck_assert_str_eq(opened.data, document);
        text_clear(&opened);
        ck_assert_int_eq(custody_open(other, jws.data, jws.len, key, &told, &opened), ERROR_INPUT);
        text_clear(&jws);
        /* Nor with the other's name written over it. */
        custody_write(other, time, document, strlen(document), signature, &jws);
        ck_assert_int_eq(custody_open(other, jws.data, jws.len, key, &told, &opened), ERROR_INPUT);
        ck_assert_uint_eq(opened.len, 0);
        text_clear(&jws);
    }
    text_done(&jws);
    text_done(&opened);
}
END_TEST

START_TEST(what_can_be_no_custody_document_is_not_signed)
{
    static const char *const wrong[] = {
        "", "{}", "[1]", "{\"a\":1", "{\"a\":\n1}", "cradle-audit-}"};
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    uint64_t time;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        enum keyd_status status = KEYD_OK;

        ck_assert_int_eq(keyd_sign_custody(channel, CUSTODY_OF_DELIVERY, wrong[i], strlen(wrong[i]),
                             &time, signature, &status, keyd_test_deadline()),
            0);
        ck_assert_msg(status == KEYD_BAD_INPUT, "%s", wrong[i]);
    }
}
END_TEST

START_TEST(its_time_is_the_key_processes_own)
{
    struct audit_checkpoint checkpoint = checkpoint_of_all();
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    const uint64_t before = (uint64_t)clock_unix_s();

    checkpoint.time = 1;
    ck_assert_int_eq(sign(&checkpoint, signature), KEYD_OK);
    ck_assert_uint_ge(checkpoint.time, before);
    ck_assert_uint_le(checkpoint.time, (uint64_t)clock_unix_s());
    ck_assert(audit_key_signed(key, &checkpoint, signature));
}
END_TEST

START_TEST(an_organizations_checkpoint_counts_its_own_events)
{
    struct audit_checkpoint checkpoint = checkpoint_of_all();
    uint8_t signature[AUDIT_SIGNATURE_LEN];

    checkpoint.organization[3] = 9;
    checkpoint.count = 2;
    ck_assert_int_eq(sign(&checkpoint, signature), KEYD_OK);
    ck_assert(audit_key_signed(key, &checkpoint, signature));
    checkpoint.count = 0;
    memset(checkpoint.chain, 0, sizeof(checkpoint.chain));
    ck_assert_int_eq(sign(&checkpoint, signature), KEYD_OK);
}
END_TEST

START_TEST(what_can_be_no_checkpoint_is_not_signed)
{
    struct audit_checkpoint cases[5];

    for (size_t i = 0; i < 5; i++)
        cases[i] = checkpoint_of_all();
    cases[0].count = 16;                               /* of all, and not all of them */
    cases[1].count = 18;                               /* more than there are */
    memset(cases[2].chain, 0, sizeof(cases[2].chain)); /* events without a chain */
    cases[3].seq = cases[3].count = 0;                 /* a chain without events */
    cases[4].seq = cases[4].count = (uint64_t)1 << 63; /* more than a tree can hold */
    for (size_t i = 0; i < 5; i++) {
        uint8_t signature[AUDIT_SIGNATURE_LEN] = {0};
        static const uint8_t none[AUDIT_SIGNATURE_LEN];

        ck_assert_msg(sign(&cases[i], signature) == KEYD_BAD_INPUT, "case %zu", i);
        ck_assert_mem_eq(signature, none, sizeof(none));
    }
}
END_TEST

static int destroy(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct p11_token *token = context;

    if (strcmp(label, P11_LABEL_AUDIT) == 0)
        ck_assert_uint_eq(token->f->C_DestroyObject(token->anchor, handle), CKR_OK);
    return 0;
}

/* Of a token of our own: the others need theirs. */
START_TEST(without_the_key_all_else_goes_on)
{
    struct softhsm hsm;
    struct p11_token token = {0};
    struct keyd_pool_config config = {
        .program = KEYD_PROGRAM, .verbs = KEYD_TEST_VERBS, .n_processes = 1, .n_channels = 1};
    struct keyd_pool *bare = NULL;
    struct audit_checkpoint checkpoint = checkpoint_of_all();
    uint8_t point[AUDIT_POINT_LEN], signature[AUDIT_SIGNATURE_LEN];
    enum keyd_status status = KEYD_OK;
    int lock = -1;

    ck_assert_int_eq(softhsm_make(&hsm, true), 0);
    ck_assert_int_eq(p11_lock(hsm.lock_file, &lock), 0);
    ck_assert_msg(p11_token_open(&token, hsm.uri, true, lock) == 0, "%s", error_text());
    ck_assert_int_eq(p11_objects_walk(&token, CKO_PRIVATE_KEY, destroy, &token), 0);
    p11_token_close(&token);
    (void)close(lock);
    config.uri = hsm.uri;
    config.lock_file = hsm.lock_file;
    ck_assert_msg(keyd_pool_open(&config, &bare) == 0, "%s", error_text());
    channel = keyd_pool_channel(bare, 0);
    ck_assert_int_eq(keyd_audit_key(channel, point, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(status, KEYD_NO_AUDIT_KEY);
    ck_assert_int_eq(sign(&checkpoint, signature), KEYD_NO_AUDIT_KEY);
    ck_assert_int_eq(keyd_self_test(channel, keyd_test_deadline()), 0);
    keyd_pool_close(bare);
    softhsm_remove(&hsm);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_checkpoint_is_signed_over_each_of_its_fields,
        its_time_is_the_key_processes_own,
        an_organizations_checkpoint_counts_its_own_events,
        what_can_be_no_checkpoint_is_not_signed,
        a_custody_statement_is_signed_over_its_document_and_the_key_processes_time,
        a_statement_of_one_type_is_none_of_another,
        what_can_be_no_custody_document_is_not_signed,
        without_the_key_all_else_goes_on,
    };

    return keyd_test_main("keyd-audit", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
