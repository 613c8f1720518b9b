#include "activation/body_slots.h"

#include <string.h>

/* No client can be kept out by another one alone, nor by strangers. */
_Static_assert(ACT_BIG_BODIES_PER_CLIENT < ACT_BIG_BODIES_MAX - ACT_BIG_BODIES_UNKNOWN,
    "one client may take every place of the known ones");
_Static_assert(ACT_WATCHES_PER_CLIENT < ACT_WATCHES_MAX - ACT_WATCHES_UNKNOWN,
    "one client may take every place of the known ones");
_Static_assert(ACT_BIG_BODIES_MAX <= ACT_SLOTS_MAX, "there is no room for all places");

void act_body_slots_init(struct act_body_slots *slots)
{
    *slots = (struct act_body_slots){.n_slots = ACT_BIG_BODIES_MAX,
        .n_unknown_max = ACT_BIG_BODIES_UNKNOWN,
        .n_per_client_max = ACT_BIG_BODIES_PER_CLIENT};
    (void)pthread_mutex_init(&slots->lock, NULL); /* cannot fail with default attributes on Linux */
}

void act_watch_slots_init(struct act_body_slots *slots)
{
    *slots = (struct act_body_slots){.n_slots = ACT_WATCHES_MAX,
        .n_unknown_max = ACT_WATCHES_UNKNOWN,
        .n_per_client_max = ACT_WATCHES_PER_CLIENT};
    (void)pthread_mutex_init(&slots->lock, NULL);
}

/* The caller holds the lock. */
static struct act_body_slot *find_place(struct act_body_slots *slots, const uint8_t *client_id)
{
    struct act_body_slot *free_slot = NULL;
    size_t n_known = 0, n_unknown = 0, n_own = 0;
    bool full;

    for (size_t i = 0; i < slots->n_slots; i++) {
        struct act_body_slot *slot = &slots->slots[i];

        if (!slot->taken)
            free_slot = slot;
        else if (!slot->known)
            n_unknown++;
        else {
            n_known++;
            n_own += client_id != NULL &&
                     memcmp(slot->client_id, client_id, sizeof(slot->client_id)) == 0;
        }
    }
    if (client_id == NULL)
        full = n_unknown >= slots->n_unknown_max;
    else
        full = n_known >= slots->n_slots - slots->n_unknown_max || n_own >= slots->n_per_client_max;
    return full ? NULL : free_slot;
}

struct act_body_slot *act_body_slot_take(struct act_body_slots *slots, const uint8_t *client_id)
{
    struct act_body_slot *slot;

    (void)pthread_mutex_lock(&slots->lock);
    slot = find_place(slots, client_id);
    if (slot != NULL)
        *slot = (struct act_body_slot){.taken = true, .known = client_id != NULL, .all = slots};
    if (slot != NULL && client_id != NULL)
        memcpy(slot->client_id, client_id, sizeof(slot->client_id));
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
