/* An export at work: chunk by chunk, each a transaction with the marks of its devices, its piece of
 * the file and the job's progress (docs/architecture.md, "Jobs"). */
#pragma once

#include "activation/job_run.h"
#include "activation/worker.h"
#include "db/export.h"

/** Why a device is not in the file. Its bit stands in job_row.lints, so numbers are never given
 * anew. */
enum export_refusal {
    EXPORT_QUARANTINED,
    EXPORT_SCRAPPED,
    EXPORT_NO_KEY,      /* none in the database, or not all that its version has */
    EXPORT_KEY_ALTERED, /* its tag is refused, or the token does not know its storage KEK */
    EXPORT_KEY_SHARED, /* another organization's device has it: it may have been taken from there */
    EXPORT_KEY_STAYS,  /* the token has no key that opens it for export */
    EXPORT_KEY_UNPROVED, /* it has no fingerprint, or its check value is that of another
                          * organization's key without one */
    EXPORT_NOT_LORAWAN,  /* a Sigfox device, which the format has no place for */
    N_EXPORT_REFUSALS
};
/** Name, and a sentence with what to do. */
const char *export_refusal_name(enum export_refusal refusal);
const char *export_refusal_detail(enum export_refusal refusal);

struct export_run {
    struct act_worker *worker;
    struct db_export export;
    struct export_work *work;
};

/** With worker and export in place: makes room and reads the public key. */
int export_run_begin(struct export_run *run) MUST_CHECK;
void export_run_done(struct export_run *run);

/** The next chunk, or the end: enum job_run_outcome. Negative: nothing of the chunk was done. */
int export_run_chunk(struct export_run *run) MUST_CHECK;

/** Whether the token can export the keys of the first device that this would meet with keys to
 * give, without giving any away: one message to keyd. Outcome 1: it cannot. */
int export_run_try(struct export_run *run) MUST_CHECK;

/** Adds the lines of a report: the devices that are not in the file. */
void export_report_write(const struct db_job_row *rows, size_t n, struct text *out);
