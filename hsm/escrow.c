#include "hsm/escrow.h"

#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LINE_MAX_LEN 256
#define BLOB_MAX 40

static void close_file(FILE **f)
{
    if (*f != NULL)
        (void)fclose(*f);
}

/* "LABEL " at the line's beginning. */
static bool line_is_of(const char *line, const char *label)
{
    const size_t len = strlen(label);

    return strncmp(line, label, len) == 0 && line[len] == ' ';
}

int escrow_read(const char *path, const char *label, uint8_t *ret, size_t max, size_t *ret_len)
{
    CLEANUP(close_file) FILE *f = fopen(path, "re");
    char line[LINE_MAX_LEN];

    if (f == NULL) {
        (void)error_set_errno("cannot read the escrow file %s", path);
        return ERROR_CONFIG;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        const char *hex = line + strlen(label) + 1;
        size_t len;

        if (!line_is_of(line, label))
            continue;
        len = strcspn(hex, "\n");
        if (len % 2 != 0 || len / 2 > max || !hex_decode(hex, len, ret, len / 2))
            return error_set(ERROR_CONFIG, "%s: the line of %s is damaged", path, label);
        *ret_len = len / 2;
        return 0;
    }
    return error_set(
        ERROR_CONFIG, "the escrow file %s has no %s: what it seals stays under it", path, label);
}

/* All lines but that of this label. */
static int copy_others(const char *path, const char *label, struct text *ret)
{
    CLEANUP(close_file) FILE *f = fopen(path, "re");
    char line[LINE_MAX_LEN];

    if (f == NULL && errno == ENOENT)
        return 0;
    if (f == NULL) {
        (void)error_set_errno("cannot read the escrow file %s", path);
        return ERROR_CONFIG;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        if (line_is_of(line, label))
            continue;
        text_add_len(ret, line, strlen(line));
        if (strchr(line, '\n') == NULL) /* of an editor that ends no last line */
            text_add(ret, "\n");
    }
    return ferror(f) ? error_set_errno("cannot read the escrow file %s", path) : 0;
}

/* The name is on the disk when the folder is. */
static int sync_folder(const char *path)
{
    CLEANUP(cleanup_close) int fd = -1;
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    (void)snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
        slash == NULL ? "." : path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return error_set_errno("cannot write %s", folder);
    return 0;
}

static int replace_file(const char *path, const struct text *text)
{
    CLEANUP(cleanup_close) int fd = -1;
    char fresh[PATH_MAX];

    if (snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh))
        return error_set(ERROR_CONFIG, "the path of the escrow file is too long");
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        (void)error_set_errno("cannot write %s", fresh);
        return ERROR_CONFIG;
    }
    if (!file_write_all(fd, text->data, text->len) || fsync(fd) != 0 || rename(fresh, path) != 0) {
        int r = error_set_errno("cannot write the escrow file %s", path);

        (void)unlink(fresh);
        return r;
    }
    return sync_folder(path);
}

int escrow_write(const char *path, const char *label, const uint8_t *blob, size_t len)
{
    CLEANUP(text_done) struct text text = {0};
    char hex[2 * BLOB_MAX + 1];
    int r = copy_others(path, label, &text);

    if (r < 0)
        return r;
    if (len > BLOB_MAX)
        return error_set(ERROR_INTERNAL, "a wrapped key that is too long");
    text_addf(&text, "%s %s\n", label, hex_encode(blob, len, hex));
    return text.failed ? error_set(ERROR_SYSTEM, "no memory") : replace_file(path, &text);
}
