#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char last_text[ERROR_TEXT_MAX];

static const struct {
    int code;
    const char *name;
} names[] = {
    {ERROR_INTERNAL, "internal"},
    {ERROR_SYSTEM, "system"},
    {ERROR_CONFIG, "config"},
    {ERROR_INPUT, "input"},
    {ERROR_DB, "db"},
    {ERROR_DB_UNKNOWN, "db-unknown"},
    {ERROR_HSM, "hsm"},
    {ERROR_PIN, "pin"},
    {ERROR_DEADLINE, "deadline"},
    {ERROR_STALE_KEY, "stale-key"},
};

int error_set(int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(last_text, sizeof(last_text), fmt, args);
    va_end(args);
    return code;
}

int error_set_errno(const char *fmt, ...)
{
    int saved = errno;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(last_text, sizeof(last_text), fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(last_text))
        (void)snprintf(last_text + n, sizeof(last_text) - (size_t)n, ": %s", strerror(saved));
    return ERROR_SYSTEM;
}

const char *error_text(void)
{
    return last_text;
}

const char *error_name(int code)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].code == code)
            return names[i].name;
    return "unknown";
}
