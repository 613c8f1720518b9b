#include "db/witness.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "cradle witness 1"
#define MAGIC_LEN 16

/* Of this machine alone, so as it lies in memory. */
struct page {
    char magic[MAGIC_LEN];
    uint8_t mark[DB_EPOCH_MARK_LEN];
    uint64_t system_identifier;
    uint32_t timeline;
    uint32_t join_nonce_total;
    uint64_t lsn;
    uint64_t went_back; /* a timeline; a file from before it had this ends here */
};
#define OLD_SIZE offsetof(struct page, went_back)

struct db_witness {
    int fd;
    pthread_mutex_t lock; /* of what follows; held for a write to the page cache at most */
    struct page page;     /* what the file is to say */
    bool behind;          /* and does not */
    bool told;
    uint64_t synced; /* the lsn that the disk has */
};

/* What may pass by itself: a service that is started again then finds it well. */
static int code_of(int number)
{
    return number == ENOSPC || number == EDQUOT || number == EROFS || number == EIO ? ERROR_SYSTEM
                                                                                    : ERROR_CONFIG;
}

static int fail(int number, const char *path, const char *what)
{
    errno = number;
    (void)error_set_errno("database.witness: %s cannot be %s", path, what);
    return code_of(number);
}

/* As much of it as there is; false: less than there ever was. */
static bool read_page(struct db_witness *w, struct page *ret)
{
    *ret = (struct page){0};
    return pread(w->fd, ret, sizeof(*ret), 0) >= (ssize_t)OLD_SIZE;
}

static int check(struct db_witness *w, const char *path)
{
    static const char none[MAGIC_LEN];
    struct stat at;
    int r;

    if (fstat(w->fd, &at) < 0)
        return fail(errno, path, "read");
    if (!S_ISREG(at.st_mode) || (at.st_size != 0 && at.st_size != (off_t)OLD_SIZE &&
                                    at.st_size != (off_t)sizeof(struct page)))
        return error_set(ERROR_CONFIG, "database.witness: %s is not a witness file", path);
    /* Not a hole: what is written later needs no room. */
    if ((at.st_size != (off_t)sizeof(struct page) || at.st_blocks == 0) &&
        (r = posix_fallocate(w->fd, 0, sizeof(struct page))) != 0 && at.st_size == 0)
        return fail(r, path, "written");
    if (!read_page(w, &w->page))
        return fail(EIO, path, "read");
    if (memcmp(w->page.magic, MAGIC, MAGIC_LEN) != 0 &&
        memcmp(w->page.magic, none, MAGIC_LEN) != 0) {
        w->page = (struct page){0}; /* nothing of it is ours to write */
        return error_set(ERROR_CONFIG, "database.witness: %s is not a witness file", path);
    }
    w->synced = w->page.lsn;
    return 0;
}

int db_witness_open(const char *path, struct db_witness **ret)
{
    struct db_witness *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the witness");
    w->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->fd < 0) {
        r = fail(errno, path, "opened");
        free(w);
        return r;
    }
    (void)pthread_mutex_init(&w->lock, NULL);
    db_witness_lock(w);
    r = check(w, path);
    db_witness_unlock(w);
    if (r < 0) {
        db_witness_close(w);
        return r;
    }
    *ret = w;
    return 0;
}

void db_witness_close(struct db_witness *w)
{
    if (w == NULL)
        return;
    db_witness_sync(w);
    (void)pthread_mutex_destroy(&w->lock);
    (void)close(w->fd);
    free(w);
}

void db_witness_lock(struct db_witness *w)
{
    (void)flock(w->fd, LOCK_EX);
}

void db_witness_unlock(struct db_witness *w)
{
    (void)flock(w->fd, LOCK_UN);
}

/* Takes what another process has written since. True: its position hides a higher one of ours.
 * With the lock. */
static bool refresh(struct db_witness *w)
{
    const uint64_t lsn = w->page.lsn;
    struct page page;
    bool same;

    if (!read_page(w, &page) || memcmp(page.magic, MAGIC, MAGIC_LEN) != 0)
        return false;
    same = memcmp(page.mark, w->page.mark, sizeof(page.mark)) == 0;
    /* What this one could not write is only given up for a later bump. */
    if (w->behind && (same || page.join_nonce_total <= w->page.join_nonce_total)) {
        if (same && page.lsn > lsn)
            w->page.lsn = page.lsn;
        return false;
    }
    w->page = page;
    if (same && lsn > page.lsn)
        w->page.lsn = lsn;
    w->behind = false;
    return w->page.lsn != page.lsn;
}

/* The position, or all where all is new or missing there; errno or 0. With the lock. */
static int store(struct db_witness *w, bool whole)
{
    size_t from = offsetof(struct page, lsn), n = sizeof(w->page.lsn);

    if (w->behind && !whole)
        (void)refresh(w);
    if (whole || w->behind) {
        from = 0;
        n = sizeof(w->page);
    }
    errno = EIO; /* of less than all there is no other */
    w->behind = pwrite(w->fd, (const char *)&w->page + from, n, (off_t)from) != (ssize_t)n;
    return w->behind ? errno : 0;
}

void db_witness_read(struct db_witness *w, struct db_seen *ret)
{
    (void)pthread_mutex_lock(&w->lock);
    (void)refresh(w);
    *ret = (struct db_seen){.any = w->page.magic[0] != '\0',
        .join_nonce_total = w->page.join_nonce_total,
        .system_identifier = w->page.system_identifier,
        .timeline = w->page.timeline,
        .went_back = (uint32_t)w->page.went_back,
        .lsn = w->page.lsn};
    memcpy(ret->mark, w->page.mark, sizeof(ret->mark));
    (void)pthread_mutex_unlock(&w->lock);
}

static void tell(int number)
{
    if (number == 0)
        log_info("the witness of the database can be written again");
    else
        log_warn("the witness of the database cannot be written: %s; joins go on, and a database "
                 "that is set back to what the file knows is not noticed",
            strerror(number));
}

void db_witness_write(struct db_witness *w, const struct db_seen *seen)
{
    (void)pthread_mutex_lock(&w->lock);
    /* Of another bump's history no position means anything. */
    if (memcmp(w->page.mark, seen->mark, sizeof(seen->mark)) != 0 || seen->lsn > w->page.lsn)
        w->page.lsn = seen->lsn;
    memcpy(w->page.magic, MAGIC, MAGIC_LEN);
    memcpy(w->page.mark, seen->mark, sizeof(seen->mark));
    w->page.system_identifier = seen->system_identifier;
    w->page.timeline = seen->timeline;
    w->page.join_nonce_total = seen->join_nonce_total;
    w->page.went_back = seen->went_back;
    (void)store(w, true);
    w->synced = UINT64_MAX; /* no position: to be synced, whatever its own is */
    (void)pthread_mutex_unlock(&w->lock);
    db_witness_sync(w);
}

void db_witness_note(struct db_witness *w, uint64_t lsn)
{
    (void)pthread_mutex_lock(&w->lock);
    if (lsn > w->page.lsn) {
        w->page.lsn = lsn;
        (void)store(w, false); /* db_witness_sync tells, and tries again */
    }
    (void)pthread_mutex_unlock(&w->lock);
}

void db_witness_sync(struct db_witness *w)
{
    bool is_new, is_told;
    uint64_t lsn;
    int number = 0;

    (void)pthread_mutex_lock(&w->lock);
    is_new = w->behind || refresh(w);
    lsn = w->page.lsn;
    is_new |= lsn != w->synced;
    if (is_new)
        number = store(w, false);
    (void)pthread_mutex_unlock(&w->lock);
    if (!is_new)
        return;
    if (number == 0 && fdatasync(w->fd) < 0)
        number = errno;
    (void)pthread_mutex_lock(&w->lock);
    /* What a failed fdatasync took from the cache has to be written once more. */
    w->behind |= number != 0;
    if (number == 0)
        w->synced = lsn;
    is_told = w->told == (number != 0);
    w->told = number != 0;
    (void)pthread_mutex_unlock(&w->lock);
    if (!is_told)
        tell(number);
}
