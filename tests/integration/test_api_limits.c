/* The HTTP server when more comes than it takes, and when it has to end: connections beyond its
 * limit, and requests whose body is late. */
#include "base/clock.h"
#include "base/log.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCHDOG_S 150
#define ATTEMPTS 10
#define SENDING_LEN (256 * API_BODY_MAX_DEFAULT) /* more than the sockets' buffers take */

/* A request whose body is half there: no idle connection, and admitted. */
static void half_post(struct client *client, const char *path)
{
    client_say(client, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo", path);
}

/* Takes all connections, each by half a request. Whoever connects next is beyond the limit. */
static void fill(struct client *clients[static SERVICE_NARROW])
{
    for (size_t i = 0; i < SERVICE_NARROW; i++) {
        clients[i] = client_new();
        half_post(clients[i], "/echo");
    }
    service_wait_connections(SERVICE_NARROW);
}

static void free_all(struct client **clients, size_t n)
{
    for (size_t i = 0; i < n; i++)
        client_free(clients[i]);
}

/* Each is sent by a connection beyond the limit; none sends its body. */
static const char *const beyond[] = {
    "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n",
    "POST /large HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /defer HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n",
};

START_TEST(beyond_the_limit_each_is_told_to_come_again)
{
    const size_t n = sizeof(beyond) / sizeof(beyond[0]);
    struct client *clients[SERVICE_NARROW], *next;
    struct answer answer;

    fill(clients);
    for (size_t i = 0; i < n; i++) {
        next = client_new();
        client_say(next, "%s", beyond[i]);
        ck_assert(client_hear(next, &answer));
        ck_assert_msg(answer.status == 503, "%s: %u", beyond[i], answer.status);
        ck_assert_ptr_nonnull(strstr(answer.head, "\r\nRetry-After: "));
        ck_assert_ptr_nonnull(strstr(answer.head, "\r\nConnection: close\r\n"));
        ck_assert_ptr_nonnull(strstr(answer.head, "application/problem+json"));
        ck_assert(!client_hear(next, &answer));
        client_free(next);
    }
    ck_assert_int_eq(
        service_metric("cradle_http_over_limit_total{reason=\"connections\"} "), (long)n);
    /* Those within it have noticed nothing, and one that goes leaves its place. */
    for (size_t i = 0; i < SERVICE_NARROW; i++) {
        client_say(clients[i], "dy");
        client_expect(clients[i], 200, "body");
    }
    service_wait_connections(SERVICE_NARROW);
    client_free(clients[0]);
    service_wait_connections(SERVICE_NARROW - 1);
    clients[0] = client_new();
    client_post(clients[0], "/defer", "served");
    client_expect(clients[0], 200, "served");
    ck_assert_int_eq(
        service_metric("cradle_http_over_limit_total{reason=\"connections\"} "), (long)n);
    free_all(clients, SERVICE_NARROW);
}
END_TEST

/* One beyond the limit whose place comes free before its request does. False when its short time
 * was over before. */
static bool wait_for_a_place(void)
{
    struct client *clients[SERVICE_NARROW], *next;
    struct answer answer;
    bool served;

    fill(clients);
    next = client_new();
    service_wait_connections(SERVICE_NARROW + 1);
    client_free(clients[0]);
    service_wait_connections(SERVICE_NARROW);
    client_post(next, "/echo", "served");
    served = client_hear(next, &answer) && answer.status == 200;
    client_free(next);
    free_all(clients + 1, SERVICE_NARROW - 1);
    service_wait_connections(0);
    return served;
}

START_TEST(a_place_that_comes_free_is_taken_by_who_waits)
{
    int attempts = 1;

    while (!wait_for_a_place())
        ck_assert_int_lt(attempts++, ATTEMPTS);
}
END_TEST

START_TEST(who_says_nothing_beyond_the_limit_is_closed)
{
    struct client *clients[SERVICE_NARROW], *silent[API_OVER_LIMIT_RESERVE], *last;

    fill(clients);
    for (size_t i = 0; i < API_OVER_LIMIT_RESERVE; i++)
        silent[i] = client_new();
    /* Not even accepted before one of the silent ones has been closed. */
    last = client_new();
    client_say(last, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    client_expect_refusal(last, 503, "the last");
    for (size_t i = 0; i < API_OVER_LIMIT_RESERVE; i++)
        ck_assert(!client_listen(silent[i]));
    ck_assert_int_eq(service_metric("cradle_http_over_limit_total{reason=\"connections\"} "),
        API_OVER_LIMIT_RESERVE + 1);
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 0);
    client_free(last);
    free_all(silent, API_OVER_LIMIT_RESERVE);
    for (size_t i = 0; i < SERVICE_NARROW; i++) {
        client_say(clients[i], "dy");
        client_expect(clients[i], 200, "body");
    }
    free_all(clients, SERVICE_NARROW);
}
END_TEST

START_TEST(idle_connections_make_room_when_most_are_taken)
{
    struct client *clients[SERVICE_NARROW];
    struct pollfd closed[SERVICE_NARROW];
    size_t n_closed = 0;

    for (size_t i = 0; i < SERVICE_NARROW; i++) {
        clients[i] = client_new();
        client_post(clients[i], "/echo", "x");
        client_expect(clients[i], 200, "x");
        closed[i] = (struct pollfd){.fd = clients[i]->fd, .events = POLLIN | POLLRDHUP};
    }
    /* Long before its idle timeout. */
    ck_assert_int_gt(poll(closed, SERVICE_NARROW, SERVICE_IDLE_S * 1000 / 2), 0);
    service_wait_connections(SERVICE_NARROW - 1);
    /* One was enough: the others are still served. */
    for (size_t i = 0; i < SERVICE_NARROW; i++) {
        closed[i].revents = 0;
        if (poll(&closed[i], 1, 0) > 0) {
            ck_assert(!client_listen(clients[i]));
            n_closed++;
            continue;
        }
        client_post(clients[i], "/echo", "y");
        client_expect(clients[i], 200, "y");
    }
    ck_assert_uint_eq(n_closed, 1);
    ck_assert_int_eq(service_metric("\ncradle_http_idle_closed_total "), 1);
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 0);
    free_all(clients, SERVICE_NARROW);
}
END_TEST

static const char *const late_paths[] = {"/echo", "/defer"};

START_TEST(a_draining_server_waits_for_a_body_on_its_way)
{
    struct client *client = client_new();
    struct answer answer;
    int fd;

    ck_assert(api_server_idle(service.server));
    half_post(client, late_paths[_i]);
    service_wait_idle(false);
    api_server_drain(service.server);
    /* The listener is closed when the thread has seen it. */
    while ((fd = client_dial()) >= 0)
        (void)close(fd);
    ck_assert(!api_server_idle(service.server));
    client_say(client, "dy");
    ck_assert(client_hear(client, &answer));
    ck_assert_uint_eq(answer.status, 200);
    ck_assert_str_eq(answer.body, "body");
    ck_assert(!client_hear(client, &answer));
    ck_assert(api_server_idle(service.server));
    client_free(client);
}
END_TEST

START_TEST(a_draining_server_does_not_wait_for_ever_for_a_body)
{
    struct client *client = client_new(), *gone = client_new();

    half_post(client, "/defer");
    half_post(gone, "/defer");
    service_wait_idle(false);
    api_server_drain(service.server);
    client_free(gone);
    service_wait_idle(true);
    client_expect_refusal(client, 503, "a body that does not come");
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 0);
    client_free(client);
}
END_TEST

START_TEST(a_server_stopped_with_half_a_body_refuses_it)
{
    struct client *client = client_new(), *beginning = client_new();

    half_post(client, "/defer");
    client_say(beginning, "POST /echo HTT");
    service_wait_idle(false);
    service_stop();
    client_expect_refusal(client, 503, "half a body at the end");
    ck_assert(!client_listen(beginning));
    client_free(client);
    client_free(beginning);
    service_start_usual(); /* for the fixture's teardown */
}
END_TEST

START_TEST(a_client_still_sending_when_given_up_reads_its_503)
{
    struct client *client = client_new();
    char *piece = calloc(1, SENDING_LEN);

    client_say(client, "POST /large HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
        SERVICE_LARGE_BODY);
    ck_assert(client_say_bytes(client, piece, SERVICE_LARGE_BODY / 2));
    service_wait_idle(false);
    api_server_drain(service.server);
    service_wait_idle(true);
    /* Many clients give up at a failed send, and never read what was answered. */
    ck_assert(client_say_bytes(client, piece, SENDING_LEN));
    client_expect_refusal(client, 503, "while sending");
    free(piece);
    client_free(client);
}
END_TEST

/* Refused before the body, with the connection kept. */
static void expect_busy(struct client *client, const char *what)
{
    struct answer answer;

    ck_assert_msg(client_hear(client, &answer), "%s: closed before the answer", what);
    ck_assert_msg(answer.status == 503, "%s: %u", what, answer.status);
    ck_assert_msg(strstr(answer.head, "\r\nRetry-After: ") != NULL, "%s", what);
    ck_assert_msg(strcasestr(answer.head, "\r\nConnection: close\r\n") == NULL, "%s", what);
}

static const char *const dropped[] = {
    "POST /busy HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    "POST /busy HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
    ("POST /busy HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
     "4\r\nbody\r\n3\r\nend\r\n0\r\n\r\n"),
    /* What a body says is no request. */
    ("POST /busy HTTP/1.1\r\nHost: h\r\nContent-Length: 34\r\n\r\n"
     "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n"),
};

START_TEST(a_request_refused_before_its_body_leaves_the_connection)
{
    struct client *client = client_new();

    client_say(client, "%s", dropped[_i]);
    expect_busy(client, dropped[_i]);
    client_post(client, "/echo", "next");
    client_expect(client, 200, "next");
    ck_assert(api_server_idle(service.server));
    client_free(client);
}
END_TEST

START_TEST(a_refused_body_that_comes_late_is_dropped_too)
{
    struct client *client = client_new();

    half_post(client, "/busy");
    service_wait_idle(false);
    client_say(client, "dy");
    expect_busy(client, "two halves");
    client_say(client,
        "POST /busy HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    client_expect(client, 100, NULL);
    client_say(client, "body");
    expect_busy(client, "a body that was asked for");
    client_post(client, "/defer", "next");
    client_expect(client, 200, "next");
    client_free(client);
}
END_TEST

START_TEST(of_pipelined_requests_those_refused_take_no_other_along)
{
    struct client *client = client_new();
    char requests[4096] = "";

    for (int i = 0; i < 8; i++) {
        const char *path = i % 2 == 0 ? "/busy" : i % 4 == 1 ? "/defer" : "/echo";
        size_t len = strlen(requests);

        (void)snprintf(requests + len, sizeof(requests) - len,
            "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n%02d", path, i);
    }
    client_say(client, "%s", requests);
    for (int i = 0; i < 8; i++) {
        char body[8];

        (void)snprintf(body, sizeof(body), "%02d", i);
        if (i % 2 == 0)
            expect_busy(client, body);
        else
            client_expect(client, 200, body);
    }
    client_free(client);
}
END_TEST

START_TEST(of_a_refused_request_only_a_body_of_usual_size_is_read)
{
    struct client *client = client_new();
    char *body = calloc(1, SENDING_LEN);

    client_say(client, "POST /busy HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
        API_BODY_MAX_DEFAULT);
    ck_assert(client_say_bytes(client, body, API_BODY_MAX_DEFAULT));
    expect_busy(client, "the largest");
    client_say(client, "POST /busy HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
        API_BODY_MAX_DEFAULT + 1);
    client_expect_refusal(client, 503, "announced"); /* not a byte of the body was sent */
    client_free(client);
    client = client_new();
    client_say(client, "POST /busy HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
        (unsigned)SENDING_LEN);
    (void)client_say_bytes(client, body, API_BODY_MAX_DEFAULT + 1);
    client_expect_refusal(client, 503, "chunked");
    free(body);
    client_free(client);
}
END_TEST

START_TEST(a_refused_body_that_drips_has_its_time)
{
    struct client *client = client_new();
    struct pollfd closed = {.fd = client->fd, .events = POLLIN | POLLRDHUP};

    client_say(client, "POST /busy HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n");
    while (poll(&closed, 1, 20) == 0)
        client_say(client, "x");
    client_expect_refusal(client, 503, "dripping");
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 1);
    client_free(client);
}
END_TEST

START_TEST(a_server_stopped_with_half_a_refused_body_answers)
{
    struct client *client = client_new();

    half_post(client, "/busy");
    service_wait_idle(false);
    service_stop();
    client_expect_refusal(client, 503, "half a refused body at the end");
    client_free(client);
    service_start_usual(); /* for the fixture's teardown */
}
END_TEST

/* Holds the server's thread up, and lets the client say something meanwhile, which is read when its
 * connection's time has long been over. */
static void say_in_time_and_be_read_late(struct client *client, int64_t time_ms)
{
    struct client *pauser = client_new();
    struct pollfd quiet = {.fd = client->fd, .events = POLLIN};
    int64_t over_ms = clock_monotonic_ms() + time_ms, now_ms;

    client_say(pauser, "GET /pause HTTP/1.1\r\nHost: h\r\n\r\n");
    while (sem_wait(&service.paused) != 0) {
    }
    client_post(client, "/defer", "in time");
    while ((now_ms = clock_monotonic_ms()) <= over_ms)
        ck_assert_int_eq(poll(&quiet, 1, (int)(over_ms - now_ms + 1)), 0);
    (void)sem_post(&service.go_on);
    client_expect(pauser, 204, NULL);
    client_free(pauser);
}

START_TEST(a_first_request_that_came_in_time_is_answered)
{
    struct client *client = client_new();

    service_wait_connections(1);
    say_in_time_and_be_read_late(client, SERVICE_IMPATIENT_MS);
    client_expect(client, 200, "in time");
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 0);
    client_free(client);
}
END_TEST

START_TEST(a_request_that_came_before_its_idle_connection_was_closed_is_answered)
{
    struct client *client = client_new();

    client_post(client, "/echo", "before");
    client_expect(client, 200, "before");
    say_in_time_and_be_read_late(client, SERVICE_SHORT_IDLE_S * 1000);
    client_expect(client, 200, "in time");
    ck_assert(!client_listen(client)); /* closed when it is idle again for so long */
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 0);
    client_free(client);
}
END_TEST

static Suite *limits_suite(void)
{
    Suite *suite = suite_create("api-limits");
    TCase *narrow = tcase_create("narrow"), *ending = tcase_create("ending"),
          *refusing = tcase_create("refusing"), *impatient = tcase_create("impatient"),
          *idle = tcase_create("idle");

    tcase_add_checked_fixture(narrow, service_start_narrow, service_stop);
    tcase_add_test(narrow, beyond_the_limit_each_is_told_to_come_again);
    tcase_add_test(narrow, a_place_that_comes_free_is_taken_by_who_waits);
    tcase_add_test(narrow, who_says_nothing_beyond_the_limit_is_closed);
    tcase_add_test(narrow, idle_connections_make_room_when_most_are_taken);
    suite_add_tcase(suite, narrow);
    tcase_add_checked_fixture(ending, service_start_usual, service_stop);
    tcase_add_loop_test(ending, a_draining_server_waits_for_a_body_on_its_way, 0,
        (int)(sizeof(late_paths) / sizeof(late_paths[0])));
    tcase_add_test(ending, a_draining_server_does_not_wait_for_ever_for_a_body);
    tcase_add_test(ending, a_server_stopped_with_half_a_body_refuses_it);
    tcase_add_test(ending, a_client_still_sending_when_given_up_reads_its_503);
    tcase_add_test(ending, a_server_stopped_with_half_a_refused_body_answers);
    suite_add_tcase(suite, ending);
    tcase_add_checked_fixture(refusing, service_start_usual, service_stop);
    tcase_add_loop_test(refusing, a_request_refused_before_its_body_leaves_the_connection, 0,
        (int)(sizeof(dropped) / sizeof(dropped[0])));
    tcase_add_test(refusing, a_refused_body_that_comes_late_is_dropped_too);
    tcase_add_test(refusing, of_pipelined_requests_those_refused_take_no_other_along);
    tcase_add_test(refusing, of_a_refused_request_only_a_body_of_usual_size_is_read);
    suite_add_tcase(suite, refusing);
    tcase_add_checked_fixture(impatient, service_start_impatient, service_stop);
    tcase_add_test(impatient, a_refused_body_that_drips_has_its_time);
    tcase_add_test(impatient, a_first_request_that_came_in_time_is_answered);
    suite_add_tcase(suite, impatient);
    tcase_add_checked_fixture(idle, service_start_short_idle, service_stop);
    tcase_add_test(idle, a_request_that_came_before_its_idle_connection_was_closed_is_answered);
    suite_add_tcase(suite, idle);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(limits_suite());
    int failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)alarm(WATCHDOG_S);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
