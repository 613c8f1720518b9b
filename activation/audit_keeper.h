/* The thread that chains audit events and has what they come to signed (db/audit_chain.h). Each
 * service has one; one at a time works. It has a database connection and a keyd channel of its
 * own. */
#pragma once

#include "activation/service.h"

#define ACT_AUDIT_LOOK_MS 500        /* between two looks for events that wait */
#define ACT_AUDIT_STATEMENT_MS 10000 /* a stop of the service may wait for one */
#define ACT_AUDIT_STEPS 16           /* transactions of one look */
#define ACT_AUDIT_SIGN_EVENTS 1000   /* chained behind the last checkpoint: then the next one */
#define ACT_AUDIT_SIGN_S 600         /* or so old is the last one, and any are */
#define ACT_AUDIT_RETRY_MS 10000     /* before a signature that failed is asked for again */
#define ACT_AUDIT_NO_KEY_MS 3600000  /* the same where the token has no key for it */

struct act_audit_keeper;

/** Calls on keyd channel number `channel`. */
int act_audit_keeper_start(
    struct act_service *service, unsigned channel, struct act_audit_keeper **ret);
/** Ends it; what it was at is committed or not. NULL is fine. */
void act_audit_keeper_stop(struct act_audit_keeper *keeper);
