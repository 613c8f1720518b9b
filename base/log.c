#include "base/log.h"

#include "base/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

/* Set once by main before any thread starts. */
static const char *process_name = "cradle";
static enum log_level minimum_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
};

void log_init(const char *process, enum log_level minimum)
{
    process_name = process;
    minimum_level = minimum;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    char now[CLOCK_TEXT_LEN + 1];
    va_list args;
    int n, m;
    size_t len;

    if (level < minimum_level)
        return;
    n = snprintf(line, sizeof(line), "%s %s %s[%d] ", clock_rfc3339(now), level_names[level],
        process_name, (int)getpid());
    if (n < 0)
        return;
    va_start(args, fmt);
    m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, args);
    va_end(args);
    if (m < 0)
        return;
    len = (size_t)n + (size_t)m;
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    /* What a peer sent may stand in the message: one event stays one line. */
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[len++] = '\n';
    /* One write, so that lines of several threads and processes do not mix. Nothing can be done
     * about a log that cannot be written. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}
