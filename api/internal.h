/* What the files of this room share about a server, its connections and their requests.
 *
 * Threads. Everything of the library runs on the server's one thread, and so does every field here
 * unless it says otherwise. A deferred request belongs to its worker from the handler's hand-over
 * until api_give_back: the worker reads it and fills its answer. api_give_back puts it on
 * `given_back` under the lock (which is also what makes the worker's writes visible) and wakes the
 * thread, which alone suspends and resumes. So a worker may be done before the handler has
 * returned: the request is on the list, and the list is looked at only after the handler's
 * connection has been suspended. */
#pragma once

#include "api/guard.h"
#include "api/handshake.h"
#include "api/head.h"
#include "api/linger.h"
#include "api/listen.h"
#include "api/problem.h"
#include "api/server.h"
#include "api/tally.h"
#include "api/tls.h"
#include "base/manager.h"
#include "base/metrics.h"
#include <microhttpd.h>
#include <pthread.h>

#define API_ID_LEN 16           /* hex digits */
#define API_CONTENT_TYPE_MAX 63 /* characters */
#define API_DEADLINE_NONE INT64_MAX
#define BODY_MIN_RATE 16384   /* bytes a second of a body larger than the default */
#define ANSWER_MIN_RATE 65536 /* bytes a second that a client must take of a long answer */
/* Bytes of the library's pool: headers must fit in it, and no piece of a body is larger. */
#define CONNECTION_MEMORY ((size_t)8192)

enum request_state {
    REQUEST_NONE,     /* between requests */
    REQUEST_LINE,     /* its first line has been read */
    REQUEST_BODY,     /* admitted; the body is arriving */
    REQUEST_REFUSED,  /* answered before the handler, sent when the request is complete; a body is
                       * dropped as it arrives */
    REQUEST_HANDLING, /* with the handler or, suspended, with a worker */
    REQUEST_STREAM,   /* with a stream whose answer is not queued yet; suspended or not */
    REQUEST_SENDING,  /* the answer is queued */
    REQUEST_GIVEN_UP, /* answered in the middle of its body; the connection is closing */
};

struct api_request {
    struct api_server *server;
    struct api_connection *connection;
    struct MHD_Connection *mhd;
    const struct api_head *head; /* instead of these two: a copy for the worker of a stream */
    struct api_request *next_given_back; /* under the server's lock */
    enum request_state state;
    enum api_method method;
    const char *method_text; /* these two live in the library's pool while the request does */
    const char *path;
    const char *target_fault; /* found by the guard before the library decodes the target */
    int64_t started_us;
    char id[API_ID_LEN + 1];
    bool body_streams; /* admitted as such: the handler comes before the body */
    bool body_drops;   /* refused, and its body is not */
    size_t body_max;   /* of a body that is dropped: how much more of it */
    struct secret_buffer body;
    size_t body_len; /* without the NUL behind it */
    void *data;
    void (*data_done)(void *data);
    struct api_stream *stream; /* once begun */
    bool admitted;             /* counted in n_admitted */
    bool deferred;             /* written by the server's thread alone */
    bool close;                /* no further request on this connection */
    /* the answer: of the handler, or of the worker while the request is its own */
    bool answered;
    unsigned status;
    char content_type[API_CONTENT_TYPE_MAX + 1];
    struct text answer;
    struct text headers; /* name NUL value NUL, ... */
};

enum api_metric {
    METRIC_CONNECTIONS,
    METRIC_REQUESTS_2XX,
    METRIC_REQUESTS_3XX,
    METRIC_REQUESTS_4XX,
    METRIC_REQUESTS_5XX,
    METRIC_GUARD_REFUSED,
    METRIC_TOO_SLOW,
    METRIC_ADDRESS_REFUSED,
    METRIC_OVER_LIMIT,
    METRIC_OVER_ADDRESS,
    METRIC_OVER_PEER,
    METRIC_IDLE_CLOSED,
    METRIC_CERTIFICATES_REFUSED,
    N_API_METRICS
};

/* HTTP/1.1 has one request at a time on a connection, so its state is a part of it: no allocation a
 * request. */
struct api_connection {
    struct api_connection *prev, *next;
    struct api_server *server;
    int fd; /* the library's */
    int64_t
        deadline_ms;  /* monotonic; API_DEADLINE_NONE while a handler or worker has the request */
    int64_t idle_ms;  /* monotonic: since when, while there is no request */
    uint64_t address; /* key in server->addresses */
    uint64_t peer;    /* key in server->peers, where `claimed` */
    bool claimed;
    bool slot;     /* one of max_connections, and of its address's, is its own; without one its
                    * requests are refused */
    bool reserved; /* one of API_OVER_ADDRESS_RESERVE is its own */
    enum api_metric over; /* without a slot: the limit that denied it */
    bool used;            /* has had a request */
    bool last_look; /* its time was over, but something had come: the library takes that first */
    bool cut;       /* shut down by us: nothing of it is taken any more */
    bool linger;    /* closed while the client may still be sending: see linger.h */
    struct tls_session tls;
    struct api_request request;
};

struct api_server {
    struct api_server_config config;
    struct api_networks proxies; /* of a plain listener: who may connect besides loopback */
    struct MHD_Daemon *daemon;
    pthread_t thread;
    bool thread_running;
    int listen_fd; /* ours until the library has it, and again after the quiesce; else -1 */
    int epoll_fd;  /* the library's */
    int wake_fd;   /* eventfd */
    struct manager_pulse pulse; /* of the thread */
    unsigned port;
    uint64_t id_seed, id_count;
    struct api_connection *connections;
    unsigned n_slots;              /* connections that have one of max_connections */
    unsigned n_reserved;           /* connections that have one of API_OVER_ADDRESS_RESERVE */
    struct tally addresses, peers; /* of connections with a slot; of those, the claimed ones */
    struct handshakes handshakes;  /* of a TLS listener */
    int64_t earliest_ms;           /* no connection is due before this */
    size_t n_handling; /* requests in REQUEST_HANDLING, _STREAM, _SENDING or _GIVEN_UP */
    size_t n_streams;  /* begun, and their end by the worker not yet seen; they are in n_admitted */
    int64_t arriving_until_ms; /* monotonic: no body is waited for after it */
    uint64_t n_calls;          /* of the library to our callbacks */
    bool fruitless;  /* the last run of the library had no cause and no effect, and nothing is being
                      * sent */
    bool quiesced;   /* the thread has seen `draining` */
    int64_t stop_ms; /* monotonic: when the thread saw `stopping`; 0 before */
    struct linger_list linger;
    struct tls_server *tls; /* NULL: plain */
    _Atomic bool draining, cutting, stopping;
    _Atomic size_t n_admitted; /* requests between their header and their answer; streams until
                                * their worker ends them */
    _Atomic size_t n_deferred; /* those of them that are with a worker */
    pthread_mutex_t lock;
    struct api_request *given_back; /* under the lock */
    struct api_stream *stirred;     /* under the lock: streams that the thread is to look at */
    struct metric metrics[N_API_METRICS];
};

/* handle.c: the library's callbacks */
void *handle_target(void *server, const char *target, struct MHD_Connection *mhd);
enum MHD_Result handle_request(void *server, struct MHD_Connection *mhd, const char *path,
    const char *method, const char *version, const char *upload, size_t *upload_len,
    void **request);
void handle_completed(
    void *server, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode how);
void handle_connection(void *server, struct MHD_Connection *mhd, void **connection,
    enum MHD_ConnectionNotificationCode what);

/* connection.c */
/** NULL without memory. `fd` stays the library's. The connection is cut already when neither its
 * address nor the reserve has a place for it. */
struct api_connection *connection_open(
    struct api_server *server, int fd, const struct sockaddr *address);
void connection_close(struct api_connection *connection);
/** Shuts it down: the library closes it in its next run. */
void connection_refuse(struct api_connection *connection);
/** False while all of max_connections are taken, or all of its address's. */
bool connection_take_slot(struct api_connection *connection);
/** See api_request_claim_peer. */
bool connection_claim_peer(struct api_connection *connection, int64_t peer_id);
void connection_arm(struct api_connection *connection, int64_t deadline_ms);
/** The answer has been sent in the middle of the body: the client has a moment to read it, and what
 * it still sends until then makes us close lingering. */
void connection_give_up(struct api_connection *connection, int64_t now_ms);
/** A request has ended: another may come. */
void connection_idle(struct api_connection *connection);
/** Cuts what is due. */
void connections_look(struct api_server *server, int64_t now_ms);
/** Bodies that have not arrived by arriving_until_ms are given up. */
void connections_end_arriving(struct api_server *server);
/** Cuts the connections of all streams. */
void connections_cut_streams(struct api_server *server);

/* answer.c */
/** Gives the library the request's answer. */
enum MHD_Result answer_queue(struct api_request *request);
/** The same for an answer whose body the library asks `reader` for; `context` is given to it. The
 * caller sets the connection's deadline. */
enum MHD_Result answer_queue_pieces(
    struct api_request *request, MHD_ContentReaderCallback reader, void *context);
/** The request's status and headers with this body straight to the socket: in the middle of a body
 * the library takes no answer. The connection must be closed after it. */
void answer_straight(struct api_request *request, const void *body, size_t len);
/** A problem document straight to the socket. */
void answer_now(struct api_request *request, enum problem problem, const char *detail);
/** Wipes the answer, and keeps its memory. */
void answer_clear(struct api_request *request);
void answer_done(struct api_request *request);

/* server.c */
void server_wake(struct api_server *server);

/* stream.c */
/** The handler has begun a stream: before the body, or with the body behind it. What the library's
 * callback is to return. */
enum MHD_Result stream_open(struct api_request *request, bool body_to_come);
/** The library's callback for a request in REQUEST_STREAM. */
enum MHD_Result stream_call(struct api_request *request, const char *piece, size_t *piece_len);
/** Looks at the streams that workers have stirred. */
void streams_run(struct api_server *server);
/** The request has ended; the stream lives on until its worker has, too. */
void stream_detach(struct api_request *request);
/** Its time is over. True: only the body's, because the service is stopping; the worker hears of
 * it. False: the connection is to be cut. */
bool stream_give_up_body(struct api_request *request);
/** Whether the body is still arriving. */
bool stream_arriving(const struct api_request *request);
/** The connection was cut, and may be suspended: the library is to see it. */
void stream_let_go(struct api_request *request);

/* request.c */
enum api_method request_method_of(const char *text);
/** An admitted request has its answer, or needs none any more. */
void request_settled(struct api_request *request);
/** Wipes and forgets everything of a request but its server and connection, and the memory that it
 * had for a body and an answer of the usual size. */
void request_reset(struct api_request *request);
/** The same, and that memory. */
void request_done(struct api_request *request);
