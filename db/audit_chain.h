/* The chain over the audit events: every one that was committed gets its place, once, and never
 * another. Any number of services may do it at once: one at a time does, and should two believe
 * that it is their turn, the key of audit_chain lets one commit. Role cradle_activation. */
#pragma once

#include "base/audit_form.h"
#include "db/db.h"

#define DB_AUDIT_CHAIN_MAX 256 /* events of one transaction */

/** Chains what waits, at most DB_AUDIT_CHAIN_MAX events, in one transaction: in the order of their
 * numbers, behind all that were found before. *ret_n: how many; as many as that: call again. 0
 * also where another service is at it. ERROR_DB_UNKNOWN needs nothing: the next call sees what was
 * committed. */
int db_audit_chain_step(struct db *db, size_t *ret_n) MUST_CHECK;

/** A checkpoint over all is due: `n_events` are chained behind the last one, or any are and the
 * last one is `seconds` old. *ret has all but its time. Outcome 1: none is due. */
int db_audit_checkpoint_due(
    struct db *db, int64_t n_events, int64_t seconds, struct audit_checkpoint *ret) MUST_CHECK;
/** Keeps it; where another service was first, theirs stays. */
int db_audit_checkpoint_add(struct db *db, const struct audit_checkpoint *checkpoint,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN]) MUST_CHECK;

/** The tree over the first `n` events. ERROR_DB where a node of it is missing. */
int db_audit_tree_load(struct db *db, uint64_t n, struct merkle_tree *ret) MUST_CHECK;
