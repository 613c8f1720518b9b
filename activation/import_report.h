/* What became of a file's rows, as one JSON object a line (application/x-ndjson), in the order of
 * the file. Never holds a key or a part of one: of what stood in the file only DevEUIs that could
 * be read are said again. Pure but for memory: without it `out` has failed. */
#pragma once

#include "activation/import_rows.h"
#include "base/text.h"

#define IMPORT_LINES_LISTED 20 /* line numbers that one warning names */

enum import_result { IMPORT_REFUSED, IMPORT_CREATED, IMPORT_EXISTS, N_IMPORT_RESULTS };

const char *import_result_text(enum import_result result);
/** results[i] belongs to file->rows[i]; a row with a fault is refused whatever stands there. */
void import_report_write(
    const struct import_file *file, const enum import_result *results, struct text *out);
