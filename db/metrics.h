/* What this process counts of its database, over all of its connections. Any thread may call. */
#pragma once

#include "base/text.h"
#include <stdint.h>

enum db_counter {
    DB_COUNT_OPEN,          /* connections now */
    DB_COUNT_CONNECTED,     /* connections made */
    DB_COUNT_NOT_CONNECTED, /* attempts that failed */
    DB_COUNT_FAILED,        /* statements; nothing was committed */
    DB_COUNT_UNKNOWN,       /* statements that were to commit, and may have */
    DB_N_COUNTERS
};

void db_count(enum db_counter counter, int64_t n);
void db_metrics_write(struct text *out);
