#include "hsm/token_files.h"

#include "base/cleanup.h"
#include "base/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONF_DEFAULT "/etc/softhsm/softhsm2.conf"
#define LINE_MAX_LEN 4096
#define COPY_CHUNK 65536
#define UUID_LEN 36
#define GENERATION_LEN 8 /* at a file's beginning: how often it was written */

static void close_file(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}

static void close_dir(DIR **dir)
{
    if (*dir != NULL)
        (void)closedir(*dir);
}

static const char *conf_or_ours(const char *conf)
{
    const char *ours = getenv("SOFTHSM2_CONF");

    if (conf != NULL && conf[0] != '\0')
        return conf;
    return ours != NULL ? ours : CONF_DEFAULT;
}

static int join_path(char out[static PATH_MAX], const char *dir, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return error_set(ERROR_CONFIG, "the path %.64s... is too long", dir);
    return 0;
}

/* The value of a line "name = value", without the blanks around it; NULL of another line. */
static char *value_of(char *line, const char *name)
{
    char *p = line + strspn(line, " \t"), *end;

    if (strncmp(p, name, strlen(name)) != 0)
        return NULL;
    p += strlen(name);
    p += strspn(p, " \t");
    if (*p != '=')
        return NULL;
    p++;
    p += strspn(p, " \t");
    end = p + strlen(p);
    while (end > p && strchr(" \t\r\n", end[-1]) != NULL)
        *--end = '\0';
    return p;
}

int token_files_home(const char *conf, char ret[static PATH_MAX])
{
    CLEANUP(close_file) FILE *file = fopen(conf_or_ours(conf), "re");
    char line[LINE_MAX_LEN];

    if (file == NULL) {
        (void)error_set_errno("cannot read SoftHSM's configuration %s", conf_or_ours(conf));
        return ERROR_CONFIG;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *value = value_of(line, "directories.tokendir");

        if (value != NULL && snprintf(ret, PATH_MAX, "%s", value) < PATH_MAX && value[0] != '\0')
            return 0;
    }
    return error_set(ERROR_CONFIG, "%s says no directories.tokendir", conf_or_ours(conf));
}

/* SoftHSM makes a token's serial of the end of its folder's name, a UUID. */
static bool is_of_serial(const char *name, const char *serial)
{
    return strlen(name) == UUID_LEN && strncmp(name + 19, serial, 4) == 0 &&
           strcmp(name + 24, serial + 4) == 0;
}

static int find_folder(const char *home, const char *serial, char ret[static NAME_MAX + 1])
{
    CLEANUP(close_dir) DIR *dir = opendir(home);
    unsigned n = 0;

    if (dir == NULL) {
        (void)error_set_errno("cannot read %s", home);
        return ERROR_CONFIG;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] == '.' || (serial != NULL && !is_of_serial(e->d_name, serial)))
            continue;
        (void)snprintf(ret, NAME_MAX + 1, "%s", e->d_name);
        n++;
    }
    if (n == 1)
        return 0;
    return error_set(
        ERROR_CONFIG, n == 0 ? "%s holds no such token" : "%s holds more than a token", home);
}

int token_files_find(const char *home, const char *serial, char ret[static NAME_MAX + 1])
{
    return find_folder(home, serial, ret);
}

int token_files_only(const char *home, char ret[static NAME_MAX + 1])
{
    return find_folder(home, NULL, ret);
}

int token_files_make(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return 0;
    (void)error_set_errno("cannot make %s", path);
    return ERROR_CONFIG;
}

int token_files_sync(const char *path)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return error_set_errno("cannot write %s to the disk", path);
    return 0;
}

static int copy_bytes(int in, int out, const char *to)
{
    static char buffer[COPY_CHUNK];
    ssize_t n;

    while ((n = read(in, buffer, sizeof(buffer))) > 0) {
        if (!file_write_all(out, buffer, (size_t)n))
            return error_set_errno("cannot write %s", to);
    }
    if (n < 0 || fsync(out) != 0)
        return error_set_errno("cannot write %s", to);
    return 0;
}

/* What is there is never written over. */
static int copy_file(const char *from, const char *to)
{
    CLEANUP(cleanup_close) int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP(cleanup_close)
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (in < 0)
        return error_set_errno("cannot read %s", from);
    if (out < 0)
        return error_set_errno("cannot make %s", to);
    return copy_bytes(in, out, to);
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);

    return n > m && strcmp(name + n - m, end) == 0;
}

/* Calls `copy` for each regular file of a token; a lock file holds nothing. */
static int each_file(const char *from, const char *to,
    int (*copy)(const char *from, const char *to, unsigned *n), unsigned *ret_n)
{
    CLEANUP(close_dir) DIR *dir = opendir(from);
    char source[PATH_MAX], target[PATH_MAX];
    int r = 0;

    *ret_n = 0;
    if (dir == NULL)
        return error_set_errno("cannot read %s", from);
    for (struct dirent *e = readdir(dir); r == 0 && e != NULL; e = readdir(dir)) {
        if (e->d_name[0] == '.' || ends_with(e->d_name, ".lock"))
            continue;
        if ((r = join_path(source, from, e->d_name)) == 0 &&
            (r = join_path(target, to, e->d_name)) == 0)
            r = copy(source, target, ret_n);
    }
    return r < 0 ? r : token_files_sync(to);
}

/* SoftHSM destroys no object whose lock file is not there: it removes the object's, and fails. */
static int make_lock_file(const char *object)
{
    CLEANUP(cleanup_close) int fd = -1;
    char path[PATH_MAX];

    (void)snprintf(
        path, sizeof(path), "%.*slock", (int)(strlen(object) - strlen("object")), object);
    fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd >= 0 ? 0 : error_set_errno("cannot make %s", path);
}

static int copy_each(const char *from, const char *to, unsigned *n)
{
    int r = copy_file(from, to);

    if (r == 0 && ends_with(to, ".object"))
        r = make_lock_file(to);
    (*n)++;
    return r;
}

int token_files_copy(const char *from, const char *to)
{
    unsigned n = 0;
    int r = token_files_make(to);

    if (r < 0)
        return r;
    r = each_file(from, to, copy_each, &n);
    if (r == 0 && n == 0)
        r = error_set(ERROR_CONFIG, "%s holds no files of a token", from);
    if (r < 0) /* half a token is none, and would be in the way of a second try */
        token_files_remove(to);
    return r;
}

/* Under a name of its own until it is whole: a service may look at the folder at any time. */
static int copy_missing(const char *from, const char *to, unsigned *n)
{
    char fresh[PATH_MAX];
    int r;

    if (!ends_with(from, ".object"))
        return 0;
    if ((r = make_lock_file(to)) < 0 || access(to, F_OK) == 0)
        return r;
    if (snprintf(fresh, sizeof(fresh), "%s.new", to) >= (int)sizeof(fresh))
        return error_set(ERROR_CONFIG, "the path %.64s... is too long", to);
    (void)unlink(fresh);
    r = copy_file(from, fresh);
    if (r == 0 && rename(fresh, to) != 0)
        r = error_set_errno("cannot make %s", to);
    if (r < 0) /* where there is no room for it there is none for half of it */
        (void)unlink(fresh);
    else
        (*n)++;
    return r;
}

static int read_some(const char *dir, const char *name, char *out, size_t size, size_t *ret_len)
{
    char path[PATH_MAX];
    CLEANUP(close_file) FILE *file = NULL;
    int r = join_path(path, dir, name);

    if (r < 0)
        return r;
    if ((file = fopen(path, "re")) == NULL) {
        (void)error_set_errno("cannot read %s", path);
        return ERROR_CONFIG;
    }
    *ret_len = fread(out, 1, size, file);
    return 0;
}

/* token.object holds the key that the objects are encrypted with, under the PIN: where it is the
 * same, an object of the one is good in the other. */
static int must_be_copies(const char *from, const char *to)
{
    char one[LINE_MAX_LEN], other[LINE_MAX_LEN];
    size_t n_one = 0, n_other = 0;
    int r = read_some(from, "token.object", one, sizeof(one), &n_one);

    if (r == 0)
        r = read_some(to, "token.object", other, sizeof(other), &n_other);
    if (r == 0 &&
        (n_one != n_other || n_one < GENERATION_LEN ||
            memcmp(one + GENERATION_LEN, other + GENERATION_LEN, n_one - GENERATION_LEN) != 0))
        return error_set(ERROR_CONFIG,
            "the two tokens are not copies of one (another token, or another PIN): put a backup of "
            "the first in the place of the second");
    return r;
}

/* A token says by a number that its objects are others; its readers look again. */
static int bump_generation(const char *dir)
{
    char path[PATH_MAX];
    uint8_t bytes[GENERATION_LEN] = {0};
    CLEANUP(cleanup_close) int fd = -1;
    ssize_t n;
    int r = join_path(path, dir, "generation");

    if (r < 0)
        return r;
    fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno("cannot open %s", path);
    n = pread(fd, bytes, sizeof(bytes), 0);
    for (ssize_t i = n - 1; i >= 0 && ++bytes[i] == 0;)
        i--;
    if (n <= 0 || pwrite(fd, bytes, (size_t)n, 0) != n || fsync(fd) != 0)
        return error_set_errno("cannot write %s", path);
    return 0;
}

int token_files_add(const char *from, const char *to)
{
    unsigned n = 0;
    int r = must_be_copies(from, to);

    if (r == 0)
        r = each_file(from, to, copy_missing, &n);
    if (r == 0 && n > 0)
        r = bump_generation(to);
    return r < 0 ? r : (int)n;
}

int token_files_configure(const char *path, const char *home, const char *like)
{
    CLEANUP(close_file) FILE *from = fopen(conf_or_ours(like), "re");
    CLEANUP(close_file) FILE *to = fopen(path, "wxe");
    char line[LINE_MAX_LEN], copy[LINE_MAX_LEN];

    if (from == NULL || to == NULL)
        return error_set_errno("cannot make %s like %s", path, conf_or_ours(like));
    while (fgets(line, sizeof(line), from) != NULL) {
        (void)snprintf(copy, sizeof(copy), "%s", line);
        if (value_of(copy, "directories.tokendir") == NULL)
            (void)fputs(line, to);
    }
    (void)fprintf(to, "directories.tokendir = %s\n", home);
    return fflush(to) == 0 && ferror(to) == 0 ? 0 : error_set_errno("cannot write %s", path);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

void token_files_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void token_setting_restore(struct token_setting *s)
{
    if (s->changed && s->before != NULL)
        (void)setenv("SOFTHSM2_CONF", s->before, 1);
    else if (s->changed)
        (void)unsetenv("SOFTHSM2_CONF");
    free(s->before);
    *s = (struct token_setting){0};
}

int token_setting_change(const char *conf, struct token_setting *ret)
{
    const char *before = getenv("SOFTHSM2_CONF");

    *ret = (struct token_setting){0};
    if (conf == NULL || conf[0] == '\0')
        return 0;
    ret->changed = true;
    ret->before = before != NULL ? strdup(before) : NULL;
    if (setenv("SOFTHSM2_CONF", conf, 1) != 0)
        return error_set(ERROR_SYSTEM, "no memory");
    return 0;
}
