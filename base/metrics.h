/* Counters, gauges and histograms in static tables, written out in the Prometheus text format.
 * A table is an array of `struct metric`; values are atomics, so any thread may add. */
#pragma once

#include "base/text.h"
#include <stdatomic.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    const char *name;   /* cradle_joins_total */
    const char *labels; /* `outcome="success"`, or NULL */
    const char *help;   /* one sentence; only the first of a name needs it */
    enum metric_kind kind;
    _Atomic int64_t value;
};

static inline void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

static inline void metric_set(struct metric *m, int64_t v)
{
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

/** Metrics of one name must stand together in the table. */
void metrics_write(struct text *out, struct metric *table, size_t n_metrics);

/* Latency histogram: fixed bounds from 0.25 ms to 10 s. */
#define METRIC_N_BUCKETS 16
struct metric_histogram {
    const char *name;
    const char *labels;
    const char *help;
    _Atomic uint64_t buckets[METRIC_N_BUCKETS + 1];
    _Atomic uint64_t sum_us;
};

void metric_observe_us(struct metric_histogram *h, int64_t us);
void metrics_write_histogram(struct text *out, struct metric_histogram *h);
