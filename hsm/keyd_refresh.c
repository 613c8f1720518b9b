/* Versions of storage KEKs that come and go while this process runs. */
#include "hsm/keyd.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>

#define LOOK_MS 10000     /* between two looks, when nothing asks for one */
#define LOOK_SOON_MS 1000 /* after one that found the token busy */
#define LOOK_LEAST_MS 50  /* between two that blobs ask for: a look takes 2 */
#define LOCK_WAIT_MS 500  /* that a join can spare, which waits for the version it names */
#define LOCK_STEP_MS 5

_Static_assert(LOOK_MS < KEYD_BEHIND_MS, "who is asked often looks without having to wait");

/* Another one's start, or a ceremony, takes a fraction of a second. Outcome 1: it is not free. */
static int try_lock(const char *lock_file, int64_t wait_ms, int *ret_fd)
{
    const int64_t until = clock_monotonic_ms() + wait_ms;
    int fd = open(lock_file, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno("the HSM lock file %s cannot be opened", lock_file);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (clock_monotonic_ms() >= until) {
            (void)close(fd);
            return 1;
        }
        (void)poll(NULL, 0, LOCK_STEP_MS);
    }
    *ret_fd = fd;
    return 0;
}

/* What was opened under a version that has gone is not to be used any more. */
static void forget_keks(struct keyd *keyd)
{
    for (size_t i = 0; i < keyd->n_keks; i++)
        (void)p11_destroy(&keyd->token, &keyd->keks[i].handle);
    keyd->n_keks = 0;
}

static int take(struct keyd *keyd, struct p11_keys *fresh)
{
    struct p11_known known = {0};
    int r = p11_keys_copy(&keyd->token, fresh);

    if (r == 0)
        r = p11_probe_keys(&keyd->token, fresh, &known);
    if (r < 0) {
        p11_keys_drop(&keyd->token, fresh);
        return r;
    }
    forget_keks(keyd);
    p11_keys_drop(&keyd->token, &keyd->keys);
    keyd->keys = *fresh;
    keyd->known = known;
    log_info("the token's storage KEKs have changed: newest %s and %s",
        p11_store_newest(&keyd->keys.device)->label, p11_store_newest(&keyd->keys.kek)->label);
    return 0;
}

static int look(struct keyd *keyd, int64_t wait_ms, bool *ret_changed)
{
    CLEANUP(cleanup_close) int lock = -1;
    struct p11_keys fresh;
    int r = try_lock(keyd->lock_file, wait_ms, &lock);

    if (r != 0)
        return r;
    const int64_t now = clock_monotonic_ms();

    r = p11_keys_find(&keyd->token, &fresh);
    if (r == 0 && !p11_keys_same(&fresh, &keyd->keys)) {
        r = take(keyd, &fresh);
        *ret_changed = r == 0;
    }
    if (r == 0)
        keyd->seen_ms = now;
    return r;
}

/* A token that is being changed is looked at again soon. Outcome 1: it is being changed. */
static int refresh(struct keyd *keyd, int64_t wait_ms, bool *ret_changed)
{
    const int r = look(keyd, wait_ms, ret_changed);

    if (r < 0)
        log_warn("the token's storage KEKs stay as they were: %s", error_text());
    keyd->look_again_ms = clock_monotonic_ms() + (r > 0 ? LOOK_SOON_MS : LOOK_MS);
    return r;
}

void keyd_refresh_due(struct keyd *keyd)
{
    bool changed = false;

    if (keyd->lock_file != NULL && clock_monotonic_ms() >= keyd->look_again_ms)
        (void)refresh(keyd, 0, &changed);
}

int keyd_refresh_newest(struct keyd *keyd)
{
    bool changed = false;
    int r;

    if (keyd->lock_file == NULL || clock_monotonic_ms() < keyd->seen_ms + KEYD_BEHIND_MS)
        return 0;
    r = refresh(keyd, LOCK_WAIT_MS, &changed);
    if (r > 0)
        log_warn("the token is being changed, and nothing is sealed until it was looked at");
    return r;
}

bool keyd_refresh_asked(struct keyd *keyd)
{
    bool changed = false;

    if (!keyd->unknown)
        return false;
    keyd->unknown = false;
    /* Only looks that were asked for count: one that was due just now must not stand in the way of
     * the first join under a version that came since. */
    if (keyd->lock_file == NULL || clock_monotonic_ms() < keyd->asked_ms + LOOK_LEAST_MS)
        return false;
    (void)refresh(keyd, LOCK_WAIT_MS, &changed);
    keyd->asked_ms = clock_monotonic_ms();
    return changed;
}
