#include "cli/sigfox_files.h"

#include "base/aes.h"
#include "base/error.h"
#include "base/hex.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_LEN 16
#define ID_LEN 4
#define ID_DIGITS ((size_t)2 * ID_LEN)
#define PAC_DIGITS ((size_t)2 * SIGFOX_PAC_LEN)

void sigfox_files_done(struct sigfox_files *files)
{
    secret_free(files->records);
    secret_free(files->by_id);
    secret_free(files->pacs);
    *files = (struct sigfox_files){0};
}

/* --- id_key.bin ------------------------------------------------------------------------------ */

static bool has_spare(const uint8_t *record)
{
    static const uint8_t zeros[BLOCK_LEN - ID_LEN];

    return memcmp(record + ID_LEN, zeros, sizeof(zeros)) != 0;
}

/* The 12 bytes behind an id are all that tells a wrong key, or a changed record: under a wrong key
 * none is as it should be. */
static int check_spare(const uint8_t *clear, size_t n)
{
    size_t n_wrong = 0, first = 0;

    for (size_t i = n; i > 0; i--)
        if (has_spare(clear + (i - 1) * SIGFOX_RECORD_LEN)) {
            n_wrong++;
            first = i;
        }
    if (n_wrong == 0)
        return 0;
    if (2 * n_wrong > n)
        return error_set(ERROR_INPUT,
            "the key is probably not this file's: %zu of %zu records have something else than "
            "zeros behind their id",
            n_wrong, n);
    return error_set(ERROR_INPUT,
        "record %zu of the key file has something else than zeros behind its id: it was changed, "
        "or is of another file",
        first);
}

static void take_record(const uint8_t *clear, size_t place, struct sigfox_record *ret)
{
    ret->id = (uint32_t)clear[0] | (uint32_t)clear[1] << 8 | (uint32_t)clear[2] << 16 |
              (uint32_t)clear[3] << 24;
    ret->place = place;
    memcpy(ret->nak.bytes, clear + BLOCK_LEN, sizeof(ret->nak.bytes));
}

int sigfox_files_read_keys(
    struct sigfox_files *files, const struct secret_key *key, const uint8_t *bytes, size_t len)
{
    size_t n = len / SIGFOX_RECORD_LEN;
    uint8_t *clear;
    int r;

    if (len % SIGFOX_RECORD_LEN != 0)
        return error_set(ERROR_INPUT,
            "the key file is cut off: %zu bytes stand behind its record %zu, and a record has %d",
            len % SIGFOX_RECORD_LEN, n, SIGFOX_RECORD_LEN);
    if (n == 0)
        return error_set(ERROR_INPUT, "the key file is empty");
    clear = secret_realloc(NULL, len);
    files->records = secret_realloc(NULL, n * sizeof(*files->records));
    r = clear != NULL && files->records != NULL
            ? aes_ecb_decrypt(key, bytes, len, clear)
            : error_set(ERROR_SYSTEM, "out of memory for %zu records", n);
    if (r == 0 && (r = check_spare(clear, n)) == 0) {
        for (size_t i = 0; i < n; i++)
            take_record(clear + i * SIGFOX_RECORD_LEN, i + 1, &files->records[i]);
        files->n_records = n;
    }
    secret_free(clear);
    return r;
}

/* --- id_pac.txt ------------------------------------------------------------------------------ */

static bool read_line(const char *line, size_t len, struct sigfox_pac *ret)
{
    const size_t pac_end = ID_DIGITS + 1 + PAC_DIGITS;
    uint8_t id[ID_LEN];

    if (len < pac_end || line[ID_DIGITS] != ';' || (len > pac_end && line[pac_end] != ';') ||
        !hex_decode(line, ID_DIGITS, id, sizeof(id)) ||
        !hex_decode(line + ID_DIGITS + 1, PAC_DIGITS, ret->pac, sizeof(ret->pac)))
        return false;
    ret->id = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
    return true;
}

static size_t count_lines(const char *text, size_t len)
{
    size_t n = 1;

    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

int sigfox_files_read_pacs(struct sigfox_files *files, const char *text, size_t len)
{
    static const char mark[] = "\xEF\xBB\xBF";
    const size_t mark_len = sizeof(mark) - 1;
    size_t at = len >= mark_len && memcmp(text, mark, mark_len) == 0 ? mark_len : 0, place = 0;

    files->pacs = secret_realloc(NULL, count_lines(text, len) * sizeof(*files->pacs));
    if (files->pacs == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the PACs");
    while (at < len) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line_len = end != NULL ? (size_t)(end - text) - at : len - at, n = line_len;
        struct sigfox_pac *pac = &files->pacs[files->n_pacs];

        place++;
        while (n > 0 && strchr("\r \t", text[at + n - 1]) != NULL)
            n--;
        if (n > 0) {
            if (!read_line(text + at, n, pac))
                return error_set(ERROR_INPUT,
                    "line %zu of the PAC file is not ID;PAC with 8 and 16 hexadecimal digits",
                    place);
            pac->place = place;
            files->n_pacs++;
        }
        at += line_len + 1;
    }
    return files->n_pacs > 0 ? 0 : error_set(ERROR_INPUT, "the PAC file is empty");
}

/* --- together -------------------------------------------------------------------------------- */

static int compare_records(const void *a, const void *b)
{
    const struct sigfox_record *x = *(const struct sigfox_record *const *)a;
    const struct sigfox_record *y = *(const struct sigfox_record *const *)b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int compare_pacs(const void *a, const void *b)
{
    const struct sigfox_pac *x = *(const struct sigfox_pac *const *)a;
    const struct sigfox_pac *y = *(const struct sigfox_pac *const *)b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Sorted are places: qsort leaves copies of what it sorts behind. */
static int match(const struct sigfox_files *files, const struct sigfox_pac *const *pacs)
{
    size_t i = 0, k = 0;

    while (i < files->n_records || k < files->n_pacs) {
        const struct sigfox_record *record = i < files->n_records ? files->by_id[i] : NULL;
        const struct sigfox_pac *pac = k < files->n_pacs ? pacs[k] : NULL;

        if (i > 0 && record != NULL && record->id == files->by_id[i - 1]->id)
            return error_set(ERROR_INPUT,
                "id %08" PRIx32 " is in records %zu and %zu of the key file", record->id,
                files->by_id[i - 1]->place, record->place);
        if (k > 0 && pac != NULL && pac->id == pacs[k - 1]->id)
            return error_set(ERROR_INPUT,
                "id %08" PRIx32 " is in lines %zu and %zu of the PAC file", pac->id,
                pacs[k - 1]->place, pac->place);
        if (pac == NULL || (record != NULL && record->id < pac->id))
            return error_set(ERROR_INPUT,
                "id %08" PRIx32 " is in record %zu of the key file, and not in the PAC file",
                record->id, record->place);
        if (record == NULL || pac->id < record->id)
            return error_set(ERROR_INPUT,
                "id %08" PRIx32 " is in line %zu of the PAC file, and not in the key file", pac->id,
                pac->place);
        i++;
        k++;
    }
    return 0;
}

int sigfox_files_join(struct sigfox_files *files)
{
    const struct sigfox_pac **pacs = secret_realloc(NULL, files->n_pacs * sizeof(*pacs));
    int r;

    files->by_id = secret_realloc(NULL, files->n_records * sizeof(*files->by_id));
    if (pacs == NULL || files->by_id == NULL) {
        secret_free(pacs);
        return error_set(ERROR_SYSTEM, "out of memory for the ids");
    }
    for (size_t i = 0; i < files->n_pacs; i++)
        pacs[i] = &files->pacs[i];
    for (size_t i = 0; i < files->n_records; i++)
        files->by_id[i] = &files->records[i];
    qsort(pacs, files->n_pacs, sizeof(*pacs), compare_pacs);
    qsort(files->by_id, files->n_records, sizeof(*files->by_id), compare_records);
    r = match(files, pacs);
    secret_free(pacs);
    return r;
}

void sigfox_files_line(
    const struct sigfox_files *files, size_t i, char out[static SIGFOX_LINE_LEN + 1])
{
    const struct sigfox_pac *pac = &files->pacs[i];
    size_t low = 0, high = files->n_records;
    char *at = out + ID_DIGITS;

    /* The first that is not less: since they were joined, it is the id's. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (files->by_id[middle]->id < pac->id)
            low = middle + 1;
        else
            high = middle;
    }
    (void)snprintf(out, ID_DIGITS + 1, "%08" PRIx32, pac->id);
    *at++ = ';';
    (void)hex_encode(pac->pac, sizeof(pac->pac), at);
    at += PAC_DIGITS;
    *at++ = ';';
    (void)hex_encode(files->by_id[low]->nak.bytes, AES_KEY_LEN, at);
    at += (size_t)2 * AES_KEY_LEN;
    *at++ = '\n';
    *at = '\0';
}
