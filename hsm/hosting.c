#include "hsm/hosting.h"

#include "base/bytes.h"
#include "base/error.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WISH_LEN 14
#define TOKENS_LEN 5
#define WISH_WAIT_MS 5000
#define WATCH_STACK 65536 /* bytes; all of keyd's memory is locked */

static const uint8_t wish_magic[4] = {'C', 'K', 'W', '2'};
static const uint8_t tokens_magic[4] = {'C', 'K', 'T', '1'};

union rights {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(HOSTING_SOCKETS_MAX * sizeof(int))];
};

static void put32(uint8_t *out, unsigned v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

static unsigned get32(const uint8_t *in)
{
    return (unsigned)in[0] << 24 | (unsigned)in[1] << 16 | (unsigned)in[2] << 8 | in[3];
}

/* Of a socket that a service manager listens on, root's. */
static int check_peer(int fd, const char *path, const char *user)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    char buffer[4096];
    struct passwd entry, *found = NULL;

    if (user[0] == '\0')
        return 0;
    if (getpwnam_r(user, &entry, buffer, sizeof(buffer), &found) != 0 || found == NULL)
        return error_set(ERROR_CONFIG, "hsm.keyd_user: there is no user %s", user);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return error_set_errno("it cannot be seen whose %s is", path);
    if (peer.uid != 0 && peer.uid != found->pw_uid)
        return error_set(ERROR_CONFIG, "%s is listened on by user %u, not by %s: no key goes there",
            path, (unsigned)peer.uid, user);
    return 0;
}

static int send_wish(int fd, const struct hosting_wish *wish, const int *fds, unsigned n_fds)
{
    uint8_t bytes[WISH_LEN];
    union rights rights = {.bytes = {0}};
    struct iovec part = {bytes, sizeof(bytes)};
    struct msghdr message = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = rights.bytes,
        .msg_controllen = CMSG_SPACE(n_fds * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    memcpy(bytes, wish_magic, sizeof(wish_magic));
    put32(bytes + 4, wish->memory_mib);
    put32(bytes + 8, wish->verbs);
    bytes[12] = wish->plain_keys;
    bytes[13] = (uint8_t)wish->token;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(bytes) ? 0 : -1;
}

int hosting_ask(const char *path, const char *user, const struct hosting_wish *wish, const int *fds,
    unsigned n_fds, int *ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Never waits: the pool's lock is held. */
    CLEANUP(cleanup_close)
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    if (n_fds > HOSTING_SOCKETS_MAX)
        return error_set(ERROR_CONFIG, "one key process of a host serves at most %d threads",
            HOSTING_SOCKETS_MAX - 1);
    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(ERROR_CONFIG, "hsm.keyd_socket is longer than a socket's path may be");
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (fd < 0)
        return error_set_errno("no socket for the host of key processes");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return error_set(ERROR_HSM, "the host of key processes does not answer on %s: %s", path,
            strerror(errno));
    r = check_peer(fd, path, user);
    if (r < 0)
        return r;
    if (send_wish(fd, wish, fds, n_fds) != 0)
        return error_set(ERROR_HSM, "the host of key processes on %s cannot be asked: %s", path,
            strerror(errno));
    *ret = fd;
    fd = -1;
    return 0;
}

int hosting_end(int connection)
{
    uint8_t state;

    /* The layout of wait(2)'s status. */
    return recv(connection, &state, sizeof(state), MSG_DONTWAIT) == 1 ? state << 8 : SIGKILL;
}

/* Takes what came, whatever it is, so that nothing stays open. */
static unsigned take_rights(struct msghdr *message, int out[static HOSTING_SOCKETS_MAX])
{
    unsigned n = 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h != NULL; h = CMSG_NXTHDR(message, h)) {
        const size_t n_here = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n_here && n < HOSTING_SOCKETS_MAX; i++)
            memcpy(&out[n++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
    }
    return n;
}

int hosting_receive(int connection, struct hosting_wish *ret,
    int ret_fds[static HOSTING_SOCKETS_MAX], unsigned *ret_n)
{
    uint8_t bytes[WISH_LEN + 1];
    union rights rights;
    struct iovec part = {bytes, sizeof(bytes)};
    struct msghdr message = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = rights.bytes,
        .msg_controllen = sizeof(rights.bytes)};
    struct pollfd wait = {.fd = connection, .events = POLLIN};
    ssize_t n;

    if (poll(&wait, 1, WISH_WAIT_MS) <= 0)
        return error_set(ERROR_INPUT, "a service asked for a key process and did not say which");
    n = recvmsg(connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *ret_n = n > 0 ? take_rights(&message, ret_fds) : 0;
    if (n != WISH_LEN || memcmp(bytes, wish_magic, sizeof(wish_magic)) != 0 ||
        (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || *ret_n < 1 || bytes[12] > 1)
        return error_set(ERROR_INPUT, "a service asked for a key process in a way that is unknown");
    *ret = (struct hosting_wish){.memory_mib = get32(bytes + 4),
        .verbs = get32(bytes + 8),
        .plain_keys = bytes[12] != 0,
        .token = bytes[13]};
    return 0;
}

void hosting_say_tokens(int control, unsigned n)
{
    uint8_t bytes[TOKENS_LEN];

    memcpy(bytes, tokens_magic, sizeof(tokens_magic));
    bytes[4] = (uint8_t)n;
    (void)send(control, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
}

unsigned hosting_tokens(const uint8_t *bytes, size_t len)
{
    if (len != TOKENS_LEN || memcmp(bytes, tokens_magic, sizeof(tokens_magic)) != 0 ||
        bytes[4] > HOSTING_TOKENS_MAX)
        return 0;
    return bytes[4];
}

static void *watch(void *arg)
{
    struct pollfd end = {.fd = (int)(intptr_t)arg, .events = POLLIN | POLLRDHUP};

    while (poll(&end, 1, -1) < 0 && errno == EINTR)
        continue;
    _exit(0); /* what it was doing is nobody's any more */
}

int hosting_end_with(int connection)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int r = pthread_attr_init(&attributes);

    if (r != 0)
        return error_set(ERROR_SYSTEM, "no memory");
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, WATCH_STACK);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &attributes, watch, (void *)(intptr_t)connection);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return r == 0 ? 0 : error_set(ERROR_SYSTEM, "no thread to watch a connection: %s", strerror(r));
}

void hosting_say_end(int connection, int state)
{
    const uint8_t byte = (uint8_t)state;

    (void)send(connection, &byte, sizeof(byte), MSG_NOSIGNAL | MSG_DONTWAIT);
}
