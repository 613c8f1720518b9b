/* The files of an order, once its credentials are made: who took which, and how long they are kept.
 * Role cradle_activation. */
#pragma once

#include "db/order_run.h"

#define DB_ORDER_FILE_NAME_MAX 40
#define DB_ORDER_FILES_LISTED_MAX 40 /* names of one order that are told of */
#define DB_ORDER_MANIFEST_MAX 16384  /* characters */

/** What its files are written from. */
struct db_order_files {
    uint8_t batch[ACCOUNT_ID_LEN];
    bool is_ready, are_gone; /* all are made; their time is over, or they were deleted */
    bool is_sigfox, is_legacy;
    struct eui64 join_eui;
    enum lw_mac_version mac_version;
    uint8_t profile[DB_ORDER_PROFILE_LEN];
    char public_key[DB_ORDER_PEM_MAX + 1];
    uint8_t transport_text[DB_ORDER_TEXT_MAX];
    size_t transport_text_len;
    char manifest[DB_ORDER_MANIFEST_MAX + 1]; /* "" before it is ready */
    char until[DB_TIME_TEXT_LEN + 1];         /* "": there are none */
    unsigned code_key;                     /* version of the code key that they are sealed with */
    char deleted_at[DB_TIME_TEXT_LEN + 1]; /* "": nothing was deleted yet */
};
/** Outcome 1: the batch was not ordered. */
int db_order_files(struct db *db, int64_t batch_id, struct db_order_files *ret);

/** In a transaction of the caller, which is committed before the first byte leaves: that this
 * client takes that file. `holds_keys`: its devices are delivered from then on. *ret_times: how
 * often it was taken by now. Outcome 1: the files are gone. */
int db_order_file_take(struct db *db, int64_t batch_id, const char *name, bool holds_keys,
    const uint8_t client_id[static ACCOUNT_ID_LEN], const char *request_id, int64_t *ret_times);
/** The records behind line `*line`, which becomes that of the first of them; `bytes` has
 * DB_ORDER_PART_MAX. Outcome 1: there are no more. */
int db_order_file_read(
    struct db *db, int64_t batch_id, int64_t *line, uint8_t *bytes, size_t *ret_len);

/** The piece that line `*line` is in, if it is in any; else as above. */
int db_order_file_at(
    struct db *db, int64_t batch_id, int64_t *line, uint8_t *bytes, size_t *ret_len);

struct db_order_taken {
    char name[DB_ORDER_FILE_NAME_MAX + 1];
    int64_t times;
    char first_at[DB_TIME_TEXT_LEN + 1], last_at[DB_TIME_TEXT_LEN + 1];
};
/** By name, at most DB_ORDER_FILES_LISTED_MAX: the files that were taken, as a whole or (behind a
 * question mark) in parts. */
int db_order_file_list(struct db *db, int64_t batch_id, struct db_order_taken *ret, size_t *ret_n);

/** The files of an order that is ready are over now. Outcome 1: there are none. */
int db_order_file_discard(struct db *db, int64_t batch_id);
/** Deletes a piece of what was written for files whose time is over. *ret_n: how much there was. */
int db_order_file_purge(struct db *db, size_t *ret_n);
