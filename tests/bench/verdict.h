/* Whether the answers of a measurement are right, and how long they took. */
#pragma once

#include "tests/bench/traffic.h"

struct bench_verdict {
    uint32_t n_checked;
    uint32_t n_errors;  /* missing, refused or wrong */
    uint32_t n_in_time; /* right, and there within the measured time */
    double p50_ms, p95_ms, p99_ms, max_ms;
};

/** Checks every answer as its device, network server and application server would: header, result,
 * MIC, JoinNonce above the device's last one, fields as asked for, every key the device's own. The
 * first that is wrong is told on standard error. Moves the JoinNonces in `fleet` on. */
int bench_verdict_reach(struct bench_fleet *fleet, const struct simdev_network *network,
    const struct bench_plan *plan, const struct bench_traffic *traffic, unsigned rate,
    struct bench_verdict *ret);
