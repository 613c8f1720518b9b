#include "hsm/pool.h"

#include "base/clock.h"
#include "base/log.h"
#include <stdio.h>
#include <string.h>

/* Of a token that stands by, to know before it is needed; and of the one that serves, whose key
 * processes may not need it for a long time: what a join wants they have in their memory. */
#define PROBE_WELL_MS 5000
#define PROBE_AWAY_MS 1000
#define BACK_PROBES 3      /* in a row, before the first token serves again */
#define BACK_PROBES_MAX 64 /* of one that comes and goes */
#define STEADY_MS 60000    /* who served so long without failing has not come and gone */
#define LATE_CALLS 2       /* in a row: the token hangs */

int pool_token_init(
    struct pool_token *token, const char *uri, const char *lock_file, const char *softhsm_conf)
{
    *token = (struct pool_token){.uri = strdup(uri != NULL ? uri : ""),
        .lock_file = strdup(lock_file != NULL ? lock_file : ""),
        .softhsm_conf = strdup(softhsm_conf != NULL ? softhsm_conf : ""),
        .n_wanted = BACK_PROBES};
    if (token->uri == NULL || token->lock_file == NULL || token->softhsm_conf == NULL)
        return error_set(ERROR_SYSTEM, "no memory for the key processes");
    return 0;
}

void pool_tokens_are(struct keyd_pool *pool, unsigned n)
{
    if (n == pool->n_tokens)
        return;
    log_info("the host of key processes has %u HSM token%s", n, n == 1 ? "" : "s");
    pool->n_tokens = n;
    if (n == 1)
        pool->serving = 0;
    pool->keys.n = 0; /* of tokens that its settings named before */
}

void pool_token_done(struct pool_token *token)
{
    free(token->uri);
    free(token->lock_file);
    free(token->softhsm_conf);
}

static bool may_serve(const struct pool_token *token)
{
    return token->state != POOL_TOKEN_PIN_REFUSED && token->state != POOL_TOKEN_OTHER_KEYS;
}

bool pool_token_startable(const struct keyd_pool *pool)
{
    return may_serve(&pool->tokens[pool->serving]);
}

/* --- who serves ------------------------------------------------------------------------------- */

/* Its channels are served by a successor; what is being answered is answered. */
static void let_leave(struct pool_process *process, int64_t now_ms)
{
    process->state = POOL_LEAVING;
    process->since_ms = now_ms;
    pool_process_let_go(process);
}

/* Of a token that still works the processes serve until their successors are ready. */
static void switch_to(struct keyd_pool *pool, unsigned token)
{
    const struct pool_token *old = &pool->tokens[pool->serving];
    const bool gone = old->state != POOL_TOKEN_WELL;
    const int64_t now = clock_monotonic_ms();

    if (gone)
        log_error(
            "HSM token %u serves instead of token %u: %s", token + 1, pool->serving + 1, old->why);
    else
        log_info("HSM token %u serves again", token + 1);
    pool->serving = token;
    pool->tokens[token].back_ms = now;
    metric_add(&pool->metrics[POOL_METRIC_TOKEN_CHANGES], 1);
    for (unsigned i = 0; i < pool->n_slots; i++) {
        struct pool_slot *slot = &pool->slots[i];

        if (slot->starting != NULL && slot->starting->token != token) {
            let_leave(slot->starting, now);
            slot->starting = NULL;
        }
        if (gone && slot->current != NULL && slot->current->token != token) {
            let_leave(slot->current, now);
            slot->current = NULL;
        }
        slot->retry_at_ms = 0;
        slot->backoff_ms = 0;
    }
    pool_wake(pool);
}

static void remember(struct pool_token *token, const char *why)
{
    (void)snprintf(token->why, sizeof(token->why), "%s", why);
}

/* Its tries go on; the log is told when something else is the matter. */
static void complain(struct keyd_pool *pool, unsigned index, const char *why)
{
    struct pool_token *token = &pool->tokens[index];

    if (strncmp(token->why, why, sizeof(token->why) - 1) == 0)
        return;
    remember(token, why);
    switch (token->state) {
    case POOL_TOKEN_OTHER_KEYS:
        log_error("HSM token %u does not hold the keys of token %u and must not serve: %s",
            index + 1, pool->keys_of + 1, why);
        break;
    case POOL_TOKEN_PIN_REFUSED:
        log_error("HSM token %u is not tried again: %s", index + 1, why);
        break;
    default:
        log_warn("HSM token %u does not work: %s", index + 1, why);
    }
}

static void make_unsteady(struct pool_token *token, int64_t now_ms)
{
    token->n_well = 0;
    token->n_late = 0;
    token->probe_at_ms = now_ms + PROBE_AWAY_MS;
    if (token->back_ms == 0 || now_ms - token->back_ms > STEADY_MS)
        token->n_wanted = BACK_PROBES;
    else if (token->n_wanted < BACK_PROBES_MAX)
        token->n_wanted *= 2;
    token->back_ms = 0;
}

bool pool_token_failed(
    struct keyd_pool *pool, unsigned index, enum pool_token_state state, const char *why)
{
    struct pool_token *token = &pool->tokens[index];
    const unsigned other = 1 - index;
    const bool was_well = token->state == POOL_TOKEN_WELL || token->state == POOL_TOKEN_UNTRIED;

    if (pool->n_tokens == 1)
        return false;
    if (was_well)
        make_unsteady(token, clock_monotonic_ms());
    token->n_well = 0;
    token->state = state;
    complain(pool, index, why);
    if (index == pool->serving && (pool->tokens[other].state == POOL_TOKEN_WELL ||
                                      pool->tokens[other].state == POOL_TOKEN_UNTRIED ||
                                      (!may_serve(token) && may_serve(&pool->tokens[other]))))
        switch_to(pool, other);
    return pool->serving != index;
}

static void become_well(struct keyd_pool *pool, unsigned index)
{
    struct pool_token *token = &pool->tokens[index];

    if (token->why[0] != '\0')
        log_info("HSM token %u works again", index + 1);
    token->why[0] = '\0';
    token->state = POOL_TOKEN_WELL;
}

/* --- keys ------------------------------------------------------------------------------------- */

/* The measure is what the token that served last showed. One that shows more is a token with a new
 * version of a key: where it serves, it is the measure from then on. */
static bool keys_agree(
    struct keyd_pool *pool, const struct pool_process *process, char why[static KEY_LIST_TEXT_MAX])
{
    enum key_list_order order;

    if (!process->said_keys) {
        (void)snprintf(why, KEY_LIST_TEXT_MAX, "its key process did not say which keys it holds");
        return false;
    }
    if (pool->keys.n == 0)
        return true;
    order = key_list_difference(&pool->keys, &process->keys, why);
    if (order == KEY_LIST_ANOTHER)
        return false;
    /* The operator may have taken an old version away from the token that is the measure. */
    return order != KEY_LIST_FEWER || process->token == pool->keys_of;
}

bool pool_token_accept(struct keyd_pool *pool, const struct pool_process *process)
{
    char why[KEY_LIST_TEXT_MAX] = "";

    if (pool->n_tokens == 1)
        return true;
    if (!keys_agree(pool, process, why)) {
        (void)pool_token_failed(pool, process->token, POOL_TOKEN_OTHER_KEYS, why);
        return false;
    }
    pool->keys = process->keys;
    pool->keys_of = process->token;
    become_well(pool, process->token);
    return process->token == pool->serving;
}

/* A version was retired in the one alone, or the other was restored from an old backup: then joins
 * under what it lacks are refused while it serves. */
static void tell_of_more(struct keyd_pool *pool, const struct pool_process *process)
{
    struct pool_token *token = &pool->tokens[process->token];
    char why[KEY_LIST_TEXT_MAX];
    const bool more = key_list_difference(&process->keys, &pool->keys, why) == KEY_LIST_FEWER;

    if (more && !token->shows_more)
        log_warn("HSM token %u has a key that token %u, which serves, has not: of that one, %s",
            process->token + 1, pool->keys_of + 1, why);
    token->shows_more = more;
}

/* --- probes ----------------------------------------------------------------------------------- */

void pool_token_probed(struct keyd_pool *pool, struct pool_process *process)
{
    const unsigned index = process->token;
    struct pool_token *token = &pool->tokens[index];
    const int64_t now = clock_monotonic_ms();
    char why[KEY_LIST_TEXT_MAX] = "";

    token->probe = NULL;
    let_leave(process, now);
    if (!keys_agree(pool, process, why)) {
        (void)pool_token_failed(pool, index, POOL_TOKEN_OTHER_KEYS, why);
        token->probe_at_ms = now + PROBE_WELL_MS;
        return;
    }
    if (index == pool->keys_of)
        pool->keys = process->keys;
    else
        tell_of_more(pool, process);
    become_well(pool, index);
    token->n_well++;
    token->probe_at_ms =
        now + (index == 0 && token->n_well < token->n_wanted ? PROBE_AWAY_MS : PROBE_WELL_MS);
    if (index != pool->serving && (pool->tokens[pool->serving].state != POOL_TOKEN_WELL ||
                                      (index == 0 && token->n_well >= token->n_wanted)))
        switch_to(pool, index);
}

static void start_probe(struct keyd_pool *pool, unsigned index)
{
    struct pool_token *token = &pool->tokens[index];
    const struct pool_process_options options = {
        .program = pool->program,
        .uri = token->uri,
        .lock_file = token->lock_file,
        .softhsm_conf = token->softhsm_conf,
        .socket = pool->socket,
        .host_user = pool->host_user,
        .token = index,
        .memory_mib = pool->max_memory_mib,
        .verbs = pool->verbs,
        .plain_keys = pool->plain_keys,
        .list_keys = true,
    };
    struct pool_process *process = NULL;

    token->probe_at_ms = clock_monotonic_ms() + PROBE_AWAY_MS;
    if (pool_process_start(&options, &process) < 0) {
        log_error("%s", error_text());
        return;
    }
    process->probe = true;
    process->token = index;
    process->generation = ++pool->generation;
    process->next = pool->processes;
    pool->processes = process;
    token->probe = process;
}

static bool wants_probe(const struct keyd_pool *pool, unsigned index)
{
    const struct pool_token *token = &pool->tokens[index];

    return !pool->closing && pool->proven && token->probe == NULL &&
           token->state != POOL_TOKEN_PIN_REFUSED;
}

int64_t pool_tokens_due(struct keyd_pool *pool, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (unsigned i = 0; pool->n_tokens > 1 && i < pool->n_tokens; i++) {
        if (!wants_probe(pool, i))
            continue;
        if (pool->tokens[i].probe_at_ms <= now_ms)
            start_probe(pool, i);
        if (wants_probe(pool, i) && pool->tokens[i].probe_at_ms < next)
            next = pool->tokens[i].probe_at_ms;
    }
    return next;
}

/* --- calls, and what is told ------------------------------------------------------------------ */

void pool_token_note_call(struct keyd_pool *pool, unsigned index, bool answered)
{
    struct pool_token *token = &pool->tokens[index];

    token->n_late = answered ? 0 : token->n_late + 1;
    if (token->n_late >= LATE_CALLS && token->state == POOL_TOKEN_WELL)
        (void)pool_token_failed(pool, index, POOL_TOKEN_AWAY, "it does not answer in time");
}

void pool_tokens_say(const struct keyd_pool *pool, char *out, size_t size)
{
    size_t len = 0;

    for (unsigned i = 0; i < pool->n_tokens && len < size; i++) {
        if (pool->tokens[i].why[0] != '\0')
            len += (size_t)snprintf(out + len, size - len, "%stoken %u: %.200s",
                len > 0 ? "; " : "", i + 1, pool->tokens[i].why);
    }
}

static const char *const token_labels[POOL_TOKENS_MAX] = {"token=\"1\"", "token=\"2\""};

static void write_gauge(struct keyd_pool *pool, struct text *out, const char *name,
    const char *help, bool (*is)(const struct keyd_pool *pool, unsigned index))
{
    struct metric rows[POOL_TOKENS_MAX];

    for (unsigned i = 0; i < pool->n_tokens; i++) {
        rows[i] = (struct metric){
            .name = name, .labels = token_labels[i], .help = help, .kind = METRIC_GAUGE};
        metric_set(&rows[i], is(pool, i));
    }
    metrics_write(out, rows, pool->n_tokens);
}

static bool is_serving(const struct keyd_pool *pool, unsigned index)
{
    for (unsigned i = 0; i < pool->n_slots; i++) {
        if (pool->slots[i].current != NULL && pool->slots[i].current->token == index)
            return true;
    }
    return false;
}

static bool is_up(const struct keyd_pool *pool, unsigned index)
{
    return pool->n_tokens == 1 ? is_serving(pool, index)
                               : pool->tokens[index].state == POOL_TOKEN_WELL;
}

static bool is_refused(const struct keyd_pool *pool, unsigned index)
{
    return !may_serve(&pool->tokens[index]) || (pool->n_tokens == 1 && pool->stop_code != 0);
}

void pool_tokens_metrics(struct keyd_pool *pool, struct text *out)
{
    write_gauge(pool, out, "cradle_hsm_token_serving",
        "Whether key processes on this HSM token answer now.", is_serving);
    write_gauge(pool, out, "cradle_hsm_token_up",
        "Whether this HSM token worked, with the right keys, when it was last tried.", is_up);
    write_gauge(pool, out, "cradle_hsm_token_refused",
        "Whether this HSM token must not serve: its keys are not the other's, or its PIN was "
        "refused.",
        is_refused);
}
