/* Whether the answers of a measurement are right, and how long they took. */
#pragma once

#include "tests/bench/traffic.h"

/** Puts them in order. */
void bench_latencies_sort(int64_t *us, uint32_t n);
/** The smallest value that is not below `percent` of all; 0 of none. */
double bench_percentile_ms(const int64_t *sorted, uint32_t n, unsigned percent);

struct bench_verdict {
    uint32_t n_checked;
    uint32_t n_errors;  /* missing, refused or wrong */
    uint32_t n_in_time; /* right, and there within the measured time */
    double p50_ms, p95_ms, p99_ms, max_ms;
};

#define BENCH_WHY_MAX 300

/** Whether the answer to request `index` is right: `len` 0 when there is none. Outcome 1 or above:
 * it is not, and `why` says how. */
typedef int bench_check(
    void *context, uint32_t index, const char *message, size_t len, char why[static BENCH_WHY_MAX]);

/** The body of an HTTP answer of success; NULL: it is none, and `why` says how. */
const char *bench_http_body(const char *message, size_t len, char why[static BENCH_WHY_MAX]);

/** Has every answer checked, in the order of the requests. The first that are wrong are told on
 * standard error. */
int bench_verdict_reach(const struct bench_plan *plan, const struct bench_traffic *traffic,
    unsigned rate, bench_check *check, void *context, struct bench_verdict *ret);
