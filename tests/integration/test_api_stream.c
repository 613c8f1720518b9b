/* Requests whose body and answer go piece by piece, on real sockets, plain and with TLS: of any
 * size in constant memory, however fast or slow either side is, and whoever goes away. */
#include "base/error.h"
#include "base/log.h"
#include "tests/integration/api_service.h"
#include "tests/integration/stream_service.h"
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define WATCHDOG_S 280
#define LARGE ((size_t)100 << 20)
#define ANSWER ((size_t)20 << 20)
#define SMALL 30000
#define HELD_MAX ((size_t)40 << 20) /* what sockets' buffers and the ring may hold of a body */
#define QUIET_MS 300
#define N_AT_ONCE 8
#define TAIL ((size_t)4 << 20)
#define HTTP " HTTP/1.1\r\nHost: h\r\n"

/* A sanitizer keeps what is freed, and shadows what is used. GCC says so by a macro, Clang by a
 * feature. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GROWTH_MAX_KB (700 * 1024)
#else
#define GROWTH_MAX_KB (6 * 1024)
#endif

/* Every test runs on a plain listener and on one with TLS. */
static void setup_plain(void)
{
    stream_service_start(false, false);
}

static void setup_tls(void)
{
    stream_service_start(true, false);
}

static void setup_plain_impatient(void)
{
    stream_service_start(false, true);
}

static void setup_tls_impatient(void)
{
    stream_service_start(true, true);
}

static void expect(struct peer *peer, unsigned status, const char *body)
{
    struct heard heard = peer_hear(peer);

    ck_assert_msg(heard.status == status, "%u instead of %u: %s", heard.status, status, heard.head);
    ck_assert(heard.complete);
    if (body != NULL)
        ck_assert_str_eq(heard.body, body);
}

/* A problem document, and then the end. */
static void expect_last(struct peer *peer, unsigned status)
{
    struct heard heard = peer_hear(peer);

    ck_assert_msg(heard.status == status, "%u instead of %u: %s", heard.status, status, heard.head);
    ck_assert(heard.complete);
    ck_assert_ptr_nonnull(strstr(heard.head, "\r\nConnection: close\r\n"));
    ck_assert_ptr_nonnull(strstr(heard.head, "application/problem+json"));
    ck_assert(peer_is_closed(peer));
}

static void expect_pattern(const struct heard *heard, size_t n)
{
    char counted[64], got[64];

    ck_assert_uint_eq(heard->status, 200);
    ck_assert(heard->complete);
    ck_assert_ptr_nonnull(strstr(heard->head, "\r\nX-Stream: yes\r\n"));
    (void)snprintf(got, sizeof(got), "%zu %u", heard->body_len, heard->sum);
    ck_assert_str_eq(got, stream_counted(n, counted));
}

static void post(struct peer *peer, const char *path, size_t len)
{
    ck_assert(peer_say(peer, "POST %s" HTTP "Content-Length: %zu\r\n\r\n", path, len));
}

static void post_chunked(struct peer *peer, const char *path)
{
    ck_assert(peer_say(peer, "POST %s" HTTP "Transfer-Encoding: chunked\r\n\r\n", path));
}

static void wait_data_done(size_t n)
{
    while (stream_n_data_done() < n)
        (void)sched_yield();
}

/* The most memory since it was asked to forget the past. */
static long peak_kb(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    long kb = -1;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "VmHWM: %ld kB", &kb) == 1)
            break;
    (void)fclose(file);
    ck_assert_int_gt(kb, 0);
    return kb;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs("5", file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static const size_t chunkings[] = {0, 1000, 32768};

START_TEST(a_body_of_any_size_takes_no_memory)
{
    struct peer *peer = peer_new();
    size_t chunk = chunkings[_i];
    char counted[64];
    long before_kb;

    forget_peak();
    before_kb = peak_kb();
    if (chunk == 0)
        post(peer, "/count", LARGE);
    else
        post_chunked(peer, "/count");
    ck_assert(peer_say_pattern(peer, 0, LARGE, chunk));
    if (chunk > 0)
        ck_assert(peer_say(peer, "0\r\n\r\n"));
    expect(peer, 200, stream_counted(LARGE, counted));
    ck_assert_msg(
        peak_kb() - before_kb < GROWTH_MAX_KB, "%ld kB more than before", peak_kb() - before_kb);
    peer_free(peer);
}
END_TEST

static const size_t small_sizes[] = {1, 2, 8191, 8192, 8193, 65535, 65536, 65537, 200000};

START_TEST(a_small_body_comes_as_it_was_sent)
{
    struct peer *peer = peer_new();
    size_t n = small_sizes[_i];
    char counted[64];

    (void)stream_counted(n, counted);
    post(peer, "/count", n);
    ck_assert(peer_say_pattern(peer, 0, n, 0));
    expect(peer, 200, counted);
    /* one byte a chunk: many of them come to the server at once */
    post_chunked(peer, "/count");
    ck_assert(peer_say_pattern(peer, 0, n, n < 100 ? 1 : 7));
    ck_assert(peer_say(peer, "0\r\n\r\n"));
    expect(peer, 200, counted);
    post(peer, "/count", 0);
    expect(peer, 200, "0 0");
    peer_free(peer);
    wait_data_done(3);
}
END_TEST

/* Sends until nothing more is taken. */
static size_t say_what_is_taken(struct peer *peer, size_t most)
{
    struct pollfd room = {.fd = peer->fd, .events = POLLOUT};
    size_t said = 0;

    ck_assert_int_eq(fcntl(peer->fd, F_SETFL, O_NONBLOCK), 0);
    while (said < most && poll(&room, 1, QUIET_MS) > 0) {
        char c[1000];
        size_t len = most - said < sizeof(c) ? most - said : sizeof(c);
        ssize_t n;

        for (size_t i = 0; i < len; i++)
            c[i] = stream_pattern(said + i);
        /* OpenSSL takes a whole record or, by want of room, has it to be said again. */
        n = peer->ssl != NULL ? SSL_write(peer->ssl, c, (int)len)
                              : send(peer->fd, c, len, MSG_NOSIGNAL);
        if (n > 0)
            said += (size_t)n;
        else if (peer->ssl != NULL)
            ck_assert_int_eq(SSL_get_error(peer->ssl, (int)n), SSL_ERROR_WANT_WRITE);
    }
    ck_assert_int_eq(fcntl(peer->fd, F_SETFL, 0), 0);
    return said;
}

START_TEST(who_sends_faster_than_the_worker_reads_has_to_wait)
{
    struct peer *peer = peer_new();
    char counted[64];
    size_t said;

    if (peer->ssl != NULL)
        (void)SSL_set_mode(
            peer->ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
    post(peer, "/gated", LARGE);
    said = say_what_is_taken(peer, LARGE);
    ck_assert_uint_lt(said, HELD_MAX);
    ck_assert_uint_gt(said, API_STREAM_RING);
    ck_assert_uint_eq(stream_now(0).read, 0);
    stream_open_gate();
    stream_wait_read(0, 1);
    /* The rest goes on as the gates open, with nothing lost. */
    stream_open_gates();
    ck_assert(peer_say_pattern(peer, said, LARGE - said, 0));
    expect(peer, 200, stream_counted(LARGE, counted));
    peer_free(peer);
}
END_TEST

START_TEST(a_slow_client_is_waited_for)
{
    struct peer *peer = peer_new();
    char counted[64];

    post(peer, "/count", 5);
    for (size_t i = 0; i < 5; i++) {
        size_t waits;

        stream_wait_read(0, i);
        /* The worker has heard twice that nothing has come. */
        for (waits = stream_now(0).waits; stream_now(0).waits < waits + 2;)
            (void)sched_yield();
        ck_assert(peer_say_pattern(peer, i, 1, 0));
    }
    expect(peer, 200, stream_counted(5, counted));
    peer_free(peer);
}
END_TEST

START_TEST(a_client_that_stops_sending_is_cut)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    post(peer, "/count", LARGE);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 0));
    o = stream_wait_done(0);
    ck_assert_int_eq(o.read_ended, ERROR_INPUT);
    ck_assert_uint_eq(o.read, SMALL);
    ck_assert(peer_is_closed(peer));
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 1);
    peer_free(peer);
}
END_TEST

START_TEST(a_client_below_the_least_rate_is_cut)
{
    struct peer *peer = peer_new();
    struct pollfd end = {.fd = peer->fd, .events = POLLRDHUP};

    post(peer, "/count", LARGE);
    /* A byte now and then, each well within the time for silence. */
    while (poll(&end, 1, STREAM_IDLE_MS / 10) == 0 && peer_say(peer, "x")) {
    }
    ck_assert_int_eq(stream_wait_done(0).read_ended, ERROR_INPUT);
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 1);
    peer_free(peer);
}
END_TEST

START_TEST(a_worker_that_takes_its_time_costs_the_client_nothing)
{
    struct peer *peer = peer_new();
    char counted[64];

    post(peer, "/gated", 3 * SMALL);
    ck_assert(peer_say_pattern(peer, 0, 3 * SMALL, 0));
    /* Longer than any client would be granted, and the ring is full. */
    ck_assert_int_eq(poll(NULL, 0, 2 * SERVICE_IMPATIENT_MS), 0);
    stream_open_gates();
    expect(peer, 200, stream_counted(3 * SMALL, counted));
    peer_free(peer);
}
END_TEST

static void reset_and_free(struct peer *peer, bool reset)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        ck_assert_int_eq(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    peer_free(peer);
}

START_TEST(the_worker_hears_at_once_of_a_client_that_went)
{
    static const size_t sent[] = {0, SMALL, 200000}; /* before the body, in it, with a full ring */
    bool reset = _i % 2 != 0;
    struct peer *peer = peer_new();
    struct stream_outcome o;

    post(peer, "/count", LARGE);
    if (sent[_i / 2] > 0)
        ck_assert(peer_say_pattern(peer, 0, sent[_i / 2], 0));
    stream_wait_read(0, sent[_i / 2]);
    reset_and_free(peer, reset);
    o = stream_wait_done(0);
    ck_assert_int_eq(o.read_ended, ERROR_INPUT);
    ck_assert_uint_eq(o.read, sent[_i / 2]);
    ck_assert_int_eq(o.write_ended, ERROR_INPUT);
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 0);
    service_wait_connections(0);
    service_wait_idle(true);
    wait_data_done(1);
}
END_TEST

START_TEST(what_a_client_that_went_had_sent_is_read_first)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    post(peer, "/gated", LARGE);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 0));
    (void)stream_now(0);
    /* No more will come; closing outright might take back what has. */
    ck_assert_int_eq(shutdown(peer->fd, SHUT_WR), 0);
    ck_assert(peer_is_closed(peer));
    service_wait_connections(0);
    /* The request has ended, and the worker is still about to read. */
    ck_assert(!api_server_idle(service.server));
    ck_assert_uint_eq(stream_n_data_done(), 0);
    stream_open_gates();
    o = stream_wait_done(0);
    ck_assert_uint_eq(o.read, SMALL);
    ck_assert_int_eq(o.read_ended, ERROR_INPUT);
    peer_free(peer);
    wait_data_done(1);
}
END_TEST

START_TEST(a_client_that_goes_before_its_answer_does_no_harm)
{
    struct peer *peer = peer_new();

    post(peer, _i == 0 ? "/gated" : "/gated?n=20000000", SMALL);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 0));
    (void)stream_now(0);
    reset_and_free(peer, true);
    stream_open_gates();
    if (_i == 1)
        ck_assert_int_eq(stream_wait_done(0).write_ended, ERROR_INPUT);
    (void)stream_wait_done(0);
    wait_data_done(1);
    service_wait_connections(0);
}
END_TEST

START_TEST(a_client_that_goes_in_its_answer_ends_it)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    ck_assert(peer_say(peer, "GET /generate?n=%zu" HTTP "\r\n", 4 * ANSWER));
    stream_wait_written(0, API_STREAM_RING);
    reset_and_free(peer, _i == 0);
    o = stream_wait_done(0);
    ck_assert_int_eq(o.write_ended, ERROR_INPUT);
    ck_assert_uint_lt(o.written, 4 * ANSWER);
}
END_TEST

static const char *const broken_chunks[] = {
    "zz\r\nabc\r\n", "5\r\nabcdefgh\r\n", "-1\r\nabc\r\n", "fffffffffffffffffff\r\nabc"};

START_TEST(a_body_that_is_none_breaks_off)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    post_chunked(peer, "/count");
    ck_assert(peer_say_pattern(peer, 0, SMALL, 1000));
    stream_wait_read(0, SMALL);
    ck_assert(peer_say(peer, "%s", broken_chunks[_i]));
    o = stream_wait_done(0);
    ck_assert_int_eq(o.read_ended, ERROR_INPUT);
    ck_assert_uint_le(o.read, SMALL + 5);
    peer_free(peer);
}
END_TEST

START_TEST(a_length_not_reached_breaks_off)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    post(peer, "/count", SMALL + 1);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 0));
    stream_wait_read(0, SMALL);
    ck_assert_int_eq(shutdown(peer->fd, SHUT_WR), 0);
    o = stream_wait_done(0);
    ck_assert_int_eq(o.read_ended, ERROR_INPUT);
    ck_assert_uint_eq(o.read, SMALL);
    peer_free(peer);
}
END_TEST

static const struct {
    const char *path;
    unsigned status;
} refusals[] = {{"/refuse", 401}, {"/refuse-late", 413}, {"/unwilling", 409}, {"/nowhere", 404}};

START_TEST(an_answer_may_come_before_the_end_of_the_body)
{
    struct peer *peer = peer_new();

    post(peer, refusals[_i].path, LARGE);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 0));
    expect_last(peer, refusals[_i].status);
    peer_free(peer);
    service_wait_idle(true);
}
END_TEST

START_TEST(who_is_refused_while_sending_reads_why)
{
    struct peer *peer = peer_new();

    post_chunked(peer, refusals[_i].path);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 1000));
    stream_wait_done(0);
    (void)peer_say_pattern(peer, 0, TAIL, 1000);
    expect_last(peer, refusals[_i].status);
    peer_free(peer);
}
END_TEST

START_TEST(who_asks_before_sending_is_told)
{
    struct peer *peer = peer_new();
    char counted[64];

    ck_assert(peer_say(
        peer, "POST /count" HTTP "Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", SMALL));
    expect(peer, 100, NULL);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 0));
    expect(peer, 200, stream_counted(SMALL, counted));
    ck_assert(peer_say(
        peer, "POST /refuse" HTTP "Expect: 100-continue\r\nContent-Length: %zu\r\n\r\n", LARGE));
    expect_last(peer, 401); /* and no 100 before it */
    peer_free(peer);
}
END_TEST

START_TEST(an_early_answer_has_its_limit)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    post(peer, "/long-refusal", LARGE);
    o = stream_wait_done(0);
    ck_assert_int_eq(o.write_ended, ERROR_INPUT);
    ck_assert_uint_le(o.written, API_STREAM_EARLY_MAX);
    ck_assert(peer_is_closed(peer));
    peer_free(peer);
}
END_TEST

START_TEST(a_worker_that_ends_without_its_answer_closes)
{
    struct peer *peer = peer_new();
    struct heard heard;

    post(peer, _i == 0 ? "/silent" : "/half", 4);
    ck_assert(peer_say(peer, "body"));
    heard = peer_hear(peer);
    /* A part is never taken for the whole. */
    ck_assert(!heard.complete);
    ck_assert_uint_eq(heard.status, (_i == 0 ? 0 : 200));
    ck_assert(peer_is_closed(peer));
    peer_free(peer);
}
END_TEST

START_TEST(without_memory_for_its_headers_an_answer_in_pieces_is_none)
{
    struct peer *peer = peer_new();
    struct heard heard;

    ck_assert(peer_say(peer, "GET /no-memory?n=%zu" HTTP "\r\n", ANSWER));
    heard = peer_hear(peer);
    ck_assert_uint_eq(heard.status, 0);
    ck_assert(peer_is_closed(peer));
    ck_assert_int_eq(stream_wait_done(0).write_ended, ERROR_INPUT);
    peer_free(peer);
}
END_TEST

START_TEST(a_large_answer_waits_for_its_reader)
{
    struct peer *peer = peer_new();
    struct heard heard;
    long before_kb;

    forget_peak();
    before_kb = peak_kb();
    ck_assert(peer_say(peer, "GET /generate?n=%zu" HTTP "\r\n", ANSWER));
    stream_wait_written(0, 2 * API_STREAM_RING);
    ck_assert_uint_lt(stream_now(0).written, ANSWER);
    heard = peer_hear(peer);
    expect_pattern(&heard, ANSWER);
    ck_assert(heard.chunked);
    ck_assert_int_lt(peak_kb() - before_kb, GROWTH_MAX_KB);
    /* and the connection goes on */
    post(peer, "/count", 0);
    expect(peer, 200, "0 0");
    peer_free(peer);
}
END_TEST

START_TEST(a_client_that_does_not_read_is_cut)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    ck_assert(peer_say(peer, "GET /generate?n=%zu" HTTP "\r\n", 4 * ANSWER));
    o = stream_wait_done(0);
    ck_assert_int_eq(o.write_ended, ERROR_INPUT);
    ck_assert_uint_lt(o.written, 4 * ANSWER);
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 1);
    peer_free(peer);
}
END_TEST

START_TEST(an_old_client_has_its_answer_until_the_end)
{
    struct peer *peer = peer_new();
    struct heard heard;

    ck_assert(peer_say(peer, "GET /generate?n=%d HTTP/1.0\r\n\r\n", SMALL));
    heard = peer_hear(peer);
    expect_pattern(&heard, SMALL);
    ck_assert(!heard.chunked);
    peer_free(peer);
}
END_TEST

START_TEST(requests_behind_each_other_are_all_answered)
{
    struct peer *peer = peer_new();
    char counted[64];
    struct heard heard;

    ck_assert(peer_say(peer,
        "POST /count" HTTP "Content-Length: 4\r\n\r\nabcd"
        "GET /generate?n=50000" HTTP "\r\n"
        "POST /count" HTTP "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"
        "POST /count" HTTP "Content-Length: 3\r\n\r\nabc"));
    expect(peer, 200, stream_counted(4, counted));
    heard = peer_hear(peer);
    expect_pattern(&heard, 50000);
    expect(peer, 200, stream_counted(4, counted));
    expect(peer, 200, stream_counted(3, counted));
    peer_free(peer);
}
END_TEST

static void *post_in_a_thread(void *arg)
{
    struct peer *peer = peer_new();
    char counted[64];

    (void)arg;
    post(peer, "/count", TAIL);
    ck_assert(peer_say_pattern(peer, 0, TAIL, 0));
    expect(peer, 200, stream_counted(TAIL, counted));
    peer_free(peer);
    return NULL;
}

START_TEST(several_go_at_once)
{
    pthread_t threads[N_AT_ONCE];

    for (size_t i = 0; i < N_AT_ONCE; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_in_a_thread, NULL), 0);
    for (size_t i = 0; i < N_AT_ONCE; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    wait_data_done(N_AT_ONCE);
}
END_TEST

START_TEST(a_drain_waits_for_what_is_at_work)
{
    struct peer *peer = peer_new(), *other = peer_new();
    char counted[64];

    post(peer, "/gated", SMALL);
    ck_assert(peer_say_pattern(peer, 0, SMALL / 2, 0));
    (void)stream_now(0);
    api_server_drain(service.server);
    post(other, "/count", SMALL);
    expect_last(other, 503);
    ck_assert(!api_server_idle(service.server));
    ck_assert(peer_say_pattern(peer, SMALL / 2, SMALL / 2, 0));
    stream_open_gates();
    expect(peer, 200, stream_counted(SMALL, counted));
    service_wait_idle(true);
    peer_free(peer);
    peer_free(other);
}
END_TEST

static const char *const late_paths[] = {"/count", "/silent"};

/* Its worker answers, or leaves it to the server. */
START_TEST(a_drain_does_not_wait_for_ever_for_a_body)
{
    struct peer *peer = peer_new();
    struct stream_outcome o;

    post(peer, late_paths[_i], LARGE);
    ck_assert(peer_say_pattern(peer, 0, SMALL, 0));
    stream_wait_read(0, SMALL);
    api_server_drain(service.server);
    o = stream_wait_done(0);
    ck_assert_int_eq(o.read_ended, ERROR_INPUT);
    ck_assert_uint_eq(o.read, SMALL);
    expect_last(peer, 503);
    service_wait_idle(true);
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 0);
    peer_free(peer);
}
END_TEST

START_TEST(a_stopped_server_lets_its_workers_go)
{
    struct peer *sending = peer_new(), *reading = peer_new();

    post(sending, "/count", LARGE);
    ck_assert(peer_say_pattern(sending, 0, SMALL, 0));
    stream_wait_read(0, SMALL);
    ck_assert(peer_say(reading, "GET /generate?n=%zu" HTTP "\r\n", 4 * ANSWER));
    stream_wait_written(1, API_STREAM_RING);
    stream_service_stop(); /* also says that both workers have ended */
    ck_assert_int_eq(stream_wait_done(0).read_ended, ERROR_INPUT);
    ck_assert_int_eq(stream_wait_done(1).write_ended, ERROR_INPUT);
    peer_free(sending);
    peer_free(reading);
    stream_service_start(false, false); /* for the fixture's teardown */
}
END_TEST

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_patient(TCase *tcase)
{
    tcase_add_loop_test(tcase, a_body_of_any_size_takes_no_memory, 0, N(chunkings));
    tcase_add_loop_test(tcase, a_small_body_comes_as_it_was_sent, 0, N(small_sizes));
    tcase_add_test(tcase, who_sends_faster_than_the_worker_reads_has_to_wait);
    tcase_add_test(tcase, a_slow_client_is_waited_for);
    tcase_add_loop_test(tcase, the_worker_hears_at_once_of_a_client_that_went, 0, 6);
    tcase_add_test(tcase, what_a_client_that_went_had_sent_is_read_first);
    tcase_add_loop_test(tcase, a_client_that_goes_before_its_answer_does_no_harm, 0, 2);
    tcase_add_loop_test(tcase, a_client_that_goes_in_its_answer_ends_it, 0, 2);
    tcase_add_loop_test(tcase, a_body_that_is_none_breaks_off, 0, N(broken_chunks));
    tcase_add_test(tcase, a_length_not_reached_breaks_off);
    tcase_add_loop_test(tcase, an_answer_may_come_before_the_end_of_the_body, 0, N(refusals));
    tcase_add_loop_test(tcase, who_is_refused_while_sending_reads_why, 0, 2);
    tcase_add_test(tcase, who_asks_before_sending_is_told);
    tcase_add_test(tcase, an_early_answer_has_its_limit);
    tcase_add_loop_test(tcase, a_worker_that_ends_without_its_answer_closes, 0, 2);
    tcase_add_test(tcase, without_memory_for_its_headers_an_answer_in_pieces_is_none);
    tcase_add_test(tcase, a_large_answer_waits_for_its_reader);
    tcase_add_test(tcase, an_old_client_has_its_answer_until_the_end);
    tcase_add_test(tcase, requests_behind_each_other_are_all_answered);
    tcase_add_test(tcase, several_go_at_once);
    tcase_add_test(tcase, a_drain_waits_for_what_is_at_work);
    tcase_add_loop_test(tcase, a_drain_does_not_wait_for_ever_for_a_body, 0, N(late_paths));
    tcase_add_test(tcase, a_stopped_server_lets_its_workers_go);
}

static void add_impatient(TCase *tcase)
{
    tcase_add_test(tcase, a_client_that_stops_sending_is_cut);
    tcase_add_test(tcase, a_client_below_the_least_rate_is_cut);
    tcase_add_test(tcase, a_worker_that_takes_its_time_costs_the_client_nothing);
    tcase_add_test(tcase, a_client_that_does_not_read_is_cut);
}

static void add(Suite *suite, const char *name, void (*setup)(void), void (*tests)(TCase *tcase))
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, stream_service_stop);
    tests(tcase);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("api-stream");
    SRunner *runner;
    int failed;

    add(suite, "plain", setup_plain, add_patient);
    add(suite, "tls", setup_tls, add_patient);
    add(suite, "plain-impatient", setup_plain_impatient, add_impatient);
    add(suite, "tls-impatient", setup_tls_impatient, add_impatient);
    log_init("test", LOG_LEVEL_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(WATCHDOG_S);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
