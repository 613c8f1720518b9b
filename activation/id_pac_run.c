#include "activation/id_pac_run.h"

#include "activation/code_hash.h"
#include "base/error.h"
#include "base/log.h"
#include "db/claim_rule.h"
#include <inttypes.h>
#include <string.h>

#define TURNS_MAX 4 /* of lines whose devices change meanwhile, or whose commit is not known */

_Static_assert(ID_PAC_CHUNK_LINES <= DB_ID_PAC_CHUNK_MAX, "a chunk is one statement");
_Static_assert(ID_PAC_CHUNK_LINES <= KEYD_BATCH_MAX, "and one message to keyd");

#define NO_ENTRY SIZE_MAX

/* Lines that are settled together: no device is among them twice. */
struct id_pac_work {
    struct db_id_pac entries[ID_PAC_CHUNK_LINES];
    const struct id_pac_line *sources[ID_PAC_CHUNK_LINES]; /* of each entry */
    size_t n_entries;
    size_t entry_of[ID_PAC_CHUNK_LINES];  /* of each line; NO_ENTRY of one with a fault */
    bool is_repeated[ID_PAC_CHUNK_LINES]; /* the same stood in a line before */
    struct id_pac_answer answers[ID_PAC_CHUNK_LINES];
    uint8_t leaves[ID_PAC_CHUNK_LINES][MERKLE_HASH_LEN];
    size_t at, n_lines; /* which of the chunk */
    struct keyd_claim_code clear[ID_PAC_CHUNK_LINES];
    struct db_code hashed[ID_PAC_CHUNK_LINES];
};

int id_pac_run_begin(struct id_pac_run *run)
{
    struct act_call *call = run->call;

    run->claimant = (struct db_claimant){.organization_id = call->caller->organization_id,
        .request_id = api_request_id(call->request)};
    memcpy(run->claimant.client_id, call->caller->client_id, sizeof(run->claimant.client_id));
    run->claimant.has_network = api_request_network(call->request, &run->claimant.network);
    run->chunk = secret_realloc(NULL, sizeof(*run->chunk));
    run->work = secret_realloc(NULL, sizeof(*run->work));
    if (run->chunk == NULL || run->work == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a chunk of lines");
    memset(run->chunk, 0, sizeof(*run->chunk));
    memset(run->work, 0, sizeof(*run->work));
    return 0;
}

void id_pac_run_done(struct id_pac_run *run)
{
    secret_free(run->chunk);
    secret_free(run->work);
    id_pac_report_done(&run->report);
}

static size_t find_entry(const struct id_pac_work *w, const struct eui64 *dev_eui)
{
    for (size_t i = 0; i < w->n_entries; i++)
        if (memcmp(&w->entries[i].dev_eui, dev_eui, sizeof(*dev_eui)) == 0)
            return i;
    return NO_ENTRY;
}

/* The lines from `at` on, up to one that says another PAC of the same device: a guess of its own.
 */
static void gather(struct id_pac_run *run, size_t at)
{
    struct id_pac_work *w = run->work;
    const struct id_pac_chunk *chunk = run->chunk;

    w->at = at;
    w->n_entries = w->n_lines = 0;
    for (size_t i = at; i < chunk->n; i++) {
        const struct id_pac_line *line = &chunk->lines[i];
        size_t found = NO_ENTRY;

        if (line->fault == ID_PAC_LINE_GOOD) {
            found = find_entry(w, &line->dev_eui);
            if (found != NO_ENTRY && strcmp(w->sources[found]->code, line->code) != 0)
                return;
        }
        w->is_repeated[w->n_lines] = found != NO_ENTRY;
        if (found == NO_ENTRY && line->fault == ID_PAC_LINE_GOOD) {
            found = w->n_entries;
            w->sources[found] = line;
            w->entries[w->n_entries++] = (struct db_id_pac){.dev_eui = line->dev_eui};
        }
        w->entry_of[w->n_lines++] = found;
    }
}

/* As it was typed, or as what it must be if it was made here, by the same steps. */
static void put_code(struct keyd_claim_code *ret, const struct db_id_pac *entry, const char *typed)
{
    char read[2][DEVICE_CODE_MAX + 1];
    const char *code = read[entry->is_made];

    memcpy(read[0], typed, sizeof(read[0]));
    memcpy(read[1], typed, sizeof(read[1]));
    device_code_as_made(read[1]);
    *ret = (struct keyd_claim_code){.dev_eui = entry->dev_eui,
        .generation = entry->generation,
        .version = entry->code_key,
        .code_len = (uint8_t)strlen(code)};
    memcpy(ret->code, code, ret->code_len);
    secret_wipe(read, sizeof(read));
}

static int hash(struct id_pac_run *run)
{
    struct id_pac_work *w = run->work;
    int r;

    for (size_t i = 0; i < w->n_entries; i++)
        put_code(&w->clear[i], &w->entries[i], w->sources[i]->code);
    r = act_code_hash(run->call->worker, w->clear, w->n_entries, w->hashed);
    secret_wipe(w->clear, sizeof(w->clear));
    for (size_t i = 0; r == 0 && i < w->n_entries; i++) {
        memcpy(w->entries[i].hash, w->hashed[i].hash, sizeof(w->entries[i].hash));
        w->entries[i].hash_version = w->hashed[i].version;
    }
    return r;
}

static bool is_raced(const struct id_pac_work *w)
{
    for (size_t i = 0; i < w->n_entries; i++)
        if (w->entries[i].outcome == ID_PAC_RACED)
            return true;
    return false;
}

/* What each line is answered, as far as they were looked at. What stands in the list twice is there
 * already the second time. */
static int answer(struct id_pac_run *run, int64_t counts[static N_ID_PAC_COUNTS])
{
    struct id_pac_work *w = run->work;
    const struct id_pac_line *lines = &run->chunk->lines[w->at];
    int r = 0;

    memset(counts, 0, N_ID_PAC_COUNTS * sizeof(counts[0]));
    for (size_t i = 0; r == 0 && i < w->n_lines; i++) {
        const struct db_id_pac *entry =
            w->entry_of[i] != NO_ENTRY ? &w->entries[w->entry_of[i]] : NULL;
        struct db_id_pac again;

        if (entry != NULL && entry->outcome == ID_PAC_HELD) {
            w->n_lines = i;
            break;
        }
        if (entry != NULL && w->is_repeated[i] && entry->outcome <= ID_PAC_HANDED_OVER) {
            again = *entry;
            again.outcome = ID_PAC_EXISTS;
            entry = &again;
        }
        w->answers[i] = id_pac_answer_of(&run->report, &lines[i], entry);
        counts[id_pac_answer_count(&w->answers[i])]++;
        r = id_pac_answer_leaf(&w->answers[i], w->leaves[i]);
    }
    return r;
}

/* One event for the lines that were settled together, where that has changed anything. */
static int audit(struct id_pac_run *run, const int64_t counts[static N_ID_PAC_COUNTS])
{
    CLEANUP(text_done) struct text detail = {0};
    struct id_pac_work *w = run->work;
    uint8_t root[MERKLE_HASH_LEN];

    if (counts[COUNT_PAC_ACTIVABLE] == 0)
        return 0;
    merkle_root(w->leaves, w->n_lines, root);
    text_addf(&detail, "{\"after\":%" PRIu32 ",\"line\":%" PRIu32, run->line,
        w->answers[w->n_lines - 1].line);
    for (unsigned i = 0; i < N_ID_PAC_COUNTS; i++)
        text_addf(&detail, ",\"%s\":%" PRId64, id_pac_count_text(i), counts[i]);
    text_add(&detail, ",\"root\":\"");
    text_add_hex(&detail, root, sizeof(root));
    text_add(&detail, "\"}");
    if (detail.failed)
        return error_set(ERROR_SYSTEM, "out of memory for an audit event");
    return act_call_audit(run->call, run->claimant.organization_id, "id-pac.chunk",
        run->certificate.number, detail.data);
}

#define ONCE_MORE 100 /* besides the outcomes of a run */

/* Inside the transaction. */
static int settle(struct id_pac_run *run, size_t allowance, bool last)
{
    struct db *db = run->call->worker->db;
    struct id_pac_work *w = run->work;
    int64_t counts[N_ID_PAC_COUNTS];
    bool revoked, allow_clear_keys;
    int r = db_client_standing(db, run->claimant.client_id, &revoked, &allow_clear_keys);

    if (r < 0 || revoked)
        return r < 0 ? r : ID_PAC_NO_CLIENT;
    r = w->n_entries == 0 ? 0
                          : db_id_pac_settle(db, &run->claimant, run->certificate.row_id, allowance,
                                w->entries, w->n_entries);
    if (r != 0)
        return r < 0 ? r : ID_PAC_NO_CERTIFICATE;
    if (is_raced(w) && !last)
        return ONCE_MORE;
    r = answer(run, counts);
    return r < 0 ? r : audit(run, counts);
}

/* What came through finds itself the next time, where the answer of its commit was lost. */
static int commit(struct id_pac_run *run, size_t allowance, bool last)
{
    struct db *db = run->call->worker->db;
    int r = db_begin(db);

    if (r == 0)
        r = settle(run, allowance, last);
    if (r != 0) {
        db_rollback(db);
        return r;
    }
    r = db_commit(db);
    if (r != ERROR_DB_UNKNOWN)
        return r;
    log_warn("request=%s the result of a chunk's commit is unknown: %s", run->claimant.request_id,
        error_text());
    db_drop(db);
    return ONCE_MORE;
}

/* Claim rules take at once what has become activable, and is still their maker's. They would find
 * it by themselves, later. */
static void wake_rules(struct id_pac_run *run)
{
    const struct id_pac_work *w = run->work;
    int64_t batches[ID_PAC_CHUNK_LINES];
    size_t n = 0;

    for (size_t i = 0; i < w->n_entries; i++) {
        bool known = w->entries[i].outcome != ID_PAC_ACTIVABLE || w->entries[i].batch_id == 0;

        for (size_t k = 0; k < n && !known; k++)
            known = batches[k] == w->entries[i].batch_id;
        if (!known)
            batches[n++] = w->entries[i].batch_id;
    }
    if (n > 0 && db_rule_wake(run->call->worker->db, batches, n) < 0)
        log_warn(
            "request=%s claim rules were not woken: %s", run->claimant.request_id, error_text());
}

/* What is committed may be told. */
static int take_over(struct id_pac_run *run)
{
    struct act_metrics *metrics = &run->call->worker->service->metrics;
    const struct id_pac_work *w = run->work;
    int r = 0;

    for (size_t i = 0; r == 0 && i < w->n_lines; i++) {
        r = id_pac_report_add(&run->report, &w->answers[i]);
        run->line = w->answers[i].line;
        metric_add(&metrics->id_pacs[id_pac_answer_count(&w->answers[i])], 1);
    }
    wake_rules(run);
    return r;
}

/* The lines from `at` on that may be settled together; *ret_n of them are done. */
static int do_lines(struct id_pac_run *run, size_t at, size_t *ret_n)
{
    struct id_pac_work *w = run->work;
    int r = ONCE_MORE;

    for (int i = 0; i < TURNS_MAX && r == ONCE_MORE; i++) {
        size_t allowance = 1;

        gather(run, at);
        run->wait_s = 0;
        r = w->n_entries == 0 ? 0
                              : db_id_pac_load(run->call->worker->db, &run->claimant, w->entries,
                                    w->n_entries, &run->wait_s, &allowance);
        if (r < 0 || run->wait_s > 0)
            return r < 0 ? r : ID_PAC_MANY_WRONG;
        if ((r = hash(run)) < 0)
            return r;
        r = commit(run, allowance, i == TURNS_MAX - 1);
    }
    if (r == ONCE_MORE)
        r = error_set(ERROR_DB, "database: a list did not come to an end");
    *ret_n = w->n_lines;
    return r == 0 ? take_over(run) : r;
}

static int do_chunk(struct id_pac_run *run)
{
    size_t n = 0;
    int r = 0;

    for (size_t at = 0; r == 0 && at < run->chunk->n; at += n) {
        if (run->report.counts[COUNT_PAC_REFUSED] >= ID_PAC_REFUSED_MAX)
            return ID_PAC_MANY_REFUSED;
        r = do_lines(run, at, &n);
    }
    return r;
}

int id_pac_run_chunk(struct id_pac_run *run)
{
    struct act_pace_turn turn;
    int r;

    if (run->chunk->n == 0)
        return 0;
    (void)act_pace_enter(&run->call->worker->service->pace, &turn);
    r = do_chunk(run);
    act_pace_leave(&turn);
    secret_wipe(run->chunk->lines, sizeof(run->chunk->lines));
    run->chunk->n = 0;
    return r;
}
