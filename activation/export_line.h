/* A device as a line of a file that other systems read. Pure. */
#pragma once

#include "base/text.h"
#include "db/export.h"

/** What a line says, beside the format. */
struct export_line {
    const struct db_export_row *row;
    const struct db_export_nonces *pages; /* of this row, in their order */
    size_t n_pages;
    const char *app_key, *nwk_key; /* sealed, in Base64; NULL: none */
    const char *model;             /* of thingpark-csv */
};

/** The line before the first device; "" where the format has none. */
const char *export_line_head(enum db_export_format format);
/** The type of the whole file. */
const char *export_line_content_type(enum db_export_format format);
void export_line_write(
    enum db_export_format format, const struct export_line *line, struct text *out);
