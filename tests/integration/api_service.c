#include "tests/integration/api_service.h"

#include "api/problem.h"
#include "base/error.h"
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define N_WORKERS 3
#define QUEUE_MAX 512
#define BATCH_MAX 64
#define SERVICE_WIDE 600 /* connections */

struct service service;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct api_request *queue[QUEUE_MAX]; /* for the workers */
    size_t n_queue;
    struct api_request *held;
    struct api_stream *held_stream;
    bool ending;
    size_t n_done; /* requests with data that have ended */
    pthread_t workers[N_WORKERS];
} app = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static long admit_peer(struct api_request *request)
{
    const char *peer = api_request_header(request, "X-Peer");

    if (peer == NULL)
        return -401;
    return api_request_claim_peer(request, strtol(peer, NULL, 10)) ? API_BODY_MAX_DEFAULT : -503;
}

static long admit(struct api_request *request, void *context)
{
    const char *path = api_request_path(request);

    (void)context;
    if (strcmp(path, "/stream-hold") == 0)
        return API_BODY_STREAM;
    if (strcmp(path, "/none") == 0)
        return 0;
    if (strcmp(path, "/large") == 0)
        return SERVICE_LARGE_BODY;
    if (strcmp(path, "/peer") == 0)
        return admit_peer(request);
    if (strcmp(path, "/busy") == 0) {
        api_problem(request, PROBLEM_UNAVAILABLE, NULL);
        return API_BODY_DROP;
    }
    if (strcmp(path, "/closed") == 0)
        return -401;
    if (strcmp(path, "/own-refusal") == 0) {
        api_answer(request, 409, "text/plain", "mine", 4);
        return -409;
    }
    return strcmp(path, "/nowhere") == 0 ? -404 : API_BODY_MAX_DEFAULT;
}

static void answer_with_body(struct api_request *request)
{
    size_t len;
    const char *body = api_request_body(request, &len);

    ck_assert(body[len] == '\0');
    api_answer(request, 200, "text/plain", body, len);
}

static void request_ended(void *data)
{
    (void)data;
    (void)pthread_mutex_lock(&app.lock);
    app.n_done++;
    (void)pthread_cond_broadcast(&app.changed);
    (void)pthread_mutex_unlock(&app.lock);
}

static void hand_over(struct api_request *request, bool hold)
{
    (void)pthread_mutex_lock(&app.lock);
    if (hold)
        app.held = request;
    else
        app.queue[app.n_queue++] = request;
    (void)pthread_cond_broadcast(&app.changed);
    (void)pthread_mutex_unlock(&app.lock);
}

static void answer_credentials(struct api_request *request)
{
    const char *token = api_request_bearer(request);
    char user[32], password[32];
    struct text text = {0};

    if (token != NULL)
        text_addf(&text, "bearer=%s", token);
    else if (api_request_basic(request, user, sizeof(user), password, sizeof(password)))
        text_addf(&text, "basic=%s/%s", user, password);
    else
        text_add(&text, "nobody");
    api_answer_header(request, "X-Extra", "yes");
    api_answer_text(request, 200, "text/plain", &text);
}

static void handle(struct api_request *request, void *context)
{
    const char *path = api_request_path(request);

    (void)context;
    api_request_set_data(request, &app, request_ended);
    if (strcmp(path, "/defer") == 0) { /* handed over first: the worker may be the faster one */
        hand_over(request, false);
        api_defer(request);
    } else if (strcmp(path, "/hold") == 0) {
        api_defer(request);
        hand_over(request, true);
    } else if (strcmp(path, "/stream-hold") == 0) {
        struct api_stream *stream;

        ck_assert_int_eq(api_stream_begin(request, &stream), 0);
        (void)pthread_mutex_lock(&app.lock);
        app.held_stream = stream;
        (void)pthread_cond_broadcast(&app.changed);
        (void)pthread_mutex_unlock(&app.lock);
    } else if (strcmp(path, "/pause") == 0) {
        (void)sem_post(&service.paused);
        while (sem_wait(&service.go_on) != 0) {
        }
        api_answer(request, 204, NULL, NULL, 0);
    } else if (strcmp(path, "/credentials") == 0) {
        answer_credentials(request);
    } else if (strcmp(path, "/who") == 0) {
        const char *san = api_request_peer_san(request);

        san = san != NULL ? san : "nobody";
        api_answer(request, 200, "text/plain", san, strlen(san));
    } else if (strcmp(path, "/certificate") == 0) {
        char san[API_SAN_MAX + 1];
        const char *fault = api_request_check_certificate(request, service.find_trust, NULL, san);
        const char *word = !api_request_has_certificate(request) ? "none" : "bad";

        word = fault == NULL ? san : word;
        api_answer(request, 200, "text/plain", word, strlen(word));
    } else if (strcmp(path, "/only-bearer") == 0) {
        const char *token = api_request_bearer(request);

        api_answer(
            request, token != NULL && strcmp(token, "right") == 0 ? 204 : 403, NULL, NULL, 0);
    } else if (strcmp(path, "/elsewhere") == 0) {
        api_answer_header(request, "Location", "/echo");
        api_answer(request, 307, NULL, NULL, 0);
    } else if (strcmp(path, "/forgetful") == 0) {
        return;
    } else if (strcmp(path, "/query") == 0) {
        const char *value = api_request_query(request, "q");

        api_answer(request, 200, "text/plain", value, value != NULL ? strlen(value) : 0);
    } else if (strcmp(path, "/silent") == 0) {
        api_answer(request, 200, NULL, NULL, 0);
    } else {
        answer_with_body(request);
    }
}

static void *work(void *arg)
{
    (void)arg;
    for (;;) {
        struct api_request *batch[BATCH_MAX];
        size_t n;

        (void)pthread_mutex_lock(&app.lock);
        while (app.n_queue == 0 && !app.ending)
            (void)pthread_cond_wait(&app.changed, &app.lock);
        n = app.n_queue < BATCH_MAX ? app.n_queue : BATCH_MAX;
        app.n_queue -= n;
        memcpy(batch, app.queue + app.n_queue, n * sizeof(batch[0]));
        (void)pthread_mutex_unlock(&app.lock);
        if (n == 0)
            return NULL;
        for (size_t i = 0; i < n; i++)
            answer_with_body(batch[i]);
        api_give_back(batch, n);
    }
}

void service_wait_held(void)
{
    (void)pthread_mutex_lock(&app.lock);
    while (app.held == NULL)
        (void)pthread_cond_wait(&app.changed, &app.lock);
    (void)pthread_mutex_unlock(&app.lock);
}

void service_release_held(void)
{
    struct api_request *request;

    service_wait_held();
    (void)pthread_mutex_lock(&app.lock);
    request = app.held;
    app.held = NULL;
    (void)pthread_mutex_unlock(&app.lock);
    api_answer(request, 200, "text/plain", "released", 8);
    api_give_back(&request, 1);
}

struct api_stream *service_take_stream(void)
{
    struct api_stream *stream;

    (void)pthread_mutex_lock(&app.lock);
    while (app.held_stream == NULL)
        (void)pthread_cond_wait(&app.changed, &app.lock);
    stream = app.held_stream;
    app.held_stream = NULL;
    (void)pthread_mutex_unlock(&app.lock);
    return stream;
}

void service_wait_done(size_t n)
{
    (void)pthread_mutex_lock(&app.lock);
    while (app.n_done < n)
        (void)pthread_cond_wait(&app.changed, &app.lock);
    (void)pthread_mutex_unlock(&app.lock);
}

static void service_start(struct api_server_config config)
{
    if (config.idle_timeout_s == 0)
        config.idle_timeout_s = SERVICE_IDLE_S;
    config.admit = admit;
    config.handle = handle;
    service.server = NULL;
    app.n_queue = app.n_done = 0;
    app.held = NULL;
    app.ending = false;
    (void)sem_init(&service.paused, 0, 0);
    (void)sem_init(&service.go_on, 0, 0);
    ck_assert_msg(api_server_start(&config, &service.server) == 0, "%s", error_text());
    service.port = api_server_port(service.server);
    for (size_t i = 0; i < N_WORKERS; i++)
        ck_assert_int_eq(pthread_create(&app.workers[i], NULL, work, NULL), 0);
}

static const struct api_listener plain = {.address = "127.0.0.1"};

void service_start_on(const struct api_listener *listener)
{
    service.find_trust = listener->find_trust;
    service_start((struct api_server_config){.listener = *listener,
        .max_connections = SERVICE_WIDE,
        .request_deadline_ms = SERVICE_IMPATIENT_MS});
}

void service_start_usual(void)
{
    service_start((struct api_server_config){.listener = plain, .max_connections = SERVICE_WIDE});
}

void service_start_impatient(void)
{
    service_start_on(&plain);
}

void service_start_short_idle(void)
{
    service_start((struct api_server_config){.listener = plain,
        .max_connections = SERVICE_WIDE,
        .idle_timeout_s = SERVICE_SHORT_IDLE_S});
}

void service_start_narrow(void)
{
    service_start((struct api_server_config){.listener = plain, .max_connections = SERVICE_NARROW});
}

void service_start_sharing_on(const struct api_listener *listener)
{
    service_start((struct api_server_config){.listener = *listener,
        .max_connections = SERVICE_WIDE,
        .connections_per_address = SERVICE_PER_ADDRESS,
        .connections_per_peer = SERVICE_PER_PEER});
}

void service_start_sharing(void)
{
    service_start_sharing_on(&plain);
}

void service_stop(void)
{
    if (app.held != NULL) /* of a test that failed */
        service_release_held();
    (void)pthread_mutex_lock(&app.lock);
    app.ending = true;
    (void)pthread_cond_broadcast(&app.changed);
    (void)pthread_mutex_unlock(&app.lock);
    for (size_t i = 0; i < N_WORKERS; i++)
        (void)pthread_join(app.workers[i], NULL);
    api_server_stop(service.server);
    service.server = NULL;
}

long service_metric(const char *line)
{
    struct text text = {0};
    const char *at;
    long value = -1;

    api_server_metrics(&service.server, 1, &text);
    at = strstr(text.data, line);
    if (at != NULL)
        value = strtol(at + strlen(line), NULL, 10);
    text_done(&text);
    return value;
}

void service_wait_connections(long n)
{
    while (service_metric("\ncradle_http_connections ") != n)
        (void)sched_yield();
}

void service_wait_idle(bool idle)
{
    while (api_server_idle(service.server) != idle)
        (void)sched_yield();
}
