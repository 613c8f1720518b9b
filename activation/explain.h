/* What a device's owner is told of a refused attempt to join: the words of the table
 * (device/refusal.h), and what belongs to this attempt alone. Pure. */
#pragma once

#include "base/text.h"
#include "db/attempt.h"
#include "db/device_view.h"
#include "device/refusal.h"

/** What is known besides the attempt. */
struct explain_facts {
    const struct device_record *record;
    int32_t last_dev_nonce; /* the last counted one that was taken; DEVICE_NO_NONCE: none was */
    const struct db_nonce_use *uses; /* the newest first */
    size_t n_uses;
    const struct db_device *device; /* as it is now: suspended by whom, and what it holds */
};

/** REFUSAL_NONE of a success. */
enum device_refusal explain_refusal(const struct db_attempt *attempt);
/** Whether the time at which its DevNonce was used belongs to the explanation. */
bool explain_needs_use(const struct db_attempt *attempt);
/** Adds {"what":..,"why":..,"do":..}. */
void explain_write(
    struct text *out, const struct db_attempt *attempt, const struct explain_facts *facts);
