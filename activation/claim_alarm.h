/* Guessing that is spread over many clients, so that no one of them makes too many wrong claims:
 * the wrong ones of all are counted, and beyond DB_CLAIM_ALARM_MAX each client's cost it more. The
 * alarm is a row that all services read; each of them looks and may raise it. Of main's thread. */
#pragma once

#include "base/metrics.h"
#include "db/db.h"

#define ACT_CLAIM_ALARM_LOOK_MS 10000

struct act_claim_alarm {
    int64_t again_ms; /* of the next look, monotonic */
    bool on;          /* as it was last seen */
};

/** Looks, when it is time; sets `gauge` to 1 while the alarm lasts, and logs when it begins and
 * ends. */
void act_claim_alarm_look(struct act_claim_alarm *alarm, struct db *db, struct metric *gauge);
