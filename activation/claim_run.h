/* Claims on their way, chunk by chunk: load, hash in keyd, settle in one transaction, with whatever
 * else is to be there together with them or not at all. POST /v1/claims is made of this, and what
 * begins with a claim.
 *
 * A chunk is of one call, or of one claim each of calls that wait together, whosever they are. */
#pragma once

#include "activation/call.h"
#include "db/claim.h"
#include "device/code.h"

/* Why a claim is not even looked at. */
enum act_claim_fault {
    FAULT_NONE,
    FAULT_LIMITED,
    FAULT_HOME,
    FAULT_AS,
    FAULT_SUBSCRIPTION,
    FAULT_ENDED, /* the subscription does not run */
    FAULT_FULL,
};

struct act_claim_entry {
    struct db_claim claim;
    char code[DEVICE_CODE_MAX + 1]; /* as it was given, in its normal form */
    enum act_claim_fault fault;
    int64_t wait_s;                     /* of FAULT_LIMITED */
    char new_code[DEVICE_CODE_MAX + 1]; /* "" until it is told */
    uint32_t generation;
};

/* Of secret_realloc, as are its entries: they hold codes. Those are as many as the call has: most
 * are about one device, and room for a list costs more than its claim. */
struct act_claim_run {
    struct act_call *call;
    struct db_claimant claimant;
    const char *key; /* Idempotency-Key; NULL: none */
    struct db_idempotency idempotency;
    bool key_taken;
    bool came_before; /* the same call may have come through before */
    bool key_found;   /* its key was there: it came before, whatever it came to */
    bool other_call;  /* its key was used for another one */
    struct act_claim_entry *entries;
    size_t n;
    /* What else is done in the transaction of a chunk, or NULL; behind its claims, whatever they
     * came to. Outcome CLAIM_RUN_ANSWERED: it has set an answer, and nothing of the chunk holds.
     * `claim` is what the first claim came to; NULL: there is none. */
    int (*also)(struct act_claim_run *run, const struct db_claim *claim);
    void *context; /* of `also` */
};

/** Zeros, of secret_realloc; NULL: there is no memory. */
void *act_claim_room(size_t len);

/** Who claims, and the call's names: `route` is that of its Idempotency-Key, `what` all that the
 * call says but codes; a digest of a code that is not keyed would tell a weak one. */
void act_claim_run_name(struct act_claim_run *run, const char *route, const struct text *what);

#define CLAIM_RUN_OTHER_CALL 1 /* the key was used for another call */
#define CLAIM_RUN_ANSWERED 2
/** The entries from `at` on, *ret_n of them; what is committed may be told. */
int act_claim_run_chunk(struct act_claim_run *run, size_t at, size_t *ret_n);
/** The first entries of up to DB_CLAIM_CHUNK_MAX calls of one worker and route, which name
 * different devices and no Idempotency-Key twice: in one turn, each by itself as if it were alone.
 * ret_done[i]: it came to its end, and may be told; the others, which were raced or limited
 * meanwhile or of which nothing is known, are to be run as chunks of their own. */
void act_claim_run_together(struct act_claim_run *const *runs, size_t n, bool *ret_done);
/** What `also` does, without a claim. */
int act_claim_run_alone(struct act_claim_run *run);

/** Where the entry was not claimed: its answer, and the status of it. 0: it was, or is the
 * claimant's already. */
unsigned act_claim_refuse(struct act_call *call, const struct act_claim_entry *entry);
/** For an outcome of a run that is not 0: the answer. */
unsigned act_claim_run_failed(struct act_claim_run *run, int outcome);
