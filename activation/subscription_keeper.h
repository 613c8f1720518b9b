/* What time brings to subscriptions: notice, renewal, the end, and that devices follow. Each
 * service looks, bit by bit; several do not disturb each other, and one that is killed leaves
 * nothing half done. Of main's thread. */
#pragma once

#include "activation/metrics.h"
#include "db/db.h"
#include <stdbool.h>

#define ACT_SUBSCRIPTION_TURN_MS 200 /* main's thread has other things to look after */

struct act_subscription_keeper {
    bool ill; /* it failed last time, and the log says so */
};

/** Does what is due, for about ACT_SUBSCRIPTION_TURN_MS. */
void act_subscription_keeper_look(
    struct act_subscription_keeper *keeper, struct db *db, struct act_metrics *metrics);
