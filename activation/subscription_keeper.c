#include "activation/subscription_keeper.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/subscription.h"

static void count(struct act_metrics *metrics, const struct db_subscription_done *done)
{
    metric_add(&metrics->subscriptions[COUNT_SUBSCRIPTION_NOTICED], (int64_t)done->n_noticed);
    metric_add(&metrics->subscriptions[COUNT_SUBSCRIPTION_RENEWED], (int64_t)done->n_renewed);
    metric_add(&metrics->subscriptions[COUNT_SUBSCRIPTION_ENDED], (int64_t)done->n_ended);
    metric_add(&metrics->services[COUNT_SERVICE_SUSPENDED], (int64_t)done->n_suspended);
    metric_add(&metrics->services[COUNT_SERVICE_RESUMED], (int64_t)done->n_resumed);
}

void act_subscription_keeper_look(
    struct act_subscription_keeper *keeper, struct db *db, struct act_metrics *metrics)
{
    const int64_t until_ms = clock_monotonic_ms() + ACT_SUBSCRIPTION_TURN_MS;
    struct db_subscription_done done = {0};
    int more;

    do
        more = db_subscription_work(db, &done);
    while (more > 0 && clock_monotonic_ms() < until_ms);
    count(metrics, &done);
    if (more < 0 && !keeper->ill)
        log_warn("subscriptions are not looked after now: %s", error_text());
    keeper->ill = more < 0;
    if (done.n_suspended > 0 || done.n_resumed > 0)
        log_info("subscriptions: suspended=%zu resumed=%zu", done.n_suspended, done.n_resumed);
}
