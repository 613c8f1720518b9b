/* A service for the tests of streams, and a client of it, plain or with TLS. Each stream has a
 * thread of its own as its worker. What its paths do: /count      reads all, in pieces of odd
 * sizes; answers "LENGTH SUM" /gated      the same, but a piece is read only after
 * stream_open_gate, one for each; afterwards all of the gates are open /generate?n=N  reads all,
 * then writes N bytes of stream_pattern /refuse     answers 401 without having read anything;
 * /refuse-late  413, after the first piece /long-refusal  begins an answer before the end of the
 * body, and writes too much of it /silent     reads all and ends without an answer;  /half  ends in
 * the middle of its answer /no-memory?n=N  as /generate, without memory for its
 * headers /unwilling  the handler itself answers 409 */
#pragma once

#include "api/stream.h"
#include <openssl/ssl.h>

#define STREAM_IDLE_MS 500

struct stream_outcome {
    size_t read;    /* bytes */
    int read_ended; /* what the last api_stream_read returned */
    size_t written;
    int write_ended;
    size_t waits; /* reads that ended with ERROR_DEADLINE */
    bool done;
};

/** `impatient`: with short times for clients. */
void stream_service_start(bool tls, bool impatient);
void stream_service_stop(void);
void stream_open_gate(void);
void stream_open_gates(void);
/** The n-th stream since the start. Waits until its worker has ended. */
struct stream_outcome stream_wait_done(size_t n);
/** Waits until the n-th stream's worker has read, or written, so much. */
void stream_wait_read(size_t n, size_t bytes);
void stream_wait_written(size_t n, size_t bytes);
struct stream_outcome stream_now(size_t n);
/** Data of requests that have ended. */
size_t stream_n_data_done(void);

struct peer {
    int fd;
    SSL *ssl;
    SSL_CTX *context;
};

struct heard {
    unsigned status; /* 0: none */
    char head[2048];
    char body[1024]; /* its beginning */
    size_t body_len;
    unsigned sum;
    bool complete, chunked;
};

struct peer *peer_new(void);
void peer_free(struct peer *peer);
/** False when the server has closed. */
bool peer_say_bytes(struct peer *peer, const void *bytes, size_t len);
bool peer_say(struct peer *peer, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** `n` bytes of stream_pattern from `at` on; in chunks of `chunk` bytes unless that is 0. */
bool peer_say_pattern(struct peer *peer, size_t at, size_t n, size_t chunk);
/** One answer; not complete when the connection ended before. */
struct heard peer_hear(struct peer *peer);
bool peer_is_closed(struct peer *peer);

char stream_pattern(size_t at);
unsigned stream_sum(unsigned sum, const char *bytes, size_t len);
/** What /count answers to `n` bytes of the pattern. */
const char *stream_counted(size_t n, char out[static 64]);
