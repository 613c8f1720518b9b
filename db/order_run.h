/* Orders on their way: jobs that make credentials, chunk by chunk, for a maker. Role
 * cradle_activation.
 *
 * As exports (db/export.h), any number of processes may work on them: each job is taken with SKIP
 * LOCKED and held by a lease; each chunk is one transaction, which makes the devices, writes what
 * their maker gets of them and moves the job on. A chunk that is not committed has made nothing:
 * who goes on makes its devices anew, with other keys and other codes. */
#pragma once

#include "db/batch.h"
#include "db/certificate.h"
#include "db/code.h"
#include "db/job.h"

#define DB_ORDER_PEM_MAX 4096
#define DB_ORDER_REQUEST_ID_MAX 40
#define DB_ORDER_PROFILE_LEN 4
#define DB_ORDER_KCV_LEN 3
#define DB_ORDER_TEXT_MAX 1024        /* bytes of a transport key sealed to a public key */
#define DB_ORDER_PART_MAX (64u << 10) /* bytes of a piece of the records */
#define DB_ORDER_FILES_DAYS 30        /* how long files are kept */
#define DB_ORDER_MARKED_AT_ONCE 256   /* devices that one statement marks as delivered */

struct db_order_run {
    struct db_job job; /* its n_rows are how many are to be made */
    uint8_t client_id[ACCOUNT_ID_LEN];
    char request_id[DB_ORDER_REQUEST_ID_MAX + 1];
    uint8_t organization[ACCOUNT_ID_LEN]; /* its id for the world */
    char module[CERTIFICATE_NUMBER_LEN + 1];
    bool is_sigfox, is_legacy;
    int64_t n;
    struct eui64 first;
    struct eui64 join_eui;           /* not of Sigfox credentials */
    enum lw_mac_version mac_version; /* nor this */
    uint8_t profile[DB_ORDER_PROFILE_LEN];
    char public_key[DB_ORDER_PEM_MAX + 1];
    unsigned code_length;
    unsigned code_key; /* version of the code key that its files are sealed with */
    /* The key that the credentials leave under, and it sealed to the maker's. */
    bool has_transport;
    struct sealed_kek transport;
    uint8_t transport_kcv[DB_ORDER_KCV_LEN];
    uint8_t transport_text[DB_ORDER_TEXT_MAX];
    size_t transport_text_len;
    int64_t n_broken; /* turns in a row that a service has failed on, before this one */
    bool is_revoked;  /* the client that asked for it, when it was taken */
};

/** As db_export_take. */
int db_order_run_take(struct db *db, struct db_order_run *ret);
/** In a transaction of the caller, before the first key: keeps `transport` and what belongs to it.
 * Outcome 1: it is not ours any more, or has one. */
int db_order_run_begin(struct db *db, const struct db_order_run *run);

/* The chunk, in a transaction of the caller: db_batch_insert, then these. */

/** Codes of devices that were made in this transaction, up to DB_BATCH_ROWS_MAX. */
int db_order_run_codes(struct db *db, const struct db_code *codes, size_t n,
    const uint8_t made_by[static DB_CODE_CALL_LEN]);
/** What the maker gets of these devices; `line` is the first one's. */
int db_order_run_write(
    struct db *db, const struct db_order_run *run, int64_t line, const void *bytes, size_t len);
/** Renews the lease and moves on, with so many devices done, and the digest of all records so far.
 * Outcome 1: it is not ours any more. `run` is moved on; its job.cancel_wanted is read anew. */
int db_order_run_advance(struct db *db, struct db_order_run *run, int64_t n_created,
    int64_t n_refused, const uint8_t digest[static DB_JOB_DIGEST_LEN]);

/** In a transaction of the caller: done, with the manifest that its file begins with; or failed or
 * cancelled, and then what was written for its files is deleted soon. For good. Outcome 1: it is
 * not ours any more. */
int db_order_run_end(struct db *db, struct db_order_run *run, enum db_job_state state,
    const char *fault, const char *manifest);
/** As db_export_put_back. */
int db_order_run_put_back(struct db *db, const struct db_order_run *run, unsigned seconds);

/** Marks a chunk of the devices of an order whose keys were taken away as delivered. Outcome 1:
 * there is none. */
int db_order_run_mark(struct db *db);
