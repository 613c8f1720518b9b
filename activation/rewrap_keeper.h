/* The thread that seals keys anew when a new version of a storage KEK seals, and makes their tags
 * anew when one of the tag key does (db/rewrap.h, docs/keys.md). Each service has one, and one at a
 * time walks; who is killed leaves the walk to the next. It takes rests, so that joins go on. */
#pragma once

#include "activation/service.h"

#define ACT_REWRAP_LOOK_MS 5000       /* between two looks at what the token seals with */
#define ACT_REWRAP_REST_MS 20         /* after each piece: at most 3,200 keys a second */
#define ACT_REWRAP_STATEMENT_MS 20000 /* a stop of the service may wait for one */
#define ACT_REWRAP_KEYD_MS 10000      /* for one piece */

struct act_rewrap_keeper;

/** `channel` is this thread's own of the pool. */
int act_rewrap_keeper_start(
    struct act_service *service, unsigned channel, struct act_rewrap_keeper **ret);
/** Ends it; what it was at is committed or not. NULL is fine. */
void act_rewrap_keeper_stop(struct act_rewrap_keeper *keeper);
