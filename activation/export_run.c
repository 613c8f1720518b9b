#include "activation/export_run.h"

#include "activation/export_line.h"
#include "activation/rsa_public.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_APP, KEY_NWK, N_KEYS };
#define BASE64_OF_RSA_MAX (4 * ((KEYD_EXPORT_RSA_MAX + 2) / 3))
#define PAGES_MAX ((size_t)DB_EXPORT_ROWS_MAX * DB_EXPORT_PAGES)
/* A piece is written when it has this; one more line, of a device that has used every other
 * DevNonce, has less than 200,000 bytes. */
#define PART_ENOUGH (DB_EXPORT_PART_MAX / 2)

struct device {
    bool refused;
    enum export_refusal refusal;
    bool has_keys[N_KEYS];
    char keys[N_KEYS][BASE64_OF_RSA_MAX + 1];
};

struct export_work {
    struct keyd_public_key to;
    struct db_export_row rows[DB_EXPORT_ROWS_MAX];
    size_t n_rows;
    struct device devices[DB_EXPORT_ROWS_MAX]; /* of `rows` */
    /* Of one message to keyd. */
    struct keyd_export_request requests[KEYD_BATCH_MAX];
    struct keyd_export_reply replies[KEYD_BATCH_MAX];
    struct {
        struct device *device;
        int key;
    } targets[KEYD_BATCH_MAX];
    size_t n_requests;
    struct db_export_nonces pages[PAGES_MAX];
    size_t n_pages;
    struct text piece;
};

static const struct {
    const char *name, *detail;
} refusals[N_EXPORT_REFUSALS] = {
    [EXPORT_QUARANTINED] = {"quarantined",
        "the device is in quarantine: have that ended first, then export again"},
    [EXPORT_SCRAPPED] = {"scrapped", "the device was scrapped"},
    [EXPORT_NO_KEY] = {"no-key", "there is no root key of the device here"},
    [EXPORT_KEY_ALTERED] = {"key-altered",
        "the sealed key does not open: tell the operator, whose log names it"},
    [EXPORT_KEY_SHARED] = {"key-shared",
        "a device of another organization has the same key: whose it is must be found out first"},
    [EXPORT_KEY_STAYS] = {"key-stays",
        "the HSM was made without a key that opens this one for export: its maker's files have it"},
    [EXPORT_KEY_UNPROVED] = {"key-unproved",
        "that no other organization has the same key cannot be told, since one of the two came "
        "before fingerprints were kept: its maker's files have it"},
    [EXPORT_NOT_LORAWAN] = {"not-lorawan",
        "the device is a Sigfox device, and a file of this format is for LoRaWAN devices"},
};

const char *export_refusal_name(enum export_refusal refusal)
{
    return refusals[refusal].name;
}

const char *export_refusal_detail(enum export_refusal refusal)
{
    return refusals[refusal].detail;
}

void export_report_write(const struct db_job_row *rows, size_t n, struct text *out)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    for (size_t i = 0; i < n; i++) {
        size_t refusal = 0;

        while (refusal + 1 < N_EXPORT_REFUSALS && (rows[i].lints >> refusal & 1) == 0)
            refusal++;
        text_addf(out, "{\"line\":%" PRId64 ",\"dev_eui\":\"%s\",\"outcome\":\"%s\"", rows[i].line,
            device_id_format(&rows[i].dev_eui, dev_eui), rows[i].outcome);
        text_addf(out, ",\"reason\":\"%s\",\"detail\":", refusals[refusal].name);
        text_add_json(out, refusals[refusal].detail);
        text_add(out, "}\n");
    }
}

/* --- begin and end --------------------------------------------------------------------------- */

static bool has_keys(const struct export_run *run)
{
    return run->export.order.public_key[0] != '\0';
}

int export_run_begin(struct export_run *run)
{
    run->work = calloc(1, sizeof(*run->work));
    if (run->work == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for an export");
    if (has_keys(run) && rsa_public_parse(run->export.order.public_key, KEYD_EXPORT_RSA_MAX,
                             &run->work->to) != RSA_PUBLIC_OK)
        return error_set(ERROR_INTERNAL, "the public key of an export cannot be read any more");
    return 0;
}

void export_run_done(struct export_run *run)
{
    if (run->work == NULL)
        return;
    text_done(&run->work->piece);
    free(run->work);
    run->work = NULL;
}

/* --- keys ------------------------------------------------------------------------------------ */

static void refuse(struct device *device, enum export_refusal refusal)
{
    if (!device->refused)
        device->refusal = refusal;
    device->refused = true;
}

/* A key that does not open refuses its device; a token that does not work ends the chunk. */
static int take_reply(struct export_work *w, size_t i)
{
    const struct keyd_export_reply *reply = &w->replies[i];
    struct device *device = w->targets[i].device;
    char *text = device->keys[w->targets[i].key];
    char dev_eui[EUI64_TEXT_LEN + 1];

    switch (reply->status) {
    case KEYD_OK:
        (void)EVP_EncodeBlock((unsigned char *)text, reply->text, reply->len);
        device->has_keys[w->targets[i].key] = true;
        return 0;
    case KEYD_TAG_REFUSED:
    case KEYD_KEK_UNKNOWN:
        log_error("export: the key of device %s does not open: %s",
            device_id_format(&w->requests[i].dev_eui, dev_eui), keyd_status_text(reply->status));
        refuse(device, EXPORT_KEY_ALTERED);
        return 0;
    case KEYD_CANNOT_EXPORT:
        refuse(device, EXPORT_KEY_STAYS);
        return 0;
    default:
        return error_set(
            ERROR_HSM, "a device key was not exported: %s", keyd_status_text(reply->status));
    }
}

static int ask_pending(struct export_run *run)
{
    struct export_work *w = run->work;
    int r;

    if (w->n_requests == 0)
        return 0;
    r = keyd_export_keys(run->worker->keyd, &w->to, w->requests, w->n_requests, w->replies,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    for (size_t i = 0; r == 0 && i < w->n_requests; i++)
        r = take_reply(w, i);
    w->n_requests = 0;
    return r;
}

static int ask_key(struct export_run *run, size_t row, int key)
{
    struct export_work *w = run->work;
    const struct db_export_row *of = &w->rows[row];
    size_t n = w->n_requests++;

    w->requests[n] = (struct keyd_export_request){.dev_eui = of->record.dev_eui,
        .join_eui = of->record.join_eui,
        .slot = key == KEY_APP ? KEY_SLOT_APP : KEY_SLOT_NWK,
        .key = key == KEY_APP ? of->app : of->nwk};
    w->targets[n].device = &w->devices[row];
    w->targets[n].key = key;
    return w->n_requests == KEYD_BATCH_MAX ? ask_pending(run) : 0;
}

/* Of a device that may go: whether its keys may. */
static bool has_its_keys(struct export_work *w, size_t i)
{
    const struct db_export_row *row = &w->rows[i];

    if (!row->has_app || (row->record.mac_version == LW_MAC_1_1 && !row->has_nwk))
        refuse(&w->devices[i], EXPORT_NO_KEY);
    if (row->shares_key)
        refuse(&w->devices[i], EXPORT_KEY_SHARED);
    if (row->is_unproved)
        refuse(&w->devices[i], EXPORT_KEY_UNPROVED);
    return !w->devices[i].refused;
}

static int ask_keys(struct export_run *run, size_t i)
{
    int r = ask_key(run, i, KEY_APP);

    return r == 0 && run->work->rows[i].has_nwk ? ask_key(run, i, KEY_NWK) : r;
}

static int export_keys(struct export_run *run)
{
    struct export_work *w = run->work;
    int r = 0;

    w->n_requests = 0;
    for (size_t i = 0; r == 0 && i < w->n_rows; i++)
        if (has_its_keys(w, i))
            r = ask_keys(run, i);
    return r == 0 ? ask_pending(run) : r;
}

/* --- a chunk --------------------------------------------------------------------------------- */

/* The next devices, and which of them may go. */
static int load(struct export_run *run)
{
    struct export_work *w = run->work;
    int r = db_export_load(run->worker->db, &run->export, w->rows, &w->n_rows);

    if (r < 0)
        return r;
    memset(w->devices, 0, sizeof(w->devices));
    w->n_pages = 0;
    for (size_t i = 0; i < w->n_rows; i++) {
        if (run->export.order.format != EXPORT_CRADLE_JSONL &&
            device_kind_of(&w->rows[i].record.dev_eui) == DEVICE_SIGFOX)
            refuse(&w->devices[i], EXPORT_NOT_LORAWAN);
        if (w->rows[i].record.trust == TRUST_QUARANTINED)
            refuse(&w->devices[i], EXPORT_QUARANTINED);
        if (w->rows[i].record.credential == CREDENTIAL_SCRAPPED)
            refuse(&w->devices[i], EXPORT_SCRAPPED);
    }
    return 0;
}

/* And their keys. No lock is held meanwhile. */
static int prepare(struct export_run *run)
{
    struct export_work *w = run->work;
    int r = load(run);

    if (r < 0 || w->n_rows == 0 || !has_keys(run))
        return r;
    if ((r = export_keys(run)) < 0)
        return r;
    return db_export_load_nonces(
        run->worker->db, w->rows, w->n_rows, w->pages, PAGES_MAX, &w->n_pages);
}

static int give_piece(struct export_run *run)
{
    struct text *piece = &run->work->piece;
    int r = 0;

    if (piece->failed || piece->len > DB_EXPORT_PART_MAX)
        r = error_set(ERROR_SYSTEM, "no room for a piece of a file");
    else if (piece->len > 0)
        r = db_export_write(run->worker->db, &run->export, piece->data, piece->len);
    text_clear(piece);
    return r;
}

static int write_lines(struct export_run *run, bool first)
{
    struct export_work *w = run->work;
    size_t page = 0;
    int r = 0;

    text_clear(&w->piece);
    if (first)
        text_add(&w->piece, export_line_head(run->export.order.format));
    for (size_t i = 0; r == 0 && i < w->n_rows; i++) {
        const struct device *device = &w->devices[i];
        struct export_line line = {.row = &w->rows[i],
            .pages = &w->pages[page],
            .app_key = device->has_keys[KEY_APP] ? device->keys[KEY_APP] : NULL,
            .nwk_key = device->has_keys[KEY_NWK] ? device->keys[KEY_NWK] : NULL,
            .model = run->export.order.model};

        while (page < w->n_pages && w->pages[page].row == i) {
            page++;
            line.n_pages++;
        }
        if (!device->refused)
            export_line_write(run->export.order.format, &line, &w->piece);
        if (w->piece.len >= PART_ENOUGH)
            r = give_piece(run);
    }
    return r == 0 ? give_piece(run) : r;
}

static int tell_refused(struct export_run *run, int64_t line)
{
    struct export_work *w = run->work;
    struct db_job_row rows[DB_EXPORT_ROWS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < w->n_rows; i++)
        if (w->devices[i].refused)
            rows[n++] = (struct db_job_row){.line = line + (int64_t)i + 1,
                .has_dev_eui = true,
                .dev_eui = w->rows[i].record.dev_eui,
                .outcome = "refused",
                .lints = UINT64_C(1) << w->devices[i].refusal};
    return db_job_rows_add(run->worker->db, run->export.job.row_id, rows, n);
}

enum { CHUNK_STORED, CHUNK_LOST, CHUNK_CANCELLED, CHUNK_CHANGED };

/* Inside the transaction. The job's row comes first: whoever has it is alone with this export. */
static int store(struct export_run *run)
{
    struct export_work *w = run->work;
    struct db *db = run->worker->db;
    struct eui64 dev_euis[DB_EXPORT_ROWS_MAX];
    int64_t line = run->export.job.line;
    size_t n = 0;
    int r;

    for (size_t i = 0; i < w->n_rows; i++)
        if (!w->devices[i].refused)
            dev_euis[n++] = w->rows[i].record.dev_eui;
    r = db_export_advance(db, &run->export, &w->rows[w->n_rows - 1].record.dev_eui, (int64_t)n,
        (int64_t)(w->n_rows - n));
    if (r != 0)
        return r < 0 ? r : CHUNK_LOST;
    if (run->export.job.cancel_wanted)
        return CHUNK_CANCELLED;
    if (has_keys(run) && (r = db_export_expose(db, &run->export, dev_euis, n)) != 0)
        return r < 0 ? r : CHUNK_CHANGED;
    if ((r = write_lines(run, line == 0)) < 0)
        return r;
    return tell_refused(run, line);
}

/* The connection broke while the commit was on its way: the job tells. */
static int resolve(struct export_run *run)
{
    struct db_job now;
    int r;

    log_warn("the result of a chunk's commit is unknown: %s", error_text());
    db_drop(run->worker->db);
    if ((r = db_job_find(run->worker->db, run->export.job.id, &now)) != 0)
        return r < 0 ? r : error_set(ERROR_DB, "database: the job is gone");
    if (now.line != run->export.job.line)
        return error_set(ERROR_DB, "database: the chunk was not committed");
    return 0;
}

static int end(struct export_run *run, enum db_job_state state, const char *fault)
{
    struct db *db = run->worker->db;
    int r = db_begin(db);

    text_clear(&run->work->piece);
    if (r == 0 && state == JOB_DONE && run->export.job.line == 0) {
        text_add(&run->work->piece, export_line_head(run->export.order.format));
        r = give_piece(run);
    }
    if (r == 0)
        r = db_export_end(db, &run->export, state, fault);
    if (r != 0) {
        db_rollback(db);
        return r < 0 ? r : RUN_LOST;
    }
    /* Unknown: the row tells whoever takes it next. */
    r = db_commit(db);
    return r < 0 ? r : RUN_ENDED;
}

int export_run_chunk(struct export_run *run)
{
    struct db *db = run->worker->db;
    struct db_export before = run->export;
    int r;

    if (run->export.job.cancel_wanted)
        return end(run, JOB_CANCELLED, NULL);
    if ((r = prepare(run)) < 0)
        return r;
    if (run->work->n_rows == 0)
        return end(run, JOB_DONE, NULL);
    if ((r = db_begin(db)) < 0)
        return r;
    if ((r = store(run)) == CHUNK_STORED) {
        r = FAILPOINT(export_before_commit, ERROR_DB);
        r = r < 0 ? r : db_commit(db);
        r = r < 0 ? r : FAILPOINT(export_commit_done, ERROR_DB_UNKNOWN);
        if (r == ERROR_DB_UNKNOWN)
            r = resolve(run);
    } else {
        db_rollback(db);
    }
    if (r == CHUNK_STORED)
        return RUN_GOES_ON;
    before.job.cancel_wanted = run->export.job.cancel_wanted;
    run->export = before; /* as it is in the database */
    if (r == CHUNK_CANCELLED)
        return end(run, JOB_CANCELLED, NULL);
    return r == CHUNK_LOST ? RUN_LOST : r < 0 ? r : RUN_GOES_ON;
}

/* One device is enough, and one message: the token has the twins of its storage KEKs, or not. */
int export_run_try(struct export_run *run)
{
    struct export_work *w = run->work;
    int r = load(run);

    for (size_t i = 0; r == 0 && i < w->n_rows; i++) {
        if (!has_its_keys(w, i))
            continue;
        w->n_requests = 0;
        if ((r = ask_keys(run, i)) == 0)
            r = ask_pending(run);
        return r < 0 ? r : w->devices[i].refused && w->devices[i].refusal == EXPORT_KEY_STAYS;
    }
    return r;
}
