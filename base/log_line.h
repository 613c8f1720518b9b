/* The text of one line of the log; pure. */
#pragma once

#include "base/log.h"
#include <stddef.h>

#define LOG_MESSAGE_MAX 960 /* bytes; what is longer is cut */
#define LOG_ID_MAX 64       /* of a request or trace that is taken for one */
/* In JSON a byte of a message, or a part of one, takes six at most. */
#define LOG_LINE_MAX (6 * LOG_MESSAGE_MAX + 512)

struct log_event {
    enum log_level level;
    const char *time; /* RFC 3339 */
    const char *process;
    int pid;
    const char *message; /* any bytes but NUL: what a peer sent may stand in it */
    bool for_journal; /* "<N>" before the line, which journald takes for its level (sd-daemon(3)) */
};

/** Writes it, with a newline at its end and nowhere else, and returns its length. JSON is an object
 * with time, level, service, pid and message, in UTF-8 whatever the message holds; request and
 * trace too where the message has key=value pairs of these names outside of quotes. */
size_t log_line_write(
    enum log_format format, const struct log_event *event, char out[static LOG_LINE_MAX]);
