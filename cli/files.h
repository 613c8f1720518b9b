/* Files that verbs read and write. */
#pragma once

#include "base/audit_key.h"
#include <stdio.h>

/** A new file, never over another one, that is there when it is whole. */
struct cli_output {
    const char *path;
    FILE *file;
    bool whole;
};
int cli_output_open(struct cli_output *output) MUST_CHECK;
/** What was written is durable, or it is an error. */
int cli_output_end(struct cli_output *output) MUST_CHECK;
void cli_output_done(struct cli_output *output);

/** The public audit key of a PEM file. */
int cli_audit_key_read(const char *path, struct audit_key **ret) MUST_CHECK;

static inline void cli_file_done(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}
