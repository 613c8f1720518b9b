#include "activation/import_audit.h"

#include "activation/import_lint.h"
#include "base/error.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_words(uint64_t lints, struct text *out)
{
    const char *names[N_IMPORT_LINTS];
    size_t n = 0;

    for (int i = 0; i < N_IMPORT_LINTS; i++)
        if ((lints >> i & 1) != 0)
            names[n++] = import_lint_rule((enum import_lint)i)->name;
    qsort(names, n, sizeof(names[0]), compare_names);
    for (size_t i = 0; i < n; i++)
        text_addf(out, "%s%s", i > 0 ? "," : "", names[i]);
    if (n == 0)
        text_add(out, "-");
}

int import_audit_leaf(
    const struct import_row *row, const char *outcome, uint8_t ret[static MERKLE_HASH_LEN])
{
    CLEANUP(text_done) struct text entry = {0};
    char dev_eui[EUI64_TEXT_LEN + 1];

    text_addf(&entry, "%" PRIu64 " %s %s ", row->line,
        row->has_dev_eui ? device_id_format(&row->dev_eui, dev_eui) : "-", outcome);
    add_words(row->lints, &entry);
    if (entry.failed)
        return error_set(ERROR_SYSTEM, "out of memory for the audit of a row");
    return merkle_leaf(entry.data, entry.len, ret);
}
