#include "joinserver/roaming_refusals.h"

#include "base/error.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PROBES 16 /* places that an entry may stand in, from that of its hash on */
#define HASH_PRIME 0x100000001B3U
#define HASH_SPREAD 0x9E3779B97F4A7C15U
_Static_assert((ROAMING_REFUSALS_MAX & (ROAMING_REFUSALS_MAX - 1)) == 0, "a power of two");

/* Each has its own, so that a flood of one side leaves the other's room alone. */
struct side {
    size_t n;                                                         /* places that are taken */
    struct db_roaming_refused table[ROAMING_REFUSALS_MAX];            /* n 0: free */
    struct db_roaming_refused writing[DB_ROAMING_REFUSALS_PER_WRITE]; /* the keeper's own */
    size_t n_writing;
};

struct roaming_refusals {
    pthread_mutex_t lock;
    struct side sides[N_ROAMING_SIDES];
};

static int (*const add_rows[N_ROAMING_SIDES])(
    struct db *db, const struct db_roaming_refused *refused, size_t n) = {
    [ROAMING_HOME] = db_roaming_refused_add,
    [ROAMING_CARRIED] = db_roaming_carried_add,
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

static bool is_carried_alike(const struct db_roaming_carried *a, const struct db_roaming_carried *b)
{
    return a->partner_id == b->partner_id && a->join_prefix_len == b->join_prefix_len &&
           memcmp(&a->join_prefix, &b->join_prefix, sizeof(a->join_prefix)) == 0 &&
           strcmp(a->sender, b->sender) == 0 && strcmp(a->message_type, b->message_type) == 0 &&
           strcmp(a->outcome, b->outcome) == 0 && strcmp(a->result_code, b->result_code) == 0;
}

/* Of one side. */
static bool is_alike(const struct db_roaming_refused *a, const struct db_roaming_refused *b)
{
    return memcmp(&a->dev_eui, &b->dev_eui, sizeof(a->dev_eui)) == 0 &&
           memcmp(&a->sender, &b->sender, sizeof(a->sender)) == 0 &&
           memcmp(&a->home, &b->home, sizeof(a->home)) == 0 &&
           a->ownership_epoch == b->ownership_epoch && a->what == b->what &&
           a->reason == b->reason && is_carried_alike(&a->carried, &b->carried);
}

static uint64_t add_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * HASH_PRIME;
    return hash;
}

static size_t place_of(const struct db_roaming_refused *refused)
{
    const struct db_roaming_carried *c = &refused->carried;
    uint64_t v = eui64_to_u64(&refused->dev_eui) ^ eui64_to_u64(&c->join_prefix);

    v = add_text(v ^ (uint64_t)c->partner_id << 32, c->sender);
    v = add_text(add_text(v, c->message_type), c->outcome);
    v = add_text(v, c->result_code) * HASH_SPREAD;
    return (size_t)(v >> 32) & (ROAMING_REFUSALS_MAX - 1);
}

/* Its own place or a free one; NULL without room. With the lock. */
static struct db_roaming_refused *find_place(
    struct side *side, const struct db_roaming_refused *refused)
{
    struct db_roaming_refused *free_one = NULL;
    size_t at = place_of(refused);

    for (size_t i = 0; i < PROBES; i++) {
        struct db_roaming_refused *e = &side->table[(at + i) & (ROAMING_REFUSALS_MAX - 1)];

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
    struct side *side = &refusals->sides[refused->side];
    struct db_roaming_refused *e;

    pthread_mutex_lock(&refusals->lock);
    e = find_place(side, refused);
    if (e != NULL && e->n == 0) {
        *e = *refused;
        side->n++;
    } else if (e != NULL && e->n < UINT32_MAX) {
        e->n++;
        e->last_ms = refused->last_ms;
    }
    pthread_mutex_unlock(&refusals->lock);
    return e != NULL;
}

static void take(struct roaming_refusals *refusals, struct side *side)
{
    pthread_mutex_lock(&refusals->lock);
    for (size_t i = 0;
         i < ROAMING_REFUSALS_MAX && side->n > 0 && side->n_writing < DB_ROAMING_REFUSALS_PER_WRITE;
         i++)
        if (side->table[i].n > 0) {
            side->writing[side->n_writing++] = side->table[i];
            side->table[i].n = 0;
            side->n--;
        }
    pthread_mutex_unlock(&refusals->lock);
}

int roaming_refusals_write(struct roaming_refusals *refusals, struct db *db)
{
    size_t n = 0;
    int r;

    for (size_t i = 0; i < N_ROAMING_SIDES; i++) {
        struct side *side = &refusals->sides[i];

        /* What could not be written before waits here still. */
        if (side->n_writing == 0)
            take(refusals, side);
        if (side->n_writing == 0)
            continue;
        if ((r = add_rows[i](db, side->writing, side->n_writing)) < 0)
            return r;
        n += side->n_writing;
        side->n_writing = 0;
    }
    return (int)n;
}
