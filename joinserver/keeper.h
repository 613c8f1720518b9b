/* The join server's housekeeping, off the path of joins: a keeper thread with its own database
 * connection (directory changes, events of refusals, partitions, readiness), and a sweeper thread
 * without one, which answers requests whose time has passed while their worker was held up. */
#pragma once

#include "joinserver/routes.h"

struct join_keeper;

/** `db` is taken over by the keeper thread; the directory must be loaded and listened for. */
int join_keeper_start(struct join_routes *routes, struct db *db, struct join_keeper **ret);
/** Whether its threads go round (base/manager.h). */
bool join_keeper_alive(const struct join_keeper *keeper);
/** NULL is fine. */
void join_keeper_stop(struct join_keeper *keeper);
