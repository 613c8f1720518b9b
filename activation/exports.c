/* /v1/exports: devices on their way out. */
#include "activation/call.h"
#include "activation/export_run.h"
#include "activation/jobs.h"
#include "activation/rsa_public.h"
#include "base/error.h"
#include "base/hex.h"
#include <stdio.h>
#include <string.h>

#define FORMAT_MAX 24

static const char not_enabled[] =
    "this service does not export keys: its operator sets hsm.export = true, on a token that was "
    "made with --exportable-keys; the formats without keys need neither";
static const char not_possible[] =
    "the HSM's token was made without --exportable-keys: no root key leaves it. The keys are in "
    "the files that their maker imported; the formats without keys work all the same";

static const char too_many[] =
    "16 exports of this organization have not ended: wait for one, or cancel one";
_Static_assert(DB_EXPORT_OPEN_MAX == 16, "too_many says another number");

struct export_body {
    char format[FORMAT_MAX];
    char public_key[DB_EXPORT_PEM_MAX + 1];
    bool has_public_key;
    char model[DB_EXPORT_MODEL_MAX + 1];
    bool has_model;
    uint8_t import_job[ACCOUNT_ID_LEN];
    bool has_import_job;
};

#define MEMBER(member) offsetof(struct export_body, member)
#define SIZE_OF(member) sizeof(((struct export_body *)0)->member)
static const struct json_field fields[] = {
    {.name = "format",
        .kind = JSON_TEXT,
        .offset = MEMBER(format),
        .size = SIZE_OF(format),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "public_key",
        .kind = JSON_TEXT,
        .offset = MEMBER(public_key),
        .size = SIZE_OF(public_key),
        .present_offset = MEMBER(has_public_key)},
    {.name = "model",
        .kind = JSON_TEXT,
        .offset = MEMBER(model),
        .size = SIZE_OF(model),
        .present_offset = MEMBER(has_model)},
    {.name = "import_job",
        .kind = JSON_HEX,
        .offset = MEMBER(import_job),
        .size = SIZE_OF(import_job),
        .present_offset = MEMBER(has_import_job)},
};

static bool is_line(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        if (*c < 0x20 || *c == 0x7F)
            return false;
    return text[0] != '\0';
}

/* 0, or the status of the answer that was set. */
static unsigned check_key(struct act_call *call, const struct export_body *body)
{
    struct keyd_public_key key;
    enum rsa_public_outcome outcome;
    char detail[RSA_PUBLIC_TEXT_MAX];

    if (!body->has_public_key)
        return act_call_bad_field(call, "public_key",
            "public_key is missing: this format holds root keys, sealed to an RSA key of yours");
    outcome = rsa_public_parse(body->public_key, KEYD_EXPORT_RSA_MAX, &key);
    if (outcome == RSA_PUBLIC_OK)
        return 0;
    rsa_public_explain(outcome, KEYD_EXPORT_RSA_MAX, detail);
    return act_call_bad_field(call, "public_key", detail);
}

static unsigned check_batch(
    struct act_call *call, const struct export_body *body, struct db_export_order *order)
{
    struct db_job job;
    int r = db_job_find(call->worker->db, body->import_job, &job);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || job.organization_id != call->caller->organization_id || job.batch_id == 0)
        return act_call_bad_field(call, "import_job",
            "import_job is none that has imported devices of this organization");
    order->of_batch = job.batch_id;
    return 0;
}

static unsigned read_order(struct act_call *call, struct db_export_order *order)
{
    struct export_body body;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);

    if (status != 0)
        return status;
    if (!db_export_format_parse(body.format, &order->format))
        return act_call_bad_field(
            call, "format", "format is none of cradle-jsonl, tts-csv and thingpark-csv");
    if (order->format == EXPORT_CRADLE_JSONL && (status = check_key(call, &body)) != 0)
        return status;
    if (order->format != EXPORT_CRADLE_JSONL && body.has_public_key)
        return act_call_bad_field(
            call, "public_key", "public_key is for cradle-jsonl: this format holds no keys");
    if (body.has_model && (order->format != EXPORT_THINGPARK_CSV || !is_line(body.model)))
        return act_call_bad_field(call, "model",
            "model is for thingpark-csv: a text of 1 to 100 bytes without control characters");
    if (body.has_import_job && (status = check_batch(call, &body, order)) != 0)
        return status;
    memcpy(order->model, body.model, sizeof(order->model));
    memcpy(order->public_key, body.public_key, sizeof(order->public_key));
    (void)snprintf(
        order->request_id, sizeof(order->request_id), "%s", api_request_id(call->request));
    return 0;
}

/* Before there is a job: whether its keys can leave at all. */
static unsigned check_possible(struct act_call *call, const struct db_export_order *order)
{
    struct export_run run = {.worker = call->worker,
        .export = {.job = {.organization_id = call->caller->organization_id}, .order = *order}};
    int r;

    if (order->format == EXPORT_CRADLE_JSONL && !call->worker->service->settings.hsm_export)
        return act_call_problem(call, PROBLEM_CONFLICT, not_enabled);
    /* Whoever has too many costs the HSM nothing. db_export_add looks again. */
    if ((r = db_export_has_room(call->worker->db, run.export.job.organization_id)) != 0)
        return r < 0 ? act_call_failed(call, r)
                     : act_call_problem(call, PROBLEM_CONFLICT, too_many);
    if (order->format != EXPORT_CRADLE_JSONL)
        return 0;
    if ((r = export_run_begin(&run)) == 0)
        r = export_run_try(&run);
    export_run_done(&run);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? act_call_problem(call, PROBLEM_CONFLICT, not_possible) : 0;
}

static int audit(
    struct act_call *call, const struct db_job *job, const struct db_export_order *order)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[2 * ACCOUNT_ID_LEN + 1];

    text_addf(&detail, "{\"format\":\"%s\"}", db_export_format_text(order->format));
    return act_call_audit(call, job->organization_id, "export.begin",
        hex_encode(job->id, sizeof(job->id), id), detail.data);
}

/* What is not in a file stands in its report. */
static unsigned check_reports(struct act_call *call)
{
    int64_t kept;
    int r = db_report_kept(call->worker->db, call->caller->organization_id, &kept);

    if (r < 0)
        return act_call_failed(call, r);
    return kept < DB_REPORT_ROWS_MAX
               ? 0
               : act_call_problem(call, PROBLEM_CONFLICT, ACT_REPORTS_FULL ": " ACT_REPORTS_ADVICE);
}

static unsigned post_export(struct act_call *call)
{
    struct db_export_order order = {0};
    struct text answer = {0};
    struct db_job job;
    char id[2 * ACCOUNT_ID_LEN + 1];
    unsigned status = read_order(call, &order);
    int r;

    if (status != 0 || (status = check_reports(call)) != 0 ||
        (status = check_possible(call, &order)) != 0)
        return status;
    r = db_export_add(
        call->worker->db, call->caller->organization_id, call->caller->client_id, &order, &job);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, too_many);
    if (r < 0 || (r = audit(call, &job, &order)) < 0)
        return act_call_failed(call, r);
    act_job_write(&job, &answer);
    act_call_locate(call, "/v1/jobs/%s", hex_encode(job.id, sizeof(job.id), id));
    return act_call_answer(call, 202, TYPE_JSON, &answer);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/exports",
        .right = RIGHT_EXPORT,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_export,
        .changes = true},
};

const struct act_area act_area_exports = ACT_AREA(routes);
