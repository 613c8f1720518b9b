/* keyd-limit and commit-limit: what the two halves of a join can do alone, asked for just as a join
 * worker asks for them (joinserver/worker_keys.c, worker_commit.c), in batches of the same size.
 * age-devices: commits of joins that nobody answered, for a database that has had them. */
#include "tests/bench/verbs.h"

#include "base/clock.h"
#include "base/error.h"
#include "db/directory.h"
#include "tests/bench/fleet.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define BATCH_MAX DB_JOIN_BATCH_MAX
#define WARM_UP_US 1000000
#define KEYD_DEADLINE_MS 10000
#define KEYD_BATCHES 64       /* prepared for a thread, used again and again */
#define COMMIT_DEVICES 100000 /* of a thread at most: more than it commits in the time */

_Static_assert(BATCH_MAX <= KEYD_BATCH_MAX, "a batch is one message");

/* One thread that makes batches until the time is over. */
struct limit_thread {
    int (*batch)(struct limit_thread *thread);
    pthread_t handle;
    unsigned n_batch; /* joins of a batch */
    int64_t begin_us, end_us;
    uint64_t n_joins; /* done in the measured time */
    int result;
    char error[ERROR_TEXT_MAX];

    /* keyd */
    struct keyd_channel *channel;
    const struct sealed_kek *keks[2];
    struct keyd_join_request *requests;
    size_t at;
    struct keyd_join_reply replies[BATCH_MAX];

    /* commit: this thread's devices, which go round */
    struct db *db;
    struct bench_fleet *fleet;
    const uint32_t *devices;
    uint32_t n_devices;
    uint32_t next;
    struct db_join_commit template;
    struct db_join_commit commits[BATCH_MAX];
    bool won[BATCH_MAX];
};

static void *run_thread(void *arg)
{
    struct limit_thread *t = arg;
    int64_t now_us = clock_monotonic_us();

    while (now_us < t->end_us) {
        bool measured = now_us >= t->begin_us;

        t->result = t->batch(t);
        if (t->result < 0) {
            (void)snprintf(t->error, sizeof(t->error), "%s", error_text());
            break;
        }
        now_us = clock_monotonic_us();
        if (measured && now_us < t->end_us)
            t->n_joins += t->n_batch;
    }
    return NULL;
}

/* Runs the threads and prints joins a second. */
static int measure(struct limit_thread *threads, unsigned n, unsigned seconds)
{
    int64_t begin_us = clock_monotonic_us() + WARM_UP_US;
    unsigned n_started = 0;
    uint64_t n_joins = 0;
    int r = 0;

    for (unsigned i = 0; i < n; i++) {
        threads[i].begin_us = begin_us;
        threads[i].end_us = begin_us + (int64_t)seconds * 1000000;
    }
    while (n_started < n &&
           pthread_create(&threads[n_started].handle, NULL, run_thread, &threads[n_started]) == 0)
        n_started++;
    if (n_started < n)
        r = error_set(ERROR_SYSTEM, "cannot start a thread");
    for (unsigned i = 0; i < n_started; i++) {
        (void)pthread_join(threads[i].handle, NULL);
        n_joins += threads[i].n_joins;
        if (r == 0 && threads[i].result < 0)
            r = error_set(threads[i].result, "%s", threads[i].error);
    }
    if (r == 0)
        printf("{\"joins\": %llu, \"seconds\": %u, \"joins_per_s\": %.1f}\n",
            (unsigned long long)n_joins, seconds, (double)n_joins / seconds);
    return r;
}

static int open_db(const struct bench_settings *settings, struct db **ret)
{
    return db_open(
        &(struct db_config){.conninfo = settings->join_conninfo, .program = "cradle-bench"}, ret);
}

static int check_batch(const struct bench_settings *settings)
{
    return settings->batch <= BATCH_MAX
               ? 0
               : error_set(ERROR_CONFIG, "a batch has %d joins at most", BATCH_MAX);
}

/* --- keyd ------------------------------------------------------------------------------------ */

static int keyd_batch(struct limit_thread *t)
{
    int r = keyd_answer_joins(t->channel, t->keks, 2, t->requests + t->at, t->n_batch, t->replies,
        clock_monotonic_ms() + KEYD_DEADLINE_MS);

    for (size_t i = 0; r == 0 && i < t->n_batch; i++)
        if (t->replies[i].status != KEYD_OK)
            r = error_set(
                ERROR_HSM, "keyd answers no join: %s", keyd_status_text(t->replies[i].status));
    t->at = (t->at + t->n_batch) % (KEYD_BATCHES * t->n_batch);
    return r;
}

static int find_kek(const struct db_directory *directory, enum kek_class kek_class,
    const char *peer_id, const struct sealed_kek **ret)
{
    for (size_t i = 0; i < directory->n_keks; i++) {
        const struct sealed_kek *kek = &directory->keks[i];

        if (kek->kek_class == kek_class && strcmp(kek->peer_id, peer_id) == 0) {
            *ret = kek;
            return 0;
        }
    }
    return error_set(ERROR_CONFIG, "%.64s has no KEK", peer_id);
}

static int fill_keyd_request(struct bench_fleet *fleet, uint32_t number,
    struct simdev_network *network, const struct db_join_row *row, struct keyd_join_request *ret)
{
    CLEANUP(bench_device_wipe) struct simdev device;
    uint16_t dev_nonce = 0;
    int r = bench_device_take_nonce(fleet, number, &dev_nonce);

    if (r < 0)
        return r;
    bench_device_make(fleet, number, &device);
    bench_network_for(network, fleet, number);
    *ret = (struct keyd_join_request){.dev_eui = device.dev_eui,
        .join_eui = device.join_eui,
        .app = row->app,
        .has_nwk = row->has_nwk,
        .nwk = row->nwk,
        .explain = true,
        .plan = true,
        .accept = {.join_nonce = ++fleet->memory[number].join_nonce,
            .net_id = network->net_id,
            .dev_addr = network->dev_addr,
            .dl_settings = network->dl_settings,
            .rx_delay = network->rx_delay,
            .has_cf_list = network->has_cf_list},
        .ns_kek = 0,
        .as_kek = 1,
        .frame_len = LW_JOIN_REQUEST_LEN};
    memcpy(ret->accept.cf_list, network->cf_list, sizeof(ret->accept.cf_list));
    return simdev_request_build(&device, dev_nonce, ret->frame);
}

static int prepare_keyd_requests(struct limit_thread *t, struct db *db, struct bench_fleet *fleet,
    struct bench_order *order, struct simdev_network *network)
{
    CLEANUP(cleanup_free) struct db_join_row *rows = calloc(t->n_batch, sizeof(*rows));
    size_t n = KEYD_BATCHES * t->n_batch;

    t->requests = calloc(n, sizeof(*t->requests));
    if (rows == NULL || t->requests == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    for (size_t at = 0; at < n; at += t->n_batch) {
        struct db_join_key keys[BATCH_MAX] = {{.dev_nonce = 0}};
        uint32_t numbers[BATCH_MAX];

        for (size_t i = 0; i < t->n_batch; i++) {
            CLEANUP(bench_device_wipe) struct simdev device;

            numbers[i] = bench_order_next(order);
            bench_device_make(fleet, numbers[i], &device);
            keys[i].dev_eui = device.dev_eui;
        }
        int r = db_join_load(db, keys, t->n_batch, rows);
        for (size_t i = 0; r == 0 && i < t->n_batch; i++)
            r = fill_keyd_request(fleet, numbers[i], network, &rows[i], &t->requests[at + i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int measure_keyd(const struct bench_settings *settings, struct limit_thread *threads,
    struct keyd_pool *pool, struct bench_fleet *fleet, const struct db_directory *directory,
    struct db *db)
{
    CLEANUP(bench_order_done) struct bench_order order = {.devices = NULL};
    CLEANUP(bench_network_wipe) struct simdev_network network = {.rx_delay = 0};
    int r = bench_network_make(settings, &network);

    if (r == 0)
        r = bench_order_make(fleet->n, fleet->seed, &order);
    for (unsigned i = 0; r == 0 && i < settings->threads; i++) {
        struct limit_thread *t = &threads[i];

        t->batch = keyd_batch;
        t->n_batch = settings->batch;
        t->channel = keyd_pool_channel(pool, i);
        r = find_kek(directory, KEK_CLASS_NS, settings->net_id, &t->keks[0]);
        if (r == 0)
            r = find_kek(directory, KEK_CLASS_AS, settings->as_id, &t->keks[1]);
        if (r == 0)
            r = prepare_keyd_requests(t, db, fleet, &order, &network);
    }
    if (r == 0)
        r = measure(threads, settings->threads, settings->seconds);
    for (unsigned i = 0; i < settings->threads; i++)
        free(threads[i].requests);
    return r;
}

int bench_keyd_limit(const struct bench_settings *settings)
{
    unsigned n = settings->threads;
    CLEANUP(cleanup_free) struct limit_thread *threads = calloc(n, sizeof(*threads));
    CLEANUP(bench_fleet_done) struct bench_fleet fleet = {.n = 0};
    CLEANUP(db_directory_done) struct db_directory directory = {.n_peers = 0};
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct keyd_pool *pool = NULL;
    struct keyd_pool_config config = bench_keyd_config(settings, settings->processes, n);

    if (threads == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    int r = check_batch(settings);
    if (r == 0)
        r = open_db(settings, &db);
    if (r == 0)
        r = db_directory_load(db, &directory);
    if (r == 0)
        r = bench_fleet_make(settings, &fleet);
    if (r == 0)
        r = keyd_pool_open(&config, &pool);
    if (r == 0)
        r = measure_keyd(settings, threads, pool, &fleet, &directory, db);
    keyd_pool_close(pool);
    return r;
}

/* --- commit ---------------------------------------------------------------------------------- */

static int fill_commit(struct limit_thread *t, uint32_t number, struct db_join_commit *c)
{
    struct bench_memory *memory = &t->fleet->memory[number];
    CLEANUP(bench_device_wipe) struct simdev device;

    bench_device_make(t->fleet, number, &device);
    *c = t->template;
    c->dev_eui = device.dev_eui;
    c->join_eui = c->air_join_eui = device.join_eui;
    c->counted = bench_device_is_counted(t->fleet, number);
    c->opt_neg = device.mac_version == LW_MAC_1_1;
    c->gate_rev = memory->gate_rev;
    c->old_join_nonce = memory->join_nonce;
    c->new_join_nonce = ++memory->join_nonce;
    /* To the database it is 16 bytes that are never the same twice. */
    memcpy(c->fingerprint, device.dev_eui.bytes, sizeof(device.dev_eui.bytes));
    memcpy(c->fingerprint + sizeof(device.dev_eui.bytes), &memory->join_nonce,
        sizeof(memory->join_nonce));
    memcpy(c->dev_addr.bytes, device.dev_eui.bytes + 4, sizeof(c->dev_addr.bytes));
    return bench_device_take_nonce(t->fleet, number, &c->dev_nonce);
}

/** Commits the first `n` of t->commits. */
static int commit_all(struct limit_thread *t, size_t n)
{
    int r = db_join_commit(t->db, t->commits, n, t->won);

    for (size_t i = 0; r == 0 && i < n; i++)
        if (!t->won[i])
            r = error_set(ERROR_DB, "a join was not committed: are the join servers idle?");
    return r;
}

static int commit_batch(struct limit_thread *t)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < t->n_batch; i++) {
        r = fill_commit(t, t->devices[t->next], &t->commits[i]);
        t->next = (t->next + 1) % t->n_devices;
    }
    return r < 0 ? r : commit_all(t, t->n_batch);
}

static int prepare_commits(const struct bench_settings *settings, struct limit_thread *t,
    struct bench_fleet *fleet, const struct db_directory *directory, const uint32_t *devices,
    uint32_t n_devices)
{
    struct db_join_commit *c = &t->template;

    t->batch = commit_batch;
    t->n_batch = settings->batch;
    t->fleet = fleet;
    t->devices = devices;
    t->n_devices = n_devices;
    *c = (struct db_join_commit){.join_type = LW_JOIN,
        .proved = DB_JOIN_NONE_PROVED,
        .jump_from = DEVICE_NO_NONCE,
        .peer_id = directory->n_peers > 0 ? directory->peers[0].id : 0,
        .ownership_epoch = 1};
    if (!net_id_parse(settings->net_id, strlen(settings->net_id), &c->net_id))
        return error_set(ERROR_CONFIG, "%.20s is not a NetID", settings->net_id);
    (void)net_id_format(&c->net_id, c->sender_id);
    int r = open_db(settings, &t->db);
    return r < 0 ? r : bench_fleet_load(fleet, t->db, devices, n_devices);
}

int bench_commit_limit(const struct bench_settings *settings)
{
    unsigned n = settings->threads;
    CLEANUP(cleanup_free) struct limit_thread *threads = calloc(n, sizeof(*threads));
    CLEANUP(bench_fleet_done) struct bench_fleet fleet = {.n = 0};
    CLEANUP(bench_order_done) struct bench_order order = {.devices = NULL};
    CLEANUP(db_directory_done) struct db_directory directory = {.n_peers = 0};
    CLEANUP(db_cleanup) struct db *db = NULL;
    uint32_t share =
        settings->devices / n < COMMIT_DEVICES ? settings->devices / n : COMMIT_DEVICES;

    if (threads == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    if (share < settings->batch)
        return error_set(
            ERROR_CONFIG, "%u threads want %u devices or more", n, n * settings->batch);
    int r = check_batch(settings);
    if (r == 0)
        r = open_db(settings, &db);
    if (r == 0)
        r = db_directory_load(db, &directory);
    if (r == 0)
        r = bench_fleet_make(settings, &fleet);
    if (r == 0) /* not the order in which the joins came */
        r = bench_order_make(fleet.n, fleet.seed + 1, &order);
    for (unsigned i = 0; r == 0 && i < n; i++)
        r = prepare_commits(
            settings, &threads[i], &fleet, &directory, order.devices + (size_t)i * share, share);
    if (r == 0)
        r = measure(threads, n, settings->seconds);
    for (unsigned i = 0; i < n; i++)
        db_close(threads[i].db);
    return r;
}

/* --- age ------------------------------------------------------------------------------------- */

/** A join of every device that has had fewer than its age. */
static int age_round(struct limit_thread *t, uint32_t *ret_n)
{
    size_t n = 0;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < t->n_devices; i++) {
        uint32_t number = t->devices[i];

        if (t->fleet->memory[number].join_nonce >= bench_device_age(t->fleet, number))
            continue;
        r = fill_commit(t, number, &t->commits[n++]);
        if (r == 0 && n == BATCH_MAX) {
            *ret_n += BATCH_MAX;
            n = 0;
            r = commit_all(t, BATCH_MAX);
        }
    }
    *ret_n += (uint32_t)n;
    return r == 0 && n > 0 ? commit_all(t, n) : r;
}

int bench_age_devices(const struct bench_settings *settings)
{
    CLEANUP(cleanup_free) struct limit_thread *t = calloc(1, sizeof(*t));
    CLEANUP(bench_fleet_done) struct bench_fleet fleet = {.n = 0};
    CLEANUP(bench_order_done) struct bench_order order = {.devices = NULL};
    CLEANUP(db_directory_done) struct db_directory directory = {.n_peers = 0};
    CLEANUP(db_cleanup) struct db *db = NULL;
    uint32_t n = 0, n_before;

    if (t == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    int r = open_db(settings, &db);
    if (r == 0)
        r = db_directory_load(db, &directory);
    if (r == 0)
        r = bench_fleet_make(settings, &fleet);
    if (r == 0)
        r = bench_order_make(fleet.n, fleet.seed, &order);
    if (r == 0)
        r = prepare_commits(settings, t, &fleet, &directory, order.devices, fleet.n);
    do {
        n_before = n;
        if (r == 0)
            r = age_round(t, &n);
    } while (r == 0 && n > n_before);
    db_close(t->db);
    if (r == 0)
        printf("{\"joins\": %u}\n", n);
    return r;
}
