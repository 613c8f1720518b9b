/* Whether a partner is asked at all. One that fails again and again is left alone for a while, so
 * that its requests are refused at once; then one request at a time is let through to see whether
 * it is back. Pure: time is what the caller says it is. Not for several threads at once. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 5      /* in a row open it */
#define BREAKER_WINDOW 32       /* of the last exchanges, half of which open it, too, ... */
#define BREAKER_WINDOW_LEAST 20 /* ... once there were so many */
#define BREAKER_PAUSE_MS 1000   /* before the first probe; doubled after each that fails */
#define BREAKER_PAUSE_MAX_MS 30000

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN, N_BREAKER_STATES };

/** Zeros: closed, and nothing known. */
struct breaker {
    enum breaker_state state;
    unsigned n_in_row; /* failures */
    uint32_t window;   /* a bit for each of the last exchanges, the latest the lowest: it failed */
    unsigned n_window;
    int64_t pause_ms;
    int64_t open_until_ms;
    bool is_probing; /* of half-open: the probe is on its way */
};

enum breaker_pass {
    BREAKER_LET_THROUGH,
    BREAKER_PROBE, /* let through, and what comes of it decides */
    BREAKER_REFUSE,
};

/** What is let through must be told about with breaker_end, once. */
enum breaker_pass breaker_ask(struct breaker *breaker, int64_t now_ms);

/** Whether it would refuse now; changes nothing. */
bool breaker_rests(const struct breaker *breaker, int64_t now_ms);

enum breaker_verdict {
    BREAKER_WELL,
    BREAKER_FAILED,
    BREAKER_NOTHING_KNOWN, /* it was given up for a reason of our own */
};

void breaker_end(
    struct breaker *breaker, enum breaker_pass pass, enum breaker_verdict verdict, int64_t now_ms);

/** "closed", "open", "half_open". */
const char *breaker_state_name(enum breaker_state state);
