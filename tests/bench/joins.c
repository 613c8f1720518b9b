#include "tests/bench/verbs.h"

#include "base/clock.h"
#include "base/error.h"
#include "tests/bench/join_check.h"
#include <stdio.h>
#include <sys/sysinfo.h>

#define JOINS_A_CORE 12500 /* more than it makes in a second */
#define WARM_UP_SECONDS 1
#define DEVICES_PER_CONNECTION 4 /* so that hardly ever a device's turn comes while it is busy */

static int make_plan(const struct bench_settings *settings, struct bench_fleet *fleet,
    const struct simdev_network *network, struct bench_plan *ret)
{
    uint32_t rate = settings->rate > 0 ? settings->rate : JOINS_A_CORE * (uint32_t)get_nprocs();
    CLEANUP(db_cleanup) struct db *db = NULL;
    int r = db_open(
        &(struct db_config){.conninfo = settings->join_conninfo, .program = "cradle-bench"}, &db);

    return r < 0 ? r
                 : bench_plan_make(settings, fleet, db, network,
                       rate * (settings->seconds + WARM_UP_SECONDS), ret);
}

static void print_result(const struct bench_traffic *t, const struct bench_plan *plan,
    const struct bench_verdict *v, double prepared_s, double checked_s)
{
    double seconds = (double)(t->end_us - t->begin_us) / 1e6;

    printf("{\"joins\": %u, \"seconds\": %.3f, \"joins_per_s\": %.1f, \"p50_ms\": %.3f, "
           "\"p95_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"errors\": %u, "
           "\"checked\": %u, \"all_sent\": %s, \"load_cpu_us\": %lld, \"prepared_s\": %.2f, "
           "\"checked_s\": %.2f}\n",
        v->n_in_time, seconds, seconds > 0 ? v->n_in_time / seconds : 0, v->p50_ms, v->p95_ms,
        v->p99_ms, v->max_ms, v->n_errors, v->n_checked, t->n_sent == plan->n ? "true" : "false",
        (long long)t->cpu_us, prepared_s, checked_s);
}

int bench_joins(const struct bench_settings *settings)
{
    CLEANUP(bench_fleet_done) struct bench_fleet fleet = {.n = 0};
    CLEANUP(bench_plan_done) struct bench_plan plan = {.n = 0};
    CLEANUP(bench_traffic_done) struct bench_traffic traffic = {.len = 0};
    CLEANUP(bench_network_wipe) struct simdev_network network = {.rx_delay = 0};
    struct bench_verdict verdict;
    int64_t started_us = clock_monotonic_us();

    if (settings->devices < DEVICES_PER_CONNECTION * settings->connections)
        return error_set(ERROR_CONFIG, "%u connections want %u devices or more",
            settings->connections, DEVICES_PER_CONNECTION * settings->connections);
    int r = bench_network_make(settings, &network);
    if (r == 0)
        r = bench_fleet_make(settings, &fleet);
    if (r == 0)
        r = make_plan(settings, &fleet, &network, &plan);
    if (r < 0)
        return r;
    int64_t prepared_us = clock_monotonic_us();
    r = bench_traffic_run(settings, &plan, &traffic);
    if (r < 0)
        return r;
    int64_t over_us = clock_monotonic_us();
    struct bench_joined joined = {.fleet = &fleet, .network = &network, .plan = &plan};
    r = bench_verdict_reach(&plan, &traffic, settings->rate, bench_join_check, &joined, &verdict);
    if (r < 0)
        return r;
    print_result(&traffic, &plan, &verdict, (double)(prepared_us - started_us) / 1e6,
        (double)(clock_monotonic_us() - over_us) / 1e6);
    if (verdict.n_errors == 0)
        return 0;
    (void)error_set(ERROR_INTERNAL, "%u of %u answers are missing or wrong", verdict.n_errors,
        verdict.n_checked);
    return 1;
}
