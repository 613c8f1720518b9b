#include "base/metrics.h"

#include <inttypes.h>
#include <string.h>

static const char *const kind_names[] = {
    [METRIC_COUNTER] = "counter",
    [METRIC_GAUGE] = "gauge",
};

static const int64_t bucket_us[METRIC_N_BUCKETS] = {250, 500, 1000, 2000, 3000, 5000, 8000, 12000,
    20000, 35000, 60000, 100000, 250000, 500000, 1000000, 10000000};

void metrics_write(struct text *out, struct metric *table, size_t n_metrics)
{
    for (size_t i = 0; i < n_metrics; i++) {
        struct metric *m = &table[i];

        if (i == 0 || strcmp(m->name, table[i - 1].name) != 0) {
            if (m->help != NULL)
                text_addf(out, "# HELP %s %s\n", m->name, m->help);
            text_addf(out, "# TYPE %s %s\n", m->name, kind_names[m->kind]);
        }
        text_addf(out, "%s%s%s%s %" PRId64 "\n", m->name, m->labels != NULL ? "{" : "",
            m->labels != NULL ? m->labels : "", m->labels != NULL ? "}" : "",
            atomic_load_explicit(&m->value, memory_order_relaxed));
    }
}

void metric_observe_us(struct metric_histogram *h, int64_t us)
{
    size_t i = 0;

    while (i < METRIC_N_BUCKETS && us > bucket_us[i])
        i++;
    atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us > 0 ? (uint64_t)us : 0, memory_order_relaxed);
}

void metrics_write_histogram(struct text *out, struct metric_histogram *h)
{
    const char *labels = h->labels != NULL ? h->labels : "";
    const char *comma = h->labels != NULL ? "," : "";
    uint64_t total = 0;

    /* Without it: another of the same name, which stands right after the first. */
    if (h->help != NULL)
        text_addf(out, "# HELP %s %s\n# TYPE %s histogram\n", h->name, h->help, h->name);
    for (size_t i = 0; i < METRIC_N_BUCKETS; i++) {
        total += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        text_addf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", h->name, labels, comma,
            (double)bucket_us[i] / 1e6, total);
    }
    total += atomic_load_explicit(&h->buckets[METRIC_N_BUCKETS], memory_order_relaxed);
    text_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", h->name, labels, comma, total);
    text_addf(out, "%s_sum%s%s%s %g\n", h->name, h->labels != NULL ? "{" : "", labels,
        h->labels != NULL ? "}" : "",
        (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6);
    text_addf(out, "%s_count%s%s%s %" PRIu64 "\n", h->name, h->labels != NULL ? "{" : "", labels,
        h->labels != NULL ? "}" : "", total);
}
