#include "tests/integration/stream_service.h"

#include "base/error.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include "tests/integration/certificates.h"
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#define STREAMS_MAX 64
#define READ_WAIT_MS 20
#define PIECE 10007 /* no divisor of anything */
#define HEAR_WAIT_S 60
#define RECEIVE_BUFFER 65536

struct worker {
    struct api_stream *stream;
    pthread_t thread;
    char path[32];
    size_t to_write;
    struct stream_outcome outcome;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct worker workers[STREAMS_MAX];
    size_t n, n_data_done, gates;
    bool all_gates, tls;
    char folder[64], certificate_path[128], key_path[128];
} app = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

char stream_pattern(size_t at)
{
    return (char)('a' + at % 23 + (at >> 16) % 3);
}

unsigned stream_sum(unsigned sum, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * 16777619u;
    return sum;
}

const char *stream_counted(size_t n, char out[static 64])
{
    unsigned sum = 0;

    for (size_t i = 0; i < n; i++) {
        char c = stream_pattern(i);

        sum = stream_sum(sum, &c, 1);
    }
    (void)snprintf(out, 64, "%zu %u", n, sum);
    return out;
}

/* --- the workers --- */

static void note(struct worker *w, const struct stream_outcome *outcome)
{
    (void)pthread_mutex_lock(&app.lock);
    w->outcome = *outcome;
    (void)pthread_cond_broadcast(&app.changed);
    (void)pthread_mutex_unlock(&app.lock);
}

static void pass_gate(void)
{
    (void)pthread_mutex_lock(&app.lock);
    while (app.gates == 0 && !app.all_gates)
        (void)pthread_cond_wait(&app.changed, &app.lock);
    if (!app.all_gates)
        app.gates--;
    (void)pthread_mutex_unlock(&app.lock);
}

void stream_open_gate(void)
{
    (void)pthread_mutex_lock(&app.lock);
    app.gates++;
    (void)pthread_cond_broadcast(&app.changed);
    (void)pthread_mutex_unlock(&app.lock);
}

void stream_open_gates(void)
{
    (void)pthread_mutex_lock(&app.lock);
    app.all_gates = true;
    (void)pthread_cond_broadcast(&app.changed);
    (void)pthread_mutex_unlock(&app.lock);
}

static unsigned read_all(struct worker *w, struct stream_outcome *o, bool gated, bool first_only)
{
    char piece[PIECE];
    unsigned sum = 0;

    for (;;) {
        size_t size = 1 + o->read % PIECE;

        if (gated)
            pass_gate();
        o->read_ended = api_stream_read(w->stream, piece, size < 100 ? PIECE : size, READ_WAIT_MS);
        if (o->read_ended == ERROR_DEADLINE) {
            o->waits++;
            note(w, o);
            continue;
        }
        if (o->read_ended <= 0)
            break;
        sum = stream_sum(sum, piece, (size_t)o->read_ended);
        o->read += (size_t)o->read_ended;
        note(w, o);
        if (first_only)
            break;
    }
    note(w, o);
    return sum;
}

static void write_pattern(struct worker *w, struct stream_outcome *o, size_t n)
{
    char piece[PIECE];

    while (o->written < n && o->write_ended == 0) {
        size_t len = n - o->written < PIECE ? n - o->written : PIECE;

        for (size_t i = 0; i < len; i++)
            piece[i] = stream_pattern(o->written + i);
        o->write_ended = api_stream_write(w->stream, piece, len);
        if (o->write_ended == 0)
            o->written += len;
        note(w, o);
    }
}

/* Of this thread, while it is true. The linker puts this in the place of realloc for this test. */
static _Thread_local bool out_of_memory;
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_realloc(void *p, size_t size)
{
    return out_of_memory ? NULL : __real_realloc(p, size);
}

static bool is(const struct worker *w, const char *path)
{
    return strcmp(w->path, path) == 0;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct stream_outcome o = {0};
    bool refuses = is(w, "/refuse") || is(w, "/long-refusal"), late = is(w, "/refuse-late");
    bool whole = true;
    unsigned sum = 0;

    if (!refuses)
        sum = read_all(w, &o, is(w, "/gated"), late);
    if (is(w, "/silent")) {
        whole = false;
    } else if (o.read_ended < 0) {
        o.write_ended = api_stream_problem(w->stream, PROBLEM_UNAVAILABLE, "no whole body");
    } else if (is(w, "/refuse") || late) {
        o.write_ended = api_stream_problem(
            w->stream, late ? PROBLEM_BODY_TOO_LARGE : PROBLEM_UNAUTHENTICATED, "not you");
    } else if (w->to_write > 0 || is(w, "/half") || is(w, "/long-refusal")) {
        size_t n = w->to_write > 0 ? w->to_write : 3 * API_STREAM_RING;

        out_of_memory = is(w, "/no-memory");
        api_stream_answer_header(w->stream, "X-Stream", "yes");
        out_of_memory = false;
        o.write_ended = api_stream_answer_begin(w->stream, 200, "text/plain");
        write_pattern(w, &o, n);
        whole = o.write_ended == 0 && !is(w, "/half");
    } else {
        struct text text = {0};

        text_addf(&text, "%zu %u", o.read, sum);
        o.write_ended = api_stream_answer(w->stream, 200, "text/plain", &text);
    }
    api_stream_end(w->stream, whole);
    o.done = true;
    note(w, &o);
    return NULL;
}

static struct stream_outcome outcome_when(size_t n, size_t read, size_t written, bool done)
{
    struct stream_outcome o;

    (void)pthread_mutex_lock(&app.lock);
    for (;;) {
        o = app.workers[n].outcome;
        if (n < app.n && o.read >= read && o.written >= written && (o.done || !done))
            break;
        ck_assert_msg(!o.done, "stream %zu ended: read %zu (%d), written %zu (%d)", n, o.read,
            o.read_ended, o.written, o.write_ended);
        (void)pthread_cond_wait(&app.changed, &app.lock);
    }
    (void)pthread_mutex_unlock(&app.lock);
    return o;
}

struct stream_outcome stream_wait_done(size_t n)
{
    return outcome_when(n, 0, 0, true);
}

void stream_wait_read(size_t n, size_t bytes)
{
    (void)outcome_when(n, bytes, 0, false);
}

void stream_wait_written(size_t n, size_t bytes)
{
    (void)outcome_when(n, 0, bytes, false);
}

struct stream_outcome stream_now(size_t n)
{
    return outcome_when(n, 0, 0, false);
}

static void data_done(void *data)
{
    (void)pthread_mutex_lock(&app.lock);
    ck_assert(data == &app);
    app.n_data_done++;
    (void)pthread_mutex_unlock(&app.lock);
}

size_t stream_n_data_done(void)
{
    size_t n;

    (void)pthread_mutex_lock(&app.lock);
    n = app.n_data_done;
    (void)pthread_mutex_unlock(&app.lock);
    return n;
}

/* --- the server --- */

static long admit(struct api_request *request, void *context)
{
    (void)context;
    return strcmp(api_request_path(request), "/nowhere") == 0 ? -404 : API_BODY_STREAM;
}

static void handle(struct api_request *request, void *context)
{
    const char *n = api_request_query(request, "n");
    struct worker *w;

    (void)context;
    if (strcmp(api_request_path(request), "/unwilling") == 0) {
        api_problem(request, PROBLEM_CONFLICT, "not this");
        return;
    }
    api_request_set_data(request, &app, data_done);
    (void)pthread_mutex_lock(&app.lock);
    ck_assert_uint_lt(app.n, STREAMS_MAX);
    w = &app.workers[app.n];
    *w = (struct worker){.to_write = n != NULL ? strtoul(n, NULL, 10) : 0};
    (void)snprintf(w->path, sizeof(w->path), "%s", api_request_path(request));
    ck_assert_int_eq(api_stream_begin(request, &w->stream), 0);
    ck_assert_ptr_eq(api_stream_data(w->stream), &app);
    ck_assert_str_eq(api_stream_id(w->stream), api_request_id(request));
    ck_assert_int_eq(pthread_create(&w->thread, NULL, work, w), 0);
    app.n++;
    (void)pthread_cond_broadcast(&app.changed);
    (void)pthread_mutex_unlock(&app.lock);
}

static void write_file(const char *path, char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
    free(text);
}

static void make_certificate(void)
{
    struct certificate certificate =
        certificate_make(NULL, &(struct certificate_plan){.common_name = "streams",
                                   .alt_names = "IP:127.0.0.1",
                                   .purposes = "serverAuth",
                                   .serial = 1});

    (void)snprintf(app.folder, sizeof(app.folder), "/tmp/cradle-streams-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(app.folder));
    (void)snprintf(app.certificate_path, sizeof(app.certificate_path), "%s/c.pem", app.folder);
    (void)snprintf(app.key_path, sizeof(app.key_path), "%s/k.pem", app.folder);
    write_file(app.certificate_path, certificate_pem(&certificate));
    write_file(app.key_path, certificate_key_pem(&certificate));
    certificate_done(&certificate);
}

void stream_service_start(bool tls, bool impatient)
{
    struct api_server_config config = {
        .listener = {.address = "127.0.0.1"}, .admit = admit, .handle = handle};

    app.tls = tls;
    app.n = app.n_data_done = app.gates = 0;
    app.all_gates = false;
    memset(app.workers, 0, sizeof(app.workers));
    if (tls) {
        make_certificate();
        config.listener.tls = API_TLS_SERVER;
        config.listener.certificate = app.certificate_path;
        config.listener.key = app.key_path;
    }
    if (impatient) {
        config.request_deadline_ms = SERVICE_IMPATIENT_MS;
        config.stream_idle_ms = STREAM_IDLE_MS;
    }
    service.server = NULL;
    ck_assert_msg(api_server_start(&config, &service.server) == 0, "%s", error_text());
    service.port = api_server_port(service.server);
}

void stream_service_stop(void)
{
    stream_open_gates();
    api_server_stop(service.server);
    service.server = NULL;
    for (size_t i = 0; i < app.n; i++)
        (void)pthread_join(app.workers[i].thread, NULL);
    ck_assert_uint_eq(app.n_data_done, app.n);
    if (app.tls) {
        (void)unlink(app.certificate_path);
        (void)unlink(app.key_path);
        (void)rmdir(app.folder);
    }
}

/* --- the client --- */

struct peer *peer_new(void)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    const struct timeval patience = {.tv_sec = HEAR_WAIT_S};
    const int buffer = RECEIVE_BUFFER;

    peer->fd = client_dial();
    ck_assert_int_ge(peer->fd, 0);
    ck_assert_int_eq(setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    ck_assert_int_eq(setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)), 0);
    if (!app.tls)
        return peer;
    peer->context = SSL_CTX_new(TLS_client_method());
    peer->ssl = SSL_new(peer->context);
    ck_assert_int_eq(SSL_set_fd(peer->ssl, peer->fd), 1);
    ck_assert_int_eq(SSL_connect(peer->ssl), 1);
    return peer;
}

void peer_free(struct peer *peer)
{
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    (void)close(peer->fd);
    free(peer);
}

bool peer_say_bytes(struct peer *peer, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t n = peer->ssl != NULL ? SSL_write(peer->ssl, at, (int)len)
                                      : send(peer->fd, at, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool peer_say(struct peer *peer, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ck_assert(n > 0 && (size_t)n < sizeof(text));
    return peer_say_bytes(peer, text, (size_t)n);
}

bool peer_say_pattern(struct peer *peer, size_t at, size_t n, size_t chunk)
{
    static const size_t usual = 32768;
    char piece[32768 + 32];

    while (n > 0) {
        size_t most = chunk > 0 ? chunk : usual, len = n < most ? n : most;
        size_t before = chunk > 0 ? (size_t)snprintf(piece, 16, "%zx\r\n", len) : 0;

        ck_assert_uint_le(most, usual);
        for (size_t i = 0; i < len; i++)
            piece[before + i] = stream_pattern(at + i);
        if (chunk > 0)
            memcpy(piece + before + len, "\r\n", 2);
        if (!peer_say_bytes(peer, piece, before + len + (chunk > 0 ? 2 : 0)))
            return false;
        at += len;
        n -= len;
    }
    return true;
}

static size_t peer_listen(struct peer *peer, char *out, size_t most)
{
    ssize_t n;

    if (most == 0)
        return 0;
    if (peer->ssl != NULL) {
        n = SSL_read(peer->ssl, out, (int)most);
    } else {
        n = recv(peer->fd, out, most, 0);
        ck_assert_msg(n >= 0 || errno == ECONNRESET, "no answer: the server hangs");
    }
    return n > 0 ? (size_t)n : 0;
}

bool peer_is_closed(struct peer *peer)
{
    char byte;

    return peer_listen(peer, &byte, 1) == 0;
}

static bool hear_line(struct peer *peer, char *line, size_t size)
{
    size_t len = 0;

    while (len < 2 || line[len - 2] != '\r' || line[len - 1] != '\n') {
        ck_assert_uint_lt(len, size - 1);
        if (peer_listen(peer, line + len, 1) == 0)
            return false;
        line[++len] = '\0';
    }
    return true;
}

static bool hear_bytes(struct peer *peer, struct heard *heard, size_t len)
{
    char piece[16384];

    while (len > 0) {
        size_t n = peer_listen(peer, piece, len < sizeof(piece) ? len : sizeof(piece));

        if (n == 0)
            return false;
        if (heard->body_len + n < sizeof(heard->body))
            memcpy(heard->body + heard->body_len, piece, n);
        heard->sum = stream_sum(heard->sum, piece, n);
        heard->body_len += n;
        len -= n;
    }
    return true;
}

static bool hear_chunks(struct peer *peer, struct heard *heard)
{
    char line[64];
    size_t len;

    do {
        if (!hear_line(peer, line, sizeof(line)))
            return false;
        len = strtoul(line, NULL, 16);
        if (!hear_bytes(peer, heard, len) || !hear_line(peer, line, sizeof(line)))
            return false;
    } while (len > 0);
    return true;
}

struct heard peer_hear(struct peer *peer)
{
    struct heard heard = {0};
    size_t len = 0;
    const char *length;

    while (len < 4 || memcmp(heard.head + len - 4, "\r\n\r\n", 4) != 0) {
        ck_assert_uint_lt(len, sizeof(heard.head) - 1);
        if (peer_listen(peer, heard.head + len, 1) == 0)
            return heard;
        len++;
    }
    ck_assert_int_eq(sscanf(heard.head, "HTTP/1.%*1d %u", &heard.status), 1);
    length = strcasestr(heard.head, "\r\nContent-Length:");
    heard.chunked = strcasestr(heard.head, "\r\nTransfer-Encoding: chunked") != NULL;
    if (heard.status == 100)
        heard.complete = true;
    else if (heard.chunked)
        heard.complete = hear_chunks(peer, &heard);
    else if (length != NULL)
        heard.complete =
            hear_bytes(peer, &heard, strtoul(length + strlen("\r\nContent-Length:"), NULL, 10));
    else
        heard.complete = !hear_bytes(peer, &heard, SIZE_MAX);
    return heard;
}
