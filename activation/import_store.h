/* From checked rows to devices: keys sealed by keyd and wiped, rows inserted, chunk by chunk. */
#pragma once

#include "activation/auth.h"
#include "activation/import_report.h"

/** Stores every row without a fault. A chunk is one transaction; what was stored stays stored when
 * a later chunk fails, and storing it again changes nothing. `ret_created` counts the devices that
 * are known to have been made, also on failure. Keys are wiped as soon as they are sealed. */
int import_store(struct act_worker *worker, const struct act_caller *caller, const char *format,
    struct import_file *file, enum import_result *results, size_t *ret_created) MUST_CHECK;
