#include "activation/claim_alarm.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/claim.h"
#include <inttypes.h>

void act_claim_alarm_look(struct act_claim_alarm *alarm, struct db *db, struct metric *gauge)
{
    int64_t n = 0, now_ms = clock_monotonic_ms();
    bool on = false;

    if (now_ms < alarm->again_ms)
        return;
    alarm->again_ms = now_ms + ACT_CLAIM_ALARM_LOOK_MS;
    if (db_claim_watch(db, &on, &n) < 0) {
        log_warn("wrong claims were not counted: %s", error_text());
        return;
    }
    if (on && !alarm->on)
        log_warn("claim codes are being guessed: %" PRId64 " wrong claims in %d minutes; until "
                 "there are fewer, each is forgiven its client %d times as slowly",
            n, DB_CLAIM_ALARM_S / 60, DB_CLAIM_ALARM_SLOWER);
    else if (!on && alarm->on)
        log_info("claim codes are not being guessed any more than usual");
    alarm->on = on;
    metric_set(gauge, on);
}
