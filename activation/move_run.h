/* A job of moves at work: chunk by chunk, each a transaction with the devices, their codes, offers
 * and audit events, the rows of the report and the job's progress (docs/architecture.md, "Jobs").
 */
#pragma once

#include "activation/job_run.h"
#include "activation/mover.h"
#include "db/move.h"

struct move_run {
    struct act_worker *worker;
    struct db_move move;
    unsigned n_changed; /* chunks in a row that were undone, since a device had changed meanwhile */
    struct move_work *work;
};

/** With worker and move in place: makes room. */
int move_run_begin(struct move_run *run) MUST_CHECK;
void move_run_done(struct move_run *run);
/** The next chunk, or the end: enum job_run_outcome. Negative: nothing of the chunk was done. */
int move_run_chunk(struct move_run *run) MUST_CHECK;

/** The name of the calls that such a job is, as the maker of codes that nobody was told yet. */
void move_run_name(
    const uint8_t job_id[static ACCOUNT_ID_LEN], uint8_t out[static DB_CODE_CALL_LEN]);

/** Adds the lines of a report. */
void move_report_write(
    enum device_move move, const struct db_job_row *rows, size_t n, struct text *out);
