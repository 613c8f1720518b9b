#include "activation/housekeeping.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/agreement.h"
#include "db/audit.h"
#include "db/claim.h"
#include "db/claim_rule.h"
#include "db/offer.h"
#include "db/order_file.h"
#include "db/report.h"
#include "db/signal.h"

/* Each deletes one piece, and says how much there was. */
static int (*const chores[])(struct db *db, size_t *ret_n) = {
    db_idempotency_purge,
    db_report_expire,
    db_report_purge,
    db_claim_purge,
    db_offer_expire,
    db_rule_expire,
    db_offer_purge,
    db_signal_purge,
    db_order_file_purge,
    db_roaming_refusal_purge,
    db_roaming_carried_purge,
};
#define N_CHORES (sizeof(chores) / sizeof(chores[0]))

/* One a look: a slow database must not keep main's thread from telling that all is well. */
void act_housekeeping_look(struct act_housekeeping *h, struct db *db)
{
    const unsigned bit = 1U << h->at;
    size_t n = 0;

    if (clock_monotonic_ms() < h->again_ms)
        return;
    if (chores[h->at](db, &n) == 0) {
        h->ill &= ~bit;
        h->n_found += n;
    } else {
        if ((h->ill & bit) == 0)
            log_warn("what is old is not deleted now: %s", error_text());
        h->ill |= bit;
    }
    if (++h->at < N_CHORES)
        return;
    if (h->n_found == 0)
        h->again_ms = clock_monotonic_ms() + ACT_HOUSEKEEPING_MS;
    h->at = h->n_found = 0;
}
