/* The lines of an audit export (NDJSON): one form for each, byte by byte, so that whoever reads a
 * line makes it anew and compares. First the checkpoint that the export is proven by; then the
 * events in their order; in an export of all, the checkpoints that were kept, each behind its
 * event. */
#pragma once

#include "base/audit_form.h"

struct audit_line {
    const struct audit_record *record;
    const struct audit_link *link;
    const uint8_t *leaf; /* MERKLE_HASH_LEN */
    uint8_t (*path)[MERKLE_HASH_LEN];
    size_t n_path;
    /* The chain over all is for those who see all: who has a piece of it could try what stands
     * before his events. */
    bool of_all;
};

/** Added, with its line feed. */
void audit_line_write(const struct audit_line *line, struct text *out);
void audit_checkpoint_line_write(const struct audit_checkpoint *checkpoint,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN], struct text *out);
