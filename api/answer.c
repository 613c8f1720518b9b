#include "api/internal.h"

#include "api/problem.h"
#include "base/clock.h"
#include "base/log.h"
#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_PIECE ((size_t)16384) /* of a streamed answer, where it is not chunked */

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
    if (request->answer.failed || request->headers.failed) {
        answer_done(request);
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
    text_done(&request->answer); /* empty, but it may have memory */
    request->answer = *body;
    *body = (struct text){0};
    set_answer(request, status, content_type);
}

void api_answer_header(struct api_request *request, const char *name, const char *value)
{
    text_add_len(&request->headers, name, strlen(name) + 1);
    text_add_len(&request->headers, value, strlen(value) + 1);
}

void api_answer_lacks_header(struct api_request *request)
{
    request->headers.failed = true;
}

/* An answer may carry a client's secret or session keys. */
void answer_clear(struct api_request *request)
{
    secret_wipe(request->answer.data, request->answer.len);
    text_clear(&request->answer);
    text_done(&request->headers);
}

void answer_done(struct api_request *request)
{
    secret_wipe(request->answer.data, request->answer.capacity);
    text_done(&request->answer);
    text_done(&request->headers);
}

static bool add_header(
    struct api_request *request, struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) == MHD_YES)
        return true;
    log_error(
        "an answer's header was refused by the library header=%s request=%s", name, request->id);
    return false;
}

/* An answer without one of its headers is another answer: without it there is none. */
static bool add_headers(struct api_request *request, struct MHD_Response *response)
{
    const char *p = request->headers.data;
    const char *end = p != NULL ? p + request->headers.len : NULL;

    bool good = add_header(request, response, "X-Request-Id", request->id);

    if (request->headers.failed) /* it may end with a name that has no value */
        return false;
    if (request->content_type[0] != '\0')
        good = add_header(request, response, MHD_HTTP_HEADER_CONTENT_TYPE, request->content_type) &&
               good;
    while (p != end) {
        const char *value = p + strlen(p) + 1;

        good = add_header(request, response, p, value) && good;
        p = value + strlen(value) + 1;
    }
    if (request->close || atomic_load_explicit(&request->server->draining, memory_order_relaxed))
        good = add_header(request, response, MHD_HTTP_HEADER_CONNECTION, "close") && good;
    return good;
}

/* Takes the response over. */
static enum MHD_Result queue(struct api_request *request, struct MHD_Response *response)
{
    enum MHD_Result result;

    assert(request->answered);
    if (response == NULL)
        return MHD_NO;
    result = add_headers(request, response)
                 ? MHD_queue_response(request->mhd, request->status, response)
                 : MHD_NO;
    MHD_destroy_response(response);
    count(request->server, request->status);
    request_settled(request);
    return result;
}

enum MHD_Result answer_queue_pieces(
    struct api_request *request, MHD_ContentReaderCallback reader, void *context)
{
    return queue(request,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, ANSWER_PIECE, reader, context, NULL));
}

enum MHD_Result answer_queue(struct api_request *request)
{
    struct api_server *server = request->server;
    /* The text stays ours until handle_completed, when nothing reads it any more. */
    enum MHD_Result result = queue(request, MHD_create_response_from_buffer(request->answer.len,
                                                request->answer.data, MHD_RESPMEM_PERSISTENT));

    connection_arm(
        request->connection, clock_monotonic_ms() + server->config.request_deadline_ms +
                                 (int64_t)(request->answer.len * 1000 / ANSWER_MIN_RATE));
    return result;
}

/* `headers` is as request->headers. */
static void say(struct api_request *request, unsigned status, const char *content_type,
    const struct text *headers, const void *body, size_t len)
{
    const char *p = headers->data, *end = p != NULL ? p + headers->len : NULL;
    CLEANUP(text_done) struct text out = {0};

    text_addf(&out, "HTTP/1.1 %u %s\r\nConnection: close\r\nX-Request-Id: %s\r\n", status,
        MHD_get_reason_phrase_for(status), request->id);
    text_addf(&out, "Content-Length: %zu\r\n", len);
    if (content_type[0] != '\0')
        text_addf(&out, "Content-Type: %s\r\n", content_type);
    out.failed |= headers->failed;
    while (!headers->failed && p != end) {
        const char *value = p + strlen(p) + 1;

        text_addf(&out, "%s: %s\r\n", p, value);
        p = value + strlen(value) + 1;
    }
    text_add(&out, "\r\n");
    text_reserve(&out, len);
    if (len > 0)
        text_add_len(&out, body, len);
    count(request->server, status);
    /* A client that cannot take a few kilobytes now just sees the connection close. */
    if (!out.failed && request->connection->tls.gnutls != NULL)
        tls_session_say(request->connection, out.data, out.len);
    else if (!out.failed)
        (void)send(request->connection->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!out.failed)
        secret_wipe(out.data, out.len);
}

void answer_straight(struct api_request *request, const void *body, size_t len)
{
    say(request, request->status, request->content_type, &request->headers, body, len);
}

void answer_now(struct api_request *request, enum problem problem, const char *detail)
{
    const char *value, *header = api_problem_header(problem, &value);
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(text_done) struct text headers = {0};

    api_problem_text(&body, problem, detail, NULL, request->id);
    if (header != NULL) {
        text_add_len(&headers, header, strlen(header) + 1);
        text_add_len(&headers, value, strlen(value) + 1);
    }
    if (!body.failed && !headers.failed)
        say(request, api_problem_status(problem), "application/problem+json", &headers, body.data,
            body.len);
}
