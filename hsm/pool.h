/* The pool's inside, shared by its supervisor (pool.c) and the calls (client.c). */
#pragma once

#include "base/error.h"
#include "base/metrics.h"
#include "hsm/pool_process.h"
#include "hsm/pool_tokens.h"
#include <pthread.h>

enum pool_metric {
    POOL_METRIC_STARTS,
    POOL_METRIC_DEATHS,
    POOL_METRIC_RECYCLES,
    POOL_METRIC_OPERATIONS,
    POOL_METRIC_RESENDS,
    POOL_METRIC_LATE,
    POOL_METRIC_TOKEN_CHANGES,
    POOL_METRIC_PROCESSES,
};
#define POOL_N_METRICS (POOL_METRIC_PROCESSES + 1)

/** A thread's way to its key process. The thread owns `fd` during a call; between calls the
 * supervisor may move it to a successor. */
struct keyd_channel {
    struct keyd_pool *pool;
    unsigned slot;
    unsigned place; /* among the channels of its slot */
    int fd;
    uint64_t generation; /* of the process behind fd */
    unsigned token;      /* of that process */
    uint64_t broken;     /* generations up to this one are of no use to this channel */
    bool in_call;
    uint32_t sequence;
    struct keyd_reply reply;
    uint8_t request_frame[KEYD_FRAME_MAX];
    uint8_t reply_frame[KEYD_FRAME_MAX];
};

/** A place for one serving process and, at times, its successor. */
struct pool_slot {
    struct pool_process *current;
    struct pool_process *starting;
    unsigned n_channels;
    unsigned failed_starts; /* in a row */
    int64_t retry_at_ms;
    int64_t backoff_ms;
};

struct keyd_pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t supervisor;
    bool supervised; /* the thread runs */
    int wake;        /* eventfd for the supervisor */
    bool proven;     /* one process was ready: the others may start */
    bool closing;
    int64_t close_by_ms;
    int stop_code; /* ERROR_PIN: no process is ever started again */
    int last_error;
    char last_text[ERROR_TEXT_MAX];
    char describe[KEYD_HELLO_TEXT_MAX];
    int last_end; /* how the last process ended that was not asked to: as from waitpid */
    uint64_t generation;
    char *program, *socket, *host_user;
    struct pool_token tokens[POOL_TOKENS_MAX];
    unsigned n_tokens;
    unsigned serving;     /* of the tokens: processes are started on it */
    struct key_list keys; /* what every token must hold; empty until one has served */
    unsigned keys_of;     /* the token that showed them */
    unsigned verbs;
    bool plain_keys;
    unsigned max_operations;
    unsigned max_memory_mib;
    unsigned n_slots;
    struct pool_slot *slots;
    unsigned n_channels;
    struct keyd_channel **channels;
    struct pool_process *processes; /* all that are not reaped */
    struct metric metrics[POOL_N_METRICS];
};

/* How a call on a channel went. */
enum pool_call_end {
    POOL_CALL_OK,
    POOL_CALL_BROKEN, /* its process died: the successor is asked */
    POOL_CALL_LATE,   /* no answer in time: what comes later would answer the wrong question */
    POOL_CALL_WRONG,  /* an answer that cannot be */
    POOL_CALL_FAILED, /* an answer, but the token failed an item of it */
};

/** Waits for a process behind the channel. ERROR_DEADLINE, ERROR_HSM, ERROR_PIN. */
int pool_channel_take(struct keyd_channel *channel, int64_t deadline_ms) MUST_CHECK;
/** Ends a call; `reply` (POOL_CALL_OK only) tells how worn the process is. */
void pool_channel_give(
    struct keyd_channel *channel, enum pool_call_end end, const struct keyd_reply *reply);
/** The token failed an item of the answer: where another one serves now the call is ended and true
 * comes back, to ask again; else the call goes on, with the answer as it is. */
bool pool_channel_token_failed(struct keyd_channel *channel);

/* Below, the caller holds the pool's lock. */

/** Takes a channel that is between calls to the present process of its slot. */
void pool_channel_move(struct keyd_pool *pool, struct keyd_channel *channel);

/** Tells the supervisor to look; needs no lock. */
void pool_wake(struct keyd_pool *pool);
/** The supervisor's thread; returns when the pool closes and the last process is reaped. */
void *pool_supervise(void *pool);
