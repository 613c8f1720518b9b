/* What grows by itself and nobody asks for any more is deleted here: reports of old jobs, the
 * answers of old calls, signals that have faded. Each service looks, bit by bit, so that no
 * statement takes long; several do not disturb each other. Of main's thread. */
#pragma once

#include "db/db.h"
#include <stddef.h>
#include <stdint.h>

#define ACT_HOUSEKEEPING_MS 60000 /* between two rounds, when there was nothing left to do */

struct act_housekeeping {
    int64_t again_ms; /* when the next round may begin, monotonic */
    size_t at;        /* the chore that is next in this one */
    size_t n_found;   /* what the ones before it had to do */
    unsigned ill;     /* a bit a chore: it failed last time, and the log says so */
};

/** The next chore of a round, when it is time for one; a round in which there was something to do
 * is followed by another at once. One that fails keeps no other from its turn, and is logged, once
 * until it goes well again. */
void act_housekeeping_look(struct act_housekeeping *h, struct db *db);
