/* Orders: batches of devices whose credentials are made here. Role cradle_activation.
 *
 * An order is a batch with a row of batch_order. It is asked for (db_order_add), perhaps waits for
 * another client's word, and is begun (db_order_begin): it gets its identifiers, a run of a block
 * of its maker's, and a job of kind JOB_ORDER that waits. Both are compare-and-set, so that of two
 * at once one finds that it is over. How it is seen is a part of its batch (db/batch_view.h). */
#pragma once

#include "db/certificate.h"
#include "db/eui_block.h"
#include "lorawan/types.h"

#define DB_ORDER_MAX 1000000 /* devices of one */
#define DB_ORDER_OPEN_MAX                                                                          \
    20 /* of an organization, that wait or whose credentials are being made                        \
        */
#define DB_ORDER_FORMAT "order" /* batch.format of one */
#define DB_ORDER_REASON_MAX 200
#define DB_ORDER_PROFILE_ID_LEN 4
#define DB_ORDER_REQUEST_ID_MAX 40
#define DB_ORDER_DIGEST_LEN 32 /* SHA-256 */

/* Waits for another client; has its identifiers; all are made; and three ends for good. */
enum db_order_state {
    ORDER_REQUESTED,
    ORDER_REJECTED,
    ORDER_APPROVED,
    ORDER_READY,
    ORDER_FAILED,
    ORDER_CANCELLED,
};
const char *db_order_state_text(enum db_order_state state);

enum db_order_delivery { ORDER_JWE, ORDER_LEGACY };
const char *db_order_delivery_text(enum db_order_delivery delivery);
bool db_order_delivery_parse(const char *text, enum db_order_delivery *ret);

struct db_order {
    char certificate[CERTIFICATE_NUMBER_LEN + 1]; /* of the module */
    int64_t module_id;
    enum device_kind kind;
    int64_t n;
    /* Once it has begun: its identifiers are `n` from `first` on (db_eui_block_at), the one of line
     * i of the batch i - 1 behind it. */
    bool is_given;
    struct eui64 first;
    bool has_block; /* it has one, or names one that it wants */
    uint8_t block[ACCOUNT_ID_LEN];
    /* Of DEVICE_LORAWAN. */
    struct eui64 join_eui;
    enum lw_mac_version mac_version;
    bool has_profile_id;
    uint8_t profile_id[DB_ORDER_PROFILE_ID_LEN];
    enum db_order_delivery delivery;
    unsigned code_length; /* of claim codes */
    enum db_order_state state;
    uint8_t asked_by[ACCOUNT_ID_LEN];
    bool is_decided;
    uint8_t decided_by[ACCOUNT_ID_LEN];
    char decided_at[DB_TIME_TEXT_LEN + 1];       /* "": nobody had to, or has yet */
    char reason[DB_ORDER_REASON_MAX + 1];        /* of one that was rejected; "": none was given */
    char ready_at[DB_TIME_TEXT_LEN + 1];         /* "": it is not */
    char delivered_at[DB_TIME_TEXT_LEN + 1];     /* "": no file with keys was taken away yet */
    char files_until[DB_TIME_TEXT_LEN + 1];      /* "": there are none yet */
    char files_deleted_at[DB_TIME_TEXT_LEN + 1]; /* "": they are there */
    uint8_t key_digest[DB_ORDER_DIGEST_LEN];     /* of the maker's public key, as DER */
};

/** What a call asks for. */
struct db_order_wish {
    int64_t organization_id;
    const uint8_t *client_id; /* who asks; ACCOUNT_ID_LEN bytes */
    int64_t module_id;        /* row of the certificate */
    enum device_kind kind;
    int64_t n;
    int64_t block_id; /* row of the block that is named; 0: any of the organization's */
    struct eui64 join_eui;
    enum lw_mac_version mac_version;
    const uint8_t *profile_id; /* DB_ORDER_PROFILE_ID_LEN bytes; NULL: none */
    enum db_order_delivery delivery;
    const char *public_key; /* PEM */
    uint8_t key_digest[DB_ORDER_DIGEST_LEN];
    unsigned code_length;
    const char *request_id;
};

/** In a transaction of the caller: the batch and its order, in state ORDER_REQUESTED. `ret_id` gets
 * the batch's id. Outcome 1: the organization has DB_ORDER_OPEN_MAX that are open. */
int db_order_add(
    struct db *db, const struct db_order_wish *wish, uint8_t ret_id[static ACCOUNT_ID_LEN]);

enum { DB_ORDER_OVER = 1, DB_ORDER_NO_ROOM };
/** In a transaction of the caller: gives the order of this batch, which is ORDER_REQUESTED, its
 * identifiers: all from one block, the oldest of its maker's with room (or the one that it names),
 * right behind what was given of it last. It is ORDER_APPROVED then, and its job waits for who
 * works on jobs. `decided_by`: who approved it; NULL: nobody had to. After an outcome the
 * transaction is to be undone. DB_ORDER_OVER: it has been decided already. DB_ORDER_NO_ROOM: no
 * block has so many left; *ret_left gets how many the one with most has, -1 when there is no open
 * block. */
int db_order_begin(struct db *db, int64_t batch_row_id, const uint8_t *decided_by,
    const char *request_id, int64_t *ret_left);

/** Each ends one that is ORDER_REQUESTED. Outcome 1: it has been decided already. */
int db_order_reject(struct db *db, int64_t batch_row_id,
    const uint8_t decided_by[static ACCOUNT_ID_LEN], const char *reason);
int db_order_withdraw(struct db *db, int64_t batch_row_id);
