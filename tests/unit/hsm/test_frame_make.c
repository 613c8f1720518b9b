/* Frames of root keys that are made, of deliveries' keys and of statements: what was encoded
 * decodes to the same, and nothing else decodes. */
#include "hsm/frame.h"

#include "tests/support/suite.h"
#include <string.h>

#define HEADER 16 /* bytes of a request's */

/* Of the first item of a request with one KEK. */
#define KEK_LEN                                                                                    \
    (1 + PEER_ID_MAX + 1 + 1 + KEK_LABEL_MAX + 1 + SEALED_LABEL_MAX + 1 + 1 + SEALED_BLOB_MAX +    \
        SEALED_TAG_LEN + 2)
#define MAKE_SLOT (HEADER + KEK_LEN + 16)
#define MAKE_SIGFOX (MAKE_SLOT + 1)
#define MAKE_FORM (MAKE_SIGFOX + 1)
#define MAKE_KEK (MAKE_FORM + 1)

static struct keyd_request request;
static struct keyd_reply reply;
static uint8_t frame[KEYD_FRAME_MAX];

static struct sealed_key sample_key(const char *label, uint8_t blob_len)
{
    struct sealed_key key = {.blob_len = blob_len, .tag_version = 0x0102};

    memcpy(key.kek_label, label, strlen(label));
    memset(key.blob, 0xA5, blob_len);
    memset(key.tag, 0x5A, sizeof(key.tag));
    return key;
}

static struct sealed_kek sample_kek(void)
{
    return (struct sealed_kek){.peer_kind = PEER_ORGANIZATION,
        .peer_id = "00112233445566778899aabbccddeeff",
        .kek_class = KEK_CLASS_TRANSPORT,
        .label = "order-1",
        .key = sample_key("store-kek.1", 40)};
}

static struct keyd_make_request sample_item(size_t i, size_t n_keks)
{
    return (struct keyd_make_request){.dev_eui = {{1, 2, 3, 4, 5, 6, 7, (uint8_t)i}},
        .join_eui = {{8, 7, 6, 5, 4, 3, 2, 1}},
        .slot = i % 2 == 0 ? KEY_SLOT_APP : KEY_SLOT_NWK,
        .is_sigfox = i % 3 == 0,
        .form = i % 5 == 0 ? KEYD_MADE_RECORD : KEYD_MADE_WRAPPED,
        .transport_kek = (uint8_t)(i % n_keks)};
}

START_TEST(a_key_to_make_comes_back_as_it_was)
{
    static struct keyd_make_request items[KEYD_BATCH_MAX];
    static const struct sealed_kek *keks[KEYD_KEKS_MAX];
    const struct sealed_kek kek = sample_kek();
    size_t len = 0;

    for (size_t i = 0; i < KEYD_KEKS_MAX; i++)
        keks[i] = &kek;
    for (size_t n_keks = 1; n_keks <= KEYD_KEKS_MAX; n_keks += 127) {
        for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
            items[i] = sample_item(i, n_keks);
        ck_assert_int_eq(keyd_request_encode(KEYD_VERB_MAKE_KEY, 9, keks, n_keks, items,
                             KEYD_BATCH_MAX, frame, &len),
            0);
        memset(&request, 0x5A, sizeof(request));
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        ck_assert_uint_eq(request.n_keks, n_keks);
        ck_assert_uint_eq(request.n_items, KEYD_BATCH_MAX);
        for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
            const struct keyd_make_request *got = &request.makes[i];

            ck_assert_mem_eq(&got->dev_eui, &items[i].dev_eui, sizeof(got->dev_eui));
            ck_assert_mem_eq(&got->join_eui, &items[i].join_eui, sizeof(got->join_eui));
            ck_assert_int_eq(got->slot, items[i].slot);
            ck_assert_int_eq(got->is_sigfox, items[i].is_sigfox);
            ck_assert_int_eq(got->form, items[i].form);
            ck_assert_uint_eq(got->transport_kek, items[i].transport_kek);
        }
        ck_assert_int_lt(keyd_request_decode(frame, len - 1, &request), 0);
        ck_assert_int_lt(keyd_request_decode(frame, len + 1, &request), 0);
    }
}
END_TEST

START_TEST(a_key_to_make_that_cannot_be_is_refused)
{
    static const struct {
        const char *what;
        size_t offset;
        uint8_t value;
    } cases[] = {
        {"no slot", MAKE_SLOT, 0},
        {"an unknown slot", MAKE_SLOT, KEY_SLOT_NWK + 1},
        {"neither Sigfox nor not", MAKE_SIGFOX, 2},
        {"an unknown form", MAKE_FORM, KEYD_MADE_RECORD + 1},
        {"a KEK that is not there", MAKE_KEK, 1},
        {"no KEK", MAKE_KEK, KEYD_NO_KEK},
        {"in clear", MAKE_KEK, KEYD_PLAIN},
    };
    const struct sealed_kek kek = sample_kek();
    const struct sealed_kek *const keks[] = {&kek};
    const struct keyd_make_request good = sample_item(0, 1);
    size_t len = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(
            keyd_request_encode(KEYD_VERB_MAKE_KEY, 9, keks, 1, &good, 1, frame, &len), 0);
        ck_assert_uint_eq(len, MAKE_KEK + 1);
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        frame[cases[i].offset] = cases[i].value;
        ck_assert_msg(keyd_request_decode(frame, len, &request) < 0, "%s", cases[i].what);
    }
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_MAKE_KEY, 9, NULL, 0, &good, 1, frame, &len), 0);
}
END_TEST

START_TEST(a_made_key_comes_back_whole_or_not_at_all)
{
    static struct keyd_reply got;
    const uint8_t zeros[KEYD_WRAPPED_LEN + sizeof(struct keyd_record)] = {0};
    struct keyd_make_reply *a = &reply.makes[KEYD_BATCH_MAX - 1];
    size_t len = 0;

    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_MAKE_KEY;
    reply.n_items = KEYD_BATCH_MAX;
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        reply.makes[i].sealed = sample_key("store-device.1", 24);
        memset(reply.makes[i].kcv, 0x66, KEYD_KCV_LEN);
        memset(reply.makes[i].fingerprint, 0x77, KEYD_FINGERPRINT_LEN);
        memset(reply.makes[i].wrapped, 0x11, KEYD_WRAPPED_LEN);
        memset(&reply.makes[i].record, 0x22, sizeof(struct keyd_record));
    }
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    memset(&got, 0x5A, sizeof(got));
    ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
    ck_assert_uint_eq(got.makes[KEYD_BATCH_MAX - 1].sealed.blob_len, 24);
    ck_assert_mem_eq(got.makes[KEYD_BATCH_MAX - 1].kcv, a->kcv, KEYD_KCV_LEN);
    ck_assert_mem_eq(
        got.makes[KEYD_BATCH_MAX - 1].fingerprint, a->fingerprint, KEYD_FINGERPRINT_LEN);
    ck_assert_mem_eq(got.makes[KEYD_BATCH_MAX - 1].wrapped, a->wrapped, KEYD_WRAPPED_LEN);
    ck_assert_mem_eq(&got.makes[KEYD_BATCH_MAX - 1].record, &a->record, sizeof(a->record));
    ck_assert(!keyd_reply_holds_secrets(&got)); /* nothing of it is in clear */
    a->status = KEYD_BAD_INPUT;
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
    ck_assert_uint_eq(got.makes[KEYD_BATCH_MAX - 1].sealed.blob_len, 0);
    ck_assert_mem_eq(got.makes[KEYD_BATCH_MAX - 1].wrapped, zeros, KEYD_WRAPPED_LEN);
    ck_assert_mem_eq(&got.makes[KEYD_BATCH_MAX - 1].record, zeros, sizeof(struct keyd_record));
    frame[len - 1] = 1; /* of a key that there is not */
    ck_assert_int_lt(keyd_reply_decode(frame, len, &got), 0);
}
END_TEST

START_TEST(a_deliverys_key_is_asked_for_by_its_batch_and_is_a_secret)
{
    struct keyd_delivery_request q = {.batch = {1, 2, 3, [15] = 16}, .version = 9999};
    size_t len = 0;

    ck_assert_int_eq(
        keyd_request_encode(KEYD_VERB_DELIVERY_KEY, 1, NULL, 0, &q, 1, frame, &len), 0);
    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    ck_assert_mem_eq(request.delivery.batch, q.batch, sizeof(q.batch));
    ck_assert_uint_eq(request.delivery.version, q.version);
    ck_assert_int_lt(keyd_request_decode(frame, len - 1, &request), 0);
    ck_assert_int_lt(
        keyd_request_encode(KEYD_VERB_DELIVERY_KEY, 1, NULL, 0, &q, 2, frame, &len), 0);
    q.version = 10000;
    ck_assert_int_lt(
        keyd_request_encode(KEYD_VERB_DELIVERY_KEY, 1, NULL, 0, &q, 1, frame, &len), 0);
    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_DELIVERY_KEY;
    reply.n_items = 1;
    ck_assert(keyd_reply_holds_secrets(&reply));
}
END_TEST

START_TEST(a_statement_to_sign_has_a_type)
{
    static struct keyd_custody_request q = {.len = 4, .document = "{12}"};
    size_t len = 0;

    for (int type = 0; type <= CUSTODY_TYPE_LAST + 1; type++) {
        const bool is_one = type >= CUSTODY_OF_DEVICE && type <= CUSTODY_TYPE_LAST;

        q.type = (enum custody_type)type;
        ck_assert_int_eq(
            keyd_request_encode(KEYD_VERB_SIGN_CUSTODY, 1, NULL, 0, &q, 1, frame, &len) == 0,
            is_one);
        if (!is_one)
            continue;
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        ck_assert_int_eq(request.custody.type, type);
        ck_assert_uint_eq(request.custody.len, 4);
        frame[HEADER] = 0;
        ck_assert_int_lt(keyd_request_decode(frame, len, &request), 0);
        frame[HEADER] = CUSTODY_TYPE_LAST + 1;
        ck_assert_int_lt(keyd_request_decode(frame, len, &request), 0);
    }
}
END_TEST

SUITE_MAIN("hsm-frame_make", 10, a_key_to_make_comes_back_as_it_was,
    a_key_to_make_that_cannot_be_is_refused, a_made_key_comes_back_whole_or_not_at_all,
    a_deliverys_key_is_asked_for_by_its_batch_and_is_a_secret, a_statement_to_sign_has_a_type)
