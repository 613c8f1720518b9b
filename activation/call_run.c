/* How a call is run: its transaction, its Idempotency-Key, and the sending. */
#include "activation/call.h"

#include "base/aes.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/hex.h"
#include "base/log.h"
#include "db/join.h"
#include <stdio.h>
#include <string.h>

#define ROUTE_TEXT_MAX 200
#define CALL_NAME_MAX 640 /* client, path and key */

static bool is_problem(const struct act_call *call)
{
    return call->content_type != NULL && strcmp(call->content_type, TYPE_PROBLEM) == 0;
}

/* Who comes with a certificate is not asked for a token. */
static void complete_headers(struct act_call *call)
{
    if (call->location[0] != '\0')
        act_call_header(call, "Location", call->location);
    if (call->shown_once)
        act_call_header(call, "Cache-Control", "no-store");
    if (call->route->by_certificate ? call->status == api_problem_status(PROBLEM_UNAVAILABLE)
                                    : is_problem(call)) {
        enum problem problem = api_problem_of_status(call->status);
        const char *value, *header = api_problem_header(problem, &value);

        if (header != NULL)
            act_call_header(call, header, value);
    }
}

/* Without memory for one of them it is no answer, and is none. */
static void lack_header(struct act_call *call, struct api_request *request)
{
    if (request != NULL)
        api_answer_lacks_header(request);
    else
        api_stream_answer_lacks_header(call->stream);
}

static void give_headers(struct act_call *call, struct api_request *request)
{
    complete_headers(call);
    if (call->headers.failed) {
        lack_header(call, request);
        return;
    }
    for (size_t at = 0; at < call->headers.len;) {
        const char *name = call->headers.data + at;
        const char *value = name + strlen(name) + 1;

        if (request != NULL)
            api_answer_header(request, name, value);
        else
            api_stream_answer_header(call->stream, name, value);
        at += strlen(name) + strlen(value) + 2;
    }
}

/* Nothing of an answer matters once the client is gone. */
static void end_stream(struct act_call *call)
{
    if (call->handed_on)
        return;
    if (!call->in_pieces) {
        give_headers(call, NULL);
        (void)api_stream_answer(call->stream, call->status, call->content_type, &call->body);
    }
    api_stream_end(call->stream, !call->broken_off);
}

void act_call_send(struct act_call *call, struct api_request *request)
{
    act_metrics_request(&call->worker->service->metrics, call->route, call->status);
    if (request == NULL) {
        end_stream(call);
        return;
    }
    give_headers(call, request);
    (void)FAILPOINT(call_before_answer, 0);
    api_answer_text(request, call->status, call->content_type, &call->body);
}

int act_call_piece(struct act_call *call, const char *content_type, const struct text *piece)
{
    int r = 0;

    if (piece->failed)
        return error_set(ERROR_SYSTEM, "out of memory for an answer");
    if (!call->in_pieces) {
        call->status = 200;
        call->content_type = content_type;
        give_headers(call, NULL);
        call->in_pieces = true;
        r = api_stream_answer_begin(call->stream, 200, content_type);
    }
    return r < 0 ? r : api_stream_write(call->stream, piece->data, piece->len);
}

static bool key_is_good(const char *key)
{
    size_t len = strlen(key);

    if (len == 0 || len > IDEMPOTENCY_KEY_MAX)
        return false;
    for (const char *c = key; *c != '\0'; c++)
        if (*c < 0x20 || *c > 0x7E)
            return false;
    return true;
}

unsigned act_call_key(struct act_call *call, const char **ret)
{
    const char *key = api_request_header(call->request, "Idempotency-Key");

    if (key != NULL && !key_is_good(key))
        return act_call_bad_field(
            call, "Idempotency-Key", "Idempotency-Key is not 1 to 255 printable ASCII characters");
    *ret = key;
    return 0;
}

void act_call_name(
    const struct act_call *call, const char *key, uint8_t out[static ACT_CALL_NAME_LEN])
{
    char id[2 * ACCOUNT_ID_LEN + 1], name[CALL_NAME_MAX];
    int len = snprintf(name, sizeof(name), "%s|%s|%s %s",
        hex_encode(call->caller->client_id, ACCOUNT_ID_LEN, id), call->route->path,
        key != NULL ? "key" : "request", key != NULL ? key : api_request_id(call->request));

    digest_sha256(name, (size_t)len, out);
}

/* Path, query and body: the same key with another call is a mistake. */
static void fingerprint(
    const struct act_call *call, uint8_t out[static IDEMPOTENCY_FINGERPRINT_LEN])
{
    CLEANUP(text_done) struct text text = {0};
    size_t len;
    const char *body = api_request_body(call->request, &len);
    const char *query =
        call->route->query != NULL ? api_request_query(call->request, call->route->query) : NULL;
    uint8_t of_body[32];

    digest_sha256(body, len, of_body);
    text_add(&text, api_request_path(call->request));
    text_add_len(&text, "", 1);
    text_add_hex(&text, of_body, sizeof(of_body));
    if (query != NULL)
        text_add(&text, query);
    digest_sha256(text.data != NULL ? text.data : "", text.len, out);
}

/* The answer of before. What was shown once is not shown again: it is not known any more. */
static void repeat(struct act_call *call, struct db_idempotency_answer *answer)
{
    struct text body = {0};

    if (answer->status == 0) {
        (void)act_call_problem(call, PROBLEM_CONFLICT,
            "this Idempotency-Key was used for a call whose answer is not known");
        return;
    }
    if (answer->body != NULL)
        text_add(&body, answer->body);
    (void)act_call_answer(call, answer->status,
        answer->content_type != NULL && strcmp(answer->content_type, TYPE_JSON) == 0 ? TYPE_JSON
                                                                                     : NULL,
        &body);
    if (answer->location != NULL)
        act_call_locate(call, "%s", answer->location);
}

/* Inside the transaction. 0: go on; 1: answered; negative: failed. */
static int take_key(struct act_call *call, struct db_idempotency *key)
{
    CLEANUP(db_idempotency_answer_done) struct db_idempotency_answer answer = {0};
    int r = db_idempotency_take(call->worker->db, key, &answer);

    if (r <= 0)
        return r;
    if (memcmp(answer.fingerprint, key->fingerprint, sizeof(key->fingerprint)) != 0)
        (void)act_call_problem(
            call, PROBLEM_UNPROCESSABLE, "this Idempotency-Key was used for another call");
    else
        repeat(call, &answer);
    return 1;
}

static int keep_answer(struct act_call *call, const struct db_idempotency *key)
{
    /* With a secret in it the body is not kept: a repetition is told what was made, by Location. */
    const char *body = call->shown_once || call->body.data == NULL ? NULL : call->body.data;

    return db_idempotency_keep(call->worker->db, key, call->status,
        body != NULL ? call->content_type : NULL, call->location[0] != '\0' ? call->location : NULL,
        body);
}

/* The connection broke while the commit was on its way: only the database knows. Every change
 * leaves an audit event under the request's id. */
static int resolve(struct act_call *call)
{
    bool committed = false;
    int r;

    log_warn("request=%s the result of a commit is unknown: %s", api_request_id(call->request),
        error_text());
    db_drop(call->worker->db);
    r = db_audit_has(call->worker->db, api_request_id(call->request), &committed);
    if (r < 0)
        return r;
    return committed ? 0 : error_set(ERROR_DB, "database: the commit did not happen");
}

/* The answer of before: that call's wait for a standby may have been ended, by whoever ran it. */
static int settle_repeated(struct act_call *call)
{
    int r = db_join_settle(call->worker->db);

    return r == ERROR_DB_UNKNOWN ? error_set(ERROR_DB, "database: what was found is not settled")
                                 : r;
}

static int change(struct act_call *call, struct db_idempotency *key)
{
    struct db *db = call->worker->db;
    int r = db_begin(db);

    if (r == 0 && key != NULL)
        r = take_key(call, key);
    if (r == 0 && call->route->work(call) < 400 && key != NULL)
        r = keep_answer(call, key);
    if (r != 0 || call->status >= 400) {
        db_rollback(db);
        return r == 1 && call->status < 400 ? settle_repeated(call) : r < 0 ? r : 0;
    }
    r = db_commit(db);
    return r == ERROR_DB_UNKNOWN ? resolve(call) : r;
}

/* A call that changes something and streams minds its key itself, once this has looked at it. */
static bool takes_key(const struct act_route *route)
{
    return route->changes || (route->streams != STREAMS_NOT && route->method != API_GET);
}

void act_call_run(struct act_call *call)
{
    const char *key = NULL;
    char route[ROUTE_TEXT_MAX];
    struct db_idempotency idempotency = {.route = route};
    int r;

    (void)snprintf(
        route, sizeof(route), "%s %s", act_method_text(call->route->method), call->route->path);
    if (takes_key(call->route) && act_call_key(call, &key) != 0)
        return;
    if (!call->route->changes) {
        (void)call->route->work(call);
    } else if (api_request_unknown_query(
                   call->request, &call->route->query, call->route->query != NULL) != NULL) {
        (void)act_call_problem(call, PROBLEM_BAD_REQUEST,
            call->route->query != NULL ? "the query has a parameter that this call does not take"
                                       : "this call takes no query");
    } else {
        if (key != NULL) {
            idempotency.key = key;
            idempotency.client_id = call->caller->client_id;
            fingerprint(call, idempotency.fingerprint);
        }
        if ((r = change(call, key != NULL ? &idempotency : NULL)) < 0)
            (void)act_call_failed(call, r);
    }
}
