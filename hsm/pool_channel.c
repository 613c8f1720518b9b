/* Channels: taken for a call, given back, moved to a successor in between. */
#include "hsm/pool.h"

#include "base/clock.h"
#include <errno.h>

void pool_channel_move(struct keyd_pool *pool, struct keyd_channel *channel)
{
    struct pool_process *p = pool->slots[channel->slot].current;

    if (channel->in_call || p == NULL || p->generation == channel->generation ||
        p->generation <= channel->broken)
        return;
    if (channel->fd >= 0)
        (void)close(channel->fd);
    channel->fd = p->channels[channel->place];
    p->channels[channel->place] = -1;
    channel->generation = p->generation;
    channel->token = p->token;
}

static struct timespec at_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
}

static int take_locked(struct keyd_pool *pool, struct keyd_channel *channel, int64_t deadline_ms)
{
    const struct pool_slot *slot = &pool->slots[channel->slot];
    const struct timespec until = at_ms(deadline_ms);

    while (true) {
        const struct pool_process *p = slot->current;

        if (pool->closing)
            return error_set(ERROR_INTERNAL, "the key processes are being ended");
        if (p != NULL && p->generation > channel->broken) {
            pool_channel_move(pool, channel);
            channel->in_call = true;
            return 0;
        }
        if (p == NULL && pool->stop_code != 0)
            return error_set(pool->stop_code, "%s", pool->last_text);
        if (pthread_cond_timedwait(&pool->changed, &pool->lock, &until) != ETIMEDOUT)
            continue;
        if (slot->failed_starts > 0)
            return error_set(ERROR_HSM, "no key process is ready: %s", pool->last_text);
        return error_set(ERROR_DEADLINE, "no key process was ready in time");
    }
}

int pool_channel_take(struct keyd_channel *channel, int64_t deadline_ms)
{
    struct keyd_pool *pool = channel->pool;
    int r;

    (void)pthread_mutex_lock(&pool->lock);
    r = take_locked(pool, channel, deadline_ms);
    (void)pthread_mutex_unlock(&pool->lock);
    return r;
}

static struct pool_process *find_process(struct keyd_pool *pool, uint64_t generation)
{
    struct pool_process *p = pool->processes;

    while (p != NULL && p->generation != generation)
        p = p->next;
    return p;
}

static void note_wear(
    struct keyd_pool *pool, struct pool_process *process, const struct keyd_reply *reply)
{
    metric_add(&pool->metrics[POOL_METRIC_OPERATIONS], (int64_t)reply->n_items);
    /* Every item of every verb begins with its status. */
    if (process != NULL && reply->hashes[0].status != KEYD_HSM_FAILED)
        process->served = true;
    if (process == NULL || process->worn ||
        (reply->operations < pool->max_operations && reply->rss_kib / 1024 < pool->max_memory_mib))
        return;
    process->worn = true;
    pool_wake(pool);
}

void pool_channel_give(
    struct keyd_channel *channel, enum pool_call_end end, const struct keyd_reply *reply)
{
    struct keyd_pool *pool = channel->pool;
    struct pool_process *process;

    (void)pthread_mutex_lock(&pool->lock);
    channel->in_call = false;
    process = find_process(pool, channel->generation);
    if (end == POOL_CALL_OK) {
        note_wear(pool, process, reply);
        pool_token_note_call(pool, channel->token, true);
        pool_channel_move(pool, channel);
    } else {
        (void)close(channel->fd);
        channel->fd = -1;
        channel->broken = channel->generation;
        if (end == POOL_CALL_BROKEN)
            metric_add(&pool->metrics[POOL_METRIC_RESENDS], 1);
        else if (end == POOL_CALL_LATE)
            metric_add(&pool->metrics[POOL_METRIC_LATE], 1);
        if (end == POOL_CALL_LATE)
            pool_token_note_call(pool, channel->token, false);
        /* Also a broken one that still lives: this channel can be served by none but its
         * successor, which comes when it ends. */
        if (process != NULL)
            pool_process_kill(process);
    }
    (void)pthread_mutex_unlock(&pool->lock);
}

bool pool_channel_token_failed(struct keyd_channel *channel)
{
    struct keyd_pool *pool = channel->pool;
    bool again;

    (void)pthread_mutex_lock(&pool->lock);
    again = channel->token != pool->serving ||
            pool_token_failed(pool, channel->token, POOL_TOKEN_AWAY, "it failed an item");
    if (again) {
        channel->in_call = false;
        (void)close(channel->fd);
        channel->fd = -1;
        channel->broken = channel->generation;
        metric_add(&pool->metrics[POOL_METRIC_RESENDS], 1);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return again;
}
