/* Places for big bodies, arriving or being worked on, and for streams of events: they bound the
 * memory that they take. Who holds one may be slow, so no one may hold them all: an organization,
 * with all its clients, has a share, and so have, together, all whose token is not known before it
 * is verified (activation/token_table.h). That share is apart from the others: forged tokens fill
 * it and nothing else. Any thread. */
#pragma once

#include "base/cleanup.h"
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACT_BIG_BODIES_MAX 8              /* at once, of all */
#define ACT_BIG_BODIES_UNKNOWN 2          /* of these, for tokens that are not known yet */
#define ACT_BIG_BODIES_PER_ORGANIZATION 4 /* of the rest, for one organization */

#define ACT_WATCHES_MAX 32 /* the same of those who watch jobs */
#define ACT_WATCHES_UNKNOWN 4
#define ACT_WATCHES_PER_ORGANIZATION 16

#define ACT_SLOTS_MAX ACT_WATCHES_MAX /* the larger one */

struct act_body_slot {
    bool taken;
    int64_t organization_id;    /* 0: of a token that is not known */
    struct act_body_slots *all; /* while taken */
};

struct act_body_slots {
    pthread_mutex_t lock;
    size_t n_slots, n_unknown_max, n_per_organization_max;
    struct act_body_slot slots[ACT_SLOTS_MAX];
};

/** For big bodies. */
void act_body_slots_init(struct act_body_slots *slots);
/** For those who watch jobs. */
void act_watch_slots_init(struct act_body_slots *slots);

/** A place; NULL when the share is used up. The organization of a known token, 0 for an unknown
 * one.
 */
struct act_body_slot *act_body_slot_take(
    struct act_body_slots *slots, int64_t organization_id) MUST_CHECK;
/** Gives it back: a `struct act_body_slot`, in the shape that requests call when they end. */
void act_body_slot_leave(void *slot);
