#include "tests/support/names.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX 256

extern char **environ;

struct names {
    pid_t pid;
    FILE *to, *from;
    char address[TEXT_MAX], trust_anchor[TEXT_MAX];
};

struct names *names_start(const char *zones)
{
    static char python[] = "python3", program[] = NAME_SERVER_PROGRAM;
    char *const argv[] = {python, program, NULL};
    struct names *names = calloc(1, sizeof(*names));
    posix_spawn_file_actions_t actions;
    int in[2], out[2];

    ck_assert_ptr_nonnull(names);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
    ck_assert_int_eq(posix_spawn_file_actions_adddup2(&actions, in[0], 0), 0);
    ck_assert_int_eq(posix_spawn_file_actions_adddup2(&actions, out[1], 1), 0);
    ck_assert_int_eq(posix_spawnp(&names->pid, argv[0], &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(in[0]);
    (void)close(out[1]);
    names->to = fdopen(in[1], "w");
    names->from = fdopen(out[0], "r");
    names_set(names, zones);
    return names;
}

void names_set(struct names *names, const char *zones)
{
    char line[2 * TEXT_MAX];

    ck_assert_int_gt(fprintf(names->to, "%send\n", zones), 0);
    ck_assert_int_eq(fflush(names->to), 0);
    ck_assert_msg(fgets(line, sizeof(line), names->from) != NULL, "the name server has ended");
    ck_assert_msg(
        sscanf(line, "ready %255s %255s", names->address, names->trust_anchor) == 2, "%s", line);
}

const char *names_address(const struct names *names)
{
    return names->address;
}

const char *names_trust_anchor(const struct names *names)
{
    return names->trust_anchor;
}

/* The end of its input ends it, and what it has started. */
void names_stop(struct names *names)
{
    (void)fclose(names->to);
    (void)fclose(names->from);
    (void)waitpid(names->pid, NULL, 0);
    free(names);
}
