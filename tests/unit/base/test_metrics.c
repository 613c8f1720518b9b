#include "base/metrics.h"
#include "tests/support/suite.h"

#include <string.h>

START_TEST(a_name_is_described_once_and_each_label_counted)
{
    CLEANUP(text_done) struct text t = {0};
    struct metric table[] = {{.name = "x_total", .labels = "a=\"1\"", .help = "Things."},
        {.name = "x_total", .labels = "a=\"2\""}};

    metric_add(&table[1], 5);
    metrics_write(&t, table, 2);
    ck_assert_str_eq(t.data,
        "# HELP x_total Things.\n# TYPE x_total counter\nx_total{a=\"1\"} 0\nx_total{a=\"2\"} 5\n");
}
END_TEST

START_TEST(histogram_buckets_are_cumulative_and_end_with_everything)
{
    CLEANUP(text_done) struct text t = {0};
    struct metric_histogram h = {.name = "h", .help = "H."};

    metric_observe_us(&h, 100);
    metric_observe_us(&h, 250);      /* a bound belongs to its bucket */
    metric_observe_us(&h, 99000000); /* beyond the last bound */
    metrics_write_histogram(&t, &h);
    ck_assert_ptr_nonnull(strstr(t.data, "h_bucket{le=\"0.00025\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(t.data, "h_bucket{le=\"10\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(t.data, "h_bucket{le=\"+Inf\"} 3\n"));
    ck_assert_ptr_nonnull(strstr(t.data, "h_count 3\n"));
}
END_TEST

SUITE_MAIN("base metrics", 4, a_name_is_described_once_and_each_label_counted,
    histogram_buckets_are_cumulative_and_end_with_everything)
