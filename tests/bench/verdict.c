#include "tests/bench/verdict.h"

#include "base/error.h"
#include <stdio.h>
#include <string.h>

#define TOLD_MAX 5

static int compare_us(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

void bench_latencies_sort(int64_t *us, uint32_t n)
{
    qsort(us, n, sizeof(*us), compare_us);
}

double bench_percentile_ms(const int64_t *sorted, uint32_t n, unsigned percent)
{
    uint64_t rank = ((uint64_t)n * percent + 99) / 100;

    return n == 0 ? 0 : (double)sorted[rank > 0 ? rank - 1 : 0] / 1000;
}

const char *bench_http_body(const char *message, size_t len, char why[static BENCH_WHY_MAX])
{
    static const char ok[] = "HTTP/1.1 200 ";
    const char *end = len > 0 ? memmem(message, len, "\r\n\r\n", 4) : NULL;

    if (end == NULL) {
        (void)snprintf(why, BENCH_WHY_MAX, "no answer");
        return NULL;
    }
    if (len < sizeof(ok) || memcmp(message, ok, sizeof(ok) - 1) != 0) {
        (void)snprintf(why, BENCH_WHY_MAX, "%.*s: %.*s", (int)strcspn(message, "\r"), message,
            (int)(message + len - end - 4), end + 4);
        return NULL;
    }
    return end + 4;
}

int bench_verdict_reach(const struct bench_plan *plan, const struct bench_traffic *traffic,
    unsigned rate, bench_check *check, void *context, struct bench_verdict *ret)
{
    CLEANUP(cleanup_free) int64_t *latencies = calloc(plan->n, sizeof(*latencies));
    uint32_t n = 0;

    /* With a rate, all were due; else those after the end were only spares. */
    *ret = (struct bench_verdict){.n_checked = rate > 0 ? plan->n : traffic->n_sent};
    if (latencies == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    for (uint32_t i = 0; i < ret->n_checked; i++) {
        const struct bench_reply *reply = &traffic->replies[i];
        char why[BENCH_WHY_MAX] = "";
        int r = check(context, i, traffic->bytes + reply->at, reply->len, why);

        if (r < 0)
            return r;
        if (r > 0) {
            if (ret->n_errors++ < TOLD_MAX)
                (void)fprintf(stderr, "cradle-bench: answer %u is wrong: %s\n", i, why);
            continue;
        }
        bool in_time = reply->done_us >= traffic->begin_us && reply->done_us < traffic->end_us;
        bool due_in_time = reply->due_us >= traffic->begin_us && reply->due_us < traffic->end_us;
        if (in_time)
            ret->n_in_time++;
        /* With a rate, what was due counts, however late it came. */
        if (rate > 0 ? due_in_time : in_time)
            latencies[n++] = reply->done_us - reply->due_us;
    }
    bench_latencies_sort(latencies, n);
    ret->p50_ms = bench_percentile_ms(latencies, n, 50);
    ret->p95_ms = bench_percentile_ms(latencies, n, 95);
    ret->p99_ms = bench_percentile_ms(latencies, n, 99);
    ret->max_ms = bench_percentile_ms(latencies, n, 100);
    return 0;
}
