#include "activation/job_worker.h"

#include "activation/export_run.h"
#include "activation/rule_run.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define WAIT_MS 500 /* for an announcement, before it is looked whether to stop */

struct act_job_worker {
    struct act_worker worker;
    pthread_t id;
    _Atomic bool stopping;
    bool listening;
    int64_t swept_ms;
};

/* Until it has ended, is lost, its turn is over or the service stops. */
static int work_on(struct act_job_worker *w, struct export_run *run)
{
    int r = export_run_begin(run);

    for (int i = 0; i < ACT_JOB_TURN_CHUNKS && r == 0 && !atomic_load(&w->stopping); i++)
        r = export_run_chunk(run);
    return r;
}

static void say(const struct db_export *export, int outcome)
{
    char id[2 * ACCOUNT_ID_LEN + 1];

    (void)hex_encode(export->job.id, sizeof(export->job.id), id);
    if (outcome < 0)
        log_error("job=%s export stopped at %" PRId64 ": %s: %s", id, export->job.line,
            error_name(outcome), error_text());
    else if (outcome == EXPORT_LOST)
        log_warn("job=%s somebody else works on it", id);
    else if (outcome == EXPORT_GOES_ON)
        log_debug("job=%s export put back at %" PRId64, id, export->job.line);
    else
        log_info("job=%s export %s exported=%" PRId64 " refused=%" PRId64, id,
            db_job_state_text(export->job.state), export->job.counts.exported,
            export->job.counts.refused);
}

/* For good. Outcomes as those of a run. */
static int fail(struct act_job_worker *w, struct db_export *export, const char *fault)
{
    int r = db_export_end(w->worker.db, export, JOB_FAILED, fault);

    return r < 0 ? r : r > 0 ? EXPORT_LOST : EXPORT_ENDED;
}

/* What a turn came to. A fault of ours may be one of this moment, and its devices may be exposed by
 * now: it is tried again, but not for ever. */
static int give_back(struct act_job_worker *w, struct db_export *export, int outcome)
{
    if (outcome == ERROR_INTERNAL && ++export->n_broken >= ACT_JOB_BROKEN_MAX) {
        int r = fail(w, export, "the service failed on it, again and again");

        return r < 0 ? r : 0;
    }
    if (outcome <= EXPORT_GOES_ON)
        return db_export_put_back(w->worker.db, export, outcome < 0 ? ACT_JOB_AGAIN_S : 0);
    return 0;
}

/* Outcome 1: there is none to do. */
static int take_one(struct act_job_worker *w)
{
    struct export_run run = {.worker = &w->worker};
    int r = db_export_take(w->worker.db, w->worker.service->settings.hsm_export, &run.export);
    int back;

    if (r != 0)
        return r;
    /* Who is not believed any more gets nothing more, either; each turn looks. */
    r = run.export.is_revoked ? fail(w, &run.export, "the client that asked for it was revoked")
                              : work_on(w, &run);
    say(&run.export, r);
    export_run_done(&run);
    /* If it cannot even be put back, its lease ends; the round does, by that or by what was. */
    back = give_back(w, &run.export, r);
    return r < 0 ? r : back;
}

/* Does what there is to do, then waits for more. A failure ends the round. */
static int round_of(struct act_job_worker *w)
{
    struct db *db = w->worker.db;
    int64_t until_ms;
    int r, rule;

    if (!w->listening && (r = db_job_listen(db, true)) < 0)
        return r;
    w->listening = true;
    until_ms = clock_monotonic_ms() + ACT_JOB_LOOK_MS;
    do {
        if (atomic_load(&w->stopping))
            return 0;
        if ((r = take_one(w)) < 0 || (rule = act_rule_step(&w->worker)) < 0)
            return r < 0 ? r : rule;
    } while (r == 0 || rule == 0);
    if (clock_monotonic_ms() - w->swept_ms >= ACT_JOB_SWEEP_MS) {
        if ((r = db_export_sweep(db)) < 0)
            return r;
        w->swept_ms = clock_monotonic_ms();
    }
    do
        r = db_job_wait(db, WAIT_MS);
    while (r == 0 && !atomic_load(&w->stopping) && clock_monotonic_ms() < until_ms);
    return r < 0 ? r : 0;
}

static void *thread_main(void *context)
{
    struct act_job_worker *w = context;
    bool was_well = true;

    while (!atomic_load(&w->stopping)) {
        bool well = round_of(w) == 0;

        if (!well) {
            if (was_well)
                log_error("jobs are not done now: %s", error_text());
            db_drop(w->worker.db);
            w->listening = false;
            (void)nanosleep(&(struct timespec){.tv_nsec = WAIT_MS * 1000000}, NULL);
        } else if (!was_well) {
            log_info("jobs are done again");
        }
        was_well = well;
    }
    return NULL;
}

int act_job_worker_start(struct act_service *service, unsigned channel, struct act_job_worker **ret)
{
    struct act_job_worker *w = calloc(1, sizeof(*w));
    const struct db_config config = {
        .conninfo = service->settings.conninfo,
        .program = "cradle-activation",
        .statement_ms = ACT_STATEMENT_MS,
    };
    int r;

    if (w == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the thread that does jobs");
    w->worker.service = service;
    w->worker.keyd = keyd_pool_channel(service->pool, channel);
    w->swept_ms = -ACT_JOB_SWEEP_MS;
    if ((r = db_open(&config, &w->worker.db)) == 0 &&
        pthread_create(&w->id, NULL, thread_main, w) != 0) {
        db_close(w->worker.db);
        r = error_set(ERROR_SYSTEM, "cannot start the thread that does jobs");
    }
    if (r < 0) {
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void act_job_worker_ask_stop(struct act_job_worker *w)
{
    if (w != NULL)
        atomic_store(&w->stopping, true);
}

void act_job_worker_stop(struct act_job_worker *w)
{
    if (w == NULL)
        return;
    act_job_worker_ask_stop(w);
    (void)pthread_join(w->id, NULL);
    db_close(w->worker.db);
    free(w);
}
