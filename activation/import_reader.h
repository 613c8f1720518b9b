/* Import files of any size to rows, in constant memory: bytes go in as they arrive, rows come out
 * in chunks that the caller empties.
 *
 *   import_reader_new, import_chunk_init
 *   for each piece that arrives:
 *       do
 *           outcome = import_reader_feed(reader, bytes + at, len - at, &chunk, &n), at += n
 *           IMPORT_FULL: work on chunk.rows, import_chunk_clear
 *       while (outcome == IMPORT_FULL)
 *   while import_reader_end is IMPORT_FULL: the same
 *   work on the rows that are left, also after IMPORT_BROKEN: they stand before the fault
 *
 * Formats (docs/onboarding.md):
 *
 *   thingpark-csv  directive, DevEUI or TR005 tag, DevAddr, model, JoinEUI, AppKey, ...
 *   tts-csv        The Things Stack: a header line; unknown columns are ignored
 *   csv            a header line; an unknown column is a fault of the file
 *   jsonl          an object a line, members named as the columns of csv
 *   sigfox-csv     Sigfox id, PAC and NAK
 *
 * Text is UTF-8; lines end with LF, CRLF or CR, the last one perhaps with the file; a byte order
 * mark and empty lines are skipped, and so are lines of CSV that begin with '#' (not in tts-csv).
 * Quoting is RFC 4180's, strictly. What is wrong with one row is a lint of that row
 * (import_lint.h); what makes the rest unreadable is a fault of the file, and the rows before it
 * stand. Any cutting into pieces gives the same rows and the same fault. A reader belongs to one
 * thread. Pure but for memory; what holds keys or codes is wiped when it is given back. */
#pragma once

#include "activation/import_lint.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/secret.h"
#include "device/code.h"
#include "device/record.h"
#include "hsm/client.h"

/* Bytes of a row of a file, over all its lines: enough for each DevNonce there is, in decimal. */
#define IMPORT_LINE_MAX ((size_t)512 * 1024)
#define IMPORT_FIELD_MAX 1024 /* bytes of a field that goes over several lines */
#define IMPORT_FAULT_MAX 400  /* of the sentence, with its NUL */
#define IMPORT_SERIAL_MAX 64  /* printable ASCII */
#define IMPORT_NAME_MAX 100   /* bytes of UTF-8; longer names are cut */
#define IMPORT_WRAPPED_LEN 24 /* RFC 3394 of an AES-128 key */
#define IMPORT_DEV_NONCES 65536
/* DevNonces of all rows of a chunk together; a row may have all there are. */
#define IMPORT_CHUNK_NONCES (2 * (size_t)IMPORT_DEV_NONCES)

enum import_format {
    IMPORT_THINGPARK_CSV,
    IMPORT_TTS_CSV,
    IMPORT_CSV,
    IMPORT_JSONL,
    IMPORT_SIGFOX_CSV,
    N_IMPORT_FORMATS
};

/** "thingpark-csv" and so on. */
bool import_reader_format_parse(const char *text, enum import_format *ret);
const char *import_reader_format_text(enum import_format format);

/** What the request says for every row that does not say otherwise. */
struct import_defaults {
    bool has_mac_version, has_home_net_id;
    enum lw_mac_version mac_version;
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1];  /* "" for none */
    enum device_credential state; /* CREDENTIAL_PERSONALIZED or CREDENTIAL_ACTIVABLE */
};

enum import_key_form {
    IMPORT_KEY_NONE,
    IMPORT_KEY_CLEAR,
    IMPORT_KEY_WRAPPED, /* RFC 3394 under the maker's transport KEK */
    IMPORT_KEY_SEALED,  /* RSAES-OAEP to the exchange key */
};

struct import_key {
    enum import_key_form form;
    union {
        struct secret_key clear;
        uint8_t wrapped[IMPORT_WRAPPED_LEN];
        uint8_t sealed[KEYD_OAEP_LEN];
    };
};

/** A row without an error (import_row_refused) has a DevEUI, a JoinEUI, a MAC version and `app`;
 * `nwk` in 1.1 and only there; a home NetID and an AS-ID both or neither. Or it is a Sigfox
 * device's: then it has its id and `app`, which is its NAK. */
struct import_row {
    uint64_t line;  /* physical line where the row begins, from 1 */
    uint64_t lints; /* 1 << enum import_lint */
    bool is_sigfox; /* says so itself: it has no JoinEUI, version, home, NwkKey and nonces */
    bool has_dev_eui, has_join_eui, has_mac_version, has_home_net_id;
    bool has_join_nonce, has_dev_nonce;
    struct eui64 dev_eui, join_eui;
    enum lw_mac_version mac_version;
    enum device_credential state; /* CREDENTIAL_PERSONALIZED or CREDENTIAL_ACTIVABLE */
    struct import_key app, nwk;   /* the keys of the slots APP and NWK */
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1];    /* "" without one; so the next three */
    char code[DEVICE_CODE_MAX + 1]; /* normalised; a secret */
    char serial[IMPORT_SERIAL_MAX + 1];
    char name[IMPORT_NAME_MAX + 1];
    uint32_t join_nonce; /* the last one used */
    /* The last one taken. Where only used ones are listed, a version that counts (1.0.4 and 1.1)
     * has the highest of them here. */
    uint16_t dev_nonce;
    /* Rising, each once; in the chunk. In versions that do not count also the last one taken. */
    const uint16_t *used_dev_nonces;
    uint32_t n_used_dev_nonces;
};

void import_row_add_lint(struct import_row *row, enum import_lint lint);
bool import_row_has_lint(const struct import_row *row, enum import_lint lint);
/** True when one of its lints is an error. */
bool import_row_refused(const struct import_row *row);

/** The rows that are at hand. Of secret_realloc. */
struct import_chunk {
    struct import_row *rows;
    size_t n_rows, n_full; /* of the room, it is full with so many; may be less than there is */
    uint16_t *nonces;
    size_t n_nonces;
    /* SHA-256 of the file from its first byte to the end of the last row that was given here, over
     * all lines of that row, without what ends the last of them. */
    uint8_t digest[DIGEST_LEN];
};

/** Room for `capacity` rows, about 1.2 KiB each, and 256 KiB for nonces. */
int import_chunk_init(struct import_chunk *chunk, size_t capacity) MUST_CHECK;
/** Wipes the rows; the room stays. */
void import_chunk_clear(struct import_chunk *chunk);
/** Wipes and frees. */
void import_chunk_done(struct import_chunk *chunk);

enum import_outcome {
    IMPORT_OK = 0,      /* everything was read */
    IMPORT_FULL = 1,    /* the chunk has no room for one more row: clear it and go on */
    IMPORT_BROKEN = 2,  /* not such a file: import_reader_fault says why; nothing more is read */
    IMPORT_EMPTY = 3,   /* of import_reader_end: no row at all in the whole file */
    IMPORT_DIFFERS = 4, /* not the file that it was resumed with; nothing was given of it */
};

struct import_reader;

/** `defaults` is copied. */
int import_reader_new(enum import_format format, const struct import_defaults *defaults,
    struct import_reader **ret) MUST_CHECK;
/** Wipes and frees; NULL is fine. */
void import_reader_free(struct import_reader *reader);
static inline void import_reader_freep(struct import_reader **reader)
{
    import_reader_free(*reader);
}

/** Before the first byte: a file that is sent once more goes on behind the row that was committed
 * last. It begins at `line`, and `digest` is what import_chunk.digest was behind it: rows up to it
 * are read and not given, and when they are not the same, byte by byte, none is. `line` 0: from the
 * beginning. */
void import_reader_resume_after(
    struct import_reader *reader, uint64_t line, const uint8_t digest[static DIGEST_LEN]);
/** SHA-256 of all that was read: after import_reader_end, of the whole file. */
int import_reader_digest(struct import_reader *reader, uint8_t ret[static DIGEST_LEN]) MUST_CHECK;

/** Reads on. `*ret_consumed` bytes were taken: fewer than `len` after IMPORT_FULL and IMPORT_BROKEN
 * only. IMPORT_FULL also when the last byte filled the chunk. Negative: no memory. */
int import_reader_feed(struct import_reader *reader, const void *bytes, size_t len,
    struct import_chunk *chunk, size_t *ret_consumed) MUST_CHECK;
/** The file has ended. After IMPORT_FULL it is called again, with an empty chunk. */
int import_reader_end(struct import_reader *reader, struct import_chunk *chunk) MUST_CHECK;

/** What is wrong with the file, naming the line; of what stood in it only names of columns are said
 * again. "" while nothing is, or when it is another file (IMPORT_DIFFERS). */
const char *import_reader_fault(const struct import_reader *reader);
/** The physical line that is being read, from 1; 0 before the first byte. */
uint64_t import_reader_line(const struct import_reader *reader);
/** Rows read so far, also those that were not given (import_reader_resume_after). */
uint64_t import_reader_rows(const struct import_reader *reader);
