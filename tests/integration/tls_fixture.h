/* For the tests of listeners with TLS: two peers, each with a CA of its own, a CA that nobody
 * knows, and the server's; and callers, by OpenSSL's TLS. One server at a time. */
#pragma once

#include "api/server.h"
#include "tests/integration/certificates.h"
#include <check.h>
#include <openssl/ssl.h>

#define TLS_PATH_MAX 256
#define TLS_ANSWER_MAX 8192
#define TLS_URI_A "urn:cradle:netid:000013"
#define TLS_DNS_B "js-client.b.example"
#define TLS_GOOD_SERIAL 100
#define TLS_REVOKED_SERIAL 200

extern struct certificate tls_ca_a, tls_ca_b, tls_ca_server, tls_server;
/** The server's files. */
extern char tls_certificate_path[TLS_PATH_MAX], tls_key_path[TLS_PATH_MAX];

/** Whether peer A is known, and its revocation list, which is taken over; NULL: none. */
void tls_set_trust(bool a_known, char *crl);
/** In the place of what is there; the text is freed. */
void tls_write_file(const char *path, char *text);
/** Makes the server another certificate, which is not in its files yet. */
void tls_make_server(long serial);
struct api_listener tls_listener(enum api_tls tls);

#define TLS_N_VERSIONS 2
extern const int tls_versions[TLS_N_VERSIONS];

/* Certificates that are right, or wrong in one way. */
struct tls_certificate {
    const char *what;
    const struct certificate *ca; /* NULL: signed by itself */
    struct certificate_plan plan;
    const char *seen; /* "": refused */
};
extern const struct tls_certificate tls_certificates[];
extern const size_t tls_n_certificates;
/** Peer A's. */
struct certificate tls_good_a(long serial);

struct tls_caller {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
    bool shaken;
};

struct tls_manner {
    const struct certificate *certificate; /* NULL: none */
    int version;                           /* 0: what both can */
    const char *protocols;                 /* ALPN, in its wire form; NULL: none */
    SSL_SESSION *session;
    const char *from; /* the client's address; NULL: 127.0.0.1 */
};

struct tls_caller tls_call(const struct tls_manner *manner);
void tls_hang_up(struct tls_caller *c);
/** The status of one exchange; 0 when there is no answer. The body is in `body`. A `request` of
 * NULL: the answer to one that was sent before. Reads no further than the answer. */
unsigned tls_ask(struct tls_caller *c, const char *request, char body[static TLS_ANSWER_MAX]);
unsigned tls_ask_who(struct tls_caller *c, char body[static TLS_ANSWER_MAX]);
/** Who the server takes such a caller for; "" when it does not talk to it. */
const char *tls_who(const struct tls_manner *manner, char body[static TLS_ANSWER_MAX]);

/** A case with these certificates; `start` starts its server. */
TCase *tls_add_case(Suite *suite, const char *name, void (*start)(void));
