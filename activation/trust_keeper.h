/* The thread that finds signs of clones and attacks, and judges devices by them (db/signal.h,
 * device/signal.h): outside of any join, seconds after it. Each service has one; one at a time
 * finds, and a move is made by whoever is first. It has a database connection of its own. */
#pragma once

#include "activation/service.h"

#define ACT_TRUST_LOOK_MS 500        /* between two looks, when there was nothing left to do */
#define ACT_TRUST_STATEMENT_MS 20000 /* a stop of the service may wait for one */
#define ACT_TRUST_STEPS 16           /* transactions of one look */

struct act_trust_keeper;

int act_trust_keeper_start(struct act_service *service, struct act_trust_keeper **ret);
/** Ends it; what it was at is committed or not. NULL is fine. */
void act_trust_keeper_stop(struct act_trust_keeper *keeper);
