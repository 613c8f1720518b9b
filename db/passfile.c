#include "db/passfile.h"

#include "base/error.h"
#include "base/secret.h"
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PASSFILE_MAX 8192 /* bytes */

static void options_done(PQconninfoOption **options)
{
    PQconninfoFree(*options);
}

static void wipe(uint8_t (*text)[PASSFILE_MAX])
{
    secret_wipe(*text, sizeof(*text));
}

static bool is_credential(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    const size_t len = folder != NULL ? strlen(folder) : 0;

    return len > 0 && strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* What cannot be read, or is too long, is left to libpq, and so to what it says of it. */
static int copy(const char *path, int *ret_fd)
{
    CLEANUP(wipe) uint8_t text[PASSFILE_MAX];
    CLEANUP(cleanup_close) int from = open(path, O_RDONLY | O_CLOEXEC);
    CLEANUP(cleanup_close) int to = -1;
    const ssize_t n = from < 0 ? -1 : read(from, text, sizeof(text));

    if (n < 0 || n == (ssize_t)sizeof(text))
        return 0;
    to = memfd_create("passfile", MFD_CLOEXEC);
    if (to < 0 || fchmod(to, S_IRUSR | S_IWUSR) != 0 || write(to, text, (size_t)n) != n)
        return error_set_errno("no memory for the database's password file");
    *ret_fd = to;
    to = -1;
    return 0;
}

int db_passfile_open(const char *conninfo, int *ret_fd)
{
    CLEANUP(options_done) PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

    *ret_fd = -1;
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, "passfile") == 0 && o->val != NULL && is_credential(o->val))
            return copy(o->val, ret_fd);
    return 0;
}

const char *db_passfile_path(int fd, char out[static DB_PASSFILE_PATH_LEN])
{
    (void)snprintf(out, DB_PASSFILE_PATH_LEN, "/proc/self/fd/%d", fd);
    return out;
}
