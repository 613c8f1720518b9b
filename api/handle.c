/* The library's callbacks: the life of a connection and of the requests on it. */
#include "api/internal.h"

#include "api/problem.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <assert.h>
#include <string.h>

static_assert(GUARD_PATH_MAX == API_PATH_MAX, "the guard holds what server.h promises");

/* A bijection of 64 bits (splitmix64): counting through it from a random start gives ids that do
 * not repeat and do not look alike. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void make_id(struct api_server *server, char out[static API_ID_LEN + 1])
{
    uint64_t id = mix(server->id_seed + server->id_count++);
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(id >> (56 - 8 * i));
    (void)hex_encode(bytes, sizeof(bytes), out);
}

static void begin_tls(struct api_connection *c, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    if (info == NULL || tls_session_open(c, info->tls_session) < 0)
        connection_refuse(c);
}

void handle_connection(
    void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
    struct api_server *server = cls;
    struct api_connection *c = *context;

    server->n_calls++;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *fd =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        const union MHD_ConnectionInfo *address =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

        /* Without one its requests are refused by handle_request. */
        c = fd != NULL && address != NULL
                ? connection_open(server, fd->connect_fd, address->client_addr)
                : NULL;
        *context = c;
        if (c != NULL && !c->cut && server->tls != NULL)
            begin_tls(c, mhd);
        return;
    }
    *context = NULL;
    if (c != NULL)
        connection_close(c);
}

void *handle_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct api_server *server = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct api_connection *c = info != NULL ? info->socket_context : NULL;
    struct api_request *request;
    int64_t now_us = clock_monotonic_us();
    int64_t deadline_ms = now_us / 1000 + server->config.request_deadline_ms;

    server->n_calls++;
    if (c == NULL || c->cut)
        return NULL;
    request = &c->request;
    request->state = REQUEST_LINE;
    request->mhd = mhd;
    request->started_us = now_us;
    request->target_fault = guard_target(target);
    make_id(server, request->id);
    /* The first request's never later than what was set when the connection opened, unless it had
     * come by then; but a connection beyond the limit, opened with less time, may find a slot now.
     */
    if ((!c->slot && connection_take_slot(c)) || c->used || c->last_look ||
        deadline_ms < c->deadline_ms)
        connection_arm(c, deadline_ms);
    c->last_look = false;
    return request;
}

struct header_list {
    struct guard_header headers[GUARD_HEADERS_MAX];
    size_t n;
};

static enum MHD_Result list_header(void *cls, enum MHD_ValueKind kind, const char *name,
    size_t name_len, const char *value, size_t value_len)
{
    struct header_list *list = cls;

    (void)kind;
    if (list->n < GUARD_HEADERS_MAX)
        list->headers[list->n] = (struct guard_header){.name = name,
            .name_len = name_len,
            .value = value != NULL ? value : "",
            .value_len = value != NULL ? value_len : 0};
    return ++list->n <= GUARD_HEADERS_MAX ? MHD_YES : MHD_NO;
}

static const char *check_request(
    struct api_request *request, const char *version, struct guard_body *ret_body)
{
    struct header_list list;
    struct guard_request seen = {
        .method = request->method_text, .version = version, .headers = list.headers};

    if (request->target_fault != NULL)
        return request->target_fault;
    list.n = 0;
    (void)MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, list_header, &list);
    seen.n_headers = list.n;
    return guard_check(&seen, ret_body);
}

/* Everything that is decided before the body. Leaves the request answered when it is refused. */
static void decide(struct api_request *request, const char *version, struct guard_body *body)
{
    struct api_server *server = request->server;
    const char *fault = check_request(request, version, body);
    long admitted = API_BODY_MAX_DEFAULT;

    if (fault != NULL) {
        /* What follows on this connection cannot be told from a body. */
        *body = (struct guard_body){.chunked = true};
        request->close = true;
        metric_add(&server->metrics[METRIC_GUARD_REFUSED], 1);
        api_problem(request, PROBLEM_BAD_REQUEST, fault);
        return;
    }
    if (!request->connection->slot) {
        request->close = true;
        metric_add(&server->metrics[request->connection->over], 1);
        api_problem(request, PROBLEM_UNAVAILABLE,
            request->connection->over == METRIC_OVER_ADDRESS
                ? "too many connections are open from this address"
                : "too many connections are open");
        return;
    }
    if (!tls_session_trusted(request->connection)) {
        request->close = true;
        api_problem(request, PROBLEM_UNAUTHENTICATED, "the certificate is not good any more");
        return;
    }
    /* Counted before the flag is read, which api_server_drain sets before api_server_idle reads the
     * count: one of the two sees the other. */
    atomic_fetch_add(&server->n_admitted, 1);
    request->admitted = true;
    if (atomic_load(&server->draining)) {
        request_settled(request);
        api_problem(request, PROBLEM_UNAVAILABLE, "the service is stopping");
        return;
    }
    if (server->config.admit != NULL)
        admitted = server->config.admit(request, server->config.context);
    if (request->answered) {
        request->body_drops = admitted == API_BODY_DROP && body->length <= API_BODY_MAX_DEFAULT;
        request->body_max = API_BODY_MAX_DEFAULT;
        return;
    }
    request->body_streams = admitted == API_BODY_STREAM;
    if (request->body_streams)
        return;
    if (admitted < 0)
        api_problem(request, api_problem_of_status((unsigned)-admitted), NULL);
    else if (body->length > (uint64_t)admitted)
        api_problem(request, PROBLEM_BODY_TOO_LARGE, NULL);
    else
        request->body_max = (size_t)admitted;
}

/* Leaves the request answered, deferred, or with a stream. */
static void handle(struct api_request *request)
{
    struct api_server *server = request->server;

    connection_arm(request->connection, API_DEADLINE_NONE);
    server->n_handling++;
    request->state = REQUEST_HANDLING;
    if (atomic_load(&server->stopping)) /* whoever would answer it has gone */
        api_problem(request, PROBLEM_UNAVAILABLE, "the service is stopping");
    else
        server->config.handle(request, server->config.context);
    if (!request->deferred && request->stream == NULL && !request->answered) {
        log_error("a handler neither answered nor deferred request=%s path=%s", request->id,
            request->path);
        api_problem(request, PROBLEM_INTERNAL, NULL);
    }
}

static enum MHD_Result first_call(struct api_request *request, const char *version)
{
    struct api_connection *c = request->connection;
    struct guard_body body = {0};

    decide(request, version, &body);
    /* Without a body to come it is a request like others, with an empty one. */
    request->body_streams = request->body_streams && (body.chunked || body.length > 0);
    if (request->body_streams && !request->answered) {
        handle(request);
        if (request->stream != NULL)
            return stream_open(request, true);
        request->server->n_handling--;
    }
    if (request->answered && !request->body_drops && (body.chunked || body.length > 0)) {
        /* An answer now makes the library close without reading the body. */
        request->close = true;
        c->linger = true;
        request->state = REQUEST_SENDING;
        request->server->n_handling++;
        return answer_queue(request);
    }
    if (request->answered) {
        request->state = REQUEST_REFUSED;
        return MHD_YES;
    }
    request->state = REQUEST_BODY;
    if (request->body_max > API_BODY_MAX_DEFAULT && (body.chunked || body.length > 0)) {
        uint64_t most = body.chunked ? request->body_max : body.length;

        connection_arm(c, c->deadline_ms + (int64_t)(most * 1000 / BODY_MIN_RATE));
    }
    return MHD_YES;
}

static enum MHD_Result take_body(struct api_request *request, const char *piece, size_t *piece_len)
{
    size_t len = *piece_len;
    bool fits = len <= request->body_max - request->body.len;
    int r = 0;

    if (fits)
        r = secret_buffer_append(&request->body, piece, len);
    /* The library hands out its own buffer as const, and would keep the bytes in it until the
     * memory is used again: there may be keys among them. */
    secret_wipe((void *)(uintptr_t)piece, len);
    if (!fits) {
        request->connection->linger = true;
        answer_now(request, PROBLEM_BODY_TOO_LARGE, NULL);
        return MHD_NO;
    }
    if (r < 0) {
        log_error("a request's body was given up request=%s reason=%s", request->id, error_text());
        return MHD_NO;
    }
    *piece_len = 0;
    return MHD_YES;
}

/* Of a request that is refused. */
static enum MHD_Result drop_body(struct api_request *request, const char *piece, size_t *piece_len)
{
    size_t len = *piece_len;

    secret_wipe((void *)(uintptr_t)piece, len);
    if (len > request->body_max) {
        request->connection->linger = true;
        answer_straight(request, request->answer.data, request->answer.len);
        return MHD_NO;
    }
    request->body_max -= len;
    *piece_len = 0;
    return MHD_YES;
}

static enum MHD_Result whole_request(struct api_request *request)
{
    request->body_len = request->body.len;
    if (request->body.len > 0 && secret_buffer_append(&request->body, "", 1) < 0)
        return MHD_NO;
    handle(request);
    if (request->stream != NULL)
        return stream_open(request, false);
    if (request->deferred) {
        /* A worker may have given it back already. It is resumed by this thread, later. */
        MHD_suspend_connection(request->mhd);
        return MHD_YES;
    }
    request->state = REQUEST_SENDING;
    return answer_queue(request);
}

/* Back from a worker. */
static enum MHD_Result resumed(struct api_request *request)
{
    if (!request->answered) {
        log_error("a request was given back without an answer request=%s", request->id);
        api_problem(request, PROBLEM_INTERNAL, NULL);
    }
    request->state = REQUEST_SENDING;
    return answer_queue(request);
}

enum MHD_Result handle_request(void *cls, struct MHD_Connection *mhd, const char *path,
    const char *method, const char *version, const char *upload, size_t *upload_len, void **context)
{
    struct api_server *server = cls;
    struct api_request *request = *context;

    (void)mhd;
    server->n_calls++;
    if (request == NULL || request->connection->cut || request->state == REQUEST_GIVEN_UP) {
        if (*upload_len > 0)
            secret_wipe((void *)(uintptr_t)upload, *upload_len);
        return MHD_NO;
    }
    switch (request->state) {
    case REQUEST_LINE:
        request->path = path;
        request->method_text = method;
        request->method = request_method_of(method);
        return first_call(request, version);
    case REQUEST_BODY:
        return *upload_len > 0 ? take_body(request, upload, upload_len) : whole_request(request);
    case REQUEST_REFUSED:
        if (*upload_len > 0)
            return drop_body(request, upload, upload_len);
        request->state = REQUEST_SENDING;
        request->server->n_handling++;
        return answer_queue(request);
    case REQUEST_HANDLING:
        return resumed(request);
    case REQUEST_STREAM:
        return stream_call(request, upload, upload_len);
    case REQUEST_NONE:
    case REQUEST_SENDING:
    case REQUEST_GIVEN_UP:
        break;
    }
    log_error("the HTTP library called for a request in state %d", (int)request->state);
    return MHD_NO;
}

void handle_completed(
    void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how)
{
    struct api_server *server = cls;
    struct api_request *request = *context;
    const char *secret;

    (void)how;
    server->n_calls++;
    *context = NULL;
    if (request == NULL)
        return;
    /* The library's pool is freed as it is when the connection ends here. */
    secret = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (secret != NULL)
        secret_wipe((void *)(uintptr_t)secret, strlen(secret));
    if (request->state == REQUEST_HANDLING || request->state == REQUEST_STREAM ||
        request->state == REQUEST_SENDING || request->state == REQUEST_GIVEN_UP)
        server->n_handling--;
    request_reset(request);
    connection_idle(request->connection);
}
