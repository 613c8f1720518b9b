/* cradle-joinserver: the TS002 join server. */
#include "api/find.h"
#include "api/json.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/manager.h"
#include "base/program.h"
#include "db/guard.h"
#include "hsm/settings.h"
#include "joinserver/keeper.h"
#include <sys/sysinfo.h>
#include <time.h>

#define DRAIN_MS 5000
#define DRAIN_PAUSE_MS 5
#define STOP_LOOK_MS 1000 /* between two looks at the key processes; a signal ends the wait */
#define WORKERS_MAX 64

struct settings {
    char *address;
    char *proxies;
    unsigned port;
    char *tls_address;
    unsigned tls_port;
    char *tls_certificate;
    char *tls_key;
    char *token_address;
    unsigned token_port;
    char *token_certificate;
    char *token_key;
    char *conninfo;
    char *failover;
    char *witness;
    struct hsm_service_settings hsm;
    unsigned recycle_operations;
    unsigned workers;
    unsigned retry_window_ms;
    unsigned queue;
    unsigned wait_ms;
    unsigned device_burst;
    unsigned device_interval_s;
    unsigned connections;
    bool plain_keys;
    unsigned connections_per_address;
    unsigned connections_per_peer;
    char *answers_directory;
    unsigned answers_queue;
    unsigned answers_connections;
    struct find_settings dns;
    char *roaming_instance;
    unsigned roaming_max_hops;
    unsigned roaming_requests;
    char *roaming_dns_credential;
    char *roaming_dns_version;
    unsigned roaming_dns_timeout_ms;
    unsigned roaming_dns_max_in_flight;
    char *log_level, *log_format;
};

#define AT(member) offsetof(struct settings, member)

static const struct config_setting settings_table[] = {
    {"listener-plain.address", NULL, CONFIG_TEXT, AT(address), "127.0.0.1", 0, 0,
        "address of the plain listener (token): loopback, or any when proxies are named"},
    {"listener-plain.proxies", NULL, CONFIG_TEXT, AT(proxies), "", 0, 0,
        "networks of proxies that take TLS off (10.0.0.0/8, fd00::/8): only they and loopback may connect"},
    {"listener-plain.port", "CRADLE_JOIN_PORT", CONFIG_UNSIGNED, AT(port), "8081", 0, 65535,
        "its port"},
    {"listener-tls.address", NULL, CONFIG_TEXT, AT(tls_address), "0.0.0.0", 0, 0,
        "address of the listener with mutual TLS (certificate required, no token)"},
    {"listener-tls.port", "CRADLE_JOIN_TLS_PORT", CONFIG_UNSIGNED, AT(tls_port), "8443", 0, 65535,
        "its port"},
    {"listener-tls.certificate", NULL, CONFIG_TEXT, AT(tls_certificate), "", 0, 0,
        "PEM file of its certificate chain; empty: no such listener"},
    {"listener-tls.key", NULL, CONFIG_TEXT, AT(tls_key), "", 0, 0, "PEM file of its key"},
    {"listener-token-tls.address", NULL, CONFIG_TEXT, AT(token_address), "0.0.0.0", 0, 0,
        "address of the listener with TLS and a token"},
    {"listener-token-tls.port", "CRADLE_JOIN_TOKEN_TLS_PORT", CONFIG_UNSIGNED, AT(token_port),
        "8445", 0, 65535, "its port"},
    {"listener-token-tls.certificate", NULL, CONFIG_TEXT, AT(token_certificate), "", 0, 0,
        "PEM file of its certificate chain; empty: no such listener"},
    {"listener-token-tls.key", NULL, CONFIG_TEXT, AT(token_key), "", 0, 0, "PEM file of its key"},
    {"database.conninfo", NULL, CONFIG_TEXT, AT(conninfo), NULL, 0, 0,
        "how to reach PostgreSQL as cradle_join, in libpq's form"},
    {"database.failover", NULL, CONFIG_TEXT, AT(failover), "bump", 0, 0,
        "a timeline that changed is refused until cradle epoch bump (bump), or taken, because no "
        "failover loses a commit (synchronous)"},
    {"database.witness", NULL, CONFIG_TEXT, AT(witness), "", 0, 0,
        "file that keeps what was last seen of the database, so that one that was set back is "
        "noticed; empty: none"},
    HSM_SERVICE_SETTINGS(struct settings, hsm),
    {"hsm.recycle_operations", NULL, CONFIG_UNSIGNED, AT(recycle_operations), "0", 0, 100000000,
        "operations after which a key process is replaced; 0: the default"},
    {"join.workers", NULL, CONFIG_UNSIGNED, AT(workers), "0", 0, WORKERS_MAX,
        "join workers; 0: cores + 1"},
    {"join.retry_window_ms", NULL, CONFIG_UNSIGNED, AT(retry_window_ms), "5000", 0, 60000,
        "how long an identical request gets the same answer; 0: off"},
    {"join.queue", NULL, CONFIG_UNSIGNED, AT(queue), "4096", 1, 1000000,
        "requests that may wait; beyond them 503"},
    {"join.wait_ms", NULL, CONFIG_UNSIGNED, AT(wait_ms), "250", 0, 1000,
        "how long a request may have to wait for its turn; beyond it 503; 0: as long as it lasts"},
    {"join.device_burst", "CRADLE_JOIN_DEVICE_BURST", CONFIG_UNSIGNED, AT(device_burst), "100", 0,
        1000000, "joins of one device in a row, before it is slowed down; 0: it never is"},
    {"join.device_interval_s", NULL, CONFIG_UNSIGNED, AT(device_interval_s), "10", 1, 86400,
        "seconds from one join of such a device to the next"},
    {"join.connections", NULL, CONFIG_UNSIGNED, AT(connections), "4096", 1, 100000,
        "connections that each listener may have open"},
    {"join.plain_keys", NULL, CONFIG_BOOL, AT(plain_keys), "false", 0, 0,
        "whether peers whose record allows it may get session keys in clear over mutual TLS"},
    {"join.connections_per_address", NULL, CONFIG_UNSIGNED, AT(connections_per_address), "1024", 0,
        100000, "those of one client address (IPv4, or an IPv6 /64) on each listener; 0: no limit"},
    {"join.connections_per_peer", NULL, CONFIG_UNSIGNED, AT(connections_per_peer), "1024", 0,
        100000, "those of one network or application server on each listener; 0: no limit"},
    {"answers.directory", NULL, CONFIG_TEXT, AT(answers_directory), "", 0, 0,
        "folder of what is shown at peers' answer URLs (NAME.crt .key .ca .header); empty: nothing"},
    {"answers.queue", NULL, CONFIG_UNSIGNED, AT(answers_queue), "4096", 1, 1000000,
        "answers that may wait to be taken at answer URLs; beyond them 503"},
    {"answers.connections", NULL, CONFIG_UNSIGNED, AT(answers_connections), "256", 1, 10000,
        "connections to answer URLs at once"},
    FIND_SETTINGS(struct settings, dns, "off"),
    {"roaming.instance", NULL, CONFIG_TEXT, AT(roaming_instance), "", 0, 0,
        "what this server is called in the Via header of requests carried to partners; servers that share it "
        "are one; empty: a random name each start"},
    {"roaming.max_hops", NULL, CONFIG_UNSIGNED, AT(roaming_max_hops), "4", 1, 16,
        "servers that a request may have passed before; one that has passed so many is not carried on"},
    {"roaming.requests", NULL, CONFIG_UNSIGNED, AT(roaming_requests), "256", 4, 10000,
        "requests on their way to partners at once, and connections to them; beyond them they are refused"},
    {"roaming.dns_credential", NULL, CONFIG_TEXT, AT(roaming_dns_credential), "", 0, 0,
        "what is shown to servers that DNS names, by its name in answers.directory; its .ca says who is believed; "
        "empty: nothing is, and the system's CAs are"},
    {"roaming.dns_protocol_version", NULL, CONFIG_TEXT, AT(roaming_dns_version), "1.0", 0, 0,
        "in which TS002 they are asked: 1.0 or 1.1"},
    {"roaming.dns_timeout_ms", NULL, CONFIG_UNSIGNED, AT(roaming_dns_timeout_ms), "2000", 100, 4000,
        "from a request to its answer by them, the search included"},
    {"roaming.dns_max_in_flight", NULL, CONFIG_UNSIGNED, AT(roaming_dns_max_in_flight), "64", 1,
        1024, "requests on their way to one of them"},
    {"log.level", NULL, CONFIG_TEXT, AT(log_level), "info", 0, 0, "debug, info, warn or error"},
    {"log.format", NULL, CONFIG_TEXT, AT(log_format), "text", 0, 0,
        "text, or json: an object a line"},
};
#define N_SETTINGS (sizeof(settings_table) / sizeof(settings_table[0]))

struct app {
    struct settings settings;
    struct keyd_pool *keyd;
    struct db_guard *guard;
    struct db *keeper_db;
    struct join_metrics metrics;
    struct join_shared shared;
    struct join_routes routes;
    struct join_keeper *keeper;
    struct join_worker *workers[WORKERS_MAX];
    unsigned n_workers;
};

static int start_listeners(struct app *app)
{
    const struct settings *s = &app->settings;
    const struct {
        const char *scheme;
        struct api_listener listener;
    } listeners[JOIN_LISTENERS_MAX] = {
        {"http", {.address = s->address, .port = s->port, .proxies = s->proxies}},
        {"https (certificate)", {.address = s->tls_address,
                                    .port = s->tls_port,
                                    .tls = API_TLS_MUTUAL,
                                    .certificate = s->tls_certificate,
                                    .key = s->tls_key,
                                    .find_trust = join_routes_find_trust,
                                    .trust_version = join_routes_trust_version}},
        {"https (token)", {.address = s->token_address,
                              .port = s->token_port,
                              .tls = API_TLS_SERVER,
                              .certificate = s->token_certificate,
                              .key = s->token_key}},
    };
    size_t n = 0;
    int r;

    for (size_t i = 0; i < JOIN_LISTENERS_MAX; i++) {
        const struct api_listener *listener = &listeners[i].listener;
        const struct api_server_config config = {.listener = *listener,
            .max_connections = s->connections,
            .connections_per_address = s->connections_per_address,
            .connections_per_peer = s->connections_per_peer,
            .other_connections = (unsigned)n * (s->connections + API_OVER_LIMIT_RESERVE) +
                                 api_client_descriptors(s->answers_connections) +
                                 finder_descriptors(&s->dns) +
                                 api_client_descriptors(s->roaming_requests),
            .urgent = true,
            .admit = join_routes_admit,
            .handle = join_routes_handle,
            .context = &app->routes};

        if (listener->tls != API_TLS_NONE && listener->certificate[0] == '\0')
            continue;
        if ((r = api_server_start(&config, &app->shared.servers[n])) < 0)
            return r;
        log_info("answering TS002 by %s on %s port %u", listeners[i].scheme, listener->address,
            api_server_port(app->shared.servers[n]));
        atomic_store(&app->shared.n_servers, ++n);
    }
    manager_close_rest();
    return 0;
}

/* What proves life: each thread that a join passes through has gone round, or has nothing to do. */
static void watch(struct app *app)
{
    const char *still = NULL;

    for (size_t i = 0; i < app->shared.n_servers; i++)
        if (!api_server_alive(app->shared.servers[i]))
            still = "http";
    for (unsigned i = 0; i < app->n_workers; i++)
        if (!join_worker_alive(app->workers[i]))
            still = "worker";
    if (!join_keeper_alive(app->keeper))
        still = "keeper";
    manager_watch(still == NULL, still);
}

static bool all_idle(struct app *app)
{
    for (size_t i = 0; i < app->shared.n_servers; i++)
        if (!api_server_idle(app->shared.servers[i]))
            return false;
    return true;
}

static int start(struct app *app)
{
    const struct settings *s = &app->settings;
    int r;

    app->n_workers = s->workers > 0 ? s->workers : (unsigned)get_nprocs() + 1;
    if (app->n_workers > WORKERS_MAX)
        app->n_workers = WORKERS_MAX;
    app->shared.retry_window_ms = s->retry_window_ms;
    app->shared.plain_keys = s->plain_keys;
    app->shared.metrics = &app->metrics;
    app->routes.shared = &app->shared;
    json_wipe_memory(); /* answers of partners may hold keys */
    join_metrics_init(&app->metrics);
    mic_limit_init(&app->shared.mic_limit);
    loop_limit_init(&app->shared.loop_limit, s->device_burst, s->device_interval_s);
    if ((r = secret_process_harden(0, NULL)) < 0 ||
        (r = db_guard_new(s->failover, s->witness, &app->guard)) < 0 ||
        (r = db_open(&(struct db_config){.conninfo = s->conninfo,
                         .guard = app->guard,
                         .program = "cradle-joinserver-keeper",
                         .statement_ms = JOIN_RESOLVE_MS},
             &app->keeper_db)) < 0 ||
        (r = db_await(app->keeper_db, program_stop_wanted)) != 0 ||
        (r = db_join_event_partitions(app->keeper_db)) < 0 ||
        (r = join_directory_holder_new(&app->shared.directory)) < 0 ||
        (r = join_directory_reload(app->shared.directory, app->keeper_db)) < 0 ||
        (r = join_refusals_new(&app->shared.refusals)) < 0 ||
        (r = roaming_refusals_new(&app->shared.roaming_refusals)) < 0 ||
        (r = join_queue_new(app->n_workers, s->queue, s->wait_ms, &app->shared.queue)) < 0 ||
        (r = join_deliveries_open(
             &(struct join_deliveries_config){.directory = s->answers_directory,
                 .max_answers = s->answers_queue,
                 .max_connections = s->answers_connections},
             &app->shared.deliveries)) < 0 ||
        (r = join_forwards_open(&(struct join_forwards_config){.directory = s->answers_directory,
                                    .refusals = {.table = app->shared.roaming_refusals,
                                        .dropped = &app->metrics.roaming_refusals_dropped},
                                    .instance = s->roaming_instance,
                                    .max_hops = s->roaming_max_hops,
                                    .max_requests = s->roaming_requests},
             &app->shared.forwards)) < 0 ||
        (r = join_dns_open(&(struct join_dns_config){.find = &s->dns,
                               .forwards = app->shared.forwards,
                               .credential = s->roaming_dns_credential,
                               .protocol_version = s->roaming_dns_version,
                               .timeout_ms = s->roaming_dns_timeout_ms,
                               .max_in_flight = s->roaming_dns_max_in_flight},
             &app->shared.dns)) < 0)
        return r;
    if ((r = keyd_pool_open(&(struct keyd_pool_config){.program = s->hsm.keyd,
                                .uri = s->hsm.tokens.uri,
                                .lock_file = s->hsm.tokens.lock_file,
                                .socket = s->hsm.keyd_socket,
                                .host_user = s->hsm.keyd_user,
                                .verbs = KEYD_VERBS_OF_JOINSERVER,
                                .n_processes = s->hsm.processes,
                                .n_channels = app->n_workers,
                                .max_operations = s->recycle_operations,
                                .plain_keys = s->plain_keys,
                                .second = hsm_second_of(&s->hsm.tokens)},
             &app->keyd)) < 0)
        return r;
    log_info("%s", keyd_pool_describe(app->keyd));
    app->routes.keyd = app->keyd;
    app->shared.guard = app->guard;
    atomic_store(&app->routes.ready, true);
    if ((r = start_listeners(app)) < 0)
        return r;
    for (unsigned i = 0; i < app->n_workers; i++)
        if ((r = join_worker_start(
                 &app->shared, s->conninfo, keyd_pool_channel(app->keyd, i), &app->workers[i])) < 0)
            return r;
    if ((r = join_keeper_start(&app->routes, app->keeper_db, &app->keeper)) < 0)
        return r;
    log_info("%u workers answer", app->n_workers);
    return 0;
}

/* Asynchronous partners answer by requests of their own, which a server that drains takes no more.
 */
static void await_partners(struct app *app, int64_t give_up_ms)
{
    atomic_store(&app->routes.draining, true);
    while (app->shared.forwards != NULL && join_forwards_awaiting(app->shared.forwards) > 0 &&
           clock_monotonic_ms() < give_up_ms)
        (void)program_stop_wanted(DRAIN_PAUSE_MS);
}

/* The mirror of start(); everything in it takes what was never made. */
static void stop(struct app *app)
{
    const int64_t give_up_ms = clock_monotonic_ms() + DRAIN_MS;

    await_partners(app, give_up_ms);
    for (size_t i = 0; i < app->shared.n_servers; i++)
        api_server_drain(app->shared.servers[i]);
    while (!all_idle(app) && clock_monotonic_ms() < give_up_ms)
        (void)program_stop_wanted(DRAIN_PAUSE_MS);
    if (app->shared.queue != NULL)
        join_queue_close(app->shared.queue);
    for (unsigned i = 0; i < app->n_workers; i++)
        join_worker_join(app->workers[i]);
    join_keeper_stop(app->keeper);
    join_dns_stop(app->shared.dns);
    join_forwards_stop(app->shared.forwards, give_up_ms);
    for (size_t i = 0; i < app->shared.n_servers; i++)
        api_server_stop(app->shared.servers[i]);
    join_deliveries_stop(app->shared.deliveries, give_up_ms);
    join_dns_free(app->shared.dns);
    join_forwards_free(app->shared.forwards);
    keyd_pool_close(app->keyd);
    join_queue_free(app->shared.queue);
    roaming_refusals_free(app->shared.roaming_refusals);
    join_refusals_free(app->shared.refusals);
    join_directory_holder_free(app->shared.directory);
    db_close(app->keeper_db);
    db_guard_free(app->guard);
    loop_limit_done(&app->shared.loop_limit);
    mic_limit_done(&app->shared.mic_limit);
    join_metrics_done(&app->metrics);
    config_done(settings_table, N_SETTINGS, &app->settings);
}

static const struct program program = {
    .name = "cradle-joinserver",
    .about = "Answers TS002 join requests until SIGTERM or SIGINT.",
    .table = settings_table,
    .n_settings = N_SETTINGS,
    .log_level_offset = AT(log_level),
    .log_format_offset = AT(log_format),
};

int main(int argc, char **argv)
{
    static struct app app;
    int r = program_start(&program, argc, argv, &app.settings);

    if (r > 0)
        return EXIT_SUCCESS;
    if (r == 0 && (r = start(&app)) == 0) {
        manager_tell("READY=1\nSTATUS=answers");
        while ((r = db_guard_look(app.guard)) == 0 && !program_stop_wanted(STOP_LOOK_MS) &&
               !keyd_pool_stopped(app.keyd))
            watch(&app);
        manager_tell("STOPPING=1\nSTATUS=answers what it has");
        log_info("stopping");
        if (r == 0 && keyd_pool_stopped(app.keyd))
            r = error_set(ERROR_PIN, "the HSM refused the PIN");
    }
    if (r < 0)
        log_error("cannot start or go on: %s", error_text());
    stop(&app);
    return program_exit_status(r);
}
