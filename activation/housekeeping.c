#include "activation/housekeeping.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/audit.h"
#include "db/report.h"

/* Each deletes one piece, and says how much there was. */
static int (*const chores[])(struct db *db, size_t *ret_n) = {
    db_idempotency_purge,
    db_report_expire,
    db_report_purge,
};

static int do_chores(struct db *db, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t i = 0; i < sizeof(chores) / sizeof(chores[0]); i++) {
        size_t n = 0;
        int r = chores[i](db, &n);

        if (r < 0)
            return r;
        *ret_n += n;
    }
    return 0;
}

void act_housekeeping_look(struct act_housekeeping *h, struct db *db)
{
    size_t n;
    bool well;

    if (clock_monotonic_ms() < h->again_ms)
        return;
    well = do_chores(db, &n) == 0;
    if (!well && !h->was_ill)
        log_warn("what is old is not deleted now: %s", error_text());
    h->was_ill = !well;
    if (!well || n == 0)
        h->again_ms = clock_monotonic_ms() + ACT_HOUSEKEEPING_MS;
}
