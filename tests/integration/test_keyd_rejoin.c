/* Rejoins, and session keys in clear, on a real token: by the published vectors, by the recorded
 * frames of a device stack, and by OpenSSL. */
#include "base/error.h"
#include "base/hex.h"
#include "hsm/pool.h"
#include "tests/integration/keyd_fault.h"
#include <check.h>
#include <jansson.h>
#include <p11-kit/pkcs11.h>
#include <string.h>

static struct keyd_pool *pool;
static struct keyd_channel *channel;
static struct keyd_test_peers peers;
static struct keyd_test_device device;

/* The running session of `device`, and one that it may have been given. */
static const struct keyd_session current = {
    .present = true, .plan = true, .join_nonce = 0x000041, .nonce = 0x0102};
static const struct keyd_session pending = {
    .present = true, .plan = true, .join_nonce = 0x000042, .nonce = 7};
static const enum lw_join_type types[] = {LW_REJOIN_0, LW_REJOIN_1, LW_REJOIN_2};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

static void use_pool(struct keyd_pool *opened)
{
    pool = opened;
    channel = keyd_pool_channel(pool, 0);
}

static void setup(void)
{
    use_pool(keyd_test_pool(1, 1, 0));
    keyd_test_peers(channel, &peers);
    keyd_test_adopt(channel, 0x20635F00C4002000, true, &device);
}

static void teardown(void)
{
    keyd_pool_close(pool);
}

/* From here on as the operator who allows keys in clear has it. */
static void allow_plain_keys(void)
{
    keyd_pool_close(pool);
    use_pool(keyd_test_plain_pool(NULL));
}

static enum keyd_status answer(const struct keyd_join_request *request, struct keyd_join_reply *ret)
{
    ck_assert_msg(
        keyd_answer_joins(channel, peers.list, 2, request, 1, ret, keyd_test_deadline()) == 0, "%s",
        error_text());
    return ret->status;
}

static void must_hold_nothing(const struct keyd_join_reply *reply)
{
    static const struct keyd_envelope nothing;
    const struct keyd_envelope *const envelopes[] = {&reply->nwk_s_key, &reply->f_nwk_s_int_key,
        &reply->s_nwk_s_int_key, &reply->nwk_s_enc_key, &reply->app_s_key};

    ck_assert_uint_eq(reply->phy_payload_len, 0);
    for (size_t i = 0; i < sizeof(envelopes) / sizeof(envelopes[0]); i++)
        ck_assert_mem_eq(envelopes[i], &nothing, sizeof(nothing));
}

static void must_be_refused(
    const struct keyd_join_request *request, enum keyd_status expected, const char *what)
{
    struct keyd_join_reply reply;

    ck_assert_msg(
        answer(request, &reply) == expected, "%s: %s", what, keyd_status_text(reply.status));
    must_hold_nothing(&reply);
}

/* --- published and recorded numbers ----------------------------------------------------------- */

static json_t *document;

static void load_vectors(void)
{
    const char *path = getenv("CRADLE_TEST_VECTORS");
    json_error_t error;

    ck_assert_ptr_nonnull(path);
    document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(document != NULL, "%s: %s", path, error.text);
}

static const json_t *vector(const char *id, const char *part)
{
    const json_t *list = json_object_get(document, "vectors");
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        if (strcmp(json_string_value(json_object_get(v, "id")), id) == 0)
            return json_object_get(v, part);
    }
    ck_abort_msg("no vector %s", id);
}

static size_t read_hex(const json_t *object, const char *name, uint8_t *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    ck_assert_msg(text != NULL && strlen(text) / 2 <= size, "%s", name);
    ck_assert_msg(hex_decode(text, strlen(text), out, strlen(text) / 2), "%s", name);
    return strlen(text) / 2;
}

static uint32_t read_number(const json_t *object, const char *name)
{
    const json_t *number = json_object_get(object, name);

    ck_assert_msg(json_is_integer(number), "%s", name);
    return (uint32_t)json_integer_value(number);
}

/* The device of V054, V055 and V057; its network's KEK takes the place of ours. */
static struct keyd_test_device vector_device(void)
{
    const json_t *in = vector("V057", "inputs");
    struct keyd_test_device d = {.has_nwk = true};

    (void)read_hex(in, "nwk_key", d.nwk_clear.bytes, AES_KEY_LEN);
    (void)read_hex(in, "app_key", d.app_clear.bytes, AES_KEY_LEN);
    (void)read_hex(in, "dev_eui", d.dev_eui.bytes, sizeof(d.dev_eui.bytes));
    (void)read_hex(in, "join_eui", d.join_eui.bytes, sizeof(d.join_eui.bytes));
    keyd_test_seal(channel, &d);
    memcpy(peers.sealed[0].peer_id, "010203", 7);
    keyd_test_adopt_kek(channel, peers.clear[0], peers.clear_len[0], &peers.sealed[0]);
    return d;
}

static void check_key(
    size_t peer, const struct keyd_envelope *envelope, const json_t *expected, const char *name)
{
    uint8_t key[AES_KEY_LEN], opened[AES_KEY_LEN];

    ck_assert_uint_eq(read_hex(expected, name, key, sizeof(key)), AES_KEY_LEN);
    ck_assert_uint_eq(envelope->len, KEYD_WRAPPED_LEN);
    ck_assert_int_eq(aes_unwrap(peers.clear[peer], peers.clear_len[peer], envelope->bytes,
                         KEYD_WRAPPED_LEN, opened),
        0);
    ck_assert_msg(memcmp(opened, key, sizeof(key)) == 0, "%s", name);
}

static void check_bytes(const struct keyd_join_reply *reply, const json_t *from, const char *name)
{
    uint8_t expected[LW_JOIN_ACCEPT_MAX];
    const size_t len = read_hex(from, name, expected, sizeof(expected));

    ck_assert_uint_eq(reply->phy_payload_len, len);
    ck_assert_msg(memcmp(reply->phy_payload, expected, len) == 0, "%s", name);
}

START_TEST(each_type_gives_the_accept_and_the_keys_of_the_vectors)
{
    static const char *const names[N_TYPES] = {"type0", "type1", "type2"};
    struct keyd_test_device d;
    const json_t *in, *accepts, *keys;

    load_vectors();
    in = vector("V055", "inputs");
    accepts = vector("V055", "expected");
    keys = vector("V054", "expected");
    d = vector_device();
    for (size_t i = 0; i < N_TYPES; i++) {
        const json_t *one = json_object_get(accepts, names[i]);
        struct keyd_join_request request;
        struct keyd_join_reply reply;
        struct lw_join_accept *a = &request.accept;

        keyd_test_rejoin(&d, types[i], (uint16_t)read_number(in, "rjcount"), &current, &request);
        *a = (struct lw_join_accept){.join_nonce = read_number(in, "join_nonce"), .rx_delay = 1};
        (void)read_hex(in, "net_id", a->net_id.bytes, sizeof(a->net_id.bytes));
        (void)read_hex(in, "dev_addr", a->dev_addr.bytes, sizeof(a->dev_addr.bytes));
        (void)read_hex(in, "dl_settings", &a->dl_settings, 1);
        a->has_cf_list = read_hex(one, "cf_list", a->cf_list, sizeof(a->cf_list)) > 0;
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        check_bytes(&reply, one, "phy_payload_encrypted");
        ck_assert(reply.opt_neg);
        check_key(0, &reply.f_nwk_s_int_key, keys, "f_nwk_s_int_key");
        check_key(0, &reply.s_nwk_s_int_key, keys, "s_nwk_s_int_key");
        check_key(0, &reply.nwk_s_enc_key, keys, "nwk_s_enc_key");
        check_key(1, &reply.app_s_key, keys, "app_s_key");
        ck_assert_uint_eq(reply.nwk_s_key.len, 0);
    }
    json_decref(document);
}
END_TEST

/* Frames that a device stack made: rejoin 0, 2 and 1, each from the session before it. */
START_TEST(the_rejoins_of_a_real_device_are_answered_byte_by_byte)
{
    static const struct {
        struct keyd_session before;
        uint32_t join_nonce;
        uint8_t dl_settings;
        const char *frame, *accept;
        uint8_t dev_addr_end;
        bool cf_list;
    } steps[] = {
        {{true, true, 65536, 258}, 65537, 0x95, "rejoin0", "accept0", 0x05, true},
        {{true, true, 65537, 1}, 65538, 0x80, "rejoin2", "accept2", 0x05, false},
        {{false, false, 0, 0}, 65539, 0x80, "rejoin1", "accept1", 0x06, false},
    };
    struct keyd_test_device d;
    const json_t *in, *expected;
    struct keyd_join_reply reply;

    load_vectors();
    in = vector("V057", "inputs");
    expected = vector("V057", "expected");
    d = vector_device();
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        static const uint8_t cf_list[] = {0x98, 0x8d, 0x84, 0x68, 0x95, 0x84};
        struct keyd_join_request request = {.dev_eui = d.dev_eui,
            .join_eui = d.join_eui,
            .app = d.app,
            .has_nwk = true,
            .nwk = d.nwk,
            .sessions = {current, steps[i].before},
            .plan = true,
            .accept = {.join_nonce = steps[i].join_nonce,
                .net_id = {{1, 2, 3}},
                .dev_addr = {{1, 2, 3, steps[i].dev_addr_end}},
                .dl_settings = steps[i].dl_settings,
                .rx_delay = 1,
                .has_cf_list = steps[i].cf_list},
            .ns_kek = 0,
            .as_kek = 1};

        if (steps[i].cf_list)
            memcpy(request.accept.cf_list, cf_list, sizeof(cf_list));
        request.frame_len =
            (uint8_t)read_hex(expected, steps[i].frame, request.frame, sizeof(request.frame));
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        ck_assert_uint_eq(reply.session, steps[i].before.present ? 1 : 0);
        check_bytes(&reply, in, steps[i].accept);
    }
    check_key(0, &reply.f_nwk_s_int_key, expected, "FNwkSIntKey");
    check_key(0, &reply.s_nwk_s_int_key, expected, "SNwkSIntKey");
    check_key(0, &reply.nwk_s_enc_key, expected, "NwkSEncKey");
    check_key(1, &reply.app_s_key, expected, "AppSKey");
    json_decref(document);
}
END_TEST

/* --- whose frame it is ------------------------------------------------------------------------ */

START_TEST(a_session_that_is_asked_about_proves_a_rejoin_and_no_other_does)
{
    static const enum lw_join_type by_session[] = {LW_REJOIN_0, LW_REJOIN_2};
    struct keyd_session other = current;
    struct keyd_join_request good, request;
    struct keyd_join_reply reply;

    for (size_t i = 0; i < 2; i++) {
        keyd_test_rejoin(&device, by_session[i], 5, &pending, &good);
        request = good; /* [0] alone */
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        ck_assert_uint_eq(reply.session, 0);
        keyd_test_check(&device, &peers, &request, &reply);
        request.sessions[0] = current; /* [1] behind another */
        request.sessions[1] = pending;
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        ck_assert_uint_eq(reply.session, 1);
        keyd_test_check(&device, &peers, &request, &reply);
        request.sessions[0] = (struct keyd_session){0}; /* [1] alone */
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        ck_assert_uint_eq(reply.session, 1);
        request.sessions[0] = current;
        request.sessions[1] = other;
        request.sessions[1].join_nonce = pending.join_nonce; /* half right */
        must_be_refused(&request, KEYD_MIC_FAILED, "neither session");
        request.sessions[1] = pending;
        request.sessions[1].nonce++;
        must_be_refused(&request, KEYD_MIC_FAILED, "another nonce");
        memset(request.sessions, 0, sizeof(request.sessions));
        must_be_refused(&request, KEYD_MIC_FAILED, "no session");
        request = good;
        request.sessions[0].present = false; /* the right numbers, but not to be asked about */
        must_be_refused(&request, KEYD_MIC_FAILED, "an absent session");
        request = good;
        request.sessions[0].join_nonce = LW_JOIN_NONCE_MAX + 1;
        must_be_refused(&request, KEYD_BAD_INPUT, "a JoinNonce of 25 bits");
    }
    /* What a session proves is of types 0 and 2 only. */
    keyd_test_rejoin(&device, LW_REJOIN_1, 5, NULL, &request);
    request.sessions[1] = current;
    ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
    ck_assert_uint_eq(reply.session, 0);
    keyd_test_check(&device, &peers, &request, &reply);
}
END_TEST

START_TEST(the_session_that_is_proven_decides_whether_there_is_an_answer)
{
    for (unsigned plans = 0; plans < 8; plans++) {
        for (uint8_t proven = 0; proven < 2; proven++) {
            struct keyd_join_request request;
            struct keyd_join_reply reply;
            const bool wanted = (plans & 4u) != 0 && (plans & (1u << proven)) != 0;

            keyd_test_rejoin(&device, LW_REJOIN_0, 5, proven == 0 ? &current : &pending, &request);
            request.sessions[0] = current;
            request.sessions[1] = pending;
            request.sessions[0].plan = (plans & 1u) != 0;
            request.sessions[1].plan = (plans & 2u) != 0;
            request.plan = (plans & 4u) != 0;
            ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
            ck_assert_uint_eq(reply.session, proven);
            if (wanted) {
                keyd_test_check(&device, &peers, &request, &reply);
            } else {
                must_hold_nothing(&reply);
            }
        }
    }
}
END_TEST

START_TEST(a_wrong_mic_in_any_bit_of_a_rejoin_is_refused)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        struct keyd_join_request good, bad;
        struct keyd_join_reply reply;

        keyd_test_rejoin(&device, types[i], 1, &current, &good);
        for (unsigned bit = 0; bit < 32; bit++) {
            bad = good;
            bad.frame[bad.frame_len - LW_MIC_LEN + bit / 8] ^= (uint8_t)(1u << bit % 8);
            must_be_refused(&bad, KEYD_MIC_FAILED, "a MIC");
        }
        bad = good; /* the RJcount is under the MIC */
        bad.frame[bad.frame_len - LW_MIC_LEN - 1] ^= 1;
        must_be_refused(&bad, KEYD_MIC_FAILED, "an RJcount");
        good.plan = false; /* a refusal still wants to know about the MIC */
        ck_assert_int_eq(answer(&good, &reply), KEYD_OK);
        ck_assert_uint_eq(reply.phy_payload_len, 0);
    }
}
END_TEST

START_TEST(a_rejoin_that_cannot_be_is_bad_input)
{
    struct keyd_test_device old;
    struct keyd_join_request good, bad;
    struct keyd_join_reply reply;

    keyd_test_adopt(channel, 0x20635F00C4002001, false, &old);
    for (size_t i = 0; i < N_TYPES; i++) {
        keyd_test_rejoin(&device, types[i], 1, &current, &good);
        bad = good;
        bad.accept.dl_settings &= (uint8_t)~LW_OPT_NEG;
        must_be_refused(&bad, KEYD_BAD_INPUT, "OptNeg=0");
        bad.plan = false; /* nothing is planned, so nothing is wrong with the plan */
        ck_assert_int_eq(answer(&bad, &reply), KEYD_OK);
        bad = good;
        bad.has_nwk = false;
        must_be_refused(&bad, KEYD_BAD_INPUT, "no NwkKey");
        bad = good;
        bad.dev_eui = old.dev_eui;
        must_be_refused(&bad, KEYD_BAD_INPUT, "another DevEUI");
        bad = good;
        bad.frame[0] = LW_MHDR_JOIN_REQUEST;
        must_be_refused(&bad, KEYD_BAD_INPUT, "another MHDR");
        bad = good;
        bad.frame[1] = types[i] == LW_REJOIN_1 ? 0 : 1;
        must_be_refused(&bad, KEYD_BAD_INPUT, "a type that is not of the length");
        bad = good;
        bad.frame_len = LW_JOIN_REQUEST_LEN;
        must_be_refused(&bad, KEYD_BAD_INPUT, "a Join-Request's length");
        bad.frame_len = 20; /* cannot even be sent */
        must_be_refused(&bad, KEYD_BAD_INPUT, "20 bytes");
        bad.frame_len = 0;
        must_be_refused(&bad, KEYD_BAD_INPUT, "no frame");
        bad = good;
        bad.nwk.tag[0] ^= 1;
        must_be_refused(&bad, KEYD_TAG_REFUSED, "a tag");
        bad = good;
        bad.ns_kek = KEYD_NO_KEK;
        must_be_refused(&bad, KEYD_BAD_INPUT, "no KEK");
        ck_assert_int_eq(answer(&good, &reply), KEYD_OK);
        keyd_test_check(&device, &peers, &good, &reply);
    }
    keyd_test_rejoin(&device, LW_REJOIN_1, 1, NULL, &bad);
    bad.frame[2] ^= 1; /* not the JoinEUI that we know the device by */
    must_be_refused(&bad, KEYD_BAD_INPUT, "another JoinEUI");
}
END_TEST

START_TEST(the_app_s_key_of_a_rejoin_comes_again)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        struct keyd_join_request request;
        struct keyd_join_reply reply;
        struct keyd_app_s_key_reply again;
        struct keyd_app_s_key_request session;

        keyd_test_rejoin(&device, types[i], 0x0203, &current, &request);
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        session = (struct keyd_app_s_key_request){.dev_eui = device.dev_eui,
            .join_eui = device.join_eui,
            .app = device.app,
            .has_nwk = true,
            .nwk = device.nwk,
            .opt_neg = true,
            .join_nonce = request.accept.join_nonce,
            .nonce = 0x0203,
            .net_id = request.accept.net_id};
        ck_assert_int_eq(keyd_derive_app_s_key(
                             channel, &peers.sealed[1], &session, &again, keyd_test_deadline()),
            0);
        ck_assert_int_eq(again.status, KEYD_OK);
        ck_assert_mem_eq(&again.app_s_key, &reply.app_s_key, sizeof(again.app_s_key));
    }
}
END_TEST

START_TEST(a_rejoin_of_a_device_that_uses_another_join_eui_is_answered_as_it_derives)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        struct keyd_test_device on_air = device;
        struct keyd_join_request request;
        struct keyd_join_reply reply;

        on_air.join_eui.bytes[0] ^= 0x80;
        keyd_test_rejoin(&on_air, types[i], 0x0304, &current, &request);
        request.join_eui = device.join_eui;
        ck_assert_int_eq(
            answer(&request, &reply), types[i] == LW_REJOIN_1 ? KEYD_BAD_INPUT : KEYD_MIC_FAILED);
        request.has_air_join_eui = true;
        request.air_join_eui = on_air.join_eui;
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        keyd_test_check(&on_air, &peers, &request, &reply);
    }
}
END_TEST

/* --- whose keys they are ---------------------------------------------------------------------- */

START_TEST(a_kek_of_one_ns_of_the_network_is_of_the_network)
{
    static const struct {
        const char *peer_id;
        enum keyd_status status;
    } cases[] = {
        {"000013/70b3d57ed0000001", KEYD_OK},
        {"000013", KEYD_OK},
        {"000014/70b3d57ed0000001", KEYD_BAD_INPUT},
        {"000014/000013", KEYD_BAD_INPUT},
        {"0000130/70b3d57ed000001", KEYD_BAD_INPUT},
        {"00001/370b3d57ed0000001", KEYD_BAD_INPUT},
        {"/000013", KEYD_BAD_INPUT},
        {"000013 ", KEYD_BAD_INPUT},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct keyd_join_request join, rejoin;
        struct keyd_join_reply reply;

        memset(peers.sealed[0].peer_id, 0, sizeof(peers.sealed[0].peer_id));
        memcpy(peers.sealed[0].peer_id, cases[i].peer_id, strlen(cases[i].peer_id));
        keyd_test_adopt_kek(channel, peers.clear[0], peers.clear_len[0], &peers.sealed[0]);
        keyd_test_request(&device, 1, false, false, &join);
        keyd_test_rejoin(&device, LW_REJOIN_0, 1, &current, &rejoin);
        if (cases[i].status != KEYD_OK) {
            must_be_refused(&join, cases[i].status, cases[i].peer_id);
            must_be_refused(&rejoin, cases[i].status, cases[i].peer_id);
            continue;
        }
        ck_assert_int_eq(answer(&join, &reply), KEYD_OK);
        keyd_test_check(&device, &peers, &join, &reply);
        ck_assert_int_eq(answer(&rejoin, &reply), KEYD_OK);
        keyd_test_check(&device, &peers, &rejoin, &reply);
    }
}
END_TEST

/* Frame `i` of the five kinds: joins of both schemes and the rejoins. */
#define N_KINDS 5
static void request_of_kind(size_t i, struct keyd_join_request *ret)
{
    if (i < 2)
        keyd_test_request(&device, (uint16_t)(20 + i), i == 1, i == 1, ret);
    else
        keyd_test_rejoin(&device, types[i - 2], (uint16_t)(20 + i), &current, ret);
}

static struct keyd_app_s_key_request session_of_join(void)
{
    struct keyd_join_request join;

    keyd_test_request(&device, 30, true, false, &join);
    return (struct keyd_app_s_key_request){.dev_eui = device.dev_eui,
        .join_eui = device.join_eui,
        .app = device.app,
        .has_nwk = true,
        .nwk = device.nwk,
        .opt_neg = true,
        .join_nonce = join.accept.join_nonce,
        .nonce = 30,
        .net_id = join.accept.net_id};
}

START_TEST(no_key_leaves_in_clear_where_the_operator_did_not_allow_it)
{
    const struct keyd_app_s_key_request session = session_of_join();
    static const struct keyd_envelope nothing;
    struct keyd_app_s_key_reply reply;

    for (size_t i = 0; i < N_KINDS; i++) {
        struct keyd_join_request request;

        request_of_kind(i, &request);
        request.ns_kek = KEYD_PLAIN;
        must_be_refused(&request, KEYD_BAD_INPUT, "to the network server");
        request_of_kind(i, &request);
        request.as_kek = KEYD_PLAIN;
        must_be_refused(&request, KEYD_BAD_INPUT, "to the application server");
    }
    ck_assert_int_eq(
        keyd_derive_app_s_key(channel, NULL, &session, &reply, keyd_test_deadline()), 0);
    ck_assert_int_eq(reply.status, KEYD_BAD_INPUT);
    ck_assert_mem_eq(&reply.app_s_key, &nothing, sizeof(nothing));
    ck_assert_ptr_null(strstr(keyd_pool_describe(pool), "in clear"));
}
END_TEST

static bool is_in(const uint8_t key[static AES_KEY_LEN], const void *memory, size_t len)
{
    return memmem(memory, len, key, AES_KEY_LEN) != NULL;
}

static void must_be_forgotten(const struct keyd_envelope *envelope)
{
    ck_assert_uint_eq(envelope->len, AES_KEY_LEN);
    ck_assert(!is_in(envelope->bytes, channel->reply_frame, sizeof(channel->reply_frame)));
    ck_assert(!is_in(envelope->bytes, &channel->reply, sizeof(channel->reply)));
}

START_TEST(where_it_is_allowed_the_keys_asked_for_leave_in_clear_and_are_not_kept)
{
    const struct keyd_app_s_key_request session = session_of_join();
    struct keyd_app_s_key_reply again;
    uint8_t key[AES_KEY_LEN];

    allow_plain_keys();
    ck_assert_ptr_nonnull(strstr(keyd_pool_describe(pool), "in clear"));
    for (size_t i = 0; i < N_KINDS; i++) {
        for (unsigned plain = 0; plain < 4; plain++) {
            struct keyd_join_request request;
            struct keyd_join_reply reply;

            request_of_kind(i, &request);
            if ((plain & 1u) != 0)
                request.ns_kek = KEYD_PLAIN;
            if ((plain & 2u) != 0)
                request.as_kek = KEYD_PLAIN;
            ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
            keyd_test_check(&device, &peers, &request, &reply);
            if ((plain & 1u) != 0)
                must_be_forgotten(reply.opt_neg ? &reply.s_nwk_s_int_key : &reply.nwk_s_key);
            if ((plain & 2u) != 0)
                must_be_forgotten(&reply.app_s_key);
            request.ns_kek = KEYD_NO_KEK; /* the lack of a KEK is no wish for keys in clear */
            must_be_refused(&request, KEYD_BAD_INPUT, "no KEK");
        }
    }
    ck_assert_int_eq(
        keyd_derive_app_s_key(channel, NULL, &session, &again, keyd_test_deadline()), 0);
    ck_assert_int_eq(again.status, KEYD_OK);
    keyd_test_session_key(&device, LW_KEY_APP_S, session.join_nonce, session.nonce, key);
    ck_assert_uint_eq(again.app_s_key.len, AES_KEY_LEN);
    ck_assert_mem_eq(again.app_s_key.bytes, key, sizeof(key));
    must_be_forgotten(&again.app_s_key);
}
END_TEST

START_TEST(a_mixed_batch_answers_each_item_on_its_own)
{
    static struct keyd_join_request requests[KEYD_BATCH_MAX];
    static struct keyd_join_reply replies[KEYD_BATCH_MAX];

    allow_plain_keys();
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        request_of_kind(i % N_KINDS, &requests[i]);
        if (i % 3 == 1)
            requests[i].ns_kek = KEYD_PLAIN;
        if (i % 4 == 1)
            requests[i].as_kek = KEYD_PLAIN;
        if (i % 7 == 6)
            requests[i].frame_len = 18; /* cannot even be sent */
        if (i % 11 == 10)
            requests[i].frame[requests[i].frame_len - 1] ^= 1;
    }
    ck_assert_int_eq(keyd_answer_joins(channel, peers.list, 2, requests, KEYD_BATCH_MAX, replies,
                         keyd_test_deadline()),
        0);
    for (size_t i = 0; i < KEYD_BATCH_MAX; i++) {
        if (i % 7 == 6)
            ck_assert_int_eq(replies[i].status, KEYD_BAD_INPUT);
        else if (i % 11 == 10)
            ck_assert_int_eq(replies[i].status, KEYD_MIC_FAILED);
        else
            keyd_test_check(&device, &peers, &requests[i], &replies[i]);
    }
    must_be_forgotten(&replies[1].app_s_key);
}
END_TEST

/* --- what is left in the token ---------------------------------------------------------------- */

static struct p11_fault_control *control;

static void use_faults(void)
{
    static char uri[512];

    control = keyd_fault_open(uri, sizeof(uri));
    keyd_pool_close(pool);
    use_pool(keyd_test_plain_pool(uri));
}

/* Objects made and not destroyed since the key process began, but for those that live with it. */
static uint32_t objects_left(void)
{
    return atomic_load(&control->calls[P11_FAULT_C_CreateObject]) +
           atomic_load(&control->calls[P11_FAULT_C_DeriveKey]) +
           atomic_load(&control->calls[P11_FAULT_C_UnwrapKey]) -
           atomic_load(&control->calls[P11_FAULT_C_DestroyObject]);
}

START_TEST(whatever_is_made_for_an_item_goes_with_it)
{
    const struct keyd_app_s_key_request session = session_of_join();
    struct keyd_app_s_key_reply again;
    struct keyd_join_request request;
    struct keyd_join_reply reply;
    uint32_t before;

    use_faults();
    request_of_kind(0, &request);
    ck_assert_int_eq(answer(&request, &reply), KEYD_OK); /* opens the KEKs, which stay */
    before = objects_left();
    for (size_t i = 0; i < N_KINDS; i++) {
        request_of_kind(i, &request);
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        ck_assert_uint_eq(objects_left(), before);
        request.ns_kek = request.as_kek = KEYD_PLAIN;
        ck_assert_int_eq(answer(&request, &reply), KEYD_OK);
        ck_assert_uint_eq(objects_left(), before);
        request.as_kek = KEYD_NO_KEK;
        ck_assert_int_eq(answer(&request, &reply), KEYD_BAD_INPUT);
        ck_assert_uint_eq(objects_left(), before);
        request.sessions[1] = pending;
        request.frame[request.frame_len - 1] ^= 1;
        ck_assert_int_eq(answer(&request, &reply), KEYD_MIC_FAILED);
        ck_assert_uint_eq(objects_left(), before);
    }
    ck_assert_int_eq(
        keyd_derive_app_s_key(channel, NULL, &session, &again, keyd_test_deadline()), 0);
    ck_assert_int_eq(again.status, KEYD_OK);
    ck_assert_uint_eq(objects_left(), before);
}
END_TEST

START_TEST(a_rejoin_that_fails_at_any_call_is_the_hsms_fault_and_gives_nothing)
{
    static const enum p11_fault_function functions[] = {P11_FAULT_C_UnwrapKey,
        P11_FAULT_C_DeriveKey, P11_FAULT_C_SignInit, P11_FAULT_C_Sign, P11_FAULT_C_DecryptInit,
        P11_FAULT_C_Decrypt, P11_FAULT_C_WrapKey, P11_FAULT_C_GetAttributeValue,
        P11_FAULT_C_DestroyObject};
    struct keyd_join_request request, good;
    struct keyd_join_reply reply;

    use_faults();
    keyd_test_rejoin(&device, LW_REJOIN_0, 1, &pending, &request);
    request.sessions[0] = current;
    request.sessions[1] = pending;
    request.as_kek = KEYD_PLAIN;
    good = request;
    good.as_kek = 1;
    ck_assert_int_eq(answer(&good, &reply), KEYD_OK); /* opens the KEKs */
    for (size_t f = 0; f < sizeof(functions) / sizeof(functions[0]); f++) {
        unsigned first = 1;

        while (true) {
            keyd_fault_arm(control, functions[f], first, 1, CKR_DEVICE_ERROR);
            if (answer(&request, &reply) == KEYD_OK &&
                atomic_load(&control->calls[functions[f]]) < first)
                break;
            keyd_fault_disarm(control);
            /* The item's end has no status to give: an object that stays is the fault of none. */
            if (reply.status == KEYD_OK)
                ck_assert_int_eq(functions[f], P11_FAULT_C_DestroyObject);
            else
                must_hold_nothing(&reply);
            ck_assert_int_eq(answer(&good, &reply), KEYD_OK);
            keyd_test_check(&device, &peers, &good, &reply);
            first++;
        }
        keyd_fault_disarm(control);
        ck_assert_uint_gt(first, 1); /* or the faults never got to keyd */
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        each_type_gives_the_accept_and_the_keys_of_the_vectors,
        the_rejoins_of_a_real_device_are_answered_byte_by_byte,
        a_session_that_is_asked_about_proves_a_rejoin_and_no_other_does,
        the_session_that_is_proven_decides_whether_there_is_an_answer,
        a_wrong_mic_in_any_bit_of_a_rejoin_is_refused,
        a_rejoin_that_cannot_be_is_bad_input,
        the_app_s_key_of_a_rejoin_comes_again,
        a_rejoin_of_a_device_that_uses_another_join_eui_is_answered_as_it_derives,
        a_kek_of_one_ns_of_the_network_is_of_the_network,
        no_key_leaves_in_clear_where_the_operator_did_not_allow_it,
        where_it_is_allowed_the_keys_asked_for_leave_in_clear_and_are_not_kept,
        a_mixed_batch_answers_each_item_on_its_own,
        whatever_is_made_for_an_item_goes_with_it,
        a_rejoin_that_fails_at_any_call_is_the_hsms_fault_and_gives_nothing,
    };

    return keyd_test_main("keyd-rejoin", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
