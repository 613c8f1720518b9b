/* Frames: what was encoded decodes to the same, and nothing else decodes. */
#include "hsm/frame.h"

#include "tests/support/suite.h"
#include <string.h>

static struct keyd_request request;
static struct keyd_reply reply;
static uint8_t frame[KEYD_FRAME_MAX];

static struct sealed_key sample_key(const char *label, uint8_t blob_len)
{
    struct sealed_key key = {.blob_len = blob_len, .tag_version = 2};

    memcpy(key.kek_label, label, strlen(label));
    memset(key.blob, 0xA5, blob_len);
    memset(key.tag, 0x5A, sizeof(key.tag));
    return key;
}

static struct sealed_kek sample_kek(void)
{
    return (struct sealed_kek){.peer_kind = PEER_NETWORK_SERVER,
        .peer_id = "000013",
        .kek_class = KEK_CLASS_NS,
        .label = "ns-000013",
        .key = sample_key("store-kek.1", 24)};
}

static struct keyd_join_request sample_join(void)
{
    return (struct keyd_join_request){.dev_eui = {{1, 2, 3, 4, 5, 6, 7, 8}},
        .join_eui = {{8, 7, 6, 5, 4, 3, 2, 1}},
        .has_air_join_eui = true,
        .air_join_eui = {{9, 9, 9, 9, 9, 9, 9, 1}},
        .app = sample_key("store-device.1", 24),
        .has_nwk = true,
        .nwk = sample_key("store-device.2", 24),
        .frame = {0xC0, 0x00, 0x22, [LW_REJOIN_LEN_0_2 - 1] = 0x77},
        .frame_len = LW_REJOIN_LEN_0_2,
        .sessions = {{.present = true, .plan = true, .join_nonce = 0xFFFFFF, .nonce = 0xABCD}},
        .plan = true,
        .accept = {.join_nonce = 0xFFFFFF,
            .net_id = {{0, 0, 0x13}},
            .dev_addr = {{1, 2, 3, 4}},
            .dl_settings = 0x80,
            .rx_delay = 1,
            .has_cf_list = true,
            .cf_list = {9, 8, 7}},
        .ns_kek = 0,
        .as_kek = KEYD_PLAIN};
}

static size_t encode_joins(size_t n_keks, size_t n)
{
    static struct keyd_join_request joins[KEYD_BATCH_MAX];
    static struct sealed_kek kek;
    const struct sealed_kek *keks[KEYD_KEKS_MAX];
    size_t len = 0;

    kek = sample_kek();
    for (size_t i = 0; i < n_keks; i++)
        keks[i] = &kek;
    for (size_t i = 0; i < n; i++)
        joins[i] = sample_join();
    ck_assert_int_eq(
        keyd_request_encode(KEYD_VERB_JOIN, 77, keks, n_keks, joins, n, frame, &len), 0);
    return len;
}

START_TEST(a_join_request_comes_back_as_it_was)
{
    const struct keyd_join_request expected = sample_join();
    const struct sealed_kek kek = sample_kek();
    const size_t len = encode_joins(2, 3);

    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    ck_assert_int_eq(request.verb, KEYD_VERB_JOIN);
    ck_assert_uint_eq(request.sequence, 77);
    ck_assert_uint_eq(request.n_keks, 2);
    ck_assert_uint_eq(request.n_items, 3);
    ck_assert_str_eq(request.keks[1].label, kek.label);
    ck_assert_mem_eq(request.keks[1].key.tag, kek.key.tag, SEALED_TAG_LEN);
    ck_assert_str_eq(request.joins[2].nwk.kek_label, "store-device.2");
    ck_assert_mem_eq(request.joins[2].frame, expected.frame, sizeof(expected.frame));
    ck_assert(request.joins[2].has_air_join_eui);
    ck_assert_mem_eq(&request.joins[2].air_join_eui, &expected.air_join_eui, sizeof(struct eui64));
    ck_assert_mem_eq(request.joins[2].accept.cf_list, expected.accept.cf_list, LW_CF_LIST_LEN);
    ck_assert_uint_eq(request.joins[2].accept.join_nonce, 0xFFFFFF);
    ck_assert_uint_eq(request.joins[2].as_kek, KEYD_PLAIN);
    ck_assert_uint_eq(request.joins[2].frame_len, LW_REJOIN_LEN_0_2);
    ck_assert(request.joins[2].sessions[0].present && request.joins[2].sessions[0].plan);
    ck_assert_uint_eq(request.joins[2].sessions[0].join_nonce, 0xFFFFFF);
    ck_assert_uint_eq(request.joins[2].sessions[0].nonce, 0xABCD);
    ck_assert(!request.joins[2].sessions[1].present);
}
END_TEST

START_TEST(what_is_not_of_the_frame_is_not_sent)
{
    static const uint8_t lengths[] = {LW_JOIN_REQUEST_LEN, LW_REJOIN_LEN_0_2, LW_REJOIN_LEN_1};

    for (size_t i = 0; i < sizeof(lengths); i++) {
        struct keyd_join_request join = sample_join();
        size_t len = 0;

        memset(join.frame, 0x5A, sizeof(join.frame)); /* whatever stands behind the frame */
        join.frame_len = lengths[i];
        join.sessions[1] = (struct keyd_session){.plan = true, .join_nonce = UINT32_MAX};
        join.explain = true;
        join.ns_kek = KEYD_NO_KEK;
        ck_assert_int_eq(keyd_request_encode(KEYD_VERB_JOIN, 1, NULL, 0, &join, 1, frame, &len), 0);
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        ck_assert_uint_eq(request.joins[0].frame_len, lengths[i]);
        for (size_t at = 0; at < LW_REJOIN_MAX; at++)
            ck_assert_uint_eq(request.joins[0].frame[at], at < lengths[i] ? 0x5A : 0);
        ck_assert_int_eq(request.joins[0].sessions[0].present, lengths[i] == LW_REJOIN_LEN_0_2);
        ck_assert(!request.joins[0].sessions[1].plan);
        ck_assert_int_eq(request.joins[0].explain, lengths[i] == LW_JOIN_REQUEST_LEN);
        ck_assert_uint_eq(request.joins[0].sessions[1].join_nonce, 0);
    }
}
END_TEST

START_TEST(without_a_plan_nothing_of_it_is_sent)
{
    struct keyd_join_request join = sample_join();
    size_t len = 0;

    join.plan = false;
    join.ns_kek = 99; /* whatever the caller left there */
    join.accept.join_nonce = UINT32_MAX;
    ck_assert_int_eq(keyd_request_encode(KEYD_VERB_JOIN, 1, NULL, 0, &join, 1, frame, &len), 0);
    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    ck_assert_uint_eq(request.joins[0].ns_kek, KEYD_NO_KEK);
    ck_assert_uint_eq(request.joins[0].accept.join_nonce, 0);
    frame[len - 1] = 0;
    ck_assert_int_lt(keyd_request_decode(frame, len, &request), 0);
}
END_TEST

START_TEST(the_greatest_request_fits)
{
    const size_t len = encode_joins(KEYD_KEKS_MAX, KEYD_BATCH_MAX);

    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
}
END_TEST

START_TEST(every_other_length_is_refused)
{
    const size_t len = encode_joins(1, 1);

    for (size_t short_len = 0; short_len < len; short_len++)
        ck_assert_int_lt(keyd_request_decode(frame, short_len, &request), 0);
    ck_assert_int_lt(keyd_request_decode(frame, len + 1, &request), 0);
}
END_TEST

/* Offsets of an item when there is one KEK. */
#define HEADER 16
#define KEK (HEADER)
#define KEK_WIRE (1 + 65 + 1 + 65 + 107)
#define ITEM (HEADER + KEK_WIRE)
#define EUIS (16 + 1 + 8)
#define AIR_FRAME (ITEM + EUIS + 107 + 1 + 107)
#define SESSIONS (AIR_FRAME + 1 + 24)
#define SESSION_WIRE 8
#define EXPLAIN (SESSIONS + KEYD_SESSIONS_MAX * SESSION_WIRE)
#define PLAN (EXPLAIN + 1)

START_TEST(a_field_out_of_range_is_refused)
{
    static const struct {
        const char *what;
        size_t offset;
        uint8_t value;
    } cases[] = {
        {"magic", 0, 'X'},
        {"verb 0", 4, 0},
        {"unknown verb", 4, KEYD_N_VERBS + 1},
        {"more KEKs than are there", 5, 2},
        {"too many KEKs", 5, 129},
        {"no item", 6, 0},
        {"too many items", 6, 65},
        {"padding", 7, 1},
        {"length", 15, 0},
        {"peer kind", KEK, 4},
        {"peer kind 0", KEK, 0},
        {"empty peer id", KEK + 1, 0},
        {"control character in a label", KEK + 2, 0x1F},
        {"8-bit character in a label", KEK + 2, 0x80},
        {"text after the end of a label", KEK + 1 + 64, 'x'},
        {"class", KEK + 66, 4},
        {"blob length", KEK + 132 + 32, 25},
        {"blob padding", KEK + 132 + 33 + 39, 1},
        {"tag of version 0", KEK + 132 + 107 - 2 + 1, 0},
        {"tag of a version that cannot be", KEK + 132 + 107 - 2, 0x28},
        {"has another JoinEUI", ITEM + 16, 2},
        {"absent JoinEUI that is not empty", ITEM + 16, 0},
        {"has_nwk", ITEM + EUIS + 107, 2},
        {"absent NwkKey that is not empty", ITEM + EUIS + 107, 0},
        {"no frame", AIR_FRAME, 0},
        {"frame of 20 bytes", AIR_FRAME, 20},
        {"frame longer than any", AIR_FRAME, 25},
        {"text behind the frame", AIR_FRAME + 1 + LW_REJOIN_LEN_0_2, 1},
        {"text at the end behind the frame", AIR_FRAME + LW_REJOIN_MAX, 1},
        {"session of a Join-Request", AIR_FRAME, LW_JOIN_REQUEST_LEN},
        {"session of a rejoin of type 1", AIR_FRAME, LW_REJOIN_LEN_1},
        {"session that is present twice", SESSIONS, 2},
        {"absent session that is not empty", SESSIONS, 0},
        {"session's plan", SESSIONS + 1, 2},
        {"session's JoinNonce of 25 bits", SESSIONS + 2, 1},
        {"plan of an absent session", SESSIONS + SESSION_WIRE + 1, 1},
        {"nonce of an absent session", SESSIONS + SESSION_WIRE + 7, 1},
        {"a rejoin to be explained", EXPLAIN, 1},
        {"plan", PLAN, 2},
        {"JoinNonce of 25 bits", PLAN + 1, 1},
        {"has_cf_list", PLAN + 1 + 4 + 3 + 4 + 2, 2},
        {"NS KEK index", PLAN + 1 + 30, 1},
        {"AS KEK index", PLAN + 1 + 31, 0xFD},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const size_t len = encode_joins(1, 1);

        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        frame[cases[i].offset] = cases[i].value;
        ck_assert_msg(keyd_request_decode(frame, len, &request) < 0, "%s", cases[i].what);
    }
}
END_TEST

START_TEST(what_could_not_be_decoded_is_not_encoded)
{
    struct keyd_join_request join = sample_join();
    struct sealed_kek kek = sample_kek();
    const struct sealed_kek *keks[] = {&kek};
    size_t len = 0;

    join.ns_kek = 1;
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_JOIN, 1, keks, 1, &join, 1, frame, &len), 0);
    join = sample_join();
    join.accept.join_nonce = 0x1000000;
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_JOIN, 1, keks, 1, &join, 1, frame, &len), 0);
    join = sample_join();
    join.sessions[0].join_nonce = 0x1000000;
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_JOIN, 1, keks, 1, &join, 1, frame, &len), 0);
    join = sample_join();
    join.frame_len = 22;
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_JOIN, 1, keks, 1, &join, 1, frame, &len), 0);
    join = sample_join();
    memset(join.app.kek_label, 'x', sizeof(join.app.kek_label)); /* no NUL */
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_JOIN, 1, keks, 1, &join, 1, frame, &len), 0);
    join = sample_join();
    kek.kek_class = (enum kek_class)9;
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_JOIN, 1, keks, 1, &join, 1, frame, &len), 0);
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_JOIN, 1, keks, 0, &join, 0, frame, &len), 0);
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_SELF_TEST, 1, keks, 1, NULL, 1, frame, &len), 0);
}
END_TEST

START_TEST(an_app_s_key_request_comes_back_as_it_was)
{
    static const struct {
        const char *what;
        size_t offset;
        uint8_t value;
    } wrong[] = {
        {"two KEKs", 5, 2},
        {"two items", 6, 2},
        {"has another JoinEUI", ITEM + 16, 2},
        {"absent JoinEUI that is not empty", ITEM + 16, 0},
        {"has_nwk", ITEM + EUIS + 107, 2},
        {"absent NwkKey that is not empty", ITEM + EUIS + 107, 0},
        {"OptNeg", ITEM + EUIS + 107 + 1 + 107, 2},
        {"JoinNonce of 25 bits", ITEM + EUIS + 107 + 1 + 107 + 1, 1},
        {"KEK index", ITEM + EUIS + 107 + 1 + 107 + 1 + 4 + 2 + 3, 1},
    };
    struct keyd_app_s_key_request q = {.dev_eui = {{1, 2, 3, 4, 5, 6, 7, 8}},
        .join_eui = {{8, 7, 6, 5, 4, 3, 2, 1}},
        .has_air_join_eui = true,
        .air_join_eui = {{9, 9, 9, 9, 9, 9, 9, 1}},
        .app = sample_key("store-device.1", 24),
        .has_nwk = true,
        .nwk = sample_key("store-device.2", 24),
        .opt_neg = true,
        .join_nonce = 0xFFFFFF,
        .nonce = 0xABCD,
        .net_id = {{0, 0, 0x13}}};
    const struct sealed_kek kek = sample_kek();
    const struct sealed_kek *keks[] = {&kek};
    size_t len = 0;

    ck_assert_int_eq(keyd_request_encode(KEYD_VERB_APP_S_KEY, 3, keks, 1, &q, 1, frame, &len), 0);
    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    ck_assert_uint_eq(request.n_keks, 1);
    ck_assert_mem_eq(&request.app_s_key.dev_eui, &q.dev_eui, sizeof(q.dev_eui));
    ck_assert_mem_eq(&request.app_s_key.join_eui, &q.join_eui, sizeof(q.join_eui));
    ck_assert(request.app_s_key.has_air_join_eui);
    ck_assert_mem_eq(&request.app_s_key.air_join_eui, &q.air_join_eui, sizeof(q.air_join_eui));
    ck_assert_str_eq(request.app_s_key.nwk.kek_label, "store-device.2");
    ck_assert(request.app_s_key.opt_neg);
    ck_assert_uint_eq(request.app_s_key.join_nonce, 0xFFFFFF);
    ck_assert_uint_eq(request.app_s_key.nonce, 0xABCD);
    ck_assert_uint_eq(request.app_s_key.net_id.bytes[2], 0x13);
    ck_assert_uint_eq(request.app_s_key.as_kek, 0);
    ck_assert_int_lt(keyd_request_decode(frame, len - 1, &request), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const uint8_t good = frame[wrong[i].offset];

        frame[wrong[i].offset] = wrong[i].value;
        ck_assert_msg(keyd_request_decode(frame, len, &request) < 0, "%s", wrong[i].what);
        frame[wrong[i].offset] = good;
    }
    q.as_kek = KEYD_PLAIN; /* then no KEK is needed */
    ck_assert_int_eq(keyd_request_encode(KEYD_VERB_APP_S_KEY, 3, NULL, 0, &q, 1, frame, &len), 0);
    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    ck_assert_uint_eq(request.n_keks, 0);
    ck_assert_uint_eq(request.app_s_key.as_kek, KEYD_PLAIN);
    q.as_kek = 1;
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_APP_S_KEY, 3, keks, 1, &q, 1, frame, &len), 0);
    q.as_kek = 0;
    q.join_nonce = 0x1000000;
    ck_assert_int_lt(keyd_request_encode(KEYD_VERB_APP_S_KEY, 3, keks, 1, &q, 1, frame, &len), 0);
}
END_TEST

/* Of an item of adoption when there is one KEK. */
#define ADOPT_SLOT (ITEM + 16)
#define ADOPT_FORM (ADOPT_SLOT + 1)
#define ADOPT_KEK (ADOPT_FORM + 1)
#define ADOPT_TEXT (ADOPT_KEK + 1)

static struct keyd_adopt_request sample_adopt(enum keyd_key_form form)
{
    struct keyd_adopt_request q = {.dev_eui = {{1, 2, 3, 4, 5, 6, 7, 8}},
        .join_eui = {{8, 7, 6, 5, 4, 3, 2, 1}},
        .slot = KEY_SLOT_NWK,
        .form = form};

    memset(q.sealed, 0x5A, sizeof(q.sealed)); /* whatever stands behind a shorter text */
    return q;
}

static size_t encode_adopts(const struct keyd_adopt_request *items, size_t n)
{
    const struct sealed_kek kek = sample_kek();
    const struct sealed_kek *keks[] = {&kek};
    size_t len = 0;

    ck_assert_int_eq(
        keyd_request_encode(KEYD_VERB_ADOPT_KEY, 3, keks, 1, items, n, frame, &len), 0);
    return len;
}

START_TEST(a_key_to_adopt_comes_back_in_its_form)
{
    static const size_t lengths[] = {AES_KEY_LEN, KEYD_WRAPPED_LEN, KEYD_OAEP_LEN};
    const struct keyd_adopt_request items[] = {sample_adopt(KEYD_FORM_CLEAR),
        sample_adopt(KEYD_FORM_WRAPPED), sample_adopt(KEYD_FORM_SEALED)};
    const size_t len = encode_adopts(items, 3);

    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    for (size_t i = 0; i < 3; i++) {
        const struct keyd_adopt_request *q = &request.adopts[i];

        ck_assert_mem_eq(&q->dev_eui, &items[i].dev_eui, sizeof(q->dev_eui));
        ck_assert_mem_eq(&q->join_eui, &items[i].join_eui, sizeof(q->join_eui));
        ck_assert_int_eq(q->slot, KEY_SLOT_NWK);
        ck_assert_int_eq(q->form, items[i].form);
        ck_assert_uint_eq(q->transport_kek, q->form == KEYD_FORM_WRAPPED ? 0 : KEYD_NO_KEK);
        for (size_t at = 0; at < KEYD_OAEP_LEN; at++)
            ck_assert_uint_eq(q->sealed[at], at < lengths[i] ? 0x5A : 0);
    }
}
END_TEST

START_TEST(a_key_to_adopt_that_cannot_be_is_refused)
{
    static const struct {
        const char *what;
        enum keyd_key_form form;
        size_t offset;
        uint8_t value;
    } cases[] = {
        {"slot 0", KEYD_FORM_CLEAR, ADOPT_SLOT, 0},
        {"slot", KEYD_FORM_CLEAR, ADOPT_SLOT, 3},
        {"form", KEYD_FORM_SEALED, ADOPT_FORM, 3},
        {"KEK of a key in clear", KEYD_FORM_CLEAR, ADOPT_KEK, 0},
        {"KEK of a sealed key", KEYD_FORM_SEALED, ADOPT_KEK, 0},
        {"no KEK of a wrapped key", KEYD_FORM_WRAPPED, ADOPT_KEK, KEYD_NO_KEK},
        {"in clear under a KEK", KEYD_FORM_WRAPPED, ADOPT_KEK, KEYD_PLAIN},
        {"KEK beyond the last", KEYD_FORM_WRAPPED, ADOPT_KEK, 1},
        {"bytes behind a key in clear", KEYD_FORM_CLEAR, ADOPT_TEXT + AES_KEY_LEN, 1},
        {"bytes behind a wrapped key", KEYD_FORM_WRAPPED, ADOPT_TEXT + KEYD_OAEP_LEN - 1, 1},
    };
    struct keyd_adopt_request item;
    size_t len = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        item = sample_adopt(cases[i].form);
        len = encode_adopts(&item, 1);
        ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
        frame[cases[i].offset] = cases[i].value;
        ck_assert_msg(keyd_request_decode(frame, len, &request) < 0, "%s", cases[i].what);
    }
    item = sample_adopt((enum keyd_key_form)3);
    ck_assert_int_lt(
        keyd_request_encode(KEYD_VERB_ADOPT_KEY, 1, NULL, 0, &item, 1, frame, &len), 0);
    item = sample_adopt(KEYD_FORM_WRAPPED); /* there is no KEK 0 */
    ck_assert_int_lt(
        keyd_request_encode(KEYD_VERB_ADOPT_KEY, 1, NULL, 0, &item, 1, frame, &len), 0);
}
END_TEST

START_TEST(the_greatest_adoption_fits)
{
    static struct keyd_adopt_request items[KEYD_BATCH_MAX];
    const struct sealed_kek kek = sample_kek();
    const struct sealed_kek *keks[KEYD_KEKS_MAX];
    size_t len = 0;

    for (size_t i = 0; i < KEYD_KEKS_MAX; i++)
        keks[i] = &kek;
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        items[i] = sample_adopt((enum keyd_key_form)(i % 3));
    ck_assert_int_eq(keyd_request_encode(KEYD_VERB_ADOPT_KEY, 1, keks, KEYD_KEKS_MAX, items,
                         KEYD_BATCH_MAX, frame, &len),
        0);
    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
}
END_TEST

START_TEST(a_fingerprint_comes_back_with_its_key_alone)
{
    static struct keyd_reply got;
    size_t len = 0;

    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_ADOPT_KEY;
    reply.n_items = 2;
    reply.adopts[0].sealed = sample_key("store-device.1", 24);
    memset(reply.adopts[0].fingerprint, 0x77, KEYD_FINGERPRINT_LEN);
    reply.adopts[1] = reply.adopts[0];
    reply.adopts[1].status = KEYD_BAD_INPUT;
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
    ck_assert_mem_eq(got.adopts[0].fingerprint, reply.adopts[0].fingerprint, KEYD_FINGERPRINT_LEN);
    ck_assert_uint_eq(got.adopts[1].sealed.blob_len, 0);
    ck_assert_uint_eq(got.adopts[1].fingerprint[0], 0);
    frame[len - 1] = 1;
    ck_assert_int_lt(keyd_reply_decode(frame, len, &got), 0);
}
END_TEST

START_TEST(codes_and_random_bytes_come_in_batches)
{
    static struct keyd_claim_code codes[KEYD_BATCH_MAX];
    static struct keyd_random_request randoms[KEYD_BATCH_MAX];
    static struct keyd_reply got;
    size_t len = 0;

    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        codes[i] = (struct keyd_claim_code){
            .generation = (uint32_t)i, .code_len = (uint8_t)(i % (KEYD_CODE_MAX + 1))};
        memset(codes[i].code, 'A', sizeof(codes[i].code));
        randoms[i].len = (uint8_t)(1 + i % KEYD_RANDOM_MAX);
    }
    ck_assert_int_eq(
        keyd_request_encode(KEYD_VERB_HASH_CODE, 1, NULL, 0, codes, KEYD_BATCH_MAX, frame, &len),
        0);
    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        ck_assert_uint_eq(request.codes[i].generation, i);
        ck_assert_uint_eq(request.codes[i].code_len, codes[i].code_len);
        ck_assert_uint_eq(strnlen(request.codes[i].code, KEYD_CODE_MAX), codes[i].code_len);
    }
    ck_assert_int_eq(
        keyd_request_encode(KEYD_VERB_RANDOM, 1, NULL, 0, randoms, KEYD_BATCH_MAX, frame, &len), 0);
    ck_assert_int_eq(keyd_request_decode(frame, len, &request), 0);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        ck_assert_uint_eq(request.randoms[i].len, randoms[i].len);
    frame[len - 1] = 0;
    ck_assert_int_lt(keyd_request_decode(frame, len, &request), 0);
    frame[len - 1] = KEYD_RANDOM_MAX + 1;
    ck_assert_int_lt(keyd_request_decode(frame, len, &request), 0);
    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_RANDOM;
    reply.n_items = 1;
    reply.randoms[0].len = 5;
    memset(reply.randoms[0].bytes, 0x33, KEYD_RANDOM_MAX);
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
    ck_assert_uint_eq(got.randoms[0].len, 5);
    ck_assert_uint_eq(got.randoms[0].bytes[4], 0x33);
    ck_assert_uint_eq(got.randoms[0].bytes[5], 0);
    frame[len - 1] = 1;
    ck_assert_int_lt(keyd_reply_decode(frame, len, &got), 0);
}
END_TEST

START_TEST(every_verbs_reply_comes_back_as_it_was)
{
    for (unsigned verb = 1; verb <= KEYD_N_VERBS; verb++) {
        static struct keyd_reply got;
        size_t len = 0;

        memset(&reply, 0, sizeof(reply));
        reply.verb = (enum keyd_verb)verb;
        reply.sequence = 5;
        reply.n_items = 1;
        reply.operations = 1234;
        reply.rss_kib = 5678;
        reply.hashes[0].status = KEYD_HSM_FAILED; /* every item begins with its status */
        ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
        ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
        ck_assert_int_eq(got.hashes[0].status, KEYD_HSM_FAILED);
        ck_assert_uint_eq(got.operations, 1234);
        ck_assert_uint_eq(got.rss_kib, 5678);
        ck_assert_int_lt(keyd_reply_decode(frame, len - 1, &got), 0);
        frame[24] = KEYD_STATUS_LAST + 1;
        ck_assert_int_lt(keyd_reply_decode(frame, len, &got), 0);
    }
}
END_TEST

/* Offsets of the first item of a reply. */
#define REPLY_ITEM 24
#define REPLY_MISTAKE (REPLY_ITEM + 1)
#define REPLY_SESSION (REPLY_MISTAKE + 1)
#define REPLY_ENVELOPES (REPLY_SESSION + 2 + 33 + 1)
#define ENVELOPE_WIRE 25

static size_t encode_join_reply(uint8_t envelope_len)
{
    size_t len = 0;

    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_JOIN;
    reply.n_items = 2;
    reply.joins[0] = (struct keyd_join_reply){
        .session = 1, .phy_payload_len = 17, .opt_neg = true, .app_s_key = {.len = envelope_len}};
    memset(reply.joins[0].app_s_key.bytes, 0xA5, KEYD_WRAPPED_LEN);
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    return len;
}

START_TEST(an_envelope_holds_as_much_as_it_says)
{
    static const uint8_t lengths[] = {0, AES_KEY_LEN, KEYD_WRAPPED_LEN};
    static struct keyd_reply got;

    for (size_t i = 0; i < sizeof(lengths); i++) {
        const size_t len = encode_join_reply(lengths[i]);
        const struct keyd_join_reply *a = &got.joins[0];

        ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
        ck_assert_uint_eq(a->session, 1);
        ck_assert_uint_eq(a->nwk_s_key.len, 0);
        ck_assert_uint_eq(a->app_s_key.len, lengths[i]);
        for (size_t at = 0; at < KEYD_WRAPPED_LEN; at++)
            ck_assert_uint_eq(a->app_s_key.bytes[at], at < lengths[i] ? 0xA5 : 0);
    }
}
END_TEST

START_TEST(a_join_reply_out_of_range_is_refused)
{
    static const struct {
        const char *what;
        size_t offset;
        uint8_t value;
    } cases[] = {
        {"a mistake of what was answered", REPLY_MISTAKE, LW_MIC_OTHER_KEY},
        {"session", REPLY_SESSION, KEYD_SESSIONS_MAX},
        {"length of the accept", REPLY_SESSION + 1, 18},
        {"OptNeg", REPLY_ENVELOPES - 1, 2},
        {"an envelope of 17 bytes", REPLY_ENVELOPES + 4 * ENVELOPE_WIRE, 17},
        {"an envelope of 25 bytes", REPLY_ENVELOPES + 4 * ENVELOPE_WIRE, 25},
        {"an empty envelope that is not empty", REPLY_ENVELOPES + 4 * ENVELOPE_WIRE, 0},
        {"bytes behind a key in clear", REPLY_ENVELOPES + 4 * ENVELOPE_WIRE + 17, 1},
        {"bytes of an envelope that is not filled", REPLY_ENVELOPES + 24, 1},
    };
    static struct keyd_reply got;
    size_t len = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        len = encode_join_reply(AES_KEY_LEN);
        ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
        frame[cases[i].offset] = cases[i].value;
        ck_assert_msg(keyd_reply_decode(frame, len, &got) < 0, "%s", cases[i].what);
    }
    (void)encode_join_reply(0);
    reply.joins[1].nwk_s_enc_key.len = 8;
    ck_assert_int_lt(keyd_reply_encode(&reply, frame, &len), 0);
    (void)encode_join_reply(0);
    reply.joins[1].session = KEYD_SESSIONS_MAX;
    ck_assert_int_lt(keyd_reply_encode(&reply, frame, &len), 0);
}
END_TEST

START_TEST(a_mistake_comes_back_with_a_wrong_mic_alone)
{
    static struct keyd_reply got;
    size_t len = 0;

    for (unsigned status = 0; status <= KEYD_STATUS_LAST; status++) {
        for (unsigned mistake = 0; mistake <= LW_N_MIC_MISTAKES; mistake++) {
            const bool good = mistake == LW_MIC_NO_MISTAKE ||
                              (status == KEYD_MIC_FAILED && mistake < LW_N_MIC_MISTAKES);

            (void)encode_join_reply(0);
            reply.joins[1].status = (enum keyd_status)status;
            reply.joins[1].mistake = (enum lw_mic_mistake)mistake;
            ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len) == 0, good);
            if (!good)
                continue;
            ck_assert_int_eq(keyd_reply_decode(frame, len, &got), 0);
            ck_assert_int_eq(got.joins[1].mistake, mistake);
        }
    }
    (void)encode_join_reply(0);
    reply.joins[0].status = KEYD_MIC_FAILED;
    ck_assert_int_eq(keyd_reply_encode(&reply, frame, &len), 0);
    frame[REPLY_MISTAKE] = LW_N_MIC_MISTAKES;
    ck_assert_int_lt(keyd_reply_decode(frame, len, &got), 0);
}
END_TEST

START_TEST(a_reply_with_a_secret_is_known_by_it)
{
    (void)encode_join_reply(KEYD_WRAPPED_LEN);
    for (size_t i = 0; i < reply.n_items; i++) {
        struct keyd_join_reply *a = &reply.joins[i];
        struct keyd_envelope *const envelopes[] = {&a->nwk_s_key, &a->f_nwk_s_int_key,
            &a->s_nwk_s_int_key, &a->nwk_s_enc_key, &a->app_s_key};

        for (size_t e = 0; e < sizeof(envelopes) / sizeof(envelopes[0]); e++) {
            ck_assert(!keyd_reply_holds_secrets(&reply));
            envelopes[e]->len = AES_KEY_LEN;
            ck_assert(keyd_reply_holds_secrets(&reply));
            envelopes[e]->len = 0;
        }
    }
    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_APP_S_KEY;
    reply.n_items = 1;
    reply.app_s_key.app_s_key.len = KEYD_WRAPPED_LEN;
    ck_assert(!keyd_reply_holds_secrets(&reply));
    reply.app_s_key.app_s_key.len = AES_KEY_LEN;
    ck_assert(keyd_reply_holds_secrets(&reply));
    memset(&reply, 0, sizeof(reply));
    reply.verb = KEYD_VERB_ADOPT_KEY;
    ck_assert(!keyd_reply_holds_secrets(&reply));
    reply.verb = KEYD_VERB_RANDOM;
    ck_assert(keyd_reply_holds_secrets(&reply));
    reply.verb = KEYD_VERB_MAKE_KEY;
    ck_assert(!keyd_reply_holds_secrets(&reply));
    reply.verb = KEYD_VERB_WEBHOOK_SECRET;
    ck_assert(keyd_reply_holds_secrets(&reply));
}
END_TEST

START_TEST(a_hello_is_printable_and_bounded)
{
    struct keyd_hello hello = {.state = KEYD_EXIT_CONFIG}, got;
    uint8_t bytes[KEYD_HELLO_LEN];

    memset(hello.text, 'x', sizeof(hello.text));
    hello.text[0] = '\n';
    keyd_hello_encode(&hello, bytes);
    ck_assert_int_eq(keyd_hello_decode(bytes, sizeof(bytes), &got), 0);
    ck_assert_int_eq(got.state, KEYD_EXIT_CONFIG);
    ck_assert_uint_eq(strlen(got.text), KEYD_HELLO_TEXT_MAX - 1);
    ck_assert_int_eq(got.text[0], '?');
    ck_assert_int_lt(keyd_hello_decode(bytes, sizeof(bytes) - 1, &got), 0);
}
END_TEST

START_TEST(every_set_of_verbs_comes_back_as_it_was)
{
    static const char *const wrong[] = {
        "", ",", "join,", ",join", "joi", "joins", "join,,self-test", "join self-test", "JOIN"};
    char text[KEYD_VERBS_TEXT_MAX];
    unsigned got = 0;

    for (unsigned verbs = 2; verbs < KEYD_MAY(KEYD_N_VERBS + 1); verbs += 2) {
        ck_assert_int_eq(keyd_verbs_format(verbs, text), 0);
        ck_assert_int_eq(keyd_verbs_parse(text, &got), 0);
        ck_assert_uint_eq(got, verbs);
    }
    ck_assert_int_lt(keyd_verbs_format(0, text), 0);
    ck_assert_int_lt(keyd_verbs_format(1, text), 0);
    ck_assert_int_lt(keyd_verbs_format(KEYD_MAY(KEYD_N_VERBS + 1) | 2, text), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(keyd_verbs_parse(wrong[i], &got) < 0, "%s", wrong[i]);
}
END_TEST

SUITE_MAIN("hsm-frame", 10, a_join_request_comes_back_as_it_was,
    without_a_plan_nothing_of_it_is_sent, the_greatest_request_fits, every_other_length_is_refused,
    a_field_out_of_range_is_refused, what_could_not_be_decoded_is_not_encoded,
    an_app_s_key_request_comes_back_as_it_was, what_is_not_of_the_frame_is_not_sent,
    an_envelope_holds_as_much_as_it_says, a_join_reply_out_of_range_is_refused,
    a_mistake_comes_back_with_a_wrong_mic_alone, a_reply_with_a_secret_is_known_by_it,
    every_verbs_reply_comes_back_as_it_was, a_key_to_adopt_comes_back_in_its_form,
    a_key_to_adopt_that_cannot_be_is_refused, the_greatest_adoption_fits,
    a_fingerprint_comes_back_with_its_key_alone, codes_and_random_bytes_come_in_batches,
    a_hello_is_printable_and_bounded, every_set_of_verbs_comes_back_as_it_was)
