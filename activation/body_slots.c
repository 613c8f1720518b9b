#include "activation/body_slots.h"

/* No organization can be kept out by another one alone, nor by strangers. */
_Static_assert(ACT_BIG_BODIES_PER_ORGANIZATION < ACT_BIG_BODIES_MAX - ACT_BIG_BODIES_UNKNOWN,
    "one organization may take every place of the known ones");
_Static_assert(ACT_WATCHES_PER_ORGANIZATION < ACT_WATCHES_MAX - ACT_WATCHES_UNKNOWN,
    "one organization may take every place of the known ones");
_Static_assert(ACT_BIG_BODIES_MAX <= ACT_SLOTS_MAX, "there is no room for all places");

void act_body_slots_init(struct act_body_slots *slots)
{
    *slots = (struct act_body_slots){.n_slots = ACT_BIG_BODIES_MAX,
        .n_unknown_max = ACT_BIG_BODIES_UNKNOWN,
        .n_per_organization_max = ACT_BIG_BODIES_PER_ORGANIZATION};
    (void)pthread_mutex_init(&slots->lock, NULL); /* cannot fail with default attributes on Linux */
}

void act_watch_slots_init(struct act_body_slots *slots)
{
    *slots = (struct act_body_slots){.n_slots = ACT_WATCHES_MAX,
        .n_unknown_max = ACT_WATCHES_UNKNOWN,
        .n_per_organization_max = ACT_WATCHES_PER_ORGANIZATION};
    (void)pthread_mutex_init(&slots->lock, NULL);
}

/* The caller holds the lock. */
static struct act_body_slot *find_place(struct act_body_slots *slots, int64_t organization_id)
{
    struct act_body_slot *free_slot = NULL;
    size_t n_known = 0, n_unknown = 0, n_own = 0;
    bool full;

    for (size_t i = 0; i < slots->n_slots; i++) {
        struct act_body_slot *slot = &slots->slots[i];

        if (!slot->taken)
            free_slot = slot;
        else if (slot->organization_id == 0)
            n_unknown++;
        else {
            n_known++;
            n_own += slot->organization_id == organization_id;
        }
    }
    if (organization_id == 0)
        full = n_unknown >= slots->n_unknown_max;
    else
        full = n_known >= slots->n_slots - slots->n_unknown_max ||
               n_own >= slots->n_per_organization_max;
    return full ? NULL : free_slot;
}

struct act_body_slot *act_body_slot_take(struct act_body_slots *slots, int64_t organization_id)
{
    struct act_body_slot *slot;

    (void)pthread_mutex_lock(&slots->lock);
    slot = find_place(slots, organization_id);
    if (slot != NULL)
        *slot =
            (struct act_body_slot){.taken = true, .organization_id = organization_id, .all = slots};
    (void)pthread_mutex_unlock(&slots->lock);
    return slot;
}

void act_body_slot_leave(void *data)
{
    struct act_body_slot *slot = data;
    struct act_body_slots *slots = slot->all;

    (void)pthread_mutex_lock(&slots->lock);
    *slot = (struct act_body_slot){0};
    (void)pthread_mutex_unlock(&slots->lock);
}
