/* From the bytes of a list of what was built to its lines: `ID;PAC`, and behind another ';'
 * whatever a bench has written there. Blank lines and those that begin with '#' are skipped; a byte
 * order mark and any end of a line are taken. A line that is none is given all the same, to be
 * refused; what is no such list ends the reading. Pure. */
#pragma once

#include "base/cleanup.h"
#include "base/eui.h"
#include "device/code.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_PAC_LINE_MAX 1024     /* bytes of a line */
#define ID_PAC_LINES_MAX 1000000 /* of one list, which are neither blank nor comments */
#define ID_PAC_CHUNK_LINES 64
#define ID_PAC_FAULT_MAX 160

/** What is wrong with a line by itself. */
enum id_pac_fault { ID_PAC_LINE_GOOD, ID_PAC_BAD_ID, ID_PAC_NO_PAC, ID_PAC_BAD_PAC };

struct id_pac_line {
    uint32_t number; /* physical, from 1 */
    enum id_pac_fault fault;
    struct eui64 dev_eui; /* zeros of ID_PAC_BAD_ID; a Sigfox id stands behind 4 zero bytes */
    char code[DEVICE_CODE_MAX + 1]; /* the PAC in its normal form; "" of a fault */
};

/** Of secret_realloc, as is the reader: PACs are secrets until their devices are claimed. */
struct id_pac_chunk {
    struct id_pac_line lines[ID_PAC_CHUNK_LINES];
    size_t n;
};

enum id_pac_reading {
    ID_PAC_READ = 0,
    ID_PAC_FULL = 1,   /* the chunk has room for no more: clear it and go on */
    ID_PAC_BROKEN = 2, /* no such list: id_pac_reader_fault says why; nothing more is read */
};

struct id_pac_reader;

int id_pac_reader_new(struct id_pac_reader **ret) MUST_CHECK;
/** Wipes and frees; NULL is fine. */
void id_pac_reader_free(struct id_pac_reader *reader);
static inline void id_pac_reader_freep(struct id_pac_reader **reader)
{
    id_pac_reader_free(*reader);
}

/** Reads on; *ret_consumed bytes were taken: fewer than `len` after ID_PAC_FULL and ID_PAC_BROKEN
 * only. */
enum id_pac_reading id_pac_reader_feed(struct id_pac_reader *reader, const char *bytes, size_t len,
    struct id_pac_chunk *chunk, size_t *ret_consumed);
/** The list has ended, perhaps within a line. After ID_PAC_FULL it is called again. */
enum id_pac_reading id_pac_reader_end(struct id_pac_reader *reader, struct id_pac_chunk *chunk);

/** What is wrong, naming the line; "" while nothing is. */
const char *id_pac_reader_fault(const struct id_pac_reader *reader);
/** Lines given so far. */
uint64_t id_pac_reader_lines(const struct id_pac_reader *reader);
