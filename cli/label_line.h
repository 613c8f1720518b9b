/* A device of a file of codes as a label: a JSON object a line, as POST /v1/batches/{batch}/codes
 * answers them. The line and what comes of it hold the code: the caller wipes both. */
#pragma once

#include "activation/label.h"

/** What a line need not say. */
struct label_defaults {
    bool has_join_eui;
    struct eui64 join_eui;
    uint8_t profile_id[TR005_PROFILE_ID_LEN];
};

/** Its members dev_eui (of a Sigfox device its id, 8 digits), code, join_eui, profile_id and
 * serial; null is as none, and others do not count. ERROR_INPUT says what is wrong with the line.
 */
int cli_label_line(const char *line, size_t len, const struct label_defaults *defaults,
    struct label *ret) MUST_CHECK;
