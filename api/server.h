/* The HTTP server: one thread of ours runs libmicrohttpd from its epoll descriptor and an eventfd.
 *
 * A handler is called on that thread with a complete request. It either answers at once, or defers
 * and hands the request to a worker, which fills an answer from its own thread and gives requests
 * back in batches. A request lives until its answer has been sent; the server owns it.
 *
 * What cannot be a sane HTTP/1.x request (two Content-Length, Content-Length with
 * Transfer-Encoding, names with blanks, ...) is refused before its body is read, and the connection
 * closed. */
#pragma once

#include "base/secret.h"
#include "base/text.h"

#define API_BODY_MAX_DEFAULT 32768 /* bytes; TS002 messages are below 1 KiB */
#define API_PATH_MAX 512
#define API_OVER_LIMIT_RESERVE 64   /* connections accepted beyond max_connections, to be refused */
#define API_OVER_ADDRESS_RESERVE 32 /* connections accepted beyond their address's, likewise */
#define API_DRAIN_BODY_MS 3000      /* for bodies still arriving when a drain begins */
#define API_STREAM_IDLE_MS 30000    /* between two pieces of a streamed body or answer */
#define API_BODY_STREAM (-1000L)    /* of api_admit: see api/stream.h */
#define API_BODY_DROP (-1001L)      /* of api_admit: refused, and the connection kept */

struct api_server;
struct api_request;

enum api_method { API_GET, API_POST, API_PUT, API_PATCH, API_DELETE, API_OTHER };

enum api_tls {
    API_TLS_NONE,     /* plain HTTP, on loopback addresses only */
    API_TLS_SERVER,   /* the server has a certificate; a client's is not asked for */
    API_TLS_OPTIONAL, /* and a client's is asked for: none, or any, may come. Whether it is good is
                       * found out for a request that needs one: api_request_check_certificate */
    API_TLS_MUTUAL,   /* and without a good certificate of a known peer there is no handshake */
};

#define API_SAN_MAX 255 /* bytes of a name in a certificate */

/** What a peer's certificate is checked against: PEM texts on the heap, freed by the server. */
struct api_trust {
    char *anchors; /* one CA or more */
    char *crls;    /* their revocation lists; NULL: none */
};

/** Finds the peer with exactly this SAN (a DNS name, or a URI when there is a colon in it); false
 * when there is none. Of API_TLS_MUTUAL called on the server's thread. */
typedef bool (*api_trust_find)(const char *san, void *context, struct api_trust *ret);
/** A number that changes whenever api_trust_find may say something else than before: open
 * connections and resumed sessions are then verified again. Called for each request. */
typedef uint64_t (*api_trust_version)(void *context);

/** One listener of a service. The texts must outlive the server. */
struct api_listener {
    const char *address; /* "127.0.0.1" or "::1"; with TLS, or with proxies, any */
    /* Plain HTTP behind a proxy that takes TLS off: the networks it connects from, "10.0.0.0/8,
     * fd00::/8". Only from them and from loopback are connections accepted then. Who is asking is
     * known by the token alone: no header of a proxy is believed. NULL or "": there is none. */
    const char *proxies;
    unsigned port; /* 0: any free one, see api_server_port */
    enum api_tls tls;
    /* PEM files: the chain, our own first, and its key. Looked at when a connection is opened, at
     * most once a second; changed ones serve from then on, bad ones are logged and not taken. */
    const char *certificate;
    const char *key;
    /* Of API_TLS_MUTUAL. Their context is that of the server's configuration. */
    api_trust_find find_trust;
    api_trust_version trust_version;
};

/** Decides before the body is read: returns the largest body to accept (0: none), or a negative
 * HTTP status (-404, -405, -401) to refuse at once: as a plain problem document (api/problem.h), or
 * with what it gave to api_answer itself. API_BODY_STREAM: the handler is called before the body,
 * which may have any size, and must call api_stream_begin or api_answer: the body is then not read,
 * and the connection closed. API_BODY_DROP: refused with what it gave to api_answer; a body of up
 * to API_BODY_MAX_DEFAULT bytes is read and dropped first, so that the connection can be used on.
 * A larger one, or one that is late, has its answer at once, and the connection is closed. */
typedef long (*api_admit)(struct api_request *request, void *context);
/** Called once, with the whole request unless api_admit said API_BODY_STREAM. It must call
 * api_answer, api_defer or api_stream_begin. */
typedef void (*api_handler)(struct api_request *request, void *context);

struct api_server_config {
    struct api_listener listener;
    /* Connections served at once; 0: 1024. API_OVER_LIMIT_RESERVE more are accepted: a request on
     * one is answered 503 with Retry-After, whatever its path, and the connection closed, unless
     * another has gone meanwhile; without a request it is closed after a few seconds. Beyond those,
     * clients wait to be accepted. Keep it above any proxy's. */
    unsigned max_connections;
    /* Connections served at once of one client address (IPv4, or an IPv6 /64), and of one peer (see
     * api_request_claim_peer); 0: no limit. One beyond its address's is refused in the same way as
     * one beyond max_connections while there are fewer than API_OVER_ADDRESS_RESERVE of them, and
     * closed at once beyond those: the rest of the reserve is for others. */
    unsigned connections_per_address, connections_per_peer;
    unsigned other_connections;   /* of the process's other servers: their descriptors are needed
                                   * too */
    unsigned idle_timeout_s;      /* of a keep-alive connection, while most are not taken; 0: 60 */
    unsigned request_deadline_ms; /* for a whole request to arrive, and for its answer to be taken;
                                   * larger admitted bodies get more; 0: 10 s */
    unsigned stream_idle_ms;      /* 0: API_STREAM_IDLE_MS */
    /* The thread goes before the work that it hands on, where the process may ask for that (root,
     * CAP_SYS_NICE or RLIMIT_NICE): else who is to be refused waits behind those who are not. */
    bool urgent;
    api_admit admit;
    api_handler handle;
    void *context;
};

/** `*ret` is set before the first handler can be called, and is what the caller may give handlers
 * to find the server in; NULL again on failure. */
int api_server_start(const struct api_server_config *config, struct api_server **ret);
unsigned api_server_port(const struct api_server *server);
/** Stops accepting; what is in flight goes on. New requests on open connections get 503, and so do
 * those whose body has not arrived within API_DRAIN_BODY_MS: the handler is not called after it. A
 * streamed body ends for its worker then. */
void api_server_drain(struct api_server *server);
/** After a drain has lasted long enough: the connections of all streams are cut, so that no worker
 * waits for a client any more. The workers still end them. */
void api_server_cut_streams(struct api_server *server);
/** Whether the server's thread has gone round within the last MANAGER_STILL_MS; has it do so once
 * more, so that it has to be asked oftener than that. */
bool api_server_alive(struct api_server *server);
/** True when no admitted request waits for its body or its answer, and no worker has a stream. Once
 * true after a drain began,
 * the handler is not called any more: workers may go. */
bool api_server_idle(struct api_server *server);
/** Ends the thread, after the answers on their way have been sent. Does not call the handler:
 * bodies still arriving are answered 503. Every deferred request must have been given back, and
 * every stream ended: a few seconds are granted, in which streams are cut, then the process aborts.
 * NULL is fine. */
void api_server_stop(struct api_server *server);

enum api_method api_request_method(const struct api_request *request);
/** Path without the query, percent-decoded by the library; at most API_PATH_MAX characters. */
const char *api_request_path(const struct api_request *request);
/** A query argument or header, or NULL. Header names are matched without case. */
const char *api_request_query(const struct api_request *request, const char *name);
const char *api_request_header(const struct api_request *request, const char *name);
/** All headers of that name, as if they were one: in their order, with commas between them (RFC
 * 9110 5.3). Nothing is added for none. On the server's thread, and not of a stream. */
void api_request_joined_header(
    const struct api_request *request, const char *name, struct text *out);
/** The first query argument whose name is not among the known ones; NULL when there is none. A call
 * that changes something refuses what it does not know: it may have been meant to hold it back. */
const char *api_request_unknown_query(
    const struct api_request *request, const char *const *known, size_t n_known);
/** The body; NUL-terminated for convenience. Wiped when the request ends. */
const char *api_request_body(const struct api_request *request, size_t *ret_len);
/** Monotonic microseconds when the first byte of its header was handled. */
int64_t api_request_started_us(const struct api_request *request);
/** 16 hex digits, for logs and X-Request-Id. */
const char *api_request_id(const struct api_request *request);
/** A pointer of the service's own, NULL at first; `done` (may be NULL) is called when the request
 * ends. */
void api_request_set_data(struct api_request *request, void *data, void (*done)(void *data));
void *api_request_data(const struct api_request *request);

/** Sets the answer. `body` is copied. On the server's thread it is sent; from a worker it waits for
 * api_give_back. `content_type` may be NULL for an empty body. */
void api_answer(struct api_request *request, unsigned status, const char *content_type,
    const char *body, size_t body_len);
/** As api_answer, taking the text's memory over (the text is empty afterwards). */
void api_answer_text(
    struct api_request *request, unsigned status, const char *content_type, struct text *body);
/** Adds a header to the answer, before api_answer. Without memory for it the answer is 500. */
void api_answer_header(struct api_request *request, const char *name, const char *value);
/** The same for one that there was no memory for before. */
void api_answer_lacks_header(struct api_request *request);
/** The handler will not answer now: a worker will. Called by the handler, before or after it has
 * handed the request on: a worker that is faster than the handler does no harm. */
void api_defer(struct api_request *request);
/** Resumes deferred requests that have their answers: one wake-up for the whole batch. They may be
 * of several servers. From any thread; the caller must not touch these requests afterwards. */
void api_give_back(struct api_request *const *requests, size_t n);

/** The name in the client's certificate that was verified for this request; NULL unless the
 * listener is one of API_TLS_MUTUAL. No header has a say in it. */
const char *api_request_peer_san(const struct api_request *request);

/** Whether the client has shown a certificate, good or not. */
bool api_request_has_certificate(const struct api_request *request);
/** Of API_TLS_OPTIONAL: checks the client's certificate by what `find` says now, and remembers
 * nothing. NULL when it is good, and `san` is the name that was verified; else one sentence that
 * says what is wrong, which is logged and counted here. Whoever has the request may call: what the
 * handshake brought does not change, and the connection lives until the request is given back. Not
 * for a stream. */
const char *api_request_check_certificate(const struct api_request *request, api_trust_find find,
    void *context, char san[static API_SAN_MAX + 1]) MUST_CHECK;

/** The network that the client came from: an IPv4 /24 or an IPv6 /64, as a number. False for what
 * came in clear: that is local, or a proxy hides where it is from. */
bool api_request_network(const struct api_request *request, uint64_t *ret);

/** Whether it came in clear: over loopback, or from a proxy that the configuration names. */
bool api_request_is_plain(const struct api_request *request);

/** Says whose request this is: its connection counts as this peer's until a later request on it is
 * claimed for another, or it closes. False when the peer has connections_per_peer others on this
 * listener: the request is to be refused (PROBLEM_UNAVAILABLE), and the connection closes after the
 * answer. Called on the server's thread: by the admit function or the handler. */
bool api_request_claim_peer(struct api_request *request, int64_t peer_id) MUST_CHECK;

/** The token of `Authorization: Bearer TOKEN`; NULL when absent or of another kind. */
const char *api_request_bearer(const struct api_request *request);
/** `Authorization: Basic`: decoded user and password into the given buffers; false when absent or
 * bad. */
bool api_request_basic(const struct api_request *request, char *user, size_t user_size,
    char *password, size_t password_size);

/** Prometheus lines: connections now, requests by status class, refused by the guard, connections
 * turned away over a limit, by which, closed early for being idle, or cut for being slow, and
 * client certificates refused. Of several servers the sums. */
void api_server_metrics(struct api_server *const *servers, size_t n, struct text *out);
