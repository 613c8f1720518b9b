#include "joinserver/metrics.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

static struct join_metrics m;

static void up(void)
{
    memset(&m, 0, sizeof(m));
    join_metrics_init(&m);
}

static struct db_peer peer_of(int64_t id, const char *name)
{
    struct db_peer peer = {.id = id, .kind = PEER_NETWORK_SERVER};

    (void)snprintf(peer.name, sizeof(peer.name), "%s", name);
    return peer;
}

static bool tells(const char *line)
{
    CLEANUP(text_done) struct text out = {0};

    join_metrics_write(&m, &out);
    return strstr(out.data, line) != NULL;
}

START_TEST(answers_are_counted_by_message_and_by_peer)
{
    struct db_peer a = peer_of(1, "a"), b = peer_of(1 + JOIN_METRIC_PEERS_MAX, "b");
    const struct join_message rejoin = {.series = JOIN_SERIES_REJOIN};

    up();
    join_metrics_count(&m, NULL, join_metrics_peer(&m, &a), JOIN_SUCCESS);
    join_metrics_count(&m, NULL, join_metrics_peer(&m, &a), JOIN_SUCCESS);
    join_metrics_count(&m, &rejoin, join_metrics_peer(&m, &b), JOIN_MIC_FAILED);
    ck_assert(tells("cradle_join_requests_total{outcome=\"success\"} 2\n"));
    ck_assert(tells("cradle_rejoin_requests_total{outcome=\"mic_failed\"} 1\n"));
    ck_assert(tells(
        "_peer_answers_total{kind=\"network_server\",peer=\"a\",id=\"1\",outcome=\"success\"} 2\n"));
    ck_assert(tells(
        "_peer_answers_total{kind=\"network_server\",peer=\"b\",id=\"257\",outcome=\"mic_failed\"} 1\n"));
    ck_assert(!tells("peer=\"b\",id=\"257\",outcome=\"success\""));
    join_metrics_done(&m);
}
END_TEST

START_TEST(a_peers_name_cannot_break_out_of_its_label)
{
    struct db_peer peer = peer_of(3, "x\"} 1\\");

    up();
    join_metrics_count(&m, NULL, join_metrics_peer(&m, &peer), JOIN_SUCCESS);
    ck_assert(tells("peer=\"x\\\"} 1\\\\\",id=\"3\",outcome=\"success\"} 1\n"));
    join_metrics_done(&m);
}
END_TEST

START_TEST(more_peers_than_places_are_counted_together)
{
    up();
    for (int64_t id = 1; id <= JOIN_METRIC_PEERS_MAX + 5; id++) {
        struct db_peer peer = peer_of(id, "some");

        join_metrics_count(&m, NULL, join_metrics_peer(&m, &peer), JOIN_SUCCESS);
        ck_assert_ptr_eq(join_metrics_peer(&m, &peer), join_metrics_peer(&m, &peer));
    }
    ck_assert(tells("kind=\"any\",peer=\"(others)\",id=\"-1\",outcome=\"success\"} 5\n"));
    join_metrics_done(&m);
}
END_TEST

START_TEST(the_stages_are_one_series)
{
    CLEANUP(text_done) struct text out = {0};
    const char *first, *second;

    up();
    metric_observe_us(&m.stages[JOIN_STAGE_COMMIT], 900);
    join_metrics_write(&m, &out);
    first = strstr(out.data, "# TYPE cradle_join_stage_seconds histogram\n");
    ck_assert_ptr_nonnull(first);
    second = strstr(first + 1, "# TYPE cradle_join_stage_seconds");
    ck_assert_ptr_null(second);
    ck_assert(tells("cradle_join_stage_seconds_count{stage=\"commit\"} 1\n"));
    ck_assert(tells("cradle_join_stage_seconds_count{stage=\"queue\"} 0\n"));
    join_metrics_done(&m);
}
END_TEST

SUITE_MAIN("joinserver metrics", 4, answers_are_counted_by_message_and_by_peer,
    a_peers_name_cannot_break_out_of_its_label, more_peers_than_places_are_counted_together,
    the_stages_are_one_series)
