/* Why the MIC of a Join-Request is wrong: what devices get wrong is named, on a real token, and
 * what that costs is counted in calls of it. */
#include "base/error.h"
#include "tests/integration/keyd_fault.h"
#include <string.h>

static struct p11_fault_control *control;
static struct keyd_pool *pool;
static struct keyd_channel *channel;
static struct keyd_test_peers peers;
static struct keyd_test_device devices[2]; /* of 1.0.x, and of 1.1 */

static void setup(void)
{
    static char uri[512];

    control = keyd_fault_open(uri, sizeof(uri)); /* it counts, and fails nothing */
    pool = keyd_test_plain_pool(uri);
    channel = keyd_pool_channel(pool, 0);
    keyd_test_peers(channel, &peers);
    keyd_test_adopt(channel, 0x20635F00C4003000, false, &devices[0]);
    keyd_test_adopt(channel, 0x20635F00C4003001, true, &devices[1]);
}

static void teardown(void)
{
    keyd_pool_close(pool);
}

static void reverse(uint8_t *bytes)
{
    struct eui64 eui;

    memcpy(&eui, bytes, sizeof(eui));
    for (size_t i = 0; i < sizeof(eui); i++)
        bytes[i] = eui.bytes[sizeof(eui) - 1 - i];
}

/* The Join-Request of a device that makes the mistake; LW_MIC_NO_MISTAKE: its MIC is of nothing. */
static void make(const struct keyd_test_device *device, enum lw_mic_mistake mistake,
    struct keyd_join_request *ret)
{
    const struct secret_key *key =
        device->has_nwk && mistake != LW_MIC_OTHER_KEY ? &device->nwk_clear : &device->app_clear;
    uint8_t input[LW_JOIN_REQUEST_MIC_INPUT_LEN], mac[16];

    keyd_test_request(device, 7, device->has_nwk, false, ret);
    ret->explain = true;
    memcpy(input, ret->frame, sizeof(input));
    if (mistake == LW_MIC_JOIN_EUI_REVERSED || mistake == LW_MIC_BOTH_REVERSED)
        reverse(input + 1);
    if (mistake == LW_MIC_DEV_EUI_REVERSED || mistake == LW_MIC_BOTH_REVERSED)
        reverse(input + 9);
    ck_assert_int_eq(aes_cmac(key, input, sizeof(input), mac), 0);
    if (mistake == LW_MIC_NO_MISTAKE)
        mac[0] ^= 1;
    memcpy(ret->frame + sizeof(input), mac, LW_MIC_LEN);
}

static void ask(const struct keyd_join_request *request, struct keyd_join_reply *ret)
{
    ck_assert_msg(
        keyd_answer_joins(channel, peers.list, 2, request, 1, ret, keyd_test_deadline()) == 0, "%s",
        error_text());
}

static void must_be_told(const struct keyd_join_request *request, enum lw_mic_mistake mistake)
{
    static const struct keyd_envelope nothing;
    struct keyd_join_reply reply;

    ask(request, &reply);
    ck_assert_int_eq(reply.status, KEYD_MIC_FAILED);
    ck_assert_int_eq(reply.mistake, mistake);
    ck_assert_uint_eq(reply.phy_payload_len, 0);
    ck_assert_mem_eq(&reply.app_s_key, &nothing, sizeof(nothing));
}

START_TEST(each_mistake_is_named)
{
    for (size_t d = 0; d < 2; d++) {
        for (unsigned i = 0; i < LW_N_MIC_MISTAKES; i++) {
            struct keyd_join_request request;

            if (i == LW_MIC_OTHER_KEY && !devices[d].has_nwk)
                continue; /* it has no other */
            make(&devices[d], (enum lw_mic_mistake)i, &request);
            must_be_told(&request, (enum lw_mic_mistake)i);
            request.plan = false; /* so is it of what would be refused in any case */
            must_be_told(&request, (enum lw_mic_mistake)i);
        }
    }
}
END_TEST

START_TEST(a_mistake_is_looked_for_only_where_that_is_asked)
{
    struct keyd_join_request request;

    for (unsigned i = 0; i < LW_N_MIC_MISTAKES; i++) {
        make(&devices[1], (enum lw_mic_mistake)i, &request);
        request.explain = false;
        must_be_told(&request, LW_MIC_NO_MISTAKE);
    }
}
END_TEST

START_TEST(a_good_mic_is_no_mistake)
{
    for (size_t d = 0; d < 2; d++) {
        struct keyd_join_request request;
        struct keyd_join_reply reply;

        keyd_test_request(&devices[d], 7, devices[d].has_nwk, false, &request);
        request.explain = true;
        ask(&request, &reply);
        ck_assert_int_eq(reply.status, KEYD_OK);
        ck_assert_int_eq(reply.mistake, LW_MIC_NO_MISTAKE);
        keyd_test_check(&devices[d], &peers, &request, &reply);
    }
}
END_TEST

/* Made by the AppKey, which explains it if it is a Join-Request. */
START_TEST(a_rejoin_is_never_explained)
{
    static const struct keyd_session session = {
        .present = true, .plan = true, .join_nonce = 0x41, .nonce = 1};
    static const enum lw_join_type types[] = {LW_REJOIN_0, LW_REJOIN_1, LW_REJOIN_2};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct keyd_join_request request;
        uint8_t mac[16];
        size_t len;

        keyd_test_rejoin(&devices[1], types[i], 3, &session, &request);
        len = (size_t)(request.frame_len - LW_MIC_LEN);
        request.explain = true;
        ck_assert_int_eq(aes_cmac(&devices[1].app_clear, request.frame, len, mac), 0);
        memcpy(request.frame + len, mac, LW_MIC_LEN);
        must_be_told(&request, LW_MIC_NO_MISTAKE);
    }
}
END_TEST

START_TEST(an_altered_key_is_refused_before_anything_is_explained)
{
    struct keyd_join_request request;
    struct keyd_join_reply reply;

    make(&devices[1], LW_MIC_OTHER_KEY, &request);
    request.app.blob[0] ^= 1;
    ask(&request, &reply);
    ck_assert_int_eq(reply.status, KEYD_TAG_REFUSED);
    ck_assert_int_eq(reply.mistake, LW_MIC_NO_MISTAKE);
}
END_TEST

static unsigned calls(enum p11_fault_function function)
{
    return atomic_load(&control->calls[function]);
}

/* MACs, opened keys and all that was made, of one request. */
struct cost {
    unsigned signs, unwraps, destroyed;
};

static struct cost cost_of(const struct keyd_join_request *request)
{
    struct cost c = {
        calls(P11_FAULT_C_Sign), calls(P11_FAULT_C_UnwrapKey), calls(P11_FAULT_C_DestroyObject)};
    struct keyd_join_reply reply;

    ask(request, &reply);
    c.signs = calls(P11_FAULT_C_Sign) - c.signs;
    c.unwraps = calls(P11_FAULT_C_UnwrapKey) - c.unwraps;
    c.destroyed = calls(P11_FAULT_C_DestroyObject) - c.destroyed;
    return c;
}

START_TEST(an_explanation_costs_a_few_macs_and_the_same_for_each_mistake)
{
    for (size_t d = 0; d < 2; d++) {
        const unsigned extra_keys = devices[d].has_nwk;
        struct keyd_join_request request;
        struct cost plain;

        make(&devices[d], LW_MIC_NO_MISTAKE, &request);
        request.explain = false;
        plain = cost_of(&request);
        ck_assert_uint_eq(plain.signs, 2 + extra_keys); /* tags, MIC */
        ck_assert_uint_eq(plain.unwraps, 1);
        for (unsigned i = 0; i < LW_N_MIC_MISTAKES; i++) {
            struct cost cost;

            make(&devices[d], (enum lw_mic_mistake)i, &request);
            if (i == LW_MIC_OTHER_KEY && !devices[d].has_nwk)
                continue;
            cost = cost_of(&request);
            ck_assert_uint_eq(cost.signs, plain.signs + 3 + extra_keys);
            ck_assert_uint_eq(cost.unwraps, plain.unwraps + extra_keys);
            ck_assert_uint_eq(cost.destroyed, plain.destroyed + extra_keys); /* nothing is left */
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        each_mistake_is_named,
        a_mistake_is_looked_for_only_where_that_is_asked,
        a_good_mic_is_no_mistake,
        a_rejoin_is_never_explained,
        an_altered_key_is_refused_before_anything_is_explained,
        an_explanation_costs_a_few_macs_and_the_same_for_each_mistake,
    };

    return keyd_test_main(
        "keyd-mistakes", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
