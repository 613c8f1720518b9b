/* Time and randomness through seams, so that tests can put their own behind them. */
#pragma once

#include "base/cleanup.h"
#include <stddef.h>
#include <stdint.h>

/** Monotonic milliseconds and microseconds: for deadlines and durations. */
int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
/** Seconds since 1970-01-01 UTC. */
int64_t clock_unix_s(void);
/** RFC 3339 UTC with milliseconds, "2026-01-02T03:04:05.678Z"; writes and returns `out`. */
#define CLOCK_TEXT_LEN 24
const char *clock_rfc3339(char out[static CLOCK_TEXT_LEN + 1]);

/** Cryptographic random bytes (OpenSSL); a negative error is possible and must be handled. */
int random_bytes(void *out, size_t len) MUST_CHECK;
