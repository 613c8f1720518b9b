#include "joinserver/keeper.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/manager.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define KEEPER_PAUSE_MS 200     /* between looks; a change of the directory ends it at once */
#define WRITES_PER_ROUND 4      /* of refusals, before changes are looked for again */
#define SWEEP_PAUSE_NS 20000000 /* a late request is answered at most this much later */
#define PARTITIONS_EVERY_MS (6 * 3600 * 1000)
#define RELOAD_EVERY_MS 30000 /* even when no notification came: one may have been lost */

struct join_keeper {
    struct join_routes *routes;
    struct db *db;
    pthread_t keeper, sweeper;
    struct manager_pulse keeper_pulse, sweeper_pulse;
    _Atomic bool stopping;
    bool listening;
    bool changed; /* the directory, since it was loaded */
    int64_t reloaded_ms, partitions_ms;
};

/* One go at what is counted: what comes again in the meantime makes no row more. */
static int write_roaming(struct join_keeper *k, int n_before)
{
    int r = roaming_refusals_write(k->routes->shared->roaming_refusals, k->db);

    return r < 0 || r > n_before ? r : n_before;
}

/* Writes refusals, but never so long that a revocation waits behind a flood of them. Returns how
 * many it wrote in its last go: 0 when nothing is left. */
static int write_refusals(struct join_keeper *k)
{
    int r = 0;

    for (int i = 0; i < WRITES_PER_ROUND; i++)
        if ((r = join_refusals_write(k->routes->shared->refusals, k->db)) <= 0)
            break;
    return r < 0 ? r : write_roaming(k, r);
}

/* One round of database work; the first failure ends it, and the next round begins anew. What
 * others changed comes first. */
static int keep(struct join_keeper *k)
{
    int64_t now_ms = clock_monotonic_ms();
    int r;

    if ((r = db_check(k->db)) < 0)
        return r;
    if (!k->listening || k->changed || now_ms - k->reloaded_ms >= RELOAD_EVERY_MS) {
        /* A connection made anew has lost its LISTEN and may have missed a change. */
        if ((!k->listening && (r = db_directory_listen(k->db)) < 0) ||
            (r = join_directory_reload(k->routes->shared->directory, k->db)) < 0)
            return r;
        k->listening = true;
        k->changed = false;
        k->reloaded_ms = now_ms;
    }
    if (now_ms - k->partitions_ms >= PARTITIONS_EVERY_MS) {
        if ((r = db_join_event_partitions(k->db)) < 0)
            return r;
        k->partitions_ms = now_ms;
    }
    if ((r = write_refusals(k)) < 0)
        return r;
    if ((r = db_directory_wait(k->db, r > 0 ? 0 : KEEPER_PAUSE_MS)) < 0)
        return r;
    k->changed = r > 0;
    return 0;
}

static void *run_keeper(void *arg)
{
    struct join_keeper *k = arg;
    bool was_well = true;

    while (!atomic_load(&k->stopping)) {
        bool well = keep(k) == 0;

        manager_beat(&k->keeper_pulse);
        if (!well) {
            if (was_well)
                log_error("the database does not answer the keeper: %s", error_text());
            db_drop(k->db);
            k->listening = false;
            (void)nanosleep(&(struct timespec){.tv_nsec = KEEPER_PAUSE_MS * 1000000}, NULL);
        } else if (!was_well) {
            log_info("the database answers the keeper again");
        }
        was_well = well;
        atomic_store(&k->routes->ready, well && keyd_pool_healthy(k->routes->keyd));
    }
    /* What the last requests left behind; if it cannot be written now, it was droppable. */
    while (join_refusals_write(k->routes->shared->refusals, k->db) > 0)
        continue;
    while (roaming_refusals_write(k->routes->shared->roaming_refusals, k->db) > 0)
        continue;
    return NULL;
}

static void *run_sweeper(void *arg)
{
    struct join_keeper *k = arg;

    while (!atomic_load(&k->stopping)) {
        struct join_work *expired =
            join_queue_sweep(k->routes->shared->queue, clock_monotonic_ms());

        join_answer_expired(k->routes->shared, expired);
        manager_beat(&k->sweeper_pulse);
        join_forwards_sweep(k->routes->shared->forwards, clock_monotonic_ms());
        (void)nanosleep(&(struct timespec){.tv_nsec = SWEEP_PAUSE_NS}, NULL);
    }
    return NULL;
}

int join_keeper_start(struct join_routes *routes, struct db *db, struct join_keeper **ret)
{
    struct join_keeper *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the keeper");
    k->routes = routes;
    k->db = db;
    manager_beat(&k->keeper_pulse);
    manager_beat(&k->sweeper_pulse);
    k->reloaded_ms = k->partitions_ms = clock_monotonic_ms();
    if (pthread_create(&k->keeper, NULL, run_keeper, k) != 0) {
        free(k);
        return error_set(ERROR_SYSTEM, "cannot start the keeper thread");
    }
    if (pthread_create(&k->sweeper, NULL, run_sweeper, k) != 0) {
        atomic_store(&k->stopping, true);
        (void)pthread_join(k->keeper, NULL);
        free(k);
        return error_set(ERROR_SYSTEM, "cannot start the sweeper thread");
    }
    *ret = k;
    return 0;
}

bool join_keeper_alive(const struct join_keeper *k)
{
    return manager_is_alive(&k->keeper_pulse) && manager_is_alive(&k->sweeper_pulse);
}

void join_keeper_stop(struct join_keeper *k)
{
    if (k == NULL)
        return;
    atomic_store(&k->stopping, true);
    (void)pthread_join(k->keeper, NULL);
    (void)pthread_join(k->sweeper, NULL);
    free(k);
}
