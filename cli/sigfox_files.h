/* What the factory tools of classic Sigfox leave on a maker's machine, made one: id_key.bin, a
 * record of 32 bytes a device in AES-128-ECB (its id, least byte first, and 12 zeros; then its
 * NAK), and id_pac.txt, a line "ID;PAC;..." a device. Nothing protects either against a change, so
 * whatever does not fit is an error that names its place. Pure but for memory. */
#pragma once

#include "base/secret.h"

#define SIGFOX_RECORD_LEN 32
#define SIGFOX_PAC_LEN 8

struct sigfox_record {
    uint32_t id;
    size_t place; /* in its file, from 1: of a record, or of a line */
    struct secret_key nak;
};

struct sigfox_pac {
    uint32_t id;
    size_t place;
    uint8_t pac[SIGFOX_PAC_LEN];
};

/** Of secret_realloc. Zeroed before the first call. */
struct sigfox_files {
    struct sigfox_record *records;
    const struct sigfox_record **by_id; /* the same in the order of their ids, once joined */
    struct sigfox_pac *pacs;
    size_t n_records, n_pacs;
};

/** Wipes and frees. */
void sigfox_files_done(struct sigfox_files *files);

/** All of id_key.bin. */
int sigfox_files_read_keys(struct sigfox_files *files, const struct secret_key *key,
    const uint8_t *bytes, size_t len) MUST_CHECK;
/** All of id_pac.txt. LF or CRLF, a byte order mark and empty lines are taken. */
int sigfox_files_read_pacs(struct sigfox_files *files, const char *text, size_t len) MUST_CHECK;
/** Each id is in both, and once in each. Before it nothing is written. */
int sigfox_files_join(struct sigfox_files *files) MUST_CHECK;

/** "0123abcd;0123456789abcdef;" and 32 digits of NAK, with its LF. */
#define SIGFOX_LINE_LEN (2 * 4 + 1 + 2 * SIGFOX_PAC_LEN + 1 + 2 * AES_KEY_LEN + 1)
/** Line `i` of sigfox-csv, in the order of id_pac.txt; a secret. */
void sigfox_files_line(
    const struct sigfox_files *files, size_t i, char out[static SIGFOX_LINE_LEN + 1]);
