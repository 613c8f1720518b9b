#include "hsm/ask.h"

#include "base/clock.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

#define DEATHS_MAX 2 /* of key processes over one message */

/* 0 when `events` came, 1 when the deadline passed. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
    while (true) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = deadline_ms - clock_monotonic_ms();
        int n;

        if (left < 0)
            left = 0;
        n = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0)
            return 0;
        if (n == 0 && deadline_ms <= clock_monotonic_ms())
            return 1;
    }
}

static enum pool_call_end send_frame(int fd, const uint8_t *frame, size_t len, int64_t deadline_ms)
{
    while (send(fd, frame, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return POOL_CALL_BROKEN;
        if (wait_for(fd, POLLOUT, deadline_ms) != 0)
            return POOL_CALL_LATE;
    }
    return POOL_CALL_OK;
}

static enum pool_call_end receive_frame(
    int fd, uint8_t frame[static KEYD_FRAME_MAX], int64_t deadline_ms, size_t *ret_len)
{
    while (true) {
        ssize_t n;

        if (wait_for(fd, POLLIN, deadline_ms) != 0)
            return POOL_CALL_LATE;
        n = recv(fd, frame, KEYD_FRAME_MAX, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return POOL_CALL_BROKEN;
        *ret_len = (size_t)n;
        return (size_t)n > KEYD_FRAME_MAX ? POOL_CALL_WRONG : POOL_CALL_OK;
    }
}

static enum pool_call_end exchange(struct keyd_channel *channel, enum keyd_verb verb,
    size_t n_items, size_t request_len, int64_t deadline_ms)
{
    size_t len = 0;
    enum pool_call_end end =
        send_frame(channel->fd, channel->request_frame, request_len, deadline_ms);

    if (end == POOL_CALL_OK)
        end = receive_frame(channel->fd, channel->reply_frame, deadline_ms, &len);
    if (end != POOL_CALL_OK)
        return end;
    if (keyd_reply_decode(channel->reply_frame, len, &channel->reply) < 0 ||
        channel->reply.verb != verb || channel->reply.sequence != channel->sequence ||
        channel->reply.n_items != n_items) {
        /* Whatever it is, it may hold keys in clear. */
        secret_wipe(channel->reply_frame, sizeof(channel->reply_frame));
        secret_wipe(&channel->reply, sizeof(channel->reply));
        return POOL_CALL_WRONG;
    }
    return keyd_reply_has_failure(&channel->reply, channel->reply_frame) ? POOL_CALL_FAILED
                                                                         : POOL_CALL_OK;
}

/* What the token failed is asked of the other one, once: nothing was changed by it. */
static bool ask_again(struct keyd_channel *channel, unsigned *n_failures)
{
    if ((*n_failures)++ > 0 || !pool_channel_token_failed(channel))
        return false;
    keyd_forget(channel);
    return true;
}

int keyd_ask(struct keyd_channel *channel, enum keyd_verb verb,
    const struct sealed_kek *const *keks, size_t n_keks, const void *items, size_t n_items,
    int64_t deadline_ms)
{
    size_t len = 0;
    unsigned deaths = 0, failures = 0;
    int r = keyd_request_encode(
        verb, ++channel->sequence, keks, n_keks, items, n_items, channel->request_frame, &len);

    while (r == 0) {
        enum pool_call_end end;

        r = pool_channel_take(channel, deadline_ms);
        if (r < 0)
            break;
        end = exchange(channel, verb, n_items, len, deadline_ms);
        if (end == POOL_CALL_FAILED && ask_again(channel, &failures))
            continue;
        if (end == POOL_CALL_FAILED)
            end = POOL_CALL_OK;
        pool_channel_give(channel, end, &channel->reply);
        if (end == POOL_CALL_OK)
            return 0;
        if (end == POOL_CALL_LATE)
            r = error_set(ERROR_DEADLINE, "the key process did not answer in time");
        else if (end == POOL_CALL_BROKEN && ++deaths == DEATHS_MAX)
            r = error_set(ERROR_HSM, "two key processes ended over the same message");
        else if (end == POOL_CALL_WRONG)
            r = error_set(ERROR_HSM, "the key process gave an answer that cannot be");
    }
    return r;
}

void keyd_forget(struct keyd_channel *channel)
{
    if (!keyd_reply_holds_secrets(&channel->reply))
        return;
    secret_wipe(channel->reply_frame, sizeof(channel->reply_frame));
    secret_wipe(&channel->reply, sizeof(channel->reply));
}
