/* The thread that does jobs which nobody waits for, exports, moves and orders, and between them
 * claims by rules and marks what was delivered. It has a database connection and a keyd channel of
 * its own, takes the next job that waits for anybody, and works on it chunk by chunk under a lease,
 * so that any number of services may do so at once. */
#pragma once

#include "activation/service.h"

#define ACT_JOB_LOOK_MS                                                                            \
    5000                        /* between two looks for jobs whose worker has gone; a new one is  \
                                 * announced */
#define ACT_JOB_SWEEP_MS 600000 /* between two looks for files whose time is over */
#define ACT_JOB_AGAIN_S 10      /* before a job that failed for reasons of ours is tried again */
#define ACT_JOB_TURN_CHUNKS 16  /* of one job, before another organization's has its turn */
#define ACT_JOB_BROKEN_MAX 5 /* turns in a row that fail by a fault of ours: then it has failed */

struct act_job_worker;

/** Calls on keyd channel number `channel`. */
int act_job_worker_start(
    struct act_service *service, unsigned channel, struct act_job_worker **ret);
/** Asks it to end after the chunk in hand, and does not wait. NULL is fine. */
void act_job_worker_ask_stop(struct act_job_worker *worker);
/** Waits for that; its job was put back for others. NULL is fine. */
void act_job_worker_stop(struct act_job_worker *worker);
