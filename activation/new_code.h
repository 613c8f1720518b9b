/* A device's new code on its way to whoever is entitled to it: made in keyd, stored as its hash,
 * told once. */
#pragma once

#include "activation/call.h"
#include "db/device_change.h"
#include "device/code.h"

struct act_new_code {
    char text[DEVICE_CODE_MADE_MAX + 1];
    struct db_code code;
};
void act_new_code_wipe(struct act_new_code *code);

/** As long as the caller's organization has them. Nothing is locked meanwhile but the call's
 * Idempotency-Key. */
int act_new_code_make(struct act_call *call, const struct eui64 *dev_eui, uint32_t generation,
    struct act_new_code *ret) MUST_CHECK;
/** In the call's transaction. Outcome 1: the device has another code meanwhile. */
int act_new_code_store(struct act_call *call, const struct act_new_code *code,
    enum db_code_renewal renewal) MUST_CHECK;
/** Its members of a JSON object, and the answer is kept nowhere. */
void act_new_code_tell(struct act_call *call, const struct act_new_code *code, struct text *out);
