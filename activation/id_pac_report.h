/* What became of the lines of a list of what was built, kept until the list has ended (before that
 * no answer can go out), and written then: 16 bytes a line. */
#pragma once

#include "activation/id_pac_reader.h"
#include "base/merkle.h"
#include "base/text.h"
#include "db/id_pac.h"

#define ID_PAC_BLOCK_NOTES 4096
#define ID_PAC_BLOCKS_MAX ((ID_PAC_LINES_MAX + ID_PAC_BLOCK_NOTES - 1) / ID_PAC_BLOCK_NOTES)
#define ID_PAC_OTHERS_MAX 32 /* certificates that are named; any beyond them is "another one" */

/** The three that are counted. */
enum id_pac_count { COUNT_PAC_ACTIVABLE, COUNT_PAC_EXISTS, COUNT_PAC_REFUSED, N_ID_PAC_COUNTS };
const char *id_pac_count_text(enum id_pac_count count);

/** What a line is answered: what became of it or, of one that is wrong by itself, its fault. */
struct id_pac_answer {
    uint32_t line;
    uint8_t word; /* row of a table */
    uint8_t other;
    struct eui64 dev_eui;
};

struct id_pac_report {
    struct id_pac_answer *blocks[ID_PAC_BLOCKS_MAX];
    size_t n;
    int64_t counts[N_ID_PAC_COUNTS];
    char others[ID_PAC_OTHERS_MAX][CERTIFICATE_NUMBER_LEN + 1];
    size_t n_others;
};

void id_pac_report_done(struct id_pac_report *report);

/** `done` is NULL for a line with a fault. */
struct id_pac_answer id_pac_answer_of(
    struct id_pac_report *report, const struct id_pac_line *line, const struct db_id_pac *done);
enum id_pac_count id_pac_answer_count(const struct id_pac_answer *answer);
/** The leaf of the tree that the audit has the root of: "LINE DEVEUI OUTCOME REASON", each '-'
 * where there is none. */
int id_pac_answer_leaf(
    const struct id_pac_answer *answer, uint8_t ret[static MERKLE_HASH_LEN]) MUST_CHECK;

/** Keeps and counts it. There is room for as many as a reader gives. */
int id_pac_report_add(struct id_pac_report *report, const struct id_pac_answer *answer) MUST_CHECK;
/** Writes the answers from `at` on, at most `n`, as JSON, a line each. */
void id_pac_report_write(const struct id_pac_report *report, size_t at, size_t n, struct text *out);
/** "lines 3, 9 and 57": the last of those that were refused, at most `n_max`. */
void id_pac_report_refused(const struct id_pac_report *report, size_t n_max, struct text *out);
