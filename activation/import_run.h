/* An import at work: from the bytes of a file to devices, chunk by chunk, each a transaction with
 * the job's progress. What was committed is done and answered for; a file that broke off goes on
 * behind it (docs/architecture.md, "An import"). */
#pragma once

#include "activation/auth.h"
#include "activation/import_reader.h"
#include "db/batch.h"
#include "db/directory.h"
#include "db/job.h"

#define IMPORT_CHUNK_ROWS DB_BATCH_ROWS_MAX

struct import_run {
    struct act_worker *worker;
    struct db_organization organization;
    struct db_directory directory;
    const struct sealed_kek *transport; /* of `directory`; NULL: the organization has none */
    struct db_job job;
    struct import_chunk chunk;
    struct import_work *work; /* what one chunk needs; of secret_realloc */
};

void import_run_done(struct import_run *run);
/** With worker, organization and job in place: loads the directory and makes room. */
int import_run_begin(struct import_run *run) MUST_CHECK;

/** Seals and stores the rows of the chunk and moves the job on, in one transaction; the chunk is
 * empty then. Outcome 1: the job is somebody else's by now, or was cancelled; nothing was stored.
 */
int import_run_chunk(struct import_run *run) MUST_CHECK;
