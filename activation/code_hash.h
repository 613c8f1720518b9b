/* Claim codes of a chunk of devices through the key process, which alone can hash them. */
#pragma once

#include "activation/worker.h"
#include "db/code.h"

/** Hashes any number of codes; fills DevEUI, generation and hash of ret[i]. The caller wipes
 * `codes`. */
int act_code_hash(struct act_worker *worker, const struct keyd_claim_code *codes, size_t n,
    struct db_code *ret) MUST_CHECK;
