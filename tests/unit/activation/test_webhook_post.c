#include "activation/webhook_post.h"

#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

#define DAY_S 86400

/* Computed with: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec_00...00 */
START_TEST(the_signature_is_over_time_and_body)
{
    static const char expected[] =
        "t=1700000000,v1=8646bbb3e3c9ff29eb33af6f91e9b0f4487b4dc7ab9d72f60751aeabbbd96dc2";
    struct act_webhook_secret secret = {.text = ACT_WEBHOOK_SECRET_PREFIX};
    char got[ACT_WEBHOOK_SIGNATURE_MAX], other[ACT_WEBHOOK_SIGNATURE_MAX];
    const size_t prefix_len = strlen(ACT_WEBHOOK_SECRET_PREFIX);

    memset(secret.text + prefix_len, '0', ACT_WEBHOOK_SECRET_LEN - prefix_len);
    ck_assert_int_eq(act_webhook_sign(&secret, 1700000000, "{\"a\":1}", got), 0);
    ck_assert_str_eq(got, expected);
    ck_assert_int_eq(act_webhook_sign(&secret, 1700000001, "{\"a\":1}", other), 0);
    ck_assert_str_ne(got + strlen("t=1700000000"), other + strlen("t=1700000000"));
    ck_assert_int_eq(act_webhook_sign(&secret, 1700000000, "{\"a\":2}", other), 0);
    ck_assert_str_ne(got, other);
}
END_TEST

START_TEST(only_a_2xx_is_taken_and_every_failure_has_its_words)
{
    static const struct {
        enum api_post_outcome outcome;
        unsigned status;
        bool good;
    } cases[] = {
        {API_POST_ANSWERED, 200, true},
        {API_POST_ANSWERED, 204, true},
        {API_POST_ANSWERED, 299, true},
        {API_POST_ANSWERED, 301, false},
        {API_POST_ANSWERED, 308, false},
        {API_POST_ANSWERED, 410, false},
        {API_POST_ANSWERED, 500, false},
        {API_POST_UNREACHABLE, 0, false},
        {API_POST_TIMEOUT, 0, false},
        {API_POST_UNTRUSTED, 0, false},
        {API_POST_NOT_PUBLIC, 0, false},
        {API_POST_FAILED, 0, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct api_post post = {
            .outcome = cases[i].outcome, .status = cases[i].status, .why = "what was heard"};
        struct db_delivery_result result = act_webhook_judge(&post, 1);

        ck_assert_int_eq(result.state, cases[i].good ? DELIVERY_DELIVERED : DELIVERY_WAITING);
        ck_assert_uint_eq(result.status, cases[i].status);
        ck_assert_int_eq(result.fault == NULL, cases[i].good);
        if (result.fault != NULL) {
            ck_assert_uint_le(strlen(result.fault), DB_WEBHOOK_FAULT_MAX);
            ck_assert_str_ne(result.fault, post.why);
        }
    }
}
END_TEST

START_TEST(a_post_that_was_stopped_is_no_try)
{
    const struct api_post stopped = {.outcome = API_POST_STOPPED};
    struct db_delivery_result result = act_webhook_judge(&stopped, ACT_WEBHOOK_TRIES_MAX);

    ck_assert_int_eq(result.state, DELIVERY_WAITING);
    ck_assert(result.untried);
    ck_assert_int_eq(result.again_s, 0);
}
END_TEST

START_TEST(it_is_tried_for_nearly_three_days_at_ever_longer_intervals)
{
    const struct api_post failed = {.outcome = API_POST_TIMEOUT};
    int64_t sum_s = 0, before_s = 0;

    for (unsigned n = 1; n < ACT_WEBHOOK_TRIES_MAX; n++) {
        struct db_delivery_result result = act_webhook_judge(&failed, n);

        ck_assert_int_eq(result.state, DELIVERY_WAITING);
        ck_assert_int_eq(result.again_s, act_webhook_pause_s(n));
        ck_assert_int_ge(result.again_s, before_s);
        before_s = result.again_s;
        sum_s += result.again_s;
    }
    ck_assert_int_gt(sum_s, 2 * DAY_S);
    ck_assert_int_lt(sum_s, 3 * DAY_S);
    ck_assert_int_eq(act_webhook_judge(&failed, ACT_WEBHOOK_TRIES_MAX).state, DELIVERY_DEAD);
    ck_assert_int_eq(act_webhook_judge(&failed, ACT_WEBHOOK_TRIES_MAX + 1).state, DELIVERY_DEAD);
}
END_TEST

SUITE_MAIN("webhook-post", 10, a_post_that_was_stopped_is_no_try,
    the_signature_is_over_time_and_body, only_a_2xx_is_taken_and_every_failure_has_its_words,
    it_is_tried_for_nearly_three_days_at_ever_longer_intervals)
