#include "tests/bench/wire.h"

#include "base/error.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define SERVER_NAME "localhost" /* in the certificate that scripts/run makes */

int bench_wiring_make(const struct bench_settings *settings, struct bench_wiring *ret)
{
    CLEANUP(bench_wiring_done) struct bench_wiring wiring = {.credentials = NULL};

    *ret = wiring;
    if (settings->tls == 0)
        return 0;
    int r = gnutls_certificate_allocate_credentials(&wiring.credentials);
    if (r < 0)
        return error_set(ERROR_SYSTEM, "GnuTLS: %s", gnutls_strerror(r));
    r = gnutls_certificate_set_x509_trust_file(
        wiring.credentials, settings->ca, GNUTLS_X509_FMT_PEM);
    if (r <= 0)
        return error_set(ERROR_CONFIG, "no CA in %s: %s", settings->ca, gnutls_strerror(r));
    r = gnutls_certificate_set_x509_key_file(
        wiring.credentials, settings->certificate, settings->key, GNUTLS_X509_FMT_PEM);
    if (r < 0)
        return error_set(ERROR_CONFIG, "%s and %s are no certificate and key: %s",
            settings->certificate, settings->key, gnutls_strerror(r));
    *ret = wiring;
    wiring.credentials = NULL;
    return 0;
}

void bench_wiring_done(struct bench_wiring *wiring)
{
    if (wiring->credentials != NULL)
        gnutls_certificate_free_credentials(wiring->credentials);
    wiring->credentials = NULL;
}

static int handshake(const struct bench_wiring *wiring, uint16_t port, struct bench_wire *wire)
{
    int r = gnutls_init(&wire->tls, GNUTLS_CLIENT);

    if (r < 0) {
        wire->tls = NULL;
        return error_set(ERROR_SYSTEM, "GnuTLS: %s", gnutls_strerror(r));
    }
    if ((r = gnutls_set_default_priority(wire->tls)) < 0 ||
        (r = gnutls_credentials_set(wire->tls, GNUTLS_CRD_CERTIFICATE, wiring->credentials)) < 0)
        return error_set(ERROR_SYSTEM, "GnuTLS: %s", gnutls_strerror(r));
    gnutls_session_set_verify_cert(wire->tls, SERVER_NAME, 0);
    gnutls_transport_set_int(wire->tls, wire->fd);
    do {
        r = gnutls_handshake(wire->tls);
    } while (r < 0 && gnutls_error_is_fatal(r) == 0);
    if (r < 0)
        return error_set(
            ERROR_SYSTEM, "no TLS handshake with port %u: %s", port, gnutls_strerror(r));
    return 0;
}

int bench_wire_open(const struct bench_wiring *wiring, uint16_t port, struct bench_wire *ret)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEANUP(bench_wire_close)
    struct bench_wire wire = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    int on = 1;

    if (wire.fd < 0 || connect(wire.fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return error_set_errno("cannot connect to port %u", port);
    (void)setsockopt(wire.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int r = wiring->credentials != NULL ? handshake(wiring, port, &wire) : 0;
    if (r < 0)
        return r;
    if (fcntl(wire.fd, F_SETFL, O_NONBLOCK) != 0)
        return error_set_errno("cannot set up a connection");
    *ret = wire;
    wire = (struct bench_wire){.fd = -1};
    return 0;
}

/* No goodbye: the server finds the connection closed, as with plain HTTP. */
void bench_wire_close(struct bench_wire *wire)
{
    if (wire->tls != NULL)
        gnutls_deinit(wire->tls);
    if (wire->fd >= 0)
        (void)close(wire->fd);
    *wire = (struct bench_wire){.fd = -1};
}

bool bench_wire_has_ended(const struct bench_wire *wire)
{
    char byte;

    ssize_t n = recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

bool bench_wire_send(struct bench_wire *wire, const void *bytes, size_t len)
{
    ssize_t n = wire->tls != NULL ? gnutls_record_send(wire->tls, bytes, len)
                                  : send(wire->fd, bytes, len, 0);

    return n == (ssize_t)len;
}

ssize_t bench_wire_receive(struct bench_wire *wire, void *bytes, size_t size)
{
    if (wire->tls == NULL) {
        ssize_t n = recv(wire->fd, bytes, size, 0);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? BENCH_WIRE_EMPTY : BENCH_WIRE_ENDED;
        return n;
    }
    ssize_t n = gnutls_record_recv(wire->tls, bytes, size);
    if (n < 0) /* not fatal: nothing there, or a session ticket */
        return gnutls_error_is_fatal((int)n) == 0 ? BENCH_WIRE_EMPTY : BENCH_WIRE_ENDED;
    return n;
}
