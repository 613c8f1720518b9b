/* A request whose body is read, and whose answer is written, piece by piece by a worker while the
 * server's thread moves the bytes. A bounded ring in each direction: of a client that sends faster
 * than the worker reads nothing more is taken, and a worker that writes faster than the client
 * takes waits. So bodies and answers of any size take API_STREAM_RING bytes each.
 *
 * The stream outlives its request: the client may go at any moment, and the worker then hears so
 * from the next call. Between api_stream_begin and api_stream_end the stream is its worker's, one
 * thread at a time; the request is not for the worker at all, only a copy of its head. A draining
 * server waits for api_stream_end.
 *
 * A client has no total time, but must keep API_STREAM_IDLE_MS (or the configuration's) between any
 * two pieces, and the least rates of larger bodies and answers; time in which the worker is waited
 * for does not count. Else it is cut. */
#pragma once

#include "api/problem.h"
#include "api/server.h"

#define API_STREAM_RING ((size_t)65536)      /* bytes in each direction */
#define API_STREAM_EARLY_MAX ((size_t)16384) /* of an answer before the end of the body */

struct api_stream;

/** In the handler, on the server's thread: takes over what comes of the body, and the answer. The
 * handler then neither answers nor defers. Where api_admit said API_BODY_STREAM, the body is about
 * to arrive (and a client that asked with `Expect: 100-continue` is told to go on at the first
 * api_stream_read); otherwise the handler has the body, and the stream none. What was set with
 * api_request_set_data goes over to the stream and ends with both the request and the worker. Fails
 * without memory. */
int api_stream_begin(struct api_request *request, struct api_stream **ret);

/** What the request said before its body, for the worker: method, path, id, headers and query.
 * Lives as long as the stream, and knows of no body, connection or answer. */
const struct api_request *api_stream_head(const struct api_stream *stream);
/** What api_request_set_data and api_request_id say, for the worker. */
void *api_stream_data(const struct api_stream *stream);
const char *api_stream_id(const struct api_stream *stream);

/** Waits for bytes. > 0: how many; 0: the body has ended; ERROR_DEADLINE: nothing came for
 * `timeout_ms` (call again or give up); ERROR_INPUT: no more will come, and what was read is not
 * the whole body: the client went away or was too slow, or sent what is no body, or the service is
 * stopping and will not wait. An answer may be tried after all of these. */
int api_stream_read(struct api_stream *stream, void *buffer, size_t size, int timeout_ms);
/** Whether the body was broken off because the service is stopping. */
bool api_stream_stopping(struct api_stream *stream);

/** Adds a header to the answer, before it begins. Without memory for it the answer is 500, or where
 * it is given in pieces the connection is cut. */
void api_stream_answer_header(struct api_stream *stream, const char *name, const char *value);
/** The same for one that there was no memory for before. */
void api_stream_answer_lacks_header(struct api_stream *stream);

/** Begins an answer in pieces (chunked; to HTTP/1.0 the end of the connection ends it). Before the
 * end of the body this gives the rest of it up: the answer goes out at api_stream_end, may have
 * API_STREAM_EARLY_MAX bytes in all, and the connection closes after it. ERROR_INPUT: the client is
 * gone; this and all that follows of the answer may be left out then. */
int api_stream_answer_begin(struct api_stream *stream, unsigned status, const char *content_type);
/** Waits until the ring has taken all. It passes through the library's buffer, of which a piece is
 * wiped when the next one is asked for, or the end; so only the last piece of an answer that is cut
 * off stays there. ERROR_INPUT: the client is gone, or an early answer has become too long. */
int api_stream_write(struct api_stream *stream, const void *bytes, size_t len);
/** How many bytes api_stream_write would take now without waiting, for a worker that has many
 * streams; as many as a ring has once the client is gone, so that writing tells. */
size_t api_stream_room(struct api_stream *stream);
/** The whole answer at once, with its length; takes the text's memory over. `content_type` may be
 * NULL for an empty body. Goes out at api_stream_end. ERROR_INPUT as with api_stream_answer_begin.
 */
int api_stream_answer(
    struct api_stream *stream, unsigned status, const char *content_type, struct text *body);
/** The same with a problem document. */
int api_stream_problem(struct api_stream *stream, enum problem problem, const char *detail);

/** The worker's last call. An answer that was begun is complete if `whole`; otherwise, and without
 * any, the connection is cut, so that the client does not take a part for the whole. */
void api_stream_end(struct api_stream *stream, bool whole);
