#include "api/internal.h"

#include "api/problem.h"
#include "base/clock.h"
#include "base/log.h"
#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_MIN_RATE 65536 /* bytes a second that a client must take of a long answer */

static void count(struct api_server *server, unsigned status)
{
    static const enum api_metric classes[] = {[2] = METRIC_REQUESTS_2XX,
        [3] = METRIC_REQUESTS_3XX,
        [4] = METRIC_REQUESTS_4XX,
        [5] = METRIC_REQUESTS_5XX};
    unsigned class = status / 100;

    if (class >= 2 && class <= 5)
        metric_add(&server->metrics[classes[class]], 1);
}

/* The answer's text, if any, is in place: says the rest. */
static void set_answer(struct api_request *request, unsigned status, const char *content_type)
{
    assert(!request->answered);
    request->answered = true;
    request->status = status;
    if (request->answer.failed) {
        text_done(&request->answer);
        request->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        content_type = NULL;
    }
    if (content_type != NULL) {
        assert(strlen(content_type) <= API_CONTENT_TYPE_MAX);
        (void)strncpy(request->content_type, content_type, API_CONTENT_TYPE_MAX);
    }
}

void api_answer(struct api_request *request, unsigned status, const char *content_type,
    const char *body, size_t body_len)
{
    if (body_len > 0)
        text_add_len(&request->answer, body, body_len);
    set_answer(request, status, content_type);
}

void api_answer_text(
    struct api_request *request, unsigned status, const char *content_type, struct text *body)
{
    request->answer = *body;
    *body = (struct text){0};
    set_answer(request, status, content_type);
}

void api_answer_header(struct api_request *request, const char *name, const char *value)
{
    text_add_len(&request->headers, name, strlen(name) + 1);
    text_add_len(&request->headers, value, strlen(value) + 1);
}

void answer_done(struct api_request *request)
{
    /* An answer may carry a client's secret or session keys. */
    secret_wipe(request->answer.data, request->answer.capacity);
    text_done(&request->answer);
    text_done(&request->headers);
}

static void add_header(
    struct api_request *request, struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        log_error("an answer's header was refused by the library header=%s request=%s", name,
            request->id);
}

static void add_headers(struct api_request *request, struct MHD_Response *response)
{
    const char *p = request->headers.data;
    const char *end = p != NULL ? p + request->headers.len : NULL;

    add_header(request, response, "X-Request-Id", request->id);
    if (request->content_type[0] != '\0')
        add_header(request, response, MHD_HTTP_HEADER_CONTENT_TYPE, request->content_type);
    while (p != end) {
        const char *value = p + strlen(p) + 1;

        add_header(request, response, p, value);
        p = value + strlen(value) + 1;
    }
    if (request->close || atomic_load_explicit(&request->server->draining, memory_order_relaxed))
        add_header(request, response, MHD_HTTP_HEADER_CONNECTION, "close");
}

enum MHD_Result answer_queue(struct api_request *request)
{
    struct api_server *server = request->server;
    struct MHD_Response *response;
    enum MHD_Result result;

    assert(request->answered);
    /* The text stays ours until handle_completed, when nothing reads it any more. */
    response = MHD_create_response_from_buffer(
        request->answer.len, request->answer.data, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    add_headers(request, response);
    result = MHD_queue_response(request->mhd, request->status, response);
    MHD_destroy_response(response);
    count(server, request->status);
    request_settled(request);
    connection_arm(
        request->connection, clock_monotonic_ms() + server->config.request_deadline_ms +
                                 (int64_t)(request->answer.len * 1000 / ANSWER_MIN_RATE));
    return result;
}

void answer_now(struct api_request *request, enum problem problem, const char *detail)
{
    unsigned status = api_problem_status(problem);
    const char *value, *header = api_problem_header(problem, &value);
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(text_done) struct text out = {0};

    api_problem_text(&body, problem, detail, NULL, request->id);
    text_addf(&out,
        "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        "X-Request-Id: %s\r\nContent-Length: %zu\r\n",
        status, MHD_get_reason_phrase_for(status), request->id, body.len);
    if (header != NULL)
        text_addf(&out, "%s: %s\r\n", header, value);
    text_add(&out, "\r\n");
    text_add_len(&out, body.data != NULL ? body.data : "", body.len);
    count(request->server, status);
    /* A client that cannot take a few hundred bytes now just sees the connection close. */
    if (out.failed || body.failed)
        return;
    if (request->connection->tls.gnutls != NULL)
        tls_session_say(request->connection, out.data, out.len);
    else
        (void)send(request->connection->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}
