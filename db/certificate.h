/* Certificates of makers: what a maker may build, by its number. No X.509. Role cradle_activation.
 */
#pragma once

#include "db/account.h"

#define CERTIFICATE_NUMBER_LEN 14 /* "M_XXXX_XXXX_XX" */
#define CERTIFICATE_QUOTA_MAX 100000

struct db_certificate {
    int64_t row_id;
    char number[CERTIFICATE_NUMBER_LEN + 1]; /* of a module "M_...", of a product "P_..." */
    int64_t organization_id;
    uint8_t organization_public_id[ACCOUNT_ID_LEN];
    char name[ACCOUNT_NAME_MAX + 1];
    /* Of a product. */
    int64_t module_id; /* 0: none is named */
    int64_t module_organization_id;
    char module[CERTIFICATE_NUMBER_LEN + 1];
    /* Of a module: how many devices may become activable before a product has a certificate for
     * it, and how many have. */
    uint32_t prototype_quota, n_prototypes;
    char created[DB_TIME_TEXT_LEN + 1];
    char revoked_at[DB_TIME_TEXT_LEN + 1]; /* "" while it is good */
};

/** `row_id` and `created` are filled; of the module only its row id is asked. Outcome 1: the number
 * is taken. */
int db_certificate_add(struct db *db, struct db_certificate *certificate);
/** Outcome 1: no such certificate. */
int db_certificate_find(struct db *db, const char *number, struct db_certificate *ret);
/** By age, after the one with that row id (0: from the first), at most `n_max`. `organization_id`
 * 0: of all. */
int db_certificate_list(struct db *db, int64_t organization_id, int64_t after,
    struct db_certificate *ret, size_t n_max, size_t *ret_n);
/** Of a module that is good. Outcome 1: more are prototypes already, or it is none, or revoked. */
int db_certificate_set_quota(struct db *db, int64_t row_id, uint32_t prototype_quota);
/** For good. Outcome 1: no such certificate, or it is revoked already. */
int db_certificate_revoke(struct db *db, const char *number);
