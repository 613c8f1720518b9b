#include "device/signal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define HOUR_S 3600
#define DAY 24 /* hours */

#define RESET                                                                                      \
    "If it is one device that has lost its counter, reset its nonces, and see that its firmware "  \
    "keeps them."
#define REPLACE                                                                                    \
    "If you know of no such reason, put the device into quarantine, look for the other one, and "  \
    "replace it: its key is known to somebody."

static const struct device_signal_row rows[N_DEVICE_SIGNALS] = {
    [SIGNAL_DEV_NONCE_SERIES] = {"dev_nonce_series", 13, 3 * DAY, 90,
        .what = "Two rising series of DevNonces: between two lower ones that were never seen "
                "before, the device joined with a higher one.",
        .why = "Two devices with one key count each for itself. Else one device falls back in its "
               "count again and again, or draws DevNonces at random though its record says that it "
               "counts; or somebody sends recorded Join-Requests that no network heard.",
        .to_do = "Look at its DevNonces: if they are random, have the maker correct its LoRaWAN "
                 "version. " REPLACE},
    [SIGNAL_DEV_NONCE_LOWER] = {"dev_nonce_lower", 2, 3 * DAY, 4,
        .what = "A valid Join-Request with a DevNonce below the last one, never seen before.",
        .why = "A device that has lost its counter, as after an empty battery, a request that "
               "came late, or a recorded one that no network had heard. Alone it means little.",
        .to_do = RESET},
    [SIGNAL_DEV_NONCE_JUMP] = {"dev_nonce_jump", 6, 7 * DAY, 12,
        .what = "The DevNonce jumped by more than 1,000.",
        .why = "A device that was out of reach for long and went on trying, or somebody who "
               "guessed a MIC to burn its DevNonces.",
        .to_do = "If the device cannot join any more, reset its nonces."},
    [SIGNAL_RJ_COUNT_LOWER] = {"rj_count_lower", 4, 3 * DAY, 8,
        .what = "A valid Rejoin-Request with an RJcount1 below the last one, never seen "
                "before.",
        .why = "A second device with the key, one that has lost its counter, or a recorded "
               "request that no network had heard.",
        .to_do = RESET},
    [SIGNAL_JOIN_RATE] = {"join_rate", 5, DAY, 30,
        .what = "More joins within a quarter of an hour than a device has reason for.",
        .why = "Two devices with one key that throw each other out of the network, or one "
               "device in bad reception, with a fault, or jammed.",
        .to_do = "Look at its joins and its reception. " REPLACE},
    [SIGNAL_TWO_NETWORKS] = {"two_networks", 4, DAY, 12,
        .what = "Joins through different network servers within a quarter of an hour.",
        .why = "Two devices with one key in two places, one device between two networks of "
               "its home operator, or somebody who relays its frames elsewhere.",
        .to_do = "Ask the network's operator where each join was heard. " REPLACE},
    [SIGNAL_SUSPENDED_JOIN] = {"suspended_join", 2, DAY, 4,
        .what = "A valid Join-Request of a suspended device.",
        .why = "The device does not know that it is suspended, and goes on trying; or somebody "
               "uses it, or a copy of it, all the same.",
        .to_do = "If the device should be off, find out who runs it. Else nothing."},
    [SIGNAL_SHARED_KEY] = {"shared_key", 20, 90 * DAY, 20, .of_key = true,
        .what = "Another device was imported with the same root key.",
        .why = "A maker gave several devices one key, or a device was imported twice under "
               "two DevEUIs. Whoever has one of them can speak for the other.",
        .to_do = "Ask the maker. Devices that share a key are to be replaced."},
};

const struct device_signal_row *device_signal_row(enum device_signal signal)
{
    assert((unsigned)signal < N_DEVICE_SIGNALS);
    return &rows[signal];
}

bool device_signal_parse(const char *name, enum device_signal *ret)
{
    for (unsigned i = 0; i < N_DEVICE_SIGNALS; i++)
        if (strcmp(rows[i].name, name) == 0) {
            *ret = (enum device_signal)i;
            return true;
        }
    return false;
}

double device_signal_weight(enum device_signal signal, int64_t age_s)
{
    const struct device_signal_row *row = device_signal_row(signal);
    const double age = age_s > 0 ? (double)age_s : 0;

    return row->weight * exp2(-age / ((double)row->half_life * HOUR_S));
}

double device_signal_score(const struct device_signal_seen *seen, size_t n)
{
    double of_kind[N_DEVICE_SIGNALS] = {0}, score = 0;

    for (size_t i = 0; i < n; i++)
        of_kind[seen[i].signal] += device_signal_weight(seen[i].signal, seen[i].age_s);
    for (unsigned i = 0; i < N_DEVICE_SIGNALS; i++)
        score += of_kind[i] < rows[i].most ? of_kind[i] : rows[i].most;
    return score;
}

bool device_signal_judge(const struct device_record *record, double score,
    const struct device_signal_limits *limits, enum device_move *ret)
{
    char fault[DEVICE_MOVE_FAULT_MAX];

    if (limits->may_quarantine && score >= limits->quarantine_at)
        *ret = MOVE_QUARANTINE;
    else if (score >= limits->suspect_at)
        *ret = MOVE_SUSPECT;
    else if (score * 100 < (double)limits->suspect_at * DEVICE_TRUSTED_BELOW_PERCENT)
        *ret = MOVE_TRUST;
    else
        return false;
    return device_move_judge(*ret, record, fault);
}
