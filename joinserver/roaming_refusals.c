#include "joinserver/roaming_refusals.h"

#include "base/error.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PROBES 16 /* places that an entry may stand in, from that of its hash on */
_Static_assert((ROAMING_REFUSALS_MAX & (ROAMING_REFUSALS_MAX - 1)) == 0, "a power of two");

struct roaming_refusals {
    pthread_mutex_t lock;
    size_t n;                                                         /* places that are taken */
    struct db_roaming_refused table[ROAMING_REFUSALS_MAX];            /* n 0: free */
    struct db_roaming_refused writing[DB_ROAMING_REFUSALS_PER_WRITE]; /* the keeper's own */
    size_t n_writing;
};

int roaming_refusals_new(struct roaming_refusals **ret)
{
    struct roaming_refusals *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the table of refusals");
    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail with default attributes on Linux */
    *ret = r;
    return 0;
}

void roaming_refusals_free(struct roaming_refusals *refusals)
{
    if (refusals == NULL)
        return;
    (void)pthread_mutex_destroy(&refusals->lock);
    free(refusals);
}

bool roaming_reason_of(enum device_refusal refusal, enum db_roaming_reason *ret)
{
    static const struct {
        enum device_refusal refusal;
        enum db_roaming_reason reason;
    } reasons[N_ROAMING_REASONS] = {
        {REFUSAL_NOT_HOME, ROAMING_NO_AGREEMENT},
        {REFUSAL_AGREEMENT_ENDED, ROAMING_ENDED},
        {REFUSAL_AGREEMENT_NOT_BEGUN, ROAMING_NOT_BEGUN},
        {REFUSAL_AGREEMENT_ELSE, ROAMING_NOT_ALLOWED},
        {REFUSAL_ROAMING_NARROWED, ROAMING_NARROWED},
    };

    for (size_t i = 0; i < N_ROAMING_REASONS; i++)
        if (reasons[i].refusal == refusal) {
            *ret = reasons[i].reason;
            return true;
        }
    return false;
}

static bool is_alike(const struct db_roaming_refused *a, const struct db_roaming_refused *b)
{
    return memcmp(&a->dev_eui, &b->dev_eui, sizeof(a->dev_eui)) == 0 &&
           memcmp(&a->sender, &b->sender, sizeof(a->sender)) == 0 &&
           memcmp(&a->home, &b->home, sizeof(a->home)) == 0 &&
           a->ownership_epoch == b->ownership_epoch && a->what == b->what && a->reason == b->reason;
}

static size_t place_of(const struct eui64 *dev_eui)
{
    uint64_t v = eui64_to_u64(dev_eui) * 0x9E3779B97F4A7C15U;

    return (size_t)(v >> 32) & (ROAMING_REFUSALS_MAX - 1);
}

/* Its own place or a free one; NULL without room. With the lock. */
static struct db_roaming_refused *find_place(
    struct roaming_refusals *refusals, const struct db_roaming_refused *refused)
{
    struct db_roaming_refused *free_one = NULL;
    size_t at = place_of(&refused->dev_eui);

    for (size_t i = 0; i < PROBES; i++) {
        struct db_roaming_refused *e = &refusals->table[(at + i) & (ROAMING_REFUSALS_MAX - 1)];

        if (e->n > 0 && is_alike(e, refused))
            return e;
        if (e->n == 0 && free_one == NULL)
            free_one = e;
    }
    return free_one;
}

bool roaming_refusals_add(
    struct roaming_refusals *refusals, const struct db_roaming_refused *refused)
{
    struct db_roaming_refused *e;

    pthread_mutex_lock(&refusals->lock);
    e = find_place(refusals, refused);
    if (e != NULL && e->n == 0) {
        *e = *refused;
        refusals->n++;
    } else if (e != NULL && e->n < UINT32_MAX) {
        e->n++;
        e->last_ms = refused->last_ms;
    }
    pthread_mutex_unlock(&refusals->lock);
    return e != NULL;
}

static void take(struct roaming_refusals *refusals)
{
    pthread_mutex_lock(&refusals->lock);
    for (size_t i = 0; i < ROAMING_REFUSALS_MAX && refusals->n > 0 &&
                       refusals->n_writing < DB_ROAMING_REFUSALS_PER_WRITE;
         i++)
        if (refusals->table[i].n > 0) {
            refusals->writing[refusals->n_writing++] = refusals->table[i];
            refusals->table[i].n = 0;
            refusals->n--;
        }
    pthread_mutex_unlock(&refusals->lock);
}

int roaming_refusals_write(struct roaming_refusals *refusals, struct db *db)
{
    size_t n;
    int r;

    /* What could not be written before waits here still. */
    if (refusals->n_writing == 0)
        take(refusals);
    n = refusals->n_writing;
    if (n == 0)
        return 0;
    if ((r = db_roaming_refused_add(db, refusals->writing, n)) < 0)
        return r;
    refusals->n_writing = 0;
    return (int)n;
}
