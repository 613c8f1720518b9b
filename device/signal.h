/* Signs that a device is cloned or attacked: one table of what they are, what each weighs and how
 * fast that fades, and the judgement over them. Pure.
 *
 * A valid MIC alone says nothing: whoever listens has valid frames, and can send them again. A
 * Join-Request is made of key, EUIs and DevNonce and of nothing else, so one with a DevNonce that
 * was seen before is the same to the byte. Only frames that were never seen before are evidence
 * (db/signal.c). Of those, too, somebody without the key may have a few: what the device sent while
 * no network heard it. So a kind of evidence has a most that it can weigh, and those that can be
 * brought about without the key weigh less, all together, than a quarantine takes; but for
 * dev_nonce_series, which takes an unheard frame and a join of the device for each. */
#pragma once

#include "device/moves.h"
#include <stddef.h>

enum device_signal {
    SIGNAL_DEV_NONCE_SERIES,
    SIGNAL_DEV_NONCE_LOWER,
    SIGNAL_DEV_NONCE_JUMP,
    SIGNAL_RJ_COUNT_LOWER,
    SIGNAL_JOIN_RATE,
    SIGNAL_TWO_NETWORKS,
    SIGNAL_SUSPENDED_JOIN,
    SIGNAL_SHARED_KEY,
    N_DEVICE_SIGNALS
};

struct device_signal_row {
    const char *name;   /* trust_signal.kind */
    unsigned weight;    /* points of one, at first */
    unsigned half_life; /* hours */
    unsigned most;      /* points of all of this kind together */
    bool of_key;        /* it outlives a change of owners */
    const char *what;   /* what was seen */
    const char *why;    /* what it may mean, and what else */
    const char *to_do;
};

const struct device_signal_row *device_signal_row(enum device_signal signal);
bool device_signal_parse(const char *name, enum device_signal *ret);

/** Points that a signal still has, alone. A time in the future is now. */
double device_signal_weight(enum device_signal signal, int64_t age_s);

struct device_signal_seen {
    enum device_signal signal;
    int64_t age_s;
};
/** Of each kind the sum, but no more than its `most`. */
double device_signal_score(const struct device_signal_seen *seen, size_t n);

/* Points, unless the service is configured otherwise. */
#define DEVICE_SUSPECT_AT 30
#define DEVICE_QUARANTINE_AT 60
/* A suspect device is trusted again below this part of what made it suspect, so that it does not
 * go to and fro. */
#define DEVICE_TRUSTED_BELOW_PERCENT 50

struct device_signal_limits {
    unsigned suspect_at, quarantine_at;
    bool may_quarantine; /* its owner wants it */
};
/** The move that the service makes by itself at this score. False: none. Quarantine is lifted by
 * people only. */
bool device_signal_judge(const struct device_record *record, double score,
    const struct device_signal_limits *limits, enum device_move *ret);
