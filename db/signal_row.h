/* A signal's kind among the columns of a row. Private to db/. */
#pragma once

#include "db/rows.h"
#include "device/signal.h"

/** False, and the rows have failed: it is none. */
bool db_row_signal(struct db_rows *rows, size_t row, int column, enum device_signal *ret);
