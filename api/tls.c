#include "api/internal.h"

#include "api/trust.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/shortage.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_MS 1000           /* between looks at the certificate's files */
#define COMPLAIN_MS 1000       /* between log lines about clients' certificates */
#define TICKET_LIFETIME_S 3600 /* how long a session may be resumed */

/* Tells one content of a file from the next. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct stamps {
    struct stamp certificate, key;
};

/* A certificate and its key: kept while a session that began with it lives. */
struct tls_identity {
    unsigned references;
    gnutls_certificate_credentials_t credentials;
    int64_t expires_s; /* Unix time; 0: it cannot be read */
};

struct tls_server {
    struct api_listener listener;
    void *context;
    gnutls_datum_t ticket_key; /* of this server alone: no ticket is good on another listener */
    struct tls_identity *identity;
    struct stamps loaded, complained; /* files as they were taken, and as they were refused */
    int64_t looked_ms;
    _Atomic int64_t complained_ms; /* workers complain, too */
    _Atomic int64_t expires_s;     /* of what serves now; 0: not known */
};

static bool stamp_same(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool stamps_same(const struct stamps *a, const struct stamps *b)
{
    return stamp_same(&a->certificate, &b->certificate) && stamp_same(&a->key, &b->key);
}

static int stamp_file(const char *path, mode_t forbidden, struct stamp *ret)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return error_set(shortage_or(ERROR_CONFIG), "cannot read %s: %s", path, strerror(errno));
    if ((st.st_mode & forbidden) != 0)
        return error_set(ERROR_CONFIG, "the key %s is open to everyone: chmod o-rwx", path);
    *ret = (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    return 0;
}

static int stamp_files(const struct api_listener *listener, struct stamps *ret)
{
    int r;

    *ret = (struct stamps){0};
    if ((r = stamp_file(listener->certificate, 0, &ret->certificate)) < 0)
        return r;
    return stamp_file(listener->key, S_IRWXO, &ret->key);
}

static void identity_release(struct tls_identity *identity)
{
    if (identity == NULL || --identity->references > 0)
        return;
    if (identity->credentials != NULL)
        gnutls_certificate_free_credentials(identity->credentials);
    free(identity);
}

static void identity_cleanup(struct tls_identity **identity)
{
    identity_release(*identity);
}

/* Of the first certificate of the chain, which is our own. */
static int64_t read_expiry(gnutls_certificate_credentials_t credentials)
{
    gnutls_datum_t der;
    gnutls_x509_crt_t certificate;
    time_t expires = 0;

    if (gnutls_certificate_get_crt_raw(credentials, 0, 0, &der) < 0 ||
        gnutls_x509_crt_init(&certificate) < 0)
        return 0;
    if (gnutls_x509_crt_import(certificate, &der, GNUTLS_X509_FMT_DER) == 0)
        expires = gnutls_x509_crt_get_expiration_time(certificate);
    gnutls_x509_crt_deinit(certificate);
    return expires > 0 ? (int64_t)expires : 0;
}

/* Of a certificate that cannot be used. Its files were there a moment ago. */
static int code_of(int gnutls)
{
    switch (gnutls) {
    case GNUTLS_E_MEMORY_ERROR:
        return ERROR_SYSTEM;
    case GNUTLS_E_FILE_ERROR:
        return shortage_or(ERROR_CONFIG);
    default:
        return ERROR_CONFIG;
    }
}

static int identity_load(const struct api_listener *listener, struct tls_identity **ret)
{
    CLEANUP(identity_cleanup) struct tls_identity *identity = calloc(1, sizeof(*identity));
    int r;

    if (identity == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a certificate");
    identity->references = 1;
    if ((r = gnutls_certificate_allocate_credentials(&identity->credentials)) < 0 ||
        (r = gnutls_certificate_set_x509_key_file(
             identity->credentials, listener->certificate, listener->key, GNUTLS_X509_FMT_PEM)) < 0)
        return error_set(code_of(r), "the certificate %s with the key %s cannot be used: %s",
            listener->certificate, listener->key, gnutls_strerror(r));
    identity->expires_s = read_expiry(identity->credentials);
    *ret = identity;
    identity = NULL;
    return 0;
}

/* The two files cannot be exchanged at once: what does not fit is looked at again, and what was
 * good serves until then. */
static void look_at_files(struct tls_server *tls)
{
    int64_t now_ms = clock_monotonic_ms();
    struct tls_identity *fresh = NULL;
    struct stamps stamps;
    int r;

    if (now_ms - tls->looked_ms < LOOK_MS)
        return;
    tls->looked_ms = now_ms;
    r = stamp_files(&tls->listener, &stamps);
    if (r == 0 && stamps_same(&stamps, &tls->loaded))
        return;
    if (r == 0)
        r = identity_load(&tls->listener, &fresh);
    if (r < 0) {
        if (!stamps_same(&stamps, &tls->complained))
            log_error("the certificate of before goes on serving: %s", error_text());
        tls->complained = stamps;
        return;
    }
    identity_release(tls->identity);
    tls->identity = fresh;
    atomic_store(&tls->expires_s, fresh->expires_s);
    tls->loaded = stamps;
    log_info("serving the certificate that is now in %s", tls->listener.certificate);
}

static void server_cleanup(struct tls_server **tls)
{
    tls_server_free(*tls);
}

int tls_server_new(const struct api_listener *listener, void *context, struct tls_server **ret)
{
    CLEANUP(server_cleanup) struct tls_server *tls = NULL;
    int r;

    if (listener->tls == API_TLS_NONE)
        return 0;
    tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for TLS");
    tls->listener = *listener;
    tls->context = context;
    tls->looked_ms = clock_monotonic_ms();
    atomic_init(&tls->complained_ms, tls->looked_ms - COMPLAIN_MS);
    if ((r = stamp_files(listener, &tls->loaded)) < 0 ||
        (r = identity_load(listener, &tls->identity)) < 0)
        return r;
    atomic_init(&tls->expires_s, tls->identity->expires_s);
    if (gnutls_session_ticket_key_generate(&tls->ticket_key) < 0)
        return error_set(ERROR_SYSTEM, "cannot make a key for TLS session tickets");
    *ret = tls;
    tls = NULL;
    return 0;
}

void tls_server_free(struct tls_server *tls)
{
    if (tls == NULL)
        return;
    identity_release(tls->identity);
    if (tls->ticket_key.data != NULL) {
        secret_wipe(tls->ticket_key.data, tls->ticket_key.size);
        gnutls_free(tls->ticket_key.data);
    }
    free(tls);
}

int64_t tls_server_expires_s(const struct tls_server *tls)
{
    return tls != NULL ? atomic_load(&tls->expires_s) : 0;
}

/* One client that tries for ever must not fill the log. */
static void complain(const struct api_connection *c, const char *san, const char *fault)
{
    struct tls_server *tls = c->server->tls;
    int64_t now_ms = clock_monotonic_ms();

    metric_add(&c->server->metrics[METRIC_CERTIFICATES_REFUSED], 1);
    if (now_ms - atomic_load(&tls->complained_ms) < COMPLAIN_MS)
        return;
    atomic_store(&tls->complained_ms, now_ms);
    log_warn("a client's certificate was refused peer=%s reason=\"%s\"", san[0] != '\0' ? san : "-",
        fault);
}

static bool verify(struct api_connection *c)
{
    const struct tls_server *tls = c->server->tls;
    struct tls_session *s = &c->tls;
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(s->gnutls, &n);
    const char *fault;

    s->version = tls->listener.trust_version(tls->context); /* asked before: it may change */
    fault =
        trust_check(chain, chain != NULL ? n : 0, tls->listener.find_trust, tls->context, s->san);
    s->verified = fault == NULL;
    if (fault != NULL)
        complain(c, s->san, fault);
    return s->verified;
}

static int verify_in_handshake(gnutls_session_t session)
{
    return verify(gnutls_session_get_ptr(session)) ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

int tls_session_open(struct api_connection *c, gnutls_session_t session)
{
    static const char http_1_1[] = "http/1.1";
    const gnutls_datum_t protocol = {
        .data = (unsigned char *)(uintptr_t)http_1_1, .size = sizeof(http_1_1) - 1};
    struct tls_server *tls = c->server->tls;

    look_at_files(tls);
    c->tls.gnutls = session;
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->identity->credentials) < 0 ||
        gnutls_session_ticket_enable_server(session, &tls->ticket_key) < 0 ||
        gnutls_alpn_set_protocols(session, &protocol, 1, GNUTLS_ALPN_MANDATORY) < 0)
        return error_set(ERROR_SYSTEM, "TLS cannot be prepared for a connection");
    c->tls.identity = tls->identity;
    c->tls.identity->references++;
    gnutls_db_set_cache_expiration(session, TICKET_LIFETIME_S);
    gnutls_session_set_ptr(session, c);
    handshake_begin(c);
    if (tls->listener.tls == API_TLS_OPTIONAL)
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
    if (tls->listener.tls != API_TLS_MUTUAL)
        return 0;
    /* The library would only ask for a certificate, and look at none. No CA is named: who our peers
     * are is nobody's business, and a client without a hint sends what it has. */
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_function(session, verify_in_handshake);
    return 0;
}

void tls_session_close(struct api_connection *c)
{
    handshake_end(c);
    identity_release(c->tls.identity);
    c->tls = (struct tls_session){0};
}

bool tls_session_trusted(struct api_connection *c)
{
    const struct tls_server *tls = c->server->tls;

    if (tls == NULL || tls->listener.tls != API_TLS_MUTUAL)
        return true;
    if (c->tls.verified && c->tls.version == tls->listener.trust_version(tls->context))
        return true;
    return verify(c);
}

bool tls_session_has_certificate(const struct api_connection *c)
{
    unsigned n = 0;

    return c->tls.gnutls != NULL && gnutls_certificate_get_peers(c->tls.gnutls, &n) != NULL &&
           n > 0;
}

const char *tls_session_check(const struct api_connection *c, api_trust_find find, void *context,
    char san[static API_SAN_MAX + 1])
{
    unsigned n = 0;
    const gnutls_datum_t *chain =
        c->tls.gnutls != NULL ? gnutls_certificate_get_peers(c->tls.gnutls, &n) : NULL;
    const char *fault = trust_check(chain, chain != NULL ? n : 0, find, context, san);

    if (fault != NULL && chain != NULL)
        complain(c, san, fault);
    return fault;
}

void tls_session_say(struct api_connection *c, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) { /* a record at a time */
        ssize_t n = gnutls_record_send(c->tls.gnutls, at, len);

        if (n <= 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

void tls_session_say_end(struct api_connection *c)
{
    (void)gnutls_bye(c->tls.gnutls, GNUTLS_SHUT_WR);
}

int tls_no_certificate(gnutls_session_t session, const gnutls_datum_t *ca_names, int n_ca_names,
    const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **ret_certificates,
    unsigned *ret_n_certificates, gnutls_privkey_t *ret_key)
{
    (void)session;
    (void)ca_names;
    (void)n_ca_names;
    (void)algorithms;
    (void)n_algorithms;
    (void)ret_certificates;
    (void)ret_n_certificates;
    (void)ret_key;
    return -1;
}
