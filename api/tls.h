/* TLS of a listener: its certificate, which may change while it serves, and the client's. All of it
 * runs on the server's thread, handshakes too. */
#pragma once

#include "api/server.h"
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

struct api_connection;
struct tls_identity;
struct tls_server;

/* No static RSA and no CBC: what TLS 1.2 still has of them is where its faults were. */
#define TLS_PRIORITIES                                                                             \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-AES-128-CBC:-AES-256-CBC:"                \
    "%SERVER_PRECEDENCE"

/** The part of a connection that is TLS. */
struct tls_session {
    gnutls_session_t gnutls; /* the library's; NULL on a plain connection */
    struct tls_identity *identity;
    bool shaking;     /* the handshake is not done: see handshake.h */
    bool verified;    /* the client's certificate, by what was trusted in `version` */
    uint64_t version; /* of the trust */
    char san[API_SAN_MAX + 1];
};

/** Loads certificate and key (ERROR_CONFIG names what is wrong). Outcome 0 and NULL on a plain
 * listener. */
int tls_server_new(const struct api_listener *listener, void *context, struct tls_server **ret);
/** After the last connection. NULL is fine. */
void tls_server_free(struct tls_server *tls);

/** When the certificate that is served now expires, Unix time; 0 where there is none. Any thread.
 */
int64_t tls_server_expires_s(const struct tls_server *tls);

/** Before the handshake; negative: the connection must not go on. */
int tls_session_open(struct api_connection *connection, gnutls_session_t session);
void tls_session_close(struct api_connection *connection);
/** False when the listener wants a certificate and the client's is not good (any more): looked at
 * again after a resumed handshake, which verifies nothing, and when the trust has changed. */
bool tls_session_trusted(struct api_connection *connection);
/** Whether the client has shown a certificate, good or not. */
bool tls_session_has_certificate(const struct api_connection *connection);
/** See api_request_check_certificate. */
const char *tls_session_check(const struct api_connection *connection, api_trust_find find,
    void *context, char san[static API_SAN_MAX + 1]);
/** To the client past the library, without waiting. */
void tls_session_say(struct api_connection *connection, const void *bytes, size_t len);
void tls_session_say_end(struct api_connection *connection);

/** The library's own credentials: none, so that a session that did not get ours has no handshake.
 */
int tls_no_certificate(gnutls_session_t session, const gnutls_datum_t *ca_names, int n_ca_names,
    const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **ret_certificates,
    unsigned *ret_n_certificates, gnutls_privkey_t *ret_key);
