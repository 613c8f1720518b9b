/* Posts that are pinned to addresses, over real sockets and TLS. No test forks, since client and
 * server are threads. */
#include "api/client.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "tests/integration/api_service.h"
#include "tests/integration/certificates.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WATCHDOG_S 100
#define PATH_LEN 128
#define FAR_MS 60000
#define CONNECTIONS 16

/* The service listens on all of IPv4's addresses, and on none of IPv6's. */
static const struct dns_address v4[] = {{4, {127, 0, 0, 1}}, {4, {127, 0, 0, 2}}};
static const struct dns_address nobody_first[] = {{16, {[15] = 1}}, {4, {127, 0, 0, 1}}};

static char certificate_path[] = "/tmp/cradle-pin-XXXXXX", key_path[] = "/tmp/cradle-pin-XXXXXX";
static struct certificate ca, server;
static struct api_credential credential;
static struct api_client *client;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
} ended = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note_end(struct api_post *post)
{
    (void)post;
    (void)pthread_mutex_lock(&ended.lock);
    ended.is_done = true;
    (void)pthread_cond_signal(&ended.changed);
    (void)pthread_mutex_unlock(&ended.lock);
}

static struct api_post ask(const char *host, const struct dns_address *pinned, size_t n)
{
    char url[PATH_LEN];
    struct api_post post = {.url = url,
        .credential = &credential,
        .content_type = "application/json",
        .pinned = pinned,
        .n_pinned = n,
        .pinned_port = (uint16_t)service.port,
        .body = "{}",
        .body_len = 2,
        .deadline_ms = clock_monotonic_ms() + FAR_MS,
        .attempt_ms = FAR_MS,
        .done = note_end};

    (void)snprintf(url, sizeof(url), "https://%s:%u/echo", host, service.port);
    ended.is_done = false;
    api_client_post(client, &post);
    (void)pthread_mutex_lock(&ended.lock);
    while (!ended.is_done)
        (void)pthread_cond_wait(&ended.changed, &ended.lock);
    (void)pthread_mutex_unlock(&ended.lock);
    post.url = NULL;
    return post;
}

static void expect(const char *host, const struct dns_address *pinned, size_t n)
{
    const struct api_post post = ask(host, pinned, n);

    ck_assert_msg(post.outcome == API_POST_ANSWERED && post.status == 200, "%d %u %s",
        (int)post.outcome, post.status, post.why);
}

static void write_pem(char *path, char *pem)
{
    const int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, pem, strlen(pem)), (ssize_t)strlen(pem));
    (void)close(fd);
    free(pem);
}

static void make_files(void)
{
    ca = certificate_make(
        NULL, &(struct certificate_plan){.common_name = "CA", .is_ca = true, .serial = 1});
    server = certificate_make(&ca, &(struct certificate_plan){.common_name = "peer",
                                       .alt_names = "DNS:js.example,DNS:localhost",
                                       .purposes = "serverAuth",
                                       .serial = 2});
    credential = (struct api_credential){.anchors = certificate_pem(&ca)};
    write_pem(certificate_path, certificate_pem(&server));
    write_pem(key_path, certificate_key_pem(&server));
}

static void remove_files(void)
{
    (void)unlink(certificate_path);
    (void)unlink(key_path);
    free((void *)(uintptr_t)credential.anchors);
    certificate_done(&server);
    certificate_done(&ca);
}

static void setup(void)
{
    service_start_on(&(struct api_listener){.address = "0.0.0.0",
        .tls = API_TLS_SERVER,
        .certificate = certificate_path,
        .key = key_path});
    ck_assert_msg(api_client_start(&(struct api_client_config){.user_agent = "test",
                                       .max_connections = CONNECTIONS},
                      &client) == 0,
        "%s", error_text());
}

static void teardown(void)
{
    api_client_stop(client, clock_monotonic_ms());
    service_stop();
}

START_TEST(a_pinned_post_goes_to_its_addresses_and_the_certificate_is_the_hosts)
{
    expect("js.example", v4, 1); /* whom no name server knows */
    ck_assert_int_eq(ask("other.example", v4, 1).outcome, API_POST_UNTRUSTED);
    expect("js.example", nobody_first, 2);
    ck_assert_int_eq(ask("js.example", nobody_first, 1).outcome, API_POST_UNREACHABLE);
    /* Nor to what the name stands for otherwise. */
    ck_assert_int_eq(ask("localhost", nobody_first, 1).outcome, API_POST_UNREACHABLE);
    expect("localhost", NULL, 0);
}
END_TEST

START_TEST(a_server_that_is_not_reached_is_named_by_its_host_and_addresses)
{
    static const struct dns_address many[] = {
        {16, {[15] = 1}}, {16, {[15] = 1}}, {16, {[15] = 1}}, {16, {[15] = 1}}};
    struct api_post post = ask("js.example", nobody_first, 1);
    char expected[API_POST_WHY_MAX];

    (void)snprintf(
        expected, sizeof(expected), "Failed to connect to js.example (::1) port %u", service.port);
    ck_assert_msg(strncmp(post.why, expected, strlen(expected)) == 0, "%s", post.why);
    ck_assert_ptr_null(strstr(post.why, "invalid"));
    post = ask("js.example", many, 4);
    ck_assert_msg(strstr(post.why, "js.example (::1, ::1, ::1, ...) port") != NULL, "%s", post.why);
    ck_assert_ptr_null(strstr(post.why, "invalid"));
}
END_TEST

START_TEST(a_connection_is_used_again_only_with_the_same_pin)
{
    for (int round = 0; round < 2; round++) {
        expect("localhost", v4, 1);
        expect("localhost", v4 + 1, 1);
        expect("localhost", NULL, 0);
        ck_assert_int_eq(service_metric("\ncradle_http_connections "), 3);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api-pin");
    TCase *tcase = tcase_create("pin");
    SRunner *runner;
    int failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)alarm(WATCHDOG_S);
    tcase_add_unchecked_fixture(tcase, make_files, remove_files);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_pinned_post_goes_to_its_addresses_and_the_certificate_is_the_hosts);
    tcase_add_test(tcase, a_server_that_is_not_reached_is_named_by_its_host_and_addresses);
    tcase_add_test(tcase, a_connection_is_used_again_only_with_the_same_pin);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
