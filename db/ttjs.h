/* Claims as application servers see them over the claim API of The Things Join Server: what they
 * said of a device that is theirs, and its release. The claim itself is db/claim.h. Role
 * cradle_activation. */
#pragma once

#include "db/claim.h"
#include "device/record.h"

#define DB_TTJS_RELEASE_MAX 20 /* devices of one call: The Things Stack names no more */

/** What an application server says in a claim, and is told again. */
struct db_ttjs_terms {
    bool has_home_ns_id;
    struct eui64 home_ns_id;
    bool locked;
};

/** False when the network's servers have NSIDs, and this is none of them. */
int db_ttjs_ns_id_fits(
    struct db *db, const struct net_id *net_id, const struct eui64 *ns_id, bool *ret);
/** In the transaction of a claim that came through: keeps its terms. */
int db_ttjs_keep(struct db *db, const struct db_claim *claim, const struct db_ttjs_terms *terms);

/** A device of an organization. */
struct db_ttjs_claim {
    bool is_here;     /* and the organization's; nothing else is said of any other */
    bool is_released; /* else; db_ttjs_load_released(): then it has `generation` */
    struct device_record record;
    uint32_t generation;  /* of its code; 0: it has none */
    bool is_claimed_here; /* for its present owner by an application server, or by nobody: it was
                           * brought in with its home, as fleets are that have joined elsewhere */
    /* Of the present owner's claim; where it was no application server's, locked alone. */
    struct db_ttjs_terms terms;
};
/** Of up to DB_TTJS_RELEASE_MAX different devices, in their order. */
int db_ttjs_load(struct db *db, int64_t organization_id, const struct eui64 *dev_euis, size_t n,
    struct db_ttjs_claim *ret);

/** In a transaction of the caller: devices that are the organization's and its application server's
 * and still as they were loaded become what device_move_make made of them, with new codes, and an
 * audit event each. `claimant` says who does it; ret_done[i] tells which it was. Outcome 1: a code
 * was made anew meanwhile, and the transaction must be rolled back. */
int db_ttjs_release(struct db *db, const struct db_claimant *claimant, const char *as_id,
    const struct db_ttjs_claim *before, const struct device_record *after,
    const struct db_code *codes, size_t n, bool *ret_done);

/* The same release again, for its answer, with the only copy of the code, may have been lost. Known
 * by claimant->call, which is the name of all releases of one client. */

/** Of those that were loaded and are not here: which the claimant has released within
 * IDEMPOTENCY_DAYS, as long as nobody has had them since, or made a code for them. */
int db_ttjs_load_released(
    struct db *db, const struct db_claimant *claimant, struct db_ttjs_claim *claims, size_t n);
/** In a transaction of the caller: these have the new codes then, each of the generation behind the
 * one that was loaded, and an audit event each; ret_done[i] tells which. */
int db_ttjs_reissue(struct db *db, const struct db_claimant *claimant, const char *as_id,
    const struct db_code *codes, size_t n, bool *ret_done);
