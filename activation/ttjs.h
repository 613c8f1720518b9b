/* What the calls of the claim API of The Things Join Server share. Its callers are application
 * servers (The Things Stack), known by their certificates; its errors are {"message"}. Whatever is
 * not the caller's organization's is told as what is not here. */
#pragma once

#include "activation/call.h"
#include "db/ttjs.h"

#define TTJS_NO_CLAIM "no claim of yours is on a device with this DevEUI"
#define TTJS_OTHER_AS                                                                              \
    "your organization has this device, but not by a claim of the application server of this certificate"
#define TTJS_BAD_EUI "a DevEUI has 16 hexadecimal digits, and does not begin with 8 zeros"

/** Whether the organization has it for this application server. */
bool ttjs_is_own(const struct act_call *call, const struct db_ttjs_claim *claim);

/** A DevEUI as The Things Stack writes it; no Sigfox id is one. */
bool ttjs_read_dev_eui(const char *text, size_t len, struct eui64 *ret);
/** 0, or the status of the answer it set: a query may have been meant to hold the call back. */
unsigned ttjs_no_query(struct act_call *call);

unsigned ttjs_delete_claim(struct act_call *call);
unsigned ttjs_delete_claims(struct act_call *call);
