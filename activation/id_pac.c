/* POST /v1/certificates/{number}/id-pac: the list of what was built, read as it arrives. Its lines
 * are done in chunks, a transaction each, and answered when it has ended; what broke off is sent
 * again as a whole, and goes on, for what is done is found so. */
#include "activation/id_pac_run.h"
#include "activation/jobs.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MS_OF_S INT64_C(1000)
#define PIECE_SIZE 16384
#define PATIENCE_MS 10000 /* for the next bytes */
#define ANSWERS_AT_ONCE 256
#define NAMED_MAX 40 /* refused lines that a problem names */
#define SECONDS_MAX 24

#define NUMBER_CHARACTERS "_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* How a list ended, besides the stops of a run, which come first. */
enum ending {
    ENDED_WELL = ID_PAC_GOES_ON,
    ENDED_WRONG = ID_PAC_MANY_WRONG,
    ENDED_REFUSED = ID_PAC_MANY_REFUSED,
    ENDED_CERTIFICATE = ID_PAC_NO_CERTIFICATE,
    ENDED_REVOKED = ID_PAC_NO_CLIENT,
    ENDED_EARLY, /* no more of it came */
    ENDED_STOPPING,
    ENDED_BROKEN, /* it is no such list; the reader says why */
    ENDED_EMPTY,
    ENDED_IDLE,
    ENDED_LONG,
};

static const struct {
    enum problem problem;
    const char *why; /* NULL: the reader says */
} endings[] = {
    [ENDED_WRONG] = {PROBLEM_TOO_MANY,
        "too many lines name devices that are not known to this organization, or wrong PACs of "
        "them: no more are looked at before Retry-After is over"},
    [ENDED_REFUSED] = {PROBLEM_BAD_REQUEST,
        ACT_DECIMAL(ID_PAC_REFUSED_MAX) " lines were refused: no more of the list are looked at"},
    [ENDED_CERTIFICATE] = {PROBLEM_CONFLICT, "the certificate was revoked"},
    [ENDED_REVOKED] = {PROBLEM_UNAUTHENTICATED, "the client was revoked"},
    [ENDED_EARLY] = {PROBLEM_BAD_REQUEST, "the list broke off"},
    [ENDED_STOPPING] = {PROBLEM_UNAVAILABLE, "the service is stopping"},
    [ENDED_BROKEN] = {PROBLEM_BAD_REQUEST, NULL},
    [ENDED_EMPTY] = {PROBLEM_BAD_REQUEST, "the list has no line of a device"},
    [ENDED_IDLE] = {PROBLEM_BAD_REQUEST,
        "the list brought no line for as long as the service waits for one (import.idle_s)"},
    [ENDED_LONG] = {PROBLEM_BAD_REQUEST, "the list took longer than one call may (import.total_s)"},
};

/* --- the list -------------------------------------------------------------------------------- */

struct piece {
    char bytes[PIECE_SIZE]; /* with PACs in it */
};

static void piece_wipe(struct piece *piece)
{
    secret_wipe(piece, sizeof(*piece));
}

/* Negative, or *ret says whether it goes on. */
static int do_chunk(struct id_pac_run *run, enum ending *ret)
{
    int r = id_pac_run_chunk(run);

    if (r > 0)
        *ret = (enum ending)r;
    return r < 0 ? r : 0;
}

static int feed(struct id_pac_run *run, struct id_pac_reader *reader, const char *bytes, size_t len,
    enum ending *ret)
{
    enum id_pac_reading reading;
    int r = 0;

    do {
        size_t consumed;

        reading = id_pac_reader_feed(reader, bytes, len, run->chunk, &consumed);
        bytes += consumed;
        len -= consumed;
        if (reading != ID_PAC_READ)
            r = do_chunk(run, ret);
        if (r == 0 && *ret == ENDED_WELL && reading == ID_PAC_BROKEN)
            *ret = ENDED_BROKEN;
    } while (r == 0 && *ret == ENDED_WELL && len > 0);
    return r;
}

static int finish(struct id_pac_run *run, struct id_pac_reader *reader, enum ending *ret)
{
    enum id_pac_reading reading;
    int r;

    do {
        reading = id_pac_reader_end(reader, run->chunk);
        r = do_chunk(run, ret);
    } while (r == 0 && *ret == ENDED_WELL && reading == ID_PAC_FULL);
    if (r == 0 && *ret == ENDED_WELL && reading == ID_PAC_BROKEN)
        *ret = ENDED_BROKEN;
    if (r == 0 && *ret == ENDED_WELL && id_pac_reader_lines(reader) == 0)
        *ret = ENDED_EMPTY;
    return r;
}

/* How long a list may hold its worker: lines must come, and at some time it must end. */
struct patience {
    const struct act_settings *settings;
    int64_t begun_ms, moved_ms;
    uint64_t n_lines;
};

static enum ending lose_patience(struct patience *p, uint64_t n_lines)
{
    int64_t now = clock_monotonic_ms();

    if (n_lines != p->n_lines)
        p->moved_ms = now;
    p->n_lines = n_lines;
    if (now - p->begun_ms >= MS_OF_S * p->settings->import_total_s)
        return ENDED_LONG;
    return now - p->moved_ms >= MS_OF_S * p->settings->import_idle_s ? ENDED_IDLE : ENDED_WELL;
}

/* Lines that are whole are done before a client is waited for, and before it is sent away. */
static int feed_all(struct id_pac_run *run, struct id_pac_reader *reader, enum ending *ret)
{
    struct act_call *call = run->call;
    int64_t now = clock_monotonic_ms();
    struct patience patience = {&call->worker->service->settings, now, now, 0};
    CLEANUP(piece_wipe) struct piece piece;
    int n, r = 0;

    do {
        enum ending lost;

        n = api_stream_read(call->stream, piece.bytes, sizeof(piece.bytes), PATIENCE_MS);
        if (n > 0)
            r = feed(run, reader, piece.bytes, (size_t)n, ret);
        lost = n != 0 ? lose_patience(&patience, id_pac_reader_lines(reader)) : ENDED_WELL;
        if (r == 0 && *ret == ENDED_WELL && (n < 0 || lost != ENDED_WELL)) {
            r = do_chunk(run, ret);
            if (*ret == ENDED_WELL)
                *ret = lost;
        }
    } while (r == 0 && *ret == ENDED_WELL && (n > 0 || n == ERROR_DEADLINE));
    if (r == 0 && *ret == ENDED_WELL && n < 0)
        *ret = api_stream_stopping(call->stream) ? ENDED_STOPPING : ENDED_EARLY;
    return r;
}

/* --- the answer ------------------------------------------------------------------------------ */

static void add_counts(const struct id_pac_run *run, const char *separator, struct text *out)
{
    for (unsigned i = 0; i < N_ID_PAC_COUNTS; i++)
        text_addf(out, "%s%" PRId64 " %s", i > 0 ? separator : "", run->report.counts[i],
            id_pac_count_text(i));
}

/* What a list that is not gone on with has come to, and what to do. */
static unsigned answer_stopped(struct id_pac_run *run, enum problem problem, const char *why)
{
    CLEANUP(text_done) struct text detail = {0};
    char seconds[SECONDS_MAX];

    text_addf(&detail, "%s. The lines up to line %" PRIu32 " are done (", why, run->line);
    add_counts(run, ", ", &detail);
    if (run->report.counts[COUNT_PAC_REFUSED] > 0) {
        text_add(&detail, ", the last of them in ");
        id_pac_report_refused(&run->report, NAMED_MAX, &detail);
    }
    text_add(&detail,
        "). The list can be sent again as a whole, without lines that are refused: what is "
        "activable is answered \"exists\"");
    (void)snprintf(seconds, sizeof(seconds), "%" PRId64, run->wait_s);
    if (problem == PROBLEM_TOO_MANY)
        act_call_header(run->call, "Retry-After", seconds);
    return act_call_problem(run->call, problem, detail.failed ? why : detail.data);
}

static unsigned answer_lines(struct id_pac_run *run)
{
    CLEANUP(text_done) struct text piece = {0};
    struct act_call *call = run->call;
    int r = 0;

    for (size_t at = 0; r == 0 && at < run->report.n; at += ANSWERS_AT_ONCE) {
        text_clear(&piece);
        id_pac_report_write(&run->report, at, ANSWERS_AT_ONCE, &piece);
        r = act_call_piece(call, TYPE_NDJSON, &piece);
    }
    if (r < 0 && !call->in_pieces)
        return act_call_failed(call, r);
    call->broken_off = r < 0;
    return call->status;
}

static unsigned answer(struct id_pac_run *run, const struct id_pac_reader *reader, enum ending how)
{
    const char *why = endings[how].why;

    if (how == ENDED_WELL)
        return answer_lines(run);
    return answer_stopped(
        run, endings[how].problem, why != NULL ? why : id_pac_reader_fault(reader));
}

/* Of the beginning and the end: each is a transaction of its own. */
static int audit(struct id_pac_run *run, const char *action, bool with_counts)
{
    CLEANUP(text_done) struct text detail = {0};
    struct db *db = run->call->worker->db;
    int r;

    text_addf(&detail, "{");
    for (unsigned i = 0; i < N_ID_PAC_COUNTS && with_counts; i++)
        text_addf(&detail, "\"%s\":%" PRId64 ",", id_pac_count_text(i), run->report.counts[i]);
    text_addf(&detail, "\"line\":%" PRIu32 "}", run->line);
    if (detail.failed)
        return error_set(ERROR_SYSTEM, "out of memory for an audit event");
    if ((r = db_begin(db)) < 0)
        return r;
    r = act_call_audit(
        run->call, run->claimant.organization_id, action, run->certificate.number, detail.data);
    if (r < 0) {
        db_rollback(db);
        return r;
    }
    return db_commit(db);
}

/* What is committed stands, whatever has failed since. */
static unsigned fail(struct id_pac_run *run, int code)
{
    log_error("request=%s list of certificate=%s failed line=%" PRIu32 ": %s: %s",
        run->claimant.request_id, run->certificate.number, run->line, error_name(code),
        error_text());
    return answer_stopped(run, PROBLEM_UNAVAILABLE, "the service failed");
}

/* --- the call -------------------------------------------------------------------------------- */

/* 0, or the status of the answer that was set. What is another organization's is not there. */
static unsigned find_certificate(struct act_call *call, struct db_certificate *ret)
{
    const char *number = act_call_param(call, 0);
    bool is_product;
    int r = 1;

    if (strlen(number) == CERTIFICATE_NUMBER_LEN &&
        strspn(number, NUMBER_CHARACTERS) == CERTIFICATE_NUMBER_LEN)
        r = db_certificate_find(call->worker->db, number, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || ret->organization_id != call->caller->organization_id ||
        ret->revoked_at[0] != '\0')
        return act_call_problem(call, PROBLEM_NOT_FOUND,
            "this organization has no such certificate, or it was revoked");
    is_product = ret->number[0] == 'P';
    if ((call->caller->roles &
            (is_product ? (unsigned)ROLE_PRODUCT_MAKER : (unsigned)ROLE_MODULE_MAKER)) == 0)
        return act_call_problem(call, PROBLEM_FORBIDDEN,
            is_product ? "under a product's certificate a product maker makes devices activable"
                       : "prototypes of a module its maker makes activable");
    return 0;
}

static unsigned post_id_pac(struct act_call *call)
{
    CLEANUP(id_pac_run_done) struct id_pac_run run = {.call = call};
    CLEANUP(id_pac_reader_freep) struct id_pac_reader *reader = NULL;
    enum ending ending = ENDED_WELL;
    unsigned status;
    int r, recorded;

    if (api_request_unknown_query(call->request, NULL, 0) != NULL)
        return act_call_problem(call, PROBLEM_BAD_REQUEST, "this call takes no query");
    if ((status = find_certificate(call, &run.certificate)) != 0)
        return status;
    if ((r = id_pac_run_begin(&run)) < 0 || (r = id_pac_reader_new(&reader)) < 0 ||
        (r = audit(&run, "id-pac.begin", false)) < 0)
        return act_call_failed(call, r);
    r = feed_all(&run, reader, &ending);
    if (r == 0 && ending == ENDED_WELL)
        r = finish(&run, reader, &ending);
    if (r < 0)
        return fail(&run, r);
    recorded = audit(&run, "id-pac.end", true);
    if (recorded < 0)
        return fail(&run, recorded);
    log_info("request=%s certificate=%s list line=%" PRIu32 " activable=%" PRId64 " exists=%" PRId64
             " refused=%" PRId64,
        run.claimant.request_id, run.certificate.number, run.line,
        run.report.counts[COUNT_PAC_ACTIVABLE], run.report.counts[COUNT_PAC_EXISTS],
        run.report.counts[COUNT_PAC_REFUSED]);
    return answer(&run, reader, ending);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/certificates/{number}/id-pac",
        .right = RIGHT_ID_PAC,
        .work = post_id_pac,
        .is_long = true,
        .streams = STREAMS_BOTH},
};

const struct act_area act_area_id_pac = ACT_AREA(routes);
