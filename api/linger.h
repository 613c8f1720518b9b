/* Closing a socket on a client that is still sending makes the kernel answer with a reset, which
 * may destroy the last answer before the client has read it. So such a socket is kept a moment
 * longer: what still arrives is thrown away until the client closes or the time is over. */
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#define LINGER_MAX 32       /* sockets at once; beyond it they are just closed */
#define LINGER_TIME_MS 1000 /* for each */

struct linger_list {
    struct {
        int fd;
        int64_t until_ms;
    } sockets[LINGER_MAX];
    size_t n;
};

/** Keeps a duplicate of `fd`, whose sending side has been shut down by the caller. */
void linger_add(struct linger_list *linger, int fd, int64_t now_ms);
/** Fills one entry for each socket; returns how many. */
size_t linger_poll_entries(
    const struct linger_list *linger, struct pollfd entries[static LINGER_MAX]);
/** Throws away what came and closes what is over. Returns when to be called again at the latest,
 * INT64_MAX when nothing is left. */
int64_t linger_run(struct linger_list *linger, int64_t now_ms);
void linger_done(struct linger_list *linger);
