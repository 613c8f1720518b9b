/* Streams: what worker and server's thread share, and each one's side of it.
 *
 * Everything in a stream is under its lock unless marked. The worker touches the stream alone,
 * never its request. The server's thread is told of what a worker did by `stirred`, a list under
 * the server's lock, only when it waits for that (`waits`); it alone suspends, resumes and frees. A
 * stream has two owners, the request and the worker, and is freed by the server's thread when both
 * have let go: so the server, which waits for all workers' ends, outlives every stream. Order of
 * the locks: the stream's, then the server's. */
#include "api/stream.h"

#include "api/internal.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROOM_AGAIN (API_STREAM_RING / 2) /* free bytes at which a client is read from again */

static_assert(ROOM_AGAIN >= CONNECTION_MEMORY, "what the library has read always finds room");

struct ring {
    size_t at, len;
    unsigned char bytes[API_STREAM_RING];
};

enum body_state { BODY_ARRIVING, BODY_WHOLE, BODY_BROKEN };
enum answer_kind { ANSWER_NONE, ANSWER_TEXT, ANSWER_PIECES };

/* What the suspended connection waits for. */
enum waits {
    WAITS_NOT,
    WAITS_READER, /* for the first read: the client asked whether to send */
    WAITS_ROOM,
    WAITS_ANSWER,
    WAITS_PIECES,
};

struct api_stream {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* for the worker */
    struct api_server *server;
    struct api_request *request; /* the server's thread alone; NULL once it has ended */
    struct api_head *head;       /* these four do not change */
    char id[API_ID_LEN + 1];
    void *data;
    void (*data_done)(void *data);
    struct api_stream *next_stirred; /* under the server's lock */
    bool stirred;                    /* is on that list, or being taken from it */
    enum waits waits;
    enum body_state body;
    bool asking;    /* the client waits to be told to send the body */
    bool body_open; /* more of it may come: the library takes no answer yet */
    bool stopping;  /* the body was broken off because the service stops */
    bool gone;      /* nothing of an answer arrives any more */
    bool wanted;    /* the worker has asked for the body */
    bool ended;     /* the worker has */
    bool whole;
    bool settled; /* the server's thread has seen that */
    enum answer_kind kind;
    unsigned status;
    const char *content_type; /* in `type`, or NULL */
    char type[API_CONTENT_TYPE_MAX + 1];
    struct text headers, text;
    /* the server's thread alone: how patient it is with the client */
    int64_t since_ms, paused_ms;
    uint64_t moved; /* bytes since then */
    struct ring in, out;
};

/* --- rings: what is taken is wiped --- */

static size_t ring_room(const struct ring *ring)
{
    return sizeof(ring->bytes) - ring->len;
}

static void ring_put(struct ring *ring, const void *bytes, size_t len)
{
    size_t to = (ring->at + ring->len) % sizeof(ring->bytes);
    size_t first = sizeof(ring->bytes) - to < len ? sizeof(ring->bytes) - to : len;

    assert(len <= ring_room(ring));
    memcpy(ring->bytes + to, bytes, first);
    memcpy(ring->bytes, (const char *)bytes + first, len - first);
    ring->len += len;
}

static size_t ring_take(struct ring *ring, void *out, size_t most)
{
    size_t len = ring->len < most ? ring->len : most;
    size_t first = sizeof(ring->bytes) - ring->at < len ? sizeof(ring->bytes) - ring->at : len;

    memcpy(out, ring->bytes + ring->at, first);
    memcpy((char *)out + first, ring->bytes, len - first);
    secret_wipe(ring->bytes + ring->at, first);
    secret_wipe(ring->bytes, len - first);
    ring->at = (ring->at + len) % sizeof(ring->bytes);
    ring->len -= len;
    return len;
}

static void ring_clear(struct ring *ring)
{
    secret_wipe(ring->bytes, sizeof(ring->bytes));
    ring->at = ring->len = 0;
}

/* --- the worker's side --- */

static void lock(struct api_stream *s)
{
    (void)pthread_mutex_lock(&s->lock);
}

static void unlock(struct api_stream *s)
{
    (void)pthread_mutex_unlock(&s->lock);
}

/* The thread takes the whole list at its wake-up, so only who finds it empty need wake it. Under
 * the server's lock, as api_give_back. */
static void stir(struct api_stream *s)
{
    struct api_server *server = s->server;

    if (s->stirred)
        return;
    s->stirred = true;
    (void)pthread_mutex_lock(&server->lock);
    s->next_stirred = server->stirred;
    server->stirred = s;
    if (s->next_stirred == NULL)
        server_wake(server);
    (void)pthread_mutex_unlock(&server->lock);
}

static struct timespec moment_after(int ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

static int no_more(const struct api_stream *s)
{
    if (s->body == BODY_WHOLE)
        return 0;
    if (s->body == BODY_ARRIVING)
        return error_set(ERROR_DEADLINE, "nothing of the body came in time");
    if (s->stopping)
        return error_set(ERROR_INPUT, "the service is stopping, and the body has not arrived");
    return error_set(ERROR_INPUT, "the body broke off");
}

int api_stream_read(struct api_stream *s, void *buffer, size_t size, int timeout_ms)
{
    struct timespec until = moment_after(timeout_ms);
    int r = 0;

    lock(s);
    assert(!s->ended && s->kind == ANSWER_NONE && size > 0);
    s->wanted = true;
    if (s->waits == WAITS_READER)
        stir(s);
    while (s->in.len == 0 && s->body == BODY_ARRIVING && r == 0)
        r = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    if (s->in.len > 0) {
        r = (int)ring_take(&s->in, buffer, size < INT_MAX ? size : INT_MAX);
        if (s->waits == WAITS_ROOM && ring_room(&s->in) >= ROOM_AGAIN)
            stir(s);
    } else {
        r = no_more(s);
    }
    unlock(s);
    return r;
}

bool api_stream_stopping(struct api_stream *s)
{
    bool stopping;

    lock(s);
    stopping = s->stopping;
    unlock(s);
    return stopping;
}

void api_stream_answer_header(struct api_stream *s, const char *name, const char *value)
{
    assert(s->kind == ANSWER_NONE);
    text_add_len(&s->headers, name, strlen(name) + 1);
    text_add_len(&s->headers, value, strlen(value) + 1);
}

void api_stream_answer_lacks_header(struct api_stream *s)
{
    assert(s->kind == ANSWER_NONE);
    s->headers.failed = true;
}

/* The caller holds the lock. */
static int begin_answer(
    struct api_stream *s, enum answer_kind kind, unsigned status, const char *content_type)
{
    assert(!s->ended && s->kind == ANSWER_NONE);
    s->kind = kind;
    s->status = status;
    if (content_type != NULL) {
        assert(strlen(content_type) <= API_CONTENT_TYPE_MAX);
        (void)strncpy(s->type, content_type, API_CONTENT_TYPE_MAX);
        s->content_type = s->type;
    }
    ring_clear(&s->in); /* given up, if there is any */
    return s->gone ? error_set(ERROR_INPUT, "the client has gone") : 0;
}

int api_stream_answer_begin(struct api_stream *s, unsigned status, const char *content_type)
{
    int r;

    lock(s);
    r = begin_answer(s, ANSWER_PIECES, status, content_type);
    if (s->waits == WAITS_ANSWER)
        stir(s);
    unlock(s);
    return r;
}

int api_stream_answer(
    struct api_stream *s, unsigned status, const char *content_type, struct text *body)
{
    int r;

    lock(s);
    r = begin_answer(s, ANSWER_TEXT, status, content_type);
    s->text = *body;
    *body = (struct text){0};
    unlock(s);
    return r;
}

int api_stream_problem(struct api_stream *s, enum problem problem, const char *detail)
{
    CLEANUP(text_done) struct text body = {0};
    const char *value, *header = api_problem_header(problem, &value);

    api_problem_text(&body, problem, detail, NULL, s->id);
    if (header != NULL)
        api_stream_answer_header(s, header, value);
    return api_stream_answer(s, api_problem_status(problem), "application/problem+json", &body);
}

int api_stream_write(struct api_stream *s, const void *bytes, size_t len)
{
    const char *at = bytes;
    int r = 0;

    lock(s);
    assert(!s->ended && s->kind == ANSWER_PIECES);
    while (len > 0 && r == 0) {
        size_t room = ring_room(&s->out), n = len < room ? len : room;

        if (s->gone) {
            r = error_set(ERROR_INPUT, "the client has gone");
        } else if (s->body_open && len > API_STREAM_EARLY_MAX - s->out.len) {
            r = error_set(ERROR_INPUT, "too much of an answer before the end of the body");
        } else if (n == 0) {
            (void)pthread_cond_wait(&s->changed, &s->lock);
        } else {
            ring_put(&s->out, at, n);
            at += n;
            len -= n;
            if (s->waits == WAITS_PIECES)
                stir(s);
        }
    }
    unlock(s);
    return r;
}

size_t api_stream_room(struct api_stream *s)
{
    size_t room;

    lock(s);
    room = s->gone ? API_STREAM_RING : ring_room(&s->out);
    unlock(s);
    return room;
}

/* The server's thread may free it as soon as this has unlocked it. */
void api_stream_end(struct api_stream *s, bool whole)
{
    lock(s);
    assert(!s->ended);
    s->ended = true;
    s->whole = whole;
    stir(s);
    unlock(s);
}

const struct api_request *api_stream_head(const struct api_stream *s)
{
    return head_request(s->head);
}

void *api_stream_data(const struct api_stream *s)
{
    return s->data;
}

const char *api_stream_id(const struct api_stream *s)
{
    return s->id;
}

/* --- the server's side --- */

int api_stream_begin(struct api_request *request, struct api_stream **ret)
{
    struct api_stream *s;
    pthread_condattr_t monotonic;

    assert(request->state == REQUEST_HANDLING && request->stream == NULL);
    assert(!request->answered && !request->deferred);
    s = calloc(1, sizeof(*s));
    if (s == NULL || (s->head = head_copy(request)) == NULL) {
        free(s);
        return error_set(ERROR_SYSTEM, "out of memory for a stream");
    }
    (void)pthread_mutex_init(&s->lock, NULL); /* these cannot fail on Linux */
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    s->server = request->server;
    s->request = request;
    memcpy(s->id, request->id, sizeof(s->id));
    s->data = request->data;
    s->data_done = request->data_done;
    request->data_done = NULL;
    s->body_open = request->body_streams;
    s->body = request->body_streams ? BODY_ARRIVING : BODY_WHOLE;
    s->headers = request->headers; /* what the handler has added */
    request->headers = (struct text){0};
    /* From here on it is counted until its worker has ended it. */
    assert(request->admitted);
    request->admitted = false;
    request->server->n_streams++;
    request->stream = s;
    *ret = s;
    return 0;
}

static void stream_free(struct api_stream *s)
{
    if (s->data_done != NULL)
        s->data_done(s->data);
    if (s->text.data != NULL)
        secret_wipe(s->text.data, s->text.capacity);
    text_done(&s->text);
    text_done(&s->headers);
    head_free(s->head);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    secret_wipe(s, sizeof(*s));
    free(s);
}

/* No more time than the bytes that it moved are worth, and none of that for silence. */
static void arm(struct api_stream *s, int64_t now_ms, unsigned rate)
{
    const struct api_server *server = s->server;
    int64_t due_ms =
        s->since_ms + server->config.request_deadline_ms + (int64_t)(s->moved * 1000 / rate);

    if (now_ms + server->config.stream_idle_ms < due_ms)
        due_ms = now_ms + server->config.stream_idle_ms;
    if (s->body == BODY_ARRIVING && server->arriving_until_ms < due_ms)
        due_ms = server->arriving_until_ms;
    connection_arm(s->request->connection, due_ms);
}

static void arm_body(struct api_stream *s, int64_t now_ms)
{
    if (s->body == BODY_ARRIVING)
        arm(s, now_ms, BODY_MIN_RATE);
}

/* The client is not waited for, unless the service is stopping. */
static void pause_for(struct api_stream *s, enum waits waits)
{
    assert(s->waits == WAITS_NOT);
    s->waits = waits;
    s->paused_ms = clock_monotonic_ms();
    connection_arm(s->request->connection,
        s->body == BODY_ARRIVING ? s->server->arriving_until_ms : API_DEADLINE_NONE);
    MHD_suspend_connection(s->request->mhd);
}

static void resume(struct api_stream *s)
{
    if (s->waits == WAITS_NOT)
        return;
    s->waits = WAITS_NOT;
    s->since_ms += clock_monotonic_ms() - s->paused_ms;
    MHD_resume_connection(s->request->mhd);
}

/* False without memory for the headers of an answer in pieces, which is not begun then: its worker
 * may be about to write more of it, and hears that the client is gone. The caller holds the lock.
 */
static bool take_answer(struct api_stream *s, struct api_request *request)
{
    if (s->headers.failed && s->kind == ANSWER_PIECES) {
        log_error("out of memory for the headers of an answer request=%s", s->id);
        return false;
    }
    request->answered = true;
    request->status = s->status;
    memcpy(request->content_type, s->type, sizeof(request->content_type));
    request->headers = s->headers;
    text_done(&request->answer);
    request->answer = s->text;
    s->headers = s->text = (struct text){0};
    if (request->headers.failed || request->answer.failed) {
        answer_done(request);
        request->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        request->content_type[0] = '\0';
    }
    return true;
}

/* The library's: more of the answer. It asks into the buffer of the piece before, of which nothing
 * stays: not when there is less this time, and not at the end. */
static ssize_t give_pieces(void *context, uint64_t position, char *out, size_t most)
{
    struct api_stream *s = context;
    int64_t now_ms = clock_monotonic_ms();
    ssize_t n;

    (void)position;
    lock(s);
    n = (ssize_t)ring_take(&s->out, out, most);
    secret_wipe(out + n, most - (size_t)n);
    if (n > 0) {
        s->moved += (uint64_t)n;
        arm(s, now_ms, ANSWER_MIN_RATE);
        (void)pthread_cond_broadcast(&s->changed);
    } else if (!s->ended) {
        pause_for(s, WAITS_PIECES);
    } else {
        arm(s, now_ms, ANSWER_MIN_RATE);
        n = s->whole ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
    }
    unlock(s);
    return n;
}

/* The body is over, and the library takes an answer. It locks the answer while it asks for pieces,
 * so it gets one without the stream's lock. */
static enum MHD_Result answer_or_wait(struct api_stream *s)
{
    struct api_request *request = s->request;
    bool ready, good, pieces;

    lock(s);
    ready = s->ended || s->kind == ANSWER_PIECES;
    good = s->kind != ANSWER_NONE && (s->whole || !s->ended);
    if (!ready)
        pause_for(s, WAITS_ANSWER);
    else if (good)
        good = take_answer(s, request);
    pieces = s->kind == ANSWER_PIECES;
    s->since_ms = clock_monotonic_ms();
    s->moved = 0;
    unlock(s);
    if (!ready || !good)
        return ready ? MHD_NO : MHD_YES;
    request->state = REQUEST_SENDING;
    if (!pieces)
        return answer_queue(request);
    arm(s, s->since_ms, ANSWER_MIN_RATE);
    return answer_queue_pieces(request, give_pieces, s);
}

enum MHD_Result stream_open(struct api_request *request, bool body_to_come)
{
    struct api_stream *s = request->stream;
    const char *expect = api_request_header(request, MHD_HTTP_HEADER_EXPECT);
    bool asks = expect != NULL && strcasecmp(expect, "100-continue") == 0;

    request->state = REQUEST_STREAM;
    if (!body_to_come)
        return answer_or_wait(s);
    lock(s);
    s->since_ms = clock_monotonic_ms();
    if (asks && !s->wanted) {
        s->asking = true;
        pause_for(s, WAITS_READER);
    } else {
        arm_body(s, s->since_ms);
    }
    unlock(s);
    return MHD_YES;
}

/* The caller holds the lock. All of it always fits, so that nothing waits in the library's memory,
 * which would not be wiped if the connection ended. */
static enum MHD_Result take_piece(struct api_stream *s, const char *piece, size_t *piece_len)
{
    size_t len = *piece_len;
    bool fits = len <= ring_room(&s->in);
    bool use = s->body == BODY_ARRIVING && s->kind == ANSWER_NONE && !s->ended;

    if (use && fits)
        ring_put(&s->in, piece, len);
    secret_wipe((void *)(uintptr_t)piece, len);
    *piece_len = 0;
    if (!use)
        return MHD_YES;
    if (!fits) {
        log_error("a piece of a body did not fit request=%s", s->id);
        return MHD_NO;
    }
    (void)pthread_cond_broadcast(&s->changed);
    s->moved += len;
    if (s->waits != WAITS_NOT) /* one more chunk of what the library had read */
        return MHD_YES;
    if (ring_room(&s->in) < CONNECTION_MEMORY)
        pause_for(s, WAITS_ROOM);
    else
        arm_body(s, clock_monotonic_ms());
    return MHD_YES;
}

enum MHD_Result stream_call(struct api_request *request, const char *piece, size_t *piece_len)
{
    struct api_stream *s = request->stream;
    enum MHD_Result result = MHD_YES;
    bool over = false;

    lock(s);
    if (*piece_len > 0) {
        result = take_piece(s, piece, piece_len);
    } else if (s->asking) {
        s->asking =
            false; /* resumed before the body, the library begins with its first call again */
    } else {
        over = true;
        s->body_open = false;
        if (s->body == BODY_ARRIVING)
            s->body = BODY_WHOLE;
        (void)pthread_cond_broadcast(&s->changed);
        connection_arm(request->connection, API_DEADLINE_NONE);
    }
    unlock(s);
    return over ? answer_or_wait(s) : result;
}

/* The worker has ended in the middle of the body: its answer goes out past the library. The caller
 * holds the lock. */
static void answer_early(struct api_stream *s)
{
    struct api_request *request = s->request;
    struct api_connection *c = request->connection;
    unsigned char pieces[API_STREAM_EARLY_MAX];
    size_t len;

    if (s->kind != ANSWER_NONE && s->whole && s->text.len <= API_STREAM_EARLY_MAX &&
        take_answer(s, request)) {
        len = ring_take(&s->out, pieces, sizeof(pieces));
        if (s->kind == ANSWER_TEXT)
            answer_straight(request, request->answer.data, request->answer.len);
        else
            answer_straight(request, pieces, len);
        secret_wipe(pieces, sizeof(pieces));
        connection_give_up(c, clock_monotonic_ms());
    } else if (s->kind == ANSWER_NONE && s->stopping) {
        answer_now(
            request, PROBLEM_UNAVAILABLE, "the service is stopping, and the body has not arrived");
        connection_give_up(c, clock_monotonic_ms());
    } else {
        connection_refuse(c);
    }
    resume(s);
}

/* What a worker did is looked at. The caller holds the lock. */
static void look(struct api_stream *s)
{
    bool ready = s->ended;

    if (s->ended && s->body_open) {
        answer_early(s);
        return;
    }
    switch (s->waits) {
    case WAITS_NOT:
        return;
    case WAITS_READER:
        ready = s->wanted && s->body == BODY_ARRIVING;
        break;
    case WAITS_ROOM:
        ready =
            s->kind == ANSWER_NONE && s->body == BODY_ARRIVING && ring_room(&s->in) >= ROOM_AGAIN;
        break;
    case WAITS_ANSWER:
        ready = ready || s->kind == ANSWER_PIECES;
        break;
    case WAITS_PIECES:
        ready = ready || s->out.len > 0;
        break;
    }
    if (!ready)
        return;
    resume(s);
    if (s->body_open)
        arm_body(s, clock_monotonic_ms());
}

void streams_run(struct api_server *server)
{
    struct api_stream *s, *next;

    (void)pthread_mutex_lock(&server->lock);
    s = server->stirred;
    server->stirred = NULL;
    (void)pthread_mutex_unlock(&server->lock);
    for (; s != NULL; s = next) {
        bool ended;

        lock(s);
        next = s->next_stirred;
        s->stirred = false;
        if (s->request != NULL)
            look(s);
        ended = s->ended;
        if (ended)
            s->settled = true;
        unlock(s);
        if (!ended)
            continue;
        server->n_streams--;
        atomic_fetch_sub(&server->n_admitted, 1);
        if (s->request == NULL)
            stream_free(s);
    }
}

void stream_detach(struct api_request *request)
{
    struct api_stream *s = request->stream;
    bool settled;

    request->stream = NULL;
    lock(s);
    s->request = NULL;
    s->waits = WAITS_NOT;
    s->gone = true;
    s->body_open = false;
    if (s->body == BODY_ARRIVING)
        s->body = BODY_BROKEN;
    settled = s->settled;
    (void)pthread_cond_broadcast(&s->changed);
    unlock(s);
    if (settled)
        stream_free(s);
}

bool stream_arriving(const struct api_request *request)
{
    return request->stream->body == BODY_ARRIVING; /* written by this thread alone */
}

bool stream_give_up_body(struct api_request *request)
{
    struct api_stream *s = request->stream;

    if (!s->server->quiesced || !stream_arriving(request) ||
        clock_monotonic_ms() < s->server->arriving_until_ms)
        return false;
    lock(s);
    s->body = BODY_BROKEN;
    s->stopping = true;
    (void)pthread_cond_broadcast(&s->changed);
    connection_arm(request->connection, API_DEADLINE_NONE);
    unlock(s);
    return true;
}

void stream_let_go(struct api_request *request)
{
    struct api_stream *s = request->stream;

    lock(s);
    resume(s);
    unlock(s);
    server_wake(s->server);
}
