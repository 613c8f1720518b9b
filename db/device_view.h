/* Devices as those who may know of them see them. Role cradle_activation. */
#pragma once

#include "db/subscription.h"
#include "device/preflight.h"

#define DB_SERIAL_MAX 64
#define DB_DEVICE_NAME_MAX 100

/** The subscription that a device holds. */
struct db_device_subscription {
    bool present;
    uint8_t id[ACCOUNT_ID_LEN];
    char name[DB_SUBSCRIPTION_NAME_MAX + 1];
    char ends_at[DB_TIME_TEXT_LEN + 1];
    bool runs;
};

struct db_device {
    struct device_record record;
    bool is_held;      /* the asker's by now: its owner's or, while it has none, its maker's */
    bool is_brought;   /* the asker brought it in */
    int64_t owner_id;  /* 0: nobody */
    int64_t holder_id; /* its owner or, while it has none, its maker */
    char quarantined_by[12];           /* "": nobody, or nobody asked for it */
    char serial[DB_SERIAL_MAX + 1];    /* "" when none was given; so with the next */
    char name[DB_DEVICE_NAME_MAX + 1]; /* what its holder calls it */
    bool has_batch;                    /* for who brought it in */
    uint8_t batch_id[ACCOUNT_ID_LEN];
    /* Under its present owner: which device took its place, and whose place it took itself. */
    bool has_replaced_by, has_replaces;
    struct eui64 replaced_by, replaces;
    char created_at[DB_TIME_TEXT_LEN + 1];
    char exposed_since[DB_TIME_TEXT_LEN + 1];  /* "": its keys never left */
    char test_opened_at[DB_TIME_TEXT_LEN + 1]; /* "": no test window; so with the next */
    char test_until[DB_TIME_TEXT_LEN + 1];
    /* It may join, and has not under its present owner. Not told of a list's devices: that would
     * be a search in each month's events for each of them. */
    bool rejoin_pending;
    struct db_device_subscription subscription;
    bool is_entitled; /* it may join as far as subscriptions go: one that runs, or none is needed */
    bool is_suspended_by_subscription; /* and not by its owner */
};

/** Outcome 1: it is not here, or the organization neither holds it nor brought it in. */
int db_device_find(
    struct db *db, const struct eui64 *dev_eui, int64_t organization_id, struct db_device *ret);

/** Devices that somebody wants to move, whosever they are. */
struct db_device_moving {
    bool is_here;
    struct db_device device;
    uint32_t code_generation; /* 0: it has no code */
    bool released_by_another; /* it is on its way to the next owner */
};
/** ret[i] belongs to dev_euis[i]. */
int db_device_load_moving(struct db *db, const struct eui64 *dev_euis, size_t n,
    int64_t organization_id, struct db_device_moving *ret);

/** What an organization holds, in the order of DevEUIs: at most `n_max` behind `after` (NULL: from
 * the first). With a `batch_row_id`, of that batch alone; 0: of all. */
int db_device_list(struct db *db, int64_t organization_id, const struct eui64 *after,
    int64_t batch_row_id, struct db_device *ret, size_t n_max, size_t *ret_n);

/** Outcome 1: it is not here. Whose it is was asked before. */
int db_device_preflight(struct db *db, const struct eui64 *dev_eui, struct device_preflight *ret);
