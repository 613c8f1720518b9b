/* Keys on their way in, in each of their forms, on a real token. */
#include "tests/integration/keyd_fault.h"

#include "base/clock.h"
#include "base/error.h"
#include "hsm/p11_keys.h"
#include "hsm/p11_ops.h"
#include "hsm/tag.h"
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <string.h>

#define TRANSPORT_LEN 32

static struct p11_fault_control *control;
static struct keyd_pool *pool;
static struct keyd_channel *channel;
static uint8_t transport_clear[TRANSPORT_LEN];
static struct sealed_kek transport;
static const struct sealed_kek *const transports[] = {&transport};

static const struct eui64 join_eui = {{0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0x00, 0x00, 0x01}};

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
    transport = (struct sealed_kek){.peer_kind = PEER_ORGANIZATION,
        .peer_id = "00112233445566778899aabbccddeeff",
        .kek_class = KEK_CLASS_TRANSPORT,
        .label = "transport-1"};
    ck_assert_int_eq(random_bytes(transport_clear, sizeof(transport_clear)), 0);
    keyd_test_adopt_kek(channel, transport_clear, sizeof(transport_clear), &transport);
}

static void teardown(void)
{
    keyd_pool_close(pool);
}

/* --- rows ------------------------------------------------------------------------------------- */

static struct keyd_adopt_request row_of(uint8_t device, enum keyd_key_form form)
{
    return (struct keyd_adopt_request){.dev_eui = {{0x20, 0x63, 0x5F, 0, 0, 0, 0, device}},
        .join_eui = join_eui,
        .slot = KEY_SLOT_APP,
        .form = form,
        .transport_kek = form == KEYD_FORM_WRAPPED ? 0 : KEYD_NO_KEK};
}

static struct keyd_adopt_request clear_row(uint8_t device, const struct secret_key *key)
{
    struct keyd_adopt_request row = row_of(device, KEYD_FORM_CLEAR);

    row.key = *key;
    return row;
}

static struct keyd_adopt_request wrapped_row(uint8_t device, const struct secret_key *key)
{
    struct keyd_adopt_request row = row_of(device, KEYD_FORM_WRAPPED);

    ck_assert_int_eq(aes_wrap(transport_clear, sizeof(transport_clear), key->bytes,
                         sizeof(key->bytes), row.wrapped),
        0);
    return row;
}

static struct keyd_adopt_request sealed_row(uint8_t device, const void *key, size_t len)
{
    struct keyd_adopt_request row = row_of(device, KEYD_FORM_SEALED);

    keyd_test_oaep(key, len, row.sealed);
    return row;
}

static struct secret_key new_key(void)
{
    struct secret_key key;

    ck_assert_int_eq(random_bytes(key.bytes, sizeof(key.bytes)), 0);
    return key;
}

static void adopt(const struct keyd_adopt_request *rows, size_t n, struct keyd_adopt_reply *replies)
{
    ck_assert_msg(
        keyd_adopt_device_keys(channel, transports, 1, rows, n, replies, keyd_test_deadline()) == 0,
        "%s", error_text());
}

static void check_mac(const struct secret_key *key, uint8_t mac[static 16])
{
    static const uint8_t zeros[16];

    ck_assert_int_eq(aes_cmac(key, zeros, sizeof(zeros), mac), 0);
}

static void must_be_adopted(const struct secret_key *key, const struct keyd_adopt_reply *reply)
{
    uint8_t mac[16];

    ck_assert_msg(reply->status == KEYD_OK, "%s", keyd_status_text(reply->status));
    check_mac(key, mac);
    ck_assert_mem_eq(reply->kcv, mac, KEYD_KCV_LEN);
    ck_assert_str_eq(reply->sealed.kek_label, P11_LABEL_DEVICE "1");
    ck_assert_uint_eq(reply->sealed.blob_len, AES_KEY_LEN + 8);
}

static void must_be_refused(enum keyd_status status, const struct keyd_adopt_reply *reply)
{
    static const uint8_t zeros[KEYD_FINGERPRINT_LEN];

    ck_assert_msg(reply->status == status, "%s", keyd_status_text(reply->status));
    ck_assert_uint_eq(reply->sealed.blob_len, 0);
    ck_assert_mem_eq(reply->fingerprint, zeros, sizeof(zeros));
}

static void must_be_unhurt(int pid)
{
    int now = 0;

    ck_assert_uint_eq(keyd_pool_pids(pool, &now, 1), 1);
    ck_assert_int_eq(now, pid);
}

static int pid_now(void)
{
    int pid = 0;

    ck_assert_uint_eq(keyd_pool_pids(pool, &pid, 1), 1);
    return pid;
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(a_key_is_the_same_key_in_whatever_form_it_comes)
{
    const struct secret_key one = new_key(), other = new_key();
    const struct keyd_adopt_request rows[] = {clear_row(1, &one), wrapped_row(2, &one),
        sealed_row(3, one.bytes, sizeof(one.bytes)), wrapped_row(1, &one), clear_row(4, &other),
        sealed_row(4, other.bytes, sizeof(other.bytes))};
    enum { N = sizeof(rows) / sizeof(rows[0]) };
    struct keyd_adopt_reply replies[N];

    adopt(rows, N, replies);
    for (size_t i = 0; i < N; i++) {
        const bool same = i < 4;

        must_be_adopted(same ? &one : &other, &replies[i]);
        ck_assert_int_eq(
            memcmp(replies[i].fingerprint, replies[0].fingerprint, KEYD_FINGERPRINT_LEN) == 0,
            same);
        ck_assert_int_eq(memcmp(replies[i].sealed.blob, replies[0].sealed.blob, 24) == 0, same);
    }
    /* The row is in the tag, and in nothing else. */
    ck_assert_mem_ne(replies[0].sealed.tag, replies[1].sealed.tag, SEALED_TAG_LEN);
    ck_assert_mem_eq(replies[0].sealed.tag, replies[3].sealed.tag, SEALED_TAG_LEN);
}
END_TEST

START_TEST(a_device_joins_with_a_key_that_came_wrapped_or_sealed)
{
    struct keyd_test_peers peers;
    struct keyd_adopt_request rows[2];
    struct keyd_adopt_reply replies[2];
    struct keyd_test_device devices[2];

    keyd_test_peers(channel, &peers);
    for (size_t i = 0; i < 2; i++) {
        devices[i] = (struct keyd_test_device){.join_eui = join_eui, .app_clear = new_key()};
        rows[i] = i == 0 ? wrapped_row(1, &devices[i].app_clear)
                         : sealed_row(2, devices[i].app_clear.bytes, AES_KEY_LEN);
        devices[i].dev_eui = rows[i].dev_eui;
    }
    adopt(rows, 2, replies);
    for (size_t i = 0; i < 2; i++) {
        struct keyd_join_request request;
        struct keyd_join_reply reply;

        must_be_adopted(&devices[i].app_clear, &replies[i]);
        devices[i].app = replies[i].sealed;
        keyd_test_request(&devices[i], 7, false, true, &request);
        ck_assert_int_eq(
            keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, keyd_test_deadline()),
            0);
        keyd_test_check(&devices[i], &peers, &request, &reply);
        devices[i].app = replies[1 - i].sealed; /* the other's row */
        keyd_test_request(&devices[i], 8, false, true, &request);
        ck_assert_int_eq(
            keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, keyd_test_deadline()),
            0);
        ck_assert_int_eq(reply.status, KEYD_TAG_REFUSED);
    }
}
END_TEST

/* More of each than keyd gives way at when the token fails: these are no failures of the token. */
START_TEST(bad_rows_cost_neither_their_neighbours_nor_the_key_process)
{
    static struct keyd_adopt_request rows[KEYD_BATCH_MAX];
    static struct keyd_adopt_reply replies[KEYD_BATCH_MAX];
    static const uint8_t long_key[32] = {1, 2, 3};
    static const size_t lengths[] = {1, 15, 17, 24, 32};
    const struct secret_key key = new_key();
    const int pid = pid_now();

    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        const uint8_t n = (uint8_t)i;

        switch (i % 5) {
        case 0:
            rows[i] = clear_row(n, &key);
            break;
        case 1:
            rows[i] = wrapped_row(n, &key);
            rows[i].wrapped[i % KEYD_WRAPPED_LEN] ^= 1;
            break;
        case 2:
            rows[i] = sealed_row(n, key.bytes, AES_KEY_LEN);
            rows[i].sealed[i] ^= 1;
            break;
        case 3:
            rows[i] = sealed_row(n, long_key, lengths[i / 5 % 5]);
            break;
        default:
            rows[i] = wrapped_row(n, &key);
        }
    }
    adopt(rows, KEYD_BATCH_MAX, replies);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        if (i % 5 == 0 || i % 5 == 4)
            must_be_adopted(&key, &replies[i]);
        else
            must_be_refused(KEYD_BAD_INPUT, &replies[i]);
    }
    must_be_unhurt(pid);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        rows[i] = wrapped_row((uint8_t)i, &key);
        memset(rows[i].wrapped, (int)i, KEYD_WRAPPED_LEN);
    }
    adopt(rows, KEYD_BATCH_MAX, replies);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        must_be_refused(KEYD_BAD_INPUT, &replies[i]);
    must_be_unhurt(pid);
}
END_TEST

START_TEST(a_key_opens_only_under_a_good_transport_kek)
{
    struct keyd_test_peers peers;
    struct sealed_kek moved = transport, damaged = transport, unknown = transport,
                      unsendable = transport;
    const struct sealed_kek *const keks[] = {
        &transport, &peers.sealed[0], &peers.sealed[1], &moved, &damaged, &unknown, &unsendable};
    static const enum keyd_status expected[] = {KEYD_OK, KEYD_BAD_INPUT, KEYD_BAD_INPUT,
        KEYD_KEK_TAG_REFUSED, KEYD_KEK_TAG_REFUSED, KEYD_KEK_TAG_REFUSED, KEYD_KEK_TAG_REFUSED};
    enum { N = sizeof(keks) / sizeof(keks[0]) };
    const struct secret_key key = new_key();
    struct keyd_adopt_request rows[N + 1];
    struct keyd_adopt_reply replies[N + 1];

    keyd_test_peers(channel, &peers);
    moved.peer_id[0] = 'f'; /* of another organization */
    damaged.key.blob[3] ^= 1;
    (void)snprintf(unknown.key.kek_label, sizeof(unknown.key.kek_label), "store-kek.9");
    unsendable.label[0] = '\n';
    for (size_t i = 0; i < N; i++) {
        rows[i] = wrapped_row((uint8_t)i, &key);
        rows[i].transport_kek = (uint8_t)i;
    }
    rows[N] = clear_row(N, &key);
    ck_assert_int_eq(
        keyd_adopt_device_keys(channel, keks, N, rows, N + 1, replies, keyd_test_deadline()), 0);
    for (size_t i = 0; i < N; i++)
        ck_assert_msg(replies[i].status == expected[i], "KEK %zu: %s", i,
            keyd_status_text(replies[i].status));
    must_be_adopted(&key, &replies[N]);
    rows[0].transport_kek = N; /* beyond them */
    ck_assert_int_eq(
        keyd_adopt_device_keys(channel, keks, N, rows, 1, replies, keyd_test_deadline()),
        ERROR_INPUT);
}
END_TEST

/* The bytes of base/sealed.h, with the token's own tag key. */
START_TEST(a_fingerprint_is_what_it_is_said_to_be)
{
    static const uint8_t input[] = "\x03\x00\x0b"
                                   "fingerprint";
    CLEANUP(cleanup_close) int lock = -1;
    const struct secret_key key = new_key();
    const struct keyd_adopt_request row = wrapped_row(1, &key);
    struct keyd_adopt_reply reply;
    uint8_t mac[16], whole[32];
    struct p11_token token;
    struct p11_keys keys;
    CK_OBJECT_HANDLE own = CK_INVALID_HANDLE;

    adopt(&row, 1, &reply);
    must_be_adopted(&key, &reply);
    ck_assert_int_eq(p11_lock(keyd_test_hsm.lock_file, &lock), 0);
    ck_assert_int_eq(p11_token_open(&token, keyd_test_hsm.uri, false, lock), 0);
    ck_assert_int_eq(p11_keys_find(&token, &keys), 0);
    ck_assert_int_eq(p11_hmac(&token, p11_store_version_find(&keys.tag, 1)->handle, input,
                         sizeof(input) - 1, whole),
        0);
    ck_assert_int_eq(p11_create_hmac(&token, whole, sizeof(whole), &own), 0);
    check_mac(&key, mac);
    ck_assert_int_eq(p11_hmac(&token, own, mac, sizeof(mac), whole), 0);
    p11_token_close(&token);
    ck_assert_mem_eq(reply.fingerprint, whole, KEYD_FINGERPRINT_LEN);
}
END_TEST

static unsigned calls(enum p11_fault_function function)
{
    return atomic_load(&control->calls[function]);
}

static unsigned n_made(void)
{
    return calls(P11_FAULT_C_CreateObject) + calls(P11_FAULT_C_UnwrapKey);
}

/* Whatever is opened, for a good row or a bad one, is destroyed again. */
START_TEST(no_row_leaves_an_object_behind)
{
    const struct secret_key key = new_key();
    struct keyd_adopt_request rows[] = {clear_row(1, &key), wrapped_row(2, &key),
        sealed_row(3, key.bytes, AES_KEY_LEN), wrapped_row(4, &key),
        sealed_row(5, key.bytes, AES_KEY_LEN), sealed_row(6, transport_clear, TRANSPORT_LEN)};
    static const unsigned refused_opens[] = {0, 0, 0, 2, 2, 0};
    enum { N = sizeof(rows) / sizeof(rows[0]) };
    struct keyd_adopt_reply reply;

    rows[3].wrapped[0] ^= 1;
    rows[4].sealed[9] ^= 1;
    adopt(rows, 2, (struct keyd_adopt_reply[2]){0}); /* opens what stays: KEK, fingerprint key */
    for (size_t i = 0; i < N; i++) {
        const unsigned made = n_made(), destroyed = calls(P11_FAULT_C_DestroyObject);

        adopt(&rows[i], 1, &reply);
        ck_assert_int_eq(reply.status, i < 3 ? KEYD_OK : KEYD_BAD_INPUT);
        ck_assert_uint_gt(n_made(), made);
        ck_assert_msg(
            n_made() - made - refused_opens[i] == calls(P11_FAULT_C_DestroyObject) - destroyed,
            "row %zu: %u made, %u destroyed", i, n_made() - made,
            calls(P11_FAULT_C_DestroyObject) - destroyed);
    }
}
END_TEST

/* A token that opens nothing any more is not a file full of bad rows. */
START_TEST(a_sick_token_is_not_taken_for_a_bad_row)
{
    const struct secret_key key = new_key();
    struct keyd_adopt_request rows[] = {
        wrapped_row(1, &key), sealed_row(2, key.bytes, AES_KEY_LEN), wrapped_row(3, &key)};
    struct keyd_adopt_reply replies[3];

    rows[2].wrapped[0] ^= 1;
    adopt(rows, 1, replies); /* opens the KEK */
    keyd_fault_arm(control, P11_FAULT_C_UnwrapKey, 1, 1000, CKR_GENERAL_ERROR);
    adopt(rows, 3, replies);
    keyd_fault_disarm(control);
    for (size_t i = 0; i < 3; i++)
        must_be_refused(KEYD_HSM_FAILED, &replies[i]);
    adopt(rows, 3, replies);
    must_be_adopted(&key, &replies[0]);
    must_be_adopted(&key, &replies[1]);
    must_be_refused(KEYD_BAD_INPUT, &replies[2]);
    /* One that fails once costs nothing. */
    keyd_fault_arm(control, P11_FAULT_C_UnwrapKey, 1, 1, CKR_GENERAL_ERROR);
    adopt(rows, 1, replies);
    must_be_adopted(&key, &replies[0]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_key_is_the_same_key_in_whatever_form_it_comes,
        a_device_joins_with_a_key_that_came_wrapped_or_sealed,
        bad_rows_cost_neither_their_neighbours_nor_the_key_process,
        a_key_opens_only_under_a_good_transport_kek,
        a_fingerprint_is_what_it_is_said_to_be,
        no_row_leaves_an_object_behind,
        a_sick_token_is_not_taken_for_a_bad_row,
    };

    return keyd_test_main("keyd-adopt", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
