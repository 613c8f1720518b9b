#include "base/failpoint.h"

#ifdef CRADLE_FAILPOINTS
#include "base/error.h"
#include "base/log.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#define FAILPOINT_NAME(name) "failpoint " #name,
static const char *const names[] = {FAILPOINTS(FAILPOINT_NAME)};

/* A place in the code has no context to hand over, so these must be global. */
static pthread_once_t mapped = PTHREAD_ONCE_INIT;
static struct failpoint_control *control;

static void map_control(void)
{
    const char *path = getenv(FAILPOINT_ENV);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p;

    if (fd < 0)
        return;
    p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p != MAP_FAILED)
        control = p;
}

/* Of all threads and processes that come by, one acts. */
static uint32_t action_here(enum failpoint point)
{
    uint32_t hit, armed = 1;

    hit = atomic_fetch_add(&control->hits[point], 1) + 1;
    if (atomic_load(&control->point) != (uint32_t)point || hit < atomic_load(&control->first) ||
        !atomic_compare_exchange_strong(&control->armed, &armed, 0))
        return 0;
    return atomic_load(&control->action);
}

int failpoint_pass(enum failpoint point, int code)
{
    uint32_t action, pause_ms;

    (void)pthread_once(&mapped, map_control);
    action = control != NULL ? action_here(point) : 0;
    if (action == 0)
        return 0;
    log_warn("%s", names[point]);
    switch (action) {
    case FAILPOINT_KILL:
        (void)raise(SIGKILL);
        return 0;
    case FAILPOINT_PAUSE:
        pause_ms = atomic_load(&control->pause_ms);
        (void)nanosleep(
            &(struct timespec){pause_ms / 1000, (long)(pause_ms % 1000) * 1000000}, NULL);
        return 0;
    default:
        return code == 0 ? 0 : error_set(code, "%s", names[point]);
    }
}
#endif
