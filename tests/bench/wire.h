/* A keep-alive connection to a join server on the loopback address: plain, or mutual TLS as the
 * network server that the certificate of the settings names. Used by one thread. */
#pragma once

#include "tests/bench/settings.h"
#include <gnutls/gnutls.h>
#include <sys/types.h>

/** What the connections have in common; outlives them. */
struct bench_wiring {
    gnutls_certificate_credentials_t credentials; /* NULL: plain */
};

struct bench_wire {
    int fd; /* -1: closed; to be watched for input */
    gnutls_session_t tls;
};

/** ERROR_CONFIG names the certificate, key or CA that cannot be used. */
int bench_wiring_make(const struct bench_settings *settings, struct bench_wiring *ret);
void bench_wiring_done(struct bench_wiring *wiring);

/** Connects and, with TLS, waits for the handshake, in which both sides are verified. */
int bench_wire_open(const struct bench_wiring *wiring, uint16_t port, struct bench_wire *ret);
void bench_wire_close(struct bench_wire *wire);

/** Whether the other side has closed it, as far as is known here. */
bool bench_wire_has_ended(const struct bench_wire *wire);
/** Everything at once or not at all: a request is far smaller than what a socket takes. */
bool bench_wire_send(struct bench_wire *wire, const void *bytes, size_t len);

/** The number of bytes; BENCH_WIRE_EMPTY when none are there yet, BENCH_WIRE_ENDED when none will
 * come. Ask until it is empty: TLS may hold some that the socket no longer shows. */
ssize_t bench_wire_receive(struct bench_wire *wire, void *bytes, size_t size);
#define BENCH_WIRE_EMPTY (-1)
#define BENCH_WIRE_ENDED 0
