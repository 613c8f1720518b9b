#include "activation/import_run.h"

#include "activation/code_hash.h"
#include "activation/import_audit.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/text.h"
#include "db/audit.h"
#include "db/report.h"
#include "db/signal.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The keys of a row, in the order of their slots. */
enum { KEY_APP, KEY_NWK, N_KEYS };
#define FIRST_GENERATION 1 /* of a device's codes */
#define CHUNK_KEYS_MAX (N_KEYS * IMPORT_CHUNK_ROWS)

struct import_work {
    /* Of the rows that are not refused, by their number among them. */
    struct import_row *rows[IMPORT_CHUNK_ROWS];
    size_t n_rows;
    struct db_batch_row stored[IMPORT_CHUNK_ROWS];
    enum db_batch_outcome outcomes[IMPORT_CHUNK_ROWS];
    /* Of one message to keyd. */
    struct keyd_adopt_request adopt[KEYD_BATCH_MAX];
    struct keyd_adopt_reply replies[KEYD_BATCH_MAX];
    struct db_batch_key *targets[KEYD_BATCH_MAX];
    struct import_row *owners[KEYD_BATCH_MAX];
    size_t n_adopt;
    /* The chunk's keys, of which rows they are, and which are known. */
    struct db_key_of_device keys[CHUNK_KEYS_MAX];
    struct import_row *key_rows[CHUNK_KEYS_MAX];
    struct db_key_known known[CHUNK_KEYS_MAX];
    size_t n_keys;
    bool is_foreign[IMPORT_CHUNK_ROWS]; /* of all rows: a key is another organization's too */
    size_t n_foreign;                   /* of these, devices made */
    /* Claim codes of the chunk, hashed, and of which of the rows they are. */
    struct keyd_claim_code codes[IMPORT_CHUNK_ROWS];
    struct db_code given[IMPORT_CHUNK_ROWS];
    size_t given_rows[IMPORT_CHUNK_ROWS];
    size_t n_given;
    struct db_job_row told[IMPORT_CHUNK_ROWS];
    size_t n_told;
    uint8_t leaves[IMPORT_CHUNK_ROWS][MERKLE_HASH_LEN]; /* of the audit: of every row */
};

/* A chunk on its way into the database, while the next one is read and sealed. Until the thread has
 * ended, the database connection and the job are its own. */
struct import_storing {
    struct import_run *run;
    struct import_chunk chunk;
    struct import_work *work;
    pthread_t thread;
    bool has_thread;
    bool clear_withdrawn; /* files of the organization may hold keys in clear no more */
    int64_t kept;         /* rows of the organization's reports, as it was stored; 0: not asked */
    int result;           /* of a thread that ended, with its sentence */
    char error[ERROR_TEXT_MAX];
};

static void await_thread(struct import_storing *storing)
{
    if (storing->has_thread)
        (void)pthread_join(storing->thread, NULL);
    storing->has_thread = false;
}

void import_run_done(struct import_run *run)
{
    struct import_storing *storing = run->storing;

    if (storing != NULL) {
        await_thread(storing);
        import_chunk_done(&storing->chunk);
        secret_free(storing->work);
        free(storing);
    }
    import_chunk_done(&run->chunk);
    db_directory_done(&run->directory);
    secret_free(run->work);
    run->work = NULL;
    run->storing = NULL;
}

static int make_work(struct import_work **ret)
{
    *ret = secret_realloc(NULL, sizeof(**ret));
    if (*ret == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a chunk of rows");
    memset(*ret, 0, sizeof(**ret));
    return 0;
}

static int make_storing(struct import_run *run)
{
    int r;

    run->storing = calloc(1, sizeof(*run->storing));
    if (run->storing == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a chunk of rows");
    run->storing->run = run;
    if ((r = import_chunk_init(&run->storing->chunk, IMPORT_CHUNK_ROWS)) < 0)
        return r;
    return make_work(&run->storing->work);
}

/* Of the chunk to come, which is empty. A short one is worked on in short pieces, between which
 * joins find a core. */
static void choose_size(struct import_run *run)
{
    run->chunk.n_full =
        act_pace_is_slow(&run->worker->service->pace) ? IMPORT_SLOW_ROWS : IMPORT_CHUNK_ROWS;
}

int import_run_begin(struct import_run *run)
{
    char id[2 * ACCOUNT_ID_LEN + 1];
    int r;

    run->dry_run = run->job.dry_run;
    (void)hex_encode(run->organization.id, sizeof(run->organization.id), id);
    if ((r = db_directory_load(run->worker->db, &run->directory)) < 0 ||
        (r = import_chunk_init(&run->chunk, IMPORT_CHUNK_ROWS)) < 0)
        return r;
    for (size_t i = 0; i < run->directory.n_keks; i++)
        if (run->directory.keks[i].kek_class == KEK_CLASS_TRANSPORT &&
            strcmp(run->directory.keks[i].peer_id, id) == 0)
            run->transport = &run->directory.keks[i];
    choose_size(run);
    r = make_work(&run->work);
    return r < 0 ? r : make_storing(run);
}

/* --- what is wrong with a row that only we can know --------------------------------------------
 */

static bool is_ours(const void *context, const struct eui64 *join_eui)
{
    return db_directory_routes(context, join_eui);
}

static void lint_home(const struct db_directory *directory, struct import_row *row)
{
    if (row->has_home_net_id && !db_directory_speaks(directory, &row->home_net_id))
        import_row_add_lint(row, IMPORT_LINT_UNKNOWN_HOME_NET_ID);
    if (row->as_id[0] != '\0' && !db_directory_has_as(directory, row->as_id))
        import_row_add_lint(row, IMPORT_LINT_UNKNOWN_AS_ID);
}

static void lint_keys(const struct import_run *run, struct import_row *row)
{
    const struct import_key *keys[N_KEYS] = {&row->app, &row->nwk};

    for (int i = 0; i < N_KEYS; i++) {
        if (keys[i]->form == IMPORT_KEY_CLEAR && !run->organization.allow_clear_keys)
            import_row_add_lint(row, IMPORT_LINT_CLEAR_KEY);
        if (keys[i]->form == IMPORT_KEY_WRAPPED && run->transport == NULL)
            import_row_add_lint(row, IMPORT_LINT_NO_TRANSPORT_KEK);
    }
}

static void lint(struct import_run *run, struct import_row *row)
{
    import_lint_row(row, is_ours, &run->directory);
    lint_home(&run->directory, row);
    lint_keys(run, row);
}

/* --- keys ------------------------------------------------------------------------------------ */

static const enum keyd_key_form forms[] = {
    [IMPORT_KEY_CLEAR] = KEYD_FORM_CLEAR,
    [IMPORT_KEY_WRAPPED] = KEYD_FORM_WRAPPED,
    [IMPORT_KEY_SEALED] = KEYD_FORM_SEALED,
};

static const enum db_key_origin origins[] = {
    [IMPORT_KEY_NONE] = DB_KEY_NOT_RECORDED,
    [IMPORT_KEY_CLEAR] = DB_KEY_CLEAR,
    [IMPORT_KEY_WRAPPED] = DB_KEY_WRAPPED,
    [IMPORT_KEY_SEALED] = DB_KEY_SEALED,
};

static void fill_request(const struct import_row *row, enum key_slot slot,
    const struct import_key *key, struct keyd_adopt_request *ret)
{
    *ret = (struct keyd_adopt_request){.dev_eui = row->dev_eui,
        .join_eui = row->join_eui,
        .slot = slot,
        .form = forms[key->form],
        .transport_kek = 0};
    if (key->form == IMPORT_KEY_CLEAR)
        ret->key = key->clear;
    else if (key->form == IMPORT_KEY_WRAPPED)
        memcpy(ret->wrapped, key->wrapped, sizeof(ret->wrapped));
    else
        memcpy(ret->sealed, key->sealed, sizeof(ret->sealed));
}

/* A row whose key does not open is refused; a token that does not work ends the import. */
static int take_reply(struct import_work *w, size_t i)
{
    const struct keyd_adopt_reply *reply = &w->replies[i];

    switch (reply->status) {
    case KEYD_OK:
        w->targets[i]->sealed = reply->sealed;
        memcpy(w->targets[i]->fingerprint, reply->fingerprint, sizeof(reply->fingerprint));
        memcpy(w->keys[w->n_keys].fingerprint, reply->fingerprint, sizeof(reply->fingerprint));
        w->keys[w->n_keys].dev_eui = w->owners[i]->dev_eui;
        w->key_rows[w->n_keys++] = w->owners[i];
        return 0;
    case KEYD_BAD_INPUT:
        import_row_add_lint(w->owners[i], IMPORT_LINT_KEY_DOES_NOT_OPEN);
        return 0;
    default:
        return error_set(
            ERROR_HSM, "a device key was not sealed: %s", keyd_status_text(reply->status));
    }
}

static int seal_pending(struct import_run *run)
{
    struct import_work *w = run->work;
    int r;

    if (w->n_adopt == 0)
        return 0;
    r = keyd_adopt_device_keys(run->worker->keyd, &run->transport, run->transport != NULL ? 1 : 0,
        w->adopt, w->n_adopt, w->replies, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    secret_wipe(w->adopt, sizeof(w->adopt));
    for (size_t i = 0; r == 0 && i < w->n_adopt; i++)
        r = take_reply(w, i);
    w->n_adopt = 0;
    return r;
}

static int seal_key(struct import_run *run, struct import_row *row, enum key_slot slot,
    const struct import_key *key, struct db_batch_key *target)
{
    struct import_work *w = run->work;

    fill_request(row, slot, key, &w->adopt[w->n_adopt]);
    target->origin = origins[key->form];
    if (key->form == IMPORT_KEY_WRAPPED)
        memcpy(target->transport_kek, run->transport->label, sizeof(target->transport_kek));
    w->targets[w->n_adopt] = target;
    w->owners[w->n_adopt++] = row;
    return w->n_adopt == KEYD_BATCH_MAX ? seal_pending(run) : 0;
}

/* --- rows ------------------------------------------------------------------------------------ */

/* With a home network the device is claimed by whoever imports it; without, it waits for an owner.
 */
static void fill_stored(const struct import_row *row, struct db_batch_row *ret)
{
    bool counted = row->mac_version == LW_MAC_1_0_4 || row->mac_version == LW_MAC_1_1;

    *ret = (struct db_batch_row){
        .record =
            {
                .dev_eui = row->dev_eui,
                .join_eui = row->join_eui,
                .mac_version = row->mac_version,
                .credential = row->state,
                .ownership = row->has_home_net_id ? OWNERSHIP_CLAIMED : OWNERSHIP_UNOWNED,
                .service = row->has_home_net_id ? SERVICE_ACTIVE : SERVICE_INACTIVE,
                .trust = TRUST_OK,
                .ownership_epoch = row->has_home_net_id ? 1 : 0,
                .has_home_net_id = row->has_home_net_id,
                .home_net_id = row->home_net_id,
            },
        .line = (int64_t)row->line,
        .has_nwk = row->nwk.form != IMPORT_KEY_NONE,
        .join_nonce = row->has_join_nonce ? row->join_nonce : 0,
        .last_dev_nonce = counted && row->has_dev_nonce ? row->dev_nonce : DEVICE_NO_NONCE,
        .used_dev_nonces = row->used_dev_nonces,
        .n_used_dev_nonces = counted ? 0 : row->n_used_dev_nonces,
    };
    memcpy(ret->record.as_id, row->as_id, sizeof(ret->record.as_id));
    memcpy(ret->serial, row->serial, sizeof(ret->serial));
    memcpy(ret->name, row->name, sizeof(ret->name));
}

/* Those that are not refused, with their keys sealed. */
static int seal_rows(struct import_run *run)
{
    struct import_work *w = run->work;
    int r = 0;

    w->n_rows = w->n_keys = w->n_adopt = w->n_given = 0;
    for (size_t i = 0; i < run->chunk.n_rows; i++) {
        struct import_row *row = &run->chunk.rows[i];

        lint(run, row);
        if (import_row_refused(row))
            continue;
        fill_stored(row, &w->stored[w->n_rows]);
        w->rows[w->n_rows++] = row;
    }
    for (size_t i = 0; r == 0 && i < w->n_rows; i++) {
        r = seal_key(run, w->rows[i], KEY_SLOT_APP, &w->rows[i]->app, &w->stored[i].app);
        if (r == 0 && w->stored[i].has_nwk)
            r = seal_key(run, w->rows[i], KEY_SLOT_NWK, &w->rows[i]->nwk, &w->stored[i].nwk);
    }
    return r == 0 ? seal_pending(run) : r;
}

/* What was found since has refused more rows; claim codes go with theirs. */
static void drop_refused(struct import_work *w)
{
    size_t n = 0, n_given = 0, at = 0;

    for (size_t i = 0; i < w->n_rows; i++) {
        bool has_code = at < w->n_given && w->given_rows[at] == i;

        if (!import_row_refused(w->rows[i])) {
            if (has_code) {
                w->given[n_given] = w->given[at];
                w->given_rows[n_given++] = n;
            }
            w->rows[n] = w->rows[i];
            w->stored[n++] = w->stored[i];
        }
        at += has_code;
    }
    w->n_rows = n;
    w->n_given = n_given;
}

/* --- claim codes ----------------------------------------------------------------------------- */

/* Before the transaction, which waits for nobody; so also of devices that turn out to be here. */
static int hash_codes(struct import_run *run)
{
    struct import_work *w = run->work;
    int r;

    for (size_t i = 0; i < w->n_rows && !run->dry_run; i++) {
        const struct import_row *row = w->rows[i];
        struct keyd_claim_code *code = &w->codes[w->n_given];

        if (row->code[0] == '\0')
            continue;
        *code = (struct keyd_claim_code){.dev_eui = row->dev_eui,
            .generation = FIRST_GENERATION,
            .code_len = (uint8_t)strlen(row->code)};
        memcpy(code->code, row->code, code->code_len);
        w->given[w->n_given].weak = device_code_is_weak(row->code);
        w->given_rows[w->n_given++] = i;
    }
    r = act_code_hash(run->worker, w->codes, w->n_given, w->given);
    secret_wipe(w->codes, w->n_given * sizeof(w->codes[0]));
    return r;
}

/* All that needs no database. */
static int prepare(struct import_run *run)
{
    int r = seal_rows(run);

    drop_refused(run->work);
    if (r == 0)
        r = FAILPOINT(import_sealed, ERROR_HSM);
    return r == 0 ? hash_codes(run) : r;
}

/* --- storing --------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    const struct db_key_of_device *x = *(const struct db_key_of_device *const *)a;
    const struct db_key_of_device *y = *(const struct db_key_of_device *const *)b;
    int order = memcmp(x->fingerprint, y->fingerprint, sizeof(x->fingerprint));

    return order != 0 ? order
                      : memcmp(x->dev_eui.bytes, y->dev_eui.bytes, sizeof(x->dev_eui.bytes));
}

/* Of keys in the order of compare_keys that are one key: it is two devices' where the first and the
 * last are. */
static void mark_equal(struct import_work *w, const struct db_key_of_device *const *equal, size_t n)
{
    if (eui64_to_u64(&equal[0]->dev_eui) == eui64_to_u64(&equal[n - 1]->dev_eui))
        return;
    for (size_t i = 0; i < n; i++)
        w->known[equal[i] - w->keys].own = true;
}

static void mark_equal_in_chunk(struct import_work *w)
{
    const struct db_key_of_device *sorted[CHUNK_KEYS_MAX];
    size_t first = 0;

    for (size_t i = 0; i < w->n_keys; i++)
        sorted[i] = &w->keys[i];
    qsort(sorted, w->n_keys, sizeof(sorted[0]), compare_keys);
    for (size_t i = 1; i <= w->n_keys; i++) {
        if (i < w->n_keys && memcmp(sorted[first]->fingerprint, sorted[i]->fingerprint,
                                 sizeof(sorted[i]->fingerprint)) == 0)
            continue;
        mark_equal(w, &sorted[first], i - first);
        first = i;
    }
}

/* The same key in two devices of the chunk, or of one that is here. What another organization has
 * is not told: or whoever imports could try guesses at its keys. */
static int lint_duplicates(struct import_run *run)
{
    struct import_work *w = run->storing->work;
    int r;

    memset(w->is_foreign, 0, sizeof(w->is_foreign));
    if (w->n_keys == 0)
        return 0;
    r = db_batch_known_keys(
        run->worker->db, run->organization.row_id, w->keys, w->n_keys, w->known);
    if (r < 0)
        return r;
    mark_equal_in_chunk(w);
    for (size_t i = 0; i < w->n_keys; i++) {
        if (w->known[i].own)
            import_row_add_lint(w->key_rows[i], IMPORT_LINT_DUPLICATE_KEY);
        if (w->known[i].foreign)
            w->is_foreign[w->key_rows[i] - run->storing->chunk.rows] = true;
    }
    return 0;
}

/* What a dry run would come to. A device that the chunk itself would make is there for the rows
 * behind it; those of other chunks are not looked for. */
static int foresee(struct import_run *run)
{
    struct import_work *w = run->storing->work;
    int r = db_batch_foresee(
        run->worker->db, run->organization.row_id, w->stored, w->n_rows, w->outcomes);

    if (r < 0)
        return r;
    for (size_t i = 0; i < w->n_rows; i++)
        for (size_t k = 0; k < i && w->outcomes[i] == DB_BATCH_CREATED; k++)
            if (eui64_to_u64(&w->rows[k]->dev_eui) == eui64_to_u64(&w->rows[i]->dev_eui))
                w->outcomes[i] = DB_BATCH_EXISTS;
    return 0;
}

/* Those of the devices that were made, and no others: who has a label of before keeps it. */
static int store_codes(struct import_run *run)
{
    struct import_work *w = run->storing->work;
    size_t n = 0;

    for (size_t i = 0; i < w->n_given; i++)
        if (w->outcomes[w->given_rows[i]] == DB_BATCH_CREATED)
            w->given[n++] = w->given[i];
    w->n_given = n;
    return db_code_give(run->worker->db, w->given, n);
}

/* Of devices that were made with a key that another one of the organization's has. */
static int store_signals(struct import_run *run)
{
    struct import_work *w = run->storing->work;
    struct eui64 dev_euis[IMPORT_CHUNK_ROWS];
    size_t n = 0;

    for (size_t i = 0; i < w->n_rows; i++)
        if (w->outcomes[i] == DB_BATCH_CREATED &&
            import_row_has_lint(w->rows[i], IMPORT_LINT_DUPLICATE_KEY))
            dev_euis[n++] = w->rows[i]->dev_eui;
    return n == 0 ? 0 : db_signal_shared(run->worker->db, run->organization.row_id, dev_euis, n);
}

static int store(struct import_run *run)
{
    struct import_work *w = run->storing->work;
    int r;

    if (w->n_rows == 0)
        return 0;
    if (run->job.dry_run)
        return foresee(run);
    r = db_batch_insert(run->worker->db, run->job.batch_id, run->organization.row_id, w->stored,
        w->n_rows, w->outcomes);
    if (r == 0)
        r = store_codes(run);
    return r < 0 ? r : store_signals(run);
}

/* What became of a row that was stored, or tried. */
static const char *word_of(struct import_row *row, enum db_batch_outcome outcome)
{
    if (outcome == DB_BATCH_TAKEN)
        import_row_add_lint(row, IMPORT_LINT_DEV_EUI_TAKEN);
    if (outcome == DB_BATCH_NOT_ITS_JOIN_EUI)
        import_row_add_lint(row, IMPORT_LINT_OWNED_JOIN_EUI);
    return outcome == DB_BATCH_CREATED  ? "created"
           : outcome == DB_BATCH_EXISTS ? "exists"
                                        : "refused";
}

/* Rows that made a device and have nothing more to say are told by the device. */
static int tell(struct import_run *run, struct db_job_counts *counts)
{
    struct import_work *w = run->storing->work;
    const struct import_chunk *chunk = &run->storing->chunk;
    size_t n_stored = 0;

    *counts = (struct db_job_counts){0};
    w->n_told = w->n_foreign = 0;
    for (size_t i = 0; i < chunk->n_rows; i++) {
        struct import_row *row = &chunk->rows[i];
        const char *outcome = "refused";
        int r;

        if (n_stored < w->n_rows && w->rows[n_stored] == row)
            outcome = word_of(row, w->outcomes[n_stored++]);
        counts->created += outcome[0] == 'c';
        w->n_foreign += outcome[0] == 'c' && w->is_foreign[i];
        counts->exists += outcome[0] == 'e';
        counts->refused += outcome[0] == 'r';
        counts->warned += outcome[0] != 'r' && row->lints != 0;
        if ((r = import_audit_leaf(row, outcome, w->leaves[i])) < 0)
            return r;
        if (outcome[0] == 'c' && row->lints == 0 && !run->job.dry_run)
            continue;
        w->told[w->n_told++] = (struct db_job_row){.line = (int64_t)row->line,
            .has_dev_eui = row->has_dev_eui,
            .dev_eui = row->dev_eui,
            .outcome = outcome,
            .lints = row->lints};
    }
    counts->kept = (int64_t)w->n_told;
    return 0;
}

/* One event for all rows of the chunk: one a row would double what a million of them writes. */
static int audit(struct import_run *run, int64_t line, const struct db_job_counts *counts)
{
    CLEANUP(text_done) struct text detail = {0};
    uint8_t root[MERKLE_HASH_LEN];
    char id[2 * ACCOUNT_ID_LEN + 1];
    struct db_audit_event event = {.organization_id = run->job.organization_id,
        .client_id = run->client_id,
        .request_id = run->request_id,
        .action = "import.chunk",
        .object = hex_encode(run->job.id, sizeof(run->job.id), id)};

    merkle_root(run->storing->work->leaves, run->storing->chunk.n_rows, root);
    text_addf(&detail, "{\"after\":%" PRId64 ",\"line\":%" PRId64, run->job.line, line);
    text_addf(&detail, ",\"created\":%" PRId64 ",\"exists\":%" PRId64 ",\"refused\":%" PRId64,
        counts->created, counts->exists, counts->refused);
    text_add(&detail, ",\"root\":\"");
    text_add_hex(&detail, root, sizeof(root));
    text_add(&detail, "\"}");
    if (detail.failed)
        return error_set(ERROR_SYSTEM, "out of memory for an audit event");
    event.detail = detail.data;
    return db_audit_add(run->worker->db, &event);
}

/* A file may come for hours: what was allowed when it began may not be any more. */
static int look_again(struct import_run *run)
{
    struct import_work *w = run->storing->work;
    bool revoked, allow_clear_keys;
    int r = db_client_standing(run->worker->db, run->client_id, &revoked, &allow_clear_keys);

    if (r < 0 || revoked)
        return r < 0 ? r : IMPORT_REVOKED;
    if (allow_clear_keys)
        return 0;
    run->storing->clear_withdrawn = true;
    for (size_t i = 0; i < w->n_rows; i++)
        if (w->rows[i]->app.form == IMPORT_KEY_CLEAR || w->rows[i]->nwk.form == IMPORT_KEY_CLEAR)
            import_row_add_lint(w->rows[i], IMPORT_LINT_CLEAR_KEY);
    drop_refused(w);
    return 0;
}

/* Inside the transaction. */
static int commit_rows(struct import_run *run, int64_t line)
{
    struct db *db = run->worker->db;
    struct import_work *w = run->storing->work;
    struct db_job_counts counts;
    int r;

    if ((r = look_again(run)) != 0 || (r = lint_duplicates(run)) < 0 || (r = store(run)) < 0 ||
        (r = tell(run, &counts)) < 0 ||
        (r = db_job_rows_add(db, run->job.row_id, w->told, w->n_told)) < 0)
        return r;
    if (!run->job.dry_run && (r = audit(run, line, &counts)) < 0)
        return r;
    r = db_job_advance(db, &run->job, line, run->storing->chunk.digest, &counts);
    if (r != 0)
        return r < 0 ? r : IMPORT_LOST;
    return counts.kept > 0 ? db_report_kept(db, run->organization.row_id, &run->storing->kept) : 0;
}

/* The connection broke while the commit was on its way: the job's line tells. */
static int resolve(struct import_run *run, int64_t line)
{
    struct db_job now;
    int r;

    log_warn("the result of a chunk's commit is unknown: %s", error_text());
    db_drop(run->worker->db);
    if ((r = db_job_find(run->worker->db, run->job.id, &now)) != 0)
        return r < 0 ? r : error_set(ERROR_DB, "database: the job is gone");
    if (now.turn != run->job.turn)
        return IMPORT_LOST;
    if (now.line != line)
        return error_set(ERROR_DB, "database: the chunk was not committed");
    run->job = now;
    return 0;
}

static int store_chunk(struct import_storing *storing)
{
    struct import_run *run = storing->run;
    struct db *db = run->worker->db;
    struct db_job before = run->job;
    int64_t line = (int64_t)storing->chunk.rows[storing->chunk.n_rows - 1].line;
    int r = db_begin(db);

    if (r == 0) {
        r = commit_rows(run, line);
        if (r != 0 || run->job.cancel_wanted) {
            db_rollback(db);
            r = r != 0 ? r : IMPORT_LOST;
        } else {
            r = FAILPOINT(import_before_commit, ERROR_DB);
            r = r < 0 ? r : db_commit(db);
            r = r < 0 ? r : FAILPOINT(import_commit_done, ERROR_DB_UNKNOWN);
            if (r == ERROR_DB_UNKNOWN)
                r = resolve(run, line);
        }
    }
    if (r != 0) {
        before.cancel_wanted = run->job.cancel_wanted;
        run->job = before; /* as it is in the database */
    } else if (!run->job.dry_run) {
        struct act_metrics *metrics = &run->worker->service->metrics;

        metric_add(&metrics->codes[COUNT_CODE_GIVEN], (int64_t)storing->work->n_given);
        metric_add(&metrics->foreign_keys, (int64_t)storing->work->n_foreign);
    }
    return r;
}

static void *storing_main(void *context)
{
    struct import_storing *storing = context;

    storing->result = store_chunk(storing);
    if (storing->result < 0)
        (void)snprintf(storing->error, sizeof(storing->error), "%s", error_text());
    import_chunk_clear(&storing->chunk);
    return NULL;
}

int import_run_settle(struct import_run *run)
{
    struct import_storing *storing = run->storing;
    int r;

    if (storing == NULL)
        return 0;
    await_thread(storing);
    if (storing->clear_withdrawn)
        run->organization.allow_clear_keys = false;
    if (storing->kept > 0)
        run->kept_of_others = storing->kept - run->job.counts.kept;
    storing->kept = 0;
    r = storing->result;
    storing->result = 0;
    return r < 0 ? error_set(r, "%s", storing->error) : r;
}

/* Hands the chunk over, and takes the other one, which is empty. `by_thread`: and does not wait. */
static void begin_storing(struct import_run *run, bool by_thread)
{
    struct import_storing *storing = run->storing;
    struct import_chunk chunk = storing->chunk;
    struct import_work *work = storing->work;

    storing->chunk = run->chunk;
    storing->work = run->work;
    run->chunk = chunk;
    run->work = work;
    storing->has_thread =
        by_thread && pthread_create(&storing->thread, NULL, storing_main, storing) == 0;
    if (!storing->has_thread)
        (void)storing_main(storing); /* slower, and as good */
}

/* What a file may leave behind is bounded, also where each row of it is two bytes. Asked where more
 * rows have come: a file that ends here is done. */
static enum import_stop look_at_limits(const struct import_run *run)
{
    const struct db_job_counts *counts = &run->job.counts;

    if (counts->refused >= IMPORT_REFUSED_MAX)
        return IMPORT_MANY_REFUSED;
    return run->kept_of_others + counts->kept >= DB_REPORT_ROWS_MAX ? IMPORT_REPORTS_FULL
                                                                    : IMPORT_GOES_ON;
}

/* What came first in the file is said first. */
static int prepare_and_store(struct import_run *run, bool by_thread)
{
    int prepared = prepare(run);
    int r = import_run_settle(run);

    if (r == 0)
        r = prepared;
    if (r == 0)
        r = (int)look_at_limits(run);
    if (r == 0)
        begin_storing(run, by_thread);
    else
        import_chunk_clear(&run->chunk);
    return r;
}

int import_run_chunk(struct import_run *run)
{
    struct act_pace_turn turn;
    bool slow;
    int r;

    if (run->chunk.n_rows == 0)
        return import_run_settle(run);
    slow = act_pace_enter(&run->worker->service->pace, &turn);
    r = prepare_and_store(run, !slow);
    act_pace_leave(&turn);
    choose_size(run);
    return r;
}
