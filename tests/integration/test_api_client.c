/* The HTTP client of services, over real sockets, against our own HTTP server. No test forks, since
 * client and server are threads. */
#include "api/client.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "tests/integration/api_service.h"
#include "tests/integration/certificates.h"
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define WATCHDOG_S 150
#define PATH_LEN 128
#define FAR_MS 100000
#define SHORT_MS 200
#define CONNECTIONS 16
#define N_POSTS 40
#define URI_A "urn:cradle:netid:000013"

static struct certificate ca_server, ca_client, ca_other, server, client_certificate, other_client;
static char folder[PATH_LEN];
static char certificate_path[2 * PATH_LEN], key_path[2 * PATH_LEN];
static struct api_credentials *credentials;
static struct api_client *client;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned n_done[2]; /* by share */
} ended = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note_end(struct api_post *post)
{
    (void)pthread_mutex_lock(&ended.lock);
    ended.n_done[post->share]++;
    (void)pthread_cond_broadcast(&ended.changed);
    (void)pthread_mutex_unlock(&ended.lock);
}

static unsigned n_ended(unsigned share)
{
    unsigned n;

    (void)pthread_mutex_lock(&ended.lock);
    n = ended.n_done[share];
    (void)pthread_mutex_unlock(&ended.lock);
    return n;
}

static void wait_ended(unsigned share, unsigned n)
{
    (void)pthread_mutex_lock(&ended.lock);
    while (ended.n_done[share] < n)
        (void)pthread_cond_wait(&ended.changed, &ended.lock);
    (void)pthread_mutex_unlock(&ended.lock);
}

static struct api_post post_to(const char *url, unsigned share, int64_t within_ms)
{
    return (struct api_post){.url = url,
        .content_type = "application/json",
        .body = "{}",
        .body_len = 2,
        .share = share,
        .deadline_ms = clock_monotonic_ms() + within_ms,
        .attempt_ms = FAR_MS,
        .done = note_end};
}

static const char *url_of(const char *scheme, const char *path)
{
    static char url[PATH_LEN];

    (void)snprintf(url, sizeof(url), "%s://127.0.0.1:%u%s", scheme, service.port, path);
    ck_assert_msg(api_client_check_url(url) == 0, "%s", error_text());
    return url;
}

static bool asks_once;

/* One post from beginning to end. */
static struct api_post ask(const char *url, const struct api_credential *credential)
{
    struct api_post post = post_to(url, 0, FAR_MS);
    const unsigned before = n_ended(0);

    post.credential = credential;
    post.once = asks_once;
    api_client_post(client, &post);
    wait_ended(0, before + 1);
    return post;
}

static void expect(const char *path, unsigned status)
{
    const struct api_post post = ask(url_of("http", path), NULL);

    ck_assert_msg(post.outcome == API_POST_ANSWERED && post.status == status, "%s: %d %u %s", path,
        (int)post.outcome, post.status, post.why);
}

static void start_client(void)
{
    ended.n_done[0] = ended.n_done[1] = 0;
    ck_assert_msg(api_client_start(&(struct api_client_config){.user_agent = "test",
                                       .max_connections = CONNECTIONS},
                      &client) == 0,
        "%s", error_text());
}

static void stop_client(void)
{
    api_client_stop(client, clock_monotonic_ms());
    client = NULL;
}

static void setup(void)
{
    service_start_usual();
    start_client();
}

static void teardown(void)
{
    stop_client();
    service_stop();
}

/* Takes connections and never says anything. */
static int silent_listener(char url[static PATH_LEN])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 2 * N_POSTS), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(url, PATH_LEN, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    return fd;
}

/* Closed only after the count: whoever finds his connection closed makes another one. */
static unsigned count_connections(int listener)
{
    int fds[2 * N_POSTS];
    unsigned n = 0;
    bool none_left;

    while (n < 2 * N_POSTS && (fds[n] = accept(listener, NULL, NULL)) >= 0)
        n++;
    none_left = n < 2 * N_POSTS && errno == EAGAIN;
    for (unsigned i = 0; i < n; i++)
        (void)close(fds[i]);
    ck_assert(none_left);
    return n;
}

START_TEST(statuses_are_told_and_a_connection_is_used_again)
{
    expect("/echo", 200);
    expect("/defer", 200);
    expect("/nowhere", 404);
    expect("/own-refusal", 409);
    expect("/elsewhere", 307); /* and nobody has followed it */
    expect("/echo", 200);
    ck_assert_int_eq(service_metric("\ncradle_http_connections "), 1);
    ck_assert_int_eq(service_metric("cradle_http_requests_total{class=\"3xx\"} "), 1);
}
END_TEST

START_TEST(an_answer_beyond_the_limit_is_cut_and_its_status_stands)
{
    static char body[4 * API_CLIENT_ANSWER_MAX];
    struct api_post post = post_to(url_of("http", "/large"), 0, FAR_MS);

    memset(body, 'x', sizeof(body));
    post.body = body;
    post.body_len = sizeof(body);
    api_client_post(client, &post);
    wait_ended(0, 1);
    ck_assert_int_eq(post.outcome, API_POST_ANSWERED);
    ck_assert_uint_eq(post.status, 200);
    service_wait_connections(0);
    expect("/echo", 200);
}
END_TEST

START_TEST(a_server_that_does_not_answer_is_given_up)
{
    struct api_post post = post_to(url_of("http", "/hold"), 0, SHORT_MS);

    api_client_post(client, &post);
    wait_ended(0, 1);
    ck_assert_int_eq(post.outcome, API_POST_TIMEOUT);
    service_release_held();
    post = post_to(url_of("http", "/hold"), 0, FAR_MS);
    post.attempt_ms = SHORT_MS;
    api_client_post(client, &post);
    wait_ended(0, 2);
    ck_assert_int_eq(post.outcome, API_POST_TIMEOUT);
    service_release_held();
}
END_TEST

START_TEST(where_nobody_listens_is_unreachable)
{
    char url[PATH_LEN];

    (void)close(silent_listener(url));
    ck_assert_int_eq(ask(url, NULL).outcome, API_POST_UNREACHABLE);
}
END_TEST

START_TEST(a_silent_peer_leaves_connections_to_the_others)
{
    static struct api_post silent[N_POSTS], other[N_POSTS];
    char url[PATH_LEN];
    CLEANUP(cleanup_close) int listener = silent_listener(url);
    const char *echo = url_of("http", "/echo");

    for (size_t i = 0; i < N_POSTS; i++) {
        silent[i] = post_to(url, 0, FAR_MS);
        api_client_post(client, &silent[i]);
    }
    for (size_t i = 0; i < N_POSTS; i++) {
        other[i] = post_to(echo, 1, FAR_MS);
        api_client_post(client, &other[i]);
    }
    wait_ended(1, N_POSTS);
    for (size_t i = 0; i < N_POSTS; i++)
        ck_assert_int_eq(other[i].outcome, API_POST_ANSWERED);
    ck_assert_uint_eq(n_ended(0), 0);
    stop_client();
    ck_assert_uint_eq(n_ended(0), N_POSTS);
    for (size_t i = 0; i < N_POSTS; i++)
        ck_assert_int_eq(silent[i].outcome, API_POST_STOPPED);
    ck_assert_uint_eq(count_connections(listener),
        CONNECTIONS * API_CLIENT_SHARE_NUMERATOR / API_CLIENT_SHARE_DENOMINATOR);
    start_client();
}
END_TEST

START_TEST(a_peer_that_only_fails_has_its_probes_until_it_answers)
{
    static struct api_post posts[N_POSTS];
    char nobody[PATH_LEN], url[PATH_LEN];
    CLEANUP(cleanup_close) int listener = silent_listener(url);
    struct api_post barrier;

    (void)close(silent_listener(nobody));
    for (size_t i = 0; i < API_CLIENT_FAILURES; i++)
        ck_assert_int_eq(ask(nobody, NULL).outcome, API_POST_UNREACHABLE);
    for (size_t i = 0; i < N_POSTS; i++) {
        posts[i] = post_to(url, 0, FAR_MS);
        api_client_post(client, &posts[i]);
    }
    barrier = post_to(url_of("http", "/echo"), 1, FAR_MS);
    api_client_post(client, &barrier);
    wait_ended(1, 1);
    stop_client();
    ck_assert_uint_eq(count_connections(listener), API_CLIENT_PROBES);
    start_client();

    for (size_t i = 0; i < API_CLIENT_FAILURES; i++)
        ck_assert_int_eq(ask(nobody, NULL).outcome, API_POST_UNREACHABLE);
    expect("/nowhere", 404); /* any status is an answer */
    for (size_t i = 0; i < N_POSTS; i++) {
        posts[i] = post_to(url, 0, FAR_MS);
        api_client_post(client, &posts[i]);
    }
    barrier = post_to(url_of("http", "/echo"), 1, FAR_MS);
    api_client_post(client, &barrier);
    wait_ended(1, 1);
    stop_client();
    ck_assert_uint_gt(count_connections(listener), API_CLIENT_PROBES);
    start_client();
}
END_TEST

START_TEST(a_post_that_finds_no_connection_in_time_is_given_up)
{
    static struct api_post posts[N_POSTS];
    struct api_post late;
    char url[PATH_LEN];
    CLEANUP(cleanup_close) int listener = silent_listener(url);

    (void)listener;
    for (size_t i = 0; i < N_POSTS; i++) {
        posts[i] = post_to(url, 0, FAR_MS);
        api_client_post(client, &posts[i]);
    }
    late = post_to(url, 0, SHORT_MS);
    api_client_post(client, &late);
    wait_ended(0, 1);
    ck_assert_int_eq(late.outcome, API_POST_TIMEOUT);
    stop_client();
    start_client();
}
END_TEST

START_TEST(the_stop_waits_for_what_is_on_its_way)
{
    struct api_post post = post_to(url_of("http", "/echo"), 0, FAR_MS);

    post.start_ms = clock_monotonic_ms() + SHORT_MS;
    api_client_post(client, &post);
    api_client_stop(client, clock_monotonic_ms() + FAR_MS);
    ck_assert_int_eq(post.outcome, API_POST_ANSWERED);
    ck_assert_int_ge(clock_monotonic_ms(), post.start_ms);
    start_client();
}
END_TEST

/* --- answers that are kept, and posts that are sent once --- */

START_TEST(an_answer_is_kept_up_to_its_limit)
{
    static char body[4 * API_CLIENT_ANSWER_MAX];
    struct api_post post = post_to(url_of("http", "/echo"), 0, FAR_MS);

    memset(body, 'x', sizeof(body));
    post.body = body;
    for (size_t len = 0, max = 3 * API_CLIENT_ANSWER_MAX / 2; len <= max; len += max / 2) {
        const unsigned before = n_ended(0);

        post.body_len = len;
        post.answer_max = max;
        api_client_post(client, &post);
        wait_ended(0, before + 1);
        ck_assert_msg(post.outcome == API_POST_ANSWERED && post.status == 200, "%s", post.why);
        ck_assert(post.answer_is_whole && !post.answer_is_too_long);
        ck_assert_uint_eq(post.answer.len, len);
        ck_assert(len == 0 || memcmp(post.answer.data, body, len) == 0);
    }
    post.answer_max = post.body_len - 1;
    api_client_post(client, &post);
    wait_ended(0, 4);
    ck_assert_int_eq(post.outcome, API_POST_ANSWERED);
    ck_assert(!post.answer_is_whole && post.answer_is_too_long);
    ck_assert_uint_le(post.answer.len, post.answer_max);
    secret_buffer_done(&post.answer);
    expect("/echo", 200);
}
END_TEST

/* Answers each first request of a connection, breaks each second one off, and counts both. */
static struct {
    int listener;
    unsigned n_requests; /* read when the thread has ended */
} breaking;

static bool read_request(int fd)
{
    char text[4096] = "";
    size_t len = 0;

    while (strstr(text, "\r\n\r\n{}") == NULL) {
        ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);

        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
    }
    breaking.n_requests++;
    return true;
}

static void *break_second(void *arg)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    int fd;

    (void)arg;
    while ((fd = accept(breaking.listener, NULL, NULL)) >= 0) {
        if (read_request(fd) &&
            send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) == sizeof(answer) - 1)
            (void)read_request(fd);
        (void)close(fd);
    }
    return NULL;
}

/* How many requests came of two posts. */
static unsigned post_twice(bool once, enum api_post_outcome *ret_second)
{
    char url[PATH_LEN];
    pthread_t thread;
    struct api_post post;

    breaking.n_requests = 0;
    breaking.listener = silent_listener(url);
    ck_assert_int_eq(fcntl(breaking.listener, F_SETFL, 0), 0); /* blocking */
    ck_assert_int_eq(pthread_create(&thread, NULL, break_second, NULL), 0);
    for (unsigned i = 1; i <= 2; i++) {
        const unsigned before = n_ended(0);

        post = post_to(url, 0, FAR_MS);
        post.once = once;
        post.answer_max = 16;
        api_client_post(client, &post);
        wait_ended(0, before + 1);
        ck_assert_msg(i == 2 || (post.outcome == API_POST_ANSWERED && post.answer.len == 5 &&
                                    memcmp(post.answer.data, "hello", 5) == 0),
            "%s", post.why);
        secret_buffer_done(&post.answer);
    }
    *ret_second = post.outcome;
    stop_client();
    (void)shutdown(breaking.listener, SHUT_RDWR);
    (void)pthread_join(thread, NULL);
    (void)close(breaking.listener);
    start_client();
    return breaking.n_requests;
}

START_TEST(what_is_to_be_sent_once_is_not_sent_again)
{
    enum api_post_outcome second;

    ck_assert_uint_eq(post_twice(true, &second), 2);
    ck_assert_int_eq(second, API_POST_UNREACHABLE);
    /* And the library would have. */
    ck_assert_uint_eq(post_twice(false, &second), 3);
    ck_assert_int_eq(second, API_POST_ANSWERED);
}
END_TEST

/* --- credentials and TLS --- */

static void write_file(const char *path, const char *text, mode_t mode)
{
    char fresh[2 * PATH_LEN + 8];
    FILE *file;

    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    file = fopen(fresh, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(fresh, mode), 0);
    ck_assert_int_eq(rename(fresh, path), 0);
}

static void write_pem(const char *path, char *pem, mode_t mode)
{
    write_file(path, pem, mode);
    free(pem);
}

static const char *file_of(const char *name)
{
    static char path[2 * PATH_LEN];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void make_server(const char *alt_names)
{
    certificate_done(&server);
    server = certificate_make(&ca_server,
        &(struct certificate_plan){
            .common_name = "peer", .alt_names = alt_names, .purposes = "serverAuth", .serial = 3});
    write_pem(certificate_path, certificate_pem(&server), 0644);
    write_pem(key_path, certificate_key_pem(&server), 0600);
}

static bool find_trust(const char *san, void *context, struct api_trust *ret)
{
    (void)context;
    if (strcmp(san, URI_A) != 0)
        return false;
    ret->anchors = certificate_pem(&ca_client);
    return true;
}

static uint64_t trust_version(void *context)
{
    (void)context;
    return 0;
}

static void start_tls(enum api_tls tls)
{
    const struct api_listener listener = {.address = "0.0.0.0",
        .tls = tls,
        .certificate = certificate_path,
        .key = key_path,
        .find_trust = find_trust,
        .trust_version = trust_version};

    service_start_on(&listener);
    start_client();
    ck_assert_int_eq(api_credentials_open(folder, &credentials), 0);
}

static void setup_server_tls(void)
{
    make_server("IP:127.0.0.1");
    start_tls(API_TLS_SERVER);
}

static void setup_mutual_tls(void)
{
    make_server("IP:127.0.0.1");
    start_tls(API_TLS_MUTUAL);
}

static void teardown_tls(void)
{
    teardown();
    api_credentials_close(credentials);
}

static const struct api_credential *get(const char *name)
{
    const struct api_credential *credential = NULL;

    ck_assert_msg(
        api_credential_get(credentials, name, &credential) == 0, "%s: %s", name, error_text());
    return credential;
}

static struct api_post ask_as(const char *path, const char *name)
{
    const struct api_credential *credential = name != NULL ? get(name) : NULL;
    const struct api_post post = ask(url_of("https", path), credential);

    api_credential_release(credentials, credential);
    return post;
}

static void expect_as(const char *path, const char *name, unsigned status)
{
    const struct api_post post = ask_as(path, name);

    ck_assert_msg(post.outcome == API_POST_ANSWERED && post.status == status, "%d %u %s",
        (int)post.outcome, post.status, post.why);
}

static void expect_untrusted(const char *name)
{
    const struct api_post post = ask_as("/echo", name);

    ck_assert_msg(
        post.outcome == API_POST_UNTRUSTED, "%d %u %s", (int)post.outcome, post.status, post.why);
    ck_assert_int_eq(service_metric("cradle_http_requests_total{class=\"2xx\"} "), 0);
}

START_TEST(a_server_is_believed_by_its_own_ca_and_by_no_other)
{
    expect_untrusted(NULL); /* the system's CAs */
    expect_untrusted("other-ca");
    expect_as("/echo", "ca", 200);
    expect_as("/echo", "ca", 200);
    ck_assert_int_eq(service_metric("\ncradle_http_connections "), 1);
    /* A connection that is open is no way around the verification. */
    ck_assert_int_eq(ask_as("/echo", NULL).outcome, API_POST_UNTRUSTED);
    ck_assert_int_eq(ask_as("/echo", "other-ca").outcome, API_POST_UNTRUSTED);
}
END_TEST

START_TEST(a_server_with_another_name_is_not_believed)
{
    teardown_tls();
    make_server("IP:127.0.0.2,DNS:localhost");
    start_tls(API_TLS_SERVER);
    expect_untrusted("ca");
}
END_TEST

START_TEST(the_authorization_header_is_shown)
{
    expect_as("/only-bearer", "ca", 403);
    expect_as("/only-bearer", "bearer", 204);
    expect_as("/only-bearer", "ca", 403); /* and not by the next post on the same connection */
}
END_TEST

static void expect_hung_up(const char *name, const char *shown)
{
    const struct api_post post = ask_as("/echo", name);

    ck_assert_int_eq(post.outcome, API_POST_UNREACHABLE);
    ck_assert_msg(strstr(post.why, "closed right after the TLS handshake") != NULL &&
                      strstr(post.why, shown) != NULL,
        "%s", post.why);
}

START_TEST(the_client_certificate_is_shown_on_connections_of_its_own)
{
    expect_as("/echo", "known", 200);
    expect_hung_up("ca", "; no client certificate was shown");
    asks_once = true; /* as a request is carried */
    expect_hung_up("ca", "; no client certificate was shown");
    asks_once = false;
    expect_hung_up("stranger", "; client certificate stranger was shown");
    expect_as("/echo", "known", 200);
}
END_TEST

START_TEST(a_handshake_that_fails_is_told_as_one)
{
    const struct api_post post = ask(url_of("https", "/echo"), NULL); /* where no TLS is spoken */

    ck_assert_int_eq(post.outcome, API_POST_UNREACHABLE);
    ck_assert_msg(
        strstr(post.why, "the TLS handshake failed; no client certificate was shown: ") == post.why,
        "%s", post.why);
}
END_TEST

static void expect_bad(const char *name, const char *why)
{
    const struct api_credential *credential = NULL;

    ck_assert_msg(
        api_credential_get(credentials, name, &credential) == ERROR_CONFIG, "%s is taken", name);
    ck_assert_msg(strstr(error_text(), why) != NULL, "%s: %s", name, error_text());
}

START_TEST(credentials_that_cannot_be_used_are_named)
{
    struct api_credentials *none = NULL;
    const struct api_credential *credential = NULL;

    expect_bad("missing", "there is no credential missing");
    expect_bad("../outside", "name is");
    expect_bad(".hidden", "name is");
    expect_bad("", "name is");
    write_pem(file_of("lone.crt"), certificate_pem(&client_certificate), 0644);
    expect_bad("lone", "lone.key is missing");
    write_pem(file_of("open.crt"), certificate_pem(&client_certificate), 0644);
    write_pem(file_of("open.key"), certificate_key_pem(&client_certificate), 0604);
    expect_bad("open", "open to everyone");
    write_file(file_of("shown.header"), "Bearer x\n", 0644);
    expect_bad("shown", "open to everyone");
    write_file(file_of("two.header"), "Bearer x\r\nHost: y\n", 0600);
    expect_bad("two", "more than one line");
    write_file(file_of("empty.header"), "\n", 0600);
    expect_bad("empty", "empty");
    write_pem(file_of("unfit.crt"), certificate_pem(&client_certificate), 0644);
    write_pem(file_of("unfit.key"), certificate_key_pem(&other_client), 0600);
    expect_bad("unfit", "cannot be used");
    write_file(file_of("text.ca"), "no certificate\n", 0644);
    expect_bad("text", "no certificate in text.ca");
    ck_assert_int_eq(api_credentials_open("", &none), 0);
    ck_assert_int_eq(api_credential_get(none, "ca", &credential), ERROR_CONFIG);
    api_credentials_close(none);
}
END_TEST

static void wait_shown(const char *name, const char *authorization)
{
    bool is_shown = false;

    while (!is_shown) { /* files are looked at once a second; the watchdog ends it */
        const struct api_credential *credential = get(name);

        is_shown = strcmp(credential->authorization, authorization) == 0;
        api_credential_release(credentials, credential);
        (void)sched_yield();
    }
}

START_TEST(changed_files_are_taken_and_bad_ones_are_not)
{
    const struct api_credential *held, *credential = NULL;

    write_file(file_of("changing.header"), "Bearer one\n", 0600);
    held = get("changing");
    ck_assert_str_eq(held->authorization, "Bearer one");
    write_file(file_of("changing.header"), "Bearer two\n", 0640);
    wait_shown("changing", "Bearer two");
    ck_assert_str_eq(held->authorization, "Bearer one"); /* as long as it is held */
    api_credential_release(credentials, held);
    write_file(file_of("changing.header"), "a\nb\n", 0600);
    write_file(file_of("marker.header"), "Bearer m\n", 0600);
    for (int64_t until_ms = clock_monotonic_ms() + 1100; clock_monotonic_ms() < until_ms;)
        wait_shown("changing", "Bearer two"); /* over more than one look */
    ck_assert_int_eq(unlink(file_of("changing.header")), 0);
    while (api_credential_get(credentials, "changing", &credential) == 0) {
        api_credential_release(credentials, credential);
        (void)sched_yield();
    }
}
END_TEST

static struct certificate make_ca(const char *name)
{
    return certificate_make(
        NULL, &(struct certificate_plan){.common_name = name, .is_ca = true, .serial = 1});
}

static struct certificate make_client(const struct certificate *ca)
{
    return certificate_make(ca,
        &(struct certificate_plan){
            .common_name = "js", .alt_names = "URI:" URI_A, .purposes = "clientAuth", .serial = 2});
}

static void make_files(void)
{
    (void)snprintf(folder, sizeof(folder), "%s/cradle-client-XXXXXX",
        getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(certificate_path, sizeof(certificate_path), "%s/server.pem", folder);
    (void)snprintf(key_path, sizeof(key_path), "%s/server-key.pem", folder);
    ca_server = make_ca("server CA");
    ca_client = make_ca("client CA");
    ca_other = make_ca("other CA");
    client_certificate = make_client(&ca_client);
    other_client = make_client(&ca_other);
    write_pem(file_of("ca.ca"), certificate_pem(&ca_server), 0644);
    write_pem(file_of("other-ca.ca"), certificate_pem(&ca_other), 0644);
    write_pem(file_of("bearer.ca"), certificate_pem(&ca_server), 0644);
    write_file(file_of("bearer.header"), "Bearer right\n", 0600);
    write_pem(file_of("known.ca"), certificate_pem(&ca_server), 0644);
    write_pem(file_of("known.crt"), certificate_pem(&client_certificate), 0644);
    write_pem(file_of("known.key"), certificate_key_pem(&client_certificate), 0640);
    write_pem(file_of("stranger.ca"), certificate_pem(&ca_server), 0644);
    write_pem(file_of("stranger.crt"), certificate_pem(&other_client), 0644);
    write_pem(file_of("stranger.key"), certificate_key_pem(&other_client), 0600);
}

static void remove_files(void)
{
    static const char *const names[] = {"server.pem", "server-key.pem", "ca.ca", "other-ca.ca",
        "bearer.ca", "bearer.header", "known.ca", "known.crt", "known.key", "stranger.ca",
        "stranger.crt", "stranger.key", "lone.crt", "open.crt", "open.key", "shown.header",
        "two.header", "empty.header", "unfit.crt", "unfit.key", "text.ca", "changing.header",
        "marker.header"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(file_of(names[i]));
    (void)rmdir(folder);
    certificate_done(&ca_server);
    certificate_done(&ca_client);
    certificate_done(&ca_other);
    certificate_done(&server);
    certificate_done(&client_certificate);
    certificate_done(&other_client);
}

static void add_case(Suite *suite, const char *name, void (*begin)(void), void (*end)(void),
    const TTest *const *tests, size_t n_tests)
{
    TCase *tcase = tcase_create(name);

    tcase_add_unchecked_fixture(tcase, make_files, remove_files);
    tcase_add_checked_fixture(tcase, begin, end);
    for (size_t i = 0; i < n_tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    const TTest *const plain[] = {statuses_are_told_and_a_connection_is_used_again,
        an_answer_beyond_the_limit_is_cut_and_its_status_stands,
        a_server_that_does_not_answer_is_given_up, where_nobody_listens_is_unreachable,
        a_silent_peer_leaves_connections_to_the_others,
        a_peer_that_only_fails_has_its_probes_until_it_answers,
        a_post_that_finds_no_connection_in_time_is_given_up, the_stop_waits_for_what_is_on_its_way,
        an_answer_is_kept_up_to_its_limit, what_is_to_be_sent_once_is_not_sent_again,
        a_handshake_that_fails_is_told_as_one};
    const TTest *const tls[] = {a_server_is_believed_by_its_own_ca_and_by_no_other,
        a_server_with_another_name_is_not_believed, the_authorization_header_is_shown,
        credentials_that_cannot_be_used_are_named, changed_files_are_taken_and_bad_ones_are_not};
    const TTest *const mutual[] = {the_client_certificate_is_shown_on_connections_of_its_own};
    Suite *suite = suite_create("api-client");
    SRunner *runner;
    int failed;

    (void)alarm(WATCHDOG_S);
    (void)signal(SIGPIPE, SIG_IGN);
    log_init("test_api_client", LOG_LEVEL_ERROR);
    add_case(suite, "plain", setup, teardown, plain, sizeof(plain) / sizeof(plain[0]));
    add_case(suite, "tls", setup_server_tls, teardown_tls, tls, sizeof(tls) / sizeof(tls[0]));
    add_case(suite, "mutual", setup_mutual_tls, teardown_tls, mutual,
        sizeof(mutual) / sizeof(mutual[0]));
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
