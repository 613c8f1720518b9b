/* What is on its way to webhooks: the outbox. Deliveries are written by triggers in the transaction
 * of what they tell of, or found afterwards (db/webhook_look.h). Role cradle_activation.
 *
 * Any number of services may deliver: one takes a delivery under a lease, posts it, and settles it;
 * when its lease is over by then, somebody else may have posted the same again. */
#pragma once

#include "db/webhook.h"

#define DB_WEBHOOK_BODY_MAX 4000
#define DB_WEBHOOK_TYPE_MAX 40
#define DB_WEBHOOK_FAULT_MAX 100
#define DB_WEBHOOK_TAKE_MAX 32      /* deliveries taken at once */
#define DB_WEBHOOK_LEASE_S 30       /* how long whoever posts one may be silent */
#define DB_WEBHOOK_AT_ONCE 2        /* of one webhook on their way, over all services */
#define DB_WEBHOOK_AT_ONCE_OF_ALL 8 /* of one organization */
#define DB_WEBHOOK_REST_MAX_S 300   /* of a webhook whose posts fail, between two of them */

enum db_delivery_state { DELIVERY_WAITING, DELIVERY_SENDING, DELIVERY_DELIVERED, DELIVERY_DEAD };
const char *db_delivery_state_text(enum db_delivery_state state);

struct db_delivery {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN], event_id[ACCOUNT_ID_LEN];
    char type[DB_WEBHOOK_TYPE_MAX + 1];
    char body[DB_WEBHOOK_BODY_MAX + 1]; /* JSON */
    enum db_delivery_state state;
    unsigned n_tries;
    unsigned status;                      /* 0: none yet */
    char fault[DB_WEBHOOK_FAULT_MAX + 1]; /* "" for none */
    char created[DB_TIME_TEXT_LEN + 1];
    char tried[DB_TIME_TEXT_LEN + 1]; /* "": never yet */
    char due[DB_TIME_TEXT_LEN + 1];   /* of a waiting one */
};

/** The newest first: at most `n_max` before the one with that id (NULL: from the newest). */
int db_delivery_list(struct db *db, int64_t webhook_row_id, const uint8_t *before,
    struct db_delivery *ret, size_t n_max, size_t *ret_n);
/** Waits to be posted at once, as if it had never been tried. Outcomes: DB_DELIVERY_UNKNOWN: the
 * webhook has no such delivery; DB_DELIVERY_BUSY: it is being posted. */
enum { DB_DELIVERY_UNKNOWN = 1, DB_DELIVERY_BUSY };
int db_delivery_replay(struct db *db, int64_t webhook_row_id,
    const uint8_t id[static ACCOUNT_ID_LEN], struct db_delivery *ret);

/** One that is ours to post until its lease is over. */
struct db_delivery_task {
    int64_t row_id;
    int64_t turn;
    uint8_t id[ACCOUNT_ID_LEN], event_id[ACCOUNT_ID_LEN];
    int64_t webhook_row_id;
    uint8_t webhook_id[ACCOUNT_ID_LEN];
    uint32_t generation;
    char url[DB_WEBHOOK_URL_MAX + 1];
    char body[DB_WEBHOOK_BODY_MAX + 1];
    unsigned n_tries; /* with this one */
};

/** Takes at most `n_max` (DB_WEBHOOK_TAKE_MAX) that are due: of the webhooks that have waited
 * longest, a few of each and of each organization. */
int db_delivery_take(struct db *db, struct db_delivery_task *ret, size_t n_max, size_t *ret_n);

/** What a post came to. */
struct db_delivery_result {
    enum db_delivery_state state; /* DELIVERY_WAITING: again in `again_s` */
    int64_t again_s;
    unsigned status;   /* 0: none */
    const char *fault; /* NULL: none */
    bool untried;      /* it was not posted, or nobody knows: that is no try, and no failure */
};
/** Outcome 1: its lease was over and somebody else has taken it, or it is deleted. */
int db_delivery_settle(
    struct db *db, const struct db_delivery_task *task, const struct db_delivery_result *result);
