#include "activation/trust_keeper.h"

#include "activation/worker.h"
#include "base/error.h"
#include "base/log.h"
#include "db/audit.h"
#include "db/signal.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DETAIL_MAX 60
#define TEXT_MAX 40 /* of an action, and of a request id */

struct act_trust_keeper {
    struct act_service *service;
    struct db *db;
    pthread_t id;
    _Atomic bool stopping;
    unsigned window_s; /* how much is looked through at once: less, where that took too long */
    struct db_signal_round round;
};

/* Outcome 1: there is more. */
static int find(struct act_trust_keeper *k)
{
    struct db_signal_found found = {.more = true};

    for (int i = 0; i < ACT_TRUST_STEPS && found.more && !atomic_load(&k->stopping); i++) {
        int r = db_signal_find(k->db, k->window_s, &found);

        if (r < 0) {
            k->window_s = k->window_s > 1 ? k->window_s / 2 : 1;
            return r;
        }
        k->window_s = DB_SIGNAL_WINDOW_S;
        for (unsigned s = 0; s < N_DEVICE_SIGNALS; s++)
            metric_add(&k->service->metrics.signals[s], (int64_t)found.n[s]);
    }
    return found.more ? 1 : 0;
}

static int audit(struct act_trust_keeper *k, const struct db_signal_device *device,
    enum device_move move, double score)
{
    char action[TEXT_MAX], request_id[TEXT_MAX], detail[DETAIL_MAX], object[EUI64_TEXT_LEN + 1];
    const struct db_audit_event event = {.organization_id = device->holder_id,
        .request_id = request_id,
        .action = action,
        .object = device_id_format(&device->record.dev_eui, object),
        .detail = detail};

    (void)snprintf(action, sizeof(action), "device.%s", device_move_text(move));
    (void)snprintf(request_id, sizeof(request_id), "trust-%s", object);
    (void)snprintf(detail, sizeof(detail), "{\"by\":\"service\",\"score\":%.1f}", score);
    return db_audit_add(k->db, &event);
}

/* Outcome 1: it has changed meanwhile, and is judged again when it is due. */
static int make_move(struct act_trust_keeper *k, const struct db_signal_device *device,
    enum device_move move, double score)
{
    struct device_record after = device->record;
    int r = db_begin(k->db);

    if (r < 0)
        return r;
    device_move_make(move, &after);
    if ((r = db_signal_move(k->db, &device->record, &after)) == 0)
        r = audit(k, device, move, score);
    if (r == 0)
        return db_commit(k->db);
    db_rollback(k->db);
    return r;
}

/* Outcome 1: the device has changed since it was read. */
static int judge(struct act_trust_keeper *k, const struct db_signal_device *device)
{
    const struct device_signal_limits limits = {.suspect_at = k->service->settings.trust_suspect_at,
        .quarantine_at = k->service->settings.trust_quarantine_at,
        .may_quarantine = device->may_quarantine};
    const double score = device_signal_score(device->seen, device->n);
    char dev_eui[EUI64_TEXT_LEN + 1];
    enum device_move move;
    int r;

    if (!device_signal_judge(&device->record, score, &limits, &move))
        return 0;
    if ((r = make_move(k, device, move, score)) != 0)
        return r;
    metric_add(&k->service->metrics.trust_moves[act_trust_counter(move)], 1);
    log_info("trust dev_eui=%s move=%s score=%.1f",
        device_id_format(&device->record.dev_eui, dev_eui), device_move_text(move), score);
    return 0;
}

/* Outcome 1: there may be more. What was moved and not marked is judged again, to the same end. */
static int judge_due(struct act_trust_keeper *k)
{
    for (int i = 0; i < ACT_TRUST_STEPS && !atomic_load(&k->stopping); i++) {
        int r = db_signal_due(k->db, &k->round);
        bool changed = false;

        if (r < 0 || k->round.n_dev_euis == 0)
            return r;
        for (size_t d = 0; d < k->round.n; d++) {
            if ((r = judge(k, &k->round.devices[d])) < 0)
                return r;
            changed |= r > 0;
        }
        if (!changed && (r = db_signal_judged(k->db, &k->round)) < 0)
            return r;
    }
    return 1;
}

static void *thread_main(void *context)
{
    struct act_trust_keeper *k = context;
    bool was_well = true;

    while (!atomic_load(&k->stopping)) {
        const int more = find(k);
        const int due = judge_due(k); /* also where nothing could be found */
        const bool well = more >= 0 && due >= 0;

        if (!well) {
            if (was_well)
                log_error("signals of clones are not looked for now: %s", error_text());
            db_drop(k->db);
        } else if (!was_well) {
            log_info("signals of clones are looked for again");
        }
        was_well = well;
        if (!well || (more == 0 && due == 0))
            (void)nanosleep(&(struct timespec){.tv_sec = ACT_TRUST_LOOK_MS / 1000,
                                .tv_nsec = ACT_TRUST_LOOK_MS % 1000 * 1000000},
                NULL);
    }
    return NULL;
}

int act_trust_keeper_start(struct act_service *service, struct act_trust_keeper **ret)
{
    struct act_trust_keeper *k = calloc(1, sizeof(*k));
    const struct db_config config = {
        .conninfo = service->settings.conninfo,
        .guard = service->guard,
        .program = "cradle-activation-trust",
        .statement_ms = ACT_TRUST_STATEMENT_MS,
    };
    int r;

    if (k == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the thread that looks for clones");
    k->service = service;
    k->window_s = DB_SIGNAL_WINDOW_S;
    if ((r = db_open(&config, &k->db)) == 0 && pthread_create(&k->id, NULL, thread_main, k) != 0) {
        db_close(k->db);
        r = error_set(ERROR_SYSTEM, "cannot start the thread that looks for clones");
    }
    if (r < 0) {
        free(k);
        return r;
    }
    *ret = k;
    return 0;
}

void act_trust_keeper_stop(struct act_trust_keeper *k)
{
    if (k == NULL)
        return;
    atomic_store(&k->stopping, true);
    (void)pthread_join(k->id, NULL);
    db_close(k->db);
    free(k);
}
