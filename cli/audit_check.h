/* Whether an audit export is what was signed: line by line, with nothing but the export and the
 * public key. Of an export of all, what is checked is the chain over all, each kept checkpoint and
 * each path; of an organization's, its own chain and each path. So a line that was changed, left
 * out, added or moved is found, and named: the first one. Memory does not grow with the export. */
#pragma once

#include "base/audit_key.h"

#define AUDIT_CHECK_LINE_MAX ((size_t)16 << 20) /* bytes */

struct audit_check;
/** The key stays the caller's. NULL: signatures are not looked at, for tests alone. */
int audit_check_new(const struct audit_key *key, struct audit_check **ret) MUST_CHECK;
/** NULL is fine. */
void audit_check_free(struct audit_check *check);
static inline void audit_check_freep(struct audit_check **check)
{
    audit_check_free(*check);
}

/** Before the first line: a checkpoint that was kept from an earlier export, which begins with it.
 * The history must lead through it. ERROR_INPUT where it is none. */
int audit_check_expect(struct audit_check *check, const char *line, size_t len) MUST_CHECK;
/** The next line, with its line feed. ERROR_INPUT says what is wrong with it, and ends the check.
 */
int audit_check_line(struct audit_check *check, const char *line, size_t len) MUST_CHECK;
/** There are no more: whether all have come. Adds one line about them. */
int audit_check_end(struct audit_check *check, struct text *out) MUST_CHECK;
