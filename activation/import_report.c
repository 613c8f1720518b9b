#include "activation/import_report.h"

#include <stdlib.h>

static const char *const result_names[N_IMPORT_RESULTS] = {
    [IMPORT_REFUSED] = "refused",
    [IMPORT_CREATED] = "created",
    [IMPORT_EXISTS] = "exists",
};

static const char *const warning_details[N_IMPORT_WARNINGS] = {
    [IMPORT_WARN_DUPLICATE_KEY] = NULL, /* names the lines */
    [IMPORT_WARN_WEAK_KEY] = "a key of this row is one byte repeated",
    [IMPORT_WARN_NOT_ROUTED] = "no JoinEUI route of this join server covers the JoinEUI",
    [IMPORT_WARN_BOM] = "the file begins with a byte order mark, which was skipped",
};

const char *import_result_text(enum import_result result)
{
    return result_names[result];
}

/* One sentence a group of rows sharing a key, made once: a file may be one group of all its rows,
 * and each row says the sentence. */
struct sentences {
    struct text text;
    size_t *ends; /* of each group's sentence in `text` */
};

static void sentences_done(struct sentences *sentences)
{
    text_done(&sentences->text);
    free(sentences->ends);
}

static void write_sentence(const struct import_file *file, size_t group, struct text *out)
{
    uint32_t at = group == 0 ? 0 : file->group_ends[group - 1];
    uint32_t end = file->group_ends[group];
    uint32_t last = IMPORT_NO_GROUP;
    unsigned n_listed = 0, n_left = 0;

    text_add(out, "\"the same key stands in lines ");
    for (; at < end; at++) {
        uint32_t row = file->group_rows[at];

        if (row == last)
            continue; /* both keys of one row */
        last = row;
        if (n_listed == IMPORT_LINES_LISTED) {
            n_left++;
            continue;
        }
        text_addf(out, "%s%u", n_listed > 0 ? ", " : "", file->rows[row].line);
        n_listed++;
    }
    if (n_left > 0)
        text_addf(out, " and %u more", n_left);
    text_add(out, "\"");
}

/* False without memory. */
static bool make_sentences(const struct import_file *file, struct sentences *ret)
{
    if (file->n_groups == 0)
        return true;
    ret->ends = calloc(file->n_groups, sizeof(*ret->ends));
    if (ret->ends == NULL)
        return false;
    for (size_t i = 0; i < file->n_groups; i++) {
        write_sentence(file, i, &ret->text);
        ret->ends[i] = ret->text.len;
    }
    return !ret->text.failed;
}

static void add_sentence(const struct sentences *sentences, uint32_t group, struct text *out)
{
    size_t at = group == 0 ? 0 : sentences->ends[group - 1];

    text_add_len(out, sentences->text.data + at, sentences->ends[group] - at);
}

static void write_warnings(
    const struct sentences *sentences, const struct import_row *row, struct text *out)
{
    const char *comma = "";

    if (row->warnings == 0)
        return;
    text_add(out, ",\"warnings\":[");
    for (unsigned i = 0; i < N_IMPORT_WARNINGS; i++) {
        if ((row->warnings & 1u << i) == 0)
            continue;
        text_addf(out, "%s{\"type\":\"%s\",\"detail\":", comma,
            import_warning_type((enum import_warning)i));
        if (i == IMPORT_WARN_DUPLICATE_KEY)
            add_sentence(sentences, row->key_group, out);
        else
            text_add_json(out, warning_details[i]);
        text_add(out, "}");
        comma = ",";
    }
    text_add(out, "]");
}

static void write_row(const struct sentences *sentences, const struct import_row *row,
    enum import_result result, struct text *out)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    text_addf(out, "{\"line\":%u,\"dev_eui\":", row->line);
    if (row->has_dev_eui)
        text_add_json(out, eui64_format(&row->dev_eui, dev_eui));
    else
        text_add(out, "null");
    text_addf(out, ",\"outcome\":\"%s\"", result_names[result]);
    if (result == IMPORT_REFUSED) {
        text_addf(out,
            ",\"reason\":\"%s\",\"field\":\"%s\",\"detail\":", import_fault_code(row->fault),
            import_fault_field(row->fault));
        text_add_json(out, import_fault_detail(row->fault));
    } else if (result == IMPORT_EXISTS) {
        text_add(out, ",\"reason\":\"dev_eui_exists\",\"field\":\"dev_eui\",\"detail\":");
        text_add_json(out, "a device with this DevEUI is here already; nothing of it was changed");
    }
    write_warnings(sentences, row, out);
    text_add(out, "}\n");
}

void import_report_write(
    const struct import_file *file, const enum import_result *results, struct text *out)
{
    CLEANUP(sentences_done) struct sentences sentences = {0};

    if (!make_sentences(file, &sentences)) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < file->n_rows; i++) {
        const struct import_row *row = &file->rows[i];

        write_row(
            &sentences, row, row->fault != IMPORT_FAULT_NONE ? IMPORT_REFUSED : results[i], out);
    }
}
