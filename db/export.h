/* Exports: jobs that write devices to a file, for whoever they belong to. Role cradle_activation.
 *
 * Any number of processes may work on them, each job in one at a time: it is taken with SKIP LOCKED
 * and held by a lease; each chunk is one transaction, which renews the lease, moves the job on and
 * is lost with it when somebody else has taken the job meanwhile (`turn`). */
#pragma once

#include "db/batch.h"
#include "db/job.h"

#define DB_EXPORT_ROWS_MAX 64
#define DB_EXPORT_PEM_MAX 4096
#define DB_EXPORT_MODEL_MAX 100
#define DB_EXPORT_PART_MAX (512u << 10) /* bytes of a piece of the file */
#define DB_EXPORT_OPEN_MAX 16           /* of an organization, that have not ended */
#define DB_EXPORT_KEPT_DAYS 7           /* how long the file is kept */
#define DB_EXPORT_PAGES 32              /* of 2,048 DevNonces each */
#define DB_EXPORT_PAGE_BYTES 256
#define DB_REQUEST_ID_MAX 40

enum db_export_format { EXPORT_CRADLE_JSONL, EXPORT_TTS_CSV, EXPORT_THINGPARK_CSV };
const char *db_export_format_text(enum db_export_format format);
bool db_export_format_parse(const char *text, enum db_export_format *ret);

/** What the call said. */
struct db_export_order {
    enum db_export_format format;
    int64_t of_batch;                       /* 0: all devices */
    char model[DB_EXPORT_MODEL_MAX + 1];    /* "" for none */
    char public_key[DB_EXPORT_PEM_MAX + 1]; /* "" where the file holds no keys */
    char request_id[DB_REQUEST_ID_MAX + 1];
};

struct db_export {
    struct db_job job;
    uint8_t client_id[ACCOUNT_ID_LEN];
    struct db_export_order order;
    struct eui64 last; /* the last device that is done */
    bool has_last;
    int64_t n_broken; /* turns in a row that a service has failed on, before this one */
    bool is_revoked;  /* the client that asked for it, when it was taken */
};

/** In a transaction of the caller: it waits from its commit on. Outcome 1: the organization has
 * DB_EXPORT_OPEN_MAX already. */
int db_export_add(struct db *db, int64_t organization_id,
    const uint8_t client_id[static ACCOUNT_ID_LEN], const struct db_export_order *order,
    struct db_job *ret);
/** Outcome 1: the organization has DB_EXPORT_OPEN_MAX already. */
int db_export_has_room(struct db *db, int64_t organization_id);
/** Takes one that waits, or whose worker has been silent for a lease: of the organization that was
 * served longest ago, the one that was, new ones first. Without `may_export_keys` only those that
 * hold no keys. Outcome 1: there is none. */
int db_export_take(struct db *db, bool may_export_keys, struct db_export *ret);

/** A device on its way out. */
struct db_export_row {
    struct device_record record;
    char serial[DB_SERIAL_MAX + 1], name[DB_DEVICE_NAME_MAX + 1];
    bool has_app, has_nwk;
    struct sealed_key app, nwk;
    uint32_t join_nonce;
    int32_t last_dev_nonce; /* DEVICE_NO_NONCE before the first */
    bool shares_key;        /* with a device of another organization's */
    bool is_unproved;       /* a key has no fingerprint, or may be one of another's that has none */
};
/** The next devices of the export, in the order of DevEUIs: what the organization owns, and what it
 * has brought in and nobody owns. At most DB_EXPORT_ROWS_MAX; *ret_n 0: there are no more. */
int db_export_load(
    struct db *db, const struct db_export *export, struct db_export_row *ret, size_t *ret_n);

/** The used DevNonces of these rows' devices, a bit each, for those that do not count. */
struct db_export_nonces {
    size_t row; /* which of the rows */
    uint16_t page;
    uint8_t bits[DB_EXPORT_PAGE_BYTES];
};
/** Up to `n_max` pages (n rows have at most n * DB_EXPORT_PAGES), in the order of rows and pages.
 */
int db_export_load_nonces(struct db *db, const struct db_export_row *rows, size_t n_rows,
    struct db_export_nonces *ret, size_t n_max, size_t *ret_n);

/* The chunk, in a transaction of the caller, in this order. */

/** Renews the lease and moves on to behind `last`, with so many devices done. Outcome 1: it is not
 * ours any more. `export` is moved on; its job.cancel_wanted is read anew. */
int db_export_advance(struct db *db, struct db_export *export, const struct eui64 *last,
    int64_t n_exported, int64_t n_refused);
/** Marks devices as exposed, for ever, with an audit event each. Outcome 1: one of them is not the
 * organization's any more, or may not be exported: load the chunk again. */
int db_export_expose(
    struct db *db, const struct db_export *export, const struct eui64 *dev_euis, size_t n);
/** Adds a piece to the file: whole lines, at most DB_EXPORT_PART_MAX bytes. */
int db_export_write(struct db *db, const struct db_export *export, const void *bytes, size_t len);

/** In a transaction of the caller: done, failed or cancelled, for good. Only one that is done keeps
 * its file. Outcome 1: it is not ours any more. */
int db_export_end(
    struct db *db, struct db_export *export, enum db_job_state state, const char *fault);
/** Puts it back: it waits again, with its n_broken, and is not taken for so many seconds. */
int db_export_put_back(struct db *db, const struct db_export *export, unsigned seconds);

int db_export_format(struct db *db, int64_t job_row_id, enum db_export_format *ret);
/** The piece behind number `*n`, which is moved on; `bytes` has DB_EXPORT_PART_MAX. Outcome 1:
 * there are no more. */
int db_export_read(struct db *db, int64_t job_row_id, int64_t *n, uint8_t *bytes, size_t *ret_len);
/** Deletes the file of one that is done. Outcome 1: there is none. */
int db_export_discard(struct db *db, int64_t job_row_id);
/** Deletes the files whose time is over. */
int db_export_sweep(struct db *db);
