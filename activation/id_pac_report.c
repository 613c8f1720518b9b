#include "activation/id_pac_report.h"

#include "base/error.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OTHER_NONE 0xFF /* activable under no certificate */
#define OTHER_UNNAMED 0xFE

_Static_assert(ID_PAC_OTHERS_MAX <= OTHER_UNNAMED, "their numbers are apart");

/* Behind the outcomes of the database. */
enum { WORD_REFUSED = DB_N_ID_PAC_OUTCOMES, WORD_BAD_ID, WORD_NO_PAC, WORD_BAD_PAC, N_WORDS };

static const char *const count_names[N_ID_PAC_COUNTS] = {
    [COUNT_PAC_ACTIVABLE] = "activable",
    [COUNT_PAC_EXISTS] = "exists",
    [COUNT_PAC_REFUSED] = "refused",
};

/* One answer to whoever does not have the device, whatever is wrong. */
static const struct {
    enum id_pac_count count;
    const char *reason, *detail;
} words[N_WORDS] = {
    [ID_PAC_ACTIVABLE] = {COUNT_PAC_ACTIVABLE, NULL, NULL},
    [ID_PAC_HANDED_OVER] = {COUNT_PAC_ACTIVABLE, NULL, NULL},
    [ID_PAC_EXISTS] = {COUNT_PAC_EXISTS, NULL, NULL},
    [ID_PAC_RACED] = {COUNT_PAC_REFUSED, "changed",
        "the device has changed meanwhile: send the line again"},
    [ID_PAC_HELD] = {COUNT_PAC_REFUSED, "limited", "it was not looked at: send the line again"},
    [ID_PAC_LIMITED] = {COUNT_PAC_REFUSED, "limited",
        "this device was tried with wrong PACs too often: it was not looked at, and is an hour "
        "after the last of them"},
    [ID_PAC_QUOTA] = {COUNT_PAC_REFUSED, "quota",
        "as many prototypes are activable as the module's certificate allows"},
    [ID_PAC_PRODUCT] = {COUNT_PAC_REFUSED, "product",
        "the module has a product's certificate: devices become activable under that one"},
    [ID_PAC_UNKNOWN] = {COUNT_PAC_REFUSED, "unknown", "there is no such device"},
    [ID_PAC_SCRAPPED] = {COUNT_PAC_REFUSED, "scrapped", "the device was scrapped"},
    [ID_PAC_NO_CODE] = {COUNT_PAC_REFUSED, "no-code", "the device has no PAC"},
    [ID_PAC_LOCKED] = {COUNT_PAC_REFUSED, "locked",
        "the device's PAC is short, and was tried wrongly so often that it is locked; unlock-code "
        "unlocks it"},
    [ID_PAC_CODE] = {COUNT_PAC_REFUSED, "wrong-pac", "the PAC is not the device's"},
    [ID_PAC_ELSEWHERE] = {COUNT_PAC_REFUSED, "activable", "the device is activable already"},
    [ID_PAC_QUARANTINED] = {COUNT_PAC_REFUSED, "quarantined", "the device is in quarantine"},
    [ID_PAC_ORDERED] = {COUNT_PAC_REFUSED, "ordered", "the device has no key yet"},
    [ID_PAC_MODULE] = {COUNT_PAC_REFUSED, "module",
        "the device was neither ordered for the module of this certificate, nor brought in by its "
        "organization"},
    [WORD_REFUSED] = {COUNT_PAC_REFUSED, "refused",
        "no device of this module has this identifier and this PAC"},
    [WORD_BAD_ID] = {COUNT_PAC_REFUSED, "bad-identifier",
        "what stands before the first ';' is neither a DevEUI (16 hexadecimal digits) nor a Sigfox "
        "id (8)"},
    [WORD_NO_PAC] = {COUNT_PAC_REFUSED, "pac-missing",
        "there is no PAC: a line is an identifier, ';' and the PAC"},
    [WORD_BAD_PAC] = {COUNT_PAC_REFUSED, "bad-pac",
        "what stands behind the first ';' is not 1 to 32 letters and digits"},
};

const char *id_pac_count_text(enum id_pac_count count)
{
    return count_names[count];
}

void id_pac_report_done(struct id_pac_report *report)
{
    for (size_t i = 0; i < ID_PAC_BLOCKS_MAX; i++)
        free(report->blocks[i]);
    *report = (struct id_pac_report){0};
}

static uint8_t other_of(struct id_pac_report *report, const char *number)
{
    if (number[0] == '\0')
        return OTHER_NONE;
    for (size_t i = 0; i < report->n_others; i++)
        if (strcmp(report->others[i], number) == 0)
            return (uint8_t)i;
    if (report->n_others == ID_PAC_OTHERS_MAX)
        return OTHER_UNNAMED;
    memcpy(report->others[report->n_others], number, sizeof(report->others[0]));
    return (uint8_t)report->n_others++;
}

static unsigned word_of(const struct id_pac_line *line, const struct db_id_pac *done)
{
    static const unsigned faults[] = {[ID_PAC_BAD_ID] = WORD_BAD_ID,
        [ID_PAC_NO_PAC] = WORD_NO_PAC,
        [ID_PAC_BAD_PAC] = WORD_BAD_PAC};

    if (done == NULL)
        return faults[line->fault];
    return done->outcome >= ID_PAC_UNKNOWN && !done->told ? (unsigned)WORD_REFUSED
                                                          : (unsigned)done->outcome;
}

struct id_pac_answer id_pac_answer_of(
    struct id_pac_report *report, const struct id_pac_line *line, const struct db_id_pac *done)
{
    unsigned word = word_of(line, done);

    return (struct id_pac_answer){.line = line->number,
        .word = (uint8_t)word,
        .other = word == ID_PAC_ELSEWHERE ? other_of(report, done->other) : OTHER_NONE,
        .dev_eui = line->dev_eui};
}

enum id_pac_count id_pac_answer_count(const struct id_pac_answer *answer)
{
    return words[answer->word].count;
}

/* "" where there is none. */
static const char *format_id(
    const struct id_pac_answer *answer, char out[static DEVICE_ID_TEXT_LEN + 1])
{
    out[0] = '\0';
    return answer->word == WORD_BAD_ID ? out : device_id_format(&answer->dev_eui, out);
}

int id_pac_answer_leaf(const struct id_pac_answer *answer, uint8_t ret[static MERKLE_HASH_LEN])
{
    CLEANUP(text_done) struct text entry = {0};
    const char *reason = words[answer->word].reason;
    char id[DEVICE_ID_TEXT_LEN + 1];

    text_addf(&entry, "%" PRIu32 " %s", answer->line, format_id(answer, id));
    text_add(&entry, id[0] == '\0' ? "-" : "");
    text_addf(
        &entry, " %s %s", count_names[words[answer->word].count], reason != NULL ? reason : "-");
    if (entry.failed)
        return error_set(ERROR_SYSTEM, "out of memory for the audit of a line");
    return merkle_leaf(entry.data, entry.len, ret);
}

int id_pac_report_add(struct id_pac_report *report, const struct id_pac_answer *answer)
{
    struct id_pac_answer **block = &report->blocks[report->n / ID_PAC_BLOCK_NOTES];

    if (*block == NULL && (*block = calloc(ID_PAC_BLOCK_NOTES, sizeof(**block))) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the answers to a list");
    (*block)[report->n++ % ID_PAC_BLOCK_NOTES] = *answer;
    report->counts[words[answer->word].count]++;
    return 0;
}

static const struct id_pac_answer *answer_at(const struct id_pac_report *report, size_t at)
{
    return &report->blocks[at / ID_PAC_BLOCK_NOTES][at % ID_PAC_BLOCK_NOTES];
}

static void write_detail(
    const struct id_pac_report *report, const struct id_pac_answer *answer, struct text *out)
{
    text_addf(out, ",\"reason\":\"%s\",\"detail\":\"%s", words[answer->word].reason,
        words[answer->word].detail);
    if (answer->word == ID_PAC_ELSEWHERE && answer->other == OTHER_NONE)
        text_add(out, ", under no certificate");
    else if (answer->word == ID_PAC_ELSEWHERE && answer->other == OTHER_UNNAMED)
        text_add(out, ", under another certificate");
    else if (answer->word == ID_PAC_ELSEWHERE)
        text_addf(out, ", under %s", report->others[answer->other]);
    text_add(out, "\"");
}

void id_pac_report_write(const struct id_pac_report *report, size_t at, size_t n, struct text *out)
{
    for (size_t i = at; i < report->n && i < at + n; i++) {
        const struct id_pac_answer *answer = answer_at(report, i);
        char id[DEVICE_ID_TEXT_LEN + 1];

        text_addf(out, "{\"line\":%" PRIu32 ",\"dev_eui\":", answer->line);
        if (format_id(answer, id)[0] != '\0')
            text_addf(out, "\"%s\"", id);
        else
            text_add(out, "null");
        text_addf(out, ",\"outcome\":\"%s\"", count_names[words[answer->word].count]);
        if (answer->word == ID_PAC_HANDED_OVER)
            text_add(out, ",\"handed_over\":true");
        if (words[answer->word].reason != NULL)
            write_detail(report, answer, out);
        text_add(out, "}\n");
    }
}

void id_pac_report_refused(const struct id_pac_report *report, size_t n_max, struct text *out)
{
    size_t from = report->n, n = 0, at = 0;

    while (from > 0 && n < n_max)
        n += words[answer_at(report, --from)->word].count == COUNT_PAC_REFUSED;
    text_add(out, n == 1 ? "line " : "lines ");
    for (size_t i = from; i < report->n; i++) {
        if (words[answer_at(report, i)->word].count != COUNT_PAC_REFUSED)
            continue;
        at++;
        text_addf(out, "%s%" PRIu32,
            at == 1   ? ""
            : at == n ? " and "
                      : ", ",
            answer_at(report, i)->line);
    }
}
