#include "activation/job_events.h"

#include "activation/jobs.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVENT_MAX 8192 /* bytes; room that a stream must have before it is written to */
#define NS_OF_MS 1000000
#define STATEMENT_MS 3000

struct watcher {
    struct api_stream *stream;
    struct db_job job; /* as it was told last */
    int64_t since_ms, told_ms;
};

struct act_job_events {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct watcher watchers[ACT_WATCHES_MAX]; /* others add, the thread takes away */
    size_t n;
    bool stopping, stopped;
    pthread_t id;
    /* The thread's own. */
    struct db *db;
    bool listening, was_well;
};

_Static_assert(ACT_WATCHES_MAX <= DB_JOB_LOOK_MAX, "one look is at all of them");
_Static_assert(ACT_EVENTS_PAUSE_MS < 1000, "a pause is less than a second");

static bool has_ended(const struct db_job *job)
{
    return job->state == JOB_DONE || job->state == JOB_FAILED || job->state == JOB_CANCELLED;
}

bool act_job_event_write(const struct db_job *job, struct text *out)
{
    text_add(out, "data: ");
    act_job_write(job, out);
    text_add(out, "\n");
    if (!has_ended(job))
        return false;
    text_add(out, "event: end\ndata: ");
    act_job_write(job, out);
    text_add(out, "\n");
    return true;
}

static bool differs(const struct db_job *a, const struct db_job *b)
{
    return a->state != b->state || a->line != b->line || a->cancel_wanted != b->cancel_wanted ||
           strcmp(a->fault, b->fault) != 0 || strcmp(a->result_until, b->result_until) != 0;
}

enum telling { TELLING_ON, TELLING_ENDED, TELLING_BROKEN };

/* A client that takes nothing is told nothing, and cut by the server. */
static enum telling tell(struct watcher *w, const struct db_job *now, int64_t now_ms)
{
    CLEANUP(text_done) struct text event = {0};
    bool ended = false;

    if (api_stream_room(w->stream) < EVENT_MAX)
        return TELLING_ON;
    if (now->row_id != 0 && differs(now, &w->job)) {
        ended = act_job_event_write(now, &event);
        w->job = *now;
    } else if (now_ms - w->told_ms >= ACT_EVENTS_ALIVE_MS) {
        text_add(&event, ":\n\n");
    }
    if (event.len > 0) {
        if (event.failed || api_stream_write(w->stream, event.data, event.len) < 0)
            return TELLING_BROKEN;
        w->told_ms = now_ms;
    }
    return ended || now_ms - w->since_ms >= ACT_EVENTS_LIFE_MS ? TELLING_ENDED : TELLING_ON;
}

static void remove_watcher(struct act_job_events *e, size_t i, bool whole)
{
    api_stream_end(e->watchers[i].stream, whole);
    e->watchers[i] = e->watchers[--e->n];
}

/* How many there are, and what they watch. False: the thread is to end. */
static bool await_watchers(struct act_job_events *e, uint8_t (*ids)[ACCOUNT_ID_LEN], size_t *ret_n)
{
    bool on;

    (void)pthread_mutex_lock(&e->lock);
    if (e->n == 0) {
        /* Announcements that nobody reads fill the server's queue, which is everybody's. */
        db_drop(e->db);
        e->listening = false;
    }
    while (e->n == 0 && !e->stopping)
        (void)pthread_cond_wait(&e->changed, &e->lock);
    for (size_t i = 0; i < e->n; i++)
        memcpy(ids[i], e->watchers[i].job.id, ACCOUNT_ID_LEN);
    *ret_n = e->n;
    on = !e->stopping;
    (void)pthread_mutex_unlock(&e->lock);
    return on;
}

static int look(
    struct act_job_events *e, const uint8_t (*ids)[ACCOUNT_ID_LEN], size_t n, struct db_job *ret)
{
    int r;

    if (!e->listening && (r = db_job_listen(e->db, false)) < 0)
        return r;
    e->listening = true;
    if ((r = db_job_wait(e->db, ACT_EVENTS_LOOK_MS)) < 0)
        return r;
    return db_job_look(e->db, ids, n, ret);
}

/* Those who came meanwhile stand behind the first `n` and are looked after next time. */
static void tell_all(struct act_job_events *e, const struct db_job *jobs, size_t n)
{
    int64_t now_ms = clock_monotonic_ms();

    (void)pthread_mutex_lock(&e->lock);
    for (size_t i = n; i > 0; i--) {
        enum telling telling = tell(&e->watchers[i - 1], &jobs[i - 1], now_ms);

        if (telling != TELLING_ON)
            remove_watcher(e, i - 1, telling == TELLING_ENDED);
    }
    (void)pthread_mutex_unlock(&e->lock);
}

static void *thread_main(void *context)
{
    static const struct timespec pause = {.tv_nsec = (long)ACT_EVENTS_PAUSE_MS * NS_OF_MS};
    struct act_job_events *e = context;
    uint8_t ids[ACT_WATCHES_MAX][ACCOUNT_ID_LEN];
    struct db_job *jobs = calloc(ACT_WATCHES_MAX, sizeof(*jobs));
    size_t n;

    while (jobs != NULL && await_watchers(e, ids, &n)) {
        bool well = look(e, (const uint8_t(*)[ACCOUNT_ID_LEN])ids, n, jobs) == 0;

        if (!well) {
            if (e->was_well)
                log_error("no events of jobs are told now: %s", error_text());
            memset(jobs, 0, ACT_WATCHES_MAX * sizeof(*jobs));
            db_drop(e->db);
            e->listening = false;
        }
        e->was_well = well;
        tell_all(e, jobs, n);
        (void)nanosleep(&pause, NULL);
    }
    free(jobs);
    (void)pthread_mutex_lock(&e->lock);
    e->stopping = true;
    while (e->n > 0)
        remove_watcher(e, e->n - 1, true);
    (void)pthread_mutex_unlock(&e->lock);
    return NULL;
}

int act_job_events_start(struct act_service *service, struct act_job_events **ret)
{
    struct act_job_events *e = calloc(1, sizeof(*e));
    const struct db_config config = {
        .conninfo = service->settings.conninfo,
        .guard = service->guard,
        .program = "cradle-activation",
        .statement_ms = STATEMENT_MS, /* a stop waits for it */
    };
    int r;

    if (e == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the thread that tells of jobs");
    e->was_well = true;
    (void)pthread_mutex_init(&e->lock, NULL);
    (void)pthread_cond_init(&e->changed, NULL);
    if ((r = db_open(&config, &e->db)) == 0 && pthread_create(&e->id, NULL, thread_main, e) != 0) {
        db_close(e->db);
        r = error_set(ERROR_SYSTEM, "cannot start the thread that tells of jobs");
    }
    if (r < 0) {
        free(e);
        return r;
    }
    *ret = e;
    return 0;
}

int act_job_events_watch(
    struct act_job_events *e, struct api_stream *stream, const struct db_job *job)
{
    int64_t now_ms = clock_monotonic_ms();
    bool taken;

    (void)pthread_mutex_lock(&e->lock);
    taken = !e->stopping && e->n < ACT_WATCHES_MAX;
    if (taken)
        e->watchers[e->n++] =
            (struct watcher){.stream = stream, .job = *job, .since_ms = now_ms, .told_ms = now_ms};
    (void)pthread_cond_signal(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
    return taken ? 0 : 1;
}

void act_job_events_stop(struct act_job_events *e)
{
    if (e == NULL || e->stopped)
        return;
    (void)pthread_mutex_lock(&e->lock);
    e->stopping = true;
    (void)pthread_cond_signal(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
    (void)pthread_join(e->id, NULL);
    db_close(e->db);
    e->stopped = true;
}

void act_job_events_free(struct act_job_events *e)
{
    if (e == NULL)
        return;
    (void)pthread_cond_destroy(&e->changed);
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}
