#include "activation/code_hash.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"
#include "device/code.h"
#include <assert.h>
#include <string.h>

static_assert(DEVICE_CODE_MAX == KEYD_CODE_MAX, "every code can be hashed");
static_assert(DB_CODE_HASH_LEN == KEYD_HASH_LEN, "and every hash be kept");

int act_code_hash(
    struct act_worker *worker, const struct keyd_claim_code *codes, size_t n, struct db_code *ret)
{
    struct keyd_code_hash hashes[KEYD_BATCH_MAX];
    int r = 0;

    for (size_t at = 0; r == 0 && at < n; at += KEYD_BATCH_MAX) {
        size_t n_now = n - at < KEYD_BATCH_MAX ? n - at : KEYD_BATCH_MAX;

        r = keyd_hash_claim_codes(
            worker->keyd, codes + at, n_now, hashes, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
        for (size_t i = 0; r == 0 && i < n_now; i++) {
            ret[at + i].dev_eui = codes[at + i].dev_eui;
            ret[at + i].generation = codes[at + i].generation;
            memcpy(ret[at + i].hash, hashes[i].hash, sizeof(hashes[i].hash));
            ret[at + i].version = hashes[i].version;
        }
    }
    return r;
}

int act_delivery_key(struct act_worker *worker, const uint8_t batch[static KEYD_BATCH_ID_LEN],
    unsigned version, uint8_t ret[static KEYD_HASH_LEN])
{
    struct keyd_code_hash key = {.version = 0};
    int r = keyd_delivery_key(
        worker->keyd, batch, version, &key, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r == 0 && key.version != version)
        r = error_set(ERROR_HSM,
            "the token does not hold code.%u, of which the key of a delivery comes", version);
    if (r == 0)
        memcpy(ret, key.hash, KEYD_HASH_LEN);
    secret_wipe(&key, sizeof(key));
    return r;
}
