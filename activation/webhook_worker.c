#include "activation/webhook_worker.h"

#include "activation/webhook_post.h"
#include "activation/worker.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/shortage.h"
#include "db/webhook_look.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ID_TEXT_LEN ((size_t)2 * ACCOUNT_ID_LEN)
#define N_HEADERS 3
#define CA_PIECE 4096       /* bytes */
#define CA_FILE_MAX 1048576 /* bytes */
_Static_assert(ACT_WEBHOOK_CONNECTIONS <= DB_WEBHOOK_TAKE_MAX, "all that is free is taken at once");
_Static_assert(ACT_WEBHOOK_DEADLINE_MS < DB_WEBHOOK_LEASE_S * 1000,
    "whoever posts has settled it before others may");

/* One delivery on its way. */
struct flight {
    struct flight *next;
    struct act_webhook_worker *worker;
    struct db_delivery_task task;
    struct api_post post;
    struct api_post_header headers[N_HEADERS];
    char signature[ACT_WEBHOOK_SIGNATURE_MAX];
    char id[ID_TEXT_LEN + 1], event_id[ID_TEXT_LEN + 1];
};

struct act_webhook_worker {
    struct act_worker worker;
    struct api_client *client;
    struct api_credential credential; /* `anchors` alone, where the operator has named CAs */
    struct text anchors;
    pthread_t id;
    _Atomic bool stopping;
    int64_t scan_ms, purge_ms; /* monotonic: when to look next */
    struct flight *free;
    size_t n_free;
    struct flight *ended; /* to be settled; besides those that arrive */
    struct flight flights[ACT_WEBHOOK_CONNECTIONS];
    struct db_delivery_task tasks[ACT_WEBHOOK_CONNECTIONS];
    pthread_mutex_t lock;
    pthread_cond_t changed; /* by the monotonic clock */
    struct flight *arrived; /* under the lock: what the client has done */
};

static void free_flight(struct act_webhook_worker *w, struct flight *flight)
{
    flight->next = w->free;
    w->free = flight;
    w->n_free++;
}

/* On the client's thread. */
static void post_done(struct api_post *post)
{
    struct flight *flight = post->context;
    struct act_webhook_worker *w = flight->worker;

    (void)pthread_mutex_lock(&w->lock);
    flight->next = w->arrived;
    w->arrived = flight;
    (void)pthread_cond_signal(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
}

static int begin(struct act_webhook_worker *w, const struct db_delivery_task *task)
{
    CLEANUP(act_webhook_secret_wipe) struct act_webhook_secret secret;
    struct flight *flight = w->free;
    const int64_t now_ms = clock_monotonic_ms();
    int r = act_webhook_secret_get(w->worker.keyd, task->webhook_id, task->generation, &secret);

    if (r < 0 || (r = act_webhook_sign(&secret, clock_unix_s(), task->body, flight->signature)) < 0)
        return r;
    w->free = flight->next;
    w->n_free--;
    flight->worker = w;
    flight->task = *task;
    (void)hex_encode(task->id, sizeof(task->id), flight->id);
    (void)hex_encode(task->event_id, sizeof(task->event_id), flight->event_id);
    flight->headers[0] = (struct api_post_header){"Cradle-Signature", flight->signature};
    flight->headers[1] = (struct api_post_header){"Cradle-Delivery", flight->id};
    flight->headers[2] = (struct api_post_header){"Cradle-Event", flight->event_id};
    flight->post = (struct api_post){.url = flight->task.url,
        .credential = w->credential.anchors != NULL ? &w->credential : NULL,
        .content_type = "application/json",
        .headers = flight->headers,
        .n_headers = N_HEADERS,
        .body = flight->task.body,
        .body_len = strlen(flight->task.body),
        .share = (uint64_t)task->webhook_row_id,
        .start_ms = now_ms,
        .deadline_ms = now_ms + ACT_WEBHOOK_DEADLINE_MS,
        .attempt_ms = ACT_WEBHOOK_ANSWER_MS,
        .done = post_done,
        .context = flight};
    api_client_post(w->client, &flight->post);
    return 0;
}

/* One that could not even be posted: by no fault of its receiver's. */
static int put_back(struct act_webhook_worker *w, const struct db_delivery_task *task)
{
    const struct db_delivery_result result = {
        .state = DELIVERY_WAITING, .again_s = ACT_WEBHOOK_AGAIN_S, .untried = true};
    int r = db_delivery_settle(w->worker.db, task, &result);

    return r < 0 ? r : 0;
}

/* What can neither be begun nor put back waits for its lease to be over. */
static int take(struct act_webhook_worker *w)
{
    size_t n = 0;
    int r, failed = 0;

    if (w->n_free == 0)
        return 0;
    r = db_delivery_take(w->worker.db, w->tasks, w->n_free, &n);
    if (r == 0 && n > 0)
        r = FAILPOINT(webhook_taken, ERROR_DB);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (failed == 0 && (failed = begin(w, &w->tasks[i])) < 0)
            log_warn("deliveries are put back: %s", error_text());
        if (failed < 0)
            r = put_back(w, &w->tasks[i]);
    }
    return r;
}

static void collect(struct act_webhook_worker *w)
{
    struct flight *list;

    (void)pthread_mutex_lock(&w->lock);
    list = w->arrived;
    w->arrived = NULL;
    (void)pthread_mutex_unlock(&w->lock);
    while (list != NULL) {
        struct flight *flight = list;

        list = flight->next;
        flight->next = w->ended;
        w->ended = flight;
    }
}

static void count(struct act_webhook_worker *w, const struct db_delivery_result *result)
{
    struct metric *webhooks = w->worker.service->metrics.webhooks;

    if (result->state == DELIVERY_DELIVERED)
        metric_add(&webhooks[COUNT_WEBHOOK_DELIVERED], 1);
    else if (!result->untried)
        metric_add(
            &webhooks[result->state == DELIVERY_DEAD ? COUNT_WEBHOOK_DEAD : COUNT_WEBHOOK_FAILED],
            1);
}

static int settle(struct act_webhook_worker *w, const struct flight *flight)
{
    const struct db_delivery_result result = act_webhook_judge(&flight->post, flight->task.n_tries);
    int r = FAILPOINT(webhook_before_settle, ERROR_DB);

    if (r == 0)
        r = db_delivery_settle(w->worker.db, &flight->task, &result);
    if (r == 0)
        r = FAILPOINT(webhook_settled, ERROR_DB);
    if (r < 0)
        return r;
    count(w, &result);
    if (r > 0)
        log_warn("delivery=%s came to its end too late: it may come twice", flight->id);
    else if (result.state == DELIVERY_DEAD)
        log_warn("delivery=%s is given up: %s", flight->id, result.fault);
    else
        log_debug("delivery=%s state=%s status=%u", flight->id,
            db_delivery_state_text(result.state), result.status);
    return 0;
}

/* One that cannot be settled now is tried again, and posted again when its lease is over. */
static int settle_ended(struct act_webhook_worker *w)
{
    collect(w);
    while (w->ended != NULL) {
        struct flight *flight = w->ended;
        int r = settle(w, flight);

        if (r < 0)
            return r;
        w->ended = flight->next;
        free_flight(w, flight);
    }
    return 0;
}

static int look(struct act_webhook_worker *w)
{
    const int64_t now_ms = clock_monotonic_ms();
    size_t n = 0;
    int r = 0;

    if (now_ms >= w->scan_ms) {
        w->scan_ms = now_ms + ACT_WEBHOOK_SCAN_MS;
        r = db_webhook_look(w->worker.db);
    }
    if (r == 0 && now_ms >= w->purge_ms && (r = db_webhook_purge(w->worker.db, &n)) == 0 && n == 0)
        w->purge_ms = now_ms + ACT_WEBHOOK_PURGE_MS;
    return r;
}

static void wait_for_news(struct act_webhook_worker *w)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ACT_WEBHOOK_LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_mutex_lock(&w->lock);
    while (w->arrived == NULL && !atomic_load(&w->stopping) &&
           pthread_cond_timedwait(&w->changed, &w->lock, &until) != ETIMEDOUT)
        ;
    (void)pthread_mutex_unlock(&w->lock);
}

static int round_of(struct act_webhook_worker *w)
{
    int r = settle_ended(w);

    if (r == 0)
        r = look(w);
    return r < 0 ? r : take(w);
}

static void *thread_main(void *context)
{
    struct act_webhook_worker *w = context;
    bool was_well = true;

    while (!atomic_load(&w->stopping)) {
        bool well = round_of(w) == 0;

        if (!well && was_well)
            log_error("webhooks are not served now: %s", error_text());
        else if (well && !was_well)
            log_info("webhooks are served again");
        if (!well)
            db_drop(w->worker.db);
        was_well = well;
        wait_for_news(w);
    }
    api_client_stop(w->client, clock_monotonic_ms() + ACT_WEBHOOK_STOP_MS);
    if (settle_ended(w) < 0)
        log_warn("deliveries may come twice: %s", error_text());
    return NULL;
}

static void worker_free(struct act_webhook_worker *w)
{
    db_close(w->worker.db);
    text_done(&w->anchors);
    (void)pthread_cond_destroy(&w->changed);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

static void init_wait(struct act_webhook_worker *w)
{
    pthread_condattr_t monotonic;

    /* None of these fails on Linux with these arguments. */
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

/* "": the system's. What is in it is looked at by whoever verifies with it. */
static int read_cas(const char *path, struct text *ret)
{
    char piece[CA_PIECE];
    FILE *file;
    size_t n;
    bool failed;

    if (path[0] == '\0')
        return 0;
    if ((file = fopen(path, "re")) == NULL) {
        const int code = shortage_or(ERROR_CONFIG);

        (void)error_set_errno("cannot read the CAs of webhooks in %s", path);
        return code;
    }
    while ((n = fread(piece, 1, sizeof(piece), file)) > 0 && ret->len < CA_FILE_MAX)
        text_add_len(ret, piece, n);
    failed = ferror(file) != 0;
    (void)fclose(file);
    if (ret->failed)
        return error_set(ERROR_SYSTEM, "out of memory for the CAs of webhooks");
    if (failed || ret->len == 0 || ret->len >= CA_FILE_MAX)
        return error_set(ERROR_CONFIG, "%s is no file of CAs in PEM", path);
    return 0;
}

static int start(struct act_webhook_worker *w)
{
    const struct act_settings *s = &w->worker.service->settings;
    const struct db_config config = {
        .conninfo = s->conninfo,
        .guard = w->worker.service->guard,
        .program = "cradle-activation",
        .statement_ms = ACT_STATEMENT_MS,
    };
    const struct api_client_config client = {
        .user_agent = "cradle-activation/" CRADLE_VERSION,
        .max_connections = ACT_WEBHOOK_CONNECTIONS,
        .connect_ms = ACT_WEBHOOK_CONNECT_MS,
        .public_only = !s->webhook_allow_private,
    };
    int r = read_cas(s->webhook_ca, &w->anchors);

    w->credential.anchors = w->anchors.data;
    if (r < 0 || (r = db_open(&config, &w->worker.db)) < 0 ||
        (r = api_client_start(&client, &w->client)) < 0)
        return r;
    if (pthread_create(&w->id, NULL, thread_main, w) != 0) {
        api_client_stop(w->client, clock_monotonic_ms());
        return error_set(ERROR_SYSTEM, "cannot start the thread that serves webhooks");
    }
    return 0;
}

int act_webhook_worker_start(
    struct act_service *service, unsigned channel, struct act_webhook_worker **ret)
{
    struct act_webhook_worker *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the thread that serves webhooks");
    w->worker.service = service;
    w->worker.keyd = keyd_pool_channel(service->pool, channel);
    for (size_t i = 0; i < ACT_WEBHOOK_CONNECTIONS; i++)
        free_flight(w, &w->flights[i]);
    init_wait(w);
    if ((r = start(w)) < 0) {
        worker_free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void act_webhook_worker_ask_stop(struct act_webhook_worker *w)
{
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->lock);
    atomic_store(&w->stopping, true);
    (void)pthread_cond_signal(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
}

void act_webhook_worker_stop(struct act_webhook_worker *w)
{
    if (w == NULL)
        return;
    act_webhook_worker_ask_stop(w);
    (void)pthread_join(w->id, NULL);
    worker_free(w);
}
