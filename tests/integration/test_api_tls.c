/* The listener with mutual TLS over real sockets, asked by OpenSSL's TLS with certificates that are
 * right, or wrong in one way. No test forks, since the server is a thread. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include "tests/integration/certificates.h"
#include <check.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

#define WATCHDOG_S 150
#define PATH_LEN 128
#define ANSWER_MAX 8192
#define URI_A "urn:cradle:netid:000013"
#define DNS_B "js-client.b.example"
#define LOOKED_AT_MS 1100 /* the server looks at its files once a second */
#define GOOD_SERIAL 100
#define N_PIPELINED 40
#define PIPELINED_BODY 1000
#define REVOKED_SERIAL 200

/* Two peers, each with a CA of its own, a CA that nobody knows, and the server's. */
static struct certificate ca_a, ca_b, ca_unknown, ca_server, server;
static char folder[PATH_LEN];
static char certificate_path[2 * PATH_LEN], key_path[2 * PATH_LEN];

static struct {
    pthread_mutex_t lock;
    char *anchors_a, *crl_a, *anchors_b;
    uint64_t version;
    bool a_known;
} trust = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool find_trust(const char *san, void *context, struct api_trust *ret)
{
    bool is_a = strcmp(san, URI_A) == 0, is_b = strcmp(san, DNS_B) == 0;
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
static void set_trust(bool a_known, char *crl)
{
    (void)pthread_mutex_lock(&trust.lock);
    free(trust.crl_a);
    trust.crl_a = crl;
    trust.a_known = a_known;
    trust.version++;
    (void)pthread_mutex_unlock(&trust.lock);
}

static void write_file(const char *path, char *text)
{
    char fresh[2 * PATH_LEN + 8];
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

static void make_server(long serial)
{
    certificate_done(&server);
    server = certificate_make(&ca_server, &(struct certificate_plan){.common_name = "js",
                                              .alt_names = "IP:127.0.0.1,DNS:localhost",
                                              .purposes = "serverAuth",
                                              .serial = serial});
}

static void write_server(void)
{
    write_file(certificate_path, certificate_pem(&server));
    write_file(key_path, certificate_key_pem(&server));
}

static struct api_listener listener(enum api_tls tls)
{
    return (struct api_listener){.address = "0.0.0.0",
        .tls = tls,
        .certificate = certificate_path,
        .key = key_path,
        .find_trust = find_trust,
        .trust_version = trust_version};
}

static void setup(void)
{
    const struct api_listener mutual = listener(API_TLS_MUTUAL);

    set_trust(true, NULL);
    service_start_on(&mutual);
}

static void setup_server_only(void)
{
    const struct api_listener server_only = listener(API_TLS_SERVER);

    service_start_on(&server_only);
}

static void setup_sharing(void)
{
    const struct api_listener mutual = listener(API_TLS_MUTUAL);

    set_trust(true, NULL);
    service_start_sharing_on(&mutual);
}

static void teardown(void)
{
    service_stop();
}

/* --- the client --------------------------------------------------------------------------------
 */

struct caller {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
    bool shaken;
};

struct manner {
    const struct certificate *certificate; /* NULL: none */
    int version;                           /* 0: what both can */
    const char *protocols;                 /* ALPN, in its wire form; NULL: none */
    SSL_SESSION *session;
    const char *from; /* the client's address; NULL: 127.0.0.1 */
};

static struct caller call_server(const struct manner *manner)
{
    struct caller c = {.context = SSL_CTX_new(TLS_client_method()),
        .fd = client_dial_from(manner->from != NULL ? manner->from : "127.0.0.1")};

    ck_assert(c.context != NULL && c.fd >= 0);
    /* An old version is refused by the server, not by the client's own settings. */
    SSL_CTX_set_security_level(c.context, 0);
    if (manner->version != 0) {
        ck_assert_int_eq(SSL_CTX_set_min_proto_version(c.context, manner->version), 1);
        ck_assert_int_eq(SSL_CTX_set_max_proto_version(c.context, manner->version), 1);
    }
    ck_assert_int_eq(X509_STORE_add_cert(SSL_CTX_get_cert_store(c.context), ca_server.x509), 1);
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

static void hang_up(struct caller *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    (void)close(c->fd);
}

/* The status of one exchange; 0 when there is no answer. The body is in `body`. A `request` of
 * NULL: the answer to one that was sent before. Reads no further than the answer. */
static unsigned ask(struct caller *c, const char *request, char body[static ANSWER_MAX])
{
    size_t len = 0, body_len = 0;
    unsigned status = 0;
    const char *length;

    body[0] = '\0';
    if (!c->shaken || (request != NULL && SSL_write(c->ssl, request, (int)strlen(request)) <= 0))
        return 0;
    while (len < 4 || memcmp(body + len - 4, "\r\n\r\n", 4) != 0) {
        ck_assert_uint_lt(len, ANSWER_MAX - 1);
        if (SSL_read(c->ssl, body + len, 1) != 1)
            return 0;
        body[++len] = '\0';
    }
    ck_assert_int_eq(sscanf(body, "HTTP/1.1 %u", &status), 1);
    length = strstr(body, "Content-Length: ");
    if (length != NULL)
        body_len = strtoul(length + strlen("Content-Length: "), NULL, 10);
    ck_assert_uint_lt(body_len, ANSWER_MAX);
    for (len = 0; len < body_len;) {
        int n = SSL_read(c->ssl, body + len, (int)(body_len - len));

        if (n <= 0)
            return 0;
        len += (size_t)n;
    }
    body[len] = '\0';
    return status;
}

static unsigned ask_who(struct caller *c, char body[static ANSWER_MAX])
{
    return ask(c, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n", body);
}

/* Who the server takes such a caller for; "" when it does not talk to it. */
static const char *who(const struct manner *manner, char body[static ANSWER_MAX])
{
    struct caller c = call_server(manner);
    unsigned status = ask_who(&c, body);

    hang_up(&c);
    ck_assert_msg(status == 0 || status == 200, "status %u", status);
    return status == 200 ? body : "";
}

/* --- who gets in -------------------------------------------------------------------------------
 */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static const struct {
    const char *what;
    const struct certificate *ca; /* NULL: signed by itself */
    struct certificate_plan plan;
    const char *seen; /* "": refused */
} certificates[] = {
    {"right, URI", &ca_a, {"x", "URI:" URI_A, "clientAuth"}, URI_A},
    {"right, DNS", &ca_b, {"x", "DNS:" DNS_B, "clientAuth"}, DNS_B},
    {"right, with names that are nobody's", &ca_b,
        {"x", "DNS:other.example,URI:urn:other,DNS:" DNS_B, "clientAuth,serverAuth"}, DNS_B},
    {"unknown CA", &ca_unknown, {"x", "URI:" URI_A, "clientAuth"}, ""},
    {"signed by itself", NULL, {"x", "URI:" URI_A, "clientAuth"}, ""},
    {"peer B's name of peer A's CA", &ca_a, {"x", "DNS:" DNS_B, "clientAuth"}, ""},
    {"peer A's name of peer B's CA", &ca_b, {"x", "URI:" URI_A, "clientAuth"}, ""},
    {"of the server's own CA", &ca_server, {"x", "URI:" URI_A, "clientAuth"}, ""},
    {"both peers' names", &ca_a, {"x", "URI:" URI_A ",DNS:" DNS_B, "clientAuth"}, ""},
    {"the name as common name only", &ca_a, {URI_A, NULL, "clientAuth"}, ""},
    {"the name as common name, another as SAN", &ca_b, {DNS_B, "DNS:other.example", "clientAuth"},
        ""},
    {"a URI's text as DNS name", &ca_a, {"x", "DNS:" URI_A, "clientAuth"}, ""},
    {"a DNS name's text as URI", &ca_b, {"x", "URI:" DNS_B, "clientAuth"}, ""},
    {"a DNS name's text as mail address", &ca_b, {"x", "email:" DNS_B, "clientAuth"}, ""},
    {"longer", &ca_a, {"x", "URI:" URI_A "0", "clientAuth"}, ""},
    {"in another case", &ca_b, {"x", "DNS:JS-client.b.example", "clientAuth"}, ""},
    {"a wildcard", &ca_b, {"x", "DNS:*.b.example", "clientAuth"}, ""},
    {"expired", &ca_a, {"x", "URI:" URI_A, "clientAuth", .from_s = -7200, .to_s = -3600}, ""},
    {"not valid yet", &ca_a, {"x", "URI:" URI_A, "clientAuth", .from_s = 3600, .to_s = 7200}, ""},
    {"for servers", &ca_a, {"x", "URI:" URI_A, "serverAuth"}, ""},
    {"for nothing in particular", &ca_a, {"x", "URI:" URI_A, NULL}, ""},
};

START_TEST(a_certificate_is_taken_only_when_all_of_it_is_right)
{
    struct certificate_plan plan = certificates[_i].plan;
    struct certificate certificate;
    char body[ANSWER_MAX];

    plan.serial = GOOD_SERIAL;
    certificate = certificate_make(certificates[_i].ca, &plan);
    for (size_t v = 0; v < sizeof(versions) / sizeof(versions[0]); v++) {
        const struct manner manner = {.certificate = &certificate, .version = versions[v]};

        ck_assert_msg(strcmp(who(&manner, body), certificates[_i].seen) == 0,
            "%s: taken for \"%s\"", certificates[_i].what, body);
    }
    ck_assert_int_eq(service_metric("\ncradle_http_certificates_refused_total "),
        certificates[_i].seen[0] != '\0' ? 0 : 2);
    certificate_done(&certificate);
}
END_TEST

START_TEST(without_a_certificate_nobody_gets_in)
{
    char body[ANSWER_MAX];

    for (size_t v = 0; v < sizeof(versions) / sizeof(versions[0]); v++) {
        const struct manner manner = {.version = versions[v]};

        ck_assert_str_eq(who(&manner, body), "");
    }
    ck_assert_int_eq(service_metric("cradle_http_requests_total{class=\"2xx\"} "), 0);
}
END_TEST

static struct certificate good_a(long serial)
{
    return certificate_make(&ca_a, &(struct certificate_plan){.common_name = "x",
                                       .alt_names = "URI:" URI_A,
                                       .purposes = "clientAuth",
                                       .serial = serial});
}

START_TEST(old_versions_of_tls_are_refused)
{
    static const int old[] = {TLS1_VERSION, TLS1_1_VERSION};
    struct certificate certificate = good_a(GOOD_SERIAL);
    char body[ANSWER_MAX];

    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        ck_assert_str_eq(
            who(&(struct manner){.certificate = &certificate, .version = old[i]}, body), "");
    ck_assert_str_eq(who(&(struct manner){.certificate = &certificate}, body), URI_A);
    certificate_done(&certificate);
}
END_TEST

START_TEST(http_1_1_is_the_only_protocol_to_agree_on)
{
    struct certificate certificate = good_a(GOOD_SERIAL);
    char body[ANSWER_MAX];
    struct caller c =
        call_server(&(struct manner){.certificate = &certificate, .protocols = "\2h2\10http/1.1"});
    const unsigned char *agreed;
    unsigned len;

    ck_assert(c.shaken);
    SSL_get0_alpn_selected(c.ssl, &agreed, &len);
    ck_assert_uint_eq(len, 8);
    ck_assert_mem_eq(agreed, "http/1.1", 8);
    hang_up(&c);
    ck_assert_str_eq(
        who(&(struct manner){.certificate = &certificate, .protocols = "\2h2"}, body), "");
    certificate_done(&certificate);
}
END_TEST

START_TEST(plain_http_gets_no_answer)
{
    struct client *client = client_new();
    struct answer answer;

    client_say(client, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n");
    while (client_listen(client))
        continue;
    ck_assert(client->len < 4 || memcmp(client->in, "HTTP", 4) != 0);
    client->len = 0;
    ck_assert(!client_hear(client, &answer));
    client_free(client);
}
END_TEST

START_TEST(a_header_says_nothing_about_who_it_is)
{
    struct certificate certificate = good_a(GOOD_SERIAL);
    char body[ANSWER_MAX];
    struct caller c = call_server(&(struct manner){.certificate = &certificate});

    ck_assert_uint_eq(ask(&c,
                          "GET /who HTTP/1.1\r\nHost: h\r\nX-Forwarded-Client-Cert: URI=" DNS_B
                          "\r\nX-SSL-Client-SAN: " DNS_B "\r\n\r\n",
                          body),
        200);
    ck_assert_str_eq(body, URI_A);
    hang_up(&c);
    certificate_done(&certificate);
}
END_TEST

/* --- revocation --------------------------------------------------------------------------------
 */

START_TEST(a_revoked_certificate_is_refused_and_its_neighbour_is_not)
{
    struct certificate good = good_a(GOOD_SERIAL), revoked = good_a(REVOKED_SERIAL);
    const struct manner with_good = {.certificate = &good},
                        with_revoked = {.certificate = &revoked};
    char body[ANSWER_MAX];

    ck_assert_str_eq(who(&with_revoked, body), URI_A);
    set_trust(true, certificate_crl_pem(&ca_a, REVOKED_SERIAL, 3600));
    ck_assert_str_eq(who(&with_revoked, body), "");
    ck_assert_str_eq(who(&with_good, body), URI_A);
    certificate_done(&good);
    certificate_done(&revoked);
}
END_TEST

START_TEST(a_list_that_cannot_be_relied_on_lets_nobody_in)
{
    struct certificate good = good_a(GOOD_SERIAL);
    char body[ANSWER_MAX];
    char *lists[] = {certificate_crl_pem(&ca_a, REVOKED_SERIAL, -3600), /* out of date */
        certificate_crl_pem(&ca_b, REVOKED_SERIAL, 3600), strdup("no list")};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        set_trust(true, lists[i]);
        ck_assert_str_eq(who(&(struct manner){.certificate = &good}, body), "");
    }
    certificate_done(&good);
}
END_TEST

START_TEST(an_open_connection_ends_when_its_certificate_is_revoked)
{
    struct certificate certificate = good_a(REVOKED_SERIAL);
    char body[ANSWER_MAX];

    for (int by_list = 0; by_list <= 1; by_list++) {
        struct caller c;

        set_trust(true, NULL);
        c = call_server(&(struct manner){.certificate = &certificate});
        ck_assert_uint_eq(ask_who(&c, body), 200);
        set_trust(true, NULL); /* a change that does not concern it */
        ck_assert_uint_eq(ask_who(&c, body), 200);
        ck_assert_str_eq(body, URI_A);
        set_trust(
            by_list == 1, by_list == 1 ? certificate_crl_pem(&ca_a, REVOKED_SERIAL, 3600) : NULL);
        ck_assert_uint_eq(ask_who(&c, body), 401);
        ck_assert_uint_eq(ask_who(&c, body), 0);
        hang_up(&c);
    }
    certificate_done(&certificate);
}
END_TEST

/* --- resumption --------------------------------------------------------------------------------
 */

START_TEST(a_session_is_resumed_and_its_certificate_is_looked_at_again)
{
    const int version = versions[_i];
    struct certificate certificate = good_a(REVOKED_SERIAL);
    struct manner manner = {.certificate = &certificate, .version = version};
    char body[ANSWER_MAX];
    struct caller c = call_server(&manner);

    ck_assert_uint_eq(ask_who(&c, body), 200); /* with the answer TLS 1.3's tickets have come */
    manner.session = SSL_get1_session(c.ssl);
    (void)SSL_shutdown(c.ssl);
    hang_up(&c);

    manner.certificate = NULL;
    c = call_server(&manner);
    ck_assert(c.shaken);
    ck_assert(SSL_session_reused(c.ssl));
    ck_assert_uint_eq(ask_who(&c, body), 200);
    ck_assert_str_eq(body, URI_A);
    hang_up(&c);

    set_trust(true, certificate_crl_pem(&ca_a, REVOKED_SERIAL, 3600));
    c = call_server(&manner);
    ck_assert_uint_ne(ask_who(&c, body), 200);
    hang_up(&c);
    SSL_SESSION_free(manner.session);
    certificate_done(&certificate);
}
END_TEST

/* --- the server's certificate ------------------------------------------------------------------
 */

static long server_serial(const struct certificate *certificate)
{
    struct caller c = call_server(&(struct manner){.certificate = certificate});
    X509 *seen = SSL_get0_peer_certificate(c.ssl);
    long serial;

    ck_assert(c.shaken);
    ck_assert_ptr_nonnull(seen);
    serial = ASN1_INTEGER_get(X509_get0_serialNumber(seen));
    hang_up(&c);
    return serial;
}

START_TEST(a_renewed_certificate_is_served_and_a_bad_one_is_not)
{
    struct certificate certificate = good_a(GOOD_SERIAL);
    char body[ANSWER_MAX];
    struct caller before = call_server(&(struct manner){.certificate = &certificate});
    long old = server_serial(&certificate);
    int64_t written_ms;

    ck_assert_uint_eq(ask_who(&before, body), 200);
    make_server(old + 1);
    write_file(certificate_path, certificate_pem(&server)); /* its key is still the old one's */
    written_ms = clock_monotonic_ms();
    while (
        clock_monotonic_ms() - written_ms <= LOOKED_AT_MS) /* so the last calls were after a look */
        ck_assert_int_eq(server_serial(&certificate), old);
    write_file(key_path, certificate_key_pem(&server));
    while (server_serial(&certificate) != old + 1)
        continue;
    ck_assert_uint_eq(ask_who(&before, body), 200); /* its session goes on */
    hang_up(&before);
    certificate_done(&certificate);
}
END_TEST

START_TEST(a_listener_without_a_good_certificate_does_not_start)
{
    struct api_server *none = NULL;
    struct api_server_config config = {
        .listener = listener(API_TLS_SERVER), .handle = (api_handler)(void (*)(void))abort};

    config.listener.certificate = "/nonexistent.pem";
    ck_assert_int_eq(api_server_start(&config, &none), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "/nonexistent.pem"));
    config.listener.certificate = key_path; /* holds none */
    ck_assert_int_eq(api_server_start(&config, &none), ERROR_CONFIG);
    config.listener.certificate = certificate_path;
    ck_assert_int_eq(chmod(key_path, 0644), 0);
    ck_assert_int_eq(api_server_start(&config, &none), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "open to everyone"));
    ck_assert_int_eq(chmod(key_path, 0600), 0);
    ck_assert_ptr_null(none);
}
END_TEST

/* --- HTTP inside -------------------------------------------------------------------------------
 */

START_TEST(answers_of_workers_and_refusals_in_a_body_go_through_tls)
{
    struct certificate certificate = good_a(GOOD_SERIAL);
    char body[ANSWER_MAX], large[API_BODY_MAX_DEFAULT + 512];
    struct caller c = call_server(&(struct manner){.certificate = &certificate});
    int at;

    ck_assert_uint_eq(
        ask(&c, "POST /defer HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", body), 200);
    ck_assert_str_eq(body, "hello");
    at = snprintf(large, sizeof(large),
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
        API_BODY_MAX_DEFAULT + 1);
    memset(large + at, 'x', API_BODY_MAX_DEFAULT + 1);
    (void)snprintf(large + at + API_BODY_MAX_DEFAULT + 1, 3, "\r\n");
    ck_assert_uint_eq(ask(&c, large, body), 413);
    hang_up(&c);
    certificate_done(&certificate);
}
END_TEST

START_TEST(a_handshake_that_never_ends_is_cut)
{
    struct client *client = client_new();

    while (client_listen(client))
        continue;
    client_free(client);
    client = client_new();
    client_say_bytes(client, "\x16\x03\x01\x02\x00\x01", 6); /* a ClientHello that begins */
    while (client_listen(client))
        continue;
    client_free(client);
    service_wait_connections(0);
    ck_assert_int_ge(service_metric("\ncradle_http_too_slow_total "), 2);
}
END_TEST

/* More than one record, and than the library's pool: what GnuTLS has read ahead makes no descriptor
 * ready. */
START_TEST(requests_in_one_piece_are_all_answered_through_tls)
{
    struct certificate certificate = good_a(GOOD_SERIAL);
    struct caller c = call_server(&(struct manner){.certificate = &certificate});
    CLEANUP(text_done) struct text text = {0};
    char body[ANSWER_MAX], expected[PIPELINED_BODY + 1];

    for (int i = 0; i < N_PIPELINED; i++)
        text_addf(&text, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%0*d",
            i % 4 == 1 ? "/echo" : "/defer", PIPELINED_BODY, PIPELINED_BODY, i);
    for (int i = 0; i < N_PIPELINED; i++) {
        (void)snprintf(expected, sizeof(expected), "%0*d", PIPELINED_BODY, i);
        ck_assert_uint_eq(ask(&c, i == 0 ? text.data : NULL, body), 200);
        ck_assert_msg(strncmp(body, expected, PIPELINED_BODY) == 0, "%d: %s", i, body);
    }
    hang_up(&c);
    certificate_done(&certificate);
}
END_TEST

START_TEST(a_handshake_that_drips_is_cut)
{
    struct client *client = client_new();
    struct pollfd closed = {.fd = client->fd, .events = POLLIN | POLLRDHUP};

    client_say_bytes(client, "\x16\x03\x01\x02\x00\x01", 6);
    while (poll(&closed, 1, 20) == 0)
        client_say_bytes(client, "", 1);
    while (client_listen(client))
        continue;
    ck_assert_int_eq(service_metric("\ncradle_http_too_slow_total "), 1);
    client_free(client);
}
END_TEST

/* --- one of many -------------------------------------------------------------------------------
 */

static void ask_as(struct caller *c, int peer, unsigned status)
{
    char request[128], body[ANSWER_MAX];

    (void)snprintf(request, sizeof(request),
        "POST /peer HTTP/1.1\r\nHost: h\r\nX-Peer: %d\r\nContent-Length: 2\r\n\r\nme", peer);
    ck_assert_uint_eq(ask(c, request, body), status);
}

START_TEST(an_address_and_a_peer_at_their_limit_are_told_so_through_tls)
{
    struct certificate certificate = good_a(GOOD_SERIAL);
    const struct manner greedy = {.certificate = &certificate, .from = "127.0.0.2"};
    const struct manner modest = {.certificate = &certificate, .from = "127.0.0.3"};
    struct caller callers[SERVICE_PER_ADDRESS], beyond, other;

    /* Whoever has shaken hands has a place, also before he says a word. */
    for (size_t i = 0; i < SERVICE_PER_ADDRESS; i++)
        ck_assert((callers[i] = call_server(&greedy)).shaken);
    for (int i = 0; i < SERVICE_PER_PEER; i++)
        ask_as(&callers[i], 7, 200);
    beyond = call_server(&greedy);
    ask_as(&beyond, 8, 503);
    ck_assert_int_eq(service_metric("cradle_http_over_limit_total{reason=\"address\"} "), 1);
    other = call_server(&modest);
    ask_as(&other, 8, 200);
    ask_as(&other, 7, 503);
    ck_assert_int_eq(service_metric("cradle_http_over_limit_total{reason=\"peer\"} "), 1);
    hang_up(&beyond);
    hang_up(&other);
    service_wait_connections(SERVICE_PER_ADDRESS);
    hang_up(&callers[0]);
    service_wait_connections(SERVICE_PER_ADDRESS - 1);
    callers[0] = call_server(&greedy);
    ask_as(&callers[0], 7, 200);
    for (size_t i = 0; i < SERVICE_PER_ADDRESS; i++)
        hang_up(&callers[i]);
    certificate_done(&certificate);
}
END_TEST

START_TEST(with_server_tls_only_no_certificate_is_asked_for)
{
    struct certificate certificate = good_a(GOOD_SERIAL);
    char body[ANSWER_MAX];

    ck_assert_str_eq(who(&(struct manner){0}, body), "nobody");
    ck_assert_str_eq(who(&(struct manner){.certificate = &certificate}, body), "nobody");
    ck_assert_str_eq(who(&(struct manner){.version = TLS1_1_VERSION}, body), "");
    certificate_done(&certificate);
}
END_TEST

static void make_certificates(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/cradle-tls-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(certificate_path, sizeof(certificate_path), "%s/server.pem", folder);
    (void)snprintf(key_path, sizeof(key_path), "%s/server.key", folder);
    ca_a = make_ca("CA of A");
    ca_b = make_ca("CA of B");
    ca_unknown = make_ca("CA of A"); /* the name alone must not do */
    ca_server = make_ca("CA of the server");
    make_server(1);
    write_server();
    trust.anchors_a = certificate_pem(&ca_a);
    trust.anchors_b = certificate_pem(&ca_b);
}

static void remove_certificates(void)
{
    (void)unlink(certificate_path);
    (void)unlink(key_path);
    (void)rmdir(folder);
    certificate_done(&ca_a);
    certificate_done(&ca_b);
    certificate_done(&ca_unknown);
    certificate_done(&ca_server);
    certificate_done(&server);
    free(trust.anchors_a);
    free(trust.anchors_b);
    set_trust(false, NULL);
}

static TCase *add_case(Suite *suite, const char *name, void (*start)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_add_unchecked_fixture(tcase, make_certificates, remove_certificates);
    tcase_add_checked_fixture(tcase, start, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static int run_suite(void)
{
    Suite *suite = suite_create("api-tls");
    SRunner *runner = srunner_create(suite);
    TCase *mutual = add_case(suite, "mutual", setup);
    TCase *sharing = add_case(suite, "sharing", setup_sharing);
    TCase *server_only = add_case(suite, "server only", setup_server_only);
    int n_failed;

    tcase_add_loop_test(mutual, a_certificate_is_taken_only_when_all_of_it_is_right, 0,
        sizeof(certificates) / sizeof(certificates[0]));
    tcase_add_test(mutual, without_a_certificate_nobody_gets_in);
    tcase_add_test(mutual, old_versions_of_tls_are_refused);
    tcase_add_test(mutual, http_1_1_is_the_only_protocol_to_agree_on);
    tcase_add_test(mutual, plain_http_gets_no_answer);
    tcase_add_test(mutual, a_header_says_nothing_about_who_it_is);
    tcase_add_test(mutual, a_revoked_certificate_is_refused_and_its_neighbour_is_not);
    tcase_add_test(mutual, a_list_that_cannot_be_relied_on_lets_nobody_in);
    tcase_add_test(mutual, an_open_connection_ends_when_its_certificate_is_revoked);
    tcase_add_loop_test(mutual, a_session_is_resumed_and_its_certificate_is_looked_at_again, 0,
        sizeof(versions) / sizeof(versions[0]));
    tcase_add_test(mutual, a_renewed_certificate_is_served_and_a_bad_one_is_not);
    tcase_add_test(mutual, a_listener_without_a_good_certificate_does_not_start);
    tcase_add_test(mutual, answers_of_workers_and_refusals_in_a_body_go_through_tls);
    tcase_add_test(mutual, requests_in_one_piece_are_all_answered_through_tls);
    tcase_add_test(mutual, a_handshake_that_never_ends_is_cut);
    tcase_add_test(mutual, a_handshake_that_drips_is_cut);
    tcase_add_test(sharing, an_address_and_a_peer_at_their_limit_are_told_so_through_tls);
    tcase_add_test(server_only, with_server_tls_only_no_certificate_is_asked_for);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed;
}

int main(void)
{
    int n_failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(WATCHDOG_S);
    n_failed = run_suite();
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
