#include "base/manager.h"

#include "base/clock.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_FD_FIRST 3 /* of sd_listen_fds(3) */
#define HANDED_MAX 8

static struct {
    int fds[HANDED_MAX]; /* -1: taken */
    size_t n;
    struct sockaddr_un notify;
    socklen_t notify_len; /* 0: nobody wants to be told */
    bool complained;
} manager;

static unsigned long number_of(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    unsigned long v;

    if (text == NULL || *text < '0' || *text > '9')
        return 0;
    errno = 0;
    v = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' ? v : 0;
}

static void find_notify_socket(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    const size_t len = path != NULL ? strlen(path) : 0;

    if (len < 2 || len >= sizeof(manager.notify.sun_path) || (*path != '/' && *path != '@'))
        return;
    manager.notify.sun_family = AF_UNIX;
    memcpy(manager.notify.sun_path, path, len);
    if (*path == '@') /* of the abstract name space */
        manager.notify.sun_path[0] = '\0';
    manager.notify_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static void take_sockets(void)
{
    unsigned long n = number_of("LISTEN_FDS");

    if (number_of("LISTEN_PID") != (unsigned long)getpid())
        return;
    if (n > HANDED_MAX) {
        log_warn("of %lu sockets handed over, %d are used", n, HANDED_MAX);
        n = HANDED_MAX;
    }
    for (unsigned long i = 0; i < n; i++) {
        const int fd = LISTEN_FD_FIRST + (int)i;
        const int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
            fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
            continue;
        manager.fds[manager.n++] = fd;
    }
}

void manager_init(void)
{
    find_notify_socket();
    take_sockets();
    /* Whom we start is not meant. */
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDNAMES");
}

void manager_tell(const char *state)
{
    int fd;

    if (manager.notify_len == 0)
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                      (const struct sockaddr *)&manager.notify, manager.notify_len) < 0)
        log_warn("the service manager cannot be told anything: %s", strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

/* Port and address alone: what else is in the structure is not for comparing. */
static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a->sa_family == AF_INET6 && a6->sin6_port == b6->sin6_port &&
           memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static bool listens(int fd, struct sockaddr_storage *ret)
{
    socklen_t len = sizeof(*ret), option_len = sizeof(int);
    int on = 0;

    *ret = (struct sockaddr_storage){0};
    return getsockname(fd, (struct sockaddr *)ret, &len) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &option_len) == 0 && on != 0;
}

static int take(const struct sockaddr *address, int family)
{
    struct sockaddr_storage bound;

    for (size_t i = 0; i < manager.n; i++) {
        const int fd = manager.fds[i];

        if (fd < 0 || !listens(fd, &bound) || bound.ss_family != family ||
            (address != NULL && !same_address((const struct sockaddr *)&bound, address)))
            continue;
        manager.fds[i] = -1;
        return fd;
    }
    return -1;
}

int manager_take_listener(const struct sockaddr *address, socklen_t len)
{
    (void)len;
    return take(address, address->sa_family);
}

int manager_take_family(int family)
{
    return take(NULL, family);
}

static void name_socket(const struct sockaddr_storage *bound, char *out, size_t size)
{
    char address[INET6_ADDRSTRLEN] = "";

    if (bound->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)bound;

        (void)inet_ntop(AF_INET, &v4->sin_addr, address, sizeof(address));
        (void)snprintf(out, size, "%s:%u", address, ntohs(v4->sin_port));
    } else if (bound->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)bound;

        (void)inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof(address));
        (void)snprintf(out, size, "[%s]:%u", address, ntohs(v6->sin6_port));
    } else {
        (void)snprintf(out, size, "of another kind");
    }
}

void manager_close_rest(void)
{
    struct sockaddr_storage bound;
    char name[INET6_ADDRSTRLEN + 16];

    for (size_t i = 0; i < manager.n; i++) {
        if (manager.fds[i] < 0)
            continue;
        (void)listens(manager.fds[i], &bound);
        name_socket(&bound, name, sizeof(name));
        log_warn(
            "a socket %s was handed over, and no listener of the configuration has its address",
            name);
        (void)close(manager.fds[i]);
        manager.fds[i] = -1;
    }
}

void manager_beat(struct manager_pulse *pulse)
{
    atomic_store_explicit(&pulse->beaten_ms, clock_monotonic_ms(), memory_order_relaxed);
}

void manager_rest(struct manager_pulse *pulse)
{
    atomic_store_explicit(&pulse->beaten_ms, 0, memory_order_relaxed);
}

bool manager_is_alive(const struct manager_pulse *pulse)
{
    const int64_t beaten_ms = atomic_load_explicit(&pulse->beaten_ms, memory_order_relaxed);

    return beaten_ms == 0 || clock_monotonic_ms() - beaten_ms < MANAGER_STILL_MS;
}

void manager_watch(bool alive, const char *still)
{
    if (alive) {
        manager_tell("WATCHDOG=1");
        manager.complained = false;
    } else if (!manager.complained) {
        log_error("the thread %s has stood still for %d seconds", still, MANAGER_STILL_MS / 1000);
        manager_tell("STATUS=a thread stands still");
        manager.complained = true;
    }
}
