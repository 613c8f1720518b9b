/* Failpoints: named places at which a test has a service killed, held up or failed. Only with the
 * build option `failpoints`; the programs that are shipped have none of this, and none of the
 * names.
 *
 * FAILPOINT(name, code) is 0, or `code` with its sentence where this very passage was told to fail.
 * A test writes into a file that it names in the environment, and that each process maps. */
#pragma once

#include "base/cleanup.h"
#include <stdint.h>

/* Where, in the order in which one act comes by. A commit is one of the whole program here: what
 * was sent and is not answered, what is done and not known. */
#define FAILPOINTS(X)                                                                              \
    X(join_before_load)                                                                            \
    X(join_loaded)                                                                                 \
    X(join_before_keyd)                                                                            \
    X(join_keyd_answered)                                                                          \
    X(join_before_commit)                                                                          \
    X(join_commit_done)                                                                            \
    X(join_before_answer)                                                                          \
    X(join_answered)                                                                               \
    X(db_commit_sent)                                                                              \
    X(db_commit_done)                                                                              \
    X(keyd_asked)                                                                                  \
    X(keyd_before_reply)                                                                           \
    X(call_before_answer)                                                                          \
    X(import_sealed)                                                                               \
    X(import_before_commit)                                                                        \
    X(import_commit_done)                                                                          \
    X(claim_loaded)                                                                                \
    X(claim_hashed)                                                                                \
    X(claim_before_commit)                                                                         \
    X(claim_commit_done)                                                                           \
    X(webhook_taken)                                                                               \
    X(webhook_before_settle)                                                                       \
    X(webhook_settled)                                                                             \
    X(job_taken)                                                                                   \
    X(export_before_commit)                                                                        \
    X(export_commit_done)                                                                          \
    X(audit_before_chain)                                                                          \
    X(audit_chained)                                                                               \
    X(audit_signed)

#ifdef CRADLE_FAILPOINTS

#define FAILPOINT_ENUM(name) FAILPOINT_##name,
enum failpoint { FAILPOINTS(FAILPOINT_ENUM) N_FAILPOINTS };
#undef FAILPOINT_ENUM

enum failpoint_action { FAILPOINT_KILL = 1, FAILPOINT_PAUSE, FAILPOINT_FAIL };

/** The control file. It acts once, at the `first` passage counted from when `hits` was set to 0. */
struct failpoint_control {
    _Atomic uint32_t armed;    /* 1: not done yet */
    _Atomic uint32_t point;    /* enum failpoint */
    _Atomic uint32_t action;   /* enum failpoint_action */
    _Atomic uint32_t first;    /* from 1 */
    _Atomic uint32_t pause_ms; /* of a pause */
    _Atomic uint32_t hits[N_FAILPOINTS];
};

#define FAILPOINT_ENV "CRADLE_FAILPOINTS" /* path of the control file */

int failpoint_pass(enum failpoint point, int code);

#define FAILPOINT(name, code) failpoint_pass(FAILPOINT_##name, code)
#else
#define FAILPOINT(name, code) 0
#endif
