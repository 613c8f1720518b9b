#include "api/internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MAX_CONNECTIONS_DEFAULT 1024
#define IDLE_TIMEOUT_DEFAULT_S 60
#define REQUEST_DEADLINE_DEFAULT_MS 10000
#define FILES_BESIDE_CONNECTIONS 64 /* descriptors that the rest of a service needs */
#define STOP_WAIT_MS 5000           /* for requests still deferred when the caller stops us */
#define STOP_SEND_MS 2000           /* for answers still being sent */
#define URGENT_NICE (-10)
#define STOP_LOOK_MS 20
#define LIBRARY_IDLE_S 10 /* the library closes idle connections so much later than we do */
#define FRUITLESS_MS 5

static const struct metric metric_rows[N_API_METRICS] = {
    [METRIC_CONNECTIONS] = {"cradle_http_connections", NULL, "HTTP connections open now.",
        METRIC_GAUGE, 0},
    [METRIC_REQUESTS_2XX] = {"cradle_http_requests_total", "class=\"2xx\"",
        "HTTP requests answered, by class of their status.", METRIC_COUNTER, 0},
    [METRIC_REQUESTS_3XX] = {"cradle_http_requests_total", "class=\"3xx\"", NULL, METRIC_COUNTER,
        0},
    [METRIC_REQUESTS_4XX] = {"cradle_http_requests_total", "class=\"4xx\"", NULL, METRIC_COUNTER,
        0},
    [METRIC_REQUESTS_5XX] = {"cradle_http_requests_total", "class=\"5xx\"", NULL, METRIC_COUNTER,
        0},
    [METRIC_GUARD_REFUSED] = {"cradle_http_guard_refused_total", NULL,
        "HTTP requests refused for what no sane client sends.", METRIC_COUNTER, 0},
    [METRIC_ADDRESS_REFUSED] = {"cradle_http_address_refused_total", NULL,
        "Connections to a plain listener closed because they came from no proxy that it names.",
        METRIC_COUNTER, 0},
    [METRIC_OVER_LIMIT] = {"cradle_http_over_limit_total", "reason=\"connections\"",
        "HTTP connections turned away because too many were open: in all, from their address, or "
        "of their peer.",
        METRIC_COUNTER, 0},
    [METRIC_OVER_ADDRESS] = {"cradle_http_over_limit_total", "reason=\"address\"", NULL,
        METRIC_COUNTER, 0},
    [METRIC_OVER_PEER] = {"cradle_http_over_limit_total", "reason=\"peer\"", NULL, METRIC_COUNTER,
        0},
    [METRIC_IDLE_CLOSED] = {"cradle_http_idle_closed_total", NULL,
        "HTTP connections closed early because they were idle and many were open.", METRIC_COUNTER,
        0},
    [METRIC_CERTIFICATES_REFUSED] = {"cradle_http_certificates_refused_total", NULL,
        "Client certificates refused.", METRIC_COUNTER, 0},
    [METRIC_TOO_SLOW] = {"cradle_http_too_slow_total", NULL,
        "HTTP connections cut because a request or its answer took too long.", METRIC_COUNTER, 0},
};

static void init_metric(struct metric *metric, size_t i)
{
    metric->name = metric_rows[i].name;
    metric->labels = metric_rows[i].labels;
    metric->help = metric_rows[i].help;
    metric->kind = metric_rows[i].kind;
    atomic_init(&metric->value, 0);
}

void server_wake(struct api_server *server)
{
    const uint64_t one = 1;
    ssize_t n;

    do
        n = write(server->wake_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so the thread is being woken anyway. */
}

static void resume_given_back(struct api_server *server)
{
    struct api_request *request;
    size_t n = 0;

    (void)pthread_mutex_lock(&server->lock);
    request = server->given_back;
    server->given_back = NULL;
    (void)pthread_mutex_unlock(&server->lock);
    while (request != NULL) {
        struct api_request *next = request->next_given_back;

        request->next_given_back = NULL;
        MHD_resume_connection(request->mhd);
        request = next;
        n++;
    }
    if (n > 0)
        atomic_fetch_sub(&server->n_deferred, n);
}

static void quiesce(struct api_server *server)
{
    server->quiesced = true;
    server->listen_fd = MHD_quiesce_daemon(server->daemon);
    if (server->listen_fd >= 0)
        (void)close(server->listen_fd);
    server->listen_fd = -1;
}

static void notice_wishes(struct api_server *server, int64_t now_ms)
{
    if (atomic_load(&server->draining) && !server->quiesced) {
        quiesce(server);
        server->arriving_until_ms = now_ms + API_DRAIN_BODY_MS;
        connections_end_arriving(server);
    }
    /* Each time: a stream may begin for a request that had been admitted before. */
    if (atomic_load(&server->cutting))
        connections_cut_streams(server);
    if (atomic_load(&server->stopping) && server->stop_ms == 0) {
        server->stop_ms = now_ms;
        server->arriving_until_ms = now_ms;
        connections_end_arriving(server);
    }
}

/* True when the thread may end. */
static bool may_end(struct api_server *server, int64_t now_ms)
{
    int64_t stopping_ms = now_ms - server->stop_ms;

    if (server->stop_ms == 0)
        return false;
    if (server->n_streams > 0 && stopping_ms > STOP_SEND_MS)
        connections_cut_streams(server); /* their workers may be waiting for the clients */
    if (atomic_load(&server->n_deferred) + server->n_streams > 0) {
        /* The library cannot be stopped with suspended connections, and a worker still has them. */
        if (stopping_ms > STOP_WAIT_MS) {
            log_error("the HTTP server was stopped with %zu requests deferred and %zu streams",
                atomic_load(&server->n_deferred), server->n_streams);
            abort();
        }
        return false;
    }
    return (server->n_handling == 0 && server->linger.n == 0) || stopping_ms > STOP_SEND_MS;
}

static int wait_ms(struct api_server *server, int64_t now_ms, int64_t linger_ms)
{
    int64_t until_ms = linger_ms < server->earliest_ms ? linger_ms : server->earliest_ms;
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    int64_t wait = INT_MAX;

    if (until_ms != INT64_MAX)
        wait = until_ms > now_ms ? until_ms - now_ms : 0;
    if (MHD_get_timeout(server->daemon, &library_ms) == MHD_YES) {
        /* It takes a TLS handshake that waits for its client for one with something to do, and
         * would be run without end. What comes from the client wakes us all the same. */
        if (library_ms == 0 && server->fruitless)
            library_ms = FRUITLESS_MS;
        if (library_ms < (uint64_t)wait)
            wait = (int64_t)library_ms;
    }
    if (atomic_load(&server->stopping) && wait > STOP_LOOK_MS)
        wait = STOP_LOOK_MS;
    return wait < INT_MAX ? (int)wait : until_ms == INT64_MAX ? -1 : INT_MAX;
}

static bool full(struct api_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    return info != NULL &&
           info->num_connections >= server->config.max_connections + API_OVER_LIMIT_RESERVE;
}

/* `woken`: by a client or a worker. Never blocks: the library's own wait can hang after a burst of
 * exactly 128 events. With all connections taken it does not listen, and begins to again only in
 * the run after the one that closes a connection: nothing would wake us for that. */
static void run_library(struct api_server *server, bool woken)
{
    const uint64_t n_calls = server->n_calls;
    bool was_full;

    handshakes_round(&server->handshakes);
    do {
        was_full = full(server);
        (void)MHD_run(server->daemon);
    } while (was_full && !full(server));
    server->fruitless = !woken && server->n_calls == n_calls && !server->handshakes.held_back &&
                        server->n_handling <= atomic_load(&server->n_deferred);
}

static void *run(void *arg)
{
    struct api_server *server = arg;
    struct pollfd entries[2 + LINGER_MAX] = {
        {.fd = server->epoll_fd, .events = POLLIN}, {.fd = server->wake_fd, .events = POLLIN}};
    int64_t linger_ms = INT64_MAX;

    (void)pthread_setname_np(pthread_self(), "http");
    if (server->config.urgent)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), URGENT_NICE);
    for (;;) {
        int64_t now_ms = clock_monotonic_ms();
        nfds_t n_entries = 2 + linger_poll_entries(&server->linger, entries + 2);
        int n = poll(entries, n_entries, wait_ms(server, now_ms, linger_ms));
        uint64_t wakes;

        if (n < 0 && errno != EINTR) {
            log_error("the HTTP server cannot wait: %s", strerror(errno));
            abort();
        }
        manager_beat(&server->pulse);
        if (n > 0 && (entries[1].revents & POLLIN) != 0)
            (void)!read(server->wake_fd, &wakes, sizeof(wakes));
        resume_given_back(server);
        streams_run(server);
        notice_wishes(server, clock_monotonic_ms());
        run_library(server, n > 0);
        now_ms = clock_monotonic_ms();
        connections_look(server, now_ms);
        linger_ms = linger_run(&server->linger, now_ms);
        if (may_end(server, now_ms))
            return NULL;
    }
}

/* With something on the list already, its wake-up is still to be taken: the thread reads the
 * eventfd before it empties the list. Under the lock, so that the server, idle once the list has
 * been emptied, cannot be stopped and freed before this. */
static void unlock_given_back(struct api_server *server, bool was_empty)
{
    if (server == NULL)
        return;
    if (was_empty)
        server_wake(server);
    (void)pthread_mutex_unlock(&server->lock);
}

void api_give_back(struct api_request *const *requests, size_t n)
{
    struct api_server *locked = NULL;
    bool was_empty = false;

    for (size_t i = 0; i < n; i++) {
        struct api_server *server = requests[i]->server; /* ours until it is on the list */

        if (server != locked) {
            unlock_given_back(locked, was_empty);
            locked = server;
            (void)pthread_mutex_lock(&locked->lock);
            was_empty = locked->given_back == NULL;
        }
        requests[i]->next_given_back = locked->given_back;
        locked->given_back = requests[i];
    }
    unlock_given_back(locked, was_empty);
}

/* The library's messages may quote a request, so the bare format is all that is logged. */
static void log_library(void *cls, const char *format, va_list args) PRINTF_LIKE(2, 0);
static void log_library(void *cls, const char *format, va_list args)
{
    (void)cls;
    (void)args;
    log_debug("libmicrohttpd: %.*s", (int)strcspn(format, "\n"), format);
}

static void panic(void *cls, const char *file, unsigned int line, const char *reason)
{
    (void)cls;
    log_error("libmicrohttpd gave up at %s:%u: %s", file, line, reason != NULL ? reason : "");
    abort();
}

/* Without descriptors for all its connections the library spins on accept. */
static int allow_descriptors(const struct api_server_config *config)
{
    const unsigned connections = config->max_connections + config->other_connections;
    const rlim_t need =
        (rlim_t)connections + API_OVER_LIMIT_RESERVE + LINGER_MAX + FILES_BESIDE_CONNECTIONS;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set_errno("cannot ask for the limit of open files");
    if (limit.rlim_cur >= need)
        return 0;
    if (limit.rlim_max < need)
        return error_set(ERROR_CONFIG, "%u connections need %llu open files, and the limit is %llu",
            connections, (unsigned long long)need, (unsigned long long)limit.rlim_max);
    limit.rlim_cur = need;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set_errno("cannot raise the limit of open files");
    return 0;
}

/* The library closes what is not accepted. */
static enum MHD_Result accept_policy(void *cls, const struct sockaddr *address, socklen_t len)
{
    struct api_server *server = cls;

    (void)len;
    if (api_networks_admit(&server->proxies, address))
        return MHD_YES;
    metric_add(&server->metrics[METRIC_ADDRESS_REFUSED], 1);
    return MHD_NO;
}

static int start_library(struct api_server *server)
{
    /* External polling, and suspended connections. Without the library's own wake-up (MHD_USE_ITC):
     * only its own thread resumes, so that would be a system call for each request and wake nobody.
     */
    const unsigned flags = MHD_USE_EPOLL |
                           ((unsigned)MHD_ALLOW_SUSPEND_RESUME & ~(unsigned)MHD_USE_ITC) |
                           MHD_USE_ERROR_LOG | (server->tls != NULL ? (unsigned)MHD_USE_TLS : 0);
    /* Every session gets our own credentials (tls.c); the library only wants to see some. */
    const struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)tls_no_certificate},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};
    const union MHD_DaemonInfo *info;

    MHD_set_panic_func(panic, NULL);
    /* Not MHD_OPTION_PER_IP_CONNECTION_LIMIT: it closes without a word, and takes each address of
     * an IPv6 /64 for another client. The logger stands first: the other options' faults go to it.
     */
    server->daemon = MHD_start_daemon(flags, 0, accept_policy, server, handle_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
        server->config.max_connections + API_OVER_LIMIT_RESERVE, MHD_OPTION_CONNECTION_TIMEOUT,
        server->config.idle_timeout_s + LIBRARY_IDLE_S, MHD_OPTION_URI_LOG_CALLBACK, handle_target,
        server, MHD_OPTION_NOTIFY_COMPLETED, handle_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        handle_connection, server, MHD_OPTION_ARRAY, server->tls != NULL ? tls_options : no_options,
        MHD_OPTION_END);
    server->listen_fd = -1; /* the library closes it, also when it does not start */
    if (server->daemon == NULL)
        return error_set(ERROR_SYSTEM, "the HTTP library does not start");
    info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || info->epoll_fd < 0)
        return error_set(ERROR_INTERNAL, "the HTTP library gives no epoll descriptor");
    server->epoll_fd = info->epoll_fd;
    return 0;
}

/* Signals are the main thread's. */
static int start_thread(struct api_server *server)
{
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&server->thread, NULL, run, server);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return error_set(ERROR_SYSTEM, "cannot start the HTTP thread: %s", strerror(r));
    server->thread_running = true;
    return 0;
}

/* A connection has one address; one peer, and for a moment the next. */
static int start_tallies(struct api_server *server)
{
    const uint32_t most = server->config.max_connections + 1;
    uint64_t secret;
    int r = random_bytes(&secret, sizeof(secret));

    if (r == 0)
        r = tally_init(&server->addresses, most, secret);
    if (r == 0)
        r = tally_init(&server->peers, most, secret);
    if (r == 0 && server->config.listener.tls != API_TLS_NONE)
        r = handshakes_init(&server->handshakes, most + API_OVER_LIMIT_RESERVE, secret);
    return r;
}

static void stop_at_exit(struct api_server **server)
{
    api_server_stop(*server);
}

int api_server_start(const struct api_server_config *config, struct api_server **ret)
{
    CLEANUP(stop_at_exit) struct api_server *server = NULL;
    int r;

    assert(config->handle != NULL);
    server = calloc(1, sizeof(*server));
    if (server == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the HTTP server");
    server->config = *config;
    server->listen_fd = server->epoll_fd = server->wake_fd = -1;
    server->earliest_ms = server->arriving_until_ms = API_DEADLINE_NONE;
    (void)pthread_mutex_init(&server->lock, NULL);
    for (size_t i = 0; i < N_API_METRICS; i++)
        init_metric(&server->metrics[i], i);
    if (server->config.max_connections == 0)
        server->config.max_connections = MAX_CONNECTIONS_DEFAULT;
    if (server->config.idle_timeout_s == 0)
        server->config.idle_timeout_s = IDLE_TIMEOUT_DEFAULT_S;
    if (server->config.request_deadline_ms == 0)
        server->config.request_deadline_ms = REQUEST_DEADLINE_DEFAULT_MS;
    if (server->config.stream_idle_ms == 0)
        server->config.stream_idle_ms = API_STREAM_IDLE_MS;
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->wake_fd < 0)
        return error_set_errno("cannot make an eventfd");
    r = random_bytes(&server->id_seed, sizeof(server->id_seed));
    if (r == 0)
        r = start_tallies(server);
    if (r == 0)
        r = allow_descriptors(&server->config);
    if (r == 0)
        r = tls_server_new(&server->config.listener, server->config.context, &server->tls);
    if (r == 0)
        r = api_networks_parse(server->config.listener.proxies, &server->proxies);
    if (r == 0)
        r = api_listener_open(
            &server->config.listener, &server->proxies, &server->listen_fd, &server->port);
    if (r == 0)
        r = start_library(server);
    if (r < 0)
        return r;
    *ret = server; /* before the thread runs: a handler may look for it there */
    manager_beat(&server->pulse);
    r = start_thread(server);
    if (r < 0) {
        *ret = NULL;
        return r;
    }
    server = NULL;
    return 0;
}

unsigned api_server_port(const struct api_server *server)
{
    return server->port;
}

void api_server_drain(struct api_server *server)
{
    atomic_store(&server->draining, true);
    server_wake(server);
}

void api_server_cut_streams(struct api_server *server)
{
    atomic_store(&server->cutting, true);
    server_wake(server);
}

bool api_server_alive(struct api_server *server)
{
    server_wake(server); /* seen at the next look */
    return manager_is_alive(&server->pulse);
}

bool api_server_idle(struct api_server *server)
{
    return atomic_load(&server->n_admitted) == 0;
}

void api_server_stop(struct api_server *server)
{
    if (server == NULL)
        return;
    if (server->thread_running) {
        atomic_store(&server->draining, true);
        atomic_store(&server->stopping, true);
        server_wake(server);
        (void)pthread_join(server->thread, NULL);
    }
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    assert(server->connections == NULL && server->n_slots == 0 && server->n_reserved == 0);
    assert(server->addresses.n_keys == 0 && server->peers.n_keys == 0);
    assert(server->handshakes.addresses.n_keys == 0);
    linger_done(&server->linger);
    if (server->listen_fd >= 0)
        (void)close(server->listen_fd);
    if (server->wake_fd >= 0)
        (void)close(server->wake_fd);
    tls_server_free(server->tls);
    tally_done(&server->addresses);
    tally_done(&server->peers);
    handshakes_done(&server->handshakes);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

static void write_expiries(struct api_server *const *servers, size_t n, struct text *out)
{
    static const char name[] = "cradle_tls_certificate_expiry_timestamp_seconds";
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        const int64_t expires_s = tls_server_expires_s(servers[i]->tls);

        if (expires_s == 0)
            continue;
        if (!any)
            text_addf(out,
                "# HELP %s When the certificate that a listener serves now expires, Unix time.\n"
                "# TYPE %s gauge\n",
                name, name);
        any = true;
        text_addf(out, "%s{port=\"%u\"} %" PRId64 "\n", name, servers[i]->port, expires_s);
    }
}

void api_server_metrics(struct api_server *const *servers, size_t n, struct text *out)
{
    struct metric sums[N_API_METRICS];

    for (size_t i = 0; i < N_API_METRICS; i++) {
        init_metric(&sums[i], i);
        for (size_t k = 0; k < n; k++)
            metric_add(&sums[i],
                atomic_load_explicit(&servers[k]->metrics[i].value, memory_order_relaxed));
    }
    metrics_write(out, sums, N_API_METRICS);
    write_expiries(servers, n, out);
}
