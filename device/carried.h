/* What came of a request that another join server had to answer, explained to the operator who
 * carried it: one table for the words that the join server counts it by (joinserver/partners.h, and
 * the reasons why one is not even tried) and for what is said of them. Pure. */
#pragma once

#include "device/refusal.h"
#include <stdbool.h>

#define CARRIED_ANSWERED "answered" /* it said no, with a ResultCode */

/** Of an outcome and, where that is CARRIED_ANSWERED, its ResultCode; never NULL: what is in
 * neither table is explained as what it is. */
const struct device_explanation *device_carried_explain(
    const char *outcome, const char *result_code);
/** Whether the outcome has a row of its own. */
bool device_carried_is_known(const char *outcome);
