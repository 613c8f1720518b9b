/* What holds at the level of PKCS#11, whatever keyd does: attributes of the token's keys, and what
 * the storage KEKs agree to open. */
#include "base/error.h"
#include "hsm/ceremony.h"
#include "hsm/ceremony_keys.h"
#include "hsm/p11_keys.h"
#include "hsm/p11_ops.h"
#include "tests/integration/keyd_fixture.h"
#include <stdio.h>
#include <string.h>

static struct p11_token token;
static struct p11_keys keys;

static int open_token(const char *uri, bool read_write)
{
    CLEANUP(cleanup_close) int lock = -1;

    ck_assert_int_eq(p11_lock(keyd_test_hsm.lock_file, &lock), 0);
    return p11_token_open(&token, uri, read_write, lock);
}

static void setup(void)
{
    ck_assert_msg(open_token(keyd_test_hsm.uri, false) == 0, "%s", error_text());
    ck_assert_msg(p11_keys_find(&token, &keys) == 0, "%s", error_text());
    ck_assert_msg(p11_keys_copy(&token, &keys) == 0, "%s", error_text());
}

static void teardown(void)
{
    p11_token_close(&token);
}

static void read_text(const char *path, char *ret, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n;

    ck_assert_ptr_nonnull(f);
    n = fread(ret, 1, size - 1, f);
    ck_assert_int_eq(fclose(f), 0);
    ret[n] = '\0';
}

static CK_OBJECT_HANDLE known_key(void)
{
    static const uint8_t bytes[16] = {1, 2, 3};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    ck_assert_int_eq(p11_create(&token, P11_USE_KNOWN, bytes, sizeof(bytes), &handle), 0);
    return handle;
}

START_TEST(a_storage_kek_opens_only_its_own_kind)
{
    static const struct {
        bool device; /* the KEK */
        enum p11_use use;
        bool opens;
    } cases[] = {
        {true, P11_USE_DEVICE, true},
        {true, P11_USE_PEER, false},
        {true, P11_USE_TRANSPORT, false},
        {true, P11_USE_SESSION, false},
        {true, P11_USE_CLEAR, false},
        {true, P11_USE_ADOPT_KEY, false},
        {true, P11_USE_ADOPT_KEK, false},
        {true, P11_USE_KNOWN, false},
        {false, P11_USE_DEVICE, false},
        {false, P11_USE_PEER, true},
        {false, P11_USE_TRANSPORT, true},
        {false, P11_USE_SESSION, false},
        {false, P11_USE_CLEAR, false},
        {false, P11_USE_ADOPT_KEY, false},
        {false, P11_USE_ADOPT_KEK, false},
        {false, P11_USE_KNOWN, false},
        {true, P11_USE_EXPORT, false},
        {false, P11_USE_EXPORT, false},
        {true, P11_USE_HMAC, false},
        {false, P11_USE_HMAC, false},
    };
    const CK_OBJECT_HANDLE known = known_key();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const CK_OBJECT_HANDLE kek =
            p11_store_newest(cases[i].device ? &keys.device : &keys.kek)->handle;
        uint8_t blob[P11_WRAPPED_MAX];
        CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
        size_t len = 0;
        int r;

        ck_assert_int_eq(p11_wrap(&token, kek, known, blob, &len), 0);
        r = p11_unwrap(&token, token.work, kek, cases[i].use, blob, len, &opened);
        ck_assert_msg((r == 0) == cases[i].opens, "case %zu", i);
        if (!cases[i].opens)
            ck_assert_uint_eq(token.last_rv, CKR_TEMPLATE_INCONSISTENT);
    }
}
END_TEST

START_TEST(a_blob_of_one_storage_kek_does_not_open_under_the_other)
{
    const CK_OBJECT_HANDLE known = known_key();
    const CK_OBJECT_HANDLE device = p11_store_newest(&keys.device)->handle;
    const CK_OBJECT_HANDLE kek = p11_store_newest(&keys.kek)->handle;
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
    uint8_t blob[P11_WRAPPED_MAX];
    size_t len = 0;

    ck_assert_int_eq(p11_wrap(&token, device, known, blob, &len), 0);
    ck_assert_int_lt(p11_unwrap(&token, token.work, kek, P11_USE_PEER, blob, len, &opened), 0);
    ck_assert_int_lt(p11_unwrap(&token, token.work, kek, P11_USE_DEVICE, blob, len, &opened), 0);
    ck_assert_int_eq(p11_unwrap(&token, token.work, device, P11_USE_DEVICE, blob, len, &opened), 0);
}
END_TEST

/* Neither where it is nor in a copy. */
static void must_keep_its_uses(const char *label, CK_OBJECT_HANDLE handle)
{
    static const CK_ATTRIBUTE_TYPE types[] = {
        CKA_DECRYPT, CKA_ENCRYPT, CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_DERIVE, CKA_MODIFIABLE};
    CK_BBOOL no = CK_FALSE;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        CK_BBOOL yes = CK_TRUE;
        CK_ATTRIBUTE change[] = {{types[i], &yes, sizeof(yes)}, {CKA_TOKEN, &no, sizeof(no)}};
        CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
        CK_RV rv = token.f->C_SetAttributeValue(token.work, handle, change, 1);

        ck_assert_msg(rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_ACTION_PROHIBITED,
            "%s: attribute 0x%lx set: 0x%lx", label, types[i], rv);
        rv = token.f->C_CopyObject(token.work, handle, change, 2, &copy);
        ck_assert_msg(rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_ATTRIBUTE_TYPE_INVALID,
            "%s: a copy with attribute 0x%lx: 0x%lx", label, types[i], rv);
        rv = token.f->C_CopyObject(token.work, handle, change, 1, &copy);
        ck_assert_msg(rv != CKR_OK, "%s: a copy with attribute 0x%lx", label, types[i]);
    }
}

START_TEST(an_opened_device_key_neither_leaves_nor_encrypts)
{
    const CK_OBJECT_HANDLE known = known_key();
    const CK_OBJECT_HANDLE device = p11_store_newest(&keys.device)->handle;
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t blob[P11_WRAPPED_MAX], value[64];
    CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof(value)};
    size_t len = 0;

    ck_assert_int_eq(p11_wrap(&token, device, known, blob, &len), 0);
    ck_assert_int_eq(p11_unwrap(&token, token.work, device, P11_USE_DEVICE, blob, len, &opened), 0);
    ck_assert_uint_eq(
        token.f->C_GetAttributeValue(token.work, opened, &read, 1), CKR_ATTRIBUTE_SENSITIVE);
    ck_assert_int_lt(p11_wrap(&token, known, opened, blob, &len), 0);
    ck_assert_int_lt(p11_wrap(&token, opened, known, blob, &len), 0);
    ck_assert_uint_ne(token.f->C_EncryptInit(token.work, &ecb, opened), CKR_OK);
    must_keep_its_uses("an opened device key", opened);
    ck_assert_uint_ne(token.f->C_EncryptInit(token.work, &ecb, opened), CKR_OK);
}
END_TEST

static int check_uses(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    (void)context;
    if (!p11_key_is_copied(label))
        must_keep_its_uses(label, handle);
    return 0;
}

/* In a session that may write, as the strongest thief would open it. */
START_TEST(no_key_of_the_token_that_is_used_in_place_can_be_given_another_use)
{
    p11_token_close(&token);
    ck_assert_int_eq(open_token(keyd_test_hsm.uri, true), 0);
    ck_assert_int_eq(p11_objects_walk(&token, CKO_SECRET_KEY, check_uses, NULL), 0);
    ck_assert_int_eq(p11_objects_walk(&token, CKO_PRIVATE_KEY, check_uses, NULL), 0);
}
END_TEST

static CK_BBOOL flag_of(CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 2;
    CK_ATTRIBUTE wanted = {type, &value, sizeof(value)};

    ck_assert_uint_eq(token.f->C_GetAttributeValue(token.anchor, handle, &wanted, 1), CKR_OK);
    return value;
}

START_TEST(a_copy_never_leaves_and_can_be_given_no_other_use)
{
    const struct {
        const char *label;
        CK_OBJECT_HANDLE handle;
        bool store;
    } copies[] = {
        {P11_LABEL_DEVICE, p11_store_newest(&keys.device)->handle, true},
        {P11_LABEL_TAG, p11_store_newest(&keys.tag)->handle, false},
    };
    static const CK_ATTRIBUTE_TYPE never[] = {CKA_TOKEN, CKA_EXTRACTABLE, CKA_MODIFIABLE,
        CKA_ENCRYPT, CKA_DECRYPT, CKA_VERIFY, CKA_DERIVE};

    ck_assert(!keys.in_place);
    for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
        uint8_t value[64];
        CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof(value)};

        for (size_t j = 0; j < sizeof(never) / sizeof(never[0]); j++)
            ck_assert_msg(flag_of(copies[i].handle, never[j]) == CK_FALSE, "%s attribute 0x%lx",
                copies[i].label, never[j]);
        ck_assert_uint_eq(flag_of(copies[i].handle, CKA_PRIVATE), CK_TRUE);
        ck_assert_uint_eq(flag_of(copies[i].handle, CKA_SENSITIVE), CK_TRUE);
        ck_assert_uint_eq(flag_of(copies[i].handle, CKA_UNWRAP), copies[i].store);
        ck_assert_uint_eq(flag_of(copies[i].handle, CKA_WRAP), copies[i].store);
        ck_assert_uint_eq(flag_of(copies[i].handle, CKA_SIGN), !copies[i].store);
        ck_assert_uint_eq(token.f->C_GetAttributeValue(token.work, copies[i].handle, &read, 1),
            CKR_ATTRIBUTE_SENSITIVE);
        must_keep_its_uses(copies[i].label, copies[i].handle);
    }
}
END_TEST

START_TEST(an_opened_kek_can_be_given_no_other_use)
{
    const CK_OBJECT_HANDLE kek = p11_store_newest(&keys.kek)->handle;
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE, adopted = CK_INVALID_HANDLE;
    uint8_t clear[16] = {5}, oaep[KEYD_OAEP_LEN], blob[P11_WRAPPED_MAX];
    size_t len = 0;

    ck_assert_int_eq(p11_wrap(&token, kek, known_key(), blob, &len), 0);
    ck_assert_int_eq(p11_unwrap(&token, token.work, kek, P11_USE_PEER, blob, len, &opened), 0);
    must_keep_its_uses("an opened KEK", opened);
    keyd_test_oaep(clear, sizeof(clear), oaep);
    ck_assert_int_eq(
        p11_unwrap_oaep(&token, keys.exchange, P11_USE_ADOPT_KEK, oaep, sizeof(oaep), &adopted), 0);
    must_keep_its_uses("an adopted KEK", adopted);
}
END_TEST

START_TEST(the_exchange_key_opens_nothing_that_can_be_read_or_used_as_a_kek)
{
    static const enum p11_use uses[] = {P11_USE_KNOWN, P11_USE_DEVICE, P11_USE_PEER,
        P11_USE_TRANSPORT, P11_USE_SESSION, P11_USE_CLEAR, P11_USE_MIC, P11_USE_JS_ENC};
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static const CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE readable[] = {
        {CKA_CLASS, p11_in(&class), sizeof(class)},
        {CKA_KEY_TYPE, p11_in(&type), sizeof(type)},
        {CKA_TOKEN, p11_in(&no), sizeof(no)},
        {CKA_SENSITIVE, p11_in(&no), sizeof(no)},
        {CKA_EXTRACTABLE, p11_in(&yes), sizeof(yes)},
    };
    CK_RSA_PKCS_OAEP_PARAMS params = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)};
    uint8_t clear[16] = {9}, oaep[KEYD_OAEP_LEN], value[64];
    CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof(value)};
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;

    keyd_test_oaep(clear, sizeof(clear), oaep);
    ck_assert_uint_eq(token.f->C_UnwrapKey(token.work, &mechanism, keys.exchange, oaep,
                          sizeof(oaep), readable, 5, &opened),
        CKR_TEMPLATE_INCONSISTENT);
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        ck_assert_int_lt(
            p11_unwrap_oaep(&token, keys.exchange, uses[i], oaep, sizeof(oaep), &opened), 0);
        ck_assert_uint_eq(token.last_rv, CKR_TEMPLATE_INCONSISTENT);
    }
    ck_assert_int_eq(
        p11_unwrap_oaep(&token, keys.exchange, P11_USE_ADOPT_KEK, oaep, sizeof(oaep), &opened), 0);
    ck_assert_uint_eq(
        token.f->C_GetAttributeValue(token.work, opened, &read, 1), CKR_ATTRIBUTE_SENSITIVE);
}
END_TEST

/* For as long as it is there: to be wrapped, and for its check value. */
START_TEST(a_made_kek_can_be_wrapped_and_nothing_else)
{
    static const size_t lengths[] = {16, 24, 32};
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        CK_OBJECT_HANDLE made = CK_INVALID_HANDLE, other = CK_INVALID_HANDLE;
        uint8_t value[64], blob[P11_WRAPPED_MAX];
        CK_BBOOL on_token = CK_TRUE, always_sensitive = CK_FALSE;
        CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof(value)};
        CK_ATTRIBUTE flags[] = {{CKA_TOKEN, &on_token, sizeof(on_token)},
            {CKA_ALWAYS_SENSITIVE, &always_sensitive, sizeof(always_sensitive)}};
        size_t len = 0;

        ck_assert_msg(
            p11_generate(&token, P11_USE_ADOPT_KEK, lengths[i], &made) == 0, "%s", error_text());
        must_keep_its_uses("a made KEK", made);
        ck_assert_uint_eq(token.f->C_GetAttributeValue(token.work, made, flags, 2), CKR_OK);
        ck_assert(!on_token && always_sensitive);
        ck_assert_uint_eq(
            token.f->C_GetAttributeValue(token.work, made, &read, 1), CKR_ATTRIBUTE_SENSITIVE);
        ck_assert_uint_ne(token.f->C_EncryptInit(token.work, &ecb, made), CKR_OK);
        ck_assert_uint_ne(token.f->C_DecryptInit(token.work, &ecb, made), CKR_OK);
        ck_assert_int_lt(p11_wrap(&token, made, known_key(), blob, &len), 0);
        ck_assert_int_eq(
            p11_wrap(&token, p11_store_newest(&keys.kek)->handle, made, blob, &len), 0);
        ck_assert_uint_eq(len, lengths[i] + 8);
        ck_assert_int_lt(p11_unwrap(&token, token.work, made, P11_USE_KNOWN, blob, len, &other), 0);
    }
}
END_TEST

static int check_hidden(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    unsigned *n = context;
    static const CK_ATTRIBUTE_TYPE types[] = {CKA_PRIVATE, CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE,
        CKA_NEVER_EXTRACTABLE, CKA_EXTRACTABLE, CKA_MODIFIABLE};
    /* What has an escrow or a twin came into its objects as a key that is wrapped. */
    const CK_BBOOL born = strncmp(label, "store-", 6) == 0 ? CK_FALSE : CK_TRUE;
    const CK_BBOOL copied = p11_key_is_copied(label) ? CK_TRUE : CK_FALSE;
    const CK_BBOOL expected[] = {CK_TRUE, CK_TRUE, born, born, CK_FALSE, copied};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        CK_BBOOL value = 2;
        CK_ATTRIBUTE wanted = {types[i], &value, sizeof(value)};

        ck_assert_uint_eq(token.f->C_GetAttributeValue(token.anchor, handle, &wanted, 1), CKR_OK);
        ck_assert_msg(value == expected[i], "%s attribute 0x%lx", label, types[i]);
    }
    (*n)++;
    return 0;
}

START_TEST(every_key_of_the_ceremony_is_hidden_and_locked_unless_it_is_copied)
{
    unsigned n = 0;

    ck_assert_int_eq(p11_objects_walk(&token, CKO_SECRET_KEY, check_hidden, &n), 0);
    ck_assert_int_eq(p11_objects_walk(&token, CKO_PRIVATE_KEY, check_hidden, &n), 0);
    ck_assert_uint_eq(n, CEREMONY_N_OBJECTS - 1); /* fingerprint.1 comes with tag.2 */
}
END_TEST

START_TEST(a_second_ceremony_is_refused_and_changes_nothing)
{
    const struct hsm_ceremony what = {
        keyd_test_hsm.uri, keyd_test_hsm.lock_file, keyd_test_hsm.exchange_pem};
    CLEANUP(text_done) struct text before = {0}, after = {0};

    p11_token_close(&token);
    ck_assert_msg(hsm_ceremony_list(&what, &before) == 0, "%s", error_text());
    ck_assert_int_eq(hsm_ceremony_init(&what, &after), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "already holds"));
    ck_assert_uint_eq(after.len, 0);
    ck_assert_int_eq(hsm_ceremony_list(&what, &after), 0);
    ck_assert_str_eq(before.data, after.data);
    ck_assert_ptr_nonnull(strstr(before.data, "store-kek.1"));
    ck_assert_ptr_nonnull(strstr(before.data, "store-device-export.1"));
    ck_assert_ptr_nonnull(strstr(before.data, "exchange.1"));
    ck_assert_ptr_nonnull(strstr(before.data, "audit.1"));
}
END_TEST

static int destroy_named(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    if (strcmp(label, context) == 0)
        ck_assert_uint_eq(token.f->C_DestroyObject(token.anchor, handle), CKR_OK);
    return 0;
}

START_TEST(the_exchange_key_can_be_exported_again)
{
    char path[300], before[8192], after[8192];
    const struct hsm_ceremony what = {keyd_test_hsm.uri, keyd_test_hsm.lock_file, path};

    p11_token_close(&token);
    (void)snprintf(path, sizeof(path), "%s/again.pem", keyd_test_hsm.dir);
    ck_assert_msg(hsm_ceremony_export(&what) == 0, "%s", error_text());
    read_text(keyd_test_hsm.exchange_pem, before, sizeof(before));
    read_text(path, after, sizeof(after));
    ck_assert_str_eq(before, after);
    ck_assert_ptr_nonnull(strstr(after, "BEGIN PUBLIC KEY"));
    (void)snprintf(path, sizeof(path), "%s", keyd_test_hsm.dir); /* a folder */
    ck_assert_int_eq(hsm_ceremony_export(&what), ERROR_CONFIG);
}
END_TEST

/* On a token of its own; SOFTHSM2_CONF of the other tests is not touched, for Check forks. */
START_TEST(a_wrong_path_costs_no_key_and_a_part_made_token_is_named_as_such)
{
    struct softhsm hsm;
    char path[300];
    char label[] = P11_LABEL_CODE "1";
    CLEANUP(cleanup_close) int lock = -1;
    CLEANUP(text_done) struct text report = {0}, list = {0}, none = {0};
    struct hsm_ceremony what;

    p11_token_close(&token);
    ck_assert_msg(softhsm_make(&hsm, false) == 0, "%s", error_text());
    (void)snprintf(path, sizeof(path), "%s/nowhere/exchange.pem", hsm.dir);
    what = (struct hsm_ceremony){hsm.uri, hsm.lock_file, path};
    ck_assert_int_eq(hsm_ceremony_init(&what, &report), ERROR_CONFIG);
    ck_assert_int_eq(hsm_ceremony_list(&what, &none), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(none.data, "MISSING"));
    ck_assert_ptr_null(strstr(none.data, "check value"));
    what.exchange_key_path = hsm.exchange_pem;
    ck_assert_msg(hsm_ceremony_init(&what, &report) == 0, "%s", error_text());
    ck_assert_ptr_nonnull(strstr(report.data, "check value"));
    ck_assert_ptr_null(strstr(report.data, P11_LABEL_EXPORT)); /* only where it was asked for */

    ck_assert_int_eq(p11_lock(hsm.lock_file, &lock), 0);
    ck_assert_int_eq(p11_token_open(&token, hsm.uri, true, lock), 0);
    ck_assert_int_eq(p11_objects_walk(&token, CKO_SECRET_KEY, destroy_named, label), 0);
    p11_token_close(&token);
    cleanup_close(&lock);
    lock = -1;
    ck_assert_int_eq(hsm_ceremony_list(&what, &list), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), P11_LABEL_CODE) != NULL, "%s", error_text());
    ck_assert_ptr_nonnull(strstr(list.data, P11_LABEL_TAG));
    ck_assert_ptr_nonnull(strstr(list.data, "MISSING"));
    report.len = 0;
    ck_assert_int_eq(hsm_ceremony_init(&what, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "incomplete") != NULL, "%s", error_text());
    ck_assert_msg(strstr(error_text(), "begin again") != NULL, "%s", error_text());
    softhsm_remove(&hsm);
}
END_TEST

static int destroy_second(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    (void)context;
    if (strcmp(label, P11_LABEL_DEVICE "2") == 0 || strcmp(label, P11_LABEL_EXPORT "2") == 0 ||
        strcmp(label, P11_LABEL_KEK "2") == 0)
        ck_assert_uint_eq(token.f->C_DestroyObject(token.anchor, handle), CKR_OK);
    return 0;
}

static enum keyd_status join_of(const struct keyd_test_device *device)
{
    struct keyd_pool *pool = keyd_test_pool(1, 1, 0);
    struct keyd_join_request request;
    struct keyd_join_reply reply;

    keyd_test_request(device, 1, false, false, &request);
    request.plan = false;
    ck_assert_int_eq(keyd_answer_joins(keyd_pool_channel(pool, 0), NULL, 0, &request, 1, &reply,
                         keyd_test_deadline()),
        0);
    keyd_pool_close(pool);
    return reply.status;
}

START_TEST(a_new_version_seals_from_then_on_and_a_missing_one_is_named)
{
    struct ceremony_object second = ceremony_objects[0];
    struct keyd_test_device old_device, new_device;
    struct keyd_pool *pool;

    p11_token_close(&token);
    pool = keyd_test_pool(1, 1, 0);
    keyd_test_adopt(keyd_pool_channel(pool, 0), 0x20635F00C4003000, false, &old_device);
    keyd_pool_close(pool);
    ck_assert_str_eq(old_device.app.kek_label, P11_LABEL_DEVICE "1");

    ck_assert_int_eq(open_token(keyd_test_hsm.uri, true), 0);
    second.label = P11_LABEL_DEVICE "2";
    ck_assert_msg(second.make(&token, &second) == 0, "%s", error_text());
    pool = keyd_test_pool(1, 1, 0);
    keyd_test_adopt(keyd_pool_channel(pool, 0), 0x20635F00C4003001, false, &new_device);
    keyd_pool_close(pool);
    ck_assert_str_eq(new_device.app.kek_label, P11_LABEL_DEVICE "2");
    ck_assert_int_eq(join_of(&new_device), KEYD_OK);
    ck_assert_int_eq(join_of(&old_device), KEYD_OK);

    ck_assert_int_eq(p11_objects_walk(&token, CKO_SECRET_KEY, destroy_second, NULL), 0);
    ck_assert_int_eq(join_of(&new_device), KEYD_KEK_UNKNOWN);
    ck_assert_int_eq(join_of(&old_device), KEYD_OK);
}
END_TEST

/* A version made by hand, in a session that may write, which stays open. */
static void make_by_hand(const char *label, enum p11_use opens, bool modifiable, bool template)
{
    CK_BBOOL yes = CK_TRUE, may_change = modifiable ? CK_TRUE : CK_FALSE;
    CK_ULONG len = 32;
    struct p11_restriction restriction;
    CK_ATTRIBUTE loose[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_WRAP, &yes, sizeof(yes)},
        {CKA_UNWRAP, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, p11_in(label), strlen(label)},
        {CKA_MODIFIABLE, &may_change, sizeof(may_change)},
        {CKA_UNWRAP_TEMPLATE, restriction.attributes, 0},
    };
    CK_ULONG n = sizeof(loose) / sizeof(loose[0]) - (template ? 0 : 1);
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    p11_token_close(&token);
    ck_assert_int_eq(open_token(keyd_test_hsm.uri, true), 0);
    p11_restriction_fill(&restriction, opens);
    loose[8].ulValueLen = restriction.n * sizeof(CK_ATTRIBUTE);
    ck_assert_uint_eq(token.f->C_GenerateKey(token.anchor, &generate, loose, n, &handle), CKR_OK);
}

static void must_be_refused_at_start(const char *label, const char *word)
{
    const struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1};
    struct keyd_pool *pool = NULL;

    ck_assert_int_eq(keyd_pool_open(&config, &pool), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), label) != NULL, "%s", error_text());
    ck_assert_msg(strstr(error_text(), word) != NULL, "%s", error_text());
    ck_assert_int_eq(p11_objects_walk(&token, CKO_SECRET_KEY, destroy_second, NULL), 0);
}

START_TEST(a_storage_kek_without_its_template_is_refused_at_start)
{
    make_by_hand(P11_LABEL_DEVICE "2", P11_USE_DEVICE, false, false);
    must_be_refused_at_start(P11_LABEL_DEVICE "2", "template");
    make_by_hand(P11_LABEL_DEVICE "2", P11_USE_DEVICE, true, false);
    must_be_refused_at_start(P11_LABEL_DEVICE "2", "template");
}
END_TEST

START_TEST(a_key_that_is_used_in_place_and_can_be_modified_is_refused_at_start)
{
    make_by_hand(P11_LABEL_KEK "2", P11_USE_PEER, true, true);
    must_be_refused_at_start(P11_LABEL_KEK "2", "can be modified");
}
END_TEST

/* As on a token that was made before any key was left open. */
START_TEST(a_key_that_is_locked_is_used_in_place)
{
    struct keyd_test_device device;
    struct keyd_pool *pool;

    make_by_hand(P11_LABEL_DEVICE "2", P11_USE_DEVICE, false, true);
    ck_assert_msg(p11_keys_find(&token, &keys) == 0, "%s", error_text());
    ck_assert_msg(p11_keys_copy(&token, &keys) == 0, "%s", error_text());
    ck_assert(keys.in_place);
    ck_assert_uint_eq(flag_of(p11_store_newest(&keys.device)->handle, CKA_TOKEN), CK_TRUE);
    ck_assert_uint_eq(flag_of(p11_store_newest(&keys.tag)->handle, CKA_TOKEN), CK_FALSE);
    pool = keyd_test_pool(1, 1, 0);
    ck_assert_ptr_nonnull(strstr(keyd_pool_describe(pool), "keys are locked: slower joins"));
    keyd_test_adopt(keyd_pool_channel(pool, 0), 0x20635F00C4003002, false, &device);
    keyd_pool_close(pool);
    ck_assert_str_eq(device.app.kek_label, P11_LABEL_DEVICE "2");
    ck_assert_int_eq(join_of(&device), KEYD_OK);
    ck_assert_int_eq(p11_objects_walk(&token, CKO_SECRET_KEY, destroy_second, NULL), 0);
}
END_TEST

START_TEST(a_wrong_uri_is_named_as_such)
{
    static const struct {
        const char *uri, *word;
    } cases[] = {
        {"no uri", "URI"},
        {"pkcs11:token=cradle-test?pin-source=file:/nowhere", "module-path"},
        {"pkcs11:token=cradle-test?module-path=" SOFTHSM_MODULE, "pin-source"},
        {"pkcs11:?module-path=" SOFTHSM_MODULE "&pin-source=file:/nowhere", "neither token"},
        {"pkcs11:token=cradle-test?module-path=" SOFTHSM_MODULE "&pin-value=1234", "PIN itself"},
        {"pkcs11:token=another?module-path=" SOFTHSM_MODULE "&pin-source=file:/nowhere",
            "no token"},
        {"pkcs11:token=cradle-test?module-path=" SOFTHSM_MODULE "&pin-source=file:/nowhere",
            "/nowhere"},
        {"pkcs11:token=cradle-test?module-path=/nowhere.so&pin-source=file:/nowhere",
            "cannot be loaded"},
    };

    p11_token_close(&token);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(open_token(cases[i].uri, false), ERROR_CONFIG);
        ck_assert_msg(strstr(error_text(), cases[i].word) != NULL, "%s", error_text());
        p11_token_close(&token);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_storage_kek_opens_only_its_own_kind,
        a_blob_of_one_storage_kek_does_not_open_under_the_other,
        an_opened_device_key_neither_leaves_nor_encrypts,
        no_key_of_the_token_that_is_used_in_place_can_be_given_another_use,
        a_copy_never_leaves_and_can_be_given_no_other_use,
        a_key_that_is_locked_is_used_in_place,
        an_opened_kek_can_be_given_no_other_use,
        the_exchange_key_opens_nothing_that_can_be_read_or_used_as_a_kek,
        a_made_kek_can_be_wrapped_and_nothing_else,
        every_key_of_the_ceremony_is_hidden_and_locked_unless_it_is_copied,
        a_second_ceremony_is_refused_and_changes_nothing,
        the_exchange_key_can_be_exported_again,
        a_wrong_path_costs_no_key_and_a_part_made_token_is_named_as_such,
        a_new_version_seals_from_then_on_and_a_missing_one_is_named,
        a_storage_kek_without_its_template_is_refused_at_start,
        a_key_that_is_used_in_place_and_can_be_modified_is_refused_at_start,
        a_wrong_uri_is_named_as_such,
    };

    return keyd_test_main("keyd-token", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
