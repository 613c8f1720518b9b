/* The listener that asks for a certificate and takes callers without: what is made of those that
 * are right, or wrong in one way. No test forks, since the server is a thread. */
#include "base/log.h"
#include "tests/integration/api_service.h"
#include "tests/integration/tls_fixture.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WATCHDOG_S 150

static void setup_optional(void)
{
    const struct api_listener optional = tls_listener(API_TLS_OPTIONAL);

    tls_set_trust(true, NULL);
    service_start_on(&optional);
}

static const char *seen_in(struct tls_caller *c, char body[static TLS_ANSWER_MAX])
{
    ck_assert_uint_eq(tls_ask(c, "GET /certificate HTTP/1.1\r\nHost: h\r\n\r\n", body), 200);
    return body;
}

START_TEST(where_a_certificate_is_optional_everybody_gets_in_and_the_good_one_is_known)
{
    struct certificate_plan plan = tls_certificates[_i].plan;
    const char *seen = tls_certificates[_i].seen[0] != '\0' ? tls_certificates[_i].seen : "bad";
    struct certificate certificate;
    char body[TLS_ANSWER_MAX];

    plan.serial = TLS_GOOD_SERIAL;
    certificate = certificate_make(tls_certificates[_i].ca, &plan);
    for (size_t v = 0; v < TLS_N_VERSIONS; v++) {
        struct tls_caller c =
            tls_call(&(struct tls_manner){.certificate = &certificate, .version = tls_versions[v]});

        ck_assert_uint_eq(tls_ask_who(&c, body), 200);
        ck_assert_str_eq(body, "nobody"); /* nothing is believed that nobody has looked at */
        ck_assert_msg(
            strcmp(seen_in(&c, body), seen) == 0, "%s: \"%s\"", tls_certificates[_i].what, body);
        tls_hang_up(&c);
    }
    ck_assert_int_eq(service_metric("\ncradle_http_certificates_refused_total "),
        tls_certificates[_i].seen[0] != '\0' ? 0 : 2);
    certificate_done(&certificate);
}
END_TEST

START_TEST(where_a_certificate_is_optional_one_gets_in_without)
{
    char body[TLS_ANSWER_MAX];

    for (size_t v = 0; v < TLS_N_VERSIONS; v++) {
        struct tls_caller c = tls_call(&(struct tls_manner){.version = tls_versions[v]});

        ck_assert_str_eq(seen_in(&c, body), "none");
        tls_hang_up(&c);
    }
    ck_assert_int_eq(service_metric("\ncradle_http_certificates_refused_total "), 0);
}
END_TEST

START_TEST(an_optional_certificate_is_looked_at_each_time_and_in_a_resumed_session)
{
    struct certificate certificate = tls_good_a(TLS_REVOKED_SERIAL);
    struct tls_manner manner = {.certificate = &certificate, .version = tls_versions[_i]};
    char body[TLS_ANSWER_MAX];
    struct tls_caller c = tls_call(&manner);

    ck_assert_str_eq(seen_in(&c, body), TLS_URI_A);
    manner.session = SSL_get1_session(c.ssl);
    tls_set_trust(true, certificate_crl_pem(&tls_ca_a, TLS_REVOKED_SERIAL, 3600));
    ck_assert_str_eq(seen_in(&c, body), "bad");
    tls_set_trust(true, NULL);
    ck_assert_str_eq(seen_in(&c, body), TLS_URI_A);
    (void)SSL_shutdown(c.ssl);
    tls_hang_up(&c);

    manner.certificate = NULL;
    c = tls_call(&manner);
    ck_assert(SSL_session_reused(c.ssl));
    ck_assert_str_eq(seen_in(&c, body), TLS_URI_A);
    tls_hang_up(&c);
    SSL_SESSION_free(manner.session);
    certificate_done(&certificate);
}
END_TEST

static int run_suite(void)
{
    Suite *suite = suite_create("api-optional");
    SRunner *runner = srunner_create(suite);
    TCase *optional = tls_add_case(suite, "optional", setup_optional);
    int n_failed;

    tcase_add_loop_test(optional,
        where_a_certificate_is_optional_everybody_gets_in_and_the_good_one_is_known, 0,
        (int)tls_n_certificates);
    tcase_add_test(optional, where_a_certificate_is_optional_one_gets_in_without);
    tcase_add_loop_test(optional,
        an_optional_certificate_is_looked_at_each_time_and_in_a_resumed_session, 0, TLS_N_VERSIONS);
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
