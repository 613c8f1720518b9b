/* One line an event on standard error: time, level, process, message, then key=value pairs inside
 * the message as the caller writes them. No function here takes a secret type; bodies are never
 * logged. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_TEXT, LOG_JSON }; /* base/log_line.h */

/** `process` is the name that every line carries; it must outlive the process. */
void log_init(const char *process, enum log_level minimum);
/** LOG_TEXT until it is called. Before any thread starts, as log_init. */
void log_init_format(enum log_format format);
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
