#include "api/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISCARD_PIECE 65536
#define DISCARD_PIECES 16 /* per call and socket: a flood must not hold the thread */

void linger_add(struct linger_list *linger, int fd, int64_t now_ms)
{
    int copy;

    if (linger->n == LINGER_MAX)
        return;
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return;
    linger->sockets[linger->n].fd = copy;
    linger->sockets[linger->n].until_ms = now_ms + LINGER_TIME_MS;
    linger->n++;
}

size_t linger_poll_entries(
    const struct linger_list *linger, struct pollfd entries[static LINGER_MAX])
{
    for (size_t i = 0; i < linger->n; i++)
        entries[i] = (struct pollfd){.fd = linger->sockets[i].fd, .events = POLLIN};
    return linger->n;
}

/* False when the client has closed. MSG_TRUNC: thrown away in the kernel, copied nowhere. */
static bool discard(int fd)
{
    for (int i = 0; i < DISCARD_PIECES; i++) {
        ssize_t n = recv(fd, NULL, DISCARD_PIECE, MSG_TRUNC | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        if (n == 0)
            return false;
    }
    return true;
}

int64_t linger_run(struct linger_list *linger, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;

    for (size_t i = 0; i < linger->n;) {
        if (discard(linger->sockets[i].fd) && now_ms < linger->sockets[i].until_ms) {
            if (linger->sockets[i].until_ms < next_ms)
                next_ms = linger->sockets[i].until_ms;
            i++;
            continue;
        }
        (void)close(linger->sockets[i].fd);
        linger->n--;
        linger->sockets[i] = linger->sockets[linger->n];
    }
    return next_ms;
}

void linger_done(struct linger_list *linger)
{
    for (size_t i = 0; i < linger->n; i++)
        (void)close(linger->sockets[i].fd);
    linger->n = 0;
}
