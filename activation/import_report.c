#include "activation/import_report.h"

#include "activation/export_run.h"
#include "activation/import_lint.h"
#include "activation/move_run.h"
#include "base/error.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void write_rule(const struct import_lint_rule *rule, const char *name, struct text *out)
{
    text_addf(out, "\"%s\":\"%s\",\"field\":\"%s\",\"detail\":", name, rule->name, rule->field);
    text_add_json(out, rule->sentence);
    text_add(out, ",\"advice\":");
    text_add_json(out, rule->advice);
}

/* The first error is the reason; everything else the linter said are warnings. */
static void write_lints(uint64_t lints, struct text *out)
{
    const struct import_lint_rule *reason = NULL;
    const char *before = ",\"warnings\":[{";

    for (int i = 0; i < N_IMPORT_LINTS && reason == NULL; i++)
        if ((lints >> i & 1) != 0 && import_lint_rule((enum import_lint)i)->level == IMPORT_ERROR)
            reason = import_lint_rule((enum import_lint)i);
    if (reason != NULL) {
        text_add(out, ",");
        write_rule(reason, "reason", out);
    }
    for (int i = 0; i < N_IMPORT_LINTS; i++) {
        const struct import_lint_rule *rule = import_lint_rule((enum import_lint)i);

        if ((lints >> i & 1) == 0 || rule == reason)
            continue;
        text_add(out, before);
        write_rule(rule, "type", out);
        text_add(out, "}");
        before = ",{";
    }
    if (before[1] == '{')
        text_add(out, "]");
}

void import_report_write(const struct db_job_row *rows, size_t n, struct text *out)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    for (size_t i = 0; i < n; i++) {
        text_addf(out, "{\"line\":%" PRId64 ",\"dev_eui\":", rows[i].line);
        if (rows[i].has_dev_eui)
            text_add_json(out, device_id_format(&rows[i].dev_eui, dev_eui));
        else
            text_add(out, "null");
        text_addf(out, ",\"outcome\":\"%s\"", rows[i].outcome);
        if (strcmp(rows[i].outcome, "exists") == 0)
            text_add(out,
                ",\"reason\":\"dev-eui-exists\",\"field\":\"dev_eui\",\"detail\":\"a device "
                "with this DevEUI is here already; nothing of it was changed\"");
        write_lints(rows[i].lints, out);
        text_add(out, "}\n");
    }
}

int import_report_give(
    struct db *db, const struct db_job *job, import_report_take *take, void *context)
{
    CLEANUP(cleanup_free) struct db_job_row *rows = calloc(DB_JOB_ROWS_MAX, sizeof(*rows));
    CLEANUP(text_done) struct text piece = {0};
    int64_t after = 0;
    size_t n = DB_JOB_ROWS_MAX;
    int r = 0;

    if (rows == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a report");
    while (r == 0 && n == DB_JOB_ROWS_MAX) {
        if ((r = db_job_report(db, job, after, rows, DB_JOB_ROWS_MAX, &n)) < 0)
            return r;
        text_clear(&piece);
        if (job->kind == JOB_EXPORT)
            export_report_write(rows, n, &piece);
        else if (job->kind == JOB_MOVE)
            move_report_write(job->move, rows, n, &piece);
        else
            import_report_write(rows, n, &piece);
        if (piece.failed)
            return error_set(ERROR_SYSTEM, "out of memory for a report");
        if (n > 0) {
            after = rows[n - 1].line;
            r = take(context, &piece);
        }
    }
    return r;
}
