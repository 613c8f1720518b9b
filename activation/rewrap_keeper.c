#include "activation/rewrap_keeper.h"

#include "activation/worker.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/rewrap.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a key process that was late has sealed is stored by then, as a rule. */
#define SETTLE_MARGIN_MS 5000
_Static_assert(DB_REWRAP_SETTLE_S * 1000 >= KEYD_BEHIND_MS + SETTLE_MARGIN_MS,
    "hardly anything comes behind a walk that has ended");

struct act_rewrap_keeper {
    struct act_service *service;
    struct keyd_channel *channel;
    struct db *db;
    pthread_t id;
    _Atomic bool stopping;
    struct keyd_newest newest; /* what seals now */
    struct db_rewrap_row rows[DB_REWRAP_PIECE];
    struct keyd_rewrap_key_request keys[DB_REWRAP_PIECE];
    struct sealed_kek keks[DB_REWRAP_PIECE];
    struct keyd_rewrap_reply replies[DB_REWRAP_PIECE];
};

static void rest(int64_t ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int ask(struct act_rewrap_keeper *k, enum db_rewrap_part part, size_t n)
{
    const int64_t deadline = clock_monotonic_ms() + ACT_REWRAP_KEYD_MS;

    for (size_t i = 0; i < n; i++) {
        const struct db_rewrap_row *row = &k->rows[i];

        k->keks[i] = row->kek;
        k->keys[i] = (struct keyd_rewrap_key_request){
            .dev_eui = row->dev_eui, .join_eui = row->join_eui, .slot = row->slot};
        k->keys[i].key = row->kek.key;
    }
    if (part == DB_REWRAP_PART_DEVICES)
        return keyd_rewrap_keys(k->channel, k->keys, n, k->replies, deadline);
    return keyd_rewrap_keks(k->channel, k->keks, n, k->replies, deadline);
}

static void name_stuck(
    enum db_rewrap_part part, const struct db_rewrap_row *row, enum keyd_status status, char *ret)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    if (part == DB_REWRAP_PART_DEVICES)
        (void)snprintf(ret, DB_REWRAP_REASON_MAX, "device %s, under %s and tag.%u: %s",
            device_id_format(&row->dev_eui, dev_eui), row->kek.key.kek_label,
            row->kek.key.tag_version, keyd_status_text(status));
    else
        (void)snprintf(ret, DB_REWRAP_REASON_MAX, "KEK %.48s of %.40s, under %s and tag.%u: %s",
            row->kek.label, row->kek.peer_id, row->kek.key.kek_label, row->kek.key.tag_version,
            keyd_status_text(status));
}

/* A token that failed has said nothing about the key: the piece is asked for again. */
static int settle(
    struct act_rewrap_keeper *k, enum db_rewrap_part part, size_t n, struct db_rewrap_step *step)
{
    for (size_t i = 0; i < n; i++) {
        const struct keyd_rewrap_reply *reply = &k->replies[i];

        if (reply->status == KEYD_HSM_FAILED)
            return error_set(ERROR_HSM, "key process: %s", keyd_status_text(reply->status));
        k->rows[i].changed = reply->changed;
        k->rows[i].fresh = reply->sealed;
        step->n_changed += reply->changed ? 1 : 0;
        if (reply->status == KEYD_OK)
            continue;
        step->n_stuck++;
        name_stuck(part, &k->rows[i], reply->status, step->reason);
    }
    return 0;
}

/* Without the last row, where that only says how far was looked. */
static size_t count_old(const struct act_rewrap_keeper *k, enum db_rewrap_part part, size_t n)
{
    const struct sealed_key *last = n > 0 ? &k->rows[n - 1].kek.key : NULL;

    return last != NULL && part == DB_REWRAP_PART_DEVICES &&
                   strcmp(last->kek_label, k->newest.device) == 0 &&
                   last->tag_version == k->newest.tag
               ? n - 1
               : n;
}

/* Outcome 1: the walk is over, or another's. */
static int walk_on(struct act_rewrap_keeper *k, struct db_rewrap *rewrap)
{
    const enum db_rewrap_part part = rewrap->part;
    struct db_rewrap_step step = {0};
    size_t n = 0, n_old;
    int r = db_rewrap_load(k->db, rewrap,
        part == DB_REWRAP_PART_DEVICES ? k->newest.device : k->newest.kek, k->newest.tag, k->rows,
        &n);

    n_old = count_old(k, part, n);
    if (r == 0 && n_old > 0)
        r = ask(k, part, n_old);
    if (r == 0)
        r = settle(k, part, n_old, &step);
    if (r < 0)
        return r;
    step.end = n == 0;
    r = db_rewrap_write(k->db, rewrap, k->rows, n, &step);
    if (r == 0)
        metric_add(&k->service->metrics.rewrapped, (int64_t)step.n_changed);
    if (r == 0 && step.n_changed > 0)
        log_info("sealed anew: %zu keys, towards %s", step.n_changed, rewrap->target);
    /* A pass is over: the next begins when the lease ends. */
    if (r == 0 && part + 1 == N_DB_REWRAP_PARTS && step.end)
        return 1;
    return r;
}

static int tell(struct act_rewrap_keeper *k)
{
    struct act_metrics *metrics = &k->service->metrics;
    struct db_rewrap_progress progress;
    int r = db_rewrap_progress(k->db, &progress);

    if (r < 0)
        return r;
    metric_set(&metrics->rewrap_left, progress.n_stuck);
    metric_set(&metrics->rewrap_under_way, progress.target[0] != '\0' && !progress.finished);
    return 0;
}

static int look(struct act_rewrap_keeper *k)
{
    char target[DB_REWRAP_TARGET_MAX + 1];
    struct db_rewrap rewrap;
    int r = keyd_newest(k->channel, &k->newest, clock_monotonic_ms() + ACT_REWRAP_KEYD_MS);

    if (r < 0)
        return r;
    if (snprintf(target, sizeof(target), "%s %s tag.%u code.%u", k->newest.device, k->newest.kek,
            k->newest.tag, k->newest.code) >= (int)sizeof(target))
        return error_set(ERROR_CONFIG, "the labels of the token's keys are too long");
    r = db_rewrap_take(k->db, target, &rewrap);
    while (r == 0 && !atomic_load(&k->stopping)) {
        r = walk_on(k, &rewrap);
        if (r == 0)
            rest(ACT_REWRAP_REST_MS);
    }
    return r < 0 ? r : tell(k);
}

static void *thread_main(void *context)
{
    struct act_rewrap_keeper *k = context;
    bool was_well = true;

    while (!atomic_load(&k->stopping)) {
        const bool well = look(k) == 0;

        if (!well) {
            if (was_well)
                log_error("keys are not sealed anew now: %s", error_text());
            db_drop(k->db);
        } else if (!was_well) {
            log_info("keys are sealed anew again");
        }
        was_well = well;
        for (int i = 0; i < ACT_REWRAP_LOOK_MS / 100 && !atomic_load(&k->stopping); i++)
            rest(100);
    }
    return NULL;
}

int act_rewrap_keeper_start(
    struct act_service *service, unsigned channel, struct act_rewrap_keeper **ret)
{
    struct act_rewrap_keeper *k = calloc(1, sizeof(*k));
    const struct db_config config = {
        .conninfo = service->settings.conninfo,
        .program = "cradle-activation-rewrap",
        .statement_ms = ACT_REWRAP_STATEMENT_MS,
        .guard = service->guard,
    };
    int r;

    if (k == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the thread that seals keys anew");
    k->service = service;
    k->channel = keyd_pool_channel(service->pool, channel);
    if ((r = db_open(&config, &k->db)) == 0 && pthread_create(&k->id, NULL, thread_main, k) != 0) {
        db_close(k->db);
        r = error_set(ERROR_SYSTEM, "cannot start the thread that seals keys anew");
    }
    if (r < 0) {
        free(k);
        return r;
    }
    *ret = k;
    return 0;
}

void act_rewrap_keeper_stop(struct act_rewrap_keeper *k)
{
    if (k == NULL)
        return;
    atomic_store(&k->stopping, true);
    (void)pthread_join(k->id, NULL);
    db_close(k->db);
    free(k);
}
