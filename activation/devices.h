/* Devices that a call names. */
#pragma once

#include "activation/call.h"
#include "db/batch_view.h"
#include "db/device_view.h"

/** The device that path parameter `index` names, in any common spelling, when the caller's
 * organization holds it by now or brought it in. 0, or the status of the answer it set: 404 alike
 * for what is not here and what is another's. */
unsigned act_device_find(struct act_call *call, size_t index, struct db_device *ret);
/** The same of those that it holds: its owner or, while it has none, its maker. */
unsigned act_device_find_held(struct act_call *call, size_t index, struct db_device *ret);

/** It is as after a move that was made: its record and what follows from that. */
void act_device_moved(struct db_device *device, const struct device_record *after);

/** Members of a JSON object that say what the device is: dev_eui, kind, join_eui, mac_version. */
void act_device_identity_write(struct text *out, const struct device_record *record);
/** Begins its JSON object, which the caller ends: what its holder may know of one that is held, and
 * what its maker may of another. */
void act_device_write(struct text *out, const struct db_device *device);

#define ACT_NO_DEVICE "there is no such device, or it is not yours to see"
#define ACT_DEVICE_CHANGED                                                                         \
    "the device has changed since it was looked at: look again, and repeat what is still wanted"

unsigned act_device_joins(struct act_call *call);
unsigned act_device_custody(struct act_call *call);
