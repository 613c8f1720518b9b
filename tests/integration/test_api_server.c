/* The HTTP server over real sockets: every test starts one on a free port, and speaks to it as a
 * stranger would. No test forks, since the server is a thread; a stuck one is ended by the alarm.
 */
#include "base/error.h"
#include "base/log.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define WATCHDOG_S 150
#define SENDING_LEN (256 * API_BODY_MAX_DEFAULT) /* more than the sockets' buffers take */
#define N_BURST 300

START_TEST(an_answer_carries_its_headers_and_the_connection_is_kept)
{
    struct client *client = client_new();
    struct answer first, second;

    client_say(client, "GET /credentials HTTP/1.1\r\nHost: h\r\n\r\n");
    ck_assert(client_hear(client, &first));
    ck_assert_uint_eq(first.status, 200);
    ck_assert_str_eq(first.body, "nobody");
    ck_assert_ptr_nonnull(strstr(first.head, "Content-Type: text/plain\r\n"));
    ck_assert_ptr_nonnull(strstr(first.head, "X-Extra: yes\r\n"));
    ck_assert_ptr_nonnull(strstr(first.head, "\r\nDate: "));
    client_post(client, "/echo", "hello");
    ck_assert(client_hear(client, &second));
    ck_assert_str_eq(second.body, "hello");
    ck_assert_ptr_null(strstr(second.head, "X-Extra"));
    /* both have an id, 16 hex digits, not the same */
    ck_assert_uint_eq(strspn(strstr(first.head, "X-Request-Id: ") + 14, "0123456789abcdef"), 16);
    ck_assert_int_ne(
        strncmp(strstr(first.head, "X-Request-Id: "), strstr(second.head, "X-Request-Id: "), 30),
        0);
    client_say(client, "POST /silent HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    client_expect(client, 200, "");
    client_say(client, "GET /query?a=b&q=x%%20y HTTP/1.1\r\nHost: h\r\n\r\n");
    client_expect(client, 200, "x y");
    client_say(client, "GET /forgetful HTTP/1.1\r\nHost: h\r\n\r\n");
    client_expect(client, 500, NULL);
    ck_assert_int_eq(service_metric("\ncradle_http_connections "), 1);
    ck_assert_int_eq(service_metric("cradle_http_requests_total{class=\"2xx\"} "), 4);
    ck_assert_int_eq(service_metric("cradle_http_requests_total{class=\"5xx\"} "), 1);
    client_free(client);
}
END_TEST

static const struct {
    const char *header;
    const char *seen;
} credentials[] = {
    {"Bearer abc.DEF-1_2~+/==", "bearer=abc.DEF-1_2~+/=="},
    {"bEARER  x", "bearer=x"},
    {"Bearer", "nobody"},
    {"Bearer ", "nobody"},
    {"Bearer a b", "nobody"},
    {"Bearer a=b", "nobody"},
    {"Bearerx", "nobody"},
    {"Basic dXNlcjpwYTpzcw==", "basic=user/pa:ss"},
    {"bASIC dTo=", "basic=u/"},
    {"Basic dXNlcg==", "nobody"},         /* no colon */
    {"Basic dXNlcjpwYTpzcx==", "nobody"}, /* stray bits */
    {"Basic dXNlcjpwYTpzcw", "nobody"},   /* no padding */
    {"Basic dTo=dTo=", "nobody"},
    {"Basic d===", "nobody"},
    {"Basic dTo-", "nobody"},
    {"Basic dToA", "nobody"}, /* "u:" and a NUL */
    {"Basic dXNlcjphYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ==",
        "nobody"}, /* longer than the buffer */
    {"Basic ", "nobody"},
    {"Digest x", "nobody"},
};

START_TEST(credentials_are_read_strictly)
{
    struct client *client = client_new();

    for (size_t i = 0; i < sizeof(credentials) / sizeof(credentials[0]); i++) {
        struct answer answer;

        client_say(client, "GET /credentials HTTP/1.1\r\nHost: h\r\nAuthorization: %s\r\n\r\n",
            credentials[i].header);
        ck_assert(client_hear(client, &answer));
        ck_assert_msg(strcmp(answer.body, credentials[i].seen) == 0, "%s: %s",
            credentials[i].header, answer.body);
    }
    client_free(client);
}
END_TEST

START_TEST(refusals_before_the_body_keep_the_connection_only_without_one)
{
    struct client *client = client_new();

    client_say(client, "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n");
    client_expect(client, 404, NULL);
    client_say(client, "GET /own-refusal HTTP/1.1\r\nHost: h\r\n\r\n");
    client_expect(client, 409, "mine");
    client_post(client, "/closed", "body");
    client_expect_refusal(client, 401, "a refused body");
    client_free(client);
}
END_TEST

START_TEST(a_deferred_request_is_answered_by_a_worker)
{
    struct client *client = client_new();

    for (int i = 0; i < 200; i++) {
        char body[32];

        (void)snprintf(body, sizeof(body), "deferred %d", i);
        client_post(client, "/defer", body);
        client_expect(client, 200, body);
    }
    ck_assert(api_server_idle(service.server));
    client_free(client);
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
    struct client *client = client_new();

    for (int i = 0; i < 20; i++)
        client_say(client, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n%02d",
            i % 2 == 0 ? "/defer" : "/echo", i);
    for (int i = 0; i < 20; i++) {
        char body[8];

        (void)snprintf(body, sizeof(body), "%02d", i);
        client_expect(client, 200, body);
    }
    client_free(client);
}
END_TEST

START_TEST(a_chunked_body_is_put_together)
{
    struct client *client = client_new();

    client_say(client, "POST /defer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5\r\nhello\r\n1;x=y\r\n,\r\n");
    client_say(client, "6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n");
    client_expect(client, 200, "hello, world");
    client_post(client, "/echo", "next");
    client_expect(client, 200, "next");
    client_free(client);
}
END_TEST

START_TEST(expect_100_continue_is_honoured)
{
    struct client *client = client_new();

    client_say(client,
        "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    client_expect(client, 100, NULL);
    client_say(client, "body");
    client_expect(client, 200, "body");
    /* and a body that is not wanted is refused without asking for it */
    client_say(client,
        "POST /nowhere HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    client_expect_refusal(client, 404, "an unwanted body");
    client_free(client);
}
END_TEST

START_TEST(a_body_of_its_full_length_is_accepted)
{
    struct client *client = client_new();
    char *body = malloc(SERVICE_LARGE_BODY);
    struct answer answer;

    memset(body, 'x', SERVICE_LARGE_BODY);
    client_say(client, "POST /large HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
        SERVICE_LARGE_BODY);
    ck_assert(client_say_bytes(client, body, SERVICE_LARGE_BODY));
    ck_assert(client_hear(client, &answer));
    ck_assert_uint_eq(answer.status, 200);
    ck_assert_uint_eq(answer.body_len, SERVICE_LARGE_BODY);
    free(body);
    client_free(client);
}
END_TEST

START_TEST(a_body_announced_too_large_is_refused_at_once)
{
    struct client *client = client_new();

    client_say(client, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
        API_BODY_MAX_DEFAULT + 1);
    client_expect_refusal(client, 413, "announced"); /* not a byte of the body was sent */
    client_free(client);
}
END_TEST

START_TEST(a_client_still_sending_reads_its_413)
{
    char *piece = malloc(SENDING_LEN);

    memset(piece, 'x', SENDING_LEN);
    for (int i = 0; i < 20; i++) {
        struct client *client = client_new();

        client_say(
            client, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", SENDING_LEN);
        /* Many clients give up at a failed send, and never read what was answered. */
        ck_assert(client_say_bytes(client, piece, SENDING_LEN));
        client_expect_refusal(client, 413, "while sending");
        client_free(client);
    }
    free(piece);
}
END_TEST

START_TEST(a_chunked_body_is_refused_when_it_becomes_too_large)
{
    struct client *client = client_new();
    char piece[4096];

    memset(piece, 'x', sizeof(piece));
    client_say(client, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t sent = 0; sent <= API_BODY_MAX_DEFAULT; sent += sizeof(piece)) {
        client_say(client, "1000\r\n");
        (void)client_say_bytes(client, piece, sizeof(piece));
        client_say(client, "\r\n");
    }
    client_expect_refusal(client, 413, "chunked");
    client_free(client);
    client = client_new();
    client_say(
        client, "POST /none HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    client_expect_refusal(client, 413, "chunked where no body is taken");
    client_free(client);
}
END_TEST

static const char *const insane[] = {
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n folded: c\r\nContent-Length: 0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nX\tA: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\x01\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    "GET / HTTP/1.1\r\nX-A: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    "DELETE / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /a%00b HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
};

START_TEST(each_insane_request_is_refused_once_and_closed)
{
    const size_t n = sizeof(insane) / sizeof(insane[0]);

    for (size_t i = 0; i < n; i++) {
        struct client *client = client_new();

        /* Behind each: what a smuggler would want to be read as a request of its own. */
        client_say(client, "%sGET /echo HTTP/1.1\r\nHost: h\r\n\r\n", insane[i]);
        client_expect_refusal(client, 400, insane[i]);
        client_free(client);
    }
    ck_assert_int_eq(service_metric("\ncradle_http_guard_refused_total "), (long)n);
}
END_TEST

/* All send while the server's thread is held up, so that one wait of it sees `n` events at once;
 * the library's own loop hangs for bursts that fill its 128. */
static void burst(struct client **clients, struct client *pauser, size_t n, int round)
{
    char body[64];

    client_say(pauser, "GET /pause HTTP/1.1\r\nHost: h\r\n\r\n");
    while (sem_wait(&service.paused) != 0) {
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(body, sizeof(body), "round %d client %zu", round, i);
        client_post(clients[i], "/defer", body);
    }
    (void)sem_post(&service.go_on);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(body, sizeof(body), "round %d client %zu", round, i);
        client_expect(clients[i], 200, body);
    }
    client_expect(pauser, 204, NULL);
}

START_TEST(three_hundred_connections_bursting_at_once_are_all_answered)
{
    static const size_t sizes[] = {N_BURST, 128, 127, 129, 256};
    struct client *clients[N_BURST], *pauser = client_new();

    for (int round = 0; round < 30; round++) {
        size_t n = sizes[round % 5];

        /* New connections in every third round, so that accepting is a part of the burst. */
        for (size_t i = 0; round % 3 == 0 && i < N_BURST; i++) {
            if (round > 0)
                client_free(clients[i]);
            clients[i] = client_new();
        }
        burst(clients, pauser, n, round);
    }
    for (size_t i = 0; i < N_BURST; i++)
        client_free(clients[i]);
    client_free(pauser);
}
END_TEST

START_TEST(a_client_gone_while_its_request_is_deferred_does_no_harm)
{
    for (size_t i = 0; i < 20; i++) {
        struct client *client = client_new();
        const struct linger reset = {.l_onoff = 1};

        client_post(client, "/hold", "x");
        service_wait_held();
        if (i % 2 == 0) /* gone by a reset instead of a close */
            ck_assert_int_eq(
                setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        client_free(client);
        service_release_held();
        service_wait_done(i + 1);
    }
    ck_assert(api_server_idle(service.server));
}
END_TEST

/* Drips `bytes` of a request, one at a time, until the server has had enough. */
static void drip(const char *start)
{
    struct client *client = client_new();
    struct pollfd closed;
    size_t n = 0;

    client_say(client, "%s", start);
    closed = (struct pollfd){.fd = client->fd, .events = POLLIN | POLLRDHUP};
    while (poll(&closed, 1, 20) == 0) {
        client_say(client, "x");
        n++;
    }
    ck_assert_uint_gt(n, 1);
    ck_assert(!client_listen(client));
    client_free(client);
}

START_TEST(a_client_that_drips_is_cut_and_a_deferred_request_is_not)
{
    struct client *patient = client_new();

    client_post(patient, "/hold", "x");
    service_wait_held();
    drip("PO");
    drip("POST /echo HTTP/1.1\r\nHost: h\r\nX-A: ");
    drip("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n");
    drip("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7000\r\n");
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 4);
    service_release_held(); /* more than four deadlines old by now */
    client_expect(patient, 200, "released");
    client_free(patient);
}
END_TEST

START_TEST(a_draining_server_finishes_what_it_has_and_takes_no_more)
{
    struct client *held = client_new(), *open = client_new(), *posting = client_new();
    struct answer answer;
    int fd;

    client_post(open, "/echo", "x");
    client_expect(open, 200, "x");
    client_post(posting, "/echo", "x");
    client_expect(posting, 200, "x");
    client_post(held, "/hold", "x");
    service_wait_held();
    ck_assert(!api_server_idle(service.server));
    api_server_drain(service.server);
    client_say(open, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    ck_assert(client_hear(open, &answer));
    ck_assert_uint_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.head, "Retry-After: "));
    ck_assert_ptr_nonnull(strstr(answer.head, "Connection: close"));
    ck_assert(!client_hear(open, &answer));
    client_post(posting, "/echo", "x");
    client_expect_refusal(posting, 503, "a body while draining");
    /* The listener was closed before the answers above were made. */
    fd = client_dial();
    ck_assert_int_eq(fd, -1);
    service_release_held();
    client_expect(held, 200, "released");
    ck_assert(api_server_idle(service.server));
    client_free(held);
    client_free(open);
    client_free(posting);
}
END_TEST

START_TEST(stopping_sends_the_answers_that_were_given_back)
{
    struct client *client = client_new();

    client_post(client, "/hold", "x");
    service_wait_held();
    api_server_drain(service.server);
    service_release_held();
    service_stop();
    client_expect(client, 200, "released");
    client_free(client);
    service_start_usual(); /* for the fixture's teardown */
}
END_TEST

static void handle_nothing(struct api_request *request, void *context)
{
    (void)context;
    api_answer(request, 200, NULL, NULL, 0);
}

static const struct {
    const char *address;
    unsigned port;
    const char *sentence;
    const char *proxies;
} bad_listeners[] = {
    {"0.0.0.0", 0, "loopback"},
    {"::", 0, "loopback"},
    {"192.0.2.1", 0, "loopback"},
    {"::ffff:127.0.0.1", 0, "loopback"},
    {"localhost", 0, "not an IP address"},
    {"", 0, "not an IP address"},
    {"127.0.0.1", 65536, "not a port"},
    {"0.0.0.0", 0, "\"10.0.0.1/8\" is not a network", "192.0.2.0/24, 10.0.0.1/8"},
};

START_TEST(only_a_loopback_address_is_listened_on)
{
    struct api_server_config config = {.handle = handle_nothing};
    struct api_server *server = NULL;

    config.listener.address = bad_listeners[_i].address;
    config.listener.port = bad_listeners[_i].port;
    config.listener.proxies = bad_listeners[_i].proxies;
    ck_assert_int_eq(api_server_start(&config, &server), ERROR_CONFIG);
    ck_assert_ptr_null(server);
    ck_assert_msg(strstr(error_text(), bad_listeners[_i].sentence) != NULL, "%s", error_text());
}
END_TEST

START_TEST(with_proxies_any_address_is_listened_on)
{
    struct api_server_config config = {
        .listener = {.address = "0.0.0.0", .proxies = "192.0.2.0/24"}, .handle = handle_nothing};
    struct api_server *server = NULL;

    ck_assert_int_eq(api_server_start(&config, &server), 0);
    ck_assert_uint_gt(api_server_port(server), 0);
    api_server_stop(server);
}
END_TEST

START_TEST(a_port_in_use_is_named)
{
    struct api_server_config config = {
        .listener = {.address = "127.0.0.1"}, .handle = handle_nothing};
    struct api_server *first = NULL, *second = NULL;
    char sentence[96];

    ck_assert_int_eq(api_server_start(&config, &first), 0);
    config.listener.port = api_server_port(first);
    (void)snprintf(sentence, sizeof(sentence), "127.0.0.1:%u is in use by another program",
        config.listener.port);
    ck_assert_int_eq(api_server_start(&config, &second), ERROR_CONFIG);
    ck_assert_str_eq(error_text(), sentence);
    api_server_stop(first);
    ck_assert_int_eq(api_server_start(&config, &second), 0); /* free again at once */
    api_server_stop(second);
    api_server_stop(NULL);
}
END_TEST

START_TEST(ipv6_loopback_is_served)
{
    struct api_server_config config = {.listener = {.address = "::1"}, .handle = handle_nothing};
    struct api_server *server = NULL;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    char answer[512] = "";
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        return; /* a machine without IPv6 */
    (void)close(fd);
    ck_assert_msg(api_server_start(&config, &server) == 0, "%s", error_text());
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin6_port = htons((uint16_t)api_server_port(server));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_gt(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), 0);
    ck_assert_int_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
    ck_assert_int_eq(strncmp(answer, "HTTP/1.1 200", 12), 0);
    (void)close(fd);
    api_server_stop(server);
}
END_TEST

static Suite *server_suite(void)
{
    Suite *suite = suite_create("api-server");
    TCase *usual = tcase_create("usual"), *impatient = tcase_create("impatient"),
          *starting = tcase_create("starting");

    tcase_add_checked_fixture(usual, service_start_usual, service_stop);
    tcase_add_test(usual, an_answer_carries_its_headers_and_the_connection_is_kept);
    tcase_add_test(usual, credentials_are_read_strictly);
    tcase_add_test(usual, refusals_before_the_body_keep_the_connection_only_without_one);
    tcase_add_test(usual, a_deferred_request_is_answered_by_a_worker);
    tcase_add_test(usual, pipelined_requests_are_answered_in_order);
    tcase_add_test(usual, a_chunked_body_is_put_together);
    tcase_add_test(usual, expect_100_continue_is_honoured);
    tcase_add_test(usual, a_body_of_its_full_length_is_accepted);
    tcase_add_test(usual, a_body_announced_too_large_is_refused_at_once);
    tcase_add_test(usual, a_client_still_sending_reads_its_413);
    tcase_add_test(usual, a_chunked_body_is_refused_when_it_becomes_too_large);
    tcase_add_test(usual, each_insane_request_is_refused_once_and_closed);
    tcase_add_test(usual, three_hundred_connections_bursting_at_once_are_all_answered);
    tcase_add_test(usual, a_client_gone_while_its_request_is_deferred_does_no_harm);
    tcase_add_test(usual, a_draining_server_finishes_what_it_has_and_takes_no_more);
    tcase_add_test(usual, stopping_sends_the_answers_that_were_given_back);
    suite_add_tcase(suite, usual);
    tcase_add_checked_fixture(impatient, service_start_impatient, service_stop);
    tcase_add_test(impatient, a_client_that_drips_is_cut_and_a_deferred_request_is_not);
    suite_add_tcase(suite, impatient);
    tcase_add_loop_test(starting, only_a_loopback_address_is_listened_on, 0,
        (int)(sizeof(bad_listeners) / sizeof(bad_listeners[0])));
    tcase_add_test(starting, a_port_in_use_is_named);
    tcase_add_test(starting, with_proxies_any_address_is_listened_on);
    tcase_add_test(starting, ipv6_loopback_is_served);
    suite_add_tcase(suite, starting);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(server_suite());
    int failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)alarm(WATCHDOG_S);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
