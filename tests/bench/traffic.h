/* Sends the requests of a plan and keeps what comes back, raw. One thread, one epoll,
 * keep-alive connections, plain or TLS; nothing is looked at but where an answer ends. */
#pragma once

#include "tests/bench/plan.h"

#define BENCH_STAGES_MAX 3

/** An answer: the whole HTTP message. `len` 0: none came. */
struct bench_reply {
    size_t at;
    uint32_t len;
    int64_t due_us; /* when it was sent, or with a rate, when it should have been */
    int64_t sent_us;
    int64_t done_us; /* when its last byte was there */
};

struct bench_traffic {
    struct bench_reply *replies; /* one a request */
    uint32_t n_sent;
    char *bytes; /* of all answers */
    size_t len;
    size_t capacity;
    int64_t begin_us; /* the measured time */
    int64_t end_us;
    int64_t cpu_us; /* this process's own in it */
    /* Of each stage: when it began, how many requests had been sent then, and this process's CPU.
     */
    struct bench_turn {
        int64_t at_us;
        uint32_t n_sent;
        int64_t cpu_us;
    } turns[BENCH_STAGES_MAX];
};

/** A part of a run. Where there are several, what was due in one and could not be sent is left out.
 */
struct bench_stage {
    unsigned rate; /* requests a second; 0: the next when one is answered, for the whole run */
    unsigned seconds;
};

/** Runs until `settings->seconds` after a warm-up of a second, or in a closed loop until the plan
 * has no more, and then waits ten seconds at most for what is under way or, with a rate, overdue.
 * Answers that do not come are no error here: they are missing in `ret`. */
int bench_traffic_run(const struct bench_settings *settings, const struct bench_plan *plan,
    struct bench_traffic *ret);
/** The same in stages, one behind the other over the same connections; the second of warm-up is the
 * first one's. Prints the line "stage" when another one begins. */
int bench_traffic_run_stages(const struct bench_settings *settings, const struct bench_plan *plan,
    const struct bench_stage *stages, size_t n_stages, struct bench_traffic *ret);
void bench_traffic_done(struct bench_traffic *traffic);
