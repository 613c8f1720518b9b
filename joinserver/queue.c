#include "joinserver/queue.h"

#include "base/clock.h"
#include "base/error.h"
#include "joinserver/share.h"
#include <pthread.h>
#include <stdlib.h>

#define WAKE_AT 16     /* requests waiting: worth another worker (docs/performance.md) */
#define STUCK_MS 10    /* more than a batch takes: whoever is awake may be stuck */
#define PACE_OF 1024   /* requests: the pace is an average over so many, the latest counting most */
#define PLACES_MIN 256 /* a peer's, whatever the pace: with them all workers are busy */
#define HANDS_BITS 14  /* of a DevEUI's hash. Two devices that meet there wait for each other */

/* What one peer has in the pool. */
struct lane {
    struct join_work *first, **last; /* waiting */
    unsigned n_taken;                /* waiting, or with whoever works on them */
    struct join_work **at;           /* while a batch is filled: what was not looked at yet */
    struct lane *next;               /* in the ring */
};

struct join_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct join_work *all_work, *free_work;
    unsigned n_work;
    unsigned n_taken; /* of it */
    struct lane lanes[JOIN_SHARES];
    struct lane *first,
        **last;       /* the ring: lanes in which work waits, in the order of their turns */
    unsigned n_lanes; /* in the ring */
    unsigned n_waiting;
    unsigned n_workers;
    unsigned n_asleep; /* of them, for want of work */
    unsigned n_woken;  /* told to look, and not there yet */
    int64_t pace_ns;   /* the time that a request takes while there is work; 0: not known yet */
    int64_t paced_us;  /* monotonic: until when that was looked at */
    int64_t max_wait_ns;
    bool closed;
    bool in_hand[1 << HANDS_BITS]; /* devices that a worker has, by their hash */
};

int join_queue_new(
    unsigned n_workers, unsigned n_work, unsigned max_wait_ms, struct join_queue **ret)
{
    struct join_queue *q = calloc(1, sizeof(*q));

    if (q == NULL || (q->all_work = calloc(n_work, sizeof(*q->all_work))) == NULL) {
        free(q);
        return error_set(ERROR_SYSTEM, "out of memory for %u waiting requests", n_work);
    }
    /* Initialisation cannot fail with default attributes on Linux. */
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->filled, NULL);
    q->n_workers = n_workers;
    q->n_work = n_work;
    q->paced_us = clock_monotonic_us();
    q->max_wait_ns = (int64_t)max_wait_ms * 1000000;
    q->last = &q->first;
    for (unsigned i = 0; i < JOIN_SHARES; i++)
        q->lanes[i].last = &q->lanes[i].first;
    for (unsigned i = 0; i < n_work; i++) {
        q->all_work[i].next = q->free_work;
        q->free_work = &q->all_work[i];
    }
    *ret = q;
    return 0;
}

void join_queue_free(struct join_queue *q)
{
    if (q == NULL)
        return;
    (void)pthread_cond_destroy(&q->filled);
    (void)pthread_mutex_destroy(&q->lock);
    free(q->all_work);
    free(q);
}

/* From here to the public functions below the caller holds the lock. */

static struct lane *lane_of(struct join_queue *q, const struct join_work *work)
{
    return &q->lanes[join_share_of(work->peer_id)];
}

/* Multiplicative hashing: DevEUIs of a batch differ in their low bits only. */
static bool *hand_of(struct join_queue *q, const struct join_work *work)
{
    uint64_t h = eui64_to_u64(&work->request.dev_eui) * UINT64_C(0x9E3779B97F4A7C15);

    return &q->in_hand[h >> (64 - HANDS_BITS)];
}

static void hold(struct join_queue *q, struct join_work *work, bool in_hand)
{
    *hand_of(q, work) = in_hand;
    work->in_hand = in_hand;
}

static void ring_add(struct join_queue *q, struct lane *lane)
{
    lane->next = NULL;
    *q->last = lane;
    q->last = &lane->next;
    q->n_lanes++;
}

static struct lane *ring_take(struct join_queue *q)
{
    struct lane *lane = q->first;

    q->first = lane->next;
    if (q->first == NULL)
        q->last = &q->first;
    q->n_lanes--;
    return lane;
}

static void lane_insert(
    struct join_queue *q, struct lane *lane, struct join_work **at, struct join_work *work)
{
    if (lane->first == NULL)
        ring_add(q, lane);
    work->next = *at;
    *at = work;
    if (work->next == NULL)
        lane->last = &work->next;
    q->n_waiting++;
}

/* Unlinks *at. */
static struct join_work *lane_remove(struct join_queue *q, struct lane *lane, struct join_work **at)
{
    struct join_work *work = *at;

    *at = work->next;
    if (work->next == NULL)
        lane->last = at;
    work->next = NULL;
    q->n_waiting--;
    return work;
}

/* The lane's next item whose device no worker has, or NULL. */
static struct join_work *lane_take(struct join_queue *q, struct lane *lane)
{
    while (*lane->at != NULL) {
        if (!*hand_of(q, *lane->at)) {
            struct join_work *work = lane_remove(q, lane, lane->at);

            hold(q, work, true);
            return work;
        }
        lane->at = &(*lane->at)->next;
    }
    return NULL;
}

/* One of each lane in turn. The next batch begins one lane further on than this one did: a lane
 * whose device another lane always gets first would else never have it. */
static size_t fill(struct join_queue *q, struct join_work **batch, size_t n_max)
{
    size_t n = 0;
    unsigned n_barren = 0; /* lanes in a row that had nothing to give */
    struct lane *second = q->first != NULL ? q->first->next : NULL;

    for (struct lane *lane = q->first; lane != NULL; lane = lane->next)
        lane->at = &lane->first;
    while (n < n_max && n_barren < q->n_lanes) {
        struct lane *lane = ring_take(q);
        struct join_work *work = lane_take(q, lane);

        if (lane->first != NULL)
            ring_add(q, lane);
        if (work != NULL)
            batch[n++] = work;
        n_barren = work != NULL ? 0 : n_barren + 1;
    }
    if (second != NULL && second->first != NULL)
        while (q->first != second)
            ring_add(q, ring_take(q));
    return n;
}

static bool none_awake(const struct join_queue *q)
{
    return q->n_asleep == q->n_workers;
}

static void wake_one(struct join_queue *q)
{
    if (q->n_asleep > 0) {
        q->n_asleep--;
        q->n_woken++;
        pthread_cond_signal(&q->filled);
    }
}

/* One worker is enough until WAKE_AT wait: few at a time make small batches, and those are dear. A
 * worker that is awake looks by itself before it sleeps. */
static void wake(struct join_queue *q)
{
    if (none_awake(q) || q->n_waiting >= WAKE_AT * (q->n_woken + 1))
        wake_one(q);
}

static void sleep_until_woken(struct join_queue *q)
{
    q->n_asleep++;
    while (q->n_woken == 0 && !q->closed)
        pthread_cond_wait(&q->filled, &q->lock);
    if (q->n_woken > 0)
        q->n_woken--;
}

/* `n` requests are done with, by whichever workers. */
static void keep_pace(struct join_queue *q, unsigned n)
{
    int64_t now_us = clock_monotonic_us();

    q->pace_ns = (q->pace_ns * (PACE_OF - n) + (now_us - q->paced_us) * 1000) / PACE_OF;
    q->paced_us = now_us;
}

/* Whether a request that comes now gets its turn in time. */
static bool is_in_time(const struct join_queue *q, const struct lane *lane)
{
    int64_t n_before = 0;

    if (lane->n_taken < PLACES_MIN || q->max_wait_ns == 0)
        return true;
    for (const struct lane *other = q->first; other != NULL; other = other->next)
        n_before += other->n_taken < lane->n_taken ? other->n_taken : lane->n_taken;
    return n_before * q->pace_ns <= q->max_wait_ns;
}

static bool has_place(const struct join_queue *q, const struct lane *lane)
{
    return join_share_allows(lane->n_taken, q->n_work - q->n_taken) && is_in_time(q, lane);
}

/* The public functions. */

bool join_queue_has_place(struct join_queue *q, int64_t peer_id)
{
    bool has;

    pthread_mutex_lock(&q->lock);
    has = has_place(q, &q->lanes[join_share_of(peer_id)]);
    pthread_mutex_unlock(&q->lock);
    return has;
}

struct join_work *join_work_take(struct join_queue *q, int64_t peer_id)
{
    struct join_work *work = NULL;
    struct lane *lane = &q->lanes[join_share_of(peer_id)];

    pthread_mutex_lock(&q->lock);
    if (has_place(q, lane))
        work = q->free_work;
    if (work != NULL) {
        q->free_work = work->next;
        lane->n_taken++;
        q->n_taken++;
        work->peer_id = peer_id;
        work->n_tries = 0;
        work->http = NULL;
        work->delivery = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    return work;
}

void join_work_give(struct join_queue *q, struct join_work *const *work, size_t n)
{
    unsigned n_worked = 0;

    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < n; i++) {
        if (work[i]->in_hand) {
            hold(q, work[i], false);
            n_worked++;
        }
        lane_of(q, work[i])->n_taken--;
        q->n_taken--;
        work[i]->next = q->free_work;
        q->free_work = work[i];
    }
    if (n_worked > 0)
        keep_pace(q, n_worked);
    pthread_mutex_unlock(&q->lock);
}

bool join_queue_put(struct join_queue *q, struct join_work *work)
{
    struct lane *lane = lane_of(q, work);
    bool open;

    work->queued_us = clock_monotonic_us();
    pthread_mutex_lock(&q->lock);
    open = !q->closed;
    if (open) {
        lane_insert(q, lane, lane->last, work);
        if (none_awake(q)) /* nobody worked until now */
            q->paced_us = work->queued_us;
        wake(q);
    }
    pthread_mutex_unlock(&q->lock);
    return open;
}

void join_queue_put_back(struct join_queue *q, struct join_work *work)
{
    struct lane *lane = lane_of(q, work);

    work->queued_us = clock_monotonic_us();
    pthread_mutex_lock(&q->lock);
    hold(q, work, false);
    lane_insert(q, lane, &lane->first, work);
    pthread_mutex_unlock(&q->lock);
}

size_t join_queue_take(struct join_queue *q, struct join_work **batch, size_t n_max)
{
    size_t n;

    pthread_mutex_lock(&q->lock);
    while ((n = fill(q, batch, n_max)) == 0 && !q->closed)
        sleep_until_woken(q);
    wake(q);
    pthread_mutex_unlock(&q->lock);
    return n;
}

struct join_work *join_queue_sweep(struct join_queue *q, int64_t now_ms)
{
    struct join_work *expired = NULL;
    bool stuck = false;

    pthread_mutex_lock(&q->lock);
    for (unsigned i = q->n_lanes; i > 0; i--) {
        struct lane *lane = ring_take(q);

        for (struct join_work **at = &lane->first; *at != NULL;) {
            if ((*at)->deadline_ms > now_ms) {
                stuck |= now_ms - (*at)->queued_us / 1000 >= STUCK_MS;
                at = &(*at)->next;
            } else {
                struct join_work *work = lane_remove(q, lane, at);

                work->next = expired;
                expired = work;
            }
        }
        if (lane->first != NULL)
            ring_add(q, lane);
    }
    if (stuck)
        wake_one(q);
    pthread_mutex_unlock(&q->lock);
    return expired;
}

void join_queue_close(struct join_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->filled);
    pthread_mutex_unlock(&q->lock);
}

unsigned join_queue_waiting(struct join_queue *q)
{
    unsigned n;

    pthread_mutex_lock(&q->lock);
    n = q->n_waiting;
    pthread_mutex_unlock(&q->lock);
    return n;
}
