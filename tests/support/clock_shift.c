/* A library for tests, to be preloaded: the wall clock of a process is as far from the true one as
 * a file says, which can be changed at any time. Monotonic clocks are left alone, as a real jump
 * leaves them, and so is all that is shared between processes but that file, which need only be
 * readable: processes of several users can have the clock.
 *
 * CRADLE_CLOCK names the file, one int64_t of seconds; a program for which there is a file
 * FILE.NAME has that one. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

/* The C library's functions take no context, so this must be global. */
static const _Atomic int64_t *shift;

__attribute__((constructor)) static void map_shift(void)
{
    const char *path = getenv("CRADLE_CLOCK");
    char own[PATH_MAX];
    int fd;
    void *p;

    if (path == NULL)
        return;
    (void)snprintf(own, sizeof(own), "%s.%s", path, program_invocation_short_name);
    fd = open(own, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    p = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p != MAP_FAILED)
        shift = p;
}

VISIBLE int clock_gettime(clockid_t id, struct timespec *ts)
{
    static int (*next)(clockid_t, struct timespec *);
    int r;

    if (next == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "clock_gettime");

        memcpy(&next, &symbol, sizeof(next));
    }
    r = next(id, ts);
    if (r == 0 && shift != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ts->tv_sec += (time_t)atomic_load(shift);
    return r;
}

VISIBLE int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    *tv = (struct timeval){.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};
    return 0;
}

VISIBLE time_t time(time_t *ret)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    if (ret != NULL)
        *ret = ts.tv_sec;
    return ts.tv_sec;
}

VISIBLE int timespec_get(struct timespec *ts, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, ts) == 0 ? base : 0;
}
