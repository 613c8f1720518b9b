/* An import at work: from the bytes of a file to devices, chunk by chunk, each a transaction with
 * the job's progress. What was committed is done and answered for; a file that broke off goes on
 * behind it (docs/architecture.md, "An import"). While a chunk is stored, by a thread of its own,
 * the next one is read and sealed; while devices may be joining, one thing is done after the other,
 * with rests. */
#pragma once

#include "activation/auth.h"
#include "activation/import_reader.h"
#include "db/batch.h"
#include "db/directory.h"
#include "db/job.h"

#define IMPORT_CHUNK_ROWS DB_BATCH_ROWS_MAX
#define IMPORT_SLOW_ROWS 32       /* of a chunk while devices may be joining (activation/pace.h) */
#define IMPORT_REFUSED_MAX 100000 /* rows of one job; with so many the file is broken off */

/** Why an import cannot go on, where nothing has failed. */
enum import_stop {
    IMPORT_GOES_ON = 0,
    IMPORT_LOST,         /* the job is somebody else's by now, or was cancelled */
    IMPORT_MANY_REFUSED, /* IMPORT_REFUSED_MAX */
    IMPORT_REVOKED,      /* the client, since the call began */
    IMPORT_REPORTS_FULL, /* the organization's reports have DB_REPORT_ROWS_MAX rows */
};

struct import_run {
    struct act_worker *worker;
    struct db_organization organization;
    const uint8_t *client_id; /* whose call it is, and its X-Request-Id: for the audit */
    const char *request_id;
    struct db_directory directory;
    const struct sealed_kek *transport; /* of `directory`; NULL: the organization has none */
    /* Both are the storing thread's between import_run_chunk and import_run_settle: the job, and
     * the worker's database connection. */
    struct db_job job;
    int64_t kept_of_others;    /* rows of the organization's other reports, as last asked */
    bool dry_run;              /* as the job says, for whoever does not own it */
    struct import_chunk chunk; /* the one being read */
    struct import_work *work;  /* what one chunk needs; of secret_realloc */
    struct import_storing *storing;
};

void import_run_done(struct import_run *run);
/** With the call's and the job's in place: loads the directory and makes room. */
int import_run_begin(struct import_run *run) MUST_CHECK;

/** Seals the rows of the chunk and begins to store them, or has stored them, and to move the job
 * on, in one transaction; the chunk is empty then. What is returned tells of the chunk before it,
 * and this one is begun only if that one went well. Outcome: an import_stop, and nothing was
 * stored. */
int import_run_chunk(struct import_run *run) MUST_CHECK;
/** Waits for the last chunk; the same outcomes, each told once. Then `job` is as it is in the
 * database. */
int import_run_settle(struct import_run *run) MUST_CHECK;
