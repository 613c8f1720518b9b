/* Places for big bodies, arriving or being worked on: they bound the memory that files take. Who
 * holds one may be slow, so no one may hold them all: a client has a share, and so have, together,
 * all whose token is not known before it is verified (activation/token_table.h). That share is
 * apart from the others: forged tokens fill it and nothing else. Any thread. */
#pragma once

#include "activation/token.h"
#include <pthread.h>

#define ACT_BIG_BODIES_MAX 8        /* at once, of all */
#define ACT_BIG_BODIES_UNKNOWN 2    /* of these, for tokens that are not known yet */
#define ACT_BIG_BODIES_PER_CLIENT 4 /* of the rest, for one client */

struct act_body_slot {
    bool taken;
    bool known;
    struct act_body_slots *all;              /* while taken */
    uint8_t client_id[ACT_TOKEN_CLIENT_LEN]; /* where known */
};

struct act_body_slots {
    pthread_mutex_t lock;
    struct act_body_slot slots[ACT_BIG_BODIES_MAX];
};

void act_body_slots_init(struct act_body_slots *slots);

/** A place; NULL when the share is used up. `client_id` of a known token, NULL for an unknown one.
 */
struct act_body_slot *act_body_slot_take(
    struct act_body_slots *slots, const uint8_t *client_id) MUST_CHECK;
/** Gives it back: a `struct act_body_slot`, in the shape that requests call when they end. */
void act_body_slot_leave(void *slot);
