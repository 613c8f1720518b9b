/* The events of refused joins, on their way to the database: a bounded ring that workers fill and
 * the keeper empties in bulk. Under a flood it drops and counts; a refusal is never worth a join.
 */
#pragma once

#include "db/join.h"

#define REFUSALS_MAX 4096
#define REFUSALS_PER_WRITE 256

struct join_refusals;

int join_refusals_new(struct join_refusals **ret);
void join_refusals_free(struct join_refusals *refusals);
/** False when the ring was full and the event was dropped. */
bool join_refusals_add(struct join_refusals *refusals, const struct db_join_refusal *refusal);
/** Writes what waits, at most REFUSALS_PER_WRITE a call; what could not be written stays. Returns
 * the number written, or a negative error. */
int join_refusals_write(struct join_refusals *refusals, struct db *db);
