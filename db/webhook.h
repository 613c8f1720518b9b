/* Webhooks: who wants to be told of what, and where. Role cradle_activation. */
#pragma once

#include "base/words.h"
#include "db/account.h"

#define DB_WEBHOOK_URL_MAX 1000
#define DB_WEBHOOKS_MAX 20 /* of one organization */

/** What may be told, as bits of `events`; migrations 0020, 0026, 0027 and 0030 have the same. */
enum webhook_event {
    WEBHOOK_DEVICE_CLAIMED = 1 << 0,
    WEBHOOK_CLAIM_REFUSED = 1 << 1,
    WEBHOOK_BATCH_DONE = 1 << 2,
    WEBHOOK_FIRST_JOIN = 1 << 3,
    WEBHOOK_DEVICE_OFFERED = 1 << 4,
    WEBHOOK_DEVICE_QUARANTINED = 1 << 5,
    WEBHOOK_DEVICE_SUSPECT = 1 << 6,
    WEBHOOK_SUBSCRIPTION_ENDING = 1 << 7,
    WEBHOOK_DELIVERY_REPEATED = 1 << 8,
};
/** Names of the types; the last has no word. */
extern const struct word_bits webhook_event_names[];

struct db_webhook {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN];
    char url[DB_WEBHOOK_URL_MAX + 1];
    unsigned events;
    bool active;
    uint32_t generation;
    char created[DB_TIME_TEXT_LEN + 1];
};

/** `id` is the caller's, random. The rest but url, events and active is filled. Outcome 1: the
 * organization has DB_WEBHOOKS_MAX. */
int db_webhook_add(struct db *db, int64_t organization_id, struct db_webhook *webhook);
/** Outcome 1: the organization has no such webhook. */
int db_webhook_find(struct db *db, int64_t organization_id, const uint8_t id[static ACCOUNT_ID_LEN],
    struct db_webhook *ret);
/** By age: at most `n_max` after the one with that id (NULL: from the first). */
int db_webhook_list(struct db *db, int64_t organization_id, const uint8_t *after,
    struct db_webhook *ret, size_t n_max, size_t *ret_n);
/** NULL: stays as it is. */
struct db_webhook_change {
    const char *url;
    const unsigned *events;
    const bool *active;
    bool new_secret; /* the generation grows */
};
/** It does not rest any more. `ret` is as it is by then. Outcome 1: there is none. */
int db_webhook_set(
    struct db *db, int64_t row_id, const struct db_webhook_change *change, struct db_webhook *ret);
/** With its deliveries. Outcome 1: there is none. */
int db_webhook_remove(struct db *db, int64_t row_id);
