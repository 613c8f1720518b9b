#include "db/tool.h"

#include "base/error.h"
#include "base/secret.h"
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/** Names of variables and their values, "NAME=value", over those that were there. */
struct environment {
    char **rows;
    size_t n, n_ours;
};

static void environment_done(struct environment *e)
{
    for (size_t i = 0; i < e->n_ours; i++) {
        secret_wipe(e->rows[i], strlen(e->rows[i]));
        free(e->rows[i]);
    }
    free(e->rows);
}

static void options_done(PQconninfoOption **options)
{
    PQconninfoFree(*options);
}

static bool is_told(const PQconninfoOption *option)
{
    /* What has no variable (keepalives and the like) a backup can do without. */
    return option->val != NULL && option->val[0] != '\0' && option->envvar != NULL;
}

/* Ours are the first rows, so that they can be freed. */
static int add_options(struct environment *e, const PQconninfoOption *options)
{
    for (; options->keyword != NULL; options++) {
        if (!is_told(options))
            continue;
        if (asprintf(&e->rows[e->n_ours], "%s=%s", options->envvar, options->val) < 0)
            return error_set(ERROR_SYSTEM, "no memory");
        e->n_ours++;
    }
    e->n = e->n_ours;
    return 0;
}

static void add_rest(struct environment *e)
{
    for (char **row = environ; *row != NULL; row++) {
        bool is_ours = false;

        for (size_t i = 0; i < e->n_ours && !is_ours; i++) {
            const size_t len = strcspn(*row, "=") + 1;

            is_ours = strncmp(e->rows[i], *row, len) == 0;
        }
        if (!is_ours)
            e->rows[e->n++] = *row;
    }
}

static int make_environment(const char *conninfo, struct environment *ret)
{
    CLEANUP(options_done) PQconninfoOption *options = NULL;
    size_t n = 0;
    int r;

    options = PQconninfoParse(conninfo != NULL ? conninfo : "", NULL);
    if (options == NULL)
        return error_set(ERROR_CONFIG, "the connection string of the database cannot be read");
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
        n++;
    for (char **row = environ; *row != NULL; row++)
        n++;
    if ((ret->rows = calloc(n + 1, sizeof(*ret->rows))) == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    if ((r = add_options(ret, options)) < 0)
        return r;
    add_rest(ret);
    return 0;
}

static int spawn(const char *const argv[], char **environment, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    int r = posix_spawn_file_actions_init(&actions);

    if (r != 0)
        return r;
    r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, 2, 1);
    if (r == 0)
        r = posix_spawnp(ret, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    return r;
}

int db_tool_run(const char *conninfo, const char *const argv[])
{
    CLEANUP(environment_done) struct environment environment = {0};
    pid_t pid = 0;
    int status = 0, r = make_environment(conninfo, &environment);

    if (r < 0)
        return r;
    r = spawn(argv, environment.rows, &pid);
    if (r != 0)
        return error_set(ERROR_CONFIG, "%s cannot be run: %s (Debian package postgresql-client)",
            argv[0], strerror(r));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_set_errno("%s cannot be waited for", argv[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(ERROR_DB, "%s failed; what it said stands above", argv[0]);
    return 0;
}
