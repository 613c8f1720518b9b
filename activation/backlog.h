/* Tells the metrics how much work waits in the database. Of main's thread. */
#pragma once

#include "activation/metrics.h"
#include "db/db.h"

#define ACT_BACKLOG_LOOK_MS 10000 /* between two looks */

struct act_backlog {
    int64_t again_ms; /* monotonic: when to look again */
    bool was_ill;     /* the log says so */
};

void act_backlog_look(struct act_backlog *backlog, struct db *db, struct act_metrics *metrics);
