/* storm: more joins than can be answered. */
#include "tests/bench/verbs.h"

#include "base/error.h"
#include "tests/bench/join_check.h"
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#define WARM_UP_SECONDS 1
#define MAXIMUM_CONNECTIONS 256 /* with them a join server is at its maximum */
#define JOINS_A_CORE 12500      /* more than it makes in a second */
#define TIMES 3                 /* the maximum */
#define BEFORE_SECONDS 4        /* at half the maximum, warm-up included, and after it: */
#define AFTER_SECONDS 8
#define SLICE_US 500000 /* of the time after it, each of which is normal again or not yet */
#define N_SLICES (AFTER_SECONDS * 1000000 / SLICE_US)
#define DEVICES_PER_CONNECTION 4
#define ROUNDS_MAX 100

enum stage { BEFORE, STORM, AFTER, N_STAGES };

struct storm {
    const struct bench_settings *settings;
    struct simdev_network network;
    struct bench_fleet fleet;
    uint32_t *join_nonces; /* of each device, as the answers make it */
    struct db *db;
    struct bench_joined joined;
    /* Of the last run. */
    struct bench_plan plan;
    struct bench_traffic traffic;
    uint8_t *outcomes; /* one a request */
    uint32_t n_checked, n_wrong, n_unanswered, n_late;
};

static void storm_done(struct storm *s)
{
    bench_network_wipe(&s->network);
    bench_fleet_done(&s->fleet);
    bench_plan_done(&s->plan);
    bench_traffic_done(&s->traffic);
    db_close(s->db);
    free(s->join_nonces);
    free(s->outcomes);
}

static int load_devices(
    const struct storm *s, struct bench_fleet *fleet, uint32_t ret_join_nonces[])
{
    CLEANUP(cleanup_free) uint32_t *devices = calloc(fleet->n, sizeof(*devices));

    if (devices == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    for (uint32_t i = 0; i < fleet->n; i++)
        devices[i] = i;
    int r = bench_fleet_load(fleet, s->db, devices, fleet->n);
    for (uint32_t i = 0; i < fleet->n; i++)
        ret_join_nonces[i] = fleet->memory[i].join_nonce;
    return r;
}

static int begin(struct storm *s)
{
    if (s->settings->devices < DEVICES_PER_CONNECTION * s->settings->connections)
        return error_set(ERROR_CONFIG, "%u connections want %u devices or more",
            s->settings->connections, DEVICES_PER_CONNECTION * s->settings->connections);
    int r = bench_network_make(s->settings, &s->network);
    if (r == 0)
        r = bench_fleet_make(s->settings, &s->fleet);
    if (r == 0)
        r = db_open(
            &(struct db_config){.conninfo = s->settings->join_conninfo, .program = "cradle-bench"},
            &s->db);
    if (r < 0)
        return r;
    s->join_nonces = calloc(s->fleet.n, sizeof(*s->join_nonces));
    s->joined = (struct bench_joined){.fleet = &s->fleet, .network = &s->network, .plan = &s->plan};
    return s->join_nonces != NULL ? load_devices(s, &s->fleet, s->join_nonces)
                                  : error_set(ERROR_SYSTEM, "out of memory");
}

/* Sends what is asked for and checks what came; no answer at all is wrong. */
static int run(struct storm *s, const uint32_t *devices, uint32_t n, unsigned connections,
    const struct bench_stage *stages, size_t n_stages)
{
    struct bench_settings settings = *s->settings;

    settings.connections = connections;
    bench_plan_done(&s->plan);
    bench_traffic_done(&s->traffic);
    free(s->outcomes);
    s->outcomes = calloc(n, 1);
    int r = s->outcomes != NULL
                ? bench_plan_of(&settings, &s->fleet, &s->network, devices, n, &s->plan)
                : error_set(ERROR_SYSTEM, "out of memory");
    if (r == 0)
        r = bench_traffic_run_stages(&settings, &s->plan, stages, n_stages, &s->traffic);
    for (uint32_t i = 0; r >= 0 && i < s->traffic.n_sent; i++) {
        const struct bench_reply *reply = &s->traffic.replies[i];
        char why[BENCH_WHY_MAX] = "";

        r = bench_join_check(&s->joined, i, s->traffic.bytes + reply->at, reply->len, why);
        if (r < 0)
            return r;
        s->outcomes[i] = (uint8_t)r;
        s->n_checked++;
        s->n_late += r == BENCH_LATE;
        s->n_unanswered += reply->len == 0;
        if (r == 0)
            s->join_nonces[devices[i]]++;
        if (r == BENCH_WRONG && s->n_wrong++ == 0)
            (void)fprintf(stderr, "cradle-bench: answer %u is wrong: %s\n", i, why);
    }
    return r < 0 ? r : 0;
}

/* Devices of the fleet in an order of their own, `n` of them, beginning anew after the last. */
static uint32_t *some_devices(struct bench_order *order, uint32_t n)
{
    uint32_t *devices = calloc(n, sizeof(*devices));

    for (uint32_t i = 0; devices != NULL && i < n; i++)
        devices[i] = bench_order_next(order);
    return devices;
}

/* Of the requests of one outcome that were due within a time. */
struct latencies {
    uint32_t n;
    double p50_ms, p99_ms, max_ms;
};

static int look(const struct storm *s, int outcome, int64_t from_us, int64_t to_us, bool since_due,
    struct latencies *ret)
{
    CLEANUP(cleanup_free) int64_t *us = calloc(s->plan.n, sizeof(*us));
    uint32_t n = 0;

    if (us == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    for (uint32_t i = 0; i < s->traffic.n_sent; i++) {
        const struct bench_reply *reply = &s->traffic.replies[i];

        if (s->outcomes[i] == outcome && reply->due_us >= from_us && reply->due_us < to_us)
            us[n++] = reply->done_us - (since_due ? reply->due_us : reply->sent_us);
    }
    bench_latencies_sort(us, n);
    *ret = (struct latencies){.n = n,
        .p50_ms = bench_percentile_ms(us, n, 50),
        .p99_ms = bench_percentile_ms(us, n, 99),
        .max_ms = bench_percentile_ms(us, n, 100)};
    return 0;
}

/* Right answers that arrived within a time, a second. */
static double answered_per_s(const struct storm *s, int64_t from_us, int64_t to_us)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->traffic.n_sent; i++)
        n += s->outcomes[i] == 0 && s->traffic.replies[i].done_us >= from_us &&
             s->traffic.replies[i].done_us < to_us;
    return n * 1e6 / (double)(to_us - from_us);
}

static int find_maximum(struct storm *s, struct bench_order *order, double *ret)
{
    unsigned connections = s->settings->connections < MAXIMUM_CONNECTIONS ? s->settings->connections
                                                                          : MAXIMUM_CONNECTIONS;
    const struct bench_stage stage = {.seconds = WARM_UP_SECONDS + s->settings->seconds};
    uint32_t n = JOINS_A_CORE * (uint32_t)get_nprocs() * stage.seconds;
    CLEANUP(cleanup_free) uint32_t *devices = some_devices(order, n);

    if (devices == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    int r = run(s, devices, n, connections, &stage, 1);
    *ret = answered_per_s(s, s->traffic.begin_us, s->traffic.end_us);
    return r;
}

/* When all was as before for good, in milliseconds after the storm: answered, and with a p99 of at
 * most twice that of before. -1: not in the time that was looked at. */
static int find_recovery(const struct storm *s, double p99_before_ms, int *ret_ms)
{
    int64_t from_us = s->traffic.turns[AFTER].at_us;
    int last = 0;

    for (int i = 0; i < N_SLICES; i++) {
        int64_t at_us = from_us + (int64_t)i * SLICE_US;
        struct latencies right, shed, late;
        int r = look(s, 0, at_us, at_us + SLICE_US, true, &right);

        if (r == 0)
            r = look(s, BENCH_SHED, at_us, at_us + SLICE_US, true, &shed);
        if (r == 0)
            r = look(s, BENCH_LATE, at_us, at_us + SLICE_US, true, &late);
        if (r < 0)
            return r;
        if (shed.n > 0 || late.n > 0 || right.p99_ms > 2 * p99_before_ms)
            last = i + 1;
    }
    *ret_ms = last < N_SLICES ? last * (SLICE_US / 1000) : -1;
    return 0;
}

static int overload(struct storm *s)
{
    CLEANUP(bench_order_done) struct bench_order order = {.devices = NULL};
    double maximum = 0;
    int r = bench_order_make(s->fleet.n, s->fleet.seed, &order);
    if (r == 0)
        r = find_maximum(s, &order, &maximum);
    if (r < 0)
        return r;
    if (maximum < 2)
        return error_set(ERROR_INTERNAL, "nothing was answered: no storm is more than that");
    const struct bench_stage stages[N_STAGES] = {
        [BEFORE] = {.rate = (unsigned)(maximum / 2), .seconds = BEFORE_SECONDS},
        [STORM] = {.rate = (unsigned)(maximum * TIMES), .seconds = s->settings->seconds},
        [AFTER] = {.rate = (unsigned)(maximum / 2), .seconds = AFTER_SECONDS},
    };
    uint32_t n = 0;
    for (int i = 0; i < N_STAGES; i++)
        n += stages[i].rate * stages[i].seconds;
    CLEANUP(cleanup_free) uint32_t *devices = some_devices(&order, n);
    if (devices == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    r = run(s, devices, n, s->settings->connections, stages, N_STAGES);
    if (r < 0)
        return r;

    const struct bench_turn *turns = s->traffic.turns;
    int64_t from_us = turns[STORM].at_us, to_us = turns[AFTER].at_us;
    struct latencies before, right, shed, after;
    double answered = answered_per_s(s, from_us, to_us);
    double cores = (double)(turns[AFTER].cpu_us - turns[STORM].cpu_us) / (double)(to_us - from_us);
    int recovered_ms = -1;
    r = look(s, 0, s->traffic.begin_us, from_us, true, &before);
    if (r == 0)
        r = look(s, 0, from_us, to_us, false, &right);
    if (r == 0)
        r = look(s, BENCH_SHED, from_us, to_us, false, &shed);
    if (r == 0)
        r = look(s, 0, to_us + (int64_t)(AFTER_SECONDS / 2) * 1000000, INT64_MAX, true, &after);
    if (r == 0)
        r = find_recovery(s, before.p99_ms, &recovered_ms);
    printf("{\"maximum\": %.1f, \"asked_per_s\": %u, \"offered_per_s\": %.1f, "
           "\"generator_cores\": %.2f, \"joins_per_s\": %.1f, \"of_maximum\": %.3f, "
           "\"p50_ms\": %.2f, \"p99_ms\": %.2f, "
           "\"refused\": %u, \"refused_p50_ms\": %.2f, \"refused_p99_ms\": %.2f, "
           "\"refused_max_ms\": %.2f, \"normal_rate\": %u, \"normal_p99_ms\": %.2f, "
           "\"after_p99_ms\": %.2f, \"recovered_ms\": %d, ",
        maximum, stages[STORM].rate,
        (turns[AFTER].n_sent - turns[STORM].n_sent) * 1e6 / (double)(to_us - from_us), cores,
        answered, answered / maximum, right.p50_ms, right.p99_ms, shed.n, shed.p50_ms, shed.p99_ms,
        shed.max_ms, stages[AFTER].rate, before.p99_ms, after.p99_ms, recovered_ms);
    return r;
}

/* Every device joins once within a time, and whoever was refused again, until all have. */
static int all_devices(struct storm *s)
{
    CLEANUP(bench_order_done) struct bench_order order = {.devices = NULL};
    uint32_t n = s->fleet.n, n_refused = 0, n_rounds = 0;
    unsigned rate = (n + s->settings->within - 1) / s->settings->within;
    int64_t spent_us = 0;
    double refused_max_ms = 0, joined_share = 0;
    int r = bench_order_make(n, s->fleet.seed, &order);

    for (; r == 0 && n > 0 && s->n_wrong == 0 && n_rounds < ROUNDS_MAX; n_rounds++) {
        const struct bench_stage stage = {.rate = rate, .seconds = (n + rate - 1) / rate};
        struct latencies shed;
        uint32_t n_again = 0;
        int64_t last_us = 0;

        r = run(s, order.devices, n, s->settings->connections, &stage, 1);
        if (r == 0)
            r = look(s, BENCH_SHED, 0, INT64_MAX, false, &shed);
        if (r < 0)
            break;
        for (uint32_t i = 0; i < s->traffic.n_sent; i++) {
            if (s->traffic.replies[i].done_us > last_us)
                last_us = s->traffic.replies[i].done_us;
            if (s->outcomes[i] != 0)
                order.devices[n_again++] = s->plan.requests[i].device;
        }
        if (n_rounds == 0)
            joined_share = 1 - (double)n_again / n;
        if (shed.max_ms > refused_max_ms)
            refused_max_ms = shed.max_ms;
        spent_us += last_us - s->traffic.turns[0].at_us;
        n_refused += n_again;
        n = n_again;
    }
    printf("{\"within_s\": %u, \"offered_per_s\": %u, \"joined_at_first\": %.4f, "
           "\"rounds\": %u, \"refused\": %u, \"refused_max_ms\": %.2f, \"seconds\": %.2f, "
           "\"left\": %u, ",
        s->settings->within, rate, joined_share, n_rounds, n_refused, refused_max_ms,
        (double)spent_us / 1e6, n);
    return r;
}

/* Devices of which the database holds another JoinNonce than the answers have made it. */
static int count_spent(const struct storm *s, uint32_t *ret)
{
    CLEANUP(bench_fleet_done) struct bench_fleet there = {.n = 0};
    CLEANUP(cleanup_free) uint32_t *join_nonces = calloc(s->fleet.n, sizeof(*join_nonces));
    uint32_t n = 0;
    int r = join_nonces != NULL ? bench_fleet_make(s->settings, &there)
                                : error_set(ERROR_SYSTEM, "out of memory");

    if (r == 0)
        r = load_devices(s, &there, join_nonces);
    for (uint32_t i = 0; r == 0 && i < s->fleet.n; i++)
        n += join_nonces[i] != s->join_nonces[i];
    *ret = n;
    return r;
}

int bench_storm(const struct bench_settings *settings)
{
    CLEANUP(storm_done) struct storm storm = {.settings = settings};
    uint32_t n_spent = 0;
    int r = begin(&storm);

    if (r < 0)
        return r;
    r = settings->within > 0 ? all_devices(&storm) : overload(&storm);
    if (r == 0)
        r = count_spent(&storm, &n_spent);
    if (r < 0)
        return r;
    printf("\"checked\": %u, \"errors\": %u, \"unanswered\": %u, \"late\": %u, "
           "\"nonces_spent\": %u}\n",
        storm.n_checked, storm.n_wrong, storm.n_unanswered, storm.n_late, n_spent);
    if (storm.n_wrong + n_spent == 0)
        return 0;
    (void)error_set(ERROR_INTERNAL,
        "%u of %u answers are missing or wrong, and refusals have spent nonces of %u devices",
        storm.n_wrong, storm.n_checked, n_spent);
    return 1;
}
