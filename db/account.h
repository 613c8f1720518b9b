/* Organizations and their clients: who may call the activation service. Role cradle_activation. */
#pragma once

#include "db/db.h"

#define ACCOUNT_ID_LEN 16 /* bytes of a client's or organization's id (random) */
#define ACCOUNT_NAME_MAX 100
#define SECRET_HASH_LEN 32 /* SHA-256 of a 256-bit random client secret */

/** Bits of `roles`. One table in activation/rights.c says what each may do. */
enum account_role { ROLE_ADMIN = 1 << 0, ROLE_MAKER = 1 << 1 };

struct db_client {
    uint8_t id[ACCOUNT_ID_LEN];
    int64_t organization_id;
    char organization[ACCOUNT_NAME_MAX + 1];
    unsigned roles;
    uint8_t secret_hash[SECRET_HASH_LEN];
    bool revoked;
};

/** Makes the organization when it does not exist. `client->organization_id` is filled. */
int db_client_add(struct db *db, struct db_client *client);
/** Outcome 1: no such client. */
int db_client_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_client *ret);
