#include "db/witness.h"

#include "base/log.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
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
    _Atomic uint64_t lsn;
};

struct db_witness {
    int fd;
    struct page *page;
    _Atomic uint64_t synced; /* the lsn that the disk has */
};

static int check(struct db_witness *w, const char *path)
{
    static const char none[MAGIC_LEN];
    struct stat at;

    if (fstat(w->fd, &at) < 0)
        return error_set(ERROR_CONFIG, "database.witness: %s cannot be read", path);
    if (!S_ISREG(at.st_mode) || (at.st_size != 0 && at.st_size != sizeof(struct page)))
        return error_set(ERROR_CONFIG, "database.witness: %s is not a witness file", path);
    /* Not a hole: where the disk is full, a store into one kills the process. */
    if ((at.st_size == 0 || at.st_blocks == 0) &&
        posix_fallocate(w->fd, 0, sizeof(struct page)) != 0)
        return error_set(ERROR_CONFIG, "database.witness: %s cannot be written", path);
    w->page = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    if (w->page == MAP_FAILED) {
        w->page = NULL;
        return error_set_errno("database.witness: %s", path);
    }
    if (memcmp(w->page->magic, MAGIC, MAGIC_LEN) != 0 &&
        memcmp(w->page->magic, none, MAGIC_LEN) != 0)
        return error_set(ERROR_CONFIG, "database.witness: %s is not a witness file", path);
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
        free(w);
        (void)error_set_errno("database.witness: %s cannot be opened", path);
        return ERROR_CONFIG;
    }
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
    if (w->page != NULL) {
        db_witness_sync(w);
        (void)munmap(w->page, sizeof(*w->page));
    }
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

void db_witness_read(struct db_witness *w, struct db_seen *ret)
{
    *ret = (struct db_seen){.any = w->page->magic[0] != '\0',
        .join_nonce_total = w->page->join_nonce_total,
        .system_identifier = w->page->system_identifier,
        .timeline = w->page->timeline,
        .lsn = atomic_load(&w->page->lsn)};
    memcpy(ret->mark, w->page->mark, sizeof(ret->mark));
}

int db_witness_write(struct db_witness *w, const struct db_seen *seen)
{
    /* First: a process that is killed in between must not leave it under another bump. */
    if (memcmp(w->page->mark, seen->mark, sizeof(seen->mark)) != 0)
        atomic_store(&w->page->lsn, 0);
    atomic_thread_fence(memory_order_seq_cst);
    memcpy(w->page->mark, seen->mark, sizeof(seen->mark));
    w->page->system_identifier = seen->system_identifier;
    w->page->timeline = seen->timeline;
    w->page->join_nonce_total = seen->join_nonce_total;
    db_witness_note(w, seen->lsn);
    memcpy(w->page->magic, MAGIC, MAGIC_LEN);
    if (fdatasync(w->fd) < 0)
        return error_set_errno("database.witness: it cannot be written");
    atomic_store(&w->synced, seen->lsn);
    return 0;
}

void db_witness_note(struct db_witness *w, uint64_t lsn)
{
    uint64_t was = atomic_load_explicit(&w->page->lsn, memory_order_relaxed);

    while (was < lsn && !atomic_compare_exchange_weak(&w->page->lsn, &was, lsn))
        continue;
}

void db_witness_sync(struct db_witness *w)
{
    uint64_t lsn = atomic_load(&w->page->lsn);

    if (lsn == atomic_load(&w->synced))
        return;
    if (fdatasync(w->fd) < 0)
        log_warn("the witness of the database cannot be written");
    else
        atomic_store(&w->synced, lsn);
}
