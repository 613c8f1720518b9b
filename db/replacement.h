/* Devices that took the place of others of the same owner. Role cradle_activation. */
#pragma once

#include "db/device_change.h"

/** In a transaction of the caller: locks those of the two that are the owner's, in the order in
 * which every statement that changes devices locks them. */
int db_replacement_lock(
    struct db *db, int64_t owner_id, const struct eui64 *dev_eui, const struct eui64 *by);
/** In the same transaction, of two devices as they are then. Outcome 1: the one has been replaced,
 * or the other has replaced one, under this owner. */
int db_replacement_add(
    struct db *db, const struct device_record *device, const struct device_record *by);
/** Behind it: the other one has the place of the first in its subscription, unless it holds one
 * that runs or the place is over and not needed, and is suspended where it needs one and has none.
 */
int db_replacement_entitle(
    struct db *db, const struct eui64 *dev_eui, const struct eui64 *by, const char *request_id);
/** In a transaction of the caller: nothing has taken these devices' places any more. */
int db_replacement_end(struct db *db, const struct db_device_change *changes, size_t n);
