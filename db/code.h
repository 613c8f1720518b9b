/* Claim codes, of which only keyed hashes are kept. Role cradle_activation. */
#pragma once

#include "base/eui.h"
#include "db/batch.h"

#define DB_CODE_HASH_LEN 32
/* Of a hash that is kept (base/keyed.h), the version of its key: SQL. */
#define DB_CODE_KEY(hash)                                                                          \
    "CASE octet_length(" hash ") WHEN 34 THEN get_byte(" hash ", 32) * 256 + get_byte(" hash       \
    ", 33) ELSE 1 END"
#define DB_CODE_CALL_LEN 32 /* the name of a call that makes codes */

/** A code that a device is to have. */
struct db_code {
    struct eui64 dev_eui;
    uint32_t generation; /* from 1 */
    uint8_t hash[DB_CODE_HASH_LEN];
    uint16_t version; /* of the code key that hashed it */
    bool weak;
};

/** Stores the codes that a file gave its devices, which were made in this transaction: up to
 * DB_BATCH_ROWS_MAX. */
int db_code_give(struct db *db, const struct db_code *codes, size_t n);

/** A call that makes codes: for the devices of a batch, or for those that a job has moved
 * (db/move.h), whose codes nobody was told yet. */
struct db_code_call {
    int64_t batch_id; /* 0: of the job */
    int64_t job_id;
    int64_t organization_id;             /* of the job */
    uint8_t untold_by[DB_CODE_CALL_LEN]; /* what the job calls itself */
    bool renew;                          /* also where another call has made one */
    uint8_t made_by[DB_CODE_CALL_LEN];
    int session; /* the database session that has the batch; of db_code_begin */
};

/** Takes the batch or job for this call and its connection, so that no code is made anew behind the
 * back of a call that gives it away. Outcome 1: another call makes codes of it. It is free again
 * after db_code_end, and when the connection ends. */
int db_code_begin(struct db *db, struct db_code_call *call);
void db_code_end(struct db *db, const struct db_code_call *call);

/** A device of the batch or job. `due`: its code is this call's to make. Of a batch: nobody owns
 * it, and it has none, or one that this call made before, or with `renew` one that any call made.
 * Of a job: it is still the organization's, or released by it within DB_CODE_REISSUE_DAYS, and its
 * code is the job's or one that this call made before, or with `renew` any. */
#define DB_CODE_REISSUE_DAYS 30
struct db_code_device {
    struct eui64 dev_eui;
    bool has_join_eui;
    struct eui64 join_eui;
    int64_t line;
    char serial[DB_SERIAL_MAX + 1]; /* "" for none */
    uint32_t generation;            /* of the code that it has; 0: none */
    bool due;
};
/** The next devices behind line `after`, at most `n_max`, in the order of lines. */
int db_code_walk(struct db *db, const struct db_code_call *call, int64_t after,
    struct db_code_device *ret, size_t n_max, size_t *ret_n);

/** In a transaction of the caller: stores codes of devices that were due, up to DB_BATCH_ROWS_MAX.
 * ret_stored[i] tells whether codes[i] is the device's code now: not where the device was claimed
 * or got another code since it was looked at. ERROR_DB also when this is not the session that has
 * the batch any more. */
int db_code_make(struct db *db, const struct db_code_call *call, const struct db_code *codes,
    size_t n, bool *ret_stored);
