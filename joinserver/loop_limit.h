/* Devices that join again and again, as one does that never gets its answers. What counts are joins
 * that were accepted, so nobody can slow a device down who cannot make its MIC; and only requests
 * of the peer that it joined through are refused, so no other hears that there is such a device.
 *
 * A device may join `burst` times in a row, and then once in `interval_ms`; what it does not use
 * comes back at that pace. One table of a process, bounded; where it is full, the device that is
 * nearest to its whole burst is forgotten. Any thread may call. */
#pragma once

#include "joinserver/decide.h"
#include <pthread.h>

#define LOOP_LIMIT_SETS 4096 /* of LOOP_LIMIT_WAYS devices; 512 KiB */
#define LOOP_LIMIT_WAYS 4
#define LOOP_LIMIT_PRINT_LEN 8 /* bytes of a fingerprint that are kept */

struct loop_limit {
    pthread_mutex_t lock;
    int64_t interval_ms;
    int64_t burst_ms; /* what `burst` joins take at that pace; 0: no limit */
    struct loop_device {
        struct eui64 dev_eui;
        int64_t peer_id;
        int64_t whole_ms; /* monotonic: when it has its whole burst again */
        uint8_t last[LOOP_LIMIT_PRINT_LEN];
    } sets[LOOP_LIMIT_SETS][LOOP_LIMIT_WAYS];
};

/** Of a struct of zeros. `burst` 0: no limit. */
void loop_limit_init(struct loop_limit *limit, unsigned burst, unsigned interval_s);
void loop_limit_done(struct loop_limit *limit);

/** Whether the device has joined too often for this request, which is not the one that was accepted
 * last: that one may be asked for again. */
bool loop_limit_is_reached(struct loop_limit *limit, const struct eui64 *dev_eui, int64_t peer_id,
    const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN], int64_t now_ms);
/** The device's join was accepted. */
void loop_limit_joined(struct loop_limit *limit, const struct eui64 *dev_eui, int64_t peer_id,
    const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN], int64_t now_ms);
