#include "activation/clocks.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/clock_look.h"
#include <inttypes.h>
#include <stdlib.h>

static bool agree(struct act_clocks *clocks, int64_t ahead_s)
{
    const bool apart = llabs(ahead_s) > ACT_CLOCKS_APART_S;

    if (apart && !clocks->apart)
        log_error("the database's clock is %" PRId64 " s %s this service's: nothing is ended or "
                  "deleted by time until they agree",
            (int64_t)llabs(ahead_s), ahead_s > 0 ? "ahead of" : "behind");
    else if (!apart && clocks->apart)
        log_info("the clocks of database and service agree again");
    clocks->apart = apart;
    return !apart;
}

static int settle(struct act_clocks *clocks, struct db *db)
{
    const int64_t now_ms = clock_monotonic_ms();
    size_t n = 0;
    int r;

    if (now_ms < clocks->again_ms)
        return 0;
    clocks->again_ms = now_ms + ACT_CLOCKS_SETTLE_MS;
    if ((r = db_clock_settle(db, &n)) < 0)
        return r;
    clocks->again_ms = n > 0 ? now_ms : now_ms + ACT_CLOCKS_SETTLE_MS;
    if (n > 0)
        log_warn("the database's clock had been ahead: %zu leases, limits and moments of work were "
                 "brought back",
            n);
    return 0;
}

bool act_clocks_look(struct act_clocks *clocks, struct db *db)
{
    int64_t database_s = 0;
    int r = db_clock_read(db, &database_s);
    const bool well = r == 0 && agree(clocks, database_s - clock_unix_s());

    if (well)
        r = settle(clocks, db);
    if (r < 0 && !clocks->ill)
        log_warn("clocks are not compared, or what was put off is not brought back, now: %s",
            error_text());
    clocks->ill = r < 0;
    return well;
}
