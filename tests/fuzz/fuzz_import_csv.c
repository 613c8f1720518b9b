/* Import files, through reading, checking and reporting. The first byte chooses the format and what
 * the request says; the rest is the file. */
#include "activation/import_check.h"
#include "activation/import_csv.h"
#include "activation/import_report.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define CHOICE_CSV 0x01
#define CHOICE_VERSION 0x02
#define CHOICE_1_1 0x04
#define CHOICE_HOME 0x08

static void check_rows(const struct import_file *file)
{
    for (size_t i = 0; i < file->n_rows; i++) {
        const struct import_row *row = &file->rows[i];

        FUZZ_HOLDS(row->line >= 1 && (i == 0 || row->line > file->rows[i - 1].line));
        FUZZ_HOLDS(memchr(row->as_id, '\0', sizeof(row->as_id)) != NULL);
        if (row->fault != IMPORT_FAULT_NONE)
            continue;
        FUZZ_HOLDS(row->has_dev_eui && row->has_join_eui && row->has_app && row->has_mac_version);
        FUZZ_HOLDS(row->has_nwk == (row->mac_version == LW_MAC_1_1));
        FUZZ_HOLDS(row->has_home_net_id == (row->as_id[0] != '\0'));
    }
}

static void report(const struct import_file *file)
{
    enum import_result *results = calloc(file->n_rows, sizeof(*results));
    struct text out = {0};
    size_t n_lines = 0;

    FUZZ_HOLDS(results != NULL);
    import_report_write(file, results, &out);
    FUZZ_HOLDS(!out.failed);
    for (size_t i = 0; i < out.len; i++)
        n_lines += out.data[i] == '\n';
    FUZZ_HOLDS(n_lines == file->n_rows);
    text_done(&out);
    free(results);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct db_directory directory = {0};
    struct import_defaults defaults = {.mac_version = LW_MAC_1_0_3};
    struct import_file file;
    char fault[IMPORT_FILE_FAULT_MAX];
    uint8_t choice = size > 0 ? data[0] : 0;
    int outcome;

    defaults.has_mac_version = (choice & CHOICE_VERSION) != 0;
    if ((choice & CHOICE_1_1) != 0)
        defaults.mac_version = LW_MAC_1_1;
    defaults.has_home_net_id = (choice & CHOICE_HOME) != 0;
    if (defaults.has_home_net_id)
        defaults.as_id[0] = 'a';
    if (size > 0) {
        data++;
        size--;
    }
    outcome = import_csv_read((choice & CHOICE_CSV) != 0 ? IMPORT_CSV : IMPORT_THINGPARK_CSV,
        (const char *)data, size, &defaults, &file, fault);
    FUZZ_HOLDS(memchr(fault, '\0', sizeof(fault)) != NULL);
    FUZZ_HOLDS((outcome == IMPORT_BROKEN) == (fault[0] != '\0'));
    FUZZ_HOLDS(file.n_rows <= IMPORT_ROWS_MAX);
    if (outcome == IMPORT_OK) {
        FUZZ_HOLDS(file.n_rows > 0);
        check_rows(&file);
        FUZZ_HOLDS(import_check(&file, &directory) == 0);
        report(&file);
    }
    import_file_done(&file);
    return 0;
}
