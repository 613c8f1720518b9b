#include "activation/job_worker.h"

#include "activation/export_run.h"
#include "activation/move_run.h"
#include "activation/order_run.h"
#include "activation/rule_run.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
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

/* A job of any kind that was taken. */
struct turn {
    const struct kind *kind;
    union {
        struct export_run export;
        struct move_run move;
        struct order_run order;
    } run;
};

/* What there is to do about each kind of job. */
struct kind {
    const char *word;
    int (*take)(struct act_worker *worker, struct turn *turn); /* outcome 1: there is none */
    int (*begin)(struct turn *turn);
    int (*chunk)(struct turn *turn);
    void (*done)(struct turn *turn);
    int (*fail)(struct act_worker *worker, struct turn *turn, const char *fault);
    int (*put_back)(struct act_worker *worker, struct turn *turn, unsigned seconds);
    const struct db_job *(*job)(const struct turn *turn);
    int64_t *(*n_broken)(struct turn *turn);
    bool (*is_revoked)(const struct turn *turn);
};

static int export_take(struct act_worker *worker, struct turn *turn)
{
    turn->run.export = (struct export_run){.worker = worker};
    return db_export_take(
        worker->db, worker->service->settings.hsm_export, &turn->run.export.export);
}

static int export_begin(struct turn *turn)
{
    return export_run_begin(&turn->run.export);
}

static int export_chunk(struct turn *turn)
{
    return export_run_chunk(&turn->run.export);
}

static void export_done(struct turn *turn)
{
    export_run_done(&turn->run.export);
}

static int export_fail(struct act_worker *worker, struct turn *turn, const char *fault)
{
    return db_export_end(worker->db, &turn->run.export.export, JOB_FAILED, fault);
}

static int export_put_back(struct act_worker *worker, struct turn *turn, unsigned seconds)
{
    return db_export_put_back(worker->db, &turn->run.export.export, seconds);
}

static const struct db_job *export_job(const struct turn *turn)
{
    return &turn->run.export.export.job;
}

static int64_t *export_n_broken(struct turn *turn)
{
    return &turn->run.export.export.n_broken;
}

static bool export_is_revoked(const struct turn *turn)
{
    return turn->run.export.export.is_revoked;
}

static int move_take(struct act_worker *worker, struct turn *turn)
{
    turn->run.move = (struct move_run){.worker = worker};
    return db_move_take(worker->db, &turn->run.move.move);
}

static int move_begin(struct turn *turn)
{
    return move_run_begin(&turn->run.move);
}

static int move_chunk(struct turn *turn)
{
    return move_run_chunk(&turn->run.move);
}

static void move_done(struct turn *turn)
{
    move_run_done(&turn->run.move);
}

static int move_fail(struct act_worker *worker, struct turn *turn, const char *fault)
{
    return db_move_end(worker->db, &turn->run.move.move, JOB_FAILED, fault);
}

static int move_put_back(struct act_worker *worker, struct turn *turn, unsigned seconds)
{
    return db_move_put_back(worker->db, &turn->run.move.move, seconds);
}

static const struct db_job *move_job(const struct turn *turn)
{
    return &turn->run.move.move.job;
}

static int64_t *move_n_broken(struct turn *turn)
{
    return &turn->run.move.move.n_broken;
}

static bool move_is_revoked(const struct turn *turn)
{
    return turn->run.move.move.is_revoked;
}

static int order_take(struct act_worker *worker, struct turn *turn)
{
    turn->run.order = (struct order_run){.worker = worker};
    return db_order_run_take(worker->db, &turn->run.order.order);
}

static int order_begin(struct turn *turn)
{
    return order_run_begin(&turn->run.order);
}

static int order_chunk(struct turn *turn)
{
    return order_run_chunk(&turn->run.order);
}

static void order_done(struct turn *turn)
{
    order_run_done(&turn->run.order);
}

static int order_fail(struct act_worker *worker, struct turn *turn, const char *fault)
{
    (void)worker; /* which the run knows */
    return order_run_fail(&turn->run.order, fault);
}

static int order_put_back(struct act_worker *worker, struct turn *turn, unsigned seconds)
{
    return db_order_run_put_back(worker->db, &turn->run.order.order, seconds);
}

static const struct db_job *order_job(const struct turn *turn)
{
    return &turn->run.order.order.job;
}

static int64_t *order_n_broken(struct turn *turn)
{
    return &turn->run.order.order.n_broken;
}

static bool order_is_revoked(const struct turn *turn)
{
    return turn->run.order.order.is_revoked;
}

#define KIND(kind)                                                                                 \
    {                                                                                              \
#kind, kind##_take, kind##_begin, kind##_chunk, kind##_done, kind##_fail, kind##_put_back, \
            kind##_job, kind##_n_broken, kind##_is_revoked                                         \
    }
static const struct kind kinds[] = {KIND(export), KIND(move), KIND(order)};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Until it has ended, is lost, its turn is over or the service stops. */
static int work_on(struct act_job_worker *w, struct turn *turn)
{
    int r = turn->kind->begin(turn);

    for (int i = 0; i < ACT_JOB_TURN_CHUNKS && r == 0 && !atomic_load(&w->stopping); i++)
        r = turn->kind->chunk(turn);
    return r;
}

static int64_t n_done(const struct db_job *job)
{
    return job->kind == JOB_MOVE    ? job->counts.moved
           : job->kind == JOB_ORDER ? job->counts.created
                                    : job->counts.exported;
}

static void say(const struct turn *turn, int outcome)
{
    const struct db_job *job = turn->kind->job(turn);
    const char *word = turn->kind->word;
    char id[2 * ACCOUNT_ID_LEN + 1];

    (void)hex_encode(job->id, sizeof(job->id), id);
    if (outcome < 0)
        log_error("job=%s %s stopped at %" PRId64 ": %s: %s", id, word, job->line,
            error_name(outcome), error_text());
    else if (outcome == RUN_LOST)
        log_warn("job=%s somebody else works on it", id);
    else if (outcome == RUN_GOES_ON)
        log_debug("job=%s %s put back at %" PRId64, id, word, job->line);
    else
        log_info("job=%s %s %s done=%" PRId64 " refused=%" PRId64, id, word,
            db_job_state_text(job->state), n_done(job), job->counts.refused);
}

/* For good. Outcomes as those of a run. */
static int fail(struct act_job_worker *w, struct turn *turn, const char *fault)
{
    int r = turn->kind->fail(&w->worker, turn, fault);

    return r < 0 ? r : r > 0 ? RUN_LOST : RUN_ENDED;
}

/* What a turn came to. A fault of ours may be one of this moment, and devices may be exposed or
 * moved by now: it is tried again, but not for ever. */
static int give_back(struct act_job_worker *w, struct turn *turn, int outcome)
{
    if (outcome == ERROR_INTERNAL && ++*turn->kind->n_broken(turn) >= ACT_JOB_BROKEN_MAX) {
        int r = fail(w, turn, "the service failed on it, again and again");

        return r < 0 ? r : 0;
    }
    if (outcome <= RUN_GOES_ON)
        return turn->kind->put_back(&w->worker, turn, outcome < 0 ? ACT_JOB_AGAIN_S : 0);
    return 0;
}

/* Outcome 1: there is none to do. */
static int take_one(struct act_job_worker *w, const struct kind *kind)
{
    struct turn turn = {.kind = kind};
    int r = kind->take(&w->worker, &turn);
    int back;

    if (r != 0 || (r = FAILPOINT(job_taken, ERROR_DB)) < 0)
        return r;
    /* Who is not believed any more gets nothing more, either; each turn looks. */
    r = kind->is_revoked(&turn) ? fail(w, &turn, "the client that asked for it was revoked")
                                : work_on(w, &turn);
    say(&turn, r);
    kind->done(&turn);
    /* If it cannot even be put back, its lease ends; the round does, by that or by what was. */
    back = give_back(w, &turn, r);
    return r < 0 ? r : back;
}

/* One of each kind. Outcome 1: there is none to do. */
static int take_each(struct act_job_worker *w)
{
    bool any = false;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < N_KINDS && !atomic_load(&w->stopping); i++) {
        r = take_one(w, &kinds[i]);
        any |= r == 0;
    }
    return r < 0 ? r : !any;
}

/* Jobs, and a step of all that is done between them. Outcome 1: there is nothing to do. */
static int do_some(struct act_job_worker *w)
{
    static int (*const steps[])(struct act_worker * worker) = {act_rule_step, order_run_mark};
    int r = take_each(w);
    bool any = r == 0;

    for (size_t i = 0; r >= 0 && i < sizeof(steps) / sizeof(steps[0]); i++) {
        r = steps[i](&w->worker);
        any |= r == 0;
    }
    return r < 0 ? r : !any;
}

/* Does what there is to do, then waits for more. A failure ends the round. */
static int round_of(struct act_job_worker *w)
{
    struct db *db = w->worker.db;
    int64_t until_ms;
    int r, idle;

    if (!w->listening && (r = db_job_listen(db, true)) < 0)
        return r;
    w->listening = true;
    until_ms = clock_monotonic_ms() + ACT_JOB_LOOK_MS;
    do {
        if (atomic_load(&w->stopping))
            return 0;
        if ((idle = do_some(w)) < 0)
            return idle;
    } while (idle == 0 && clock_monotonic_ms() < until_ms);
    if (clock_monotonic_ms() - w->swept_ms >= ACT_JOB_SWEEP_MS) {
        if ((r = db_export_sweep(db)) < 0)
            return r;
        w->swept_ms = clock_monotonic_ms();
    }
    if (idle == 0)
        return 0; /* there is more */
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
