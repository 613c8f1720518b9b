#include "activation/claim_run.h"

#include "activation/code_hash.h"
#include "activation/subscriptions.h"
#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TURNS_MAX 4       /* of a chunk that finds itself done by the same call, or does not know */
#define RETRY_TEXT_MAX 24 /* digits of Retry-After */

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
static enum act_claim_fault fault_of(const struct db_claim *claim, int64_t wait_s)
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
    return places[claim->place] == FAULT_NONE && wait_s != 0 ? FAULT_LIMITED : places[claim->place];
}

/* Those that may be looked at now, at most as many as could all be wrong. *ret_n: how many entries
 * from `at` on it is about. */
static int load(struct act_claim_run *run, size_t at, size_t *ret_n)
{
    size_t n = run->n - at < DB_CLAIM_CHUNK_MAX ? run->n - at : DB_CLAIM_CHUNK_MAX, allowance = 1;
    int64_t wait_s = 0;
    int r;

    for (size_t i = 0; i < n; i++)
        run->claims[i] = run->entries[at + i].claim;
    r = db_claim_load(run->call->worker->db, &run->claimant, run->claims, n, &wait_s, &allowance);
    if (r < 0)
        return r;
    if (wait_s == 0 && n > allowance)
        n = allowance;
    run->n_due = 0;
    for (size_t i = 0; i < n; i++) {
        struct act_claim_entry *entry = &run->entries[at + i];
        const struct db_claim *claim = &run->claims[i];

        entry->wait_s = wait_s > claim->wait_s ? wait_s : claim->wait_s;
        if (entry->wait_s != 0)
            metric_add(&run->call->worker->service->metrics.claims[COUNT_CLAIM_LIMITED], 1);
        entry->fault = fault_of(claim, entry->wait_s);
        if (entry->fault != FAULT_NONE)
            continue;
        run->due[run->n_due] = entry;
        run->claims[run->n_due++] = *claim;
    }
    *ret_n = n;
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
    secret_wipe(read, sizeof(read));
}

/* The given code and the one to come, of right and wrong ones alike. */
static int hash(struct act_claim_run *run)
{
    struct act_worker *worker = run->call->worker;
    size_t n = run->n_due;
    int r = keyd_random(worker->keyd, run->random[0], sizeof(run->random[0]), n,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct act_claim_entry *entry = run->due[i];

        device_code_make(run->random[i], run->call->caller->claim_code_length, entry->new_code);
        entry->generation = run->claims[i].generation + 1;
        put_given(&run->clear[2 * i], &run->claims[i], entry->code);
        put_code(&run->clear[2 * i + 1], &run->claims[i], entry->generation, entry->new_code);
    }
    r = act_code_hash(worker, run->clear, 2 * n, run->hashed);
    secret_wipe(run->clear, sizeof(run->clear));
    for (size_t i = 0; r == 0 && i < n; i++) {
        memcpy(run->claims[i].hash, run->hashed[2 * i].hash, sizeof(run->claims[i].hash));
        memcpy(
            run->claims[i].new_hash, run->hashed[2 * i + 1].hash, sizeof(run->claims[i].new_hash));
    }
    return r;
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

/* Somebody was faster, perhaps the same call; the last turn takes that for what it says. */
static bool is_raced(struct act_claim_run *run, bool last)
{
    bool raced = false;

    for (size_t i = 0; i < run->n_due; i++) {
        enum db_claim_outcome *outcome = &run->claims[i].outcome;

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
static int settle(struct act_claim_run *run, bool last)
{
    struct db *db = run->call->worker->db;
    int r = db_begin(db);

    if (r == 0)
        r = take_key(run);
    if (r == 0 && run->n_due > 0)
        r = db_claim_settle(db, &run->claimant, run->claims, run->n_due);
    if (r == 0 && is_raced(run, last))
        r = CLAIM_ONCE_MORE;
    if (r == 0 && run->also != NULL)
        r = run->also(run);
    if (r != 0) {
        db_rollback(db);
        return r;
    }
    r = db_commit(db);
    if (r == ERROR_DB_UNKNOWN) {
        log_warn("request=%s the result of a claim's commit is unknown: %s",
            run->claimant.request_id, error_text());
        db_drop(db);
        run->came_before = true;
        return CLAIM_ONCE_MORE;
    }
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

/* What is committed may be told. */
static void take_over(struct act_claim_run *run)
{
    struct act_metrics *metrics = &run->call->worker->service->metrics;

    run->key_taken = true;
    for (size_t i = 0; i < run->n_due; i++) {
        struct act_claim_entry *entry = run->due[i];

        entry->claim = run->claims[i];
        if (entry->claim.outcome > CLAIM_REPEATED)
            secret_wipe(entry->new_code, sizeof(entry->new_code));
        metric_add(&metrics->claims[counter_of(entry->claim.outcome)], 1);
    }
}

static int not_ended(void)
{
    return error_set(ERROR_DB, "database: a claim did not come to an end");
}

int act_claim_run_chunk(struct act_claim_run *run, size_t at, size_t *ret_n)
{
    int r = CLAIM_ONCE_MORE;

    for (int i = 0; i < TURNS_MAX && r == CLAIM_ONCE_MORE; i++) {
        if ((r = load(run, at, ret_n)) < 0 || run->n_due == 0 || (r = hash(run)) < 0)
            return r;
        r = settle(run, i == TURNS_MAX - 1);
    }
    if (r == 0)
        take_over(run);
    return r == CLAIM_ONCE_MORE ? not_ended() : r;
}

int act_claim_run_alone(struct act_claim_run *run)
{
    int r = CLAIM_ONCE_MORE;

    run->n_due = 0;
    for (int i = 0; i < TURNS_MAX && r == CLAIM_ONCE_MORE; i++)
        r = settle(run, i == TURNS_MAX - 1);
    return r == CLAIM_ONCE_MORE ? not_ended() : r;
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
