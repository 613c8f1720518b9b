#include "activation/audit_export.h"

#include "activation/call.h"
#include "activation/worker.h"
#include "base/audit_line.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/audit_read.h"

static const char no_key[] = "the HSM's token holds no audit key: nothing can be proven with it";

struct run {
    struct act_call *call;
    struct db_audit_extent extent;
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    uint64_t sent;               /* number of the last event that was sent */
    struct db_audit_signed kept; /* the next checkpoint to come, while there is one */
    bool has_kept;
};

static int send(struct run *run, const struct text *piece)
{
    if (piece->failed)
        return error_set(ERROR_SYSTEM, "out of memory for a piece of the audit");
    return act_call_piece(run->call, TYPE_NDJSON, piece);
}

/* Who sees all sees the checkpoints that were signed meanwhile, too: this one could be made anew
 * by whoever has the service, and those not where somebody else kept a copy. */
static int find_kept(struct run *run, uint64_t after)
{
    int r = 1;

    if (run->extent.organization_id == 0)
        r = db_audit_checkpoint_next(
            run->call->worker->db, after, run->extent.checkpoint.seq, &run->kept);
    run->has_kept = r == 0;
    return r < 0 ? r : 0;
}

static int write_event(struct run *run, const struct db_audit_chained *event, struct text *out)
{
    const struct audit_line line = {.record = &event->event.record,
        .link = &event->link,
        .leaf = event->leaf,
        .path = event->path,
        .n_path = event->n_path,
        .of_all = run->extent.organization_id == 0};

    audit_line_write(&line, out);
    run->sent = line.of_all ? event->link.seq : event->link.organization_seq;
    if (!run->has_kept || run->kept.checkpoint.seq != event->link.seq)
        return 0;
    audit_checkpoint_line_write(&run->kept.checkpoint, run->kept.signature, out);
    return find_kept(run, event->link.seq);
}

/* Outcome 1: all were sent. */
static int send_page(struct run *run)
{
    CLEANUP(db_audit_page_done) struct db_audit_page page = {0};
    CLEANUP(text_done) struct text piece = {0};
    int r = db_audit_page_load(run->call->worker->db, &run->extent, run->sent, &page);

    for (size_t i = 0; r == 0 && i < page.n; i++)
        r = write_event(run, &page.events[i], &piece);
    if (r < 0 || page.n == 0)
        return r < 0 ? r : 1;
    return send(run, &piece);
}

static int send_all(struct run *run)
{
    CLEANUP(text_done) struct text head = {0};
    int r;

    audit_checkpoint_line_write(&run->extent.checkpoint, run->signature, &head);
    if ((r = find_kept(run, 0)) < 0 || (r = send(run, &head)) < 0)
        return r;
    while ((r = send_page(run)) == 0)
        ;
    if (r > 0 && run->sent != run->extent.checkpoint.count)
        return error_set(ERROR_DB, "database: chained audit events are missing");
    return r < 0 ? r : 0;
}

unsigned act_get_audit_export(struct act_call *call)
{
    const bool is_admin = (call->caller->roles & ROLE_ADMIN) != 0;
    enum keyd_status status = KEYD_HSM_FAILED;
    struct run run = {.call = call};
    int r = db_audit_extent_load(
        call->worker->db, is_admin ? 0 : call->caller->organization_id, &run.extent);

    if (r > 0)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if (r == 0)
        r = keyd_sign_checkpoint(call->worker->keyd, &run.extent.checkpoint, run.signature, &status,
            clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r < 0)
        return act_call_failed(call, r);
    if (status == KEYD_NO_AUDIT_KEY)
        return act_call_problem(call, PROBLEM_CONFLICT, no_key);
    if (status != KEYD_OK)
        return act_call_failed(
            call, error_set(ERROR_HSM, "key process: %s", keyd_status_text(status)));
    act_call_header(call, "Cache-Control", "no-store");
    r = send_all(&run);
    if (r < 0 && !call->in_pieces)
        return act_call_failed(call, r);
    call->broken_off = r < 0;
    if (r < 0)
        log_warn("request=%s an audit export broke off: %s", api_request_id(call->request),
            error_text());
    return call->status;
}

unsigned act_get_audit_key(struct act_service *service, struct api_request *request)
{
    if (!atomic_load(&service->has_audit_key))
        return reply_problem(request, PROBLEM_NOT_FOUND, "the token has shown no audit key");
    api_answer(request, 200, TYPE_PEM, service->audit_key.data, service->audit_key.len);
    return 200;
}
