/* What networks away from home were refused, here or by those that their requests were carried to,
 * counted on its way to the database: a bounded table a side, that whoever answers fills and the
 * keeper empties in bulk. Under a flood it drops, as joinserver/refusals.h does. Any thread. */
#pragma once

#include "db/agreement.h"
#include "device/refusal.h"

#define ROAMING_REFUSALS_MAX 1024 /* of each side */

struct roaming_refusals;

int roaming_refusals_new(struct roaming_refusals **ret);
void roaming_refusals_free(struct roaming_refusals *refusals);
/** Whether a refusal is one for want of an agreement, and which. */
bool roaming_reason_of(enum device_refusal refusal, enum db_roaming_reason *ret);
/** Of n 1. False when there was no room for it. */
bool roaming_refusals_add(
    struct roaming_refusals *refusals, const struct db_roaming_refused *refused);
/** Writes what waits, at most DB_ROAMING_REFUSALS_PER_WRITE of each side; what could not be written
 * stays. For one thread alone. Returns the number written, or a negative error. */
int roaming_refusals_write(struct roaming_refusals *refusals, struct db *db);
