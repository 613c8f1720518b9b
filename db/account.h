/* Organizations and their clients: who may call the activation service. Role cradle_activation. */
#pragma once

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
    unsigned claim_code_length; /* of codes that are made for it */
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
};

/** Makes the organization when it does not exist: of the `cradle` command. `organization_id` is
 * filled. */
int db_client_add(struct db *db, struct db_client *client);
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
    const unsigned *claim_code_length;
};
/** `ret` is as it is by then, whoever else has changed it. Outcome 1: the name is another's. */
int db_organization_set(struct db *db, int64_t row_id, const struct db_organization_change *change,
    struct db_organization *ret);
int db_organization_list(
    struct db *db, const uint8_t *after, struct db_organization *ret, size_t n_max, size_t *ret_n);

/** In its organization, which exists. */
int db_organization_client_add(struct db *db, struct db_client *client);
int db_organization_client_list(struct db *db, int64_t organization_id, const uint8_t *after,
    struct db_client *ret, size_t n_max, size_t *ret_n);
/** For good. Outcome 1: no such client of the organization, or it is revoked already. */
int db_organization_client_revoke(
    struct db *db, int64_t organization_id, const uint8_t id[static ACCOUNT_ID_LEN]);
