#include "activation/body_slots.h"

#include <string.h>

/* No client can be kept out by another one alone, nor by strangers. */
_Static_assert(ACT_BIG_BODIES_PER_CLIENT < ACT_BIG_BODIES_MAX - ACT_BIG_BODIES_UNKNOWN,
    "one client may take every place of the known ones");

struct act_body_slot *act_body_slot_take(struct act_body_slots *slots, const uint8_t *client_id)
{
    struct act_body_slot *free_slot = NULL;
    size_t n_known = 0, n_unknown = 0, n_own = 0;
    bool full;

    for (size_t i = 0; i < ACT_BIG_BODIES_MAX; i++) {
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
        full = n_unknown >= ACT_BIG_BODIES_UNKNOWN;
    else
        full = n_known >= ACT_BIG_BODIES_MAX - ACT_BIG_BODIES_UNKNOWN ||
               n_own >= ACT_BIG_BODIES_PER_CLIENT;
    if (full || free_slot == NULL)
        return NULL;
    *free_slot = (struct act_body_slot){.taken = true, .known = client_id != NULL};
    if (client_id != NULL)
        memcpy(free_slot->client_id, client_id, sizeof(free_slot->client_id));
    return free_slot;
}

void act_body_slot_leave(void *data)
{
    struct act_body_slot *slot = data;

    *slot = (struct act_body_slot){0};
}
