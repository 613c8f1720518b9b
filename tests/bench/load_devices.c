#include "tests/bench/verbs.h"

#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "db/account.h"
#include "db/batch.h"
#include "tests/bench/fleet.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#define KEYD_DEADLINE_MS 60000
#define PROCESSES_MAX 16
#define LOADERS_EACH 2 /* of a key process: one stores while keys are sealed for the other */

/* One thread that makes every n-th chunk of the devices. */
struct loader {
    const struct bench_settings *settings;
    const struct bench_fleet *fleet;
    struct keyd_channel *channel;
    int64_t organization_id;
    int64_t batch_id;
    struct net_id net_id;
    unsigned index;
    unsigned n_loaders;
    pthread_t thread;
    int result;
    char error[ERROR_TEXT_MAX];

    struct db *db;
    struct db_batch_row rows[DB_BATCH_ROWS_MAX];
    enum db_batch_outcome outcomes[DB_BATCH_ROWS_MAX];
    struct keyd_adopt_request requests[KEYD_BATCH_MAX];
    struct keyd_adopt_reply replies[KEYD_BATCH_MAX];
    struct db_batch_row *targets[KEYD_BATCH_MAX]; /* whose row a request's answer goes to */
    size_t n_requests;
};

static int seal_pending(struct loader *l)
{
    int r = keyd_adopt_device_keys(l->channel, NULL, 0, l->requests, l->n_requests, l->replies,
        clock_monotonic_ms() + KEYD_DEADLINE_MS);

    for (size_t i = 0; r == 0 && i < l->n_requests; i++) {
        struct db_batch_row *row = l->targets[i];
        struct db_batch_key *key = l->requests[i].slot == KEY_SLOT_NWK ? &row->nwk : &row->app;

        if (l->replies[i].status != KEYD_OK)
            r = error_set(
                ERROR_HSM, "keyd seals no key: %s", keyd_status_text(l->replies[i].status));
        key->sealed = l->replies[i].sealed;
        memcpy(key->fingerprint, l->replies[i].fingerprint, sizeof(key->fingerprint));
    }
    secret_wipe(l->requests, sizeof(l->requests));
    l->n_requests = 0;
    return r;
}

static int seal(
    struct loader *l, struct db_batch_row *row, enum key_slot slot, const struct secret_key *key)
{
    l->targets[l->n_requests] = row;
    l->requests[l->n_requests++] = (struct keyd_adopt_request){.dev_eui = row->record.dev_eui,
        .join_eui = row->record.join_eui,
        .slot = slot,
        .key = *key};
    return l->n_requests == KEYD_BATCH_MAX ? seal_pending(l) : 0;
}

static int make_row(struct loader *l, uint32_t number, struct db_batch_row *row)
{
    CLEANUP(bench_device_wipe) struct simdev device;

    bench_device_make(l->fleet, number, &device);
    *row = (struct db_batch_row){.record = {.dev_eui = device.dev_eui,
                                     .join_eui = device.join_eui,
                                     .mac_version = device.mac_version,
                                     .credential = CREDENTIAL_ACTIVABLE,
                                     .ownership = OWNERSHIP_CLAIMED,
                                     .service = SERVICE_ACTIVE,
                                     .trust = TRUST_OK,
                                     .ownership_epoch = 1,
                                     .has_home_net_id = true,
                                     .home_net_id = l->net_id}};
    (void)snprintf(row->record.as_id, sizeof(row->record.as_id), "%s", l->settings->as_id);
    row->has_nwk = device.mac_version == LW_MAC_1_1;
    row->line = (int64_t)number + 1;
    row->last_dev_nonce = DEVICE_NO_NONCE;
    int r = seal(l, row, KEY_SLOT_APP, &device.app_key);
    if (r == 0 && row->has_nwk)
        r = seal(l, row, KEY_SLOT_NWK, &device.nwk_key);
    return r;
}

static int make_chunk(struct loader *l, uint32_t first, uint32_t n)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = make_row(l, first + i, &l->rows[i]);
    if (r == 0 && l->n_requests > 0)
        r = seal_pending(l);
    if (r == 0)
        r = db_batch_insert(l->db, l->batch_id, l->organization_id, l->rows, n, l->outcomes);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        if (l->outcomes[i] != DB_BATCH_CREATED)
            r = error_set(ERROR_CONFIG, "device %u is there already", first + i);
    return r;
}

static void *run_loader(void *arg)
{
    struct loader *l = arg;
    uint32_t n_devices = l->fleet->n;

    l->result = db_open(
        &(struct db_config){.conninfo = l->settings->conninfo, .program = "cradle-bench"}, &l->db);
    for (uint32_t first = l->index * DB_BATCH_ROWS_MAX; l->result == 0 && first < n_devices;
         first += l->n_loaders * DB_BATCH_ROWS_MAX)
        l->result = make_chunk(l, first,
            n_devices - first < DB_BATCH_ROWS_MAX ? n_devices - first : DB_BATCH_ROWS_MAX);
    if (l->result < 0)
        (void)snprintf(l->error, sizeof(l->error), "%s", error_text());
    db_close(l->db);
    return NULL;
}

/* The maker of the devices; nobody knows its client's secret. */
static int make_organization(struct db *db, int64_t *ret_id)
{
    struct db_client client = {.organization = "Load generator", .roles = ROLES_MAKER};
    int r = random_bytes(client.id, sizeof(client.id));

    if (r == 0)
        r = random_bytes(client.secret_hash, sizeof(client.secret_hash));
    if (r == 0)
        r = db_client_add(db, &client);
    if (r == 0)
        *ret_id = client.organization_id;
    return r;
}

static int run_loaders(struct loader *loaders, unsigned n)
{
    unsigned n_started = 0;
    int r = 0;

    while (n_started < n &&
           pthread_create(&loaders[n_started].thread, NULL, run_loader, &loaders[n_started]) == 0)
        n_started++;
    if (n_started < n)
        r = error_set(ERROR_SYSTEM, "cannot start a thread");
    for (unsigned i = 0; i < n_started; i++) {
        (void)pthread_join(loaders[i].thread, NULL);
        if (r == 0 && loaders[i].result < 0)
            r = error_set(loaders[i].result, "%s", loaders[i].error);
    }
    return r;
}

static int load(const struct bench_settings *settings, struct bench_fleet *fleet,
    struct keyd_pool *pool, unsigned n_loaders)
{
    CLEANUP(cleanup_free) struct loader *loaders = calloc(n_loaders, sizeof(*loaders));
    CLEANUP(db_cleanup) struct db *db = NULL;
    int64_t organization_id = 0, batch_id = 0;
    struct net_id net_id;

    if (loaders == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    if (!net_id_parse(settings->net_id, strlen(settings->net_id), &net_id))
        return error_set(ERROR_CONFIG, "%.20s is not a NetID", settings->net_id);
    int r = db_open(
        &(struct db_config){.conninfo = settings->conninfo, .program = "cradle-bench"}, &db);
    if (r == 0)
        r = make_organization(db, &organization_id);
    if (r == 0)
        r = db_batch_begin(db, organization_id, "bench", &batch_id);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < n_loaders; i++) {
        loaders[i].settings = settings;
        loaders[i].fleet = fleet;
        loaders[i].channel = keyd_pool_channel(pool, i);
        loaders[i].organization_id = organization_id;
        loaders[i].batch_id = batch_id;
        loaders[i].net_id = net_id;
        loaders[i].index = i;
        loaders[i].n_loaders = n_loaders;
    }
    r = run_loaders(loaders, n_loaders);
    if (r == 0)
        r = db_batch_finish(db, batch_id, fleet->n, 0);
    return r;
}

int bench_load_devices(const struct bench_settings *settings)
{
    CLEANUP(bench_fleet_done) struct bench_fleet fleet = {.n = 0};
    unsigned n_processes = (unsigned)get_nprocs();
    struct keyd_pool *pool = NULL;
    int64_t started_us = clock_monotonic_us();

    if (n_processes > PROCESSES_MAX)
        n_processes = PROCESSES_MAX;
    unsigned n_loaders = LOADERS_EACH * n_processes;
    struct keyd_pool_config config = bench_keyd_config(settings, n_processes, n_loaders);
    int r = bench_fleet_make(settings, &fleet);
    if (r == 0)
        r = keyd_pool_open(&config, &pool);
    if (r == 0)
        r = load(settings, &fleet, pool, n_loaders);
    keyd_pool_close(pool);
    if (r == 0)
        printf("{\"devices\": %u, \"seconds\": %.3f}\n", fleet.n,
            (double)(clock_monotonic_us() - started_us) / 1e6);
    return r;
}
