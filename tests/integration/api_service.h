/* A service for the tests of the HTTP server: one server on a free port and a few workers. What its
 * paths do:
 *   /echo (and any other)  answers its body        /defer   the same, by a worker
 *   /hold                  deferred until service_release_held
 *   /stream-hold           a stream, see service_take_stream
 *   /pause                 stops the server's own thread: posts `paused`, waits for `go_on`
 *   /none /large           take no body, or SERVICE_LARGE_BODY bytes
 *   /only-bearer  answers 204 to the token "right", 403 to others
 *   /elsewhere    redirects to /echo
 *   /who    answers the name in the client's certificate, or "nobody"
 *   /certificate  the same of a certificate that is looked at then, by the listener's find_trust:
 *           the name, "bad" or "none"
 *   /peer   echoes, for the peer of the number in X-Peer; refused when that has its connections
 *   /nowhere /closed /own-refusal   are refused before the body: 404, 401, and 409 with its own
 * text   /busy   is refused before the body, which is dropped: 503   /credentials /query /silent
 * /forgetful   see api_service.c */
#pragma once

#include "api/server.h"
#include "api/stream.h"
#include <semaphore.h>

#define SERVICE_LARGE_BODY 100000
#define SERVICE_IMPATIENT_MS 1000
#define SERVICE_NARROW 4
#define SERVICE_IDLE_S 60
#define SERVICE_PER_ADDRESS 4
#define SERVICE_PER_PEER 2
#define SERVICE_SHORT_IDLE_S 1

/* One at a time: Check's fixtures take no argument. */
extern struct service {
    struct api_server *server;
    unsigned port;
    sem_t paused, go_on;
    api_trust_find find_trust;
} service;

void service_start_usual(void);
/** With a deadline of SERVICE_IMPATIENT_MS for a request. */
void service_start_impatient(void);
/** With SERVICE_SHORT_IDLE_S for idle connections. */
void service_start_short_idle(void);
/** With SERVICE_NARROW connections at most. */
void service_start_narrow(void);
/** With SERVICE_PER_ADDRESS connections of an address and SERVICE_PER_PEER of a peer at most, on
 * the plain listener or one of its own. */
void service_start_sharing(void);
void service_start_sharing_on(const struct api_listener *listener);
/** On a listener of its own, whose texts must live until service_stop. */
void service_start_on(const struct api_listener *listener);
/** Also releases what a failed test left held. */
void service_stop(void);

void service_wait_held(void);
/** Waits for the stream of /stream-hold, which is then the caller's to work on. */
struct api_stream *service_take_stream(void);
/** Answers the held request, waiting for it if need be. */
void service_release_held(void);
/** Waits until `n` requests that reached the handler have ended since the start. */
void service_wait_done(size_t n);
/** Waits until so many connections are open. */
void service_wait_connections(long n);
/** Waits until api_server_idle says so. */
void service_wait_idle(bool idle);
/** The value behind `line` ("\nname " or "name{label} ") in the server's metrics; -1 without it. */
long service_metric(const char *line);
