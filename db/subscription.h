/* Subscriptions: how many devices of an owner may join, and until when. Role cradle_activation. */
#pragma once

#include "base/eui.h"
#include "db/account.h"

#define DB_SUBSCRIPTION_NAME_MAX 100
#define DB_SUBSCRIPTION_PLACES_MAX 100000000
#define DB_SUBSCRIPTION_NOTICE_DAYS_MAX 365
#define DB_SUBSCRIPTION_TERM_MIN_S 86400 /* or a renewal would never come to an end */

enum db_subscription_state { SUBSCRIPTION_UPCOMING, SUBSCRIPTION_RUNNING, SUBSCRIPTION_ENDED };
const char *db_subscription_state_text(enum db_subscription_state state);

struct db_subscription {
    int64_t row_id, organization_id, seller_id;
    uint8_t id[ACCOUNT_ID_LEN], organization[ACCOUNT_ID_LEN], seller[ACCOUNT_ID_LEN];
    char name[DB_SUBSCRIPTION_NAME_MAX + 1];
    int64_t starts_s, ends_s; /* seconds since 1970 */
    char starts_at[DB_TIME_TEXT_LEN + 1], ends_at[DB_TIME_TEXT_LEN + 1];
    char created_at[DB_TIME_TEXT_LEN + 1];
    uint32_t n_places, n_used, notice_days;
    bool renews; /* at its end */
    enum db_subscription_state state;
};

/** Who asks: of which he may see what. Both false: none. */
struct db_subscription_eye {
    int64_t organization_id;
    bool uses, sells, all; /* what it uses; what it sold; whosever */
};

/** `row_id`, `id` and texts are filled; `starts_s` 0: now. Of its organization and seller. */
int db_subscription_add(struct db *db, struct db_subscription *subscription);
/** Outcome 1: there is none that he may see. */
int db_subscription_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN],
    const struct db_subscription_eye *eye, struct db_subscription *ret);
/** The newest first: at most `n_max` before that row (0: from the newest). */
int db_subscription_list(struct db *db, const struct db_subscription_eye *eye, int64_t before,
    struct db_subscription *ret, size_t n_max, size_t *ret_n);

/** NULL: stays as it is. */
struct db_subscription_change {
    const char *name;
    const int64_t *ends_s;
    const uint32_t *n_places, *notice_days;
    const bool *renews;
};
/** Its devices follow (db_subscription_work). Outcome 1: more devices hold it than it would have
 * places, or it would end before it starts. */
int db_subscription_set(struct db *db, int64_t row_id, const struct db_subscription_change *change,
    struct db_subscription *ret);

/* --- places of devices; in a transaction of the caller ---------------------------------------- */

/** The owner's device holds this one from now on, and no other. Outcome 1: it has no place left, or
 * does not run; 2: the device is not the owner's by now. */
int db_subscription_take(
    struct db *db, const struct eui64 *dev_eui, int64_t owner_id, int64_t row_id);
/** It holds none. Outcome 1: it held none, or is not the owner's by now. */
int db_subscription_give_back(struct db *db, const struct eui64 *dev_eui, int64_t owner_id);
/** Suspends those that want one that runs, and resumes those that were suspended so and want none
 * any more. `request_id` stands in their audit events. *ret_n_suspended: how many it suspended. */
int db_subscription_settle(struct db *db, const struct eui64 *dev_euis, size_t n,
    const char *request_id, size_t *ret_n_suspended);
/** In a transaction of the caller that has them locked: their owner has suspended them, too, and no
 * subscription resumes them. */
int db_subscription_hand_over(struct db *db, const struct eui64 *dev_euis, size_t n);

/* --- what time brings ------------------------------------------------------------------------- */

#define DB_SUBSCRIPTION_PIECE 100 /* subscriptions, or devices, of one statement */
struct db_subscription_done {
    size_t n_noticed, n_renewed, n_ended, n_suspended, n_resumed;
};
/** A piece of what is due: owners are told of ends, what renews is extended, and devices of what
 * has ended or runs again follow. Each statement is whole by itself; any number of services may do
 * this at once. Adds to *ret. Outcome 1: there is more. */
int db_subscription_work(struct db *db, struct db_subscription_done *ret);
