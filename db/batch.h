/* Batches of devices that come in by a file. Role cradle_activation, which cannot read a nonce nor
 * change one: a device's hot row is made by its insert here, with the numbers it has counted to
 * elsewhere, and touched by the join server alone. */
#pragma once

#include "db/db.h"
#include "device/record.h"

#define DB_BATCH_ROWS_MAX 256 /* rows of one insert */
#define DB_FINGERPRINT_LEN 16
#define DB_SERIAL_MAX 64
#define DB_DEVICE_NAME_MAX 100

/** How a root key came in; kept for custody statements. */
enum db_key_origin {
    DB_KEY_NOT_RECORDED,
    DB_KEY_CLEAR,
    DB_KEY_WRAPPED,
    DB_KEY_SEALED,
    DB_KEY_MADE, /* in the HSM, for an order */
    DB_N_KEY_ORIGINS
};

/** As it is stored; "" for not recorded. */
const char *db_key_origin_text(enum db_key_origin origin);

struct db_batch_key {
    struct sealed_key sealed;
    uint8_t fingerprint[DB_FINGERPRINT_LEN];
    enum db_key_origin origin;
    char transport_kek[KEK_LABEL_MAX + 1]; /* of one that came wrapped, the label of its KEK */
};

struct db_batch_row {
    struct device_record record;
    int64_t line;                                                 /* of the file */
    char serial[DB_SERIAL_MAX + 1], name[DB_DEVICE_NAME_MAX + 1]; /* "" for none */
    struct db_batch_key app;
    bool has_nwk;
    struct db_batch_key nwk;
    /* What it has counted to elsewhere. */
    uint32_t join_nonce;             /* the last one used; 0: none */
    int32_t last_dev_nonce;          /* of versions that count; DEVICE_NO_NONCE */
    const uint16_t *used_dev_nonces; /* of those that do not: rising */
    size_t n_used_dev_nonces;
};

enum db_batch_outcome {
    DB_BATCH_CREATED,
    DB_BATCH_EXISTS,           /* the organization has brought it in before, or owns it */
    DB_BATCH_NOT_ITS_JOIN_EUI, /* its JoinEUI is in a range of another organization */
    DB_BATCH_TAKEN, /* another organization's device has this DevEUI, or it is of its block */
};

struct db_key_of_device {
    uint8_t fingerprint[DB_FINGERPRINT_LEN];
    struct eui64 dev_eui;
};

/** Whether another device has the same key: one that the organization knows, one that it does not.
 */
struct db_key_known {
    bool own, foreign;
};

/** Opens a batch; its id goes into every row. */
int db_batch_begin(
    struct db *db, int64_t organization_id, const char *format, int64_t *ret_batch_id);
int db_batch_finish(struct db *db, int64_t batch_id, size_t n_created, size_t n_refused);

/** Device, device_key and device_join of every row whose DevEUI is new and in no block
 * (db/eui_block.h) of another organization's; outcome[i] belongs to rows[i]. A DevEUI twice in
 * `rows` is created once, from the first of them. All or nothing: in the caller's transaction, or
 * where there is none in one of its own. */
int db_batch_insert(struct db *db, int64_t batch_id, int64_t organization_id,
    const struct db_batch_row *rows, size_t n_rows, enum db_batch_outcome *outcomes);
/** What db_batch_insert would come to for rows whose DevEUIs differ. */
int db_batch_foresee(struct db *db, int64_t organization_id, const struct db_batch_row *rows,
    size_t n_rows, enum db_batch_outcome *ret_outcomes);
/** Of each of these keys whether a device that is here has it, other than its own; where very many
 * have it, by some of them. */
int db_batch_known_keys(struct db *db, int64_t organization_id, const struct db_key_of_device *keys,
    size_t n, struct db_key_known *ret_known);
