/* What is recorded of a device's root keys: how they came, under what they are sealed, and which
 * audit events tell of them. Role cradle_activation. */
#pragma once

#include "db/account.h"
#include "db/batch.h"

#define DB_CUSTODY_KEYS_MAX 2
#define DB_CUSTODY_EVENTS_MAX 20
#define DB_CUSTODY_ACTION_MAX 20

struct db_custody_key {
    enum key_slot slot;
    char kek_label[SEALED_LABEL_MAX + 1];
    bool has_fingerprint; /* not of keys from before migration 0012 */
    uint8_t fingerprint[DB_FINGERPRINT_LEN];
    char origin[8]; /* "": not recorded */
    char transport_kek[KEK_LABEL_MAX + 1];
};

/* What an organization is to the device by now. A former maker is whose batch it is of, of a device
 * that was handed over since. */
enum db_custody_actor {
    CUSTODY_MAKER,
    CUSTODY_OWNER,
    CUSTODY_FORMER_MAKER,
    CUSTODY_FORMER_OWNER,
};

struct db_custody_event {
    char action[DB_CUSTODY_ACTION_MAX + 1];
    char at[DB_TIME_TEXT_LEN + 1];
    enum db_custody_actor actor; /* in whose history it stands */
    bool is_own;                 /* the asker's */
    int64_t seq;                 /* 0: not chained yet */
    uint8_t chain[32];           /* of its own history, at this event; of those that are chained */
};

#define DB_CUSTODY_DELIVERIES_MAX 4
#define DB_CUSTODY_FILE_MAX 40

/** That whoever ordered it fetched its keys, with all of the order. */
struct db_custody_delivery {
    enum db_custody_actor exposed_to;
    char file[DB_CUSTODY_FILE_MAX + 1];
    int64_t times;
    char first_at[DB_TIME_TEXT_LEN + 1], last_at[DB_TIME_TEXT_LEN + 1];
};

struct db_custody {
    char import_format[41]; /* "": the device is of no batch */
    struct db_custody_key keys[DB_CUSTODY_KEYS_MAX];
    size_t n_keys; /* none of a device that was scrapped */
    struct db_custody_event events[DB_CUSTODY_EVENTS_MAX];
    size_t n_events; /* the first ones */
    bool has_more;
    struct db_custody_delivery deliveries[DB_CUSTODY_DELIVERIES_MAX];
    size_t n_deliveries;
};

/** Whose the device is was asked before; `organization_id` is who asks. Outcome 1: it is not here.
 */
int db_custody_load(
    struct db *db, const struct eui64 *dev_eui, int64_t organization_id, struct db_custody *ret);
