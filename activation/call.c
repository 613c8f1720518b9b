#include "activation/call.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_MAX 96
#define DETAIL_MAX 160

static void forget_body(struct act_call *call)
{
    if (call->body.data != NULL)
        secret_wipe(call->body.data, call->body.len);
    text_done(&call->body);
}

void act_call_done(struct act_call *call)
{
    forget_body(call);
    text_done(&call->headers);
}

const char *act_call_param(const struct act_call *call, size_t index)
{
    return call->params.values[index];
}

unsigned act_call_answer(
    struct act_call *call, unsigned status, const char *content_type, struct text *body)
{
    if (body->failed)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    forget_body(call);
    call->status = status;
    call->content_type = content_type;
    call->body = *body;
    *body = (struct text){0};
    return status;
}

static unsigned answer_problem(
    struct act_call *call, enum problem problem, const char *detail, const char *field)
{
    const bool plain = call->route->by_certificate;
    struct text body = {0};

    if (plain)
        api_problem_message(&body, problem, detail);
    else
        api_problem_text(&body, problem, detail, field, api_request_id(call->request));
    forget_body(call);
    call->status = api_problem_status(problem);
    call->content_type = plain ? TYPE_JSON : TYPE_PROBLEM;
    call->body = body; /* without memory: no body, and the status still says it */
    call->location[0] = '\0';
    return call->status;
}

unsigned act_call_problem(struct act_call *call, enum problem problem, const char *detail)
{
    return answer_problem(call, problem, detail, NULL);
}

unsigned act_call_bad_field(struct act_call *call, const char *field, const char *detail)
{
    return answer_problem(call, PROBLEM_BAD_REQUEST, detail, field);
}

unsigned act_call_problem_of(
    struct act_call *call, enum problem problem, const char *field, const char *detail)
{
    return answer_problem(call, problem, detail, field);
}

unsigned act_call_failed(struct act_call *call, int code)
{
    log_error("request=%s no answer: %s: %s", api_request_id(call->request), error_name(code),
        error_text());
    return act_call_problem(
        call, PROBLEM_UNAVAILABLE, code == ERROR_STALE_KEY ? ACT_CALL_STALE_KEY : NULL);
}

unsigned act_call_no_content(struct act_call *call)
{
    forget_body(call);
    call->status = 204;
    call->content_type = NULL;
    return 204;
}

void act_call_header(struct act_call *call, const char *name, const char *value)
{
    text_add_len(&call->headers, name, strlen(name) + 1);
    text_add_len(&call->headers, value, strlen(value) + 1);
}

void act_call_locate(struct act_call *call, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(call->location, sizeof(call->location), fmt, args);
    va_end(args);
}

unsigned act_call_says_nothing(struct act_call *call)
{
    return act_call_problem(call, PROBLEM_BAD_REQUEST, "the body names nothing to be changed");
}

/* A fault begins with the member's name. */
unsigned act_call_read(
    struct act_call *call, const struct json_field *fields, size_t n_fields, void *target)
{
    char fault[JSON_FAULT_MAX], field[FIELD_MAX];
    size_t len, n_members;
    const char *body = api_request_body(call->request, &len);

    switch (json_read_known(body, len, fields, n_fields, target, &n_members, fault)) {
    case JSON_OK:
        return n_members == 0 && call->route->method == API_PATCH ? act_call_says_nothing(call) : 0;
    case JSON_NOT_JSON:
        return act_call_problem(
            call, json_memory_ran_out() ? PROBLEM_UNAVAILABLE : PROBLEM_BAD_REQUEST, fault);
    case JSON_BAD_FIELD:
        break;
    }
    (void)snprintf(field, sizeof(field), "%.*s", (int)strcspn(fault, " "), fault);
    return act_call_bad_field(call, field, fault);
}

/* `filter` may be NULL: the query has none. */
static unsigned read_page(struct act_call *call, const char *filter, size_t *ret_limit,
    uint8_t ret_cursor[static ACCOUNT_ID_LEN], bool *ret_has_cursor)
{
    const char *known[] = {"limit", "cursor", filter};
    size_t n_known = sizeof(known) / sizeof(known[0]) - (filter == NULL);
    const char *limit = api_request_query(call->request, "limit");
    const char *cursor = api_request_query(call->request, "cursor");
    char detail[DETAIL_MAX];
    char *end = NULL;

    *ret_limit = ACT_PAGE_DEFAULT;
    *ret_has_cursor = cursor != NULL;
    if (api_request_unknown_query(call->request, known, n_known) != NULL) {
        (void)snprintf(detail, sizeof(detail),
            "the query may have limit%s%s and cursor, and nothing else", filter != NULL ? ", " : "",
            filter != NULL ? filter : "");
        return act_call_problem(call, PROBLEM_BAD_REQUEST, detail);
    }
    if (limit != NULL) {
        *ret_limit = strtoul(limit, &end, 10);
        if (limit[0] < '0' || limit[0] > '9' || *end != '\0' || *ret_limit < 1 ||
            *ret_limit > ACT_PAGE_MAX)
            return act_call_bad_field(call, "limit", "limit is not an integer from 1 to 1000");
    }
    if (cursor != NULL && !hex_decode(cursor, strlen(cursor), ret_cursor, ACCOUNT_ID_LEN))
        return act_call_bad_field(
            call, "cursor", "cursor is not one that a list of this service gave");
    return 0;
}

unsigned act_call_page(struct act_call *call, size_t *ret_limit,
    uint8_t ret_cursor[static ACCOUNT_ID_LEN], bool *ret_has_cursor)
{
    return read_page(call, NULL, ret_limit, ret_cursor, ret_has_cursor);
}

unsigned act_call_page_of(struct act_call *call, const char *filter, size_t *ret_limit,
    uint8_t ret_cursor[static ACCOUNT_ID_LEN], bool *ret_has_cursor, const char **ret_filter)
{
    *ret_filter = api_request_query(call->request, filter);
    return read_page(call, filter, ret_limit, ret_cursor, ret_has_cursor);
}

/* A cursor that is a number has as many bytes as any other. */
unsigned act_call_page_number(struct act_call *call, size_t *ret_limit, int64_t *ret_after)
{
    uint8_t cursor[ACCOUNT_ID_LEN] = {0};
    struct bytes_reader r = bytes_reader_over(cursor, sizeof(cursor));
    bool has_cursor;
    unsigned status = act_call_page(call, ret_limit, cursor, &has_cursor);
    uint64_t zeros, number;

    if (status != 0)
        return status;
    zeros = bytes_read_u64_be(&r);
    number = bytes_read_u64_be(&r);
    if (zeros != 0 || number > INT64_MAX)
        return act_call_bad_field(call, "cursor", "cursor is not one that this list gave");
    *ret_after = (int64_t)number;
    return 0;
}

void act_list_end(struct text *out, const uint8_t *next)
{
    text_add(out, "],\"next\":");
    if (next != NULL) {
        text_add(out, "\"");
        text_add_hex(out, next, ACCOUNT_ID_LEN);
        text_add(out, "\"}\n");
    } else {
        text_add(out, "null}\n");
    }
}

void act_list_end_number(struct text *out, int64_t next)
{
    uint8_t cursor[ACCOUNT_ID_LEN] = {0};
    struct bytes_writer w = bytes_writer_over(cursor + 8, sizeof(cursor) - 8);

    bytes_write_u64_be(&w, (uint64_t)next);
    act_list_end(out, next != 0 ? cursor : NULL);
}

int act_call_audit(struct act_call *call, int64_t organization_id, const char *action,
    const char *object, const char *detail)
{
    const struct db_audit_event event = {.organization_id = organization_id,
        .client_id = call->caller != NULL ? call->caller->client_id : NULL,
        .request_id = api_request_id(call->request),
        .action = action,
        .object = object,
        .detail = detail != NULL ? detail : "{}"};

    return db_audit_add(call->worker->db, &event);
}

unsigned act_call_organization(struct act_call *call, size_t index, struct db_organization *ret)
{
    static const char none[] = "there is no such organization, or it is not yours to see";
    const char *text = act_call_param(call, index);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (strlen(text) == (size_t)2 * ACCOUNT_ID_LEN &&
        hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_organization_find(call->worker->db, id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 ||
        ((call->caller->roles & ROLE_ADMIN) == 0 && ret->row_id != call->caller->organization_id))
        return act_call_problem(call, PROBLEM_NOT_FOUND, none);
    return 0;
}
