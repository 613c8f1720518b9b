/* The HTTP client where others hand posts over while it stops, and share its connections out. */
#include "api/client.h"
#include "base/clock.h"
#include "tests/integration/api_service.h"
#include "tests/support/suite.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#define URL_LEN 64
#define FAR_MS 100000
#define CONNECTIONS 16

static struct api_client *client;
static unsigned n_done;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void note_end(struct api_post *post)
{
    (void)post;
    (void)pthread_mutex_lock(&lock);
    n_done++;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void wait_ended(unsigned n)
{
    (void)pthread_mutex_lock(&lock);
    while (n_done < n)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

static struct api_post post_to(const char *url, int64_t within_ms)
{
    return (struct api_post){.url = url,
        .content_type = "application/json",
        .body = "{}",
        .body_len = 2,
        .deadline_ms = clock_monotonic_ms() + within_ms,
        .attempt_ms = FAR_MS,
        .done = note_end};
}

static void start(bool no_shares)
{
    service_start_usual();
    n_done = 0;
    ck_assert_int_eq(api_client_start(&(struct api_client_config){.user_agent = "test",
                                          .max_connections = CONNECTIONS,
                                          .no_shares = no_shares},
                         &client),
        0);
}

static void stop(void)
{
    api_client_stop(client, clock_monotonic_ms());
    service_stop();
}

/* Takes connections and never says anything. */
static int silent_listener(char url[static URL_LEN])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 2 * CONNECTIONS), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(url, URL_LEN, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    return fd;
}

START_TEST(what_is_posted_behind_the_stop_ends_at_once)
{
    struct api_post before = post_to("http://127.0.0.1:1/", FAR_MS);
    struct api_post after = post_to("http://127.0.0.1:1/", FAR_MS);

    start(false);
    before.start_ms = clock_monotonic_ms() + FAR_MS;
    api_client_post(client, &before);
    api_client_halt(client, clock_monotonic_ms());
    ck_assert_uint_eq(n_done, 1);
    api_client_post(client, &after);
    ck_assert_uint_eq(n_done, 2);
    ck_assert_int_eq(before.outcome, API_POST_STOPPED);
    ck_assert_int_eq(after.outcome, API_POST_STOPPED);
    stop();
}
END_TEST

START_TEST(without_shares_who_shares_a_number_waits_for_nobody)
{
    static struct api_post failing[API_CLIENT_FAILURES], silent[CONNECTIONS - 1];
    char url[URL_LEN], nobody[URL_LEN], echo[URL_LEN];
    CLEANUP(cleanup_close) int listener = silent_listener(url);
    struct api_post post;

    (void)listener;
    (void)close(silent_listener(nobody));
    start(true);
    for (unsigned i = 0; i < API_CLIENT_FAILURES; i++) {
        failing[i] = post_to(nobody, FAR_MS);
        api_client_post(client, &failing[i]);
        wait_ended(i + 1);
        ck_assert_int_eq(failing[i].outcome, API_POST_UNREACHABLE);
    }
    for (size_t i = 0; i < CONNECTIONS - 1; i++) {
        silent[i] = post_to(url, FAR_MS);
        api_client_post(client, &silent[i]);
    }
    (void)snprintf(echo, sizeof(echo), "http://127.0.0.1:%u/echo", service.port);
    post = post_to(echo, FAR_MS / 10);
    api_client_post(client, &post);
    wait_ended(API_CLIENT_FAILURES + 1);
    ck_assert_int_eq(post.outcome, API_POST_ANSWERED);
    stop();
}
END_TEST

SUITE_MAIN("HTTP client, halted and without shares", 60,
    what_is_posted_behind_the_stop_ends_at_once,
    without_shares_who_shares_a_number_waits_for_nobody)
