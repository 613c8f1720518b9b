#include "joinserver/queue.h"

#include "base/clock.h"
#include "base/error.h"
#include "joinserver/share.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct join_work *first, **last;
    unsigned n;
    bool closed;
};

struct join_queues {
    pthread_mutex_t pool_lock;
    struct join_work *free_work;
    unsigned n_work;
    unsigned taken[JOIN_SHARES]; /* by peer */
    struct join_work *all_work;
    unsigned n_queues;
    struct queue queues[];
};

int join_queues_new(unsigned n_queues, unsigned n_work, struct join_queues **ret)
{
    struct join_queues *q = calloc(1, sizeof(*q) + n_queues * sizeof(q->queues[0]));

    if (q == NULL || (q->all_work = calloc(n_work, sizeof(*q->all_work))) == NULL) {
        free(q);
        return error_set(ERROR_SYSTEM, "out of memory for %u waiting requests", n_work);
    }
    /* Initialisation cannot fail with default attributes on Linux. */
    (void)pthread_mutex_init(&q->pool_lock, NULL);
    q->n_queues = n_queues;
    q->n_work = n_work;
    for (unsigned i = 0; i < n_queues; i++) {
        (void)pthread_mutex_init(&q->queues[i].lock, NULL);
        (void)pthread_cond_init(&q->queues[i].filled, NULL);
        q->queues[i].last = &q->queues[i].first;
    }
    for (unsigned i = 0; i < n_work; i++) {
        q->all_work[i].next = q->free_work;
        q->free_work = &q->all_work[i];
    }
    *ret = q;
    return 0;
}

void join_queues_free(struct join_queues *q)
{
    if (q == NULL)
        return;
    for (unsigned i = 0; i < q->n_queues; i++) {
        (void)pthread_cond_destroy(&q->queues[i].filled);
        (void)pthread_mutex_destroy(&q->queues[i].lock);
    }
    (void)pthread_mutex_destroy(&q->pool_lock);
    free(q->all_work);
    free(q);
}

static unsigned *share_of(struct join_queues *q, int64_t peer_id)
{
    return &q->taken[join_share_of(peer_id)];
}

struct join_work *join_work_take(struct join_queues *q, int64_t peer_id)
{
    struct join_work *work = NULL;
    unsigned *taken = share_of(q, peer_id);

    pthread_mutex_lock(&q->pool_lock);
    if (join_share_allows(*taken, q->n_work))
        work = q->free_work;
    if (work != NULL) {
        q->free_work = work->next;
        (*taken)++;
        work->peer_id = peer_id;
        work->n_tries = 0;
        work->http = NULL;
        work->delivery = NULL;
    }
    pthread_mutex_unlock(&q->pool_lock);
    return work;
}

void join_work_give(struct join_queues *q, struct join_work *work)
{
    pthread_mutex_lock(&q->pool_lock);
    (*share_of(q, work->peer_id))--;
    work->next = q->free_work;
    q->free_work = work;
    pthread_mutex_unlock(&q->pool_lock);
}

/* Multiplicative hashing: DevEUIs of a batch differ in their low bits only. */
static unsigned queue_of(const struct join_queues *q, const struct eui64 *dev_eui)
{
    uint64_t h = eui64_to_u64(dev_eui) * UINT64_C(0x9E3779B97F4A7C15);

    return (unsigned)((h >> 33) % q->n_queues);
}

bool join_queue_put(struct join_queues *q, struct join_work *work)
{
    struct queue *queue = &q->queues[queue_of(q, &work->request.dev_eui)];
    bool open;

    work->next = NULL;
    work->queued_us = clock_monotonic_us();
    pthread_mutex_lock(&queue->lock);
    open = !queue->closed;
    if (open) {
        *queue->last = work;
        queue->last = &work->next;
        queue->n++;
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return open;
}

void join_queue_put_back(struct join_queues *q, unsigned index, struct join_work *work)
{
    struct queue *queue = &q->queues[index];

    work->queued_us = clock_monotonic_us();
    pthread_mutex_lock(&queue->lock);
    work->next = queue->first;
    if (queue->first == NULL)
        queue->last = &work->next;
    queue->first = work;
    queue->n++;
    pthread_mutex_unlock(&queue->lock);
}

static bool holds_device(struct join_work *const *batch, size_t n, const struct eui64 *dev_eui)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&batch[i]->request.dev_eui, dev_eui, sizeof(*dev_eui)) == 0)
            return true;
    return false;
}

/* Unlinks *at; the caller holds the lock. */
static struct join_work *unlink_work(struct queue *queue, struct join_work **at)
{
    struct join_work *work = *at;

    *at = work->next;
    if (work->next == NULL)
        queue->last = at;
    work->next = NULL;
    queue->n--;
    return work;
}

size_t join_queue_take(
    struct join_queues *q, unsigned index, struct join_work **batch, size_t n_max)
{
    struct queue *queue = &q->queues[index];
    size_t n = 0;

    pthread_mutex_lock(&queue->lock);
    while (queue->first == NULL && !queue->closed)
        pthread_cond_wait(&queue->filled, &queue->lock);
    for (struct join_work **at = &queue->first; *at != NULL && n < n_max;) {
        if (holds_device(batch, n, &(*at)->request.dev_eui))
            at = &(*at)->next;
        else
            batch[n++] = unlink_work(queue, at);
    }
    pthread_mutex_unlock(&queue->lock);
    return n;
}

struct join_work *join_queue_take_expired(struct join_queues *q, int64_t now_ms)
{
    struct join_work *expired = NULL;

    for (unsigned i = 0; i < q->n_queues; i++) {
        struct queue *queue = &q->queues[i];

        pthread_mutex_lock(&queue->lock);
        for (struct join_work **at = &queue->first; *at != NULL;) {
            if ((*at)->deadline_ms > now_ms) {
                at = &(*at)->next;
            } else {
                struct join_work *work = unlink_work(queue, at);

                work->next = expired;
                expired = work;
            }
        }
        pthread_mutex_unlock(&queue->lock);
    }
    return expired;
}

void join_queues_close(struct join_queues *q)
{
    for (unsigned i = 0; i < q->n_queues; i++) {
        pthread_mutex_lock(&q->queues[i].lock);
        q->queues[i].closed = true;
        pthread_cond_broadcast(&q->queues[i].filled);
        pthread_mutex_unlock(&q->queues[i].lock);
    }
}

unsigned join_queues_waiting(struct join_queues *q)
{
    unsigned n = 0;

    for (unsigned i = 0; i < q->n_queues; i++) {
        pthread_mutex_lock(&q->queues[i].lock);
        n += q->queues[i].n;
        pthread_mutex_unlock(&q->queues[i].lock);
    }
    return n;
}
