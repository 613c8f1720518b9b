#include "base/log.h"

#include "base/clock.h"
#include "base/log_line.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Set once by main before any thread starts. */
static const char *process_name = "cradle";
static enum log_level minimum_level = LOG_LEVEL_INFO;
static enum log_format line_format = LOG_TEXT;
static bool for_journal;

/* systemd names the stream that it has given us (systemd.exec(5)); who was given another one since
 * writes for somebody else. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t device, inode;
    struct stat st;

    return stream != NULL && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *process, enum log_level minimum)
{
    process_name = process;
    minimum_level = minimum;
    for_journal = is_journal();
}

void log_init_format(enum log_format format)
{
    line_format = format;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char message[LOG_MESSAGE_MAX + 1], line[LOG_LINE_MAX];
    char now[CLOCK_TEXT_LEN + 1];
    const struct log_event event = {.level = level,
        .time = now,
        .process = process_name,
        .pid = (int)getpid(),
        .message = message,
        .for_journal = for_journal};
    va_list args;
    int n;

    if (level < minimum_level)
        return;
    (void)clock_rfc3339(now);
    va_start(args, fmt);
    n = vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (n < 0)
        return;
    /* One write, so that lines of several threads and processes do not mix. Nothing can be done
     * about a log that cannot be written. */
    if (write(STDERR_FILENO, line, log_line_write(line_format, &event, line)) < 0)
        return;
}
