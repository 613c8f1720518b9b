/* A call of the REST API on a worker's thread: who asks, for what, and what it is answered.
 *
 * A handler sets one answer and returns. A call that changes something (act_route.changes) is one
 * transaction, which the worker begins before and commits after the handler: the change, its audit
 * events and what its Idempotency-Key is to be answered again are there together or not at all, and
 * nothing is sent before the commit. A status of 400 or more rolls it back. */
#pragma once

#include "activation/auth.h"
#include "activation/reply.h"
#include "api/json.h"
#include "api/stream.h"
#include "db/audit.h"

#define ACT_LOCATION_MAX 240
#define ACT_JSON_BODY_MAX 32768 /* bytes of a body that is JSON */
#define ACT_PAGE_MAX 1000       /* items of one page of a list */
#define ACT_PAGE_DEFAULT 100

struct act_call {
    struct act_worker *worker;
    const struct api_request *request; /* to read from; of a stream only its head */
    struct api_stream *stream;         /* where the route streams; else NULL */
    const struct act_route *route;
    const struct act_caller *caller; /* NULL where the route is open to anyone */
    struct act_params params;
    /* The answer. */
    unsigned status;
    const char *content_type;
    struct text body;
    struct text headers;                 /* name NUL value NUL, ... */
    char location[ACT_LOCATION_MAX + 1]; /* header; "" for none */
    bool in_pieces;  /* the answer has begun to go out by act_call_piece; `body` is not used */
    bool broken_off; /* and will not be whole */
    bool handed_on; /* the stream is somebody else's now, who goes on with the answer and ends it */
    bool shown_once; /* the body holds a secret: it is not kept for an Idempotency-Key */
};

void act_call_done(struct act_call *call);

/** The text of path parameter `index`, in the order of the pattern. */
const char *act_call_param(const struct act_call *call, size_t index);

/* Each sets the answer and returns its status. */
unsigned act_call_problem(struct act_call *call, enum problem problem, const char *detail);
/** 400, naming the member of the body that is at fault. */
unsigned act_call_bad_field(struct act_call *call, const char *field, const char *detail);
/** The same with another problem. */
unsigned act_call_problem_of(
    struct act_call *call, enum problem problem, const char *field, const char *detail);
/** For a failure of ours: logs error_text() and answers 503; of ERROR_STALE_KEY with this. */
#define ACT_CALL_STALE_KEY                                                                            \
    "a version of a key of the HSM is being retired, and something would have been stored under it: " \
    "nothing was; made again, it takes another version"
unsigned act_call_failed(struct act_call *call, int code);
/** Takes the text's memory over. */
unsigned act_call_answer(
    struct act_call *call, unsigned status, const char *content_type, struct text *body);
/** 204 without a body. */
unsigned act_call_no_content(struct act_call *call);
/** Adds a header to the answer, whatever it will be. */
void act_call_header(struct act_call *call, const char *name, const char *value);
/** Sets Location, as for 201. */
void act_call_locate(struct act_call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** Of a route that streams: sends a piece of a long answer, 200 of this type. What goes wrong after
 * the first one can only break it off: set `broken_off`. Negative: nobody takes it any more. */
int act_call_piece(struct act_call *call, const char *content_type, const struct text *piece);

/** 400 for a change of nothing. */
unsigned act_call_says_nothing(struct act_call *call);

/** Reads the body as a JSON object. A member that no field names is refused, for a slip of the pen
 * would be taken for a call without it; and so is an empty object of a PATCH. Outcome: 0, or the
 * status of the answer it set. */
unsigned act_call_read(
    struct act_call *call, const struct json_field *fields, size_t n_fields, void *target);

/** Reads `limit` and `cursor`, the only query of a list, into a number of items and a cursor of
 * ACCOUNT_ID_LEN bytes; *ret_has_cursor tells whether there is one. 0, or the status it set. */
unsigned act_call_page(struct act_call *call, size_t *ret_limit,
    uint8_t ret_cursor[static ACCOUNT_ID_LEN], bool *ret_has_cursor);

/** The same of a list whose query may also have a parameter `filter`: *ret_filter is its text, or
 * NULL. */
unsigned act_call_page_of(struct act_call *call, const char *filter, size_t *ret_limit,
    uint8_t ret_cursor[static ACCOUNT_ID_LEN], bool *ret_has_cursor, const char **ret_filter);

/** As act_call_page of a list whose cursor is the number of its last item; 0 without one. */
unsigned act_call_page_number(struct act_call *call, size_t *ret_limit, int64_t *ret_after);
/** Ends a list that began with ACT_LIST_BEGIN: where the next page begins, or NULL. */
#define ACT_LIST_BEGIN "{\"items\":["
void act_list_end(struct text *out, const uint8_t *next);
/** The same with the number of its last item; 0: it was the last page. */
void act_list_end_number(struct text *out, int64_t next);

/** The call's Idempotency-Key, of a handler that minds it itself; NULL: none was given. 0, or the
 * status of the answer it set for one that is none, as act_call_run has before such a handler. */
unsigned act_call_key(struct act_call *call, const char **ret);

/** SHA-256 that names the call: its client, path and Idempotency-Key or, without one, its request.
 * Of what the same call finds again. `key` may be NULL. */
#define ACT_CALL_NAME_LEN 32
void act_call_name(
    const struct act_call *call, const char *key, uint8_t out[static ACT_CALL_NAME_LEN]);

/** Records what is done, in this transaction. `organization_id` 0: in nobody's history. `detail` is
 * a JSON object without secrets, or NULL. 0 or negative. */
int act_call_audit(struct act_call *call, int64_t organization_id, const char *action,
    const char *object, const char *detail);

/** The organization that path parameter `index` names, when the caller may see it: an administrator
 * any, everybody else his own. 0, or the status of the answer it set: 404 alike for what is not
 * there and what is not his. */
unsigned act_call_organization(struct act_call *call, size_t index, struct db_organization *ret);

/** Runs the call: the transaction, the Idempotency-Key, the handler. */
void act_call_run(struct act_call *call);
/** Hands the answer to the server, and counts it. `request` is NULL for a stream, which ends. */
void act_call_send(struct act_call *call, struct api_request *request);
