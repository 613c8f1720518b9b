/* POST /v1/batches/{batch}/codes, and /v1/jobs/{job}/codes of a job that gave devices new codes:
 * claim codes, made here, told once.
 *
 * They are made chunk by chunk: a chunk is committed before its lines go out, so a code that
 * somebody has read is always the device's code. Whether anybody has read it we never know; so the
 * same call, found again by its Idempotency-Key, makes its own codes anew and tells them again. */
#include "activation/batches.h"
#include "activation/code_hash.h"
#include "activation/jobs.h"
#include "activation/move_run.h"
#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "device/code.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_DEVICES DB_BATCH_ROWS_MAX
#define LINE_MAX 320 /* bytes of a line of the answer; serials may be escaped */
#define DETAIL_MAX 100
#define ROUTE_TEXT_MAX 60

/* What one chunk needs. Of secret_realloc: it holds codes. */
struct code_chunk {
    struct db_code_device devices[CHUNK_DEVICES];
    size_t n_devices;
    const struct db_code_device *due[CHUNK_DEVICES]; /* of these; so the next three */
    struct keyd_claim_code clear[CHUNK_DEVICES];
    struct db_code codes[CHUNK_DEVICES];
    bool stored[CHUNK_DEVICES];
    size_t n_due;
    uint8_t random[KEYD_BATCH_MAX][DEVICE_CODE_RANDOM_LEN];
};

struct code_run {
    struct act_call *call;
    uint8_t id[ACCOUNT_ID_LEN]; /* of the batch or job */
    int64_t organization_id;
    struct db_code_call wanted;
    bool begun; /* it is ours */
    struct code_chunk *chunk;
    struct text lines;
    int64_t line; /* the last one that was looked at */
    uint64_t n_made;
};

static void run_done(struct code_run *run)
{
    if (run->begun)
        db_code_end(run->call->worker->db, &run->wanted);
    secret_free(run->chunk);
    secret_wipe(run->lines.data, run->lines.capacity);
    text_done(&run->lines);
}

/* --- one chunk ------------------------------------------------------------------------------- */

static int draw(struct code_run *run)
{
    struct code_chunk *c = run->chunk;
    int r = 0;

    c->n_due = 0;
    for (size_t i = 0; i < c->n_devices; i++)
        if (c->devices[i].due)
            c->due[c->n_due++] = &c->devices[i];
    for (size_t at = 0; r == 0 && at < c->n_due; at += KEYD_BATCH_MAX) {
        size_t n = c->n_due - at < KEYD_BATCH_MAX ? c->n_due - at : KEYD_BATCH_MAX;

        r = keyd_random(run->call->worker->keyd, c->random[0], sizeof(c->random[0]), n,
            clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
        for (size_t i = 0; r == 0 && i < n; i++) {
            struct keyd_claim_code *clear = &c->clear[at + i];
            char text[DEVICE_CODE_MADE_MAX + 1];

            device_code_make(c->random[i], run->call->caller->claim_code_length, text);
            clear->dev_eui = c->due[at + i]->dev_eui;
            clear->generation = c->due[at + i]->generation + 1;
            clear->code_len = (uint8_t)strlen(text);
            memcpy(clear->code, text, clear->code_len);
            secret_wipe(text, sizeof(text));
        }
    }
    return r;
}

static int commit(struct code_run *run)
{
    struct db *db = run->call->worker->db;
    struct code_chunk *c = run->chunk;
    int r = db_begin(db);

    if (r == 0)
        r = db_code_make(db, &run->wanted, c->codes, c->n_due, c->stored);
    if (r < 0) {
        db_rollback(db);
        return r;
    }
    /* Where the result is unknown the call ends: repeated, it makes these codes anew. */
    return db_commit(db);
}

static int tell(struct code_run *run)
{
    struct code_chunk *c = run->chunk;
    struct text *out = &run->lines;
    char dev_eui[EUI64_TEXT_LEN + 1], join_eui[EUI64_TEXT_LEN + 1];
    uint64_t n = 0;

    text_clear(out);
    for (size_t i = 0; i < c->n_due; i++) {
        if (!c->stored[i])
            continue;
        n++;
        text_addf(out, "{\"line\":%" PRId64 ",\"dev_eui\":\"%s\"", c->due[i]->line,
            device_id_format(&c->due[i]->dev_eui, dev_eui));
        if (c->due[i]->has_join_eui)
            text_addf(out, ",\"join_eui\":\"%s\"", eui64_format(&c->due[i]->join_eui, join_eui));
        else
            text_add(out, ",\"join_eui\":null");
        text_add(out, ",\"serial\":");
        if (c->due[i]->serial[0] != '\0')
            text_add_json(out, c->due[i]->serial);
        else
            text_add(out, "null");
        text_add(out, ",\"code\":\"");
        text_add_len(out, c->clear[i].code, c->clear[i].code_len);
        text_addf(out, "\",\"generation\":%" PRIu32 "}\n", c->clear[i].generation);
    }
    run->n_made += n;
    metric_add(&run->call->worker->service->metrics.codes[COUNT_CODE_MADE], (int64_t)n);
    return n > 0 ? act_call_piece(run->call, TYPE_NDJSON, out) : 0;
}

static int make_chunk(struct code_run *run)
{
    struct code_chunk *c = run->chunk;
    int r;

    if ((r = draw(run)) < 0 || c->n_due == 0 ||
        (r = act_code_hash(run->call->worker, c->clear, c->n_due, c->codes)) < 0 ||
        (r = commit(run)) < 0)
        return r;
    return tell(run);
}

/* --- the call -------------------------------------------------------------------------------- */

static int make_all(struct code_run *run)
{
    struct act_worker *worker = run->call->worker;
    struct code_chunk *c;
    int r = 0;

    if ((c = run->chunk = secret_realloc(NULL, sizeof(*c))) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a chunk of codes");
    memset(c, 0, sizeof(*c));
    text_reserve(&run->lines, (size_t)CHUNK_DEVICES * LINE_MAX);
    do {
        if (act_workers_stopping(worker->service->workers))
            return error_set(ERROR_DEADLINE, "the service is stopping");
        r = db_code_walk(
            worker->db, &run->wanted, run->line, c->devices, CHUNK_DEVICES, &c->n_devices);
        if (r < 0)
            return r;
        if (c->n_devices > 0)
            run->line = c->devices[c->n_devices - 1].line;
        r = make_chunk(run);
    } while (r == 0 && c->n_devices == CHUNK_DEVICES);
    return r;
}

static int audit(struct code_run *run, const char *action, const char *detail)
{
    char id[2 * ACCOUNT_ID_LEN + 1];

    return act_call_audit(
        run->call, run->organization_id, action, hex_encode(run->id, sizeof(run->id), id), detail);
}

/* Takes the key and says who is about to make codes. 0, or the status of the answer it set. */
static unsigned begin(struct code_run *run, const char *key)
{
    CLEANUP(db_idempotency_answer_done) struct db_idempotency_answer before = {0};
    struct act_call *call = run->call;
    char route[ROUTE_TEXT_MAX];
    struct db_idempotency mine = {.client_id = call->caller->client_id, .route = route, .key = key};
    struct db *db = call->worker->db;
    CLEANUP(text_done) struct text text = {0};
    int r;

    (void)snprintf(route, sizeof(route), "POST %s", call->route->path);
    /* The id and not the path, which may have it in capitals too. */
    text_add_hex(&text, run->id, sizeof(run->id));
    text_addf(&text, "|%d", run->wanted.renew);
    digest_sha256(text.data != NULL ? text.data : "", text.len, mine.fingerprint);
    if ((r = db_begin(db)) == 0 && (r = db_idempotency_take(db, &mine, &before)) > 0 &&
        memcmp(before.fingerprint, mine.fingerprint, sizeof(mine.fingerprint)) != 0) {
        db_rollback(db);
        return act_call_problem(
            call, PROBLEM_UNPROCESSABLE, "this Idempotency-Key was used for another call");
    }
    if (r >= 0)
        r = audit(run, "codes.begin", run->wanted.renew ? "{\"renew\":true}" : "{\"renew\":false}");
    if (r < 0) {
        db_rollback(db);
        return act_call_failed(call, r);
    }
    r = db_commit(db);
    return r < 0 ? act_call_failed(call, r) : 0;
}

/* A call that is killed has none: the codes themselves then say how many it made. */
static void audit_end(struct code_run *run, bool whole)
{
    struct db *db = run->call->worker->db;
    char detail[DETAIL_MAX];
    int r;

    (void)snprintf(detail, sizeof(detail), "{\"codes\":%" PRIu64 ",\"whole\":%s}", run->n_made,
        whole ? "true" : "false");
    if ((r = db_begin(db)) == 0 && (r = audit(run, "codes.end", detail)) == 0)
        r = db_commit(db);
    else
        db_rollback(db);
    if (r < 0)
        log_error("request=%s the end of a call was not recorded: %s",
            api_request_id(run->call->request), error_text());
}

static unsigned end(struct code_run *run, int r)
{
    static const struct text nothing = {0};
    struct act_call *call = run->call;

    if (r == 0 && !call->in_pieces)
        r = act_call_piece(call, TYPE_NDJSON, &nothing);
    if (r < 0)
        log_warn("request=%s codes broke off line=%" PRId64 ": %s: %s",
            api_request_id(call->request), run->line, error_name(r), error_text());
    log_info("request=%s organization=%" PRId64 " codes made=%" PRIu64,
        api_request_id(call->request), run->organization_id, run->n_made);
    audit_end(run, r == 0);
    if (r < 0 && !call->in_pieces)
        return act_call_problem(call, PROBLEM_UNAVAILABLE,
            "not every code was made; the same call with the same Idempotency-Key makes them all");
    call->broken_off = r < 0;
    return call->status;
}

static bool is_asked_to_renew(const struct act_call *call)
{
    const char *renew = api_request_query(call->request, "renew");

    return renew != NULL && strcmp(renew, "true") == 0;
}

/* 0, or the status of the answer it set. */
static unsigned read_query(struct act_call *call, bool *ret_renew)
{
    static const char *const known[] = {"renew"};
    const char *renew = api_request_query(call->request, "renew");

    if (api_request_unknown_query(call->request, known, sizeof(known) / sizeof(known[0])) != NULL)
        return act_call_problem(
            call, PROBLEM_BAD_REQUEST, "the query may have renew, and nothing else");
    if (renew != NULL && strcmp(renew, "true") != 0 && strcmp(renew, "false") != 0)
        return act_call_bad_field(call, "renew", "renew must be true or false");
    *ret_renew = is_asked_to_renew(call);
    return 0;
}

/* Of what `run` says. */
static unsigned make_codes(struct code_run *run)
{
    struct act_call *call = run->call;
    const char *key;
    unsigned status = read_query(call, &run->wanted.renew);
    int r;

    if (status != 0 || (status = act_call_key(call, &key)) != 0)
        return status;
    if (key == NULL)
        return act_call_bad_field(call, "Idempotency-Key",
            "Idempotency-Key is missing: after a lost answer only the call with the same key makes "
            "the same codes anew");
    act_call_name(call, key, run->wanted.made_by);
    if ((r = db_code_begin(call->worker->db, &run->wanted)) < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "another call makes codes of these devices just now");
    run->begun = true;
    if ((status = begin(run, key)) != 0)
        return status;
    call->shown_once = true;
    return end(run, make_all(run));
}

static bool files_hold_codes(const struct db_batch *batch)
{
    return batch->is_order && batch->order.files_until[0] != '\0' &&
           batch->order.files_deleted_at[0] == '\0';
}

static unsigned post_codes(struct act_call *call)
{
    CLEANUP(run_done) struct code_run run = {.call = call};
    struct db_batch batch;
    unsigned status = act_batch_find(call, 0, &batch);

    if (status != 0)
        return status;
    if (files_hold_codes(&batch) && is_asked_to_renew(call))
        return act_call_problem(call, PROBLEM_CONFLICT,
            "the files of this order hold its codes, for labels that nobody could claim by then: "
            "delete them first (DELETE /v1/batches/{batch}/files)");
    memcpy(run.id, batch.id, sizeof(run.id));
    run.organization_id = batch.organization_id;
    run.wanted.batch_id = batch.row_id;
    return make_codes(&run);
}

/* An administrator may see how far others are, and no more. */
static unsigned post_job_codes(struct act_call *call)
{
    CLEANUP(run_done) struct code_run run = {.call = call};
    struct db_job job;
    unsigned status = act_job_find(call, &job);

    if (status != 0)
        return status;
    if (job.kind != JOB_MOVE || !device_move_renews_code(job.move) ||
        job.organization_id != call->caller->organization_id)
        return act_call_problem(call, PROBLEM_NOT_FOUND,
            "there is no such job that gave devices new codes, or it is not yours");
    if (job.state == JOB_WAITING || job.state == JOB_RUNNING)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "the job has not ended yet: its codes are told behind its end");
    if (job.report_deleted)
        return act_job_answer_deleted(call);
    memcpy(run.id, job.id, sizeof(run.id));
    run.organization_id = job.organization_id;
    run.wanted.job_id = job.row_id;
    run.wanted.organization_id = job.organization_id;
    move_run_name(job.id, run.wanted.untold_by);
    return make_codes(&run);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/batches/{batch}/codes",
        .right = RIGHT_CODES,
        .work = post_codes,
        .is_long = true,
        .streams = STREAMS_ANSWER},
    {.method = API_POST,
        .path = "/v1/jobs/{job}/codes",
        .right = RIGHT_DEVICES_CHANGE,
        .work = post_job_codes,
        .is_long = true,
        .streams = STREAMS_ANSWER},
};

const struct act_area act_area_codes = ACT_AREA(routes);
