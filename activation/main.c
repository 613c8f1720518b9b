#include "activation/audit_keeper.h"
#include "activation/backlog.h"
#include "activation/claim_alarm.h"
#include "activation/clocks.h"
#include "activation/dispatch.h"
#include "activation/housekeeping.h"
#include "activation/job_events.h"
#include "activation/job_worker.h"
#include "activation/order_make.h"
#include "activation/rewrap_keeper.h"
#include "activation/service.h"
#include "activation/subscription_keeper.h"
#include "activation/trust_keeper.h"
#include "activation/webhook_worker.h"
#include "activation/worker.h"
#include "api/client.h"
#include "api/json.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/manager.h"
#include "base/program.h"
#include "base/shortage.h"
#include "db/db.h"
#include "db/job.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROGRAM "cradle-activation"
#define STEP_MS 1000   /* between two looks of the housekeeping */
#define RETRY_MS 250   /* between two tries while something is awaited */
#define DRAIN_MS 15000 /* for requests in flight at the end */
#define CONNECTIONS_OF_A_LISTENER (1024 + API_OVER_LIMIT_RESERVE)
#define EXCHANGE_KEY_MAX 8192 /* bytes of the PEM file */

struct app {
    struct act_service service;
    struct db *db; /* of the housekeeping */
    struct act_housekeeping housekeeping;
    struct act_claim_alarm claim_alarm;
    struct act_backlog backlog;
    struct act_subscription_keeper subscriptions;
    struct act_clocks clocks;
    bool was_ready;
    int64_t swept_ms; /* monotonic: when jobs were last looked for whose worker has gone */
};

static int read_exchange_key(const char *path, struct text *ret)
{
    char pem[EXCHANGE_KEY_MAX + 1];
    FILE *file;
    size_t n;

    if (path[0] == '\0')
        return 0;
    file = fopen(path, "re");
    if (file == NULL) {
        const int code = shortage_or(ERROR_CONFIG);

        (void)error_set_errno("cannot read the exchange key %s", path);
        return code;
    }
    n = fread(pem, 1, sizeof(pem), file);
    (void)fclose(file);
    if (n == 0 || n > EXCHANGE_KEY_MAX || memmem(pem, n, "-----BEGIN PUBLIC KEY-----", 26) == NULL)
        return error_set(ERROR_CONFIG, "%s is not a public key in PEM", path);
    text_add_len(ret, pem, n);
    return ret->failed ? error_set(ERROR_SYSTEM, "out of memory for the exchange key") : 0;
}

static int start_keyds(struct act_service *service)
{
    const struct hsm_service_settings *hsm = &service->settings.hsm;
    const struct keyd_pool_config config = {
        .program = hsm->keyd,
        .uri = hsm->tokens.uri,
        .lock_file = hsm->tokens.lock_file,
        .socket = hsm->keyd_socket,
        .host_user = hsm->keyd_user,
        .verbs = KEYD_VERBS_OF_ACTIVATION |
                 (service->settings.hsm_export ? KEYD_MAY(KEYD_VERB_EXPORT_KEY) : 0),
        .second = hsm_second_of(&hsm->tokens),
        .n_processes = hsm->processes,
        /* Behind those of the workers: jobs, the audit, webhooks, and keys sealed anew; then those
         * that make keys, side by side, and so of different processes. */
        .n_channels = service->settings.workers + 4 + ORDER_MAKERS,
    };
    int r = keyd_pool_open(&config, &service->pool);

    if (r == 0)
        log_info("keys: %s", keyd_pool_describe(service->pool));
    return r;
}

static int start_listeners(struct act_service *service)
{
    const struct act_settings *s = &service->settings;
    const struct api_listener listeners[ACT_LISTENERS_MAX] = {
        {.address = s->address, .port = s->port, .proxies = s->proxies},
        {.address = s->tls_address,
            .port = s->tls_port,
            .tls = API_TLS_OPTIONAL,
            .certificate = s->tls_certificate,
            .key = s->tls_key},
    };
    size_t n = 0;
    int r;

    for (size_t i = 0; i < ACT_LISTENERS_MAX; i++) {
        const struct api_server_config config = {.listener = listeners[i],
            .other_connections = (unsigned)n * CONNECTIONS_OF_A_LISTENER +
                                 api_client_descriptors(ACT_WEBHOOK_CONNECTIONS),
            .connections_per_address =
                listeners[i].tls == API_TLS_NONE ? 0 : s->tls_connections_per_address,
            .admit = act_admit,
            .handle = act_handle,
            .context = service};

        if (listeners[i].tls != API_TLS_NONE && listeners[i].certificate[0] == '\0')
            continue;
        if ((r = api_server_start(&config, &service->servers[n])) < 0)
            return r;
        log_info("listening address=%s port=%u tls=%s", listeners[i].address,
            api_server_port(service->servers[n]), listeners[i].tls == API_TLS_NONE ? "no" : "yes");
        atomic_store(&service->n_servers, ++n);
    }
    manager_close_rest();
    return 0;
}

/* Called between two looks at the database and the key processes, each of which has an end. The
 * workers are not asked: a call may last as long as its client keeps it up. */
static void watch(struct act_service *service)
{
    bool alive = true;

    for (size_t i = 0; i < service->n_servers; i++)
        alive = api_server_alive(service->servers[i]) && alive;
    manager_watch(alive, "http");
}

/* Of all services: one that was killed has nobody else to say so. */
static void sweep_jobs(struct app *app)
{
    int64_t now_ms = clock_monotonic_ms();

    if (now_ms - app->swept_ms < ACT_JOB_LOOK_MS)
        return;
    app->swept_ms = now_ms;
    if (db_job_sweep(app->db) < 0)
        log_warn("jobs whose worker has gone were not looked for: %s", error_text());
}

/* One look at what the service stands on; /readyz tells what it saw. */
static void look_after(struct app *app)
{
    struct act_service *service = &app->service;
    bool db_well = db_check(app->db) == 0;
    bool keyd_well = keyd_pool_healthy(service->pool);
    bool ready = db_well && keyd_well;

    if (ready)
        atomic_store(&service->ready_until_ms, clock_monotonic_ms() + ACT_READY_FOR_MS);
    else
        atomic_store(&service->ready_until_ms, 0);
    if (ready && !app->was_ready)
        log_info("ready");
    else if (!ready && app->was_ready)
        log_warn("not ready: %s", db_well ? "a key process is not well" : error_text());
    app->was_ready = ready;
    if (!db_well)
        return;
    sweep_jobs(app);
    if (act_pace_look(&service->pace, app->db) < 0)
        log_warn("it was not seen whether devices join: %s", error_text());
    act_claim_alarm_look(&app->claim_alarm, app->db, &service->metrics.claim_alarm);
    act_backlog_look(&app->backlog, app->db, &service->metrics);
    if (!act_clocks_look(&app->clocks, app->db))
        return;
    act_housekeeping_look(&app->housekeeping, app->db);
    act_subscription_keeper_look(&app->subscriptions, app->db, &service->metrics);
}

static bool all_idle(struct act_service *service)
{
    for (size_t i = 0; i < service->n_servers; i++)
        if (!api_server_idle(service->servers[i]))
            return false;
    return true;
}

static void drain(struct act_service *service)
{
    int64_t until = clock_monotonic_ms() + DRAIN_MS;

    manager_tell("STOPPING=1\nSTATUS=answers what it has");
    log_info("stopping");
    atomic_store(&service->ready_until_ms, 0);
    for (size_t i = 0; i < service->n_servers; i++)
        api_server_drain(service->servers[i]);
    act_job_worker_ask_stop(service->jobs);
    act_webhook_worker_ask_stop(service->webhooks);
    act_job_events_stop(service->events);
    while (!all_idle(service) && clock_monotonic_ms() < until)
        (void)program_stop_wanted(RETRY_MS);
    /* A worker may wait for as long as its client keeps the least rate, and is waited for next. */
    for (size_t i = 0; i < service->n_servers; i++)
        api_server_cut_streams(service->servers[i]);
}

static int start(struct app *app)
{
    struct act_service *service = &app->service;
    struct db_config config = {
        .conninfo = service->settings.conninfo,
        .program = PROGRAM,
        .statement_ms = STEP_MS,
    };
    int r = db_guard_new(service->settings.failover, service->settings.witness, &service->guard);

    if (r < 0)
        return r;
    config.guard = service->guard;
    if ((r = read_exchange_key(service->settings.exchange_key, &service->exchange_key)) < 0 ||
        (r = db_open(&config, &app->db)) < 0 || (r = db_await(app->db, program_stop_wanted)) != 0 ||
        (r = start_keyds(service)) < 0 || (r = act_workers_start(service, &service->workers)) < 0 ||
        (r = order_makers_start(service, service->settings.workers + 4, &service->order_makers)) <
            0 ||
        (r = act_job_worker_start(service, service->settings.workers, &service->jobs)) < 0 ||
        (r = act_job_events_start(service, &service->events)) < 0 ||
        (r = act_audit_keeper_start(service, service->settings.workers + 1, &service->audit)) < 0 ||
        (r = act_webhook_worker_start(service, service->settings.workers + 2, &service->webhooks)) <
            0 ||
        (r = act_rewrap_keeper_start(service, service->settings.workers + 3, &service->rewrap)) <
            0 ||
        (r = act_trust_keeper_start(service, &service->trust)) < 0)
        return r;
    return start_listeners(service);
}

/* In the reverse order of start; every part may be missing. */
static void stop(struct app *app)
{
    struct act_service *service = &app->service;

    if (service->n_servers > 0)
        drain(service);
    act_job_events_stop(service->events);
    act_trust_keeper_stop(service->trust);
    act_rewrap_keeper_stop(service->rewrap);
    act_webhook_worker_stop(service->webhooks);
    act_job_worker_stop(service->jobs);
    order_makers_stop(service->order_makers);
    act_workers_stop(service->workers);
    for (size_t i = 0; i < service->n_servers; i++)
        api_server_stop(service->servers[i]);
    act_audit_keeper_stop(service->audit); /* after the last change was answered */
    act_workers_free(service->workers);
    act_job_events_free(service->events);
    keyd_pool_close(service->pool);
    db_close(app->db);
    db_guard_free(service->guard);
    text_done(&service->exchange_key);
    text_done(&service->audit_key);
}

static int run(struct app *app)
{
    int r = start(app);

    if (r == 0) {
        manager_tell("READY=1\nSTATUS=answers");
        do {
            look_after(app);
            watch(&app->service);
        } while ((r = db_guard_look(app->service.guard)) == 0 && !program_stop_wanted(STEP_MS) &&
                 !keyd_pool_stopped(app->service.pool));
        if (r == 0 && keyd_pool_stopped(app->service.pool))
            r = error_set(ERROR_PIN, "the HSM refused the PIN");
    }
    if (r < 0)
        log_error("cannot start or go on: %s", error_text());
    stop(app);
    return r;
}

int main(int argc, char **argv)
{
    const struct program program = {
        .name = PROGRAM,
        .about = "Runs the activation service until SIGTERM or SIGINT.",
        .table = act_settings_table,
        .n_settings = act_n_settings,
        .log_level_offset = offsetof(struct act_settings, log_level),
        .log_format_offset = offsetof(struct act_settings, log_format),
    };
    static struct app app;
    int r = program_start(&program, argc, argv, &app.service.settings);

    if (r > 0)
        return EXIT_SUCCESS;
    json_wipe_memory();
    act_metrics_init(&app.service.metrics);
    act_token_table_init(&app.service.tokens);
    act_body_slots_init(&app.service.bodies);
    act_watch_slots_init(&app.service.watches);
    act_pace_init(&app.service.pace, app.service.settings.import_percent_beside_joins);
    if (r < 0 || (r = secret_process_harden(0, NULL)) < 0)
        log_error("cannot start: %s", error_text());
    else
        r = run(&app);
    act_token_table_done(&app.service.tokens);
    act_pace_done(&app.service.pace);
    config_done(act_settings_table, act_n_settings, &app.service.settings);
    return program_exit_status(r);
}
