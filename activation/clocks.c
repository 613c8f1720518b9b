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

/* What came back while it went on may have come behind it: then there is another one at once. */
static void end_round(struct act_clocks *clocks, int64_t now_ms)
{
    clocks->again_ms = clocks->n_back > 0 ? now_ms : now_ms + ACT_CLOCKS_SETTLE_MS;
    if (clocks->n_back > 0)
        log_warn("the database's clock had been ahead: %zu leases, limits and moments of work were "
                 "brought back",
            clocks->n_back);
    clocks->ill = clocks->failed;
    clocks->at = 0;
    clocks->n_back = 0;
    clocks->failed = false;
}

/* A piece of the table that it is the turn of. One that fails is left to the next round: it must
 * not keep the others from theirs. */
static int settle_piece(struct act_clocks *clocks, struct db *db)
{
    size_t n = 0;
    int r = db_clock_settle(db, clocks->at, &n);

    clocks->n_back += n;
    clocks->failed |= r < 0;
    if (r < 0 || n < DB_CLOCK_PIECE)
        clocks->at++;
    return r;
}

static int settle(struct act_clocks *clocks, struct db *db)
{
    const int64_t until_ms = clock_monotonic_ms() + ACT_CLOCKS_SPEND_MS;
    int64_t now_ms = clock_monotonic_ms();
    int r = 0;

    if (clocks->at == 0 && now_ms < clocks->again_ms)
        return 0;
    while (r == 0 && clocks->at < DB_CLOCK_N_PARTS && now_ms < until_ms) {
        r = settle_piece(clocks, db);
        now_ms = clock_monotonic_ms();
    }
    return r;
}

bool act_clocks_look(struct act_clocks *clocks, struct db *db)
{
    int64_t database_s = 0;
    int r = db_clock_read(db, &database_s);
    const bool well = r == 0 && agree(clocks, database_s - clock_unix_s());

    if (well)
        r = settle(clocks, db);
    else
        clocks->failed |= r < 0;
    if (r < 0 && !clocks->ill)
        log_warn("clocks are not compared, or what was put off is not brought back, now: %s",
            error_text());
    clocks->ill |= r < 0;
    if (clocks->at == DB_CLOCK_N_PARTS)
        end_round(clocks, clock_monotonic_ms());
    return well;
}
