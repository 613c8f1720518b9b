#include "activation/jobs.h"

#include "activation/export_line.h"
#include "activation/import_report.h"
#include "activation/job_events.h"
#include "activation/moves.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DETAIL_MAX 160

void act_job_write(const struct db_job *job, struct text *out)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, job->id, sizeof(job->id));
    text_addf(out, "\",\"kind\":\"%s\",\"state\":\"%s\",\"line\":%" PRId64,
        db_job_kind_text(job->kind), db_job_state_text(job->state), job->line);
    text_addf(out,
        ",\"created\":%" PRId64 ",\"exists\":%" PRId64 ",\"refused\":%" PRId64
        ",\"warned\":%" PRId64 ",\"exported\":%" PRId64 ",\"moved\":%" PRId64,
        job->counts.created, job->counts.exists, job->counts.refused, job->counts.warned,
        job->counts.exported, job->counts.moved);
    if (job->kind == JOB_MOVE)
        text_addf(out, ",\"move\":\"%s\"", device_move_text(job->move));
    else
        text_add(out, ",\"move\":null");
    if (job->has_n_rows)
        text_addf(out, ",\"rows\":%" PRId64, job->n_rows);
    else
        text_add(out, ",\"rows\":null");
    if (job->batch_id != 0) {
        text_add(out, ",\"batch\":\"");
        text_add_hex(out, job->batch, sizeof(job->batch));
        text_add(out, "\"");
    } else {
        text_add(out, ",\"batch\":null");
    }
    text_add(out, ",\"fault\":");
    if (job->fault[0] != '\0')
        text_add_json(out, job->fault);
    else
        text_add(out, "null");
    text_addf(out, ",\"created_at\":\"%s\",\"changed_at\":\"%s\",\"result_until\":", job->created,
        job->changed);
    if (job->result_until[0] != '\0')
        text_add_json(out, job->result_until);
    else
        text_add(out, "null");
    text_add(out, "}\n");
}

static int send_piece(void *context, struct text *piece)
{
    return act_call_piece(context, TYPE_NDJSON, piece);
}

unsigned act_job_answer_deleted(struct act_call *call)
{
    char detail[DETAIL_MAX];

    (void)snprintf(detail, sizeof(detail),
        "the report was deleted: it is kept for %d days, that of a dry run for %d", DB_REPORT_DAYS,
        DB_REPORT_TRY_DAYS);
    return act_call_problem(call, PROBLEM_GONE, detail);
}

unsigned act_job_report_answer(struct act_call *call, const struct db_job *job)
{
    static const struct text nothing = {0};
    int r;

    if (job->report_deleted)
        return act_job_answer_deleted(call);
    r = import_report_give(call->worker->db, job, send_piece, call);
    if (r == 0 && !call->in_pieces) /* a report without rows */
        r = act_call_piece(call, TYPE_NDJSON, &nothing);
    if (r < 0 && !call->in_pieces)
        return act_call_failed(call, r);
    call->broken_off = r < 0;
    if (r < 0)
        log_warn("request=%s a report broke off: %s", api_request_id(call->request), error_text());
    return call->status;
}

unsigned act_job_find(struct act_call *call, struct db_job *ret)
{
    const char *text = act_call_param(call, 0);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (strlen(text) == (size_t)2 * ACCOUNT_ID_LEN &&
        hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_job_find(call->worker->db, id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || ((call->caller->roles & ROLE_ADMIN) == 0 &&
                     ret->organization_id != call->caller->organization_id))
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "there is no such job, or it is not yours to see");
    return 0;
}

static unsigned get_job(struct act_call *call)
{
    struct db_job job;
    struct text body = {0};
    unsigned status = act_job_find(call, &job);

    if (status != 0)
        return status;
    act_job_write(&job, &body);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_report(struct act_call *call)
{
    struct db_job job;
    unsigned status = act_job_find(call, &job);

    return status != 0 ? status : act_job_report_answer(call, &job);
}

/* --- the file of an export ------------------------------------------------------------------- */

/* Piece by piece. Outcome 1: it was deleted meanwhile, and what was sent is not the whole. */
static int send_result(struct act_call *call, const struct db_job *job, const char *content_type)
{
    CLEANUP(cleanup_free) uint8_t *bytes = malloc(DB_EXPORT_PART_MAX);
    struct text piece = {0};
    struct db_job now;
    int64_t n = 0;
    int r = bytes != NULL ? act_call_piece(call, content_type, &piece)
                          : error_set(ERROR_SYSTEM, "out of memory for a piece of a file");

    while (
        r == 0 && (r = db_export_read(call->worker->db, job->row_id, &n, bytes, &piece.len)) == 0) {
        piece.data = (char *)bytes;
        r = act_call_piece(call, content_type, &piece);
    }
    if (r == 1 && (r = db_job_find(call->worker->db, job->id, &now)) == 0)
        r = now.result_until[0] == '\0';
    return r;
}

static unsigned get_result(struct act_call *call)
{
    enum db_export_format format;
    struct db_job job;
    unsigned status = act_job_find(call, &job);
    int r;

    if (status != 0)
        return status;
    /* An administrator may see how far others are, and no more. */
    if (job.kind != JOB_EXPORT || job.organization_id != call->caller->organization_id)
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "there is no such export, or it is not yours to have");
    if (job.state == JOB_WAITING || job.state == JOB_RUNNING)
        return act_call_problem(call, PROBLEM_CONFLICT, "the file is not complete yet");
    if (job.result_until[0] == '\0')
        return act_call_problem(call, PROBLEM_NOT_FOUND, "the file was deleted: export again");
    if ((r = db_export_format(call->worker->db, job.row_id, &format)) == 0) {
        act_call_header(call, "Cache-Control", "no-store");
        r = send_result(call, &job, export_line_content_type(format));
    }
    if (r < 0 && !call->in_pieces)
        return act_call_failed(call, r);
    call->broken_off = r != 0;
    return call->status;
}

/* --- events ---------------------------------------------------------------------------------- */

static unsigned get_events(struct act_call *call)
{
    CLEANUP(text_done) struct text first = {0};
    struct db_job job;
    unsigned status = act_job_find(call, &job);
    bool ended;

    if (status != 0)
        return status;
    ended = act_job_event_write(&job, &first);
    act_call_header(call, "Cache-Control", "no-store");
    if (act_call_piece(call, "text/event-stream", &first) < 0)
        call->broken_off = true;
    else if (!ended)
        call->handed_on =
            act_job_events_watch(call->worker->service->events, call->stream, &job) == 0;
    return call->status;
}

/* --- all of them ----------------------------------------------------------------------------- */

static unsigned get_jobs(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_job *list = NULL;
    bool is_admin = (call->caller->roles & ROLE_ADMIN) != 0, has_cursor;
    uint8_t cursor[ACCOUNT_ID_LEN];
    size_t limit, n;
    unsigned status = act_call_page(call, &limit, cursor, &has_cursor);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_job_list(call->worker->db, is_admin ? 0 : call->caller->organization_id,
        has_cursor ? cursor : NULL, list, limit + 1, &n);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, "{\"items\":[");
    for (size_t i = 0; i < n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        act_job_write(&list[i], &body);
    }
    text_add(&body, "],\"next\":");
    if (n > limit) {
        text_add(&body, "\"");
        text_add_hex(&body, list[limit - 1].id, sizeof(list[0].id));
        text_add(&body, "\"}\n");
    } else {
        text_add(&body, "null}\n");
    }
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static enum act_right right_to_begin(const struct db_job *job)
{
    switch (job->kind) {
    case JOB_EXPORT:
        return RIGHT_EXPORT;
    case JOB_MOVE:
        return act_move_right(job->move);
    case JOB_ORDER:
        return RIGHT_ORDER;
    default:
        return RIGHT_IMPORT;
    }
}

/* What is done stays done; the rest is not begun. Of an export that is done, the file goes. */
static unsigned delete_job(struct act_call *call)
{
    const char *action = "job.cancel";
    struct db_job job;
    unsigned status = act_job_find(call, &job);
    int r;

    if (status != 0)
        return status;
    if (!act_right_allows(right_to_begin(&job), call->caller->roles))
        return act_call_problem(
            call, PROBLEM_FORBIDDEN, "this client may not begin such a job, nor cancel one");
    r = db_job_cancel(call->worker->db, &job);
    if (r > 0 && job.kind == JOB_EXPORT) {
        action = "export.delete";
        r = db_export_discard(call->worker->db, job.row_id);
    }
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "the job has ended already");
    if (r < 0 ||
        (r = act_call_audit(call, job.organization_id, action, act_call_param(call, 0), NULL)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/v1/jobs", .right = RIGHT_JOBS, .work = get_jobs},
    {.method = API_GET, .path = "/v1/jobs/{job}", .right = RIGHT_JOBS, .work = get_job},
    {.method = API_GET,
        .path = "/v1/jobs/{job}/report",
        .right = RIGHT_JOBS,
        .work = get_report,
        .is_long = true,
        .streams = STREAMS_ANSWER},
    {.method = API_GET,
        .path = "/v1/jobs/{job}/result",
        .right = RIGHT_EXPORT,
        .work = get_result,
        .is_long = true,
        .streams = STREAMS_ANSWER},
    {.method = API_GET,
        .path = "/v1/jobs/{job}/events",
        .right = RIGHT_JOBS,
        .work = get_events,
        .streams = STREAMS_EVENTS},
    {.method = API_DELETE,
        .path = "/v1/jobs/{job}",
        .right = RIGHT_JOBS_CANCEL,
        .work = delete_job,
        .changes = true},
};

const struct act_area act_area_jobs = ACT_AREA(routes);
