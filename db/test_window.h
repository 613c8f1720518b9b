/* Test windows: devices of a batch that nobody owns yet, which their maker lets join in a network
 * of his choice. What the gate makes of one is device/gate.c's word. Role cradle_activation. */
#pragma once

#include "db/account.h"
#include "device/record.h"

#define DB_TEST_DEVICES_MAX 10000 /* whose windows are opened by one call */
#define DB_TEST_WINDOWS_MAX 100   /* that are told of a batch: the newest */

/** Windows of a batch that were opened together, as those that are left of them stand. */
struct db_test_window {
    struct net_id net_id;
    char as_id[PEER_ID_MAX + 1]; /* "" when none was named */
    uint32_t max_joins, hours;   /* hours: to open one */
    char opened_at[DB_TIME_TEXT_LEN + 1], expires_at[DB_TIME_TEXT_LEN + 1];
    bool expired;
    int64_t n_devices, n_joins, n_used_up;
};

/** Opens windows of those devices of the batch that may have one, or of all of it with NULL: each
 * has had no joins in it, and one that was open is no more. *ret_n tells how many may have one;
 * nothing was done when they are more than DB_TEST_DEVICES_MAX. */
int db_test_window_open(struct db *db, int64_t batch_row_id, int64_t organization_id,
    const struct eui64 *devices, size_t n_devices, struct db_test_window *window, int64_t *ret_n);
/** Which of these devices has no window that was opened in this transaction. Outcome 1: each has.
 */
int db_test_window_missing(struct db *db, int64_t batch_row_id, const struct eui64 *devices,
    size_t n_devices, struct eui64 *ret);
/** Ends all windows of the batch, in pieces; *ret_n tells how many there were. */
int db_test_window_close(struct db *db, int64_t batch_row_id, int64_t *ret_n);
/** Newest first; *ret_n tells how many there are. */
int db_test_window_list(struct db *db, int64_t batch_row_id,
    struct db_test_window ret[static DB_TEST_WINDOWS_MAX], size_t *ret_n);
