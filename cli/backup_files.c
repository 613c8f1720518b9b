#include "cli/backup_files.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "cli/files.h"
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE 65536 /* bytes read at once */
_Static_assert(BACKUP_HASH_LEN == 2 * DIGEST_LEN, "two digits a byte");

static void json_done(json_t **value)
{
    json_decref(*value);
}

static void walk_done(FTS **walk)
{
    if (*walk != NULL)
        (void)fts_close(*walk);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int path_of(char out[static PATH_MAX], const char *dir, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return error_set(ERROR_CONFIG, "the path %.64s... is too long", dir);
    return 0;
}

/* --- one file --------------------------------------------------------------------------------- */

int backup_file_hash(const char *path, char ret[static BACKUP_HASH_LEN + 1])
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    CLEANUP(digest_freep) struct digest *digest = NULL;
    CLEANUP(cleanup_free) uint8_t *piece = malloc(PIECE);
    uint8_t sum[DIGEST_LEN];
    ssize_t n;
    int r;

    if (fd < 0)
        return error_set_errno("cannot read %s", path);
    if (piece == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    if ((r = digest_new(&digest)) < 0)
        return r;
    while ((n = read(fd, piece, PIECE)) > 0)
        digest_add(digest, piece, (size_t)n);
    if (n < 0 || fsync(fd) != 0)
        return error_set_errno("cannot read %s", path);
    if ((r = digest_so_far(digest, sum)) < 0)
        return r;
    (void)hex_encode(sum, sizeof(sum), ret);
    return 0;
}

int backup_file_copy(const char *from, const char *to)
{
    CLEANUP(cleanup_close) int in = open(from, O_RDONLY | O_CLOEXEC);
    CLEANUP(cleanup_close) int out = -1;
    CLEANUP(cleanup_free) char *piece = malloc(PIECE);
    ssize_t n;

    if (in < 0)
        return error_set_errno("cannot read %s", from);
    if (piece == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    if ((out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return error_set_errno("cannot make %s", to);
    while ((n = read(in, piece, PIECE)) > 0) {
        if (!file_write_all(out, piece, (size_t)n))
            return error_set_errno("cannot write %s", to);
    }
    return n < 0 ? error_set_errno("cannot read %s", from) : 0;
}

int backup_folder_sync(const char *dir)
{
    CLEANUP(cleanup_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return error_set_errno("cannot bring %s to the disk", dir);
    return 0;
}

/* --- all files -------------------------------------------------------------------------------- */

static int add_file(json_t *list, const FTSENT *entry, const char *path)
{
    char sum[BACKUP_HASH_LEN + 1];
    json_t *item;
    int r = backup_file_hash(entry->fts_path, sum);

    if (r < 0)
        return r;
    item = json_pack("{s:s, s:I, s:s}", "path", path, "size", (json_int_t)entry->fts_statp->st_size,
        "sha256", sum);
    if (item == NULL || json_array_append_new(list, item) != 0)
        return error_set(ERROR_SYSTEM, "no memory for the list of files (%.200s)", path);
    return 0;
}

static int add_entry(json_t *list, const FTSENT *entry, size_t dir_len)
{
    const char *path = entry->fts_path + dir_len;

    switch (entry->fts_info) {
    case FTS_D:
        return 0;
    case FTS_DP:
        return backup_folder_sync(entry->fts_path);
    case FTS_F:
        return strcmp(path, "/" BACKUP_MANIFEST) == 0 ? 0 : add_file(list, entry, path + 1);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        errno = entry->fts_errno;
        return error_set_errno("cannot read %s", entry->fts_path);
    default:
        return error_set(ERROR_CONFIG, "%s is neither a file nor a folder", entry->fts_path);
    }
}

int backup_files_list(const char *dir, json_t **ret)
{
    CLEANUP(cleanup_free) char *root = strdup(dir);
    char *const roots[] = {root, NULL};
    CLEANUP(json_done) json_t *list = json_array();
    CLEANUP(walk_done)
    FTS *walk =
        root != NULL ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_name) : NULL;
    FTSENT *entry;
    int r = 0;

    if (list == NULL || walk == NULL)
        return error_set_errno("cannot read %s", dir);
    while (r == 0 && (entry = fts_read(walk)) != NULL)
        r = add_entry(list, entry, strlen(dir));
    if (r < 0)
        return r;
    *ret = list;
    list = NULL;
    return 0;
}

static const char *text_of(const json_t *file, const char *name)
{
    const char *text = json_string_value(json_object_get(file, name));

    return text != NULL ? text : "";
}

/* Both lists are in the same order: of one walk. */
int backup_files_check(const char *dir, const json_t *files)
{
    CLEANUP(json_done) json_t *found = NULL;
    int r = backup_files_list(dir, &found);

    if (r < 0)
        return r;
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *said = json_array_get(files, i), *is = json_array_get(found, i);
        const char *path = text_of(said, "path");

        if (strcmp(path, text_of(is, "path")) != 0) {
            char at[PATH_MAX];

            if ((r = path_of(at, dir, path)) < 0)
                return r;
            return access(at, F_OK) != 0
                       ? error_set(ERROR_CONFIG, "%s is missing from the backup", path)
                       : error_set(
                             ERROR_CONFIG, "%s does not belong to the backup", text_of(is, "path"));
        }
        if (!json_equal(said, is))
            return error_set(ERROR_CONFIG, "%s is not what was backed up: another %s", path,
                json_equal(json_object_get(said, "size"), json_object_get(is, "size")) ? "SHA-256"
                                                                                       : "size");
    }
    if (json_array_size(found) > json_array_size(files))
        return error_set(ERROR_CONFIG, "%s does not belong to the backup",
            text_of(json_array_get(found, json_array_size(files)), "path"));
    return 0;
}

/* --- the manifest ----------------------------------------------------------------------------- */

int backup_manifest_write(const char *dir, const json_t *manifest)
{
    char path[PATH_MAX];
    CLEANUP(cli_output_done) struct cli_output output = {.path = path};
    int r = path_of(path, dir, BACKUP_MANIFEST);

    if (r < 0 || (r = cli_output_open(&output)) < 0)
        return r;
    if (json_dumpf(manifest, output.file, JSON_INDENT(1)) != 0 || fputc('\n', output.file) == EOF)
        return error_set_errno("cannot write %s", path);
    return cli_output_end(&output);
}

int backup_manifest_read(const char *dir, json_t **ret)
{
    char path[PATH_MAX];
    json_error_t why;
    json_t *manifest;
    int r = path_of(path, dir, BACKUP_MANIFEST);

    if (r < 0)
        return r;
    if (access(path, R_OK) != 0) {
        (void)error_set_errno("%s is no backup: cannot read %s", dir, path);
        return ERROR_CONFIG;
    }
    manifest = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_array(json_object_get(manifest, "files"))) {
        json_decref(manifest);
        return error_set(ERROR_CONFIG, "%s is damaged", path);
    }
    *ret = manifest;
    return 0;
}

void backup_remove(const char *dir)
{
    CLEANUP(cleanup_free) char *root = strdup(dir);
    char *const roots[] = {root, NULL};
    CLEANUP(walk_done)
    FTS *walk = root != NULL ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL) : NULL;
    FTSENT *entry;

    while (walk != NULL && (entry = fts_read(walk)) != NULL)
        if (entry->fts_info != FTS_D)
            (void)remove(entry->fts_accpath);
}
