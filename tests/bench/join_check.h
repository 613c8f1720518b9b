/* Whether the answer to a join is right, as its device, network server and application server would
 * see it. */
#pragma once

#include "tests/bench/verdict.h"

struct bench_joined {
    struct bench_fleet *fleet; /* its JoinNonces move on */
    struct simdev_network *network;
    const struct bench_plan *plan;
};

/* Outcomes besides 0, of an answer that is right: */
#define BENCH_WRONG 1
#define BENCH_SHED 2 /* 503: come again */
#define BENCH_LATE 3 /* Other: it was taken in, and its time has passed */

/** A bench_check; `context` is a struct bench_joined. */
int bench_join_check(
    void *context, uint32_t index, const char *message, size_t len, char why[static BENCH_WHY_MAX]);
