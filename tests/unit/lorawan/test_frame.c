/* Rules and properties of the frame parsers: random bytes come from a fixed seed, so that a failure
 * can be run again. */
#include "base/error.h"
#include "lorawan/accept.h"
#include "lorawan/frame.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define N_RANDOM 20000
#define SEED 20260u

static unsigned short random_state[3];

static void seed(void)
{
    random_state[0] = SEED & 0xFFFF;
    random_state[1] = 0x1234;
    random_state[2] = 0x330E;
}

static void random_fill(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(nrand48(random_state) >> 8);
}

START_TEST(a_join_request_of_another_length_is_wrong_length)
{
    uint8_t frame[64] = {0};
    struct lw_join_request request;

    for (size_t len = 0; len <= sizeof(frame); len++) {
        enum lw_frame_outcome outcome = lw_join_request_parse(frame, len, &request);

        ck_assert_int_eq(outcome, len == LW_JOIN_REQUEST_LEN ? LW_FRAME_OK : LW_FRAME_WRONG_LENGTH);
    }
}
END_TEST

START_TEST(only_one_mhdr_of_256_is_a_join_request)
{
    uint8_t frame[LW_JOIN_REQUEST_LEN] = {0};
    struct lw_join_request request;

    for (unsigned mhdr = 0; mhdr <= 0xFF; mhdr++) {
        frame[0] = (uint8_t)mhdr;
        enum lw_frame_outcome outcome = lw_join_request_parse(frame, sizeof(frame), &request);
        enum lw_frame_outcome expected = mhdr == 0    ? LW_FRAME_OK
                                         : mhdr >> 5  ? LW_FRAME_WRONG_TYPE
                                         : (mhdr & 3) ? LW_FRAME_WRONG_MAJOR
                                                      : LW_FRAME_RFU_SET;

        ck_assert_msg(outcome == expected, "MHDR %02x: %s", mhdr, lw_frame_outcome_text(outcome));
    }
}
END_TEST

START_TEST(a_refused_frame_leaves_the_result_untouched)
{
    uint8_t frame[LW_JOIN_REQUEST_LEN];
    struct lw_join_request request, before;

    memset(frame, 0xFF, sizeof(frame));
    memset(&request, 0x5A, sizeof(request));
    before = request;
    ck_assert_int_ne(lw_join_request_parse(frame, sizeof(frame), &request), LW_FRAME_OK);
    ck_assert_mem_eq(&request, &before, sizeof(request));
}
END_TEST

START_TEST(random_join_requests_are_refused_or_built_again_to_the_same_bytes)
{
    unsigned n_parsed = 0;

    seed();
    for (unsigned i = 0; i < N_RANDOM; i++) {
        uint8_t frame[LW_JOIN_REQUEST_LEN], again[LW_JOIN_REQUEST_LEN];
        struct lw_join_request request;

        random_fill(frame, sizeof(frame));
        if (i % 2 == 0)
            frame[0] = LW_MHDR_JOIN_REQUEST;
        if (lw_join_request_parse(frame, sizeof(frame), &request) != LW_FRAME_OK)
            continue;
        n_parsed++;
        lw_join_request_build(&request, again);
        ck_assert_mem_eq(again, frame, sizeof(frame));
    }
    ck_assert_uint_ge(n_parsed, N_RANDOM / 2);
    ck_assert_uint_lt(n_parsed, N_RANDOM);
}
END_TEST

/* MHDR | JoinEUI | DevEUI | DevNonce, as they are over the air. */
START_TEST(what_a_mistaken_device_takes_its_mic_over)
{
    static const uint8_t frame[LW_JOIN_REQUEST_LEN] = {
        0x00, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 0x21, 0x22, 9, 9, 9, 9};
    static const struct {
        enum lw_mic_mistake mistake;
        uint8_t input[LW_JOIN_REQUEST_MIC_INPUT_LEN];
    } cases[] = {
        {LW_MIC_NO_MISTAKE,
            {0x00, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 0x21, 0x22}},
        {LW_MIC_OTHER_KEY,
            {0x00, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 0x21, 0x22}},
        {LW_MIC_DEV_EUI_REVERSED,
            {0x00, 1, 2, 3, 4, 5, 6, 7, 8, 18, 17, 16, 15, 14, 13, 12, 11, 0x21, 0x22}},
        {LW_MIC_JOIN_EUI_REVERSED,
            {0x00, 8, 7, 6, 5, 4, 3, 2, 1, 11, 12, 13, 14, 15, 16, 17, 18, 0x21, 0x22}},
        {LW_MIC_BOTH_REVERSED,
            {0x00, 8, 7, 6, 5, 4, 3, 2, 1, 18, 17, 16, 15, 14, 13, 12, 11, 0x21, 0x22}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t input[LW_JOIN_REQUEST_MIC_INPUT_LEN];

        lw_join_request_mistaken(frame, cases[i].mistake, input);
        ck_assert_mem_eq(input, cases[i].input, sizeof(input));
    }
}
END_TEST

START_TEST(random_rejoin_requests_are_refused_or_built_again_to_the_same_bytes)
{
    unsigned n_parsed[3] = {0};

    seed();
    for (unsigned i = 0; i < N_RANDOM; i++) {
        uint8_t frame[LW_REJOIN_MAX], again[LW_REJOIN_MAX];
        size_t len = i % 2 == 0 ? LW_REJOIN_LEN_0_2 : LW_REJOIN_LEN_1;
        struct lw_rejoin_request request;

        random_fill(frame, sizeof(frame));
        frame[1] &= 3;
        if (i % 3 != 0)
            frame[0] = LW_MHDR_REJOIN_REQUEST;
        enum lw_frame_outcome outcome = lw_rejoin_request_parse(frame, len, &request);
        if (frame[0] == LW_MHDR_REJOIN_REQUEST) {
            bool agrees = frame[1] == LW_REJOIN_1   ? len == LW_REJOIN_LEN_1
                          : frame[1] <= LW_REJOIN_2 ? len == LW_REJOIN_LEN_0_2
                                                    : false;

            ck_assert_int_eq(outcome, agrees ? LW_FRAME_OK : LW_FRAME_WRONG_REJOIN);
        } else {
            ck_assert_int_ne(outcome, LW_FRAME_OK);
        }
        if (outcome != LW_FRAME_OK)
            continue;
        n_parsed[request.type]++;
        ck_assert_uint_eq(lw_rejoin_request_build(&request, again), len);
        ck_assert_mem_eq(again, frame, len);
    }
    for (unsigned type = 0; type < 3; type++)
        ck_assert_uint_gt(n_parsed[type], 0);
}
END_TEST

START_TEST(random_bytes_of_any_length_never_fault_a_parser)
{
    seed();
    for (unsigned i = 0; i < N_RANDOM; i++) {
        size_t len = (size_t)(nrand48(random_state) % 40);
        /* Exactly as long as said, so that a sanitizer sees one byte too many. */
        uint8_t *frame = malloc(len ? len : 1);
        struct lw_join_request request;
        struct lw_rejoin_request rejoin;
        struct lw_join_accept accept;

        ck_assert_ptr_nonnull(frame);
        random_fill(frame, len);
        if (lw_join_request_parse(frame, len, &request) == LW_FRAME_OK)
            ck_assert_uint_eq(len, LW_JOIN_REQUEST_LEN);
        if (lw_rejoin_request_parse(frame, len, &rejoin) == LW_FRAME_OK)
            ck_assert(len == LW_REJOIN_LEN_0_2 || len == LW_REJOIN_LEN_1);
        if (lw_join_accept_parse(frame, len, &accept) == LW_FRAME_OK)
            ck_assert(len == LW_JOIN_ACCEPT_PLAIN_LEN || len == LW_JOIN_ACCEPT_PLAIN_MAX);
        free(frame);
    }
}
END_TEST

START_TEST(a_rejoin_of_no_type_is_not_built)
{
    struct lw_rejoin_request request = {.type = LW_JOIN};
    uint8_t out[LW_REJOIN_MAX] = {0}, before[LW_REJOIN_MAX] = {0};

    ck_assert_uint_eq(lw_rejoin_request_build(&request, out), 0);
    ck_assert_mem_eq(out, before, sizeof(out));
}
END_TEST

START_TEST(join_accepts_are_parsed_back_to_their_fields)
{
    seed();
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t raw[sizeof(struct lw_join_accept)];
        struct lw_join_accept accept = {0}, read;
        uint8_t plain[LW_JOIN_ACCEPT_PLAIN_MAX];
        size_t len = 0;

        random_fill(raw, sizeof(raw));
        accept.join_nonce = (uint32_t)nrand48(random_state) & LW_JOIN_NONCE_MAX;
        memcpy(accept.net_id.bytes, raw, 3);
        memcpy(accept.dev_addr.bytes, raw + 3, 4);
        accept.dl_settings = raw[7];
        accept.rx_delay = raw[8];
        accept.has_cf_list = i % 2 == 0;
        if (accept.has_cf_list)
            memcpy(accept.cf_list, raw + 9, LW_CF_LIST_LEN);

        ck_assert_int_eq(lw_join_accept_build(&accept, plain, &len), 0);
        ck_assert_uint_eq(len, accept.has_cf_list ? 29 : 13);
        ck_assert_int_eq(lw_join_accept_parse(plain, len, &read), LW_FRAME_OK);
        ck_assert_uint_eq(read.join_nonce, accept.join_nonce);
        ck_assert_mem_eq(read.net_id.bytes, accept.net_id.bytes, 3);
        ck_assert_mem_eq(read.dev_addr.bytes, accept.dev_addr.bytes, 4);
        ck_assert_uint_eq(read.dl_settings, accept.dl_settings);
        ck_assert_uint_eq(read.rx_delay, accept.rx_delay);
        ck_assert(read.has_cf_list == accept.has_cf_list);
        ck_assert_mem_eq(read.cf_list, accept.cf_list, LW_CF_LIST_LEN);
    }
}
END_TEST

START_TEST(a_join_nonce_of_25_bits_is_refused)
{
    struct lw_join_accept accept = {.join_nonce = LW_JOIN_NONCE_MAX};
    uint8_t plain[LW_JOIN_ACCEPT_PLAIN_MAX];
    size_t len = 0;

    ck_assert_int_eq(lw_join_accept_build(&accept, plain, &len), 0);
    accept.join_nonce++;
    ck_assert_int_eq(lw_join_accept_build(&accept, plain, &len), ERROR_INPUT);
}
END_TEST

START_TEST(a_rejoin_is_never_answered_with_optneg_clear)
{
    static const enum lw_join_type types[] = {LW_REJOIN_0, LW_REJOIN_1, LW_REJOIN_2};
    struct eui64 join_eui = {{1}};
    uint8_t input[LW_ACCEPT_MIC_INPUT_MAX];
    size_t len = 0;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct lw_join_accept accept = {.join_nonce = 1, .dl_settings = 0x7F};

        ck_assert_int_eq(
            lw_accept_mic_input(&accept, types[i], &join_eui, 1, input, &len), ERROR_INPUT);
        accept.dl_settings |= LW_OPT_NEG;
        ck_assert_int_eq(lw_accept_mic_input(&accept, types[i], &join_eui, 1, input, &len), 0);
        ck_assert_uint_eq(input[0], types[i]);
        ck_assert_uint_eq(len, LW_ACCEPT_MIC_PREFIX_LEN + LW_JOIN_ACCEPT_PLAIN_LEN);
    }
}
END_TEST

static int failing_cmac(void *key, const uint8_t *in, size_t len, uint8_t out[static 16])
{
    (void)in, (void)len, (void)out;
    return *(int *)key;
}

static int failing_decrypt(void *key, const uint8_t *in, size_t len, uint8_t *out)
{
    (void)in, (void)len, (void)out;
    return *(int *)key;
}

START_TEST(a_failing_key_is_forwarded_and_nothing_written)
{
    static const int results[][2] = {{ERROR_HSM, 0}, {0, ERROR_HSM}};
    struct lw_join_accept accept = {.join_nonce = 1};
    struct eui64 join_eui = {{0}};

    for (size_t i = 0; i < 2; i++) {
        int mic_result = results[i][0], enc_result = results[i][1];
        struct lw_key mic_key = {failing_cmac, failing_decrypt, &mic_result};
        struct lw_key enc_key = {failing_cmac, failing_decrypt, &enc_result};
        uint8_t out[LW_JOIN_ACCEPT_MAX] = {0}, before[LW_JOIN_ACCEPT_MAX] = {0};
        size_t len = 77;

        ck_assert_int_eq(
            lw_accept_protect(&accept, &mic_key, &enc_key, &join_eui, 1, LW_JOIN, out, &len),
            ERROR_HSM);
        ck_assert_uint_eq(len, 77);
        ck_assert_mem_eq(out, before, sizeof(out));
    }
}
END_TEST

START_TEST(every_outcome_has_its_own_text)
{
    for (int a = 0; a < LW_N_FRAME_OUTCOMES; a++) {
        ck_assert_ptr_nonnull(lw_frame_outcome_text((enum lw_frame_outcome)a));
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(lw_frame_outcome_text((enum lw_frame_outcome)a),
                lw_frame_outcome_text((enum lw_frame_outcome)b));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lorawan-frame");
    TCase *tc = tcase_create("rules");

    tcase_add_test(tc, a_join_request_of_another_length_is_wrong_length);
    tcase_add_test(tc, only_one_mhdr_of_256_is_a_join_request);
    tcase_add_test(tc, a_refused_frame_leaves_the_result_untouched);
    tcase_add_test(tc, random_join_requests_are_refused_or_built_again_to_the_same_bytes);
    tcase_add_test(tc, what_a_mistaken_device_takes_its_mic_over);
    tcase_add_test(tc, random_rejoin_requests_are_refused_or_built_again_to_the_same_bytes);
    tcase_add_test(tc, random_bytes_of_any_length_never_fault_a_parser);
    tcase_add_test(tc, a_rejoin_of_no_type_is_not_built);
    tcase_add_test(tc, join_accepts_are_parsed_back_to_their_fields);
    tcase_add_test(tc, a_join_nonce_of_25_bits_is_refused);
    tcase_add_test(tc, a_rejoin_is_never_answered_with_optneg_clear);
    tcase_add_test(tc, a_failing_key_is_forwarded_and_nothing_written);
    tcase_add_test(tc, every_outcome_has_its_own_text);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
