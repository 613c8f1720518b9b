#include "activation/backlog.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/backlog.h"

void act_backlog_look(struct act_backlog *backlog, struct db *db, struct act_metrics *metrics)
{
    const int64_t now_ms = clock_monotonic_ms();
    struct db_backlog found = {0};

    if (now_ms < backlog->again_ms)
        return;
    backlog->again_ms = now_ms + ACT_BACKLOG_LOOK_MS;
    if (db_backlog_read(db, &found) < 0) {
        if (!backlog->was_ill)
            log_warn("what waits in the database is not counted now: %s", error_text());
        backlog->was_ill = true;
        return;
    }
    backlog->was_ill = false;
    metric_set(&metrics->backlog[BACKLOG_AUDIT], found.audit_pending);
    metric_set(&metrics->backlog[BACKLOG_AUDIT_OLDEST], found.audit_oldest_s);
    metric_set(&metrics->backlog[BACKLOG_WEBHOOKS], found.webhook_waiting);
    metric_set(&metrics->backlog[BACKLOG_WEBHOOK_OLDEST], found.webhook_oldest_s);
    metric_set(&metrics->backlog[BACKLOG_JOBS_WAITING], found.jobs_waiting);
    metric_set(&metrics->backlog[BACKLOG_JOBS_RUNNING], found.jobs_running);
    metric_set(&metrics->backlog[BACKLOG_JOB_OLDEST], found.jobs_oldest_s);
    metric_set(&metrics->backlog[BACKLOG_ORDERS], found.orders_requested);
}
