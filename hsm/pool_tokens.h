/* Which of a pool's tokens serves. Inside of the pool; its lock is held by every caller.
 *
 * The first token is preferred. One that fails gives way to the other, and serves again when so
 * many probes in a row found it well; where it fails again soon after, it takes twice as many. */
#pragma once

#include "base/metrics.h"
#include "hsm/hosting.h"
#include "hsm/key_list.h"
#include "hsm/pool_process.h"

#define POOL_TOKENS_MAX HOSTING_TOKENS_MAX

struct keyd_pool;

enum pool_token_state {
    POOL_TOKEN_UNTRIED,
    POOL_TOKEN_WELL,
    POOL_TOKEN_AWAY,        /* it failed; it is probed until it does not */
    POOL_TOKEN_OTHER_KEYS,  /* it never serves while that is so */
    POOL_TOKEN_PIN_REFUSED, /* never tried again */
};

struct pool_token {
    char *uri, *lock_file, *softhsm_conf;
    enum pool_token_state state;
    char why[ERROR_TEXT_MAX]; /* what was last said of it in the log; "" while it is well */
    struct pool_process *probe;
    int64_t probe_at_ms;
    unsigned n_well;   /* probes in a row */
    unsigned n_wanted; /* before it serves again */
    int64_t back_ms;   /* when it last did; 0: it was never away */
    unsigned n_late;   /* calls in a row without an answer */
    bool shows_more;   /* keys than the one that serves; that was said */
};

/** Takes copies of the strings. ERROR_SYSTEM. */
int pool_token_init(struct pool_token *token, const char *uri, const char *lock_file,
    const char *softhsm_conf) MUST_CHECK;
void pool_token_done(struct pool_token *token);
/** A host says how many there are, 1 to POOL_TOKENS_MAX: that may change when it is started anew.
 */
void pool_tokens_are(struct keyd_pool *pool, unsigned n);

/** Whether a process may be started on the token that serves. */
bool pool_token_startable(const struct keyd_pool *pool);
/** A token is of no use now. Returns whether another one serves instead of it. */
bool pool_token_failed(
    struct keyd_pool *pool, unsigned token, enum pool_token_state state, const char *why);
/** A process is ready to serve: whether its token may, by its keys. */
bool pool_token_accept(struct keyd_pool *pool, const struct pool_process *process);
/** A probe said that its token is well; its keys are looked at. */
void pool_token_probed(struct keyd_pool *pool, struct pool_process *process);
/** A call on the token went well, or was not answered in time. */
void pool_token_note_call(struct keyd_pool *pool, unsigned token, bool answered);
/** Starts the probes that are due; returns when the next is. */
int64_t pool_tokens_due(struct keyd_pool *pool, int64_t now_ms);
/** Ends what was said of all tokens that do not work, as "token 1: ...; token 2: ...". */
void pool_tokens_say(const struct keyd_pool *pool, char *out, size_t size);
/** Prometheus lines: which serves, which is well, which is refused. */
void pool_tokens_metrics(struct keyd_pool *pool, struct text *out);
