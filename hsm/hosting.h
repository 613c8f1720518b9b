/* How a service has a keyd started by a cradle-keyd-host, which runs as another user.
 *
 * The service connects to the host's socket (Unix, SOCK_SEQPACKET) and sends one message: what it
 * wishes, and with it (SCM_RIGHTS) keyd's ends of the control socket and of the channels. The host
 * looks at the peer's credentials and starts a keyd with that connection; all else goes over the
 * sockets that were sent, as between a service and a keyd of its own.
 *
 * The connection is the handle: keyd ends when it is closed or shut down, and before it ends by
 * itself it sends how in one byte. Without that byte the connection ended because keyd was killed.
 *
 * The host knows one token or two, and the service learns from each keyd how many, as the first of
 * all on its control socket: before the token is opened, so also from one that then fails or hangs.
 *
 *   wish     magic "CKW2" | memory_mib 4 | verbs 4 | plain_keys 1 | token 1, big-endian
 *   tokens   magic "CKT1" | how many 1
 *   end      enum keyd_exit 1 */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Sockets of one keyd: what the kernel lets one message carry (SCM_MAX_FD). */
#define HOSTING_SOCKETS_MAX 253
#define HOSTING_TOKENS_MAX 2

struct hosting_wish {
    unsigned memory_mib;
    unsigned verbs; /* KEYD_MAY(...) */
    bool plain_keys;
    unsigned token; /* from 0 */
};

/** The service's side: `fds[0]` is the control socket's. `*ret` is the connection. `user`: whose
 * the host must be, unless it is root's; "": anybody's. ERROR_CONFIG: of another user, or there is
 * no such user. ERROR_HSM: nobody listens. */
int hosting_ask(const char *path, const char *user, const struct hosting_wish *wish, const int *fds,
    unsigned n_fds, int *ret) MUST_CHECK;
/** How many tokens a message on a control socket says there are; 0: it is another message. */
unsigned hosting_tokens(const uint8_t *bytes, size_t len) MUST_CHECK;
/** Of a connection that has become readable: how keyd ended, as from waitpid. */
int hosting_end(int connection) MUST_CHECK;

/** Keyd's side: waits a moment for the wish. `*ret_n` sockets (1: a probe) are the caller's. */
int hosting_receive(int connection, struct hosting_wish *ret,
    int ret_fds[static HOSTING_SOCKETS_MAX], unsigned *ret_n) MUST_CHECK;
void hosting_say_tokens(int control, unsigned n);
/** Ends this process, whatever it is doing, when the connection ends. Starts a thread for it. */
int hosting_end_with(int connection) MUST_CHECK;
void hosting_say_end(int connection, int state);
