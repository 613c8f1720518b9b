/* What grows by itself and nobody asks for any more is deleted here: reports of old jobs and the
 * answers of old calls. Each service looks, bit by bit, so that no statement takes long; several do
 * not disturb each other. Of main's thread. */
#pragma once

#include "db/db.h"
#include <stdbool.h>
#include <stdint.h>

#define ACT_HOUSEKEEPING_MS 60000 /* between two looks, when there was nothing left to do */

struct act_housekeeping {
    int64_t again_ms; /* when to look again, monotonic */
    bool was_ill;     /* it failed last time, and the log says so */
};

/** One look, when it is time for one; there is more to do at once when a piece was full. A failure
 * is logged, once until it goes well again. */
void act_housekeeping_look(struct act_housekeeping *h, struct db *db);
