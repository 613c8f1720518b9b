#include "activation/rule_run.h"

#include "activation/code_hash.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/claim_rule.h"
#include "device/code.h"
#include <inttypes.h>
#include <string.h>

_Static_assert(DB_RULE_CHUNK_MAX <= KEYD_BATCH_MAX, "a chunk is one message to keyd");

/* New codes that nobody is told, and so the longer ones: their owner has them made anew when he
 * wants one. No lock is held
 * meanwhile. */
static int make_codes(struct act_worker *worker, struct db_code *codes, size_t n)
{
    uint8_t random[DB_RULE_CHUNK_MAX][DEVICE_CODE_RANDOM_LEN];
    struct keyd_claim_code clear[DB_RULE_CHUNK_MAX];
    int r = keyd_random(
        worker->keyd, random[0], sizeof(random[0]), n, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        char text[DEVICE_CODE_MADE_MAX + 1];

        device_code_make(random[i], DEVICE_CODE_BASE32_LEN, text);
        clear[i] = (struct keyd_claim_code){.dev_eui = codes[i].dev_eui,
            .generation = codes[i].generation + 1,
            .code_len = DEVICE_CODE_BASE32_LEN};
        memcpy(clear[i].code, text, DEVICE_CODE_BASE32_LEN);
        secret_wipe(text, sizeof(text));
    }
    r = act_code_hash(worker, clear, n, codes);
    secret_wipe(random, sizeof(random));
    secret_wipe(clear, sizeof(clear));
    return r;
}

static int claim(struct act_worker *worker, int64_t rule)
{
    struct db_code codes[DB_RULE_CHUNK_MAX];
    size_t n, n_claimed;
    int r = db_rule_load(worker->db, rule, codes, &n);

    if (r < 0 || n == 0 || (r = make_codes(worker, codes, n)) < 0 ||
        (r = db_rule_claim(worker->db, rule, codes, n, &n_claimed)) < 0)
        return r;
    metric_add(&worker->service->metrics.claims[COUNT_CLAIM_BY_RULE], (int64_t)n_claimed);
    log_debug("claim rule %" PRId64 ": claimed=%zu of=%zu", rule, n_claimed, n);
    return 0;
}

int act_rule_step(struct act_worker *worker)
{
    struct act_pace_turn turn;
    int64_t rule;
    int r = db_rule_take(worker->db, &rule);

    if (r != 0)
        return r;
    (void)act_pace_enter(&worker->service->pace, &turn);
    r = claim(worker, rule);
    act_pace_leave(&turn);
    return r;
}
