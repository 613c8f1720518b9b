#include "joinserver/refusals.h"

#include <pthread.h>
#include <stdlib.h>

struct join_refusals {
    pthread_mutex_t lock;
    size_t first, n;
    struct db_join_refusal ring[REFUSALS_MAX];
    struct db_join_refusal writing[REFUSALS_PER_WRITE]; /* the keeper's own */
};

int join_refusals_new(struct join_refusals **ret)
{
    struct join_refusals *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the ring of refusals");
    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail with default attributes on Linux */
    *ret = r;
    return 0;
}

void join_refusals_free(struct join_refusals *refusals)
{
    if (refusals == NULL)
        return;
    (void)pthread_mutex_destroy(&refusals->lock);
    free(refusals);
}

bool join_refusals_add(struct join_refusals *refusals, const struct db_join_refusal *refusal)
{
    bool room;

    pthread_mutex_lock(&refusals->lock);
    room = refusals->n < REFUSALS_MAX;
    if (room)
        refusals->ring[(refusals->first + refusals->n++) % REFUSALS_MAX] = *refusal;
    pthread_mutex_unlock(&refusals->lock);
    return room;
}

int join_refusals_write(struct join_refusals *refusals, struct db *db)
{
    size_t n;
    int r;

    pthread_mutex_lock(&refusals->lock);
    n = refusals->n < REFUSALS_PER_WRITE ? refusals->n : REFUSALS_PER_WRITE;
    for (size_t i = 0; i < n; i++)
        refusals->writing[i] = refusals->ring[(refusals->first + i) % REFUSALS_MAX];
    pthread_mutex_unlock(&refusals->lock);
    if (n == 0)
        return 0;
    /* Only the keeper removes, so what was copied is still the front of the ring. */
    if ((r = db_join_refusals(db, refusals->writing, n)) < 0)
        return r;
    pthread_mutex_lock(&refusals->lock);
    refusals->first = (refusals->first + n) % REFUSALS_MAX;
    refusals->n -= n;
    pthread_mutex_unlock(&refusals->lock);
    return (int)n;
}
