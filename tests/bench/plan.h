/* The requests of a measurement, whole HTTP messages made before the clock starts. */
#pragma once

#include "base/text.h"
#include "tests/bench/fleet.h"

#define BENCH_ANSWER_MAX 4096 /* a JoinAns of 1.1 has less than 1,300 */

struct bench_request {
    size_t at; /* in bytes.data */
    uint32_t len;
    uint32_t device;
    uint16_t dev_nonce;
};

/** The request with index i has TransactionID i. A device's requests are in the order in which its
 * DevNonces must be used. */
struct bench_plan {
    struct text bytes;
    size_t answer_max; /* bytes of an answer, head and body */
    struct bench_request *requests;
    uint32_t n;
};

/** Makes `n` requests, after what their devices have used was read from the database, and spends
 * their DevNonces in `fleet`. */
int bench_plan_make(const struct bench_settings *settings, struct bench_fleet *fleet, struct db *db,
    const struct simdev_network *network, uint32_t n, struct bench_plan *ret);
/** Makes requests of these devices, in this order, and spends their DevNonces. */
int bench_plan_of(const struct bench_settings *settings, struct bench_fleet *fleet,
    const struct simdev_network *network, const uint32_t *devices, uint32_t n,
    struct bench_plan *ret);
void bench_plan_done(struct bench_plan *plan);
