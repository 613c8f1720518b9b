/* Claim codes of a chunk of devices through the key process, which alone can hash them. */
#pragma once

#include "activation/worker.h"
#include "db/code.h"

/** The key of a batch's files by that version of the code key. ERROR_HSM: the token does not hold
 * it any more. The caller wipes `ret`. */
int act_delivery_key(struct act_worker *worker, const uint8_t batch[static KEYD_BATCH_ID_LEN],
    unsigned version, uint8_t ret[static KEYD_HASH_LEN]) MUST_CHECK;
/** Hashes any number of codes; fills DevEUI, generation, hash and the version of its key of ret[i].
 * The caller wipes `codes`. */
int act_code_hash(struct act_worker *worker, const struct keyd_claim_code *codes, size_t n,
    struct db_code *ret) MUST_CHECK;
