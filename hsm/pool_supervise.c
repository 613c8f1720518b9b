/* The supervisor: the one thread that starts key processes, sees them end and replaces them. */
#include "hsm/pool.h"

#include "base/clock.h"
#include "base/log.h"
#include <poll.h>
#include <string.h>
#include <sys/wait.h>

#define START_TIMEOUT_MS 30000        /* a keyd waiting for a start lock that nobody gives back */
#define START_TIMEOUT_OF_TWO_MS 10000 /* where another token could serve meanwhile */
#define LEAVE_TIMEOUT_MS 60000        /* longer than any call */
#define BACKOFF_FIRST_MS 10
#define BACKOFF_MAX_MS 1000
#define BACKOFF_FORGET_MS 1000 /* who lived so long may be followed at once */

/* --- starting and ending ---------------------------------------------------------------------- */

static void remember_error(struct keyd_pool *pool, int code, const char *text)
{
    size_t len = strnlen(text, sizeof(pool->last_text) - 1);

    pool->last_error = code;
    memcpy(pool->last_text, text, len);
    pool->last_text[len] = '\0';
}

static void hold_back(struct pool_slot *slot)
{
    slot->retry_at_ms = clock_monotonic_ms() + slot->backoff_ms;
    slot->backoff_ms = slot->backoff_ms == 0 ? BACKOFF_FIRST_MS : slot->backoff_ms * 2;
    if (slot->backoff_ms > BACKOFF_MAX_MS)
        slot->backoff_ms = BACKOFF_MAX_MS;
}

static bool wants_start(const struct keyd_pool *pool, unsigned index)
{
    const struct pool_slot *slot = &pool->slots[index];

    if (pool->closing || pool->stop_code != 0 || slot->starting != NULL ||
        !pool_token_startable(pool))
        return false;
    if (slot->current != NULL && !slot->current->worn && slot->current->token == pool->serving)
        return false;
    /* A wrong PIN must cost one attempt, not one a process: the first goes alone. */
    if (!pool->proven && (index > 0 || slot->failed_starts > 0))
        return false;
    return true;
}

static void start_one(struct keyd_pool *pool, unsigned index)
{
    struct pool_slot *slot = &pool->slots[index];
    const struct pool_token *token = &pool->tokens[pool->serving];
    const struct pool_process_options options = {
        .program = pool->program,
        .uri = token->uri,
        .lock_file = token->lock_file,
        .softhsm_conf = token->softhsm_conf,
        .socket = pool->socket,
        .host_user = pool->host_user,
        .token = pool->serving,
        .n_channels = slot->n_channels,
        .memory_mib = pool->max_memory_mib,
        .verbs = pool->verbs,
        .plain_keys = pool->plain_keys,
        .list_keys = pool->n_tokens > 1,
    };
    struct pool_process *process = NULL;
    int r = pool_process_start(&options, &process);

    if (r < 0) {
        remember_error(pool, r, error_text());
        log_error("%s", error_text());
        slot->failed_starts++;
        hold_back(slot);
        (void)pthread_cond_broadcast(&pool->changed);
        return;
    }
    process->slot = index;
    process->token = pool->serving;
    process->generation = ++pool->generation;
    process->next = pool->processes;
    pool->processes = process;
    slot->starting = process;
    metric_add(&pool->metrics[POOL_METRIC_STARTS], 1);
}

/* Its token must not serve, or not any more. */
static void turn_away(struct keyd_pool *pool, struct pool_process *process)
{
    struct pool_slot *slot = &pool->slots[process->slot];

    process->state = POOL_LEAVING;
    process->since_ms = clock_monotonic_ms();
    pool_process_let_go(process);
    if (slot->starting != process)
        return; /* another token serves: its own is being started */
    slot->starting = NULL;
    slot->failed_starts++;
    remember_error(pool, ERROR_CONFIG, pool->tokens[process->token].why);
    hold_back(slot);
    (void)pthread_cond_broadcast(&pool->changed);
}

static void become_ready(struct keyd_pool *pool, struct pool_process *process)
{
    struct pool_slot *slot = &pool->slots[process->slot];
    struct pool_process *old = slot->current;

    if (!pool_token_accept(pool, process)) {
        turn_away(pool, process);
        return;
    }
    process->state = POOL_READY;
    process->since_ms = clock_monotonic_ms();
    slot->starting = NULL;
    slot->current = process;
    slot->failed_starts = 0;
    if (!pool->proven) {
        memcpy(pool->describe, process->hello.text, sizeof(pool->describe));
        pool->proven = true;
    }
    if (old != NULL) {
        old->state = POOL_LEAVING;
        old->since_ms = process->since_ms;
        pool_process_let_go(old);
        metric_add(&pool->metrics[POOL_METRIC_RECYCLES], 1);
    }
    for (unsigned i = 0; i < pool->n_channels; i++) {
        if (pool->channels[i]->slot == process->slot)
            pool_channel_move(pool, pool->channels[i]);
    }
    (void)pthread_cond_broadcast(&pool->changed);
}

static int code_of_exit(int status)
{
    if (!WIFEXITED(status))
        return ERROR_HSM;
    switch (WEXITSTATUS(status)) {
    case KEYD_EXIT_PIN:
        return ERROR_PIN;
    case KEYD_EXIT_CONFIG:
        return ERROR_CONFIG;
    default:
        return ERROR_HSM;
    }
}

static const char *last_words(const struct pool_process *process)
{
    return process->said_hello ? process->hello.text : "the key process ended before it was ready";
}

/* What the end of a process says of its token. Returns whether another one serves now. */
static bool note_end_of_token(struct keyd_pool *pool, const struct pool_process *process, int code)
{
    if (pool->closing)
        return false;
    return pool_token_failed(pool, process->token,
        code == ERROR_PIN ? POOL_TOKEN_PIN_REFUSED : POOL_TOKEN_AWAY, last_words(process));
}

static bool all_refuse_the_pin(const struct keyd_pool *pool)
{
    for (unsigned i = 0; pool->n_tokens > 1 && i < pool->n_tokens; i++) {
        if (pool->tokens[i].state != POOL_TOKEN_PIN_REFUSED)
            return false;
    }
    return true;
}

static void note_failed_start(struct keyd_pool *pool, struct pool_process *process, int code)
{
    struct pool_slot *slot = &pool->slots[process->slot];

    slot->starting = NULL;
    if (note_end_of_token(pool, process, code))
        return; /* begun anew on the other */
    slot->failed_starts++;
    remember_error(pool, code, last_words(process));
    if (pool->n_tokens > 1)
        pool_tokens_say(pool, pool->last_text, sizeof(pool->last_text));
    hold_back(slot);
}

static void note_end_of_probe(struct keyd_pool *pool, const struct pool_process *process, int code)
{
    struct pool_token *token = &pool->tokens[process->token];

    if (token->probe != process)
        return; /* it had said that all is well */
    token->probe = NULL;
    token->probe_at_ms = clock_monotonic_ms() + BACKOFF_MAX_MS;
    (void)note_end_of_token(pool, process, code);
}

static void note_end(struct keyd_pool *pool, struct pool_process *process, int status)
{
    struct pool_slot *slot = &pool->slots[process->slot];
    const int code = code_of_exit(status);
    const bool expected = process->state == POOL_LEAVING || pool->closing;

    if (process->probe) {
        note_end_of_probe(pool, process, code);
        return;
    }

    if (slot->current == process) {
        slot->current = NULL;
        if (process->served || clock_monotonic_ms() - process->since_ms >= BACKOFF_FORGET_MS)
            slot->backoff_ms = 0;
        hold_back(slot);
        if (WIFEXITED(status) && WEXITSTATUS(status) == KEYD_EXIT_TOKEN_LOST)
            (void)pool_token_failed(
                pool, process->token, POOL_TOKEN_AWAY, "it went away under its key process");
    }
    if (slot->starting == process)
        note_failed_start(pool, process, code);
    if (code == ERROR_PIN && all_refuse_the_pin(pool)) {
        pool->stop_code = ERROR_PIN;
        log_error("the HSM refused the PIN: no key process will be started again");
    }
    if (expected && status == 0)
        return;
    pool->last_end = status;
    metric_add(&pool->metrics[POOL_METRIC_DEATHS], 1);
    if (WIFSIGNALED(status))
        log_warn("cradle-keyd %d was ended by signal %d", (int)process->pid, WTERMSIG(status));
    else
        log_warn("cradle-keyd %d ended with status %d", (int)process->pid, WEXITSTATUS(status));
}

static void listen_to(struct keyd_pool *pool, struct pool_process *process)
{
    pool_process_listen(process);
    if (process->host_tokens > 0)
        pool_tokens_are(pool, process->host_tokens);
    process->host_tokens = 0;
}

static void reap(struct keyd_pool *pool, struct pool_process *process)
{
    struct pool_process **link = &pool->processes;
    int status;

    listen_to(pool, process);
    status = pool_process_reap(process);
    note_end(pool, process, status);
    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    pool_process_free(process);
    (void)pthread_cond_broadcast(&pool->changed);
}

/* --- the supervisor --------------------------------------------------------------------------- */

static int64_t state_limit_ms(const struct keyd_pool *pool, const struct pool_process *p)
{
    switch (p->state) {
    case POOL_STARTING:
        return p->since_ms + (pool->n_tokens > 1 ? START_TIMEOUT_OF_TWO_MS : START_TIMEOUT_MS);
    case POOL_LEAVING:
        return p->since_ms + LEAVE_TIMEOUT_MS;
    default:
        return INT64_MAX;
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Does what is due and returns when the next thing is. */
static int64_t do_what_is_due(struct keyd_pool *pool)
{
    int64_t now = clock_monotonic_ms(), next = pool_tokens_due(pool, now);

    for (unsigned i = 0; i < pool->n_slots; i++) {
        if (!wants_start(pool, i))
            continue;
        if (pool->slots[i].retry_at_ms <= now)
            start_one(pool, i);
        if (wants_start(pool, i))
            next = earlier(next, pool->slots[i].retry_at_ms);
    }
    for (struct pool_process *p = pool->processes; p != NULL; p = p->next) {
        int64_t limit = state_limit_ms(pool, p);

        if (pool->closing)
            limit = earlier(limit, pool->close_by_ms);
        if (limit <= now) {
            pool_process_kill(p);
            continue; /* its end wakes us */
        }
        next = earlier(next, limit);
    }
    return next;
}

static int poll_timeout(int64_t at_ms)
{
    int64_t left;

    if (at_ms == INT64_MAX)
        return -1;
    left = at_ms - clock_monotonic_ms();
    return left < 0 ? 0 : (int)earlier(left, START_TIMEOUT_MS);
}

/* Sleeps without the lock until something happens, then handles it. */
static void wait_and_handle(struct keyd_pool *pool, int64_t next_ms)
{
    CLEANUP(cleanup_free) struct pollfd *polls = NULL;
    nfds_t n = 1, at = 1;
    uint64_t ignored;

    for (struct pool_process *p = pool->processes; p != NULL; p = p->next)
        n += 2;
    polls = calloc(n, sizeof(*polls));
    if (polls == NULL) { /* nothing to wait on: come back a little later */
        (void)pthread_mutex_unlock(&pool->lock);
        (void)poll(NULL, 0, BACKOFF_FIRST_MS);
        (void)pthread_mutex_lock(&pool->lock);
        return;
    }
    polls[0] = (struct pollfd){.fd = pool->wake, .events = POLLIN};
    for (struct pool_process *p = pool->processes; p != NULL; p = p->next) {
        polls[at++] = (struct pollfd){.fd = p->pidfd, .events = POLLIN};
        polls[at++] =
            (struct pollfd){.fd = p->state == POOL_STARTING ? p->control : -1, .events = POLLIN};
    }
    (void)pthread_mutex_unlock(&pool->lock);
    (void)poll(polls, n, poll_timeout(next_ms));
    (void)pthread_mutex_lock(&pool->lock);
    if (polls[0].revents != 0)
        (void)!read(pool->wake, &ignored, sizeof(ignored));
    /* Only this thread changes the list, so it is the one the table was made from. */
    at = 1;
    for (struct pool_process *p = pool->processes, *following; p != NULL; p = following) {
        following = p->next;
        if (polls[at + 1].revents != 0 && p->state == POOL_STARTING) {
            listen_to(pool, p);
            if (p->said_hello && p->hello.state == KEYD_EXIT_OK && p->probe)
                pool_token_probed(pool, p);
            else if (p->said_hello && p->hello.state == KEYD_EXIT_OK)
                become_ready(pool, p);
        }
        if (polls[at].revents != 0)
            reap(pool, p);
        at += 2;
    }
}

void *pool_supervise(void *context)
{
    struct keyd_pool *pool = context;
    bool said_closing = false;

    (void)pthread_mutex_lock(&pool->lock);
    while (!pool->closing || pool->processes != NULL) {
        if (pool->closing && !said_closing) {
            for (struct pool_process *p = pool->processes; p != NULL; p = p->next)
                pool_process_let_go(p);
            said_closing = true;
        }
        wait_and_handle(pool, do_what_is_due(pool));
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}
