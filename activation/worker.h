/* The threads that may wait: each owns a database connection and a keyd channel, takes one request
 * at a time from a bounded queue, finds out who is asking, and has the route's handler answer.
 *
 * Requests of a route that may answer many at once (work_together) stand in a queue of their own,
 * as far as they are small: who comes to it takes all that wait. Alone, a request waits for nobody,
 * and under load they share what each would pay by itself. At most ACT_TOGETHER_WORKERS are there
 * at once, so that the others find some waiting; the older of such a request and of any other is
 * first.
 *
 * Requests that may take seconds (is_long) stand in a queue of their own and never occupy every
 * worker, so that a token can be had while files are imported. */
#pragma once

#include "activation/routes.h"
#include "activation/service.h"
#include "api/stream.h"
#include "db/db.h"

#define ACT_QUEUE_MAX 256   /* waiting requests of each kind */
#define ACT_TOGETHER_MAX 32 /* requests that are answered at once */
#define ACT_TOGETHER_WORKERS 2
#define ACT_TOGETHER_BODY_MAX 1024 /* bytes */
#define ACT_KEYD_DEADLINE_MS 10000 /* for one message to keyd */
#define ACT_STATEMENT_MS 30000     /* the longest a statement may take */

struct act_worker {
    struct act_service *service;
    struct db *db;
    struct keyd_channel *keyd;
};

/** Starts service->settings.workers threads; worker i calls on keyd channel i. */
int act_workers_start(struct act_service *service, struct act_workers **ret);
/** Outcome 1: the queue is full, or the workers have been stopped. On 0 the request, or of a route
 * that streams the stream (the other one is NULL), belongs to a worker until it is answered. */
int act_workers_submit(struct act_workers *workers, struct api_request *request,
    struct api_stream *stream, const struct act_route *route);
/** True once act_workers_stop was called: long work ends at its next chunk. */
bool act_workers_stopping(struct act_workers *workers);
/** Ends the threads; requests still waiting are answered 503, later ones are not taken. NULL is
 * fine. */
void act_workers_stop(struct act_workers *workers);
/** After act_workers_stop and once no server can submit any more. NULL is fine. */
void act_workers_free(struct act_workers *workers);
