#include "activation/worker.h"

#include "activation/call.h"
#include "base/error.h"
#include "base/log.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct job {
    struct api_request *request; /* one of these two is NULL */
    struct api_stream *stream;
    const struct act_route *route;
    uint64_t number; /* the smaller, the older */
};

struct queue {
    struct job jobs[ACT_QUEUE_MAX];
    size_t first, n;
    unsigned n_busy;        /* workers with what they took from it */
    struct metric *waiting; /* n, for those who look */
};

struct thread {
    pthread_t id;
    struct act_workers *workers;
    struct act_worker worker;
    int64_t long_for; /* the organization that its long call is of; 0: it has none */
    /* What it took. */
    enum act_queue kind;
    size_t n_jobs;
    struct job jobs[ACT_TOGETHER_MAX];
    struct act_call calls[ACT_TOGETHER_MAX];
    struct act_caller callers[ACT_TOGETHER_MAX];
};

struct act_workers {
    struct act_service *service;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue queues[N_QUEUES];
    uint64_t n_submitted;
    bool stopping;
    unsigned n_threads;
    struct thread *threads;
};

static bool queue_put(struct queue *queue, struct job job)
{
    if (queue->n == ACT_QUEUE_MAX)
        return false;
    queue->jobs[(queue->first + queue->n++) % ACT_QUEUE_MAX] = job;
    metric_set(queue->waiting, (int64_t)queue->n);
    return true;
}

static struct job queue_take(struct queue *queue)
{
    struct job job = queue->jobs[queue->first];

    queue->first = (queue->first + 1) % ACT_QUEUE_MAX;
    metric_set(queue->waiting, (int64_t)--queue->n);
    return job;
}

static unsigned busy_max(const struct act_workers *workers, enum act_queue kind)
{
    unsigned n = workers->n_threads - 1; /* token.workers is 2 or more */

    if (kind == QUEUE_SHORT)
        return workers->n_threads;
    return kind == QUEUE_TOGETHER && n > ACT_TOGETHER_WORKERS ? ACT_TOGETHER_WORKERS : n;
}

static bool may_take(const struct act_workers *workers, enum act_queue kind)
{
    return workers->queues[kind].n > 0 && workers->queues[kind].n_busy < busy_max(workers, kind);
}

static uint64_t oldest(const struct act_workers *workers, enum act_queue kind)
{
    const struct queue *queue = &workers->queues[kind];

    return queue->jobs[queue->first].number;
}

/* Where the next is to be taken from; N_QUEUES: there is none that a worker may take now. */
static enum act_queue choose(const struct act_workers *workers)
{
    if (may_take(workers, QUEUE_TOGETHER) &&
        (!may_take(workers, QUEUE_SHORT) ||
            oldest(workers, QUEUE_TOGETHER) < oldest(workers, QUEUE_SHORT)))
        return QUEUE_TOGETHER;
    if (may_take(workers, QUEUE_SHORT))
        return QUEUE_SHORT;
    return may_take(workers, QUEUE_LONG) ? QUEUE_LONG : N_QUEUES;
}

/* One, or as many of one route as are waiting to be answered together. */
static void take(struct thread *thread, enum act_queue kind)
{
    struct queue *queue = &thread->workers->queues[kind];
    const struct act_route *route = queue->jobs[queue->first].route;
    size_t n_max = kind == QUEUE_TOGETHER ? ACT_TOGETHER_MAX : 1;

    thread->kind = kind;
    thread->n_jobs = 0;
    queue->n_busy++;
    while (thread->n_jobs < n_max && queue->n > 0 && queue->jobs[queue->first].route == route)
        thread->jobs[thread->n_jobs++] = queue_take(queue);
}

/* Long calls may be slow, and their senders too: one organization does not get all the threads that
 * may do them, as long as there are two. */
static bool take_long_place(struct thread *thread, int64_t organization_id)
{
    struct act_workers *workers = thread->workers;
    unsigned n_long = busy_max(workers, QUEUE_LONG), share = n_long > 1 ? n_long - 1 : 1, n_own = 0;

    (void)pthread_mutex_lock(&workers->lock);
    for (unsigned i = 0; i < workers->n_threads; i++)
        n_own += workers->threads[i].long_for == organization_id;
    if (n_own < share)
        thread->long_for = organization_id;
    (void)pthread_mutex_unlock(&workers->lock);
    return n_own < share;
}

/* What this thread is to do next; false when there is nothing and the threads are to end. What is
 * left for others to take is told to one of them, who does the same. */
static bool wait_for_jobs(struct thread *thread)
{
    struct act_workers *workers = thread->workers;
    enum act_queue kind;

    (void)pthread_mutex_lock(&workers->lock);
    while ((kind = choose(workers)) == N_QUEUES && !workers->stopping)
        (void)pthread_cond_wait(&workers->wake, &workers->lock);
    if (kind != N_QUEUES)
        take(thread, kind);
    if (choose(workers) != N_QUEUES)
        (void)pthread_cond_signal(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
    return kind != N_QUEUES;
}

/* Whoever waits need not be told: this thread looks for itself, and tells of what it leaves. */
static void finish_jobs(struct thread *thread)
{
    struct act_workers *workers = thread->workers;

    (void)pthread_mutex_lock(&workers->lock);
    thread->long_for = 0;
    workers->queues[thread->kind].n_busy--;
    (void)pthread_mutex_unlock(&workers->lock);
}

/* An answer of 400 and more that the handler is not asked for. */
static void refuse(struct act_call *call, enum problem problem, const char *detail)
{
    (void)act_call_problem(call, problem, detail);
}

static int authenticate(struct act_call *call, struct act_caller *caller)
{
    return call->route->by_certificate
               ? act_authenticate_certificate(call->worker, call->request, caller)
               : act_authenticate(call->worker, call->request, caller);
}

/* Who is asking comes before everything that the request says. False when it was answered. */
static bool admit(struct act_call *call, const struct act_caller *caller, bool good)
{
    enum act_right right = call->route->right;
    char detail[128];

    if (!good) {
        refuse(call, PROBLEM_UNAUTHENTICATED,
            call->route->by_certificate ? ACT_CERTIFICATE_NEEDED : ACT_TOKEN_NOT_VALID);
        return false;
    }
    call->caller = caller;
    if (act_right_allows(right, caller->roles))
        return true;
    (void)snprintf(detail, sizeof(detail), "this client may not %s", act_right_text(right));
    refuse(call, PROBLEM_FORBIDDEN, detail);
    return false;
}

/* False when it was answered. */
static bool authorize(struct act_call *call, struct act_caller *caller)
{
    int r;

    if (act_right_roles(call->route->right) == ROLES_ANYONE)
        return true;
    r = authenticate(call, caller);
    if (r < 0) {
        (void)act_call_failed(call, r);
        return false;
    }
    return admit(call, caller, r == 0);
}

/* One request, by itself. */
static void run_job(struct thread *thread, const struct job *job, bool stopping)
{
    struct act_worker *worker = &thread->worker;

    CLEANUP(act_call_done)
    struct act_call call = {.worker = worker,
        .request = job->stream != NULL ? api_stream_head(job->stream) : job->request,
        .stream = job->stream,
        .route = job->route};
    const struct act_route *route;
    struct act_caller caller;

    (void)act_route_find(api_request_method(call.request), api_request_path(call.request), &route,
        &call.params, NULL);
    if (stopping)
        refuse(&call, PROBLEM_UNAVAILABLE, "shutting down");
    else if (!authorize(&call, &caller))
        ; /* answered */
    else if (job->route->is_long && !take_long_place(thread, caller.organization_id))
        refuse(&call, PROBLEM_UNAVAILABLE,
            "as many long calls of this organization as it may have at once are under way");
    else
        act_call_run(&call);
    act_call_send(&call, job->request);
    if (job->request != NULL)
        api_give_back(&job->request, 1);
}

/* Those of the thread's calls that may go on. A failure of ours leaves all of them unanswered. */
static size_t authorize_all(struct thread *thread, struct act_call **ret)
{
    const struct api_request *requests[ACT_TOGETHER_MAX];
    bool good[ACT_TOGETHER_MAX];
    size_t n = 0;

    for (size_t i = 0; i < thread->n_jobs; i++)
        requests[i] = thread->jobs[i].request;
    if (act_authenticate_all(&thread->worker, requests, thread->n_jobs, thread->callers, good) <
        0) {
        log_error("calls could not be looked at together: %s", error_text());
        return 0;
    }
    for (size_t i = 0; i < thread->n_jobs; i++)
        if (admit(&thread->calls[i], &thread->callers[i], good[i]))
            ret[n++] = &thread->calls[i];
    return n;
}

/* What was not answered with others waits as any other does. False: there is no room for it. */
static bool put_back(struct act_workers *workers, struct job job)
{
    bool put;

    (void)pthread_mutex_lock(&workers->lock);
    put = queue_put(&workers->queues[QUEUE_SHORT], job);
    if (put)
        (void)pthread_cond_signal(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
    return put;
}

static void run_together(struct thread *thread)
{
    struct act_call *due[ACT_TOGETHER_MAX];
    struct api_request *answered[ACT_TOGETHER_MAX];
    size_t n_due, n_answered = 0, n_left = 0;

    for (size_t i = 0; i < thread->n_jobs; i++)
        thread->calls[i] = (struct act_call){.worker = &thread->worker,
            .request = thread->jobs[i].request,
            .route = thread->jobs[i].route};
    n_due = authorize_all(thread, due);
    if (n_due > 0)
        thread->jobs[0].route->work_together(due, n_due);
    for (size_t i = 0; i < thread->n_jobs; i++) {
        if (thread->calls[i].status == 0) {
            thread->jobs[n_left++] = thread->jobs[i];
        } else {
            act_call_send(&thread->calls[i], thread->jobs[i].request);
            answered[n_answered++] = thread->jobs[i].request;
        }
        act_call_done(&thread->calls[i]);
    }
    api_give_back(answered, n_answered);
    for (size_t i = 0; i < n_left; i++)
        if (!put_back(thread->workers, thread->jobs[i]))
            run_job(thread, &thread->jobs[i], act_workers_stopping(thread->workers));
}

bool act_workers_stopping(struct act_workers *workers)
{
    bool stopping;

    (void)pthread_mutex_lock(&workers->lock);
    stopping = workers->stopping;
    (void)pthread_mutex_unlock(&workers->lock);
    return stopping;
}

static void *thread_main(void *context)
{
    struct thread *thread = context;

    while (wait_for_jobs(thread)) {
        bool stopping = act_workers_stopping(thread->workers);

        if (thread->n_jobs > 1 && !stopping)
            run_together(thread);
        else
            for (size_t i = 0; i < thread->n_jobs; i++)
                run_job(thread, &thread->jobs[i], stopping);
        finish_jobs(thread);
    }
    return NULL;
}

static int start_thread(struct act_workers *workers, unsigned index)
{
    struct act_service *service = workers->service;
    struct thread *thread = &workers->threads[index];
    const struct db_config config = {
        .conninfo = service->settings.conninfo,
        .guard = service->guard,
        .program = "cradle-activation",
        .statement_ms = ACT_STATEMENT_MS,
    };
    int r;

    thread->workers = workers;
    thread->worker.service = service;
    thread->worker.keyd = keyd_pool_channel(service->pool, index);
    if ((r = db_open(&config, &thread->worker.db)) < 0)
        return r;
    if (pthread_create(&thread->id, NULL, thread_main, thread) != 0) {
        db_close(thread->worker.db);
        return error_set(ERROR_SYSTEM, "cannot start a worker thread");
    }
    return 0;
}

int act_workers_start(struct act_service *service, struct act_workers **ret)
{
    unsigned n = service->settings.workers;
    struct act_workers *workers = calloc(1, sizeof(*workers));
    struct thread *threads = calloc(n, sizeof(*threads));
    unsigned n_started = 0;
    int r = 0;

    if (workers == NULL || threads == NULL) {
        free(workers);
        free(threads);
        return error_set(ERROR_SYSTEM, "out of memory for worker threads");
    }
    workers->service = service;
    workers->threads = threads;
    workers->n_threads = n;
    for (size_t i = 0; i < N_QUEUES; i++)
        workers->queues[i].waiting = &service->metrics.waiting[i];
    (void)pthread_mutex_init(&workers->lock, NULL);
    (void)pthread_cond_init(&workers->wake, NULL);
    while (n_started < n && (r = start_thread(workers, n_started)) == 0)
        n_started++;
    if (r < 0) {
        workers->n_threads = n_started;
        act_workers_stop(workers);
        act_workers_free(workers);
        return r;
    }
    *ret = workers;
    return 0;
}

static enum act_queue kind_of(const struct api_request *request, const struct act_route *route)
{
    size_t len;

    if (route->is_long)
        return QUEUE_LONG;
    if (route->work_together == NULL)
        return QUEUE_SHORT;
    (void)api_request_body(request, &len);
    return len <= ACT_TOGETHER_BODY_MAX ? QUEUE_TOGETHER : QUEUE_SHORT;
}

int act_workers_submit(struct act_workers *workers, struct api_request *request,
    struct api_stream *stream, const struct act_route *route)
{
    enum act_queue kind = kind_of(request, route);
    struct job job = {.request = request, .stream = stream, .route = route};
    bool taken;

    (void)pthread_mutex_lock(&workers->lock);
    job.number = workers->n_submitted++;
    taken = !workers->stopping && queue_put(&workers->queues[kind], job);
    /* Else whoever is busy with such looks for the next when he has done. */
    if (taken && may_take(workers, kind))
        (void)pthread_cond_signal(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
    return taken ? 0 : 1;
}

void act_workers_stop(struct act_workers *workers)
{
    if (workers == NULL)
        return;
    (void)pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    (void)pthread_cond_broadcast(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->n_threads; i++) {
        (void)pthread_join(workers->threads[i].id, NULL);
        db_close(workers->threads[i].worker.db);
    }
    workers->n_threads = 0;
}

void act_workers_free(struct act_workers *workers)
{
    if (workers == NULL)
        return;
    (void)pthread_cond_destroy(&workers->wake);
    (void)pthread_mutex_destroy(&workers->lock);
    free(workers->threads);
    free(workers);
}
