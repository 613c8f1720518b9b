#include "activation/order_run.h"

#include "activation/code_hash.h"
#include "activation/rsa_public.h"
#include "base/aes.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/custody_form.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "db/audit.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRANSPORT_LABEL "order-%s" /* the batch's id */
#define TRANSPORT_LEN 32           /* bytes of an AES-256 key, */
#define TRANSPORT_LEGACY_LEN 16    /* and of the only one that id_key.bin knows */
#define NAME_PREFIX "order|"       /* of what made a code, before the batch's id */
#define OUTCOME_REFUSED "refused"
/* Why nothing was made, as bits of job_row.lints. */
#define REFUSED_TAKEN 1
#define REFUSED_OWNED_JOIN_EUI 2

static_assert(ORDER_CHUNK_DEVICES * DELIVERY_RECORD_MAX <= DB_ORDER_PART_MAX, "a chunk is a piece");
static_assert(DELIVERY_DIGEST_LEN == DB_JOB_DIGEST_LEN, "a job keeps the digest of records");
static_assert(DB_ORDER_KCV_LEN == KEYD_KCV_LEN, "and its order a check value");
static_assert(DB_ORDER_TEXT_MAX >= KEYD_RSA_MAX, "and a text for any public key");

static const char no_audit_key[] =
    "the token holds no key that signs (audit.1): its operator makes one (docs/operations.md)";

struct order_work {
    struct delivery_shape shape;
    uint8_t made_by[DB_CODE_CALL_LEN];
    enum db_batch_outcome outcomes[ORDER_CHUNK_DEVICES];
    struct db_code codes[ORDER_CHUNK_DEVICES];
    struct db_job_row told[ORDER_CHUNK_DEVICES];
    uint8_t part[DB_ORDER_PART_MAX];
    struct text line;
};

void order_report_write(const struct db_job_row *rows, size_t n, struct text *out)
{
    char id[DEVICE_ID_TEXT_LEN + 1];

    for (size_t i = 0; i < n; i++) {
        text_addf(out, "{\"line\":%" PRId64 ",\"dev_eui\":\"%s\",\"outcome\":\"%s\"", rows[i].line,
            device_id_format(&rows[i].dev_eui, id), rows[i].outcome);
        if (rows[i].lints == REFUSED_OWNED_JOIN_EUI)
            text_add(out,
                ",\"reason\":\"owned-join-eui\",\"detail\":\"the JoinEUI is in a range that belongs "
                "to another organization by now: none was made\"");
        else if (rows[i].lints != 0)
            text_add(out,
                ",\"reason\":\"dev-eui-taken\",\"detail\":\"a device with this identifier is here "
                "already: none was made\"");
        text_add(out, "}\n");
    }
}

static int64_t deadline(void)
{
    return clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS;
}

static int audit(struct order_run *run, const char *action, const struct text *detail)
{
    char id[2 * ACCOUNT_ID_LEN + 1];
    struct db_audit_event event = {.organization_id = run->order.job.organization_id,
        .client_id = run->order.client_id,
        .request_id = run->order.request_id,
        .action = action,
        .object = hex_encode(run->order.job.id, sizeof(run->order.job.id), id),
        .detail = detail->data};

    if (detail->failed)
        return error_set(ERROR_SYSTEM, "out of memory for an audit event");
    return db_audit_add(run->worker->db, &event);
}

/* --- end ------------------------------------------------------------------------------------- */

/* One transaction. */
static int end(
    struct order_run *run, enum db_job_state state, const char *fault, const char *manifest)
{
    CLEANUP(text_done) struct text detail = {0};
    struct db *db = run->worker->db;
    const struct db_job *job = &run->order.job;
    int r = db_begin(db);

    text_addf(&detail, "{\"state\":\"%s\",\"line\":%" PRId64, db_job_state_text(state), job->line);
    text_addf(&detail, ",\"created\":%" PRId64 ",\"refused\":%" PRId64 ",\"digest\":\"",
        job->counts.created, job->counts.refused);
    text_add_hex(&detail, job->digest, sizeof(job->digest));
    text_add(&detail, "\"}");
    if (r == 0 && (r = db_order_run_end(db, &run->order, state, fault, manifest)) == 0)
        r = audit(run, state == JOB_DONE ? "order.ready" : "order.end", &detail);
    if (r != 0) {
        db_rollback(db);
        return r < 0 ? r : RUN_LOST;
    }
    order_makers_forget(run->worker->service->order_makers);
    /* Unknown: the row tells whoever takes it next. */
    r = db_commit(db);
    return r < 0 ? r : RUN_ENDED;
}

int order_run_fail(struct order_run *run, const char *fault)
{
    int r = end(run, JOB_FAILED, fault, NULL);

    return r < 0 ? r : r == RUN_LOST;
}

/* --- begin ----------------------------------------------------------------------------------- */

static int store_transport(struct order_run *run)
{
    CLEANUP(text_done) struct text detail = {0};
    const struct db_order_run *o = &run->order;
    struct db *db = run->worker->db;
    int r;

    text_addf(&detail, "{\"count\":%" PRId64 ",\"certificate\":\"%s\",\"delivery\":\"%s\"", o->n,
        o->module, o->is_legacy ? "legacy" : "jwe");
    text_addf(&detail, ",\"transport_key\":\"%s\",\"kcv\":\"", o->transport.label);
    text_add_hex(&detail, o->transport_kcv, sizeof(o->transport_kcv));
    text_add(&detail, "\"}");
    if ((r = db_begin(db)) == 0 && (r = db_order_run_begin(db, o)) == 0)
        r = audit(run, "order.begin", &detail);
    if (r != 0) {
        db_rollback(db);
        return r < 0 ? r : RUN_LOST;
    }
    /* Unknown: the row tells whoever takes it next. */
    return db_commit(db);
}

/* One version for all of an order's files, however long they are in the making. */
static int ask_code_key(struct order_run *run)
{
    struct keyd_code_hash key = {.version = 0};
    int r = keyd_delivery_key(run->worker->keyd, run->order.job.batch, 0, &key, deadline());

    run->order.code_key = key.version;
    secret_wipe(&key, sizeof(key));
    return r;
}

/* Outcome RUN_LOST. */
static int make_transport(struct order_run *run)
{
    struct db_order_run *o = &run->order;
    struct keyd_public_key to;
    struct keyd_made_kek made;
    enum keyd_status status = KEYD_HSM_FAILED;
    int r;

    if (rsa_public_parse(o->public_key, KEYD_RSA_MAX, &to) != RSA_PUBLIC_OK)
        return error_set(ERROR_INTERNAL, "the public key of an order cannot be read any more");
    r = keyd_make_kek(run->worker->keyd, &to, o->is_legacy ? TRANSPORT_LEGACY_LEN : TRANSPORT_LEN,
        &o->transport, &made, &status, deadline());
    if (r == 0 && status != KEYD_OK)
        r = error_set(
            ERROR_HSM, "the key of a delivery was not made: %s", keyd_status_text(status));
    if (r < 0)
        return r;
    if ((r = ask_code_key(run)) < 0)
        return r;
    memcpy(o->transport_kcv, made.kcv, sizeof(o->transport_kcv));
    memcpy(o->transport_text, made.text, made.len);
    o->transport_text_len = made.len;
    if ((r = store_transport(run)) == 0)
        o->has_transport = true;
    return r;
}

/* Outcome 1: it is not there. */
static int ask_audit_key(struct order_run *run)
{
    uint8_t point[AUDIT_POINT_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;
    int r = keyd_audit_key(run->worker->keyd, point, &status, deadline());

    if (r == 0 && status != KEYD_OK && status != KEYD_NO_AUDIT_KEY)
        r = error_set(ERROR_HSM, "key process: %s", keyd_status_text(status));
    return r < 0 ? r : status == KEYD_NO_AUDIT_KEY;
}

/* Better now than when a million credentials are made that nobody can sign for. */
static int begin_first(struct order_run *run)
{
    int r = ask_audit_key(run);

    return r > 0 ? end(run, JOB_FAILED, no_audit_key, NULL) : r < 0 ? r : make_transport(run);
}

static int begin_makers(struct order_run *run)
{
    const struct db_order_run *o = &run->order;
    struct order_plan plan = {.shape = run->work->shape,
        .first = o->first,
        .code_length = o->code_length,
        .transport = o->transport};
    int r;

    memcpy(plan.job, o->job.id, sizeof(plan.job));
    memcpy(plan.batch, o->job.batch, sizeof(plan.batch));
    if ((r = act_delivery_key(run->worker, plan.batch, o->code_key, plan.key)) == 0)
        order_makers_begin(run->worker->service->order_makers, &plan, o->job.line + 1);
    secret_wipe(&plan, sizeof(plan));
    return r;
}

static void name_transport(struct db_order_run *o)
{
    char batch[2 * ACCOUNT_ID_LEN + 1];

    (void)hex_encode(o->job.batch, sizeof(o->job.batch), batch);
    (void)hex_encode(o->organization, sizeof(o->organization), o->transport.peer_id);
    o->transport.peer_kind = PEER_ORGANIZATION;
    o->transport.kek_class = KEK_CLASS_TRANSPORT;
    (void)snprintf(o->transport.label, sizeof(o->transport.label), TRANSPORT_LABEL, batch);
}

int order_run_begin(struct order_run *run)
{
    struct db_order_run *o = &run->order;
    struct order_work *w = run->work = calloc(1, sizeof(*run->work));
    char name[sizeof(NAME_PREFIX) + (size_t)2 * ACCOUNT_ID_LEN] = NAME_PREFIX;
    int r;

    if (w == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for an order");
    w->shape = (struct delivery_shape){.is_sigfox = o->is_sigfox,
        .has_nwk = !o->is_sigfox && o->mac_version == LW_MAC_1_1,
        .is_legacy = o->is_legacy,
        .join_eui = o->join_eui,
        .mac_version = o->mac_version};
    (void)hex_encode(o->job.batch, sizeof(o->job.batch), name + strlen(NAME_PREFIX));
    digest_sha256(name, strlen(name), w->made_by);
    name_transport(o);
    if (o->job.cancel_wanted)
        return 0;
    if (!o->has_transport && (r = begin_first(run)) != 0)
        return r;
    return begin_makers(run);
}

void order_run_done(struct order_run *run)
{
    if (run->work == NULL)
        return;
    text_done(&run->work->line);
    free(run->work);
    run->work = NULL;
}

/* --- a chunk --------------------------------------------------------------------------------- */

/* While devices may be joining, one short chunk at a time; else as many as there is room for. */
static void ask_for_more(struct order_run *run, bool slow)
{
    struct order_makers *makers = run->worker->service->order_makers;
    int64_t left = run->order.n - order_makers_next(makers) + 1;
    int64_t size = slow ? ORDER_SLOW_DEVICES : ORDER_CHUNK_DEVICES;
    bool more = left > 0 && (!slow || order_makers_next(makers) == run->order.job.line + 1);

    while (more) {
        int64_t n = left < size ? left : size;

        more = order_makers_ask(makers, (size_t)n) && !slow && left > n;
        left -= n;
    }
}

/* What was made and what was not, as it is written. */
struct sorted {
    size_t n_created, n_told, len; /* of codes, of rows of the report, and bytes of the piece */
    uint8_t digest[DELIVERY_DIGEST_LEN];
};

static int sort_chunk(struct order_run *run, const struct order_chunk *chunk, struct sorted *ret)
{
    struct order_work *w = run->work;
    const size_t record_len = delivery_record_len(&w->shape);

    for (size_t i = 0; i < chunk->n; i++) {
        const struct delivery_record *record = &chunk->records[i];

        if (w->outcomes[i] != DB_BATCH_CREATED) {
            w->told[ret->n_told++] = (struct db_job_row){.line = chunk->rows[i].line,
                .has_dev_eui = true,
                .dev_eui = record->dev_eui,
                .outcome = OUTCOME_REFUSED,
                .lints = w->outcomes[i] == DB_BATCH_NOT_ITS_JOIN_EUI ? REFUSED_OWNED_JOIN_EUI
                                                                     : REFUSED_TAKEN};
            continue;
        }
        w->codes[ret->n_created++] = chunk->codes[i];
        delivery_record_write(&w->shape, record, w->part + ret->len);
        ret->len += record_len;
        text_clear(&w->line);
        delivery_line_write(&w->shape, record, &w->line);
        if (w->line.failed)
            return error_set(ERROR_SYSTEM, "out of memory for a chunk of an order");
        delivery_digest_add(ret->digest, w->line.data, w->line.len);
    }
    return 0;
}

static int write_chunk(struct order_run *run, int64_t line, const struct sorted *sorted)
{
    struct db *db = run->worker->db;
    struct order_work *w = run->work;
    int r = db_order_run_codes(db, w->codes, sorted->n_created, w->made_by);

    if (r == 0 && sorted->len > 0)
        r = db_order_run_write(db, &run->order, line, w->part, sorted->len);
    return r < 0 ? r : db_job_rows_add(db, run->order.job.row_id, w->told, sorted->n_told);
}

static int audit_chunk(struct order_run *run, int64_t after, int64_t n_created, int64_t n_refused)
{
    CLEANUP(text_done) struct text detail = {0};
    const struct db_job *job = &run->order.job;

    text_addf(&detail, "{\"after\":%" PRId64 ",\"line\":%" PRId64, after, job->line);
    text_addf(&detail, ",\"created\":%" PRId64 ",\"refused\":%" PRId64, n_created, n_refused);
    text_add(&detail, ",\"digest\":\"");
    text_add_hex(&detail, job->digest, sizeof(job->digest));
    text_add(&detail, "\"}");
    return audit(run, "order.chunk", &detail);
}

enum { CHUNK_STORED, CHUNK_LOST, CHUNK_CANCELLED };

/* Inside the transaction. */
static int store(struct order_run *run, const struct order_chunk *chunk)
{
    struct db *db = run->worker->db;
    struct db_job *job = &run->order.job;
    struct sorted sorted = {.n_created = 0};
    int64_t after = job->line, n_created, n_refused;
    int r;

    memcpy(sorted.digest, job->digest, sizeof(sorted.digest)); /* of none: zeros */
    if ((r = db_batch_insert(db, job->batch_id, job->organization_id, chunk->rows, chunk->n,
             run->work->outcomes)) < 0 ||
        (r = sort_chunk(run, chunk, &sorted)) < 0 ||
        (r = write_chunk(run, chunk->line, &sorted)) < 0)
        return r;
    n_created = (int64_t)sorted.n_created;
    n_refused = (int64_t)sorted.n_told;
    r = db_order_run_advance(db, &run->order, n_created, n_refused, sorted.digest);
    if (r != 0)
        return r < 0 ? r : CHUNK_LOST;
    if (job->cancel_wanted)
        return CHUNK_CANCELLED;
    return audit_chunk(run, after, n_created, n_refused);
}

/* The connection broke while the commit was on its way: the job tells. */
static int resolve(struct order_run *run)
{
    struct db_job now;
    int r;

    log_warn("the result of a chunk's commit is unknown: %s", error_text());
    db_drop(run->worker->db);
    if ((r = db_job_find(run->worker->db, run->order.job.id, &now)) != 0)
        return r < 0 ? r : error_set(ERROR_DB, "database: the job is gone");
    if (now.line != run->order.job.line ||
        memcmp(now.digest, run->order.job.digest, sizeof(now.digest)) != 0)
        return error_set(ERROR_DB, "database: the chunk was not committed");
    return CHUNK_STORED;
}

static int commit(struct order_run *run, const struct order_chunk *chunk)
{
    struct db *db = run->worker->db;
    int r = db_begin(db);

    if (r < 0)
        return r;
    if ((r = store(run, chunk)) != CHUNK_STORED) {
        db_rollback(db);
        return r;
    }
    r = db_commit(db);
    return r == ERROR_DB_UNKNOWN ? resolve(run) : r;
}

static int make_and_store(struct order_run *run, bool slow)
{
    struct order_makers *makers = run->worker->service->order_makers;
    const struct order_chunk *chunk;
    struct db_order_run before = run->order;
    bool cancel_wanted;
    int r;

    ask_for_more(run, slow);
    if ((r = order_makers_take(makers, &chunk)) == 0)
        r = commit(run, chunk);
    if (r == CHUNK_STORED) {
        metric_add(&run->worker->service->metrics.codes[COUNT_CODE_MADE],
            run->order.job.counts.created - before.job.counts.created);
        order_makers_give_back(makers);
        return CHUNK_STORED;
    }
    /* What is made and was not stored is nothing. */
    order_makers_forget(makers);
    cancel_wanted = run->order.job.cancel_wanted;
    run->order = before; /* as it is in the database */
    run->order.job.cancel_wanted = cancel_wanted;
    return r;
}

/* --- what was made, signed ------------------------------------------------------------------- */

static void add_base64url(struct text *out, const uint8_t *bytes, size_t len)
{
    char text[BASE64_LEN(DB_ORDER_TEXT_MAX) + 1];

    text_add(out, base64url_encode(bytes, len, text));
}

static void write_manifest(const struct order_run *run, struct text *out)
{
    const struct db_order_run *o = &run->order;
    char eui[DEVICE_ID_TEXT_LEN + 1];

    text_add(out, "{\"schema\":\"cradle-delivery-v1\",\"batch\":\"");
    text_add_hex(out, o->job.batch, sizeof(o->job.batch));
    text_add(out, "\",\"organization\":\"");
    text_add_hex(out, o->organization, sizeof(o->organization));
    text_addf(out, "\",\"certificate\":\"%s\",\"kind\":\"%s\",\"delivery\":\"%s\"", o->module,
        o->is_sigfox ? "sigfox" : "lorawan", o->is_legacy ? "legacy" : "jwe");
    text_addf(out, ",\"first\":\"%s\",\"count\":%" PRId64 ",\"refused\":%" PRId64,
        device_id_format(&o->first, eui), o->job.counts.created, o->job.counts.refused);
    if (!o->is_sigfox)
        text_addf(out, ",\"join_eui\":\"%s\",\"mac_version\":\"%s\"",
            eui64_format(&o->join_eui, eui), lw_mac_version_text(o->mac_version));
    text_add(out, ",\"profile\":\"");
    text_add_hex(out, o->profile, sizeof(o->profile));
    text_addf(out, "\",\"code_length\":%u,\"transport_key\":{\"label\":\"%s\",\"kcv\":\"",
        o->code_length, o->transport.label);
    text_add_hex(out, o->transport_kcv, sizeof(o->transport_kcv));
    text_add(out, "\",\"text\":\"");
    add_base64url(out, o->transport_text, o->transport_text_len);
    text_add(out, "\"},\"digest\":\"");
    text_add_hex(out, o->job.digest, sizeof(o->job.digest));
    text_add(out, "\"}");
}

static int finish(struct order_run *run)
{
    CLEANUP(text_done) struct text document = {0}, jws = {0};
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;
    uint64_t time = 0;
    int r;

    write_manifest(run, &document);
    if (document.failed)
        return error_set(ERROR_SYSTEM, "out of memory for what is delivered");
    r = keyd_sign_custody(run->worker->keyd, CUSTODY_OF_DELIVERY, document.data, document.len,
        &time, signature, &status, deadline());
    if (r < 0)
        return r;
    if (status == KEYD_NO_AUDIT_KEY)
        return end(run, JOB_FAILED, no_audit_key, NULL);
    if (status != KEYD_OK)
        return error_set(ERROR_HSM, "key process: %s", keyd_status_text(status));
    custody_write(CUSTODY_OF_DELIVERY, time, document.data, document.len, signature, &jws);
    if (jws.failed)
        return error_set(ERROR_SYSTEM, "out of memory for what is delivered");
    return end(run, JOB_DONE, NULL, jws.data);
}

int order_run_chunk(struct order_run *run)
{
    struct act_pace_turn turn;
    int r;

    if (run->order.job.cancel_wanted)
        return end(run, JOB_CANCELLED, NULL, NULL);
    if (run->order.job.line >= run->order.n)
        return finish(run);
    r = make_and_store(run, act_pace_enter(&run->worker->service->pace, &turn));
    act_pace_leave(&turn);
    if (r == CHUNK_CANCELLED)
        return end(run, JOB_CANCELLED, NULL, NULL);
    return r == CHUNK_LOST ? RUN_LOST : r;
}

int order_run_mark(struct act_worker *worker)
{
    struct act_pace_turn turn;
    int r;

    (void)act_pace_enter(&worker->service->pace, &turn);
    r = db_order_run_mark(worker->db);
    act_pace_leave(&turn);
    return r;
}
