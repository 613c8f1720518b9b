#include "activation/audit_keeper.h"

#include "activation/worker.h"
#include "base/audit_key.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/hex.h"
#include "base/log.h"
#include "db/audit_chain.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct act_audit_keeper {
    struct act_service *service;
    struct db *db;
    struct keyd_channel *keyd;
    pthread_t id;
    _Atomic bool stopping;
    bool was_signing;   /* and the log says so where it is not any more */
    int64_t sign_at_ms; /* monotonic: no signature is asked for before */
};

/* What waits. Outcome 1: there is more; but what is chained is to be signed, too. */
static int chain(struct act_audit_keeper *k)
{
    size_t n = DB_AUDIT_CHAIN_MAX;
    int r = 0;

    for (int i = 0; i < ACT_AUDIT_STEPS && n == DB_AUDIT_CHAIN_MAX; i++) {
        if ((r = FAILPOINT(audit_before_chain, ERROR_DB)) < 0 ||
            (r = db_audit_chain_step(k->db, &n)) < 0 ||
            (r = FAILPOINT(audit_chained, ERROR_DB)) < 0 || atomic_load(&k->stopping))
            return r;
        metric_add(&k->service->metrics.chained, (int64_t)n);
    }
    return n == DB_AUDIT_CHAIN_MAX ? 1 : 0;
}

/* In the log a checkpoint is out of the reach of whoever has the database. */
static void say(const struct audit_checkpoint *checkpoint)
{
    char chain_text[2 * MERKLE_HASH_LEN + 1], root[2 * MERKLE_HASH_LEN + 1];

    log_info("audit checkpoint seq=%" PRIu64 " chain=%s root=%s", checkpoint->seq,
        hex_encode(checkpoint->chain, sizeof(checkpoint->chain), chain_text),
        hex_encode(checkpoint->root, sizeof(checkpoint->root), root));
}

static void not_signed(struct act_audit_keeper *k, const char *why, int64_t wait_ms)
{
    if (k->was_signing)
        log_warn("audit events are chained, and their checkpoints not signed: %s", why);
    k->was_signing = false;
    k->sign_at_ms = clock_monotonic_ms() + wait_ms;
}

/* Of the token, which does not change while a service runs. False: there is none to sign with. */
static bool publish_key(struct act_audit_keeper *k)
{
    uint8_t point[AUDIT_POINT_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;
    int r;

    if (atomic_load(&k->service->has_audit_key))
        return true;
    r = keyd_audit_key(k->keyd, point, &status, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r < 0 || status != KEYD_OK) {
        not_signed(k, r < 0 ? error_text() : keyd_status_text(status),
            r == 0 && status == KEYD_NO_AUDIT_KEY ? ACT_AUDIT_NO_KEY_MS : ACT_AUDIT_RETRY_MS);
        return false;
    }
    text_clear(&k->service->audit_key);
    audit_key_write(point, &k->service->audit_key);
    if (!k->service->audit_key.failed)
        atomic_store(&k->service->has_audit_key, true);
    return true;
}

static int sign(struct act_audit_keeper *k)
{
    struct audit_checkpoint checkpoint;
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;
    int r;

    if (clock_monotonic_ms() < k->sign_at_ms || !publish_key(k))
        return 0;
    r = db_audit_checkpoint_due(k->db, ACT_AUDIT_SIGN_EVENTS, ACT_AUDIT_SIGN_S, &checkpoint);
    if (r != 0)
        return r < 0 ? r : 0;
    r = keyd_sign_checkpoint(
        k->keyd, &checkpoint, signature, &status, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r < 0 || status != KEYD_OK) {
        not_signed(k, r < 0 ? error_text() : keyd_status_text(status), ACT_AUDIT_RETRY_MS);
        return 0;
    }
    if ((r = FAILPOINT(audit_signed, ERROR_DB)) < 0 ||
        (r = db_audit_checkpoint_add(k->db, &checkpoint, signature)) < 0)
        return r;
    metric_add(&k->service->metrics.checkpoints, 1);
    say(&checkpoint);
    k->was_signing = true;
    return 0;
}

static void *thread_main(void *context)
{
    struct act_audit_keeper *k = context;
    bool was_well = true;

    while (!atomic_load(&k->stopping)) {
        const int more = chain(k);
        const bool well = more >= 0 && sign(k) == 0;

        if (!well) {
            if (was_well)
                log_error("audit events are not chained now: %s", error_text());
            db_drop(k->db);
        } else if (!was_well) {
            log_info("audit events are chained again");
        }
        was_well = well;
        if (!well || more == 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = ACT_AUDIT_LOOK_MS * 1000000}, NULL);
    }
    return NULL;
}

int act_audit_keeper_start(
    struct act_service *service, unsigned channel, struct act_audit_keeper **ret)
{
    struct act_audit_keeper *k = calloc(1, sizeof(*k));
    const struct db_config config = {
        .conninfo = service->settings.conninfo,
        .program = "cradle-activation-audit",
        .statement_ms = ACT_AUDIT_STATEMENT_MS,
    };
    int r;

    if (k == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the thread that chains audit events");
    k->service = service;
    k->keyd = keyd_pool_channel(service->pool, channel);
    k->was_signing = true;
    if ((r = db_open(&config, &k->db)) == 0 && pthread_create(&k->id, NULL, thread_main, k) != 0) {
        db_close(k->db);
        r = error_set(ERROR_SYSTEM, "cannot start the thread that chains audit events");
    }
    if (r < 0) {
        free(k);
        return r;
    }
    *ret = k;
    return 0;
}

void act_audit_keeper_stop(struct act_audit_keeper *k)
{
    if (k == NULL)
        return;
    atomic_store(&k->stopping, true);
    (void)pthread_join(k->id, NULL);
    db_close(k->db);
    free(k);
}
