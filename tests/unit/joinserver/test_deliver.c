#include "joinserver/deliver.h"
#include "tests/support/suite.h"

#include "base/clock.h"
#include <stdio.h>
#include <string.h>

#define N_ANSWERS 8
#define URL "https://ns.invalid/answers"

static struct join_deliveries *open_deliveries(void)
{
    struct join_deliveries *d = NULL;

    ck_assert_int_eq(join_deliveries_open(
                         &(struct join_deliveries_config){
                             .directory = "", .max_answers = N_ANSWERS, .max_connections = 4},
                         &d),
        0);
    return d;
}

static enum join_delivery_take take(struct join_deliveries *d, int64_t peer_id, const char *url,
    const char *credential, struct join_delivery **ret)
{
    struct db_peer peer = {.id = peer_id, .name = "ns"};

    (void)snprintf(peer.answer_url, sizeof(peer.answer_url), "%s", url);
    (void)snprintf(peer.answer_credential, sizeof(peer.answer_credential), "%s", credential);
    return join_delivery_take(d, &peer, clock_monotonic_us(), ret);
}

static void assert_metric(struct join_deliveries *d, const char *line)
{
    struct text text = {0};

    join_deliveries_metrics(d, &text);
    ck_assert_msg(strstr(text.data, line) != NULL, "no %s in %s", line, text.data);
    text_done(&text);
}

START_TEST(pauses_double_up_to_a_bound_and_half_of_each_is_chance)
{
    int64_t pause_ms = JOIN_ANSWER_BACKOFF_MS;

    for (unsigned n = 1; n < 100; n++) {
        ck_assert_int_eq(join_delivery_backoff_ms(n, 0), pause_ms / 2);
        ck_assert_int_eq(join_delivery_backoff_ms(n, UINT16_MAX), pause_ms);
        ck_assert_int_gt(join_delivery_backoff_ms(n, UINT16_MAX / 2), pause_ms / 2);
        ck_assert_int_lt(join_delivery_backoff_ms(n, UINT16_MAX / 2), pause_ms);
        pause_ms =
            pause_ms * 2 < JOIN_ANSWER_BACKOFF_MAX_MS ? pause_ms * 2 : JOIN_ANSWER_BACKOFF_MAX_MS;
    }
    ck_assert_int_eq(pause_ms, JOIN_ANSWER_BACKOFF_MAX_MS);
}
END_TEST

START_TEST(what_may_pass_is_tried_again_and_what_will_not_is_final)
{
    static const unsigned again[] = {408, 429, 500, 502, 503, 504, 599};
    static const unsigned final[] = {200, 204, 301, 302, 307, 400, 401, 403, 404, 409, 499};

    for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++)
        ck_assert_msg(!join_delivery_is_final(API_POST_ANSWERED, again[i]), "%u", again[i]);
    for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++)
        ck_assert_msg(join_delivery_is_final(API_POST_ANSWERED, final[i]), "%u", final[i]);
    ck_assert(!join_delivery_is_final(API_POST_UNREACHABLE, 0));
    ck_assert(!join_delivery_is_final(API_POST_TIMEOUT, 0));
    ck_assert(!join_delivery_is_final(API_POST_FAILED, 0));
    ck_assert(join_delivery_is_final(API_POST_UNTRUSTED, 0));
    ck_assert(join_delivery_is_final(API_POST_STOPPED, 0));
}
END_TEST

START_TEST(a_peer_has_three_quarters_of_the_places_and_others_the_rest)
{
    struct join_deliveries *d = open_deliveries();
    struct join_delivery *taken[N_ANSWERS], *none = NULL;
    size_t n = 0;

    while (n < N_ANSWERS && take(d, 7, URL, "", &taken[n]) == JOIN_DELIVERY_TAKEN)
        n++;
    ck_assert_uint_eq(n, N_ANSWERS * JOIN_SHARE_OF_FREE / (JOIN_SHARE_OF_FREE + 1));
    ck_assert_int_eq(take(d, 7, URL, "", &none), JOIN_DELIVERY_FULL);
    for (int64_t other = 8; n < N_ANSWERS; other++)
        ck_assert_int_eq(take(d, other, URL, "", &taken[n++]), JOIN_DELIVERY_TAKEN);
    ck_assert_int_eq(take(d, 99, URL, "", &none), JOIN_DELIVERY_FULL);
    assert_metric(d, "undelivered_total{reason=\"queue_full\"} 3\n");
    assert_metric(d, "cradle_join_answers_waiting 8\n");
    join_delivery_give(taken[0]);
    ck_assert_int_eq(take(d, 99, URL, "", &taken[0]), JOIN_DELIVERY_TAKEN);
    for (size_t i = 0; i < N_ANSWERS; i++)
        join_delivery_give(taken[i]);
    assert_metric(d, "cradle_join_answers_waiting 0\n");
    join_deliveries_stop(d, 0);
}
END_TEST

START_TEST(what_cannot_be_delivered_anyway_has_no_place)
{
    struct join_deliveries *d = open_deliveries();
    struct join_delivery *none = NULL;

    ck_assert_int_eq(take(d, 1, "http://ns.invalid/", "", &none), JOIN_DELIVERY_UNUSABLE);
    assert_metric(d, "undelivered_total{reason=\"url\"} 1\n");
    ck_assert_int_eq(take(d, 1, URL, "named", &none), JOIN_DELIVERY_UNUSABLE);
    assert_metric(d, "undelivered_total{reason=\"credential\"} 1\n");
    ck_assert_ptr_null(none);
    join_deliveries_stop(d, 0);
}
END_TEST

START_TEST(what_waits_at_the_stop_is_ended_and_nothing_is_leaked)
{
    static char body[] = "{}";
    const struct text answer = {.data = body, .len = 2};
    struct join_deliveries *d = open_deliveries();

    for (int64_t i = 0; i < 4; i++) {
        struct join_delivery *delivery;

        /* Nobody listens on port 1: it is tried again until the stop. */
        ck_assert_int_eq(take(d, i, "http://127.0.0.1:1/", "", &delivery), JOIN_DELIVERY_TAKEN);
        join_delivery_send(delivery, &answer);
    }
    join_deliveries_stop(d, 0);
}
END_TEST

SUITE_MAIN("joinserver-deliver", 20, pauses_double_up_to_a_bound_and_half_of_each_is_chance,
    what_may_pass_is_tried_again_and_what_will_not_is_final,
    a_peer_has_three_quarters_of_the_places_and_others_the_rest,
    what_cannot_be_delivered_anyway_has_no_place,
    what_waits_at_the_stop_is_ended_and_nothing_is_leaked)
