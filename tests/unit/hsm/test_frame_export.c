/* Frames of keys that are sealed to a public key: what was encoded decodes to the same, and nothing
 * else decodes. */
#include "hsm/frame.h"

#include "tests/support/suite.h"
#include <string.h>

#define HEADER 16 /* bytes of a request's */

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

#define EXPORT_KEY HEADER
#define EXPORT_EXPONENT (EXPORT_KEY + 2 + KEYD_EXPORT_RSA_MAX)
#define EXPORT_ITEM (EXPORT_EXPONENT + 1 + KEYD_RSA_EXPONENT_MAX)

static struct keyd_export_message sample_export(uint16_t modulus_len)
{
    struct keyd_export_message m = {
        .to = {.modulus_len = modulus_len, .exponent_len = 3, .exponent = {1, 0, 1}}};

    memset(m.to.modulus, 0xC1, modulus_len);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        m.items[i] = (struct keyd_export_request){.dev_eui = {{1, 2, 3, 4, 5, 6, 7, (uint8_t)i}},
            .join_eui = {{8, 7, 6, 5, 4, 3, 2, 1}},
            .slot = i % 2 == 0 ? KEY_SLOT_APP : KEY_SLOT_NWK,
            .key = sample_key("store-device.1", 24)};
    return m;
}

START_TEST(keys_to_export_come_back_with_their_public_key)
{
    static struct keyd_reply got;
    size_t len = 0;

    for (uint16_t n = KEYD_RSA_MIN; n <= KEYD_EXPORT_RSA_MAX; n += 128) {
        const struct keyd_export_message m = sample_export(n);

        ck_assert_int_eq(
            keyd_request_encode(KEYD_VERB_EXPORT_KEY, 9, NULL, 0, &m, KEYD_BATCH_MAX, frame, &len),
            0);
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        ck_assert_uint_eq(request.export.to.modulus_len, n);
        ck_assert_mem_eq(request.export.to.modulus, m.to.modulus, KEYD_EXPORT_RSA_MAX);
        ck_assert_uint_eq(request.export.to.exponent_len, 3);
        ck_assert_mem_eq(request.export.to.exponent, m.to.exponent, KEYD_RSA_EXPONENT_MAX);
        for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
            ck_assert_uint_eq(request.export.items[i].dev_eui.bytes[7], i);
            ck_assert_int_eq(request.export.items[i].slot, m.items[i].slot);
            ck_assert_mem_eq(request.export.items[i].key.tag, m.items[i].key.tag, SEALED_TAG_LEN);
        }
        ck_assert_int_lt(keyd_request_decode(frame, len - 1, &request), 0);
    }
    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_EXPORT_KEY;
    reply.n_items = KEYD_BATCH_MAX;
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        reply.exports[i].len = i % 2 == 0 ? KEYD_EXPORT_RSA_MAX : KEYD_RSA_MIN;
        memset(reply.exports[i].text, 0x44, KEYD_EXPORT_RSA_MAX);
    }
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
    ck_assert_uint_eq(got.exports[0].text[KEYD_EXPORT_RSA_MAX - 1], 0x44);
    ck_assert_uint_eq(got.exports[1].text[KEYD_RSA_MIN - 1], 0x44);
    ck_assert_uint_eq(got.exports[1].text[KEYD_RSA_MIN], 0);
    frame[len - 1] = 1;
    ck_assert_int_lt(keyd_reply_decode(frame, len, &got), 0);
    reply.exports[3].len = KEYD_RSA_MIN - 1;
    ck_assert_int_lt(keyd_reply_encode(&reply, frame, &len), 0);
}
END_TEST

START_TEST(a_weak_or_odd_looking_public_key_is_refused)
{
    static const struct {
        const char *what;
        size_t offset;
        uint8_t value;
    } cases[] = {
        {"another length", EXPORT_KEY, 0},
        {"longer than any", EXPORT_KEY, 3},
        {"2047 bits", EXPORT_KEY + 2, 0x7F},
        {"a leading zero", EXPORT_KEY + 2, 0},
        {"an even modulus", EXPORT_KEY + 2 + KEYD_RSA_MIN - 1, 2},
        {"bytes behind the modulus", EXPORT_KEY + 2 + KEYD_RSA_MIN, 1},
        {"no exponent", EXPORT_EXPONENT, 0},
        {"an exponent of 9 bytes", EXPORT_EXPONENT, 9},
        {"a leading zero of the exponent", EXPORT_EXPONENT + 1, 0},
        {"an even exponent", EXPORT_EXPONENT + 3, 2},
        {"bytes behind the exponent", EXPORT_EXPONENT + 4, 1},
        {"slot", EXPORT_ITEM + 16, 3},
        {"blob length", EXPORT_ITEM + 17 + 32, 25},
    };
    struct keyd_export_message m = sample_export(KEYD_RSA_MIN);
    size_t len = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(
            keyd_request_encode(KEYD_VERB_EXPORT_KEY, 9, NULL, 0, &m, 1, frame, &len), 0);
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        frame[cases[i].offset] = cases[i].value;
        ck_assert_msg(keyd_request_decode(frame, len, &request) < 0, "%s", cases[i].what);
    }
    m.to.exponent_len = 1; /* everything would leave in clear */
    ck_assert(!keyd_public_key_valid(&m.to, KEYD_EXPORT_RSA_MAX));
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_EXPORT_KEY, 9, NULL, 0, &m, 1, frame, &len), 0);
    m.to.exponent[0] = 3;
    ck_assert(keyd_public_key_valid(&m.to, KEYD_EXPORT_RSA_MAX));
}
END_TEST

/* Of the item of making a KEK. */
#define MAKE_EXPONENT (HEADER + 2 + KEYD_RSA_MAX)
#define MAKE_LENGTH (MAKE_EXPONENT + 1 + KEYD_RSA_EXPONENT_MAX)
#define MAKE_PEER_KIND (MAKE_LENGTH + 1)
#define MAKE_CLASS (MAKE_PEER_KIND + 1 + PEER_ID_MAX + 1)

static struct keyd_make_kek_request sample_make(uint16_t modulus_len, uint8_t key_len)
{
    struct keyd_make_kek_request q = {.key_len = key_len,
        .kek = {.peer_kind = PEER_NETWORK_SERVER,
            .peer_id = "000013",
            .kek_class = KEK_CLASS_NS,
            .label = "ns-000013"},
        .to = {.modulus_len = modulus_len, .exponent_len = 3, .exponent = {1, 0, 1}}};

    memset(q.to.modulus, 0xC1, modulus_len);
    return q;
}

static int encode_make(const struct keyd_make_kek_request *q, size_t *ret_len)
{
    return keyd_request_encode(KEYD_VERB_MAKE_KEK, 4, NULL, 0, q, 1, frame, ret_len);
}

START_TEST(a_kek_to_make_comes_back_with_its_public_key_and_name)
{
    static const uint8_t lengths[] = {16, 24, 32};
    size_t len = 0;

    for (uint16_t n = KEYD_RSA_MIN; n <= KEYD_RSA_MAX; n += 128) {
        const struct keyd_make_kek_request q = sample_make(n, lengths[n / 128 % 3]);

        ck_assert_int_eq(encode_make(&q, &len), 0);
        memset(&request, 0x5A, sizeof(request));
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        ck_assert_int_eq(request.verb, KEYD_VERB_MAKE_KEK);
        ck_assert_uint_eq(request.make_kek.to.modulus_len, n);
        ck_assert_mem_eq(request.make_kek.to.modulus, q.to.modulus, KEYD_RSA_MAX);
        ck_assert_mem_eq(request.make_kek.to.exponent, q.to.exponent, KEYD_RSA_EXPONENT_MAX);
        ck_assert_uint_eq(request.make_kek.key_len, q.key_len);
        ck_assert_str_eq(request.make_kek.kek.label, q.kek.label);
        ck_assert_str_eq(request.make_kek.kek.peer_id, q.kek.peer_id);
        ck_assert_uint_eq(request.make_kek.kek.key.blob_len, 0);
        ck_assert_int_lt(keyd_request_decode(frame, len - 1, &request), 0);
        ck_assert_int_lt(
            keyd_request_encode(KEYD_VERB_MAKE_KEK, 4, NULL, 0, &q, 2, frame, &len), 0);
    }
}
END_TEST

START_TEST(a_kek_to_make_that_cannot_be_is_refused)
{
    static const struct {
        const char *what;
        size_t offset;
        uint8_t value;
    } cases[] = {
        {"another length of the modulus", HEADER, 2},
        {"longer than any", HEADER, 5},
        {"2047 bits", HEADER + 2, 0x7F},
        {"an even modulus", HEADER + 2 + KEYD_RSA_MIN - 1, 2},
        {"bytes behind the modulus", HEADER + 2 + KEYD_RSA_MIN, 1},
        {"no exponent", MAKE_EXPONENT, 0},
        {"an even exponent", MAKE_EXPONENT + 3, 2},
        {"bytes behind the exponent", MAKE_EXPONENT + 4, 1},
        {"no key", MAKE_LENGTH, 0},
        {"a key of 17 bytes", MAKE_LENGTH, 17},
        {"a key of 40 bytes", MAKE_LENGTH, 40},
        {"no kind of peer", MAKE_PEER_KIND, 0},
        {"an unknown kind of peer", MAKE_PEER_KIND, PEER_ORGANIZATION + 1},
        {"an unknown class", MAKE_CLASS, KEK_CLASS_TRANSPORT + 1},
        {"no label", MAKE_CLASS + 1, 0},
    };
    const struct keyd_make_kek_request good = sample_make(KEYD_RSA_MIN, 16);
    struct keyd_make_kek_request wrong = good;
    size_t len = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(encode_make(&good, &len), 0);
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        frame[cases[i].offset] = cases[i].value;
        ck_assert_msg(keyd_request_decode(frame, len, &request) < 0, "%s", cases[i].what);
    }
    wrong.key_len = 20;
    ck_assert_int_lt(encode_make(&wrong, &len), 0);
    wrong = good;
    wrong.to.exponent_len = 1;
    ck_assert_int_lt(encode_make(&wrong, &len), 0);
    wrong = good;
    wrong.kek.label[0] = '\0';
    ck_assert_int_lt(encode_make(&wrong, &len), 0);
}
END_TEST

START_TEST(a_made_kek_comes_back_with_both_of_its_forms_or_none)
{
    static struct keyd_reply got;
    size_t len = 0;

    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_MAKE_KEK;
    reply.n_items = 1;
    reply.make_kek.sealed = sample_key("store-kek.1", 40);
    memset(reply.make_kek.made.kcv, 0x66, KEYD_KCV_LEN);
    memset(reply.make_kek.made.text, 0x44, KEYD_RSA_MAX);
    ck_assert_int_lt(keyd_reply_encode(&reply, frame, &len), 0); /* no text */
    reply.make_kek.made.len = KEYD_RSA_MIN - 1;
    ck_assert_int_lt(keyd_reply_encode(&reply, frame, &len), 0);
    reply.make_kek.made.len = KEYD_RSA_MIN + 1;
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    memset(&got, 0x5A, sizeof(got));
    ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
    ck_assert_uint_eq(got.make_kek.sealed.blob_len, 40);
    ck_assert_mem_eq(got.make_kek.sealed.tag, reply.make_kek.sealed.tag, SEALED_TAG_LEN);
    ck_assert_mem_eq(got.make_kek.made.kcv, reply.make_kek.made.kcv, KEYD_KCV_LEN);
    ck_assert_uint_eq(got.make_kek.made.len, KEYD_RSA_MIN + 1);
    ck_assert_uint_eq(got.make_kek.made.text[KEYD_RSA_MIN], 0x44);
    ck_assert_uint_eq(got.make_kek.made.text[KEYD_RSA_MIN + 1], 0);
    ck_assert(!keyd_reply_holds_secrets(&got));
    frame[len - 1] = 1; /* behind the text */
    ck_assert_int_lt(keyd_reply_decode(frame, len, &got), 0);
    reply.make_kek.status = KEYD_HSM_FAILED; /* a text of no key */
    ck_assert_int_lt(keyd_reply_encode(&reply, frame, &len), 0);
    reply.make_kek.made.len = 0;
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
    ck_assert_uint_eq(got.make_kek.sealed.blob_len, 0);
    ck_assert_uint_eq(got.make_kek.made.text[0], 0);
}
END_TEST

SUITE_MAIN("hsm-frame_export", 10, keys_to_export_come_back_with_their_public_key,
    a_weak_or_odd_looking_public_key_is_refused,
    a_kek_to_make_comes_back_with_its_public_key_and_name, a_kek_to_make_that_cannot_be_is_refused,
    a_made_kek_comes_back_with_both_of_its_forms_or_none)
