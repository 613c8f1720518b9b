/* Wrong MICs by device, so that nobody guesses one: a MIC has 32 bits, and one that is right would
 * let its sender use up the device's DevNonces. Beyond MIC_FAILURES_MAX a minute only one request
 * in MIC_CHECK_ONE_IN is checked; the others are answered as wrong. Never a hard stop, or anyone on
 * the air could lock a device out: its own request gets through when it is tried again.
 *
 * One of a process, for all its workers. The table is bounded; where it is full, the device with
 * the fewest failures is forgotten. Any thread may call. */
#pragma once

#include "base/eui.h"
#include <pthread.h>
#include <stdbool.h>

#define MIC_FAILURES_MAX 60
#define MIC_WINDOW_MS 60000
#define MIC_CHECK_ONE_IN 4
#define MIC_LIMIT_SETS 512 /* of MIC_LIMIT_WAYS devices; 48 KiB */
#define MIC_LIMIT_WAYS 4

struct mic_limit {
    pthread_mutex_t lock;
    struct mic_failures {
        struct eui64 dev_eui;
        unsigned n; /* in the window; 0: nobody's place */
        int64_t since_ms;
    } sets[MIC_LIMIT_SETS][MIC_LIMIT_WAYS];
};

/** Of a struct of zeros. */
void mic_limit_init(struct mic_limit *limit);
void mic_limit_done(struct mic_limit *limit);

/** Whether the device has had its wrong MICs of this minute: then check one in MIC_CHECK_ONE_IN. */
bool mic_limit_is_reached(struct mic_limit *limit, const struct eui64 *dev_eui, int64_t now_ms);
/** The device's MIC was checked and is wrong. */
void mic_limit_failed(struct mic_limit *limit, const struct eui64 *dev_eui, int64_t now_ms);
