#include "activation/claim_run.h"

#include "activation/code_hash.h"
#include "activation/subscriptions.h"
#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TURNS_MAX 4 /* of a chunk that finds itself done by the same call, or does not know */
#define TOGETHER_LOCK_MS 200 /* that calls which wait together wait for what is locked */
#define RETRY_TEXT_MAX 24    /* digits of Retry-After */

_Static_assert(2 * DB_CLAIM_CHUNK_MAX <= KEYD_BATCH_MAX, "a chunk is one message to keyd");

void *act_claim_room(size_t len)
{
    void *room = secret_realloc(NULL, len);

    if (room != NULL)
        memset(room, 0, len);
    return room;
}

void act_claim_run_name(struct act_claim_run *run, const char *route, const struct text *what)
{
    const struct act_caller *caller = run->call->caller;

    run->claimant.organization_id = caller->organization_id;
    memcpy(run->claimant.client_id, caller->client_id, sizeof(run->claimant.client_id));
    run->claimant.request_id = api_request_id(run->call->request);
    run->claimant.has_network = api_request_network(run->call->request, &run->claimant.network);
    act_call_name(run->call, run->key, run->claimant.call);
    run->idempotency =
        (struct db_idempotency){.client_id = caller->client_id, .route = route, .key = run->key};
    digest_sha256(what->data != NULL ? what->data : "", what->len, run->idempotency.fingerprint);
}

/* What is asked of the claimant's own affairs alone, before any code is looked at: or a
 * subscription with a place, and one without, would tell which codes are right. */
static enum act_claim_fault fault_of(const struct db_claim *claim)
{
    static const enum act_claim_fault places[] = {
        [PLACE_FREE] = FAULT_NONE,
        [PLACE_UNKNOWN] = FAULT_SUBSCRIPTION,
        [PLACE_ENDED] = FAULT_ENDED,
        [PLACE_FULL] = FAULT_FULL,
    };

    if (!claim->home_known)
        return FAULT_HOME;
    if (!claim->as_known)
        return FAULT_AS;
    return places[claim->place] == FAULT_NONE && claim->wait_s != 0 ? FAULT_LIMITED
                                                                    : places[claim->place];
}

/* What goes through all steps together. Of secret_realloc. */
struct chunk {
    struct act_worker *worker;
    struct act_claim_run *runs[DB_CLAIM_CHUNK_MAX]; /* whose they are */
    struct act_claim_entry *due[DB_CLAIM_CHUNK_MAX];
    struct db_claim claims[DB_CLAIM_CHUNK_MAX];
    size_t n_due;
    uint8_t random[DB_CLAIM_CHUNK_MAX][DEVICE_CODE_RANDOM_LEN];
    struct keyd_claim_code clear[2 * DB_CLAIM_CHUNK_MAX];
    struct db_code hashed[2 * DB_CLAIM_CHUNK_MAX];
};

static void chunk_freep(struct chunk **chunk)
{
    secret_free(*chunk);
}

static struct chunk *chunk_new(struct act_worker *worker)
{
    struct chunk *chunk = act_claim_room(sizeof(*chunk));

    if (chunk != NULL)
        chunk->worker = worker;
    return chunk;
}

static void chunk_add(struct chunk *chunk, struct act_claim_run *run, struct act_claim_entry *entry)
{
    chunk->runs[chunk->n_due] = run;
    chunk->claims[chunk->n_due] = entry->claim;
    chunk->claims[chunk->n_due].claimant = &run->claimant;
    chunk->due[chunk->n_due++] = entry;
}

/* Of those at `i` and `to` the former takes the latter's place. */
static void chunk_move(struct chunk *chunk, size_t i, size_t to)
{
    chunk->runs[to] = chunk->runs[i];
    chunk->due[to] = chunk->due[i];
    chunk->claims[to] = chunk->claims[i];
}

/* Leaves those that may be looked at now; the others have their fault. */
static int load(struct chunk *chunk)
{
    size_t n = chunk->n_due;
    int r = db_claim_load(chunk->worker->db, chunk->claims, n);

    if (r < 0 || (r = FAILPOINT(claim_loaded, ERROR_DB)) < 0)
        return r;
    chunk->n_due = 0;
    for (size_t i = 0; i < n; i++) {
        struct act_claim_entry *entry = chunk->due[i];

        entry->wait_s = chunk->claims[i].wait_s;
        if (entry->wait_s != 0)
            metric_add(&chunk->worker->service->metrics.claims[COUNT_CLAIM_LIMITED], 1);
        entry->fault = fault_of(&chunk->claims[i]);
        if (entry->fault == FAULT_NONE)
            chunk_move(chunk, i, chunk->n_due++);
    }
    return 0;
}

static void put_code(struct keyd_claim_code *ret, const struct db_claim *claim, uint32_t generation,
    const char *code)
{
    *ret = (struct keyd_claim_code){
        .dev_eui = claim->dev_eui, .generation = generation, .code_len = (uint8_t)strlen(code)};
    memcpy(ret->code, code, ret->code_len);
}

/* As it was typed, or as what it must be if it was made here. Both are there whichever is taken. */
static void put_given(struct keyd_claim_code *ret, const struct db_claim *claim, const char *typed)
{
    char read[2][DEVICE_CODE_MAX + 1];

    memcpy(read[0], typed, sizeof(read[0]));
    memcpy(read[1], typed, sizeof(read[1]));
    device_code_as_made(read[1]);
    put_code(ret, claim, claim->generation, read[claim->is_made]);
    ret->version = claim->code_key;
    secret_wipe(read, sizeof(read));
}

/* The given code and the one to come, of right and wrong ones alike. */
static int hash(struct chunk *chunk)
{
    size_t n = chunk->n_due;
    struct db_claim *claims = chunk->claims;
    int r = keyd_random(chunk->worker->keyd, chunk->random[0], sizeof(chunk->random[0]), n,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct act_claim_entry *entry = chunk->due[i];

        device_code_make(
            chunk->random[i], chunk->runs[i]->call->caller->claim_code_length, entry->new_code);
        entry->generation = claims[i].generation + 1;
        put_given(&chunk->clear[2 * i], &claims[i], entry->code);
        put_code(&chunk->clear[2 * i + 1], &claims[i], entry->generation, entry->new_code);
    }
    r = act_code_hash(chunk->worker, chunk->clear, 2 * n, chunk->hashed);
    secret_wipe(chunk->clear, sizeof(chunk->clear));
    for (size_t i = 0; r == 0 && i < n; i++) {
        memcpy(claims[i].hash, chunk->hashed[2 * i].hash, sizeof(claims[i].hash));
        claims[i].hash_version = chunk->hashed[2 * i].version;
        memcpy(claims[i].new_hash, chunk->hashed[2 * i + 1].hash, sizeof(claims[i].new_hash));
        claims[i].new_hash_version = chunk->hashed[2 * i + 1].version;
    }
    return r == 0 ? FAILPOINT(claim_hashed, ERROR_HSM) : r;
}

/* In the transaction. Outcome CLAIM_RUN_OTHER_CALL. */
static int take_key(struct act_claim_run *run)
{
    CLEANUP(db_idempotency_answer_done) struct db_idempotency_answer before = {0};
    int r;

    if (run->key == NULL || run->key_taken)
        return 0;
    r = db_idempotency_take(run->call->worker->db, &run->idempotency, &before);
    if (r > 0 &&
        memcmp(before.fingerprint, run->idempotency.fingerprint, sizeof(before.fingerprint)) != 0)
        return CLAIM_RUN_OTHER_CALL;
    run->came_before |= r > 0;
    run->key_found |= r > 0;
    return r < 0 ? r : 0;
}

/* In the transaction, the keys of all. Leaves those whose calls they are. */
static int take_keys(struct chunk *chunk)
{
    const struct db_idempotency *calls[DB_CLAIM_CHUNK_MAX];
    bool other[DB_CLAIM_CHUNK_MAX];
    size_t n = 0, n_kept = 0;
    int r;

    for (size_t i = 0; i < chunk->n_due; i++)
        if (chunk->runs[i]->key != NULL)
            calls[n++] = &chunk->runs[i]->idempotency;
    if ((r = db_idempotency_take_all(chunk->worker->db, calls, n, other)) < 0)
        return r;
    n = 0;
    for (size_t i = 0; i < chunk->n_due; i++) {
        chunk->runs[i]->other_call = chunk->runs[i]->key != NULL && other[n++];
        if (!chunk->runs[i]->other_call)
            chunk_move(chunk, i, n_kept++);
    }
    chunk->n_due = n_kept;
    return 0;
}

/* Somebody was faster, perhaps the same call; the last turn takes that for what it says. */
static bool is_raced(struct chunk *chunk, bool last)
{
    bool raced = false;

    for (size_t i = 0; i < chunk->n_due; i++) {
        enum db_claim_outcome *outcome = &chunk->claims[i].outcome;

        raced |= *outcome == CLAIM_AGAIN || *outcome == CLAIM_RACED;
        if (last && *outcome == CLAIM_AGAIN)
            *outcome = CLAIM_OWN;
    }
    return raced && !last;
}

/* Outcome CLAIM_ONCE_MORE, besides those of a run: once more, from its load on, for another of the
 * same call was faster or the result of the commit is not known. A claim that did come through
 * finds itself then. */
#define CLAIM_ONCE_MORE 3
static int commit(struct chunk *chunk, const struct act_claim_run *run)
{
    struct db *db = chunk->worker->db;
    int r = db_commit(db);

    if (r == 0)
        r = FAILPOINT(claim_commit_done, ERROR_DB_UNKNOWN);
    if (r == 0)
        metric_add(&chunk->worker->service->metrics.claim_commits, 1);
    if (r != ERROR_DB_UNKNOWN)
        return r;
    log_warn("request=%s the result of a claim's commit is unknown: %s", run->claimant.request_id,
        error_text());
    db_drop(db);
    return CLAIM_ONCE_MORE;
}

static int settle(struct act_claim_run *run, struct chunk *chunk, bool last)
{
    struct db *db = chunk->worker->db;
    int r = db_begin(db);

    if (r == 0)
        r = take_key(run);
    if (r == 0 && chunk->n_due > 0)
        r = db_claim_settle(db, chunk->claims, chunk->n_due, last);
    if (r == 0 && is_raced(chunk, last))
        r = CLAIM_ONCE_MORE;
    if (r == 0 && run->also != NULL)
        r = run->also(run, chunk->n_due > 0 ? &chunk->claims[0] : NULL);
    if (r == 0)
        r = FAILPOINT(claim_before_commit, ERROR_DB);
    if (r != 0) {
        db_rollback(db);
        return r;
    }
    r = commit(chunk, run);
    run->came_before |= r == CLAIM_ONCE_MORE;
    return r;
}

static enum act_claim_counter counter_of(enum db_claim_outcome outcome)
{
    return outcome == CLAIM_CLAIMED    ? COUNT_CLAIM_CLAIMED
           : outcome == CLAIM_REPEATED ? COUNT_CLAIM_REPEATED
           : outcome == CLAIM_OWN      ? COUNT_CLAIM_OWN
           : outcome == CLAIM_NO_PLACE ? COUNT_CLAIM_NO_PLACE
                                       : COUNT_CLAIM_REFUSED;
}

/* What is committed may be told. False: that it is to be looked at again. */
static bool take_over(struct chunk *chunk, size_t i)
{
    struct act_claim_entry *entry = chunk->due[i];
    enum db_claim_outcome outcome = chunk->claims[i].outcome;

    chunk->runs[i]->key_taken = true;
    if (outcome > CLAIM_REPEATED)
        secret_wipe(entry->new_code, sizeof(entry->new_code));
    if (outcome == CLAIM_LIMITED)
        return false;
    entry->claim = chunk->claims[i];
    metric_add(&chunk->worker->service->metrics.claims[counter_of(outcome)], 1);
    return true;
}

static int not_ended(void)
{
    return error_set(ERROR_DB, "database: a claim did not come to an end");
}

int act_claim_run_chunk(struct act_claim_run *run, size_t at, size_t *ret_n)
{
    CLEANUP(chunk_freep) struct chunk *chunk = chunk_new(run->call->worker);
    size_t n = run->n - at < DB_CLAIM_CHUNK_MAX ? run->n - at : DB_CLAIM_CHUNK_MAX;
    int r = CLAIM_ONCE_MORE;

    if (chunk == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for claims");
    *ret_n = n;
    for (int i = 0; i < TURNS_MAX && r == CLAIM_ONCE_MORE; i++) {
        chunk->n_due = 0;
        for (size_t k = 0; k < n; k++)
            chunk_add(chunk, run, &run->entries[at + k]);
        if ((r = load(chunk)) < 0 || chunk->n_due == 0 || (r = hash(chunk)) < 0)
            return r;
        r = settle(run, chunk, i == TURNS_MAX - 1);
    }
    if (r == CLAIM_ONCE_MORE)
        return not_ended();
    for (size_t i = 0; r == 0 && i < chunk->n_due; i++) {
        if (take_over(chunk, i))
            continue;
        *ret_n = (size_t)(chunk->due[i] - &run->entries[at]); /* and all behind it */
        break;
    }
    return r;
}

int act_claim_run_alone(struct act_claim_run *run)
{
    CLEANUP(chunk_freep) struct chunk *chunk = chunk_new(run->call->worker);
    int r = CLAIM_ONCE_MORE;

    if (chunk == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a call");
    for (int i = 0; i < TURNS_MAX && r == CLAIM_ONCE_MORE; i++)
        r = settle(run, chunk, i == TURNS_MAX - 1);
    return r == CLAIM_ONCE_MORE ? not_ended() : r;
}

/* --- calls that wait together ----------------------------------------------------------------- */

/* A device that somebody else holds just now keeps its own claim waiting, and not those beside it:
 * all go again alone. */
static int settle_together(struct chunk *chunk)
{
    struct db *db = chunk->worker->db;
    int r = db_begin_impatient(db, TOGETHER_LOCK_MS);

    if (r == 0)
        r = take_keys(chunk);
    if (r == 0 && chunk->n_due > 0)
        r = db_claim_settle(db, chunk->claims, chunk->n_due, false);
    if (r == 0)
        return commit(chunk, chunk->runs[0]);
    db_rollback(db);
    return r;
}

/* Of runs whose only entries are in the chunk. */
static int run_together(struct chunk *chunk)
{
    int r = load(chunk);

    if (r == 0 && chunk->n_due > 0)
        r = hash(chunk);
    return r == 0 && chunk->n_due > 0 ? settle_together(chunk) : r;
}

void act_claim_run_together(struct act_claim_run *const *runs, size_t n, bool *ret_done)
{
    CLEANUP(chunk_freep) struct chunk *chunk = chunk_new(runs[0]->call->worker);
    int r;

    memset(ret_done, 0, n * sizeof(*ret_done));
    if (chunk == NULL)
        return;
    for (size_t i = 0; i < n; i++)
        chunk_add(chunk, runs[i], &runs[i]->entries[0]);
    r = run_together(chunk);
    if (r < 0)
        log_warn("request=%s claims could not be settled together: %s",
            runs[0]->claimant.request_id, error_text());
    for (size_t i = 0; i < n; i++)
        ret_done[i] = runs[i]->entries[0].fault != FAULT_NONE || (r == 0 && runs[i]->other_call);
    for (size_t i = 0; r == 0 && i < chunk->n_due; i++) {
        enum db_claim_outcome outcome = chunk->claims[i].outcome;
        bool again = outcome == CLAIM_AGAIN || outcome == CLAIM_RACED;

        for (size_t k = 0; k < n; k++)
            if (runs[k] == chunk->runs[i])
                ret_done[k] = !again && take_over(chunk, i);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

static unsigned answer_limited(struct act_call *call, int64_t wait_s)
{
    char text[RETRY_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "%" PRId64, wait_s);
    act_call_header(call, "Retry-After", text);
    return act_call_problem(call, PROBLEM_TOO_MANY,
        "too many claims with wrong codes: none is looked at before Retry-After is over");
}

unsigned act_claim_refuse(struct act_call *call, const struct act_claim_entry *entry)
{
    switch (entry->fault) {
    case FAULT_LIMITED:
        return answer_limited(call, entry->wait_s);
    case FAULT_HOME:
        return act_call_bad_field(
            call, "home_net_id", "home_net_id is of no network server that is known here");
    case FAULT_AS:
        return act_call_bad_field(
            call, "as_id", "as_id is no application server that is known here");
    case FAULT_SUBSCRIPTION:
        return act_call_bad_field(call, "subscription_id", ACT_SUBSCRIPTION_UNKNOWN);
    case FAULT_ENDED:
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_SUBSCRIPTION_ENDED);
    case FAULT_FULL:
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_SUBSCRIPTION_FULL);
    case FAULT_NONE:
        break;
    }
    if (entry->claim.outcome == CLAIM_NO_PLACE)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "the subscription has no place left by now, or has ended; the device is as it was");
    return entry->claim.outcome <= CLAIM_OWN
               ? 0
               : act_call_problem(call, PROBLEM_CLAIM_REFUSED,
                     "no device that can be claimed has this DevEUI and this code");
}

unsigned act_claim_run_failed(struct act_claim_run *run, int outcome)
{
    if (outcome == CLAIM_RUN_ANSWERED)
        return run->call->status;
    return outcome == CLAIM_RUN_OTHER_CALL ? act_call_problem(run->call, PROBLEM_UNPROCESSABLE,
                                                 "this Idempotency-Key was used for another call")
                                           : act_call_failed(run->call, outcome);
}
