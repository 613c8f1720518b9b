#include "tests/integration/tls_fixture.h"

#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_LEN 128

struct certificate tls_ca_a, tls_ca_b, tls_ca_server, tls_server;
static struct certificate ca_unknown;
static char folder[PATH_LEN];
char tls_certificate_path[TLS_PATH_MAX], tls_key_path[TLS_PATH_MAX];

static struct {
    pthread_mutex_t lock;
    char *anchors_a, *crl_a, *anchors_b;
    uint64_t version;
    bool a_known;
} trust = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool find_trust(const char *san, void *context, struct api_trust *ret)
{
    bool is_a = strcmp(san, TLS_URI_A) == 0, is_b = strcmp(san, TLS_DNS_B) == 0;
    bool found;

    (void)context;
    (void)pthread_mutex_lock(&trust.lock);
    found = (is_a && trust.a_known) || is_b;
    if (found)
        ret->anchors = strdup(is_a ? trust.anchors_a : trust.anchors_b);
    if (found && is_a && trust.crl_a != NULL)
        ret->crls = strdup(trust.crl_a);
    (void)pthread_mutex_unlock(&trust.lock);
    return found;
}

static uint64_t trust_version(void *context)
{
    uint64_t version;

    (void)context;
    (void)pthread_mutex_lock(&trust.lock);
    version = trust.version;
    (void)pthread_mutex_unlock(&trust.lock);
    return version;
}

/* `crl` is taken over; NULL: none. */
void tls_set_trust(bool a_known, char *crl)
{
    (void)pthread_mutex_lock(&trust.lock);
    free(trust.crl_a);
    trust.crl_a = crl;
    trust.a_known = a_known;
    trust.version++;
    (void)pthread_mutex_unlock(&trust.lock);
}

void tls_write_file(const char *path, char *text)
{
    char fresh[TLS_PATH_MAX + 8];
    FILE *file;

    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    file = fopen(fresh, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(fresh, 0600), 0);
    ck_assert_int_eq(rename(fresh, path), 0);
    free(text);
}

static struct certificate make_ca(const char *name)
{
    return certificate_make(
        NULL, &(struct certificate_plan){.common_name = name, .is_ca = true, .serial = 1});
}

void tls_make_server(long serial)
{
    certificate_done(&tls_server);
    tls_server = certificate_make(&tls_ca_server, &(struct certificate_plan){.common_name = "js",
                                                      .alt_names = "IP:127.0.0.1,DNS:localhost",
                                                      .purposes = "serverAuth",
                                                      .serial = serial});
}

static void write_server(void)
{
    tls_write_file(tls_certificate_path, certificate_pem(&tls_server));
    tls_write_file(tls_key_path, certificate_key_pem(&tls_server));
}

struct api_listener tls_listener(enum api_tls tls)
{
    return (struct api_listener){.address = "0.0.0.0",
        .tls = tls,
        .certificate = tls_certificate_path,
        .key = tls_key_path,
        .find_trust = find_trust,
        .trust_version = trust_version};
}

/* --- the client --------------------------------------------------------------------------------
 */

struct tls_caller tls_call(const struct tls_manner *manner)
{
    struct tls_caller c = {.context = SSL_CTX_new(TLS_client_method()),
        .fd = client_dial_from(manner->from != NULL ? manner->from : "127.0.0.1")};

    ck_assert(c.context != NULL && c.fd >= 0);
    /* An old version is refused by the server, not by the client's own settings. */
    SSL_CTX_set_security_level(c.context, 0);
    if (manner->version != 0) {
        ck_assert_int_eq(SSL_CTX_set_min_proto_version(c.context, manner->version), 1);
        ck_assert_int_eq(SSL_CTX_set_max_proto_version(c.context, manner->version), 1);
    }
    ck_assert_int_eq(X509_STORE_add_cert(SSL_CTX_get_cert_store(c.context), tls_ca_server.x509), 1);
    SSL_CTX_set_verify(c.context, SSL_VERIFY_PEER, NULL);
    if (manner->certificate != NULL) {
        ck_assert_int_eq(SSL_CTX_use_certificate(c.context, manner->certificate->x509), 1);
        ck_assert_int_eq(SSL_CTX_use_PrivateKey(c.context, manner->certificate->key), 1);
    }
    c.ssl = SSL_new(c.context);
    ck_assert_ptr_nonnull(c.ssl);
    if (manner->protocols != NULL)
        ck_assert_int_eq(SSL_set_alpn_protos(c.ssl, (const unsigned char *)manner->protocols,
                             (unsigned)strlen(manner->protocols)),
            0);
    if (manner->session != NULL)
        ck_assert_int_eq(SSL_set_session(c.ssl, manner->session), 1);
    ck_assert_int_eq(SSL_set_fd(c.ssl, c.fd), 1);
    c.shaken = SSL_connect(c.ssl) == 1;
    return c;
}

void tls_hang_up(struct tls_caller *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    (void)close(c->fd);
}

/* The status of one exchange; 0 when there is no answer. The body is in `body`. A `request` of
 * NULL: the answer to one that was sent before. Reads no further than the answer. */
unsigned tls_ask(struct tls_caller *c, const char *request, char body[static TLS_ANSWER_MAX])
{
    size_t len = 0, body_len = 0;
    unsigned status = 0;
    const char *length;

    body[0] = '\0';
    if (!c->shaken || (request != NULL && SSL_write(c->ssl, request, (int)strlen(request)) <= 0))
        return 0;
    while (len < 4 || memcmp(body + len - 4, "\r\n\r\n", 4) != 0) {
        ck_assert_uint_lt(len, TLS_ANSWER_MAX - 1);
        if (SSL_read(c->ssl, body + len, 1) != 1)
            return 0;
        body[++len] = '\0';
    }
    ck_assert_int_eq(sscanf(body, "HTTP/1.1 %u", &status), 1);
    length = strstr(body, "Content-Length: ");
    if (length != NULL)
        body_len = strtoul(length + strlen("Content-Length: "), NULL, 10);
    ck_assert_uint_lt(body_len, TLS_ANSWER_MAX);
    for (len = 0; len < body_len;) {
        int n = SSL_read(c->ssl, body + len, (int)(body_len - len));

        if (n <= 0)
            return 0;
        len += (size_t)n;
    }
    body[len] = '\0';
    return status;
}

unsigned tls_ask_who(struct tls_caller *c, char body[static TLS_ANSWER_MAX])
{
    return tls_ask(c, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n", body);
}

/* Who the server takes such a caller for; "" when it does not talk to it. */
const char *tls_who(const struct tls_manner *manner, char body[static TLS_ANSWER_MAX])
{
    struct tls_caller c = tls_call(manner);
    unsigned status = tls_ask_who(&c, body);

    tls_hang_up(&c);
    ck_assert_msg(status == 0 || status == 200, "status %u", status);
    return status == 200 ? body : "";
}

const int tls_versions[TLS_N_VERSIONS] = {TLS1_2_VERSION, TLS1_3_VERSION};

const struct tls_certificate tls_certificates[] = {
    {"right, URI", &tls_ca_a, {"x", "URI:" TLS_URI_A, "clientAuth"}, TLS_URI_A},
    {"right, DNS", &tls_ca_b, {"x", "DNS:" TLS_DNS_B, "clientAuth"}, TLS_DNS_B},
    {"right, with names that are nobody's", &tls_ca_b,
        {"x", "DNS:other.example,URI:urn:other,DNS:" TLS_DNS_B, "clientAuth,serverAuth"},
        TLS_DNS_B},
    {"unknown CA", &ca_unknown, {"x", "URI:" TLS_URI_A, "clientAuth"}, ""},
    {"signed by itself", NULL, {"x", "URI:" TLS_URI_A, "clientAuth"}, ""},
    {"peer B's name of peer A's CA", &tls_ca_a, {"x", "DNS:" TLS_DNS_B, "clientAuth"}, ""},
    {"peer A's name of peer B's CA", &tls_ca_b, {"x", "URI:" TLS_URI_A, "clientAuth"}, ""},
    {"of the server's own CA", &tls_ca_server, {"x", "URI:" TLS_URI_A, "clientAuth"}, ""},
    {"both peers' names", &tls_ca_a, {"x", "URI:" TLS_URI_A ",DNS:" TLS_DNS_B, "clientAuth"}, ""},
    {"the name as common name only", &tls_ca_a, {TLS_URI_A, NULL, "clientAuth"}, ""},
    {"the name as common name, another as SAN", &tls_ca_b,
        {TLS_DNS_B, "DNS:other.example", "clientAuth"}, ""},
    {"a URI's text as DNS name", &tls_ca_a, {"x", "DNS:" TLS_URI_A, "clientAuth"}, ""},
    {"a DNS name's text as URI", &tls_ca_b, {"x", "URI:" TLS_DNS_B, "clientAuth"}, ""},
    {"a DNS name's text as mail address", &tls_ca_b, {"x", "email:" TLS_DNS_B, "clientAuth"}, ""},
    {"longer", &tls_ca_a, {"x", "URI:" TLS_URI_A "0", "clientAuth"}, ""},
    {"in another case", &tls_ca_b, {"x", "DNS:JS-client.b.example", "clientAuth"}, ""},
    {"a wildcard", &tls_ca_b, {"x", "DNS:*.b.example", "clientAuth"}, ""},
    {"expired", &tls_ca_a, {"x", "URI:" TLS_URI_A, "clientAuth", .from_s = -7200, .to_s = -3600},
        ""},
    {"not valid yet", &tls_ca_a,
        {"x", "URI:" TLS_URI_A, "clientAuth", .from_s = 3600, .to_s = 7200}, ""},
    {"for servers", &tls_ca_a, {"x", "URI:" TLS_URI_A, "serverAuth"}, ""},
    {"for nothing in particular", &tls_ca_a, {"x", "URI:" TLS_URI_A, NULL}, ""},
};
const size_t tls_n_certificates = sizeof(tls_certificates) / sizeof(tls_certificates[0]);

struct certificate tls_good_a(long serial)
{
    return certificate_make(&tls_ca_a, &(struct certificate_plan){.common_name = "x",
                                           .alt_names = "URI:" TLS_URI_A,
                                           .purposes = "clientAuth",
                                           .serial = serial});
}

static void make_certificates(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/cradle-tls-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(tls_certificate_path, sizeof(tls_certificate_path), "%s/server.pem", folder);
    (void)snprintf(tls_key_path, sizeof(tls_key_path), "%s/server.key", folder);
    tls_ca_a = make_ca("CA of A");
    tls_ca_b = make_ca("CA of B");
    ca_unknown = make_ca("CA of A"); /* the name alone must not do */
    tls_ca_server = make_ca("CA of the server");
    tls_make_server(1);
    write_server();
    trust.anchors_a = certificate_pem(&tls_ca_a);
    trust.anchors_b = certificate_pem(&tls_ca_b);
}

static void remove_certificates(void)
{
    (void)unlink(tls_certificate_path);
    (void)unlink(tls_key_path);
    (void)rmdir(folder);
    certificate_done(&tls_ca_a);
    certificate_done(&tls_ca_b);
    certificate_done(&ca_unknown);
    certificate_done(&tls_ca_server);
    certificate_done(&tls_server);
    free(trust.anchors_a);
    free(trust.anchors_b);
    tls_set_trust(false, NULL);
}

TCase *tls_add_case(Suite *suite, const char *name, void (*start)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_add_unchecked_fixture(tcase, make_certificates, remove_certificates);
    tcase_add_checked_fixture(tcase, start, service_stop);
    suite_add_tcase(suite, tcase);
    return tcase;
}
