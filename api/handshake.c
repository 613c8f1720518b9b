#include "api/handshake.h"

#include "api/internal.h"
#include "base/clock.h"
#include <errno.h>
#include <sys/socket.h>

int handshakes_init(struct handshakes *handshakes, uint32_t most, uint64_t secret)
{
    return tally_init(&handshakes->addresses, most, secret);
}

void handshakes_done(struct handshakes *handshakes)
{
    tally_done(&handshakes->addresses);
}

void handshakes_round(struct handshakes *handshakes)
{
    handshakes->until_us = 0;
    handshakes->held_back = false;
}

static bool crowded(const struct handshakes *handshakes, uint64_t address)
{
    return tally_count(&handshakes->addresses, address) > HANDSHAKE_UNCROWDED;
}

bool handshakes_admit(struct handshakes *handshakes, uint64_t address, int64_t now_us)
{
    if (handshakes->until_us == 0 || now_us < handshakes->until_us || !crowded(handshakes, address))
        return true;
    handshakes->held_back = true;
    return false;
}

/* Who only asks whether something has come has cost nothing. */
void handshakes_work(struct handshakes *handshakes, uint64_t address, int64_t now_us)
{
    if (handshakes->until_us == 0 && crowded(handshakes, address))
        handshakes->until_us = now_us + HANDSHAKE_ROUND_US;
}

/* The TLS library's way to what the client has sent. */
static ssize_t pull(gnutls_transport_ptr_t context, void *data, size_t len)
{
    struct api_connection *c = context;
    struct handshakes *handshakes = &c->server->handshakes;
    ssize_t n;

    if (c->tls.shaking && !handshakes_admit(handshakes, c->address, clock_monotonic_us())) {
        errno = EAGAIN;
        return -1;
    }
    n = recv(c->fd, data, len, 0);
    if (n > 0 && c->tls.shaking)
        handshakes_work(handshakes, c->address, clock_monotonic_us());
    return n;
}

static int wait_to_pull(gnutls_transport_ptr_t context, unsigned ms)
{
    const struct api_connection *c = context;

    return gnutls_system_recv_timeout((gnutls_transport_ptr_t)(intptr_t)c->fd, ms);
}

/* The client's Finished is the last message with anything to work at, of TLS 1.2 and 1.3. */
static int finished(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
    const gnutls_datum_t *message)
{
    (void)type;
    (void)when;
    (void)message;
    if (incoming != 0)
        handshake_end(gnutls_session_get_ptr(session));
    return 0;
}

/* Without room to count it, it is not held back either: there is room for all that are served. */
void handshake_begin(struct api_connection *c)
{
    gnutls_transport_ptr_t receive, send;

    if (!tally_take(&c->server->handshakes.addresses, c->address, 0))
        return;
    c->tls.shaking = true;
    gnutls_transport_get_ptr2(c->tls.gnutls, &receive, &send);
    gnutls_transport_set_ptr2(c->tls.gnutls, c, send);
    gnutls_transport_set_pull_function(c->tls.gnutls, pull);
    gnutls_transport_set_pull_timeout_function(c->tls.gnutls, wait_to_pull);
    gnutls_handshake_set_hook_function(
        c->tls.gnutls, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, finished);
}

void handshake_end(struct api_connection *c)
{
    if (c->tls.shaking)
        tally_give(&c->server->handshakes.addresses, c->address);
    c->tls.shaking = false;
}
