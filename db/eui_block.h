/* Blocks of identifiers that makers have devices made with. Role cradle_activation. */
#pragma once

#include "db/account.h"
#include "device/record.h"

#define DB_EUI_BLOCK_SIZE_MAX 1099511627776 /* 2^40: what follows the 24 bits of an OUI */

struct db_eui_block {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN];
    int64_t organization_id;
    uint8_t organization_public_id[ACCOUNT_ID_LEN];
    enum device_kind kind;
    struct eui64 first; /* of kind DEVICE_SIGFOX an id behind 4 zero bytes */
    int64_t size;
    int64_t n_given; /* to orders, from the first on; never goes back */
    char created[DB_TIME_TEXT_LEN + 1];
    char closed_at[DB_TIME_TEXT_LEN + 1]; /* "" while it is open */
};

/** The identifier `n` places behind `first`, which the caller knows to be one of a block. */
struct eui64 db_eui_block_at(const struct eui64 *first, int64_t n);

/** What is not named here is filled: `organization_id`, `kind`, `first` and `size` are said, and
 * the run does not end behind the last 64-bit number. Outcome 1: it overlaps another block, which
 * db_eui_block_overlapping names. */
int db_eui_block_add(struct db *db, struct db_eui_block *block);
/** The first block that shares an identifier with such a run, whosever it is. Outcome 1: none. */
int db_eui_block_overlapping(
    struct db *db, const struct eui64 *first, int64_t size, struct db_eui_block *ret);
/** Outcome 1: there is none. */
int db_eui_block_find(
    struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_eui_block *ret);
/** By age, after the one with that row id (0: from the first), at most `n_max`. `organization_id`
 * 0: of all. */
int db_eui_block_list(struct db *db, int64_t organization_id, int64_t after,
    struct db_eui_block *ret, size_t n_max, size_t *ret_n);
/** For good: nothing more is given from it. Outcome 1: it is closed already. */
int db_eui_block_close(struct db *db, int64_t row_id);
