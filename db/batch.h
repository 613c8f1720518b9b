/* Batches of devices that came in by a file. Role cradle_activation, which cannot read or write
 * nonces: a device's hot row is made by its insert here and touched by the join server alone. */
#pragma once

#include "db/db.h"
#include "device/record.h"

#define DB_BATCH_ROWS_MAX 256 /* rows of one insert */

struct db_batch_row {
    struct device_record record;
    struct sealed_key app;
    bool has_nwk;
    struct sealed_key nwk;
    uint8_t kcv[3];
};

enum db_batch_outcome { DB_BATCH_CREATED, DB_BATCH_EXISTS };

/** Opens a batch; its id goes into every row. */
int db_batch_begin(
    struct db *db, int64_t organization_id, const char *format, int64_t *ret_batch_id);
/** One transaction: device, device_key and device_join of every row whose DevEUI is new; outcome[i]
 * belongs to rows[i]. A DevEUI twice in `rows` is created once. */
int db_batch_insert(struct db *db, int64_t batch_id, int64_t organization_id,
    const struct db_batch_row *rows, size_t n_rows, enum db_batch_outcome *outcomes);
int db_batch_finish(struct db *db, int64_t batch_id, size_t n_created, size_t n_refused);
