/* The two files of classic Sigfox's factory tools: the first bytes say how many records the one
 * has and how it is spoilt, the rest is its records in clear, and behind them the other file. What
 * fits together is written as lines that are read again as the same. */
#include "base/aes.h"
#include "base/error.h"
#include "cli/sigfox_files.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define HEAD_LEN 2
#define RECORDS_MAX 15
#define MODE_ZEROS 0x80 /* behind each id, as they are to be */
#define MODE_CUT 0x40
#define SPARE_AT 4
#define SPARE_LEN 12

static const struct secret_key key = {.bytes = {7}};

static int read_keys(struct sigfox_files *files, uint8_t mode, uint8_t *clear, size_t len)
{
    size_t n = len / SIGFOX_RECORD_LEN, whole = n * SIGFOX_RECORD_LEN;
    uint8_t *sealed = malloc(len + 1);
    int r;

    FUZZ_HOLDS(sealed != NULL);
    memcpy(sealed, clear, len);
    for (size_t i = 0; i < n && (mode & MODE_ZEROS) != 0; i++)
        memset(sealed + i * SIGFOX_RECORD_LEN + SPARE_AT, 0, SPARE_LEN);
    memcpy(clear, sealed, len);
    FUZZ_HOLDS(whole == 0 || aes_ecb_encrypt(&key, clear, whole, sealed) == 0);
    r = sigfox_files_read_keys(files, &key, sealed, len);
    free(sealed);
    return r;
}

static void check_lines(const struct sigfox_files *files)
{
    char line[SIGFOX_LINE_LEN + 1];

    for (size_t i = 0; i < files->n_pacs; i++) {
        struct sigfox_files again = {.n_pacs = 0};

        sigfox_files_line(files, i, line);
        FUZZ_HOLDS(strlen(line) == SIGFOX_LINE_LEN && line[SIGFOX_LINE_LEN - 1] == '\n');
        FUZZ_HOLDS(sigfox_files_read_pacs(&again, line, SIGFOX_LINE_LEN) == 0);
        FUZZ_HOLDS(again.n_pacs == 1 && again.pacs[0].id == files->pacs[i].id);
        FUZZ_HOLDS(memcmp(again.pacs[0].pac, files->pacs[i].pac, SIGFOX_PAC_LEN) == 0);
        sigfox_files_done(&again);
    }
}

static int read_all(struct sigfox_files *files, uint8_t *data, size_t size)
{
    const uint8_t mode = data[0];
    size_t len = (size_t)(mode % (RECORDS_MAX + 1)) * SIGFOX_RECORD_LEN +
                 ((mode & MODE_CUT) != 0 ? data[1] % SIGFOX_RECORD_LEN : 0);
    int r;

    if (len > size - HEAD_LEN)
        len = size - HEAD_LEN;
    if ((r = read_keys(files, mode, data + HEAD_LEN, len)) != 0 ||
        (r = sigfox_files_read_pacs(
             files, (const char *)data + HEAD_LEN + len, size - HEAD_LEN - len)) != 0)
        return r;
    return sigfox_files_join(files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sigfox_files files = {.n_pacs = 0};
    uint8_t *copy;
    int r;

    if (size < HEAD_LEN)
        return 0;
    copy = malloc(size);
    FUZZ_HOLDS(copy != NULL);
    memcpy(copy, data, size);
    r = read_all(&files, copy, size);
    FUZZ_HOLDS(r == 0 || (r == ERROR_INPUT && error_text()[0] != '\0'));
    if (r == 0)
        check_lines(&files);
    sigfox_files_done(&files);
    free(copy);
    return 0;
}
