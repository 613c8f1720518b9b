/* Root keys that are made in the token, opened by OpenSSL as a maker's bench opens them, and the
 * keys of deliveries. */
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

static struct p11_fault_control *control;
static struct keyd_pool *pool;
static struct keyd_channel *channel;
static EVP_PKEY *maker;

static const struct eui64 dev_eui = {{0x20, 0x63, 0x5F, 0x00, 0xC4, 0x00, 0x70, 0x01}};
static const struct eui64 join_eui = {{0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0x00, 0x00, 0x01}};
static const struct eui64 sigfox_id = {{0, 0, 0, 0, 0x01, 0x23, 0x45, 0x67}};

/** A transport KEK as the database has it, and as the maker does. */
struct transport {
    struct sealed_kek sealed;
    uint8_t clear[KEK_MAX];
    size_t len;
};

static struct transport wide, narrow; /* AES-256, AES-128 */

static void read_number(const char *name, uint8_t *out, size_t size, size_t *len)
{
    BIGNUM *n = NULL;

    ck_assert_int_eq(EVP_PKEY_get_bn_param(maker, name, &n), 1);
    ck_assert_int_le(BN_num_bytes(n), (int)size);
    *len = (size_t)BN_bn2bin(n, out);
    BN_free(n);
}

static struct keyd_public_key public_of_maker(void)
{
    struct keyd_public_key ret = {0};
    size_t n = 0, e = 0;

    read_number(OSSL_PKEY_PARAM_RSA_N, ret.modulus, sizeof(ret.modulus), &n);
    read_number(OSSL_PKEY_PARAM_RSA_E, ret.exponent, sizeof(ret.exponent), &e);
    ret.modulus_len = (uint16_t)n;
    ret.exponent_len = (uint8_t)e;
    return ret;
}

/* As an order has it made: what the maker has of it, it has by its private key alone. */
static void make_transport(unsigned len, struct transport *ret)
{
    const struct keyd_public_key to = public_of_maker();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(maker, NULL);
    enum keyd_status status = KEYD_HSM_FAILED;
    struct keyd_made_kek made;
    uint8_t clear[KEYD_RSA_MAX];
    size_t clear_len = sizeof(clear);

    *ret = (struct transport){.sealed = {.peer_kind = PEER_ORGANIZATION,
                                  .peer_id = "00112233445566778899aabbccddeeff",
                                  .kek_class = KEK_CLASS_TRANSPORT,
                                  .label = "order-ffeeddccbbaa99887766554433221100"}};
    ck_assert_int_eq(
        keyd_make_kek(channel, &to, len, &ret->sealed, &made, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(status, KEYD_OK);
    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, clear, &clear_len, made.text, made.len), 1);
    ck_assert_uint_eq(clear_len, len);
    memcpy(ret->clear, clear, len);
    ret->len = len;
    EVP_PKEY_CTX_free(ctx);
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
    maker = EVP_RSA_gen(2048);
    ck_assert_ptr_nonnull(maker);
    make_transport(32, &wide);
    make_transport(16, &narrow);
}

static void teardown(void)
{
    EVP_PKEY_free(maker);
    keyd_pool_close(pool);
}

/* --- items ------------------------------------------------------------------------------------ */

static const struct keyd_make_request wrapped_app = {
    .dev_eui = {{0x20, 0x63, 0x5F, 0x00, 0xC4, 0x00, 0x70, 0x01}},
    .join_eui = {{0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0x00, 0x00, 0x01}},
    .slot = KEY_SLOT_APP,
    .form = KEYD_MADE_WRAPPED};

static struct keyd_make_request record_of(
    const struct eui64 *eui, const struct eui64 *join, enum key_slot slot, bool is_sigfox)
{
    return (struct keyd_make_request){.dev_eui = *eui,
        .join_eui = *join,
        .slot = slot,
        .is_sigfox = is_sigfox,
        .form = KEYD_MADE_RECORD};
}

static struct keyd_make_request sigfox_record(void)
{
    static const struct eui64 none;

    return record_of(&sigfox_id, &none, KEY_SLOT_APP, true);
}

/* Of one item, under one KEK. */
static struct keyd_make_reply make_one(
    const struct sealed_kek *kek, const struct keyd_make_request *q)
{
    struct keyd_make_reply reply;

    ck_assert_msg(keyd_make_device_keys(channel, &kek, 1, q, 1, &reply, keyd_test_deadline()) == 0,
        "%s", error_text());
    return reply;
}

static void kcv_of(const struct secret_key *key, uint8_t ret[static KEYD_KCV_LEN])
{
    static const uint8_t zeros[16];
    uint8_t mac[16];

    ck_assert_int_eq(aes_cmac(key, zeros, sizeof(zeros), mac), 0);
    memcpy(ret, mac, KEYD_KCV_LEN);
}

/* What the maker finds in it; fails the test where it is not the key that was sealed. */
static struct secret_key open_wrapped(
    const struct transport *transport, const struct keyd_make_reply *reply)
{
    struct secret_key key;
    uint8_t kcv[KEYD_KCV_LEN];

    ck_assert_msg(reply->status == KEYD_OK, "%s", keyd_status_text(reply->status));
    ck_assert_int_eq(
        aes_unwrap(transport->clear, transport->len, reply->wrapped, KEYD_WRAPPED_LEN, key.bytes),
        0);
    kcv_of(&key, kcv);
    ck_assert_mem_eq(reply->kcv, kcv, KEYD_KCV_LEN);
    return key;
}

static void open_block(const uint8_t block[static 16], uint8_t ret[static 16])
{
    struct secret_key kek;

    memcpy(kek.bytes, narrow.clear, AES_KEY_LEN);
    ck_assert_int_eq(aes_ecb_decrypt(&kek, block, AES_KEY_LEN, ret), 0);
}

static struct secret_key open_record(const struct keyd_make_reply *reply)
{
    struct secret_key key;
    uint8_t kcv[KEYD_KCV_LEN];

    ck_assert_msg(reply->status == KEYD_OK, "%s", keyd_status_text(reply->status));
    open_block(reply->record.key, key.bytes);
    kcv_of(&key, kcv);
    ck_assert_mem_eq(reply->kcv, kcv, KEYD_KCV_LEN);
    return key;
}

/* Key wrap is the same each time, and so are tag and fingerprint: what was made and what is adopted
 * from clear are equal byte by byte. */
static void must_be_the_adopted_one(const struct keyd_make_request *q,
    const struct keyd_make_reply *made, const struct secret_key *clear)
{
    const struct keyd_adopt_request row = {
        .dev_eui = q->dev_eui, .join_eui = q->join_eui, .slot = q->slot, .key = *clear};
    struct keyd_adopt_reply adopted;

    ck_assert_int_eq(
        keyd_adopt_device_keys(channel, NULL, 0, &row, 1, &adopted, keyd_test_deadline()), 0);
    ck_assert_int_eq(adopted.status, KEYD_OK);
    ck_assert_str_eq(adopted.sealed.kek_label, made->sealed.kek_label);
    ck_assert_uint_eq(made->sealed.blob_len, AES_KEY_LEN + 8);
    ck_assert_mem_eq(adopted.sealed.blob, made->sealed.blob, AES_KEY_LEN + 8);
    ck_assert_mem_eq(adopted.sealed.tag, made->sealed.tag, SEALED_TAG_LEN);
    ck_assert_mem_eq(adopted.kcv, made->kcv, KEYD_KCV_LEN);
    ck_assert_mem_eq(adopted.fingerprint, made->fingerprint, KEYD_FINGERPRINT_LEN);
}

static void must_be_refused(enum keyd_status status, const struct keyd_make_reply *reply)
{
    const struct keyd_make_reply refused = {.status = status};

    ck_assert_msg(reply->status == status, "%s", keyd_status_text(reply->status));
    ck_assert_uint_eq(reply->sealed.blob_len, 0);
    ck_assert_mem_eq(reply->kcv, refused.kcv, sizeof(refused.kcv));
    ck_assert_mem_eq(reply->fingerprint, refused.fingerprint, sizeof(refused.fingerprint));
    ck_assert_mem_eq(reply->wrapped, refused.wrapped, sizeof(refused.wrapped));
    ck_assert_mem_eq(&reply->record, &refused.record, sizeof(refused.record));
}

/* --- keys ------------------------------------------------------------------------------------- */

START_TEST(made_keys_join_with_what_their_maker_reads)
{
    const struct sealed_kek *const keks[] = {&wide.sealed};
    struct keyd_make_request items[2] = {wrapped_app, wrapped_app};
    struct keyd_test_device device = {.dev_eui = dev_eui, .join_eui = join_eui, .has_nwk = true};
    struct keyd_make_reply made[2];
    struct keyd_test_peers peers;

    items[1].slot = KEY_SLOT_NWK;
    ck_assert_int_eq(
        keyd_make_device_keys(channel, keks, 1, items, 2, made, keyd_test_deadline()), 0);
    device.app_clear = open_wrapped(&wide, &made[0]);
    device.nwk_clear = open_wrapped(&wide, &made[1]);
    ck_assert_mem_ne(device.app_clear.bytes, device.nwk_clear.bytes, AES_KEY_LEN);
    must_be_the_adopted_one(&items[0], &made[0], &device.app_clear);
    must_be_the_adopted_one(&items[1], &made[1], &device.nwk_clear);
    device.app = made[0].sealed;
    device.nwk = made[1].sealed;
    keyd_test_peers(channel, &peers);
    for (unsigned opt_neg = 0; opt_neg < 2; opt_neg++) {
        struct keyd_join_request join;
        struct keyd_join_reply joined;

        keyd_test_request(&device, (uint16_t)(1 + opt_neg), opt_neg != 0, false, &join);
        ck_assert_int_eq(
            keyd_answer_joins(channel, peers.list, 2, &join, 1, &joined, keyd_test_deadline()), 0);
        keyd_test_check(&device, &peers, &join, &joined);
    }
}
END_TEST

START_TEST(no_two_keys_are_one)
{
    static struct keyd_make_request items[KEYD_BATCH_MAX];
    static struct keyd_make_reply made[2 * KEYD_BATCH_MAX];
    static struct secret_key keys[2 * KEYD_BATCH_MAX];
    const struct sealed_kek *const keks[] = {&narrow.sealed, &wide.sealed};

    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        items[i] = wrapped_app; /* the same item again and again */
        items[i].transport_kek = (uint8_t)(i % 2);
    }
    for (size_t round = 0; round < 2; round++)
        ck_assert_int_eq(keyd_make_device_keys(channel, keks, 2, items, KEYD_BATCH_MAX,
                             made + round * KEYD_BATCH_MAX, keyd_test_deadline()),
            0);
    for (size_t i = 0; i < 2 * KEYD_BATCH_MAX; i++) {
        keys[i] = open_wrapped(i % 2 == 0 ? &narrow : &wide, &made[i]);
        for (size_t j = 0; j < i; j++)
            ck_assert(memcmp(keys[i].bytes, keys[j].bytes, AES_KEY_LEN) != 0);
    }
}
END_TEST

START_TEST(a_made_key_is_of_its_device_alone)
{
    struct keyd_make_reply made = make_one(&wide.sealed, &wrapped_app);
    struct keyd_test_device device = {.dev_eui = dev_eui, .join_eui = join_eui};
    struct keyd_join_request join;
    struct keyd_join_reply joined;

    device.app_clear = open_wrapped(&wide, &made);
    device.app = made.sealed;
    device.dev_eui.bytes[7] ^= 1;
    keyd_test_request(&device, 1, false, false, &join);
    join.plan = false;
    ck_assert_int_eq(
        keyd_answer_joins(channel, NULL, 0, &join, 1, &joined, keyd_test_deadline()), 0);
    ck_assert_int_eq(joined.status, KEYD_TAG_REFUSED);
}
END_TEST

/* --- records ---------------------------------------------------------------------------------- */

START_TEST(a_record_is_identifier_and_key_under_aes_128_ecb)
{
    static const uint8_t names[16] = {0x01, 0x70, 0x00, 0xC4, 0x00, 0x5F, 0x63, 0x20, 0x01, 0x00,
        0x00, 0xD0, 0x7E, 0xD5, 0xB3, 0x70};
    static const uint8_t id[16] = {0x67, 0x45, 0x23, 0x01};
    static const uint8_t zeros[16];
    const struct keyd_make_request app = record_of(&dev_eui, &join_eui, KEY_SLOT_APP, false);
    const struct keyd_make_request nwk = record_of(&dev_eui, &join_eui, KEY_SLOT_NWK, false);
    const struct keyd_make_request nak = sigfox_record();
    struct keyd_make_reply made = make_one(&narrow.sealed, &app);
    struct secret_key key = open_record(&made), first = key;
    uint8_t block[16];

    must_be_the_adopted_one(&app, &made, &key);
    open_block(made.record.identifier, block);
    ck_assert_mem_eq(block, names, sizeof(block));
    open_block(made.record.no_key, block);
    ck_assert_mem_eq(block, zeros, sizeof(block));
    ck_assert_mem_eq(made.wrapped, zeros, sizeof(zeros)); /* of the other form */

    made = make_one(&narrow.sealed, &nwk);
    key = open_record(&made);
    must_be_the_adopted_one(&nwk, &made, &key);
    ck_assert_mem_ne(key.bytes, first.bytes, AES_KEY_LEN);
    ck_assert_mem_eq(made.record.identifier, zeros, sizeof(zeros));
    ck_assert_mem_eq(made.record.no_key, zeros, sizeof(zeros));

    made = make_one(&narrow.sealed, &nak);
    key = open_record(&made);
    must_be_the_adopted_one(&nak, &made, &key);
    open_block(made.record.identifier, block);
    ck_assert_mem_eq(block, id, sizeof(block));
    ck_assert_mem_eq(made.record.no_key, zeros, sizeof(zeros));
}
END_TEST

START_TEST(a_record_needs_a_kek_of_aes_128)
{
    const struct sealed_kek *const keks[] = {&wide.sealed, &narrow.sealed};
    struct keyd_make_request items[3] = {record_of(&dev_eui, &join_eui, KEY_SLOT_APP, false),
        record_of(&dev_eui, &join_eui, KEY_SLOT_APP, false), wrapped_app};
    struct keyd_make_reply made[3];
    struct transport middle;

    items[1].transport_kek = 1;
    ck_assert_int_eq(
        keyd_make_device_keys(channel, keks, 2, items, 3, made, keyd_test_deadline()), 0);
    must_be_refused(KEYD_BAD_INPUT, &made[0]);
    (void)open_record(&made[1]); /* and touches no other */
    (void)open_wrapped(&wide, &made[2]);
    make_transport(24, &middle);
    made[0] = make_one(&middle.sealed, &items[0]);
    must_be_refused(KEYD_BAD_INPUT, &made[0]);
}
END_TEST

START_TEST(a_sigfox_credential_has_a_sigfox_name)
{
    struct keyd_make_request wrong[3] = {sigfox_record(), sigfox_record(), sigfox_record()};

    wrong[0].dev_eui.bytes[3] = 1;
    wrong[1].join_eui.bytes[7] = 1;
    wrong[2].slot = KEY_SLOT_NWK;
    for (size_t i = 0; i < 3; i++) {
        for (int form = KEYD_MADE_WRAPPED; form <= KEYD_MADE_RECORD; form++) {
            struct keyd_make_reply made;

            wrong[i].form = (enum keyd_made_form)form;
            made = make_one(&narrow.sealed, &wrong[i]);
            must_be_refused(KEYD_BAD_INPUT, &made);
        }
    }
}
END_TEST

/* --- refusals --------------------------------------------------------------------------------- */

START_TEST(a_transport_kek_that_is_not_one_is_refused_alone)
{
    static struct sealed_kek of_ns = {.peer_kind = PEER_NETWORK_SERVER,
        .peer_id = "000013",
        .kek_class = KEK_CLASS_NS,
        .label = "ns-000013"};
    static const uint8_t clear[16] = {1, 2, 3};
    struct sealed_kek moved = wide.sealed, damaged = wide.sealed, relabelled = wide.sealed,
                      unsendable = wide.sealed;
    const struct sealed_kek *const keks[] = {
        &moved, &wide.sealed, &damaged, &of_ns, &relabelled, &unsendable};
    static const enum keyd_status expected[] = {KEYD_KEK_TAG_REFUSED, KEYD_OK, KEYD_KEK_TAG_REFUSED,
        KEYD_BAD_INPUT, KEYD_KEK_TAG_REFUSED, KEYD_KEK_TAG_REFUSED};
    struct keyd_make_request items[6];
    struct keyd_make_reply made[6];

    keyd_test_adopt_kek(channel, clear, sizeof(clear), &of_ns);
    moved.peer_id[0] = 'f';
    damaged.key.blob[3] ^= 1;
    memcpy(relabelled.key.kek_label, "store-kek.77", sizeof("store-kek.77"));
    unsendable.label[0] = '\n';
    for (size_t i = 0; i < 6; i++) {
        items[i] = wrapped_app;
        items[i].transport_kek = (uint8_t)i;
    }
    ck_assert_int_eq(
        keyd_make_device_keys(channel, keks, 6, items, 6, made, keyd_test_deadline()), 0);
    for (size_t i = 0; i < 6; i++) {
        if (expected[i] != KEYD_OK)
            must_be_refused(expected[i], &made[i]);
        else
            (void)open_wrapped(&wide, &made[i]);
    }
}
END_TEST

START_TEST(what_cannot_be_is_not_sent)
{
    const struct sealed_kek *const keks[] = {&wide.sealed};
    struct keyd_make_request wrong[4] = {wrapped_app, wrapped_app, wrapped_app, wrapped_app};

    wrong[0].slot = (enum key_slot)0;
    wrong[1].form = (enum keyd_made_form)(KEYD_MADE_RECORD + 1);
    wrong[2].transport_kek = 1;
    wrong[3].transport_kek = KEYD_NO_KEK;
    for (size_t i = 0; i < 4; i++) {
        struct keyd_make_reply made;

        ck_assert_int_eq(
            keyd_make_device_keys(channel, keks, 1, &wrong[i], 1, &made, keyd_test_deadline()),
            ERROR_INPUT);
    }
    ck_assert_int_eq(
        keyd_make_device_keys(channel, keks, 1, NULL, 0, NULL, keyd_test_deadline()), 0);
    ck_assert_int_eq(keyd_self_test(channel, keyd_test_deadline()), 0);
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

START_TEST(nothing_of_a_made_key_stays_in_the_token)
{
    const struct keyd_make_request record = record_of(&dev_eui, &join_eui, KEY_SLOT_APP, false);
    unsigned made, gone, read;

    /* The transport KEKs are opened, and kept, by the first. */
    (void)make_one(&wide.sealed, &wrapped_app);
    (void)make_one(&narrow.sealed, &record);
    made = objects_made();
    gone = calls(P11_FAULT_C_DestroyObject);
    read = calls(P11_FAULT_C_GetAttributeValue);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(make_one(&wide.sealed, &wrapped_app).status, KEYD_OK);
        ck_assert_int_eq(make_one(&narrow.sealed, &record).status, KEYD_OK);
    }
    ck_assert_uint_eq(objects_made() - made, 20); /* a key; a key and two blocks */
    ck_assert_uint_eq(calls(P11_FAULT_C_DestroyObject) - gone, 20);
    ck_assert_uint_eq(calls(P11_FAULT_C_GetAttributeValue), read); /* nobody read it */
}
END_TEST

START_TEST(a_failing_token_makes_no_key_and_leaves_none)
{
    /* The function, which of its calls, and how many objects of a record were made by then. */
    static const struct {
        enum p11_fault_function function;
        unsigned call, made;
    } cases[] = {
        {P11_FAULT_C_GenerateKey, 1, 0},
        {P11_FAULT_C_SignInit, 1, 1}, /* check value */
        {P11_FAULT_C_WrapKey, 1, 1},  /* for its row */
        {P11_FAULT_C_Sign, 2, 1},     /* tag */
        {P11_FAULT_C_Sign, 3, 1},     /* fingerprint */
        {P11_FAULT_C_WrapKey, 2, 1},  /* the key's block */
        {P11_FAULT_C_CreateObject, 1, 1},
        {P11_FAULT_C_WrapKey, 3, 2}, /* the identifier */
        {P11_FAULT_C_CreateObject, 2, 2},
        {P11_FAULT_C_WrapKey, 4, 3},
        {P11_FAULT_C_DestroyObject, 1, 2},
        {P11_FAULT_C_DestroyObject, 3, 3},
    };
    const struct keyd_make_request record = record_of(&dev_eui, &join_eui, KEY_SLOT_APP, false);

    (void)make_one(&narrow.sealed, &record);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct keyd_make_reply made;
        unsigned gone;

        keyd_fault_arm(control, cases[i].function, cases[i].call, 1, CKR_GENERAL_ERROR);
        gone = calls(P11_FAULT_C_DestroyObject);
        made = make_one(&narrow.sealed, &record);
        must_be_refused(KEYD_HSM_FAILED, &made);
        ck_assert_msg(calls(P11_FAULT_C_DestroyObject) - gone == cases[i].made, "case %zu", i);
        keyd_fault_disarm(control);
        made = make_one(&narrow.sealed, &record);
        (void)open_record(&made);
    }
}
END_TEST

START_TEST(a_token_that_makes_no_records_says_so_and_goes_on)
{
    const struct keyd_make_request record = record_of(&dev_eui, &join_eui, KEY_SLOT_APP, false);
    const unsigned gone = calls(P11_FAULT_C_DestroyObject);
    struct keyd_make_reply made;
    int before = 0, after = 0;

    ck_assert_uint_eq(keyd_pool_pids(pool, &before, 1), 1);
    for (unsigned i = 0; i < 10; i++) {
        keyd_fault_arm(control, P11_FAULT_C_WrapKey, 2, 1, CKR_MECHANISM_INVALID);
        made = make_one(&narrow.sealed, &record);
        must_be_refused(KEYD_CANNOT_EXPORT, &made);
        keyd_fault_disarm(control);
    }
    ck_assert_uint_eq(calls(P11_FAULT_C_DestroyObject) - gone, 10);
    made = make_one(&wide.sealed, &wrapped_app);
    (void)open_wrapped(&wide, &made);
    ck_assert_uint_eq(keyd_pool_pids(pool, &after, 1), 1);
    ck_assert_int_eq(before, after);
}
END_TEST

/* --- deliveries ------------------------------------------------------------------------------- */

START_TEST(a_delivery_key_is_its_batchs_and_the_same_in_every_process)
{
    uint8_t batch[KEYD_BATCH_ID_LEN] = {0xC1, 0xA1, 2}, key[KEYD_HASH_LEN], other[KEYD_HASH_LEN];
    struct keyd_code_hash got;
    struct keyd_pool *two = keyd_test_pool(2, 2, 0);
    struct eui64 name;
    struct keyd_claim_code code;

    ck_assert_int_eq(keyd_delivery_key(channel, batch, 0, &got, keyd_test_deadline()), 0);
    ck_assert_uint_eq(got.version, 1);
    memcpy(key, got.hash, sizeof(key));
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(
            keyd_delivery_key(keyd_pool_channel(two, i), batch, 1, &got, keyd_test_deadline()), 0);
        ck_assert_mem_eq(got.hash, key, sizeof(key));
    }
    keyd_pool_close(two);
    for (size_t i = 0; i < sizeof(batch); i++) {
        batch[i] ^= 1;
        ck_assert_int_eq(keyd_delivery_key(channel, batch, 1, &got, keyd_test_deadline()), 0);
        ck_assert_mem_ne(got.hash, key, sizeof(key));
        batch[i] ^= 1;
    }
    /* The same bytes as a claim code's are another input of the same key. */
    memcpy(name.bytes, batch, sizeof(name.bytes));
    code = keyd_test_code(&name, 0, "");
    memcpy(code.code, batch + sizeof(name) + 4, KEYD_BATCH_ID_LEN - sizeof(name) - 4);
    code.code_len = KEYD_BATCH_ID_LEN - sizeof(name) - 4;
    ck_assert_int_eq(keyd_test_hash_codes(channel, &code, 1, &other), 0);
    ck_assert_mem_ne(other, key, sizeof(key));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        made_keys_join_with_what_their_maker_reads,
        no_two_keys_are_one,
        a_made_key_is_of_its_device_alone,
        a_record_is_identifier_and_key_under_aes_128_ecb,
        a_record_needs_a_kek_of_aes_128,
        a_sigfox_credential_has_a_sigfox_name,
        a_transport_kek_that_is_not_one_is_refused_alone,
        what_cannot_be_is_not_sent,
        nothing_of_a_made_key_stays_in_the_token,
        a_failing_token_makes_no_key_and_leaves_none,
        a_token_that_makes_no_records_says_so_and_goes_on,
        a_delivery_key_is_its_batchs_and_the_same_in_every_process,
    };

    return keyd_test_main("keyd-root", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
