/* One cradle-keyd as its pool sees it: started, spoken to, killed, reaped. Inside of the pool; the
 * pool's lock is held by every caller. */
#pragma once

#include "hsm/frame.h"
#include "hsm/key_list.h"
#include <sys/types.h>

enum pool_process_state {
    POOL_STARTING, /* waiting for its hello */
    POOL_READY,
    POOL_LEAVING, /* replaced: it ends when its last channel is closed */
};

struct pool_process {
    struct pool_process *next;
    pid_t pid;   /* 0: a host's, known by its connection alone */
    int pidfd;   /* readable once it has ended; of a host's the connection by which it was asked for
                  */
    int control; /* our side of its first descriptor; -1 once closed */
    unsigned slot;
    unsigned token;      /* it was started on */
    bool probe;          /* serves nobody: it says how its token is */
    uint64_t generation; /* counts the pool's starts */
    enum pool_process_state state;
    int64_t since_ms; /* when it came into this state */
    bool worn;        /* reached a limit: to be replaced */
    bool served;      /* answered something: its successor need not be held back */
    bool said_hello;
    struct keyd_hello hello;
    unsigned host_tokens; /* of a host's: how many tokens it says there are; 0: it has not */
    bool said_keys;
    struct key_list keys; /* of its token */
    unsigned n_channels;
    int *channels; /* our sides that no channel has taken yet, else -1 */
};

struct pool_process_options {
    const char *program;
    const char *uri;
    const char *lock_file;
    const char *softhsm_conf; /* "": ours */
    const char *socket;       /* of a host, which starts it by its own word; "": we do */
    const char *host_user;    /* "": anybody's */
    unsigned token;           /* of those that a host knows, from 0 */
    unsigned n_channels;      /* 0: a probe */
    unsigned memory_mib;
    unsigned verbs;
    bool plain_keys; /* session keys may leave in clear */
    bool list_keys;  /* which keys does the token hold? */
};

/** What a key process gets of an environment: an array to free, of strings that are not copied.
 * `softhsm` ("SOFTHSM2_CONF=...", or NULL) comes in the place of what was said of it. NULL when
 * there is no memory. */
char **pool_process_environment(char *const *from, char *softhsm);
/** ERROR_CONFIG when the program is not there; ERROR_SYSTEM. */
int pool_process_start(const struct pool_process_options *options, struct pool_process **ret);
/** Reads the hello and what comes before it, if it is there. */
void pool_process_listen(struct pool_process *process);
void pool_process_kill(const struct pool_process *process);
/** Closes what no channel has taken. */
void pool_process_let_go(struct pool_process *process);
/** Waits for its end, which has come; returns the status of waitpid. */
int pool_process_reap(struct pool_process *process);
void pool_process_free(struct pool_process *process);
