#include "base/clock.h"

#include "base/error.h"
#include <openssl/rand.h>
#include <stdio.h>
#include <time.h>

int64_t clock_monotonic_us(void)
{
    struct timespec ts;

    /* Cannot fail for this clock and a valid pointer. */
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

int64_t clock_unix_s(void)
{
    return (int64_t)time(NULL);
}

const char *clock_rfc3339(char out[static CLOCK_TEXT_LEN + 1])
{
    struct timespec ts;
    struct tm tm;
    char day[sizeof("2026-01-02T03:04:05")];

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(
        out, CLOCK_TEXT_LEN + 1, "%s.%03uZ", day, (unsigned)(ts.tv_nsec / 1000000) % 1000);
    return out;
}

int random_bytes(void *out, size_t len)
{
    if (len > INT32_MAX || RAND_bytes(out, (int)len) != 1)
        return error_set(ERROR_SYSTEM, "the random generator gave nothing");
    return 0;
}
