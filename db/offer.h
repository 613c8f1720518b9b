/* Offers: devices on their way from one owner to another who has to want them. Role
 * cradle_activation. */
#pragma once

#include "db/account.h"
#include "device/record.h"

enum db_offer_state { OFFER_OPEN, OFFER_ACCEPTED, OFFER_DECLINED, OFFER_WITHDRAWN, OFFER_EXPIRED };
const char *db_offer_state_text(enum db_offer_state state);

struct db_offer {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN];
    struct eui64 dev_eui;
    int64_t from_id, to_id;
    uint8_t from[ACCOUNT_ID_LEN], to[ACCOUNT_ID_LEN]; /* the organizations' names outside */
    enum db_offer_state state; /* an open one whose time is over is OFFER_EXPIRED */
    char created_at[DB_TIME_TEXT_LEN + 1];
    char expires_at[DB_TIME_TEXT_LEN + 1];
};

/** In a transaction of the caller, with the moves of the devices: offers of one organization to one
 * other, of different devices. Fills row_id, id and the times. Outcome 1: one of the devices is
 * offered already, and the transaction is to be undone. */
int db_offer_add(struct db *db, struct db_offer *offers, size_t n, int64_t lifetime_s);
/** Outcome 1: there is none, or the organization is neither of its two. */
int db_offer_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], int64_t organization_id,
    struct db_offer *ret);
/** The newest first: at most `n_max` before the one of that number (0: from the newest). */
int db_offer_list(struct db *db, int64_t organization_id, int64_t before, struct db_offer *ret,
    size_t n_max, size_t *ret_n);
/** In a transaction of the caller. Outcome 1: it is not open any more. */
int db_offer_end(struct db *db, int64_t row_id, enum db_offer_state state);

/** Ends offers whose time is over, at most DB_OFFER_PIECE: their devices are their owners' alone
 * again, and an audit event says so. *ret_n: how many. */
#define DB_OFFER_PIECE 1000
int db_offer_expire(struct db *db, size_t *ret_n);
/** Forgets offers that ended more than DB_OFFER_DAYS ago; the audit keeps what came of them. */
#define DB_OFFER_DAYS 400
int db_offer_purge(struct db *db, size_t *ret_n);
