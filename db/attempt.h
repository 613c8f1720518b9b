/* A device's attempts to join, as join_event has them. Role cradle_activation. */
#pragma once

#include "db/join.h"
#include "db/text.h"

#define DB_OUTCOME_MAX 40

struct db_attempt {
    int64_t at_us; /* since 1970-01-01 UTC */
    char at[DB_TIME_TEXT_LEN + 1];
    bool success;
    char outcome[DB_OUTCOME_MAX + 1];
    char reason[DB_REASON_MAX + 1]; /* "" of a success */
    enum lw_join_type join_type;
    struct eui64 join_eui; /* in the frame */
    char sender_id[PEER_ID_MAX + 1];
    int32_t
        dev_nonce; /* of a rejoin: its RJcount; DEVICE_NO_NONCE when there was none to be read */
    /* Of a success. */
    uint32_t join_nonce;
    struct net_id net_id;
    struct dev_addr dev_addr;
    uint16_t test_join; /* which join of a factory test; 0: of none */
};

/** Where a page ends: at this time, of whose attempts `n_given` were given already. */
struct db_attempt_place {
    int64_t at_us;
    int64_t n_given;
};

/** The attempts under an ownership epoch, the newest first: at most `n_max` from `place` on (NULL:
 * from the newest). */
int db_attempt_list(struct db *db, const struct eui64 *dev_eui, uint32_t ownership_epoch,
    const struct db_attempt_place *place, struct db_attempt *ret, size_t n_max, size_t *ret_n);

struct db_nonce_use {
    uint16_t dev_nonce;
    int64_t at_us;
    char at[DB_TIME_TEXT_LEN + 1];
};

/** The joins (not rejoins) under an ownership epoch that used one of `nonces`, the newest first, at
 * most `n_max`. A DevNonce can be used again once the device's nonces were reset. */
int db_attempt_uses(struct db *db, const struct eui64 *dev_eui, uint32_t ownership_epoch,
    const uint16_t *nonces, size_t n_nonces, struct db_nonce_use *ret, size_t n_max, size_t *ret_n);
