/* Joins, adoption and sealing on a real token; every byte is checked by OpenSSL. */
#include "base/error.h"
#include "tests/integration/keyd_fixture.h"
#include <check.h>
#include <string.h>

static struct keyd_pool *pool;
static struct keyd_channel *channel;
static struct keyd_test_peers peers;

static void setup(void)
{
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    keyd_test_peers(channel, &peers);
}

static void teardown(void)
{
    keyd_pool_close(pool);
}

static enum keyd_status answer(const struct keyd_join_request *request, struct keyd_join_reply *ret)
{
    ck_assert_msg(
        keyd_answer_joins(channel, peers.list, 2, request, 1, ret, keyd_test_deadline()) == 0, "%s",
        error_text());
    return ret->status;
}

START_TEST(every_scheme_gives_the_keys_the_device_derives)
{
    static const struct {
        bool has_nwk, opt_neg, cf_list;
    } cases[] = {
        {false, false, false},
        {false, false, true},
        {true, false, false},
        {true, false, true},
        {true, true, false},
        {true, true, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct keyd_test_device device;
        struct keyd_join_request request;
        struct keyd_join_reply reply;

        keyd_test_adopt(channel, 0x20635F00C4000100 + i, cases[i].has_nwk, &device);
        keyd_test_request(&device, (uint16_t)(7 + i), cases[i].opt_neg, cases[i].cf_list, &request);
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        keyd_test_check(&device, &peers, &request, &reply);
    }
}
END_TEST

START_TEST(a_full_batch_answers_each_item_on_its_own)
{
    struct keyd_test_device device;
    static struct keyd_join_request requests[KEYD_BATCH_MAX];
    static struct keyd_join_reply replies[KEYD_BATCH_MAX];

    keyd_test_adopt(channel, 0x20635F00C4000200, true, &device);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        keyd_test_request(&device, (uint16_t)i, i % 2 == 1, i % 3 == 0, &requests[i]);
        if (i % 5 == 4)
            requests[i].frame[LW_JOIN_REQUEST_LEN - 1] ^= 1;
        if (i % 7 == 6)
            requests[i].app.kek_label[0] = '\n'; /* cannot even be sent */
    }
    ck_assert_int_eq(keyd_answer_joins(channel, peers.list, 2, requests, KEYD_BATCH_MAX, replies,
                         keyd_test_deadline()),
        0);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        if (i % 7 == 6)
            ck_assert_int_eq(replies[i].status, KEYD_TAG_REFUSED);
        else if (i % 5 == 4)
            ck_assert_int_eq(replies[i].status, KEYD_MIC_FAILED);
        else
            keyd_test_check(&device, &peers, &requests[i], &replies[i]);
    }
}
END_TEST

START_TEST(a_wrong_mic_in_any_bit_is_refused_and_gives_nothing)
{
    static const struct keyd_join_reply nothing;
    struct keyd_test_device device;
    struct keyd_join_request request, bad;
    struct keyd_join_reply reply;

    keyd_test_adopt(channel, 0x20635F00C4000300, false, &device);
    keyd_test_request(&device, 1, false, false, &request);
    for (unsigned bit = 0; bit < 32; bit++) {
        bad = request;
        bad.frame[LW_JOIN_REQUEST_MIC_INPUT_LEN + bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(answer(&bad, &reply), KEYD_MIC_FAILED);
        ck_assert_uint_eq(reply.phy_payload_len, 0);
        ck_assert_mem_eq(&reply.app_s_key, &nothing.app_s_key, sizeof(reply.app_s_key));
    }
    request.plan = false; /* a refusal still wants to know about the MIC */
    ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
    ck_assert_uint_eq(reply.phy_payload_len, 0);
}
END_TEST

START_TEST(a_sealed_key_with_one_bit_changed_is_refused)
{
    struct keyd_test_device device;
    struct keyd_join_request request, bad;
    struct keyd_join_reply reply;

    keyd_test_adopt(channel, 0x20635F00C4000400, false, &device);
    keyd_test_request(&device, 1, false, false, &request);
    for (size_t bit = 0; bit < 8u * 24; bit++) {
        bad = request;
        bad.app.blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    }
    for (size_t bit = 0; bit < 8u * SEALED_TAG_LEN; bit++) {
        bad = request;
        bad.app.tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    }
    for (size_t bit = 0; bit < 8 * strlen(request.app.kek_label); bit++) {
        bad = request;
        bad.app.kek_label[bit / 8] = (char)(bad.app.kek_label[bit / 8] ^ (1 << bit % 8));
        ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    }
    bad = request;
    bad.app.blob_len = 32;
    ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
}
END_TEST

START_TEST(a_sealed_key_moved_to_another_row_is_refused)
{
    struct keyd_test_device one, other;
    struct keyd_join_request request, bad;
    struct keyd_join_reply reply;

    keyd_test_adopt(channel, 0x20635F00C4000500, true, &one);
    keyd_test_adopt(channel, 0x20635F00C4000501, true, &other);
    keyd_test_request(&other, 1, false, false, &request);
    bad = request; /* another DevEUI */
    bad.app = one.app;
    ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    bad = request;
    bad.nwk = one.nwk;
    ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    bad = request; /* another JoinEUI */
    bad.join_eui.bytes[7] ^= 1;
    ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    bad = request; /* another slot */
    bad.nwk = other.app;
    ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    bad = request;
    bad.app = other.nwk;
    ck_assert_int_eq(answer(&bad, &reply), KEYD_TAG_REFUSED);
    ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
}
END_TEST

/* The status of a join that uses this KEK for the NS. */
static enum keyd_status join_under(const struct keyd_join_request *request,
    const struct sealed_kek *ns_kek, const struct sealed_kek *as_kek)
{
    const struct sealed_kek *list[2] = {ns_kek, as_kek};
    struct keyd_join_reply reply;

    ck_assert_int_eq(
        keyd_answer_joins(channel, list, 2, request, 1, &reply, keyd_test_deadline()), 0);
    return reply.status;
}

START_TEST(a_kek_moved_or_changed_is_refused)
{
    struct keyd_test_device device;
    struct keyd_join_request request;
    struct sealed_kek bad;
    const struct sealed_kek *ns = &peers.sealed[0], *as = &peers.sealed[1];

    keyd_test_adopt(channel, 0x20635F00C4000600, false, &device);
    keyd_test_request(&device, 1, false, false, &request);
    ck_assert_int_eq(join_under(&request, ns, as), KEYD_OK); /* it is cached now */
    bad = *ns;
    memcpy(bad.peer_id, "000014", 7);
    ck_assert_int_eq(join_under(&request, &bad, as), KEYD_KEK_TAG_REFUSED);
    bad = *ns;
    memcpy(bad.label, "ns-000014", 10);
    ck_assert_int_eq(join_under(&request, &bad, as), KEYD_KEK_TAG_REFUSED);
    bad = *ns;
    bad.peer_kind = PEER_ORGANIZATION;
    ck_assert_int_eq(join_under(&request, &bad, as), KEYD_KEK_TAG_REFUSED);
    bad = *as;
    bad.kek_class = KEK_CLASS_NS;
    ck_assert_int_eq(join_under(&request, &bad, as), KEYD_KEK_TAG_REFUSED);
    ck_assert_int_eq(join_under(&request, as, ns), KEYD_BAD_INPUT); /* true tags, wrong class */
    bad = *ns;
    bad.key.blob[3] ^= 0x10;
    ck_assert_int_eq(join_under(&request, &bad, as), KEYD_KEK_TAG_REFUSED);
    bad = *ns;
    bad.key.tag[31] ^= 0x01;
    ck_assert_int_eq(join_under(&request, &bad, as), KEYD_KEK_TAG_REFUSED);
    bad = *ns;
    bad.key.kek_label[0] = '\x01';
    ck_assert_int_eq(join_under(&request, &bad, as), KEYD_KEK_TAG_REFUSED);
    ck_assert_int_eq(join_under(&request, ns, as), KEYD_OK);
}
END_TEST

/* Adopted by keyd itself, so the tag is true: what is refused is the use. */
static enum keyd_status adopt(struct sealed_kek *kek)
{
    uint8_t clear[16] = {3}, oaep[KEYD_OAEP_LEN], kcv[KEYD_KCV_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;

    keyd_test_oaep(clear, sizeof(clear), oaep);
    ck_assert_int_eq(
        keyd_adopt_kek(channel, oaep, sizeof(clear), kek, kcv, &status, keyd_test_deadline()), 0);
    return status;
}

START_TEST(a_kek_of_another_network_gets_no_network_keys)
{
    struct sealed_kek other = {.peer_kind = PEER_NETWORK_SERVER,
        .peer_id = "000014",
        .kek_class = KEK_CLASS_NS,
        .label = "ns-000014"};
    struct keyd_test_device device;
    struct keyd_join_request request;

    ck_assert_int_eq(adopt(&other), KEYD_OK);
    keyd_test_adopt(channel, 0x20635F00C4000650, true, &device);
    for (unsigned opt_neg = 0; opt_neg < 2; opt_neg++) {
        keyd_test_request(&device, 1, opt_neg == 1, false, &request);
        ck_assert_int_eq(join_under(&request, &other, &peers.sealed[1]), KEYD_BAD_INPUT);
        request.accept.net_id.bytes[2] = 0x14;
        ck_assert_int_eq(join_under(&request, &other, &peers.sealed[1]), KEYD_OK);
        ck_assert_int_eq(join_under(&request, &peers.sealed[0], &peers.sealed[1]), KEYD_BAD_INPUT);
    }
}
END_TEST

START_TEST(a_kek_whose_class_is_not_its_peers_is_not_taken)
{
    for (int kind = PEER_NETWORK_SERVER; kind <= PEER_ORGANIZATION; kind++) {
        for (int class = KEK_CLASS_NS; class <= KEK_CLASS_TRANSPORT; class ++) {
            struct sealed_kek kek = {.peer_kind = (enum peer_kind)kind,
                .peer_id = "000013",
                .kek_class = (enum kek_class) class,
                .label = "some"};

            /* The two lists go NS, AS, organization's transport. */
            ck_assert_int_eq(adopt(&kek), kind == class ? KEYD_OK : KEYD_BAD_INPUT);
        }
    }
}
END_TEST

START_TEST(a_device_key_is_no_kek_and_a_kek_no_device_key)
{
    struct keyd_test_device device;
    struct keyd_join_request request;
    struct keyd_join_reply reply;
    struct sealed_kek bad = peers.sealed[0];

    keyd_test_adopt(channel, 0x20635F00C4000700, false, &device);
    keyd_test_request(&device, 1, false, false, &request);
    bad.key = device.app;
    ck_assert_int_eq(join_under(&request, &bad, &peers.sealed[1]), KEYD_KEK_TAG_REFUSED);
    request.app = peers.sealed[0].key;
    ck_assert_int_eq(answer(&request, &reply), KEYD_TAG_REFUSED);
}
END_TEST

START_TEST(a_session_key_never_leaves_without_a_kek)
{
    struct keyd_test_device device;
    struct keyd_join_request request;
    struct keyd_join_reply reply;

    keyd_test_adopt(channel, 0x20635F00C4000800, false, &device);
    keyd_test_request(&device, 1, false, false, &request);
    request.as_kek = KEYD_NO_KEK;
    ck_assert_int_eq(answer(&request, &reply), KEYD_BAD_INPUT);
    ck_assert_uint_eq(reply.phy_payload_len, 0);
    keyd_test_request(&device, 1, true, false, &request); /* OptNeg for a record of 1.0 */
    ck_assert_int_eq(answer(&request, &reply), KEYD_BAD_INPUT);
}
END_TEST

static struct keyd_app_s_key_request session_of(
    const struct keyd_join_request *join, uint16_t dev_nonce)
{
    return (struct keyd_app_s_key_request){.dev_eui = join->dev_eui,
        .join_eui = join->join_eui,
        .app = join->app,
        .has_nwk = join->has_nwk,
        .nwk = join->nwk,
        .opt_neg = (join->accept.dl_settings & LW_OPT_NEG) != 0,
        .join_nonce = join->accept.join_nonce,
        .nonce = dev_nonce,
        .net_id = join->accept.net_id};
}

static enum keyd_status derive(const struct sealed_kek *as_kek,
    const struct keyd_app_s_key_request *request, struct keyd_app_s_key_reply *ret)
{
    ck_assert_msg(keyd_derive_app_s_key(channel, as_kek, request, ret, keyd_test_deadline()) == 0,
        "%s", error_text());
    return ret->status;
}

/* The tag is of the record, all else of the JoinEUI that the device used. */
START_TEST(a_device_that_uses_another_join_eui_gets_the_keys_it_derives)
{
    static const struct {
        bool has_nwk, opt_neg;
    } cases[] = {{false, false}, {true, false}, {true, true}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint16_t dev_nonce = (uint16_t)(0x0207 + i);
        struct keyd_test_device device, on_air;
        struct keyd_join_request join;
        struct keyd_join_reply joined;
        struct keyd_app_s_key_request request;
        struct keyd_app_s_key_reply reply;

        keyd_test_adopt(channel, 0x20635F00C4000B00 + i, cases[i].has_nwk, &device);
        on_air = device;
        on_air.join_eui = (struct eui64){{0xAA, 1, 2, 3, 4, 5, 6, 7}};
        keyd_test_request(&on_air, dev_nonce, cases[i].opt_neg, false, &join);
        ck_assert_int_eq(answer(&join, &joined), KEYD_TAG_REFUSED);
        join.join_eui = device.join_eui;
        join.has_air_join_eui = true;
        join.air_join_eui = on_air.join_eui;
        ck_assert_int_eq(answer(&join, &joined), KEYD_OK);
        keyd_test_check(&on_air, &peers, &join, &joined);
        request = session_of(&join, dev_nonce);
        request.has_air_join_eui = true;
        request.air_join_eui = on_air.join_eui;
        ck_assert_int_eq(derive(&peers.sealed[1], &request, &reply), KEYD_OK);
        ck_assert_mem_eq(&reply.app_s_key, &joined.app_s_key, sizeof(reply.app_s_key));
    }
}
END_TEST

START_TEST(an_app_s_key_comes_again_as_the_join_gave_it)
{
    static const struct {
        bool has_nwk, opt_neg;
    } cases[] = {{false, false}, {true, false}, {true, true}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint16_t dev_nonce = (uint16_t)(0x0107 + i);
        struct keyd_test_device device;
        struct keyd_join_request join;
        struct keyd_join_reply joined;
        struct keyd_app_s_key_request request;
        struct keyd_app_s_key_reply reply;

        keyd_test_adopt(channel, 0x20635F00C4000A00 + i, cases[i].has_nwk, &device);
        keyd_test_request(&device, dev_nonce, cases[i].opt_neg, false, &join);
        ck_assert_int_eq(answer(&join, &joined), KEYD_OK);
        request = session_of(&join, dev_nonce);
        ck_assert_int_eq(derive(&peers.sealed[1], &request, &reply), KEYD_OK);
        ck_assert_mem_eq(&reply.app_s_key, &joined.app_s_key, sizeof(reply.app_s_key));
        request.nonce++;
        ck_assert_int_eq(derive(&peers.sealed[1], &request, &reply), KEYD_OK);
        ck_assert_mem_ne(&reply.app_s_key, &joined.app_s_key, sizeof(reply.app_s_key));
        request = session_of(&join, dev_nonce);
        request.join_nonce++;
        ck_assert_int_eq(derive(&peers.sealed[1], &request, &reply), KEYD_OK);
        ck_assert_mem_ne(&reply.app_s_key, &joined.app_s_key, sizeof(reply.app_s_key));
    }
}
END_TEST

START_TEST(an_app_s_key_is_refused_where_a_join_is)
{
    static const struct keyd_envelope nothing;
    struct keyd_test_device device;
    struct keyd_join_request join;
    struct keyd_app_s_key_request good, bad;
    struct keyd_app_s_key_reply reply;
    struct sealed_kek kek = peers.sealed[1];

    keyd_test_adopt(channel, 0x20635F00C4000A80, true, &device);
    keyd_test_request(&device, 1, true, false, &join);
    good = session_of(&join, 1);
    ck_assert_int_eq(derive(&peers.sealed[0], &good, &reply), KEYD_BAD_INPUT); /* of an NS */
    ck_assert_mem_eq(&reply.app_s_key, &nothing, sizeof(nothing));
    kek.key.tag[0] ^= 1;
    ck_assert_int_eq(derive(&kek, &good, &reply), KEYD_KEK_TAG_REFUSED);
    kek.key.kek_label[0] = '\n'; /* cannot even be sent */
    ck_assert_int_eq(derive(&kek, &good, &reply), KEYD_KEK_TAG_REFUSED);
    bad = good;
    bad.app.blob[0] ^= 1;
    ck_assert_int_eq(derive(&peers.sealed[1], &bad, &reply), KEYD_TAG_REFUSED);
    bad = good;
    bad.nwk.tag[3] ^= 1; /* not used, and not left unchecked */
    ck_assert_int_eq(derive(&peers.sealed[1], &bad, &reply), KEYD_TAG_REFUSED);
    bad = good;
    bad.join_eui.bytes[7] ^= 1;
    ck_assert_int_eq(derive(&peers.sealed[1], &bad, &reply), KEYD_TAG_REFUSED);
    bad = good;
    bad.app.kek_label[0] = '\n';
    ck_assert_int_eq(derive(&peers.sealed[1], &bad, &reply), KEYD_TAG_REFUSED);
    bad = good;
    bad.has_nwk = false; /* OptNeg for a record of 1.0 */
    ck_assert_int_eq(derive(&peers.sealed[1], &bad, &reply), KEYD_BAD_INPUT);
    bad = good;
    bad.join_nonce = LW_JOIN_NONCE_MAX + 1;
    ck_assert_int_eq(derive(&peers.sealed[1], &bad, &reply), KEYD_BAD_INPUT);
    ck_assert_int_eq(derive(&peers.sealed[1], &good, &reply), KEYD_OK);
}
END_TEST

START_TEST(more_keks_than_the_cache_holds_are_opened_again)
{
    struct keyd_test_device device;
    struct keyd_join_request request;
    struct keyd_join_reply reply;
    static struct sealed_kek many[300];
    uint8_t clear[16] = {1}, oaep[KEYD_OAEP_LEN], kcv[KEYD_KCV_LEN];
    enum keyd_status status;

    keyd_test_adopt(channel, 0x20635F00C4000900, false, &device);
    keyd_test_request(&device, 1, false, false, &request);
    keyd_test_oaep(clear, sizeof(clear), oaep);
    for (unsigned i = 0; i < 300; i++) {
        many[i] = peers.sealed[0];
        request.accept.net_id = (struct net_id){{0, (uint8_t)(i >> 8), (uint8_t)i}};
        (void)net_id_format(&request.accept.net_id, many[i].peer_id);
        ck_assert_int_eq(
            keyd_adopt_kek(channel, oaep, 16, &many[i], kcv, &status, keyd_test_deadline()), 0);
        ck_assert_int_eq(status, KEYD_OK);
        ck_assert_int_eq(join_under(&request, &many[i], &peers.sealed[1]), KEYD_OK);
    }
    request.accept.net_id = (struct net_id){{0, 0, 0}};
    ck_assert_int_eq(join_under(&request, &many[0], &peers.sealed[1]), KEYD_OK);
    request.accept.net_id = (struct net_id){{0, 0, 0x13}};
    ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
    keyd_test_check(&device, &peers, &request, &reply);
}
END_TEST

START_TEST(a_kek_that_does_not_open_is_bad_input_and_not_a_failing_hsm)
{
    uint8_t clear[32] = {7}, oaep[KEYD_OAEP_LEN], kcv[KEYD_KCV_LEN];
    struct sealed_kek kek = peers.sealed[0];
    enum keyd_status status = KEYD_OK;

    keyd_test_oaep(clear, 32, oaep);
    oaep[100] ^= 1;
    ck_assert_int_eq(
        keyd_adopt_kek(channel, oaep, 32, &kek, kcv, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(status, KEYD_BAD_INPUT);
    keyd_test_oaep(clear, 32, oaep); /* another length than was said */
    ck_assert_int_eq(
        keyd_adopt_kek(channel, oaep, 16, &kek, kcv, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(status, KEYD_BAD_INPUT);
    keyd_test_oaep(clear, 15, oaep); /* no AES key is so long */
    ck_assert_int_eq(
        keyd_adopt_kek(channel, oaep, 16, &kek, kcv, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(status, KEYD_BAD_INPUT);
    ck_assert_int_lt(
        keyd_adopt_kek(channel, oaep, 17, &kek, kcv, &status, keyd_test_deadline()), 0);
    ck_assert_int_eq(keyd_self_test(channel, keyd_test_deadline()), 0);
}
END_TEST

START_TEST(hashes_depend_on_every_input_and_on_their_purpose)
{
    const struct eui64 one = {{1, 2, 3, 4, 5, 6, 7, 8}}, other = {{1, 2, 3, 4, 5, 6, 7, 9}};
    struct keyd_claim_code codes[KEYD_BATCH_MAX];
    const uint8_t *bodies[KEYD_BATCH_MAX];
    uint8_t h[6][KEYD_HASH_LEN], again[KEYD_BATCH_MAX][KEYD_HASH_LEN];

    codes[0] = keyd_test_code(&one, 1, "ABCD");
    codes[1] = keyd_test_code(&other, 1, "ABCD");
    codes[2] = keyd_test_code(&one, 2, "ABCD");
    codes[3] = keyd_test_code(&one, 1, "ABCE");
    ck_assert_int_eq(keyd_test_hash_codes(channel, codes, 4, h), 0);
    ck_assert_int_eq(
        keyd_hash_token(channel, (const uint8_t *)"ABCD", 4, h[4], keyd_test_deadline()), 0);
    ck_assert_int_eq(
        keyd_hash_token(channel, (const uint8_t *)"ABCE", 4, h[5], keyd_test_deadline()), 0);
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < i; j++)
            ck_assert_mem_ne(h[i], h[j], KEYD_HASH_LEN);
    }
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) /* a full batch, each in its place */
        codes[i] = codes[i % 4];
    ck_assert_int_eq(keyd_test_hash_codes(channel, codes, KEYD_BATCH_MAX, again), 0);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        ck_assert_mem_eq(again[i], h[i % 4], KEYD_HASH_LEN);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        bodies[i] = (const uint8_t *)(i % 2 == 0 ? "ABCD" : "ABCE");
    ck_assert_int_eq(
        keyd_hash_tokens(channel, bodies, 4, KEYD_BATCH_MAX, again, keyd_test_deadline()), 0);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        ck_assert_mem_eq(again[i], h[4 + i % 2], KEYD_HASH_LEN);
    ck_assert_int_eq(
        keyd_hash_tokens(channel, bodies, KEYD_TOKEN_MAX + 1, 1, again, keyd_test_deadline()),
        ERROR_INPUT);
    ck_assert_int_eq(keyd_hash_tokens(channel, NULL, 4, 0, NULL, keyd_test_deadline()), 0);
    codes[1].code_len = KEYD_CODE_MAX + 1;
    ck_assert_int_eq(keyd_test_hash_codes(channel, codes, 2, again), ERROR_INPUT);
    ck_assert_int_eq(keyd_hash_claim_codes(channel, codes, 0, NULL, keyd_test_deadline()), 0);
}
END_TEST

START_TEST(a_webhooks_secret_is_of_its_id_and_generation_alone)
{
    static struct keyd_webhook webhooks[KEYD_BATCH_MAX];
    uint8_t secrets[KEYD_BATCH_MAX][KEYD_HASH_LEN], again[KEYD_HASH_LEN], token[KEYD_HASH_LEN];

    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        webhooks[i].id[0] = (uint8_t)(i / 4);
        webhooks[i].generation = (uint32_t)(1 + i % 4);
    }
    ck_assert_int_eq(
        keyd_webhook_secrets(channel, webhooks, KEYD_BATCH_MAX, secrets, keyd_test_deadline()), 0);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++)
        for (size_t j = 0; j < i; j++)
            ck_assert_mem_ne(secrets[i], secrets[j], KEYD_HASH_LEN);
    ck_assert_int_eq(
        keyd_webhook_secrets(channel, &webhooks[5], 1, &again, keyd_test_deadline()), 0);
    ck_assert_mem_eq(again, secrets[5], KEYD_HASH_LEN);
    /* The same bytes as an access token's body are another input of the same key. */
    ck_assert_int_eq(keyd_hash_token(channel, (const uint8_t *)&webhooks[5],
                         KEYD_WEBHOOK_ID_LEN + 4, token, keyd_test_deadline()),
        0);
    ck_assert_mem_ne(token, secrets[5], KEYD_HASH_LEN);
    webhooks[0].generation = 0;
    ck_assert_int_eq(
        keyd_webhook_secrets(channel, webhooks, 1, &again, keyd_test_deadline()), ERROR_INPUT);
}
END_TEST

START_TEST(random_bytes_fill_every_item_and_are_never_the_same)
{
    static const size_t lengths[] = {16, KEYD_RANDOM_MAX};

    for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
        const size_t len = lengths[l];
        uint8_t bytes[(KEYD_BATCH_MAX + 1) * KEYD_RANDOM_MAX] = {0};
        static const uint8_t zeros[KEYD_RANDOM_MAX];

        ck_assert_int_eq(keyd_random(channel, bytes, len, KEYD_BATCH_MAX, keyd_test_deadline()), 0);
        for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
            for (size_t j = 0; j < i; j++)
                ck_assert_mem_ne(bytes + i * len, bytes + j * len, len);
        }
        ck_assert_mem_eq(bytes + KEYD_BATCH_MAX * len, zeros, len); /* and nothing beyond */
    }
}
END_TEST

START_TEST(the_description_names_token_profile_and_strategy)
{
    const char *text = keyd_pool_describe(pool);

    ck_assert_ptr_nonnull(strstr(text, "cradle-test"));
    ck_assert_ptr_nonnull(strstr(text, "softhsm"));
    ck_assert_ptr_nonnull(strstr(text, "ECB_ENCRYPT_DATA"));
    ck_assert_ptr_nonnull(strstr(text, "locked"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_scheme_gives_the_keys_the_device_derives,
        a_full_batch_answers_each_item_on_its_own,
        a_wrong_mic_in_any_bit_is_refused_and_gives_nothing,
        a_sealed_key_with_one_bit_changed_is_refused,
        a_sealed_key_moved_to_another_row_is_refused,
        a_kek_moved_or_changed_is_refused,
        a_kek_of_another_network_gets_no_network_keys,
        a_kek_whose_class_is_not_its_peers_is_not_taken,
        a_device_key_is_no_kek_and_a_kek_no_device_key,
        a_session_key_never_leaves_without_a_kek,
        a_device_that_uses_another_join_eui_gets_the_keys_it_derives,
        an_app_s_key_comes_again_as_the_join_gave_it,
        an_app_s_key_is_refused_where_a_join_is,
        more_keks_than_the_cache_holds_are_opened_again,
        a_kek_that_does_not_open_is_bad_input_and_not_a_failing_hsm,
        hashes_depend_on_every_input_and_on_their_purpose,
        random_bytes_fill_every_item_and_are_never_the_same,
        a_webhooks_secret_is_of_its_id_and_generation_alone,
        the_description_names_token_profile_and_strategy,
    };

    return keyd_test_main("keyd-join", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
