/* The listener with mutual TLS over real sockets, asked by OpenSSL's TLS with certificates that are
 * right, or wrong in one way. No test forks, since the server is a thread. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include "tests/integration/tls_fixture.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WATCHDOG_S 150
#define LOOKED_AT_MS 1100 /* the server looks at its files once a second */
#define N_PIPELINED 40
#define PIPELINED_BODY 1000

static void setup(void)
{
    const struct api_listener mutual = tls_listener(API_TLS_MUTUAL);

    tls_set_trust(true, NULL);
    service_start_on(&mutual);
}

static void setup_server_only(void)
{
    const struct api_listener server_only = tls_listener(API_TLS_SERVER);

    service_start_on(&server_only);
}

static void setup_sharing(void)
{
    const struct api_listener mutual = tls_listener(API_TLS_MUTUAL);

    tls_set_trust(true, NULL);
    service_start_sharing_on(&mutual);
}

/* --- who gets in -------------------------------------------------------------------------------
 */

START_TEST(a_certificate_is_taken_only_when_all_of_it_is_right)
{
    struct certificate_plan plan = tls_certificates[_i].plan;
    struct certificate certificate;
    char body[TLS_ANSWER_MAX];

    plan.serial = TLS_GOOD_SERIAL;
    certificate = certificate_make(tls_certificates[_i].ca, &plan);
    for (size_t v = 0; v < TLS_N_VERSIONS; v++) {
        const struct tls_manner manner = {.certificate = &certificate, .version = tls_versions[v]};

        ck_assert_msg(strcmp(tls_who(&manner, body), tls_certificates[_i].seen) == 0,
            "%s: taken for \"%s\"", tls_certificates[_i].what, body);
    }
    ck_assert_int_eq(service_metric("\ncradle_http_certificates_refused_total "),
        tls_certificates[_i].seen[0] != '\0' ? 0 : 2);
    certificate_done(&certificate);
}
END_TEST

START_TEST(without_a_certificate_nobody_gets_in)
{
    char body[TLS_ANSWER_MAX];

    for (size_t v = 0; v < TLS_N_VERSIONS; v++) {
        const struct tls_manner manner = {.version = tls_versions[v]};

        ck_assert_str_eq(tls_who(&manner, body), "");
    }
    ck_assert_int_eq(service_metric("cradle_http_requests_total{class=\"2xx\"} "), 0);
}
END_TEST

START_TEST(old_versions_of_tls_are_refused)
{
    static const int old[] = {TLS1_VERSION, TLS1_1_VERSION};
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    char body[TLS_ANSWER_MAX];

    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        ck_assert_str_eq(
            tls_who(&(struct tls_manner){.certificate = &certificate, .version = old[i]}, body),
            "");
    ck_assert_str_eq(tls_who(&(struct tls_manner){.certificate = &certificate}, body), TLS_URI_A);
    certificate_done(&certificate);
}
END_TEST

START_TEST(http_1_1_is_the_only_protocol_to_agree_on)
{
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    char body[TLS_ANSWER_MAX];
    struct tls_caller c =
        tls_call(&(struct tls_manner){.certificate = &certificate, .protocols = "\2h2\10http/1.1"});
    const unsigned char *agreed;
    unsigned len;

    ck_assert(c.shaken);
    SSL_get0_alpn_selected(c.ssl, &agreed, &len);
    ck_assert_uint_eq(len, 8);
    ck_assert_mem_eq(agreed, "http/1.1", 8);
    tls_hang_up(&c);
    ck_assert_str_eq(
        tls_who(&(struct tls_manner){.certificate = &certificate, .protocols = "\2h2"}, body), "");
    certificate_done(&certificate);
}
END_TEST

START_TEST(plain_http_gets_no_answer)
{
    struct client *client = client_new();
    struct answer answer;

    client_say(client, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n");
    while (client_listen(client))
        continue;
    ck_assert(client->len < 4 || memcmp(client->in, "HTTP", 4) != 0);
    client->len = 0;
    ck_assert(!client_hear(client, &answer));
    client_free(client);
}
END_TEST

START_TEST(a_header_says_nothing_about_who_it_is)
{
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    char body[TLS_ANSWER_MAX];
    struct tls_caller c = tls_call(&(struct tls_manner){.certificate = &certificate});

    ck_assert_uint_eq(tls_ask(&c,
                          "GET /who HTTP/1.1\r\nHost: h\r\nX-Forwarded-Client-Cert: URI=" TLS_DNS_B
                          "\r\nX-SSL-Client-SAN: " TLS_DNS_B "\r\n\r\n",
                          body),
        200);
    ck_assert_str_eq(body, TLS_URI_A);
    tls_hang_up(&c);
    certificate_done(&certificate);
}
END_TEST

/* --- revocation --------------------------------------------------------------------------------
 */

START_TEST(a_revoked_certificate_is_refused_and_its_neighbour_is_not)
{
    struct certificate good = tls_good_a(TLS_GOOD_SERIAL), revoked = tls_good_a(TLS_REVOKED_SERIAL);
    const struct tls_manner with_good = {.certificate = &good},
                            with_revoked = {.certificate = &revoked};
    char body[TLS_ANSWER_MAX];

    ck_assert_str_eq(tls_who(&with_revoked, body), TLS_URI_A);
    tls_set_trust(true, certificate_crl_pem(&tls_ca_a, TLS_REVOKED_SERIAL, 3600));
    ck_assert_str_eq(tls_who(&with_revoked, body), "");
    ck_assert_str_eq(tls_who(&with_good, body), TLS_URI_A);
    certificate_done(&good);
    certificate_done(&revoked);
}
END_TEST

START_TEST(a_list_that_cannot_be_relied_on_lets_nobody_in)
{
    struct certificate good = tls_good_a(TLS_GOOD_SERIAL);
    char body[TLS_ANSWER_MAX];
    char *lists[] = {certificate_crl_pem(&tls_ca_a, TLS_REVOKED_SERIAL, -3600), /* out of date */
        certificate_crl_pem(&tls_ca_b, TLS_REVOKED_SERIAL, 3600), strdup("no list")};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        tls_set_trust(true, lists[i]);
        ck_assert_str_eq(tls_who(&(struct tls_manner){.certificate = &good}, body), "");
    }
    certificate_done(&good);
}
END_TEST

START_TEST(an_open_connection_ends_when_its_certificate_is_revoked)
{
    struct certificate certificate = tls_good_a(TLS_REVOKED_SERIAL);
    char body[TLS_ANSWER_MAX];

    for (int by_list = 0; by_list <= 1; by_list++) {
        struct tls_caller c;

        tls_set_trust(true, NULL);
        c = tls_call(&(struct tls_manner){.certificate = &certificate});
        ck_assert_uint_eq(tls_ask_who(&c, body), 200);
        tls_set_trust(true, NULL); /* a change that does not concern it */
        ck_assert_uint_eq(tls_ask_who(&c, body), 200);
        ck_assert_str_eq(body, TLS_URI_A);
        tls_set_trust(by_list == 1,
            by_list == 1 ? certificate_crl_pem(&tls_ca_a, TLS_REVOKED_SERIAL, 3600) : NULL);
        ck_assert_uint_eq(tls_ask_who(&c, body), 401);
        ck_assert_uint_eq(tls_ask_who(&c, body), 0);
        tls_hang_up(&c);
    }
    certificate_done(&certificate);
}
END_TEST

/* --- resumption --------------------------------------------------------------------------------
 */

START_TEST(a_session_is_resumed_and_its_certificate_is_looked_at_again)
{
    const int version = tls_versions[_i];
    struct certificate certificate = tls_good_a(TLS_REVOKED_SERIAL);
    struct tls_manner manner = {.certificate = &certificate, .version = version};
    char body[TLS_ANSWER_MAX];
    struct tls_caller c = tls_call(&manner);

    ck_assert_uint_eq(tls_ask_who(&c, body), 200); /* with the answer TLS 1.3's tickets have come */
    manner.session = SSL_get1_session(c.ssl);
    (void)SSL_shutdown(c.ssl);
    tls_hang_up(&c);

    manner.certificate = NULL;
    c = tls_call(&manner);
    ck_assert(c.shaken);
    ck_assert(SSL_session_reused(c.ssl));
    ck_assert_uint_eq(tls_ask_who(&c, body), 200);
    ck_assert_str_eq(body, TLS_URI_A);
    tls_hang_up(&c);

    tls_set_trust(true, certificate_crl_pem(&tls_ca_a, TLS_REVOKED_SERIAL, 3600));
    c = tls_call(&manner);
    ck_assert_uint_ne(tls_ask_who(&c, body), 200);
    tls_hang_up(&c);
    SSL_SESSION_free(manner.session);
    certificate_done(&certificate);
}
END_TEST

/* --- the server's certificate ------------------------------------------------------------------
 */

static long server_serial(const struct certificate *certificate)
{
    struct tls_caller c = tls_call(&(struct tls_manner){.certificate = certificate});
    X509 *seen = SSL_get0_peer_certificate(c.ssl);
    long serial;

    ck_assert(c.shaken);
    ck_assert_ptr_nonnull(seen);
    serial = ASN1_INTEGER_get(X509_get0_serialNumber(seen));
    tls_hang_up(&c);
    return serial;
}

START_TEST(a_renewed_certificate_is_served_and_a_bad_one_is_not)
{
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    char body[TLS_ANSWER_MAX];
    struct tls_caller before = tls_call(&(struct tls_manner){.certificate = &certificate});
    long old = server_serial(&certificate);
    int64_t written_ms;

    ck_assert_uint_eq(tls_ask_who(&before, body), 200);
    tls_make_server(old + 1);
    tls_write_file(
        tls_certificate_path, certificate_pem(&tls_server)); /* its key is still the old one's */
    written_ms = clock_monotonic_ms();
    while (
        clock_monotonic_ms() - written_ms <= LOOKED_AT_MS) /* so the last calls were after a look */
        ck_assert_int_eq(server_serial(&certificate), old);
    tls_write_file(tls_key_path, certificate_key_pem(&tls_server));
    while (server_serial(&certificate) != old + 1)
        continue;
    ck_assert_uint_eq(tls_ask_who(&before, body), 200); /* its session goes on */
    tls_hang_up(&before);
    certificate_done(&certificate);
}
END_TEST

START_TEST(a_listener_without_a_good_certificate_does_not_start)
{
    struct api_server *none = NULL;
    struct api_server_config config = {
        .listener = tls_listener(API_TLS_SERVER), .handle = (api_handler)(void (*)(void))abort};

    config.listener.certificate = "/nonexistent.pem";
    ck_assert_int_eq(api_server_start(&config, &none), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "/nonexistent.pem"));
    config.listener.certificate = tls_key_path; /* holds none */
    ck_assert_int_eq(api_server_start(&config, &none), ERROR_CONFIG);
    config.listener.certificate = tls_certificate_path;
    ck_assert_int_eq(chmod(tls_key_path, 0644), 0);
    ck_assert_int_eq(api_server_start(&config, &none), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "open to everyone"));
    ck_assert_int_eq(chmod(tls_key_path, 0600), 0);
    ck_assert_ptr_null(none);
}
END_TEST

/* --- HTTP inside -------------------------------------------------------------------------------
 */

START_TEST(answers_of_workers_and_refusals_in_a_body_go_through_tls)
{
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    char body[TLS_ANSWER_MAX], large[API_BODY_MAX_DEFAULT + 512];
    struct tls_caller c = tls_call(&(struct tls_manner){.certificate = &certificate});
    int at;

    ck_assert_uint_eq(
        tls_ask(&c, "POST /defer HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", body),
        200);
    ck_assert_str_eq(body, "hello");
    at = snprintf(large, sizeof(large),
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
        API_BODY_MAX_DEFAULT + 1);
    memset(large + at, 'x', API_BODY_MAX_DEFAULT + 1);
    (void)snprintf(large + at + API_BODY_MAX_DEFAULT + 1, 3, "\r\n");
    ck_assert_uint_eq(tls_ask(&c, large, body), 413);
    tls_hang_up(&c);
    certificate_done(&certificate);
}
END_TEST

/* Of all threads, in microseconds. */
static int64_t cpu_us(void)
{
    struct timespec used;

    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

/* And while it lasts the thread waits: run by the library's own word it would spin. */
START_TEST(a_handshake_that_never_ends_is_cut)
{
    struct client *client = client_new();
    int64_t began_us, used_us;

    while (client_listen(client))
        continue;
    client_free(client);
    client = client_new();
    began_us = clock_monotonic_us();
    used_us = cpu_us();
    client_say_bytes(client, "\x16\x03\x01\x02\x00\x01", 6); /* a ClientHello that begins */
    while (client_listen(client))
        continue;
    ck_assert_int_lt(10 * (cpu_us() - used_us), clock_monotonic_us() - began_us);
    client_free(client);
    service_wait_connections(0);
    ck_assert_int_ge(service_metric("\ncradle_http_too_slow_total "), 2);
}
END_TEST

/* More than one record, and than the library's pool: what GnuTLS has read ahead makes no descriptor
 * ready. */
START_TEST(requests_in_one_piece_are_all_answered_through_tls)
{
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    struct tls_caller c = tls_call(&(struct tls_manner){.certificate = &certificate});
    CLEANUP(text_done) struct text text = {0};
    char body[TLS_ANSWER_MAX], expected[PIPELINED_BODY + 1];

    for (int i = 0; i < N_PIPELINED; i++)
        text_addf(&text, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%0*d",
            i % 4 == 1 ? "/echo" : "/defer", PIPELINED_BODY, PIPELINED_BODY, i);
    for (int i = 0; i < N_PIPELINED; i++) {
        (void)snprintf(expected, sizeof(expected), "%0*d", PIPELINED_BODY, i);
        ck_assert_uint_eq(tls_ask(&c, i == 0 ? text.data : NULL, body), 200);
        ck_assert_msg(strncmp(body, expected, PIPELINED_BODY) == 0, "%d: %s", i, body);
    }
    tls_hang_up(&c);
    certificate_done(&certificate);
}
END_TEST

START_TEST(a_handshake_that_drips_is_cut)
{
    struct client *client = client_new();
    struct pollfd closed = {.fd = client->fd, .events = POLLIN | POLLRDHUP};

    client_say_bytes(client, "\x16\x03\x01\x02\x00\x01", 6);
    while (poll(&closed, 1, 20) == 0)
        client_say_bytes(client, "", 1);
    while (client_listen(client))
        continue;
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 1);
    client_free(client);
}
END_TEST

/* --- one of many -------------------------------------------------------------------------------
 */

static void ask_as(struct tls_caller *c, int peer, unsigned status)
{
    char request[128], body[TLS_ANSWER_MAX];

    (void)snprintf(request, sizeof(request),
        "POST /peer HTTP/1.1\r\nHost: h\r\nX-Peer: %d\r\nContent-Length: 2\r\n\r\nme", peer);
    ck_assert_uint_eq(tls_ask(c, request, body), status);
}

START_TEST(an_address_and_a_peer_at_their_limit_are_told_so_through_tls)
{
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    const struct tls_manner greedy = {.certificate = &certificate, .from = "127.0.0.2"};
    const struct tls_manner modest = {.certificate = &certificate, .from = "127.0.0.3"};
    struct tls_caller callers[SERVICE_PER_ADDRESS], beyond, other;

    /* Whoever has shaken hands has a place, also before he says a word. */
    for (size_t i = 0; i < SERVICE_PER_ADDRESS; i++)
        ck_assert((callers[i] = tls_call(&greedy)).shaken);
    for (int i = 0; i < SERVICE_PER_PEER; i++)
        ask_as(&callers[i], 7, 200);
    beyond = tls_call(&greedy);
    ask_as(&beyond, 8, 503);
    ck_assert_int_eq(service_metric("cradle_http_over_limit_total{reason=\"address\"} "), 1);
    other = tls_call(&modest);
    ask_as(&other, 8, 200);
    ask_as(&other, 7, 503);
    ck_assert_int_eq(service_metric("cradle_http_over_limit_total{reason=\"peer\"} "), 1);
    tls_hang_up(&beyond);
    tls_hang_up(&other);
    service_wait_connections(SERVICE_PER_ADDRESS);
    tls_hang_up(&callers[0]);
    service_wait_connections(SERVICE_PER_ADDRESS - 1);
    callers[0] = tls_call(&greedy);
    ask_as(&callers[0], 7, 200);
    for (size_t i = 0; i < SERVICE_PER_ADDRESS; i++)
        tls_hang_up(&callers[i]);
    certificate_done(&certificate);
}
END_TEST

START_TEST(with_server_tls_only_no_certificate_is_asked_for)
{
    struct certificate certificate = tls_good_a(TLS_GOOD_SERIAL);
    char body[TLS_ANSWER_MAX];

    ck_assert_str_eq(tls_who(&(struct tls_manner){0}, body), "nobody");
    ck_assert_str_eq(tls_who(&(struct tls_manner){.certificate = &certificate}, body), "nobody");
    ck_assert_str_eq(tls_who(&(struct tls_manner){.version = TLS1_1_VERSION}, body), "");
    certificate_done(&certificate);
}
END_TEST

static int run_suite(void)
{
    Suite *suite = suite_create("api-tls");
    SRunner *runner = srunner_create(suite);
    TCase *mutual = tls_add_case(suite, "mutual", setup);
    TCase *sharing = tls_add_case(suite, "sharing", setup_sharing);
    TCase *server_only = tls_add_case(suite, "server only", setup_server_only);
    int n_failed;

    tcase_add_loop_test(
        mutual, a_certificate_is_taken_only_when_all_of_it_is_right, 0, (int)tls_n_certificates);
    tcase_add_test(mutual, without_a_certificate_nobody_gets_in);
    tcase_add_test(mutual, old_versions_of_tls_are_refused);
    tcase_add_test(mutual, http_1_1_is_the_only_protocol_to_agree_on);
    tcase_add_test(mutual, plain_http_gets_no_answer);
    tcase_add_test(mutual, a_header_says_nothing_about_who_it_is);
    tcase_add_test(mutual, a_revoked_certificate_is_refused_and_its_neighbour_is_not);
    tcase_add_test(mutual, a_list_that_cannot_be_relied_on_lets_nobody_in);
    tcase_add_test(mutual, an_open_connection_ends_when_its_certificate_is_revoked);
    tcase_add_loop_test(
        mutual, a_session_is_resumed_and_its_certificate_is_looked_at_again, 0, TLS_N_VERSIONS);
    tcase_add_test(mutual, a_renewed_certificate_is_served_and_a_bad_one_is_not);
    tcase_add_test(mutual, a_listener_without_a_good_certificate_does_not_start);
    tcase_add_test(mutual, answers_of_workers_and_refusals_in_a_body_go_through_tls);
    tcase_add_test(mutual, requests_in_one_piece_are_all_answered_through_tls);
    tcase_add_test(mutual, a_handshake_that_never_ends_is_cut);
    tcase_add_test(mutual, a_handshake_that_drips_is_cut);
    tcase_add_test(sharing, an_address_and_a_peer_at_their_limit_are_told_so_through_tls);
    tcase_add_test(server_only, with_server_tls_only_no_certificate_is_asked_for);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed;
}

int main(void)
{
    int n_failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(WATCHDOG_S);
    n_failed = run_suite();
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
