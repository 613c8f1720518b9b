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
};

struct queue {
    struct job jobs[ACT_QUEUE_MAX];
    size_t first, n;
};

struct thread {
    pthread_t id;
    struct act_workers *workers;
    struct act_worker worker;
    int64_t long_for; /* the organization that its long call is of; 0: it has none */
};

struct act_workers {
    struct act_service *service;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue queues[2]; /* [is_long] */
    bool stopping;
    unsigned n_long; /* workers now busy with a long one */
    unsigned n_threads;
    struct thread *threads;
};

static bool queue_put(struct queue *queue, struct job job)
{
    if (queue->n == ACT_QUEUE_MAX)
        return false;
    queue->jobs[(queue->first + queue->n++) % ACT_QUEUE_MAX] = job;
    return true;
}

static bool queue_take(struct queue *queue, struct job *ret)
{
    if (queue->n == 0)
        return false;
    *ret = queue->jobs[queue->first];
    queue->first = (queue->first + 1) % ACT_QUEUE_MAX;
    queue->n--;
    return true;
}

static unsigned long_max(const struct act_workers *workers)
{
    return workers->n_threads - 1; /* token.workers is 2 or more */
}

/* Long calls may be slow, and their senders too: one organization does not get all the threads that
 * may do them, as long as there are two. */
static bool take_long_place(struct thread *thread, int64_t organization_id)
{
    struct act_workers *workers = thread->workers;
    unsigned share = long_max(workers) > 1 ? long_max(workers) - 1 : 1, n_own = 0;

    (void)pthread_mutex_lock(&workers->lock);
    for (unsigned i = 0; i < workers->n_threads; i++)
        n_own += workers->threads[i].long_for == organization_id;
    if (n_own < share)
        thread->long_for = organization_id;
    (void)pthread_mutex_unlock(&workers->lock);
    return n_own < share;
}

/* The next job this thread may do; false when there is none and the threads are to end. */
static bool wait_for_job(struct act_workers *workers, struct job *ret)
{
    unsigned n_long_max = long_max(workers);
    bool found = false;

    (void)pthread_mutex_lock(&workers->lock);
    for (;;) {
        if ((found = queue_take(&workers->queues[false], ret)))
            break;
        if (workers->n_long < n_long_max && (found = queue_take(&workers->queues[true], ret))) {
            workers->n_long++;
            break;
        }
        if (workers->stopping && workers->queues[true].n == 0)
            break;
        (void)pthread_cond_wait(&workers->wake, &workers->lock);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return found;
}

static void finish_job(struct thread *thread, const struct act_route *route)
{
    struct act_workers *workers = thread->workers;

    (void)pthread_mutex_lock(&workers->lock);
    thread->long_for = 0;
    if (route->is_long)
        workers->n_long--;
    (void)pthread_cond_broadcast(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
}

/* An answer of 400 and more that the handler is not asked for. */
static const struct act_route *refuse(
    struct act_call *call, enum problem problem, const char *detail)
{
    (void)act_call_problem(call, problem, detail);
    return NULL;
}

static int authenticate(struct act_call *call, struct act_caller *caller)
{
    return call->route->by_certificate
               ? act_authenticate_certificate(call->worker, call->request, caller)
               : act_authenticate(call->worker, call->request, caller);
}

/* Who is asking comes before everything that the request says. NULL when it was answered. */
static const struct act_route *authorize(struct act_call *call, struct act_caller *caller)
{
    enum act_right right = call->route->right;
    char detail[128];
    int r;

    if (act_right_roles(right) == ROLES_ANYONE)
        return call->route;
    r = authenticate(call, caller);
    if (r < 0) {
        (void)act_call_failed(call, r);
        return NULL;
    }
    if (r > 0)
        return refuse(call, PROBLEM_UNAUTHENTICATED,
            call->route->by_certificate ? ACT_CERTIFICATE_NEEDED : ACT_TOKEN_NOT_VALID);
    call->caller = caller;
    if (act_right_allows(right, caller->roles))
        return call->route;
    (void)snprintf(detail, sizeof(detail), "this client may not %s", act_right_text(right));
    return refuse(call, PROBLEM_FORBIDDEN, detail);
}

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
        (void)refuse(&call, PROBLEM_UNAVAILABLE, "shutting down");
    else if (authorize(&call, &caller) == NULL)
        ; /* answered */
    else if (job->route->is_long && !take_long_place(thread, caller.organization_id))
        (void)refuse(&call, PROBLEM_UNAVAILABLE,
            "as many long calls of this organization as it may have at once are under way");
    else
        act_call_run(&call);
    act_call_send(&call, job->request);
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
    struct act_workers *workers = thread->workers;
    struct job job;

    while (wait_for_job(workers, &job)) {
        run_job(thread, &job, act_workers_stopping(workers));
        if (job.request != NULL)
            api_give_back(&job.request, 1);
        finish_job(thread, job.route);
    }
    return NULL;
}

static int start_thread(struct act_workers *workers, unsigned index)
{
    struct act_service *service = workers->service;
    struct thread *thread = &workers->threads[index];
    const struct db_config config = {
        .conninfo = service->settings.conninfo,
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

int act_workers_submit(struct act_workers *workers, struct api_request *request,
    struct api_stream *stream, const struct act_route *route)
{
    bool taken;

    (void)pthread_mutex_lock(&workers->lock);
    taken = !workers->stopping &&
            queue_put(&workers->queues[route->is_long], (struct job){request, stream, route});
    if (taken)
        (void)pthread_cond_broadcast(&workers->wake);
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
