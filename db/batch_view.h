/* Batches as their makers see them. Role cradle_activation. */
#pragma once

#include "db/account.h"
#include "db/job.h"
#include "db/order.h"

#define DB_BATCH_FORMAT_MAX 40

struct db_batch {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN];
    int64_t organization_id;
    char format[DB_BATCH_FORMAT_MAX + 1]; /* of its file, as the caller named it */
    bool has_job;                         /* not of batches from before jobs */
    uint8_t job_id[ACCOUNT_ID_LEN];
    int64_t created, exists, refused; /* rows so far */
    int64_t n_done;                   /* of an order: devices of it that are done */
    char created_at[DB_TIME_TEXT_LEN + 1];
    char finished_at[DB_TIME_TEXT_LEN + 1]; /* "" while it is coming in, or when that broke off */
    bool is_order;
    struct db_order order;
};

/** Outcome 1: there is no such batch. */
int db_batch_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_batch *ret);
/** Of an organization, by age: at most `n_max` after the one with that id (NULL: from the first);
 * *ret_n tells how many there are. */
int db_batch_list(struct db *db, int64_t organization_id, const uint8_t *after,
    struct db_batch *ret, size_t n_max, size_t *ret_n);
