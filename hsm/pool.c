#include "hsm/pool.h"

#include "base/clock.h"
#include "hsm/settings.h"
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#define CLOSE_TIMEOUT_MS 5000
#define CHANNELS_PER_PROCESS_MAX 256
#define POOL_MAX_OPERATIONS 50000u /* about 36 MB of what SoftHSM leaks */
#define POOL_MAX_MEMORY_MIB 256u

void pool_wake(struct keyd_pool *pool)
{
    const uint64_t one = 1;

    (void)!write(pool->wake, &one, sizeof(one));
}

static const struct metric metric_rows[POOL_N_METRICS] = {
    [POOL_METRIC_STARTS] = {.name = "cradle_keyd_starts_total", .help = "Key processes started."},
    [POOL_METRIC_DEATHS] = {.name = "cradle_keyd_deaths_total",
        .help = "Key processes that ended without being asked to."},
    [POOL_METRIC_RECYCLES] = {.name = "cradle_keyd_recycles_total",
        .help = "Key processes replaced at their operation or memory limit."},
    [POOL_METRIC_OPERATIONS] = {.name = "cradle_keyd_operations_total",
        .help = "Items answered by key processes."},
    [POOL_METRIC_RESENDS] = {.name = "cradle_keyd_resends_total",
        .help = "Messages whose key process died and that went to its successor."},
    [POOL_METRIC_LATE] = {.name = "cradle_keyd_late_total",
        .help = "Messages without an answer by their deadline."},
    [POOL_METRIC_TOKEN_CHANGES] = {.name = "cradle_hsm_token_changes_total",
        .help = "Times that another HSM token began to serve."},
    [POOL_METRIC_PROCESSES] = {.name = "cradle_keyd_processes",
        .help = "Key processes serving now.",
        .kind = METRIC_GAUGE},
};

static void free_pool(struct keyd_pool *pool)
{
    for (unsigned i = 0; pool->channels != NULL && i < pool->n_channels; i++) {
        if (pool->channels[i] == NULL)
            continue;
        if (pool->channels[i]->fd >= 0)
            (void)close(pool->channels[i]->fd);
        free(pool->channels[i]);
    }
    free(pool->channels);
    free(pool->slots);
    free(pool->program);
    for (unsigned i = 0; i < POOL_TOKENS_MAX; i++)
        pool_token_done(&pool->tokens[i]);
    free(pool->socket);
    free(pool->host_user);
    if (pool->wake >= 0)
        (void)close(pool->wake);
    (void)pthread_cond_destroy(&pool->changed);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static char *copy_text(const char *text)
{
    return strdup(text != NULL ? text : "");
}

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static int fill_tokens(struct keyd_pool *pool, const struct keyd_pool_config *config)
{
    const struct keyd_second_token *second = &config->second;
    int r;

    /* A host says by each key process how many it has (pool_tokens_are). */
    pool->n_tokens = 1;
    if (is_set(config->socket) && is_set(second->uri))
        return error_set(ERROR_CONFIG,
            "hsm.uri_2 and hsm.keyd_socket: tokens are the host's affair; write hsm.uri_2, "
            "hsm.lock_file_2 and hsm.softhsm2_conf_2 into the settings of cradle-keyd-host");
    if (!is_set(config->socket) &&
        (r = hsm_tokens_check(config->uri, config->lock_file, second, &pool->n_tokens)) < 0)
        return r;
    r = pool_token_init(&pool->tokens[0], config->uri, config->lock_file, NULL);
    return r < 0 ? r
                 : pool_token_init(
                       &pool->tokens[1], second->uri, second->lock_file, second->softhsm_conf);
}

/* What is needed to start key processes here. */
static int check_settings(const struct keyd_pool_config *config)
{
    const struct {
        const char *name, *value;
    } needed[] = {{"hsm.uri", config->uri}, {"hsm.lock_file", config->lock_file},
        {"hsm.keyd", config->program}};

    if (is_set(config->socket))
        return 0;
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!is_set(needed[i].value))
            return error_set(ERROR_CONFIG,
                "setting %s is missing: without hsm.keyd_socket key processes are started here",
                needed[i].name);
    return 0;
}

static int fill_pool(struct keyd_pool *pool, const struct keyd_pool_config *config)
{
    char names[KEYD_VERBS_TEXT_MAX];
    int r;

    pool->n_channels = config->n_channels;
    pool->n_slots = config->n_processes;
    if (pool->n_slots == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        pool->n_slots = cores < 1 ? 1 : (unsigned)cores;
    }
    if (pool->n_slots > pool->n_channels)
        pool->n_slots = pool->n_channels; /* a process without a channel would serve nobody */
    if (pool->n_slots == 0 || pool->n_channels / pool->n_slots >= CHANNELS_PER_PROCESS_MAX)
        return error_set(ERROR_CONFIG, "%u threads cannot share %u key processes",
            config->n_channels, config->n_processes);
    r = check_settings(config);
    if (r == 0)
        r = fill_tokens(pool, config);
    if (r == 0)
        r = keyd_verbs_format(config->verbs, names);
    if (r < 0)
        return r;
    pool->verbs = config->verbs;
    pool->plain_keys = config->plain_keys;
    pool->max_operations =
        config->max_operations != 0 ? config->max_operations : POOL_MAX_OPERATIONS;
    pool->max_memory_mib =
        config->max_memory_mib != 0 ? config->max_memory_mib : POOL_MAX_MEMORY_MIB;
    pool->program = copy_text(config->program);
    pool->socket = copy_text(config->socket);
    pool->host_user = copy_text(config->host_user);
    pool->slots = calloc(pool->n_slots, sizeof(*pool->slots));
    pool->channels = calloc(pool->n_channels, sizeof(*pool->channels));
    pool->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->program == NULL || pool->socket == NULL || pool->host_user == NULL ||
        pool->slots == NULL || pool->channels == NULL || pool->wake < 0)
        return error_set(ERROR_SYSTEM, "no memory for the key processes");
    memcpy(pool->metrics, metric_rows, sizeof(metric_rows));
    for (unsigned i = 0; i < pool->n_channels; i++) {
        struct keyd_channel *channel = calloc(1, sizeof(*channel));

        if (channel == NULL)
            return error_set(ERROR_SYSTEM, "no memory for the key processes");
        channel->pool = pool;
        channel->fd = -1;
        channel->slot = i % pool->n_slots;
        channel->place = pool->slots[channel->slot].n_channels++;
        pool->channels[i] = channel;
    }
    return 0;
}

static int start_supervisor(struct keyd_pool *pool)
{
    sigset_t all, before;
    int r;

    /* The service's signals are for its own threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&pool->supervisor, NULL, pool_supervise, pool);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return error_set(ERROR_SYSTEM, "no thread for the key processes: %s", strerror(r));
    pool->supervised = true;
    return 0;
}

/* Until the first is ready, and every other is or has failed once (which the supervisor goes on
 * trying). */
static int wait_for_start(struct keyd_pool *pool)
{
    int r = 0;

    (void)pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; r == 0 && i < pool->n_slots; i++) {
        const struct pool_slot *slot = &pool->slots[i];

        while (slot->current == NULL && slot->failed_starts == 0 && pool->stop_code == 0)
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
        if (!pool->proven || pool->stop_code != 0)
            r = error_set(pool->last_error, "%s", pool->last_text);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return r;
}

int keyd_pool_open(const struct keyd_pool_config *config, struct keyd_pool **ret)
{
    struct keyd_pool *pool = calloc(1, sizeof(*pool));
    pthread_condattr_t monotonic;
    int r;

    if (pool == NULL)
        return error_set(ERROR_SYSTEM, "no memory for the key processes");
    pool->wake = -1;
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&pool->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    r = fill_pool(pool, config);
    if (r == 0)
        r = start_supervisor(pool);
    if (r == 0)
        r = wait_for_start(pool);
    if (r < 0) {
        keyd_pool_close(pool);
        return r;
    }
    *ret = pool;
    return 0;
}

void keyd_pool_close(struct keyd_pool *pool)
{
    if (pool == NULL)
        return;
    if (pool->supervised) {
        (void)pthread_mutex_lock(&pool->lock);
        pool->closing = true;
        pool->close_by_ms = clock_monotonic_ms() + CLOSE_TIMEOUT_MS;
        for (unsigned i = 0; i < pool->n_channels; i++) {
            if (pool->channels[i]->fd >= 0)
                (void)close(pool->channels[i]->fd);
            pool->channels[i]->fd = -1;
        }
        (void)pthread_cond_broadcast(&pool->changed);
        (void)pthread_mutex_unlock(&pool->lock);
        pool_wake(pool);
        (void)pthread_join(pool->supervisor, NULL);
    }
    free_pool(pool);
}

/* --- questions -------------------------------------------------------------------------------- */

struct keyd_channel *keyd_pool_channel(struct keyd_pool *pool, unsigned index)
{
    return index < pool->n_channels ? pool->channels[index] : NULL;
}

bool keyd_pool_stopped(struct keyd_pool *pool)
{
    bool stopped;

    (void)pthread_mutex_lock(&pool->lock);
    stopped = pool->stop_code != 0;
    (void)pthread_mutex_unlock(&pool->lock);
    return stopped;
}

bool keyd_pool_healthy(struct keyd_pool *pool)
{
    bool healthy;

    (void)pthread_mutex_lock(&pool->lock);
    healthy = pool->stop_code == 0 && !pool->closing;
    for (unsigned i = 0; i < pool->n_slots; i++)
        healthy = healthy && pool->slots[i].current != NULL;
    (void)pthread_mutex_unlock(&pool->lock);
    return healthy;
}

unsigned keyd_pool_pids(struct keyd_pool *pool, int *ret_pids, unsigned n_max)
{
    unsigned n = 0;

    (void)pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; i < pool->n_slots && n < n_max; i++) {
        if (pool->slots[i].current != NULL && pool->slots[i].current->pid > 0)
            ret_pids[n++] = (int)pool->slots[i].current->pid;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return n;
}

unsigned keyd_pool_token(struct keyd_pool *pool)
{
    unsigned token = 0;

    (void)pthread_mutex_lock(&pool->lock);
    if (pool->n_tokens > 1)
        token = pool->serving + 1;
    (void)pthread_mutex_unlock(&pool->lock);
    return token;
}

const char *keyd_pool_describe(struct keyd_pool *pool)
{
    return pool->describe; /* written once, before the pool was given out */
}

void keyd_pool_metrics(struct keyd_pool *pool, struct text *out)
{
    int64_t n = 0;

    (void)pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; i < pool->n_slots; i++)
        n += pool->slots[i].current != NULL;
    metric_set(&pool->metrics[POOL_METRIC_PROCESSES], n);
    metrics_write(out, pool->metrics, POOL_N_METRICS);
    pool_tokens_metrics(pool, out);
    (void)pthread_mutex_unlock(&pool->lock);
}
