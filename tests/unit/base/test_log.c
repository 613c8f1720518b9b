#include "base/log.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Runs `act` with standard error in a pipe and reads what was written. */
static void capture(void (*act)(void), char *out, size_t out_size)
{
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    ssize_t n;

    ck_assert_int_eq(pipe(pipe_fds), 0);
    ck_assert_int_ge(dup2(pipe_fds[1], STDERR_FILENO), 0);
    act();
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(pipe_fds[1]);
    n = read(pipe_fds[0], out, out_size - 1);
    out[n > 0 ? n : 0] = '\0';
    close(pipe_fds[0]);
    close(saved);
}

static void log_two_lines_in_one(void)
{
    log_info("peer said \"%s\"", "a\nforged line\r");
}

static void log_below_the_minimum(void)
{
    log_debug("not to be seen");
}

static void log_a_long_one(void)
{
    char text[3000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_info("%s", text);
}

START_TEST(one_event_is_one_line)
{
    char out[4096];

    log_init("t", LOG_LEVEL_INFO);
    capture(log_two_lines_in_one, out, sizeof(out));
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
    ck_assert_ptr_nonnull(strstr(out, " info t["));
    ck_assert_ptr_nonnull(strstr(out, "peer said \"a forged line \""));
    capture(log_a_long_one, out, sizeof(out));
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
}
END_TEST

START_TEST(below_the_minimum_nothing_is_written)
{
    char out[64];

    log_init("t", LOG_LEVEL_INFO);
    capture(log_below_the_minimum, out, sizeof(out));
    ck_assert_str_eq(out, "");
}
END_TEST

SUITE_MAIN("base log", 4, one_event_is_one_line, below_the_minimum_nothing_is_written)
