/* Looks for byte strings in files, folders and the memory of processes: what scripts/keyscan and
 * the test of secrecy search with. One pass, whatever the number of needles.
 *
 *   cradle-find-bytes NEEDLES PLACE...
 *
 * NEEDLES has a line `NAME <tab> HEX` a needle of 8 bytes or more; several may have one name. A
 * PLACE is a file, a folder with all below it (links are not followed), or pid:N. Writes a line
 * `NAME <tab> PLACE <tab> OFFSET` for the first time that a name is found in a file or process, and
 * last `scanned <tab> FILES <tab> PROCESSES <tab> BYTES`. Exit status 0: nothing was found, 1:
 * something, 2: not all could be read. */
#include "base/cleanup.h"
#include "base/hex.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NEEDLE_MIN 8
#define NEEDLE_MAX 128
#define LINE_MAX_LEN 1024
#define PIECE ((size_t)1 << 20)
#define HASH_BITS 22
#define HASH_SIZE ((size_t)1 << HASH_BITS)
#define OPEN_FOLDERS_MAX 16

struct needle {
    struct needle *next; /* of the same hash */
    struct name *name;
    size_t len;
    uint8_t bytes[NEEDLE_MAX];
};

struct name {
    struct name *next;
    bool found; /* in the present place */
    char text[];
};

static struct {
    struct needle *of_hash[HASH_SIZE];
    struct name *names;
    size_t longest;
    uint64_t n_files, n_processes, n_bytes;
    bool found, failed;
} scan;

static bool fault(const char *what)
{
    fprintf(stderr, "cradle-find-bytes: %s: %s\n", what, strerror(errno));
    scan.failed = true;
    return false;
}

static size_t hash(const uint8_t *at)
{
    uint32_t first;

    memcpy(&first, at, sizeof(first));
    return (uint32_t)(first * 2654435761u) >> (32 - HASH_BITS);
}

static struct name *name_of(const char *text)
{
    struct name *name;

    for (name = scan.names; name != NULL; name = name->next)
        if (strcmp(name->text, text) == 0)
            return name;
    if ((name = calloc(1, sizeof(*name) + strlen(text) + 1)) == NULL)
        return NULL;
    memcpy(name->text, text, strlen(text) + 1);
    name->next = scan.names;
    scan.names = name;
    return name;
}

static bool needle_add(char *line)
{
    CLEANUP(cleanup_free) struct needle *needle = calloc(1, sizeof(*needle));
    char *hex = strchr(line, '\t');

    line[strcspn(line, "\n")] = '\0';
    if (needle == NULL || hex == NULL) {
        errno = needle == NULL ? ENOMEM : EINVAL;
        return fault(line);
    }
    *hex++ = '\0';
    needle->len = strlen(hex) / 2;
    if (needle->len < NEEDLE_MIN || needle->len > NEEDLE_MAX ||
        !hex_decode(hex, strlen(hex), needle->bytes, needle->len) ||
        (needle->name = name_of(line)) == NULL) {
        errno = EINVAL;
        return fault(line);
    }
    if (needle->len > scan.longest)
        scan.longest = needle->len;
    needle->next = scan.of_hash[hash(needle->bytes)];
    scan.of_hash[hash(needle->bytes)] = needle;
    needle = NULL;
    return true;
}

static bool needles_read(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[LINE_MAX_LEN];
    bool good = file != NULL || fault(path);

    while (good && fgets(line, sizeof(line), file) != NULL)
        good = needle_add(line);
    if (file != NULL)
        (void)fclose(file);
    if (good && scan.longest == 0) {
        errno = ENODATA;
        return fault(path);
    }
    return good;
}

static void look(const uint8_t *bytes, size_t len, const char *place, uint64_t offset)
{
    for (size_t i = 0; i + NEEDLE_MIN <= len; i++) {
        const struct needle *needle = scan.of_hash[hash(bytes + i)];

        for (; needle != NULL; needle = needle->next) {
            if (needle->name->found || needle->len > len - i ||
                memcmp(needle->bytes, bytes + i, needle->len) != 0)
                continue;
            needle->name->found = scan.found = true;
            printf("%s\t%s\t%" PRIu64 "\n", needle->name->text, place, offset + i);
        }
    }
}

static void place_begin(void)
{
    for (struct name *name = scan.names; name != NULL; name = name->next)
        name->found = false;
}

/* `span` bytes from `offset`, or to the end of the file. False with errno when they cannot be read;
 * 0 then: the file was cut meanwhile. */
static bool scan_span(int fd, const char *place, uint64_t offset, uint64_t span)
{
    static uint8_t bytes[PIECE + NEEDLE_MAX];
    const uint64_t end = offset + span;
    size_t kept = 0;

    while (offset < end) {
        const uint64_t left = end - offset;
        ssize_t n = pread(fd, bytes + kept, left < PIECE ? (size_t)left : PIECE, (off_t)offset);
        size_t len;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break;
        len = kept + (size_t)n;
        look(bytes, len, place, offset - kept);
        offset += (size_t)n;
        scan.n_bytes += (size_t)n;
        kept = len < scan.longest - 1 ? len : scan.longest - 1;
        memmove(bytes, bytes + len - kept, kept);
    }
    return true;
}

static void scan_file(const char *path)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    place_begin();
    if (fd < 0 && errno == ENOENT)
        return; /* it went while its folder was walked */
    if (fd < 0 || !scan_span(fd, path, 0, INT64_MAX))
        (void)fault(path);
    else
        scan.n_files++;
}

static int scan_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type == FTW_F && S_ISREG(st->st_mode))
        scan_file(path);
    if (type == FTW_DNR)
        errno = EACCES;
    if (type == FTW_DNR || (type == FTW_NS && access(path, F_OK) == 0))
        (void)fault(path);
    return 0;
}

/* Each private mapping that can be read, but those of the kernel ([vvar], [vsyscall]...), which no
 * process can write. What is shared is of files, or PostgreSQL's buffers: gigabytes that reading
 * would fetch for each of its processes, and that stand in its files after a checkpoint. */
static void scan_process(const char *pid, const char *place)
{
    char path[64], line[LINE_MAX_LEN], mode[5];
    uint64_t start, end;
    FILE *maps;

    place_begin();
    (void)snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
    if ((maps = fopen(path, "re")) == NULL) {
        (void)fault(place);
        return;
    }
    (void)snprintf(path, sizeof(path), "/proc/%.20s/mem", pid);
    CLEANUP(cleanup_close) int mem = open(path, O_RDONLY | O_CLOEXEC);
    if (mem < 0)
        (void)fault(place);
    while (mem >= 0 && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, mode) != 3 ||
            mode[0] != 'r' || mode[3] != 'p' || strstr(line, "[v") != NULL)
            continue;
        /* A mapping of a file that is shorter than it, or one that has gone, reads as an error. */
        if (!scan_span(mem, place, start, end - start) && errno != EIO && errno != EFAULT)
            (void)fault(place);
    }
    (void)fclose(maps);
    scan.n_processes++;
}

static void scan_place(const char *place)
{
    if (strncmp(place, "pid:", 4) == 0) {
        scan_process(place + 4, place);
        return;
    }
    if (access(place, F_OK) != 0 || nftw(place, scan_entry, OPEN_FOLDERS_MAX, FTW_PHYS) != 0)
        (void)fault(place);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "Usage: cradle-find-bytes NEEDLES PLACE...\n");
        return 2;
    }
    if (!needles_read(argv[1]))
        return 2;
    for (int i = 2; i < argc; i++)
        scan_place(argv[i]);
    printf("scanned\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", scan.n_files, scan.n_processes,
        scan.n_bytes);
    return scan.failed ? 2 : scan.found;
}
