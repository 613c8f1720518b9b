#include "activation/move_run.h"

#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Chunks in a row: devices that change all the time wait, and nobody else does. */
#define CHANGED_MAX 8
#define OUTCOME_MOVED "moved"
#define OUTCOME_REFUSED "refused"
#define NAME_PREFIX "job of moves|"

_Static_assert(MOVER_MAX <= KEYD_BATCH_MAX, "a chunk is one message to keyd");
_Static_assert(MOVER_MAX <= DB_JOB_ROWS_MAX, "and one statement of its report");
_Static_assert(DB_CODE_HASH_LEN <= KEYD_RANDOM_MAX, "a hash of no code is one item");

struct move_work {
    struct mover mover;
    char job[2 * ACCOUNT_ID_LEN + 1];
    struct eui64 dev_euis[MOVER_MAX];
    size_t n;
    struct moving moving[MOVER_MAX];
    uint8_t random[MOVER_MAX][DB_CODE_HASH_LEN];
};

void move_run_name(
    const uint8_t job_id[static ACCOUNT_ID_LEN], uint8_t out[static DB_CODE_CALL_LEN])
{
    char id[2 * ACCOUNT_ID_LEN + 1], name[sizeof(NAME_PREFIX) + sizeof(id)];
    int len =
        snprintf(name, sizeof(name), "%s%s", NAME_PREFIX, hex_encode(job_id, ACCOUNT_ID_LEN, id));

    digest_sha256(name, (size_t)len, out);
}

int move_run_begin(struct move_run *run)
{
    const struct db_move_order *order = &run->move.order;
    struct move_work *w = run->work = calloc(1, sizeof(*run->work));

    if (w == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for moves");
    w->mover = (struct mover){.move = order->move,
        .organization_id = run->move.job.organization_id,
        .client_id = run->move.client_id,
        .request_id = order->request_id,
        .is_operator = order->as_operator,
        .job = hex_encode(run->move.job.id, sizeof(run->move.job.id), w->job),
        .rebinds = order->rebinds,
        .has_home_net_id = order->has_home_net_id,
        .home_net_id = order->home_net_id,
        .to_id = order->to_id,
        .lifetime_s = order->lifetime_s};
    memcpy(w->mover.as_id, order->as_id, sizeof(w->mover.as_id));
    move_run_name(run->move.job.id, w->mover.made_by);
    return 0;
}

void move_run_done(struct move_run *run)
{
    free(run->work);
    run->work = NULL;
}

/* What no code has for its hash: the old code is worthless from now on, and the new one is made
 * when it is told (activation/codes.c), so that none is ever kept. */
static int draw_codes(struct move_run *run)
{
    struct move_work *w = run->work;
    int r;

    if (!device_move_renews_code(w->mover.move))
        return 0;
    r = keyd_random(run->worker->keyd, w->random[0], sizeof(w->random[0]), w->n,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    for (size_t i = 0; r == 0 && i < w->n; i++)
        memcpy(w->moving[i].code.hash, w->random[i], sizeof(w->random[i]));
    return r;
}

/* The next devices as they are. No lock is held meanwhile. */
static int prepare(struct move_run *run)
{
    struct move_work *w = run->work;
    int r = db_move_load(run->worker->db, &run->move, w->dev_euis, &w->n);

    if (r < 0 || w->n == 0)
        return r;
    r = mover_load(run->worker, &w->mover, w->dev_euis, w->n, w->moving);
    return r < 0 ? r : draw_codes(run);
}

static int tell(struct move_run *run, int64_t line)
{
    struct move_work *w = run->work;
    struct db_job_row rows[MOVER_MAX];

    for (size_t i = 0; i < w->n; i++) {
        unsigned refusal = w->moving[i].refusal;

        rows[i] = (struct db_job_row){.line = line + (int64_t)i + 1,
            .has_dev_eui = true,
            .dev_eui = w->dev_euis[i],
            .outcome = refusal == MOVE_NOT_REFUSED ? OUTCOME_MOVED : OUTCOME_REFUSED,
            .lints = refusal};
    }
    return db_job_rows_add(run->worker->db, run->move.job.row_id, rows, w->n);
}

enum { CHUNK_STORED, CHUNK_LOST, CHUNK_CANCELLED, CHUNK_CHANGED };

/* Inside the transaction. The job's row comes first: whoever has it is alone with this job. */
static int store(struct move_run *run)
{
    struct move_work *w = run->work;
    int64_t line = run->move.job.line, n_moved = 0;
    int r;

    for (size_t i = 0; i < w->n; i++)
        n_moved += w->moving[i].refusal == MOVE_NOT_REFUSED;
    r = db_move_advance(run->worker->db, &run->move, n_moved, (int64_t)w->n - n_moved);
    if (r != 0)
        return r < 0 ? r : CHUNK_LOST;
    if (run->move.job.cancel_wanted)
        return CHUNK_CANCELLED;
    if ((r = mover_make(run->worker, &w->mover, w->moving, w->n)) != 0)
        return r < 0 ? r : CHUNK_CHANGED;
    return tell(run, line);
}

/* The connection broke while the commit was on its way: the job tells. */
static int resolve(struct move_run *run)
{
    struct db_job now;
    int r;

    log_warn("the result of a chunk's commit is unknown: %s", error_text());
    db_drop(run->worker->db);
    if ((r = db_job_find(run->worker->db, run->move.job.id, &now)) != 0)
        return r < 0 ? r : error_set(ERROR_DB, "database: the job is gone");
    if (now.line != run->move.job.line)
        return error_set(ERROR_DB, "database: the chunk was not committed");
    return CHUNK_STORED;
}

static int end(struct move_run *run, enum db_job_state state)
{
    int r = db_move_end(run->worker->db, &run->move, state, NULL);

    return r < 0 ? r : r > 0 ? RUN_LOST : RUN_ENDED;
}

int move_run_chunk(struct move_run *run)
{
    struct db *db = run->worker->db;
    struct db_move before = run->move;
    int r;

    if (run->move.job.cancel_wanted)
        return end(run, JOB_CANCELLED);
    if ((r = prepare(run)) < 0)
        return r;
    if (run->work->n == 0)
        return end(run, JOB_DONE);
    if ((r = db_begin(db)) < 0)
        return r;
    if ((r = store(run)) == CHUNK_STORED) {
        r = db_commit(db);
        if (r == ERROR_DB_UNKNOWN)
            r = resolve(run);
    } else {
        db_rollback(db);
    }
    run->n_changed = r == CHUNK_CHANGED ? run->n_changed + 1 : 0;
    if (r == CHUNK_STORED)
        return RUN_GOES_ON;
    before.job.cancel_wanted = run->move.job.cancel_wanted;
    run->move = before; /* as it is in the database */
    if (r == CHUNK_CANCELLED)
        return end(run, JOB_CANCELLED);
    if (run->n_changed == CHANGED_MAX)
        return error_set(
            ERROR_DB, "database: devices changed each time that they were to be moved");
    return r == CHUNK_LOST ? RUN_LOST : r < 0 ? r : RUN_GOES_ON;
}

void move_report_write(
    enum device_move move, const struct db_job_row *rows, size_t n, struct text *out)
{
    char dev_eui[EUI64_TEXT_LEN + 1], sentence[DEVICE_MOVE_FAULT_MAX];

    for (size_t i = 0; i < n; i++) {
        unsigned refusal = (unsigned)rows[i].lints;

        text_addf(out, "{\"line\":%" PRId64 ",\"dev_eui\":\"%s\",\"outcome\":\"%s\"", rows[i].line,
            device_id_format(&rows[i].dev_eui, dev_eui), rows[i].outcome);
        if (refusal != MOVE_NOT_REFUSED) {
            move_refusal_explain(move, refusal, sentence);
            text_addf(out, ",\"reason\":\"%s\",\"detail\":", move_refusal_name(refusal));
            text_add_json(out, sentence);
        }
        text_add(out, "}\n");
    }
}
