/* An order's job: makes its credentials, chunk by chunk, and with each chunk what its maker gets of
 * it; at the end it is signed what was made. */
#pragma once

#include "activation/job_run.h"
#include "activation/order_make.h"
#include "activation/worker.h"

struct order_work;

struct order_run {
    struct act_worker *worker;
    struct db_order_run order;
    struct order_work *work;
};

/** Of an order that was taken. The first time it has the key made under which the credentials
 * leave, and keeps it, before there is anything that left under it. */
int order_run_begin(struct order_run *run);
/** One chunk, or the end. enum job_run_outcome. */
int order_run_chunk(struct order_run *run);
/** Half-begun is fine. What is made and not stored waits for the next turn of the same order. */
void order_run_done(struct order_run *run);
/** It has failed, for good. Outcome 1: it is not ours any more. */
int order_run_fail(struct order_run *run, const char *fault);

/** Marks a chunk of devices whose keys their maker has fetched. Outcome 1: there are none. */
int order_run_mark(struct act_worker *worker);

/** Lines of the report of an order. */
void order_report_write(const struct db_job_row *rows, size_t n, struct text *out);
