#include "activation/jobs.h"

#include "activation/import_report.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <inttypes.h>
#include <string.h>

void act_job_write(const struct db_job *job, struct text *out)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, job->id, sizeof(job->id));
    text_addf(out, "\",\"kind\":\"%s\",\"state\":\"%s\",\"line\":%" PRId64,
        job->dry_run ? "dry_run" : "import", db_job_state_text(job->state), job->line);
    text_addf(out,
        ",\"created\":%" PRId64 ",\"exists\":%" PRId64 ",\"refused\":%" PRId64
        ",\"warned\":%" PRId64,
        job->counts.created, job->counts.exists, job->counts.refused, job->counts.warned);
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
    text_addf(out, ",\"created_at\":\"%s\",\"changed_at\":\"%s\"}\n", job->created, job->changed);
}

static int send_piece(void *context, struct text *piece)
{
    return act_call_piece(context, TYPE_NDJSON, piece);
}

unsigned act_job_report_answer(struct act_call *call, const struct db_job *job)
{
    static const struct text nothing = {0};
    int r = import_report_give(call->worker->db, job, send_piece, call);

    if (r == 0 && !call->in_pieces) /* a report without rows */
        r = act_call_piece(call, TYPE_NDJSON, &nothing);
    if (r < 0 && !call->in_pieces)
        return act_call_failed(call, r);
    call->broken_off = r < 0;
    if (r < 0)
        log_warn("request=%s a report broke off: %s", api_request_id(call->request), error_text());
    return call->status;
}

/* An administrator's or its organization's. 0, or the status of the answer that was set. */
static unsigned find_job(struct act_call *call, struct db_job *ret)
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
    unsigned status = find_job(call, &job);

    if (status != 0)
        return status;
    act_job_write(&job, &body);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_report(struct act_call *call)
{
    struct db_job job;
    unsigned status = find_job(call, &job);

    return status != 0 ? status : act_job_report_answer(call, &job);
}

/* What is done stays done; the rest is not begun. */
static unsigned delete_job(struct act_call *call)
{
    struct db_job job;
    unsigned status = find_job(call, &job);
    int r;

    if (status != 0)
        return status;
    if ((r = db_job_cancel(call->worker->db, &job)) > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "the job has ended already");
    if (r < 0 || (r = act_call_audit(
                      call, job.organization_id, "job.cancel", act_call_param(call, 0), NULL)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/v1/jobs/{job}", .right = RIGHT_JOBS, .work = get_job},
    {.method = API_GET,
        .path = "/v1/jobs/{job}/report",
        .right = RIGHT_JOBS,
        .work = get_report,
        .is_long = true,
        .streams = STREAMS_ANSWER},
    {.method = API_DELETE,
        .path = "/v1/jobs/{job}",
        .right = RIGHT_JOBS,
        .work = delete_job,
        .changes = true},
};

const struct act_area act_area_jobs = ACT_AREA(routes);
