/* Organizations and their clients: who may call the activation service. Role cradle_activation. */
#pragma once

#include "base/sealed.h"
#include "base/words.h"
#include "db/db.h"
#include "db/text.h"

#define ACCOUNT_ID_LEN 16 /* random bytes of a client's or organization's id */
#define ACCOUNT_NAME_MAX 100
#define SECRET_HASH_LEN 32 /* SHA-256 of a 256-bit random client secret */

/** Bits of `roles`. One table in activation/rights.c says what each may do. */
enum account_role {
    ROLE_ADMIN = 1 << 0,
    ROLE_MODULE_MAKER = 1 << 1,
    ROLE_PRODUCT_MAKER = 1 << 2,
    ROLE_OPERATOR = 1 << 3,
    ROLE_OWNER = 1 << 4,
    ROLE_APPLICATION_SERVER = 1 << 5,
    ROLE_AUDITOR = 1 << 6,
};
#define ROLES_MAKER ((unsigned)ROLE_MODULE_MAKER | (unsigned)ROLE_PRODUCT_MAKER)

/** Names of roles, "maker" being both makers; the last has no word. */
extern const struct word_bits account_role_names[];

struct db_organization {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN];
    char name[ACCOUNT_NAME_MAX + 1];
    bool allow_clear_keys;
    bool subscription_required; /* its devices join only with a subscription that runs */
    unsigned claim_code_length; /* of codes that are made for it */
    bool orders_need_approval;  /* each waits for another of its clients */
    bool allow_legacy_delivery; /* of orders (db/order.h, ORDER_LEGACY) */
    char created[DB_TIME_TEXT_LEN + 1];
};

struct db_client {
    uint8_t id[ACCOUNT_ID_LEN];
    int64_t organization_id;
    uint8_t organization_public_id[ACCOUNT_ID_LEN];
    char organization[ACCOUNT_NAME_MAX + 1];
    char name[ACCOUNT_NAME_MAX + 1];
    unsigned roles;
    unsigned claim_code_length;           /* its organization's; of db_client_find */
    uint8_t secret_hash[SECRET_HASH_LEN]; /* not filled in a list */
    bool revoked;
    char created[DB_TIME_TEXT_LEN + 1];
    char revoked_at[DB_TIME_TEXT_LEN + 1]; /* "" while it is good */
    /* The application server that it is, proved by that one's certificate; "": it has a secret. */
    char as_id[PEER_ID_MAX + 1];
};

/** Makes the organization when it does not exist: of the `cradle` command. `organization_id` is
 * filled. */
int db_client_add(struct db *db, struct db_client *client);
/** Those that are there, each in its id's place; two ids may be the same. */
int db_clients_find(
    struct db *db, const uint8_t *const *ids, size_t n, struct db_client *ret, bool *ret_found);
/** Outcome 1: no such client. */
int db_client_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_client *ret);
/** Of a client that is there, whether it may still do what it has begun: is it revoked by now, and
 * may its organization's files hold keys in clear. */
int db_client_standing(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], bool *ret_revoked,
    bool *ret_allow_clear_keys);

/* Of the REST API. Lists go by age: at most `n_max` after the one with that id (NULL: from the
 * first); *ret_n tells how many there are. */

/** `row_id`, `id` and `created` are filled. Outcome 1: the name is taken. */
int db_organization_add(struct db *db, struct db_organization *organization);
/** Outcome 1: no such organization. */
int db_organization_find(
    struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_organization *ret);
/** NULL: stays as it is. */
struct db_organization_change {
    const char *name;
    const bool *allow_clear_keys;
    const bool *subscription_required; /* its devices follow (db/subscription.h) */
    const unsigned *claim_code_length;
    const bool *orders_need_approval;
    const bool *allow_legacy_delivery;
};
/** `ret` is as it is by then, whoever else has changed it. Outcome 1: the name is another's. */
int db_organization_set(struct db *db, int64_t row_id, const struct db_organization_change *change,
    struct db_organization *ret);
/** What its organization wants done about devices that look cloned. */
int db_organization_policy(struct db *db, int64_t row_id, bool *ret_quarantine_clones);
int db_organization_set_policy(struct db *db, int64_t row_id, bool quarantine_clones);
int db_organization_list(
    struct db *db, const uint8_t *after, struct db_organization *ret, size_t n_max, size_t *ret_n);

enum { DB_CLIENT_NO_PEER = 1, DB_CLIENT_PEER_TAKEN = 2 };
/** In its organization, which exists. Outcomes, of one that is an application server:
 * DB_CLIENT_NO_PEER, there is none of this AS-ID; DB_CLIENT_PEER_TAKEN, another client is it. */
int db_organization_client_add(struct db *db, struct db_client *client);
int db_organization_client_list(struct db *db, int64_t organization_id, const uint8_t *after,
    struct db_client *ret, size_t n_max, size_t *ret_n);
/** Who has a certificate. */
struct db_certificate_holder {
    char *trust_anchor, *crl; /* of the peer, PEM on the heap; crl NULL: none */
    bool is_client;
    struct db_client client; /* of it id, organization, roles and as_id */
};
/** The peer with exactly this name in its certificate, and the client that it is, as far as both
 * are good now. Release with db_certificate_holder_done in every case. Outcome 1: there is none. */
int db_certificate_holder_find(struct db *db, const char *san, struct db_certificate_holder *ret);
void db_certificate_holder_done(struct db_certificate_holder *holder);

/** For good. Outcome 1: no such client of the organization, or it is revoked already. */
int db_organization_client_revoke(
    struct db *db, int64_t organization_id, const uint8_t id[static ACCOUNT_ID_LEN]);
