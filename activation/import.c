/* POST /v1/batches/import: a file of devices with their keys, answered row by row. It is read as it
 * arrives. Rows are done in chunks, each with its answer in one transaction; a file that broke off
 * goes on behind the last of them with the same Idempotency-Key. */
#include "activation/call.h"
#include "activation/import_job.h"
#include "activation/import_run.h"
#include "activation/import_text.h"
#include "activation/jobs.h"
#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_MAX 400
#define MS_OF_S INT64_C(1000)
#define PIECE_SIZE 16384  /* bytes of a file at once */
#define PATIENCE_MS 10000 /* for the next of them; shorter than a job's lease */

#define TOOK_LONGER "the file took longer than one call may (import.total_s)"
#define SEND_AGAIN "the whole file sent again goes on behind them with the same Idempotency-Key"

/* What the call says beside the file. */
struct import_call {
    enum import_format format;
    struct import_defaults defaults;
    bool dry_run;
};

static const char *const known_queries[] = {
    "format", "mac_version", "home_net_id", "as_id", "state", "dry_run"};
#define N_KNOWN_QUERIES (sizeof(known_queries) / sizeof(known_queries[0]))

static const char *read_home(const struct api_request *request, struct import_defaults *defaults)
{
    const char *home = api_request_query(request, "home_net_id");
    const char *as_id = api_request_query(request, "as_id");

    if ((home == NULL) != (as_id == NULL))
        return "home_net_id and as_id go together: give both or neither";
    if (home == NULL)
        return NULL;
    if (!net_id_parse(home, strlen(home), &defaults->home_net_id))
        return "home_net_id must be 6 hexadecimal digits";
    defaults->has_home_net_id = true;
    if (!import_id_valid(as_id, strlen(as_id)))
        return "as_id must be 1 to 64 printable characters without blank, quote and backslash";
    (void)snprintf(defaults->as_id, sizeof(defaults->as_id), "%s", as_id);
    return NULL;
}

/* NULL when the query is complete, else what is wrong with it. */
static const char *read_query(const struct api_request *request, struct import_call *ret)
{
    const char *format = api_request_query(request, "format");
    const char *version = api_request_query(request, "mac_version");
    const char *state = api_request_query(request, "state");
    const char *dry_run = api_request_query(request, "dry_run");
    struct import_defaults *defaults = &ret->defaults;

    *ret = (struct import_call){.defaults = {.state = CREDENTIAL_ACTIVABLE}};
    if (api_request_unknown_query(request, known_queries, N_KNOWN_QUERIES) != NULL)
        return "the query may have format, mac_version, home_net_id, as_id, state and dry_run, and "
               "nothing else";
    if (format == NULL || !import_reader_format_parse(format, &ret->format))
        return "format must be thingpark-csv, tts-csv, csv, jsonl or sigfox-csv";
    if (version != NULL && !lw_mac_version_parse(version, &defaults->mac_version))
        return "mac_version must be 1.0.0, 1.0.1, 1.0.2, 1.0.3, 1.0.4 or 1.1";
    defaults->has_mac_version = version != NULL;
    if (state != NULL && strcmp(state, "activable") != 0 && strcmp(state, "personalized") != 0)
        return "state must be activable or personalized";
    if (state != NULL && strcmp(state, "personalized") == 0)
        defaults->state = CREDENTIAL_PERSONALIZED;
    if (dry_run != NULL && strcmp(dry_run, "true") != 0 && strcmp(dry_run, "false") != 0)
        return "dry_run must be true or false";
    ret->dry_run = dry_run != NULL && strcmp(dry_run, "true") == 0;
    if (ret->format == IMPORT_SIGFOX_CSV &&
        (version != NULL || api_request_query(request, "home_net_id") != NULL ||
            api_request_query(request, "as_id") != NULL))
        return "a file of sigfox-csv goes without mac_version, home_net_id and as_id: its devices "
               "join nowhere";
    return read_home(request, defaults);
}

/* --- the job --------------------------------------------------------------------------------- */

/* Everything of the call but its file. */
static void fingerprint(const struct import_call *q, uint8_t out[static 32])
{
    CLEANUP(text_done) struct text text = {0};

    text_addf(&text, "%s|%d|%d|%d|%d|", import_reader_format_text(q->format), q->dry_run,
        q->defaults.has_mac_version ? (int)q->defaults.mac_version : -1, q->defaults.state,
        q->defaults.has_home_net_id);
    text_add_hex(&text, q->defaults.home_net_id.bytes, sizeof(q->defaults.home_net_id.bytes));
    text_addf(&text, "|%s", q->defaults.as_id);
    digest_sha256(text.data != NULL ? text.data : "", text.len, out);
}

static int take_job(
    struct act_call *call, const struct import_call *q, struct import_run *run, int64_t *ret_busy_s)
{
    struct db_job_call wanted = {.organization_id = call->caller->organization_id,
        .client_id = call->caller->client_id,
        .dry_run = q->dry_run,
        .key = api_request_header(call->request, "Idempotency-Key"),
        .format = import_reader_format_text(q->format)};

    fingerprint(q, wanted.fingerprint);
    return import_job_take(call, &wanted, &run->job, &run->kept_of_others, ret_busy_s);
}

/* --- the file -------------------------------------------------------------------------------- */

/* How reading ended. */
enum ending {
    ENDED_WELL,
    ENDED_EARLY,   /* no more of it came: the client is gone, or the service is stopping */
    ENDED_BROKEN,  /* the file is at fault, and the reader says how */
    ENDED_DIFFERS, /* it is not the file that the job began with */
    ENDED_TAKEN,   /* cancelled, or not ours any more */
    /* A limit's word, and not the file's. */
    ENDED_REFUSED,
    ENDED_REVOKED,
    ENDED_REPORTS,
    ENDED_IDLE,
    ENDED_LONG,
};

/* What a limit makes of the job and of the call. */
struct stop {
    enum db_job_state state;
    enum problem problem;
    const char *fault;  /* of the job */
    const char *advice; /* the end of what is answered */
};

static const struct stop stops[] = {
    [ENDED_REFUSED] = {JOB_FAILED, PROBLEM_BAD_REQUEST,
        ACT_DECIMAL(IMPORT_REFUSED_MAX) " rows were refused: no more of the file are looked at",
        "mend what they say, try it with dry_run=true, and send the file with another "
        "Idempotency-Key"},
    [ENDED_REVOKED] = {JOB_INTERRUPTED, PROBLEM_UNAUTHENTICATED, "the client was revoked",
        "another client of the organization can send the file"},
    [ENDED_IDLE] = {JOB_INTERRUPTED, PROBLEM_BAD_REQUEST,
        "the file brought no row for as long as the service waits for one (import.idle_s)",
        SEND_AGAIN},
    [ENDED_LONG] = {JOB_INTERRUPTED, PROBLEM_BAD_REQUEST, TOOK_LONGER, SEND_AGAIN},
    [ENDED_REPORTS] = {JOB_INTERRUPTED, PROBLEM_CONFLICT, ACT_REPORTS_FULL, ACT_REPORTS_ADVICE},
};

struct piece {
    char bytes[PIECE_SIZE]; /* with keys in it */
};

static void piece_wipe(struct piece *piece)
{
    secret_wipe(piece, sizeof(*piece));
}

/* A file on its way, and what became of it. */
struct file {
    struct import_reader *reader;
    int64_t renewed_ms; /* monotonic: when the lease was, at the latest */
    enum ending ending;
    uint8_t digest[DIGEST_LEN]; /* of the whole, once it has ended well */
    char fault[IMPORT_FAULT_MAX];
};

static enum ending ending_of_reader(int outcome)
{
    switch (outcome) {
    case IMPORT_OK:
    case IMPORT_FULL:
        return ENDED_WELL;
    case IMPORT_DIFFERS:
        return ENDED_DIFFERS;
    default:
        return ENDED_BROKEN;
    }
}

static enum ending ending_of_run(int stop)
{
    static const enum ending endings[] = {
        [IMPORT_GOES_ON] = ENDED_WELL,
        [IMPORT_LOST] = ENDED_TAKEN,
        [IMPORT_MANY_REFUSED] = ENDED_REFUSED,
        [IMPORT_REVOKED] = ENDED_REVOKED,
        [IMPORT_REPORTS_FULL] = ENDED_REPORTS,
    };

    return endings[stop];
}

static int feed(struct import_run *run, struct file *file, const char *bytes, size_t len)
{
    size_t consumed = 0;
    int r;

    do {
        r = import_reader_feed(file->reader, bytes, len, &run->chunk, &consumed);
        if (r < 0)
            return r;
        bytes += consumed;
        len -= consumed;
        file->ending = ending_of_reader(r);
        if (r == IMPORT_FULL || r == IMPORT_BROKEN) {
            int done = import_run_chunk(run);

            if (done < 0)
                return done;
            if (done > 0)
                file->ending = ending_of_run(done);
        }
    } while (r == IMPORT_FULL && file->ending == ENDED_WELL && len > 0);
    return 0;
}

static int finish(struct import_run *run, struct file *file)
{
    int r, done = 0;

    do {
        if ((r = import_reader_end(file->reader, &run->chunk)) < 0)
            return r;
        if ((done = import_run_chunk(run)) < 0)
            return done;
    } while (r == IMPORT_FULL && done == 0);
    file->ending = done > 0 ? ending_of_run(done) : ending_of_reader(r);
    return import_reader_digest(file->reader, file->digest);
}

/* While lines are read again that are done, or a client takes its time, nothing else does. What is
 * being stored is waited for: the job and the connection are that thread's until then. */
static int renew(struct import_run *run, struct file *file)
{
    int64_t now_ms = clock_monotonic_ms();
    int r;

    if (now_ms - file->renewed_ms < DB_JOB_RENEW_S * 1000)
        return 0;
    if ((r = import_run_settle(run)) > 0)
        file->ending = ending_of_run(r);
    else if (r == 0 && ((r = db_job_renew(run->worker->db, &run->job)) > 0 ||
                           (r == 0 && run->job.cancel_wanted)))
        file->ending = ENDED_TAKEN;
    file->renewed_ms = now_ms;
    return r < 0 ? r : 0;
}

/* How long a file may hold its worker: rows must come, also those that a file that is sent again
 * has had done before, and at some time it must end. */
struct patience {
    const struct act_settings *settings;
    int64_t begun_ms, moved_ms;
    uint64_t n_rows;
};

static enum ending lose_patience(struct patience *p, uint64_t n_rows)
{
    int64_t now = clock_monotonic_ms();

    if (n_rows != p->n_rows)
        p->moved_ms = now;
    p->n_rows = n_rows;
    if (now - p->begun_ms >= MS_OF_S * p->settings->import_total_s)
        return ENDED_LONG;
    return now - p->moved_ms >= MS_OF_S * p->settings->import_idle_s ? ENDED_IDLE : ENDED_WELL;
}

/* Rows that are whole are done before a client is waited for, so that their progress is seen; and
 * before it is sent away. */
static int feed_all(
    struct act_call *call, struct import_run *run, struct file *file, struct piece *piece)
{
    int64_t now = clock_monotonic_ms();
    struct patience patience = {&call->worker->service->settings, now, now, 0};
    enum ending lost;
    int n, r = 0;

    do {
        n = api_stream_read(call->stream, piece->bytes, sizeof(piece->bytes), PATIENCE_MS);
        if (n > 0)
            r = feed(run, file, piece->bytes, (size_t)n);
        lost = n != 0 ? lose_patience(&patience, import_reader_rows(file->reader)) : ENDED_WELL;
        if (r == 0 && file->ending == ENDED_WELL && (n < 0 || lost != ENDED_WELL))
            file->ending = (r = import_run_chunk(run)) > 0 ? ending_of_run(r) : lost;
        if (r == 0 && file->ending == ENDED_WELL)
            r = renew(run, file);
    } while (r == 0 && file->ending == ENDED_WELL && (n > 0 || n == ERROR_DEADLINE));
    if (r == 0 && file->ending == ENDED_WELL && n < 0)
        file->ending = ENDED_EARLY;
    return r < 0 ? r : 0;
}

static int read_file(
    struct act_call *call, const struct import_call *q, struct import_run *run, struct file *file)
{
    CLEANUP(import_reader_freep) struct import_reader *reader = NULL;
    CLEANUP(piece_wipe) struct piece piece;
    int r, stored;

    *file = (struct file){.renewed_ms = clock_monotonic_ms()};
    if ((r = import_reader_new(q->format, &q->defaults, &reader)) < 0)
        return r;
    file->reader = reader;
    import_reader_resume_after(reader, (uint64_t)run->job.line, run->job.digest);
    if ((r = feed_all(call, run, file, &piece)) == 0 && file->ending == ENDED_WELL)
        r = finish(run, file);
    if ((stored = import_run_settle(run)) < 0)
        r = stored;
    else if (stored > 0)
        file->ending = ending_of_run(stored);
    file->reader = NULL;
    (void)snprintf(file->fault, sizeof(file->fault), "%s",
        import_reader_fault(reader)[0] != '\0' ? import_reader_fault(reader)
                                               : "the file has no row of a device");
    return r;
}

/* --- the answer ------------------------------------------------------------------------------ */

static void count(
    struct act_metrics *metrics, const struct db_job *before, const struct db_job *now)
{
    metric_add(&metrics->imports[COUNT_CREATED], now->counts.created - before->counts.created);
    metric_add(&metrics->imports[COUNT_EXISTS], now->counts.exists - before->counts.exists);
    metric_add(&metrics->imports[COUNT_REFUSED], now->counts.refused - before->counts.refused);
}

static void locate(struct act_call *call, const struct db_job *job)
{
    char id[2 * ACCOUNT_ID_LEN + 1];

    act_call_locate(call, "/v1/jobs/%s", hex_encode(job->id, sizeof(job->id), id));
}

static unsigned answer_cancelled(struct act_call *call, const struct db_job *job)
{
    (void)act_call_problem(
        call, PROBLEM_CONFLICT, "the job was cancelled; what it did before stands");
    locate(call, job);
    return call->status;
}

/* Whoever has the job now, or has ended it, says what becomes of it. */
static unsigned answer_lost(struct act_call *call, const struct import_run *run)
{
    struct db_job now;
    int r = db_job_find(call->worker->db, run->job.id, &now);

    if (r < 0)
        return act_call_failed(call, r);
    if (r == 0 && now.state == JOB_CANCELLED)
        return answer_cancelled(call, &now);
    (void)act_call_problem(call, PROBLEM_CONFLICT,
        "this call has lost its job: another one works on it, or may, since this one was silent "
        "for too long");
    locate(call, &run->job);
    return call->status;
}

/* The service failed: what is committed stands, and the same call goes on behind it. */
static unsigned interrupt(struct act_call *call, struct import_run *run, int code)
{
    char detail[DETAIL_MAX];
    int r;

    log_error("request=%s import failed line=%" PRId64 ": %s: %s", api_request_id(call->request),
        run->job.line, error_name(code), error_text());
    r = import_job_end(call, &run->job, JOB_INTERRUPTED, "the service failed", NULL);
    if (r > 0)
        return answer_lost(call, run);
    if (r < 0)
        log_error("request=%s the job could not be told so, and its lease runs out: %s",
            api_request_id(call->request), error_text());
    (void)snprintf(detail, sizeof(detail),
        "%sthe rows up to line %" PRId64 " are done (%" PRId64
        " devices created). Repeating the call goes on behind them with the same Idempotency-Key; "
        "without one, rows that are here are answered \"exists\"",
        code == ERROR_STALE_KEY ? ACT_CALL_STALE_KEY "; " : "", run->job.line,
        run->job.counts.created);
    (void)act_call_problem(call, PROBLEM_UNAVAILABLE, detail);
    locate(call, &run->job);
    return call->status;
}

/* Ends the job before the call is answered. 0: done; else the status of the answer that was set. */
static unsigned end_job(struct act_call *call, struct import_run *run, enum db_job_state state,
    const char *fault, const uint8_t *digest)
{
    char id[2 * ACCOUNT_ID_LEN + 1];
    int r = import_job_end(call, &run->job, state, fault, digest);

    if (r < 0)
        return interrupt(call, run, r);
    if (r == 0)
        log_info("request=%s job=%s import %s line=%" PRId64 " created=%" PRId64 " exists=%" PRId64
                 " refused=%" PRId64,
            api_request_id(call->request), hex_encode(run->job.id, sizeof(run->job.id), id),
            db_job_state_text(run->job.state), run->job.line, run->job.counts.created,
            run->job.counts.exists, run->job.counts.refused);
    if (r == 0 && run->job.state == JOB_CANCELLED && state != JOB_CANCELLED)
        return answer_cancelled(call, &run->job); /* it was to be, and would not go on */
    return r > 0 ? answer_lost(call, run) : 0;
}

static unsigned answer_broken(struct act_call *call, struct import_run *run, const char *fault)
{
    char detail[DETAIL_MAX + IMPORT_FAULT_MAX];
    unsigned status =
        end_job(call, run, run->job.line > 0 ? JOB_INTERRUPTED : JOB_FAILED, fault, NULL);

    if (status != 0)
        return status;
    if (run->job.line > 0)
        (void)snprintf(detail, sizeof(detail),
            "%s. The rows up to line %" PRId64
            " are done, and their report is at Location; the mended file, with the lines up to "
            "there as they are, goes on behind them with the same Idempotency-Key",
            fault, run->job.line);
    else
        (void)snprintf(detail, sizeof(detail), "%s. Nothing was imported", fault);
    (void)act_call_problem(call, PROBLEM_BAD_REQUEST, detail);
    locate(call, &run->job);
    return call->status;
}

static unsigned answer_early(struct act_call *call, struct import_run *run)
{
    bool stopping = api_stream_stopping(call->stream);
    char detail[DETAIL_MAX];
    unsigned status = end_job(
        call, run, JOB_INTERRUPTED, stopping ? "the service stopped" : "the file broke off", NULL);

    if (status != 0)
        return status;
    (void)snprintf(detail, sizeof(detail),
        "%s. The rows up to line %" PRId64
        " are done, and their report is at Location; " SEND_AGAIN,
        stopping ? "the service is stopping" : "the file broke off", run->job.line);
    (void)act_call_problem(call, stopping ? PROBLEM_UNAVAILABLE : PROBLEM_BAD_REQUEST, detail);
    locate(call, &run->job);
    return call->status;
}

/* `job` has done what it had done before this call. */
static unsigned answer_differs(struct act_call *call, const struct db_job *job, bool whole)
{
    char detail[DETAIL_MAX];

    if (whole)
        (void)snprintf(detail, sizeof(detail),
            "the file differs from the one that this job did: send it unchanged, or with a key of "
            "its own");
    else
        (void)snprintf(detail, sizeof(detail),
            "the file differs from the one this job began with, up to line %" PRId64
            ": send it unchanged, or with a key of its own",
            job->line);
    (void)act_call_problem_of(call, PROBLEM_UNPROCESSABLE, "Idempotency-Key", detail);
    locate(call, job);
    return call->status;
}

/* The job is put back as it was. */
static unsigned refuse_file(struct act_call *call, struct import_run *run)
{
    char fault[DB_JOB_FAULT_MAX + 1];
    unsigned status;

    memcpy(fault, run->job.fault, sizeof(fault));
    status = end_job(call, run, JOB_INTERRUPTED, fault[0] != '\0' ? fault : NULL, NULL);
    return status != 0 ? status : answer_differs(call, &run->job, false);
}

static unsigned answer_taken(struct act_call *call, struct import_run *run)
{
    unsigned status;

    if (!run->job.cancel_wanted)
        return answer_lost(call, run);
    status = end_job(call, run, JOB_CANCELLED, NULL, NULL);
    return status != 0 ? status : answer_cancelled(call, &run->job);
}

static unsigned answer_stopped(
    struct act_call *call, struct import_run *run, const struct stop *stop)
{
    char detail[DETAIL_MAX + IMPORT_FAULT_MAX];
    unsigned status = end_job(call, run, stop->state, stop->fault, NULL);

    if (status != 0)
        return status;
    (void)snprintf(detail, sizeof(detail),
        "%s. The rows up to line %" PRId64 " are done, and their report is at Location; %s",
        stop->fault, run->job.line, stop->advice);
    (void)act_call_problem(call, stop->problem, detail);
    locate(call, &run->job);
    return call->status;
}

/* The job was done before this call: the same file is answered as it was. */
static unsigned answer_again(struct act_call *call, const struct db_job *job)
{
    CLEANUP(digest_freep) struct digest *digest = NULL;
    CLEANUP(piece_wipe) struct piece piece;
    const int64_t until_ms =
        clock_monotonic_ms() + MS_OF_S * call->worker->service->settings.import_total_s;
    uint8_t whole[DIGEST_LEN];
    bool stopping, is_late = false;
    int n, r;

    locate(call, job);
    if (job->report_deleted)
        return act_job_report_answer(call, job);
    if ((r = digest_new(&digest)) < 0)
        return act_call_failed(call, r);
    do {
        n = api_stream_read(call->stream, piece.bytes, sizeof(piece.bytes), PATIENCE_MS);
        digest_add(digest, piece.bytes, n > 0 ? (size_t)n : 0);
        is_late = n != 0 && clock_monotonic_ms() >= until_ms;
    } while (!is_late && (n > 0 || n == ERROR_DEADLINE));
    stopping = api_stream_stopping(call->stream);
    if (is_late || n < 0) {
        (void)act_call_problem(call, stopping ? PROBLEM_UNAVAILABLE : PROBLEM_BAD_REQUEST,
            stopping  ? "the service is stopping"
            : is_late ? TOOK_LONGER "; its job is done"
                      : "the file broke off; its job is done");
        locate(call, job);
        return call->status;
    }
    if ((r = digest_so_far(digest, whole)) < 0)
        return act_call_failed(call, r);
    if (memcmp(whole, job->digest, sizeof(whole)) != 0)
        return answer_differs(call, job, true);
    locate(call, job);
    return act_job_report_answer(call, job);
}

/* It has done a part, and is not gone on with. */
static unsigned answer_over(struct act_call *call, const struct db_job *job)
{
    char detail[DETAIL_MAX + DB_JOB_FAULT_MAX];

    if (job->report_deleted)
        (void)snprintf(detail, sizeof(detail),
            "this job is so old that its report is deleted. Send the file with another "
            "Idempotency-Key");
    else
        (void)snprintf(detail, sizeof(detail),
            "this job has failed behind line %" PRId64
            ", for good: %s. Send the file with another Idempotency-Key",
            job->line, job->fault);
    (void)act_call_problem(call, PROBLEM_CONFLICT, detail);
    locate(call, job);
    return call->status;
}

static unsigned refuse_take(
    struct act_call *call, int outcome, const struct db_job *job, int64_t busy_s)
{
    char seconds[32];

    if (outcome < 0)
        return act_call_failed(call, outcome);
    if (outcome == IMPORT_JOB_REPORTS_FULL)
        return act_call_problem(call, PROBLEM_CONFLICT, ACT_REPORTS_FULL ": " ACT_REPORTS_ADVICE);
    if (outcome == DB_JOB_OVER)
        return answer_over(call, job);
    if (outcome == DB_JOB_OTHER_CALL)
        return act_call_problem_of(call, PROBLEM_UNPROCESSABLE, "Idempotency-Key",
            "this Idempotency-Key was used for another call");
    (void)act_call_problem(call, PROBLEM_CONFLICT,
        "another call works on this job; if it has died, this one may go on after Retry-After");
    (void)snprintf(seconds, sizeof(seconds), "%" PRId64, busy_s);
    act_call_header(call, "Retry-After", seconds);
    locate(call, job);
    return call->status;
}

static unsigned answer_read(struct act_call *call, struct import_run *run, const struct file *file)
{
    unsigned status;

    switch (file->ending) {
    case ENDED_EARLY:
        return answer_early(call, run);
    case ENDED_BROKEN:
        return answer_broken(call, run, file->fault);
    case ENDED_DIFFERS:
        return refuse_file(call, run);
    case ENDED_TAKEN:
        return answer_taken(call, run);
    case ENDED_WELL:
        break;
    default:
        return answer_stopped(call, run, &stops[file->ending]);
    }
    if ((status = end_job(call, run, JOB_DONE, NULL, file->digest)) != 0)
        return status;
    locate(call, &run->job);
    return act_job_report_answer(call, &run->job);
}

static unsigned act_post_import(struct act_call *call)
{
    CLEANUP(import_run_done)
    struct import_run run = {.worker = call->worker,
        .client_id = call->caller->client_id,
        .request_id = api_request_id(call->request)};
    struct import_call q;
    struct file file;
    struct db_job before;
    const char *complaint = read_query(call->request, &q);
    int64_t busy_s = 0;
    int r;

    if (complaint != NULL)
        return act_call_problem(call, PROBLEM_BAD_REQUEST, complaint);
    if ((r = db_organization_find(
             call->worker->db, call->caller->organization_public_id, &run.organization)) != 0)
        return act_call_failed(call, r < 0 ? r : error_set(ERROR_DB, "the organization is gone"));
    if ((r = take_job(call, &q, &run, &busy_s)) != 0)
        return refuse_take(call, r, &run.job, busy_s);
    if (run.job.state == JOB_CANCELLED)
        return answer_cancelled(call, &run.job);
    if (run.job.state == JOB_DONE)
        return answer_again(call, &run.job);
    before = run.job;
    if ((r = import_run_begin(&run)) == 0)
        r = read_file(call, &q, &run, &file);
    count(&call->worker->service->metrics, &before, &run.job);
    return r < 0 ? interrupt(call, &run, r) : answer_read(call, &run, &file);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/batches/import",
        .right = RIGHT_IMPORT,
        .work = act_post_import,
        .is_long = true,
        .streams = STREAMS_BOTH},
};

const struct act_area act_area_imports = ACT_AREA(routes);
