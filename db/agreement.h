/* Roaming agreements, the groups that some of them are of, and what was refused for want of one.
 * Role cradle_activation, unless said otherwise. What they mean is in device/agreement.h. */
#pragma once

#include "db/account.h"
#include "device/agreement.h"

#define DB_AGREEMENTS_MAX 10000
#define DB_GROUPS_MAX 1000
#define DB_GROUP_NET_IDS_MAX 1000 /* of one group */
#define DB_GROUP_NAME_MAX 64

/** All of them, those that have ended too, sorted. Role cradle_join. Release with
 * device_agreements_done. */
int db_agreements_load(struct db *db, struct device_agreements *ret);

struct db_agreement {
    int64_t id;
    struct device_agreement is;        /* both ways in one; AGREEMENT_NO_END for none */
    char group[DB_GROUP_NAME_MAX + 1]; /* "": of a pair */
    char starts_at[DB_TIME_TEXT_LEN + 1];
    char ends_at[DB_TIME_TEXT_LEN + 1]; /* "": none */
    char created[DB_TIME_TEXT_LEN + 1];
};

/** `is` says it all, `starts_s` 0 being now; the rest is filled. Its group is there, and it ends
 * behind its start. Outcome 1: there are as many as there may be. */
int db_agreement_add(struct db *db, struct db_agreement *agreement);
/** Holds it for the transaction that is open, if there is one. Outcome 1: there is none. */
int db_agreement_hold(struct db *db, int64_t id, struct db_agreement *ret);
int db_agreement_find(struct db *db, int64_t id, struct db_agreement *ret);
/** By age, after that number: at most `n_max`. */
int db_agreement_list(
    struct db *db, int64_t after, struct db_agreement *ret, size_t n_max, size_t *ret_n);
/** Makes both_ways, allows, starts_s and ends_s what `is` says, and fills the rest. Outcome 1:
 * there is none of this id. */
int db_agreement_set(struct db *db, struct db_agreement *agreement);
/** Outcome 1: there is none. */
int db_agreement_remove(struct db *db, int64_t id);

struct db_group {
    int64_t id;
    char name[DB_GROUP_NAME_MAX + 1];
    char *net_ids; /* "000013,000024", on the heap */
    char created[DB_TIME_TEXT_LEN + 1];
};
struct db_group_list {
    struct db_group *groups;
    size_t n;
};
enum { DB_GROUP_TAKEN = 1, DB_GROUP_TOO_MANY = 2 };
/** Outcomes: DB_GROUP_TAKEN, the name is another's; DB_GROUP_TOO_MANY. */
int db_group_add(struct db *db, const char *name, const struct net_id *net_ids, size_t n);
/** Holds the group for the transaction that is open. Outcome 1: there is none. */
int db_group_hold(struct db *db, const char *name, int64_t *ret_id, bool *ret_has_agreement);
/** Replaces the members of a group that is held. */
int db_group_set(struct db *db, int64_t id, const struct net_id *net_ids, size_t n);
/** Of a group that is held, and no agreement is of. */
int db_group_remove(struct db *db, int64_t id);
/** By age, after that number; of this name alone, unless NULL. */
int db_group_list(
    struct db *db, const char *name, int64_t after, size_t n_max, struct db_group_list *ret);
void db_group_list_done(struct db_group_list *list);

/* --- refusals --------------------------------------------------------------------------------- */

#define DB_ROAMING_REFUSALS_MAX 10000 /* rows that there may be, each a count */
#define DB_ROAMING_REFUSALS_KEPT 9000 /* of them, when the purge comes: what came last */
#define DB_ROAMING_REFUSAL_DAYS 90    /* that one is kept for which does not come again */
#define DB_ROAMING_REFUSALS_PER_WRITE 256

/** Why, as it is kept and told. */
enum db_roaming_reason {
    ROAMING_NO_AGREEMENT,
    ROAMING_ENDED,
    ROAMING_NOT_BEGUN,
    ROAMING_NOT_ALLOWED,
    ROAMING_NARROWED,
    N_ROAMING_REASONS
};
const char *db_roaming_reason_text(enum db_roaming_reason reason);
/** "activation", "home_ns", of one bit of enum device_away. */
const char *db_away_text(unsigned what);

/** What one network was refused about one device, counted. */
struct db_roaming_refused {
    struct eui64 dev_eui;
    uint32_t ownership_epoch; /* as it was read */
    struct net_id home, sender;
    unsigned what; /* one bit of enum device_away */
    enum db_roaming_reason reason;
    uint32_t n;
    int64_t first_ms, last_ms; /* monotonic */
};
/** Adds up to DB_ROAMING_REFUSALS_PER_WRITE. Of what is another's or nobody's by now nothing is
 * kept, and nothing that is new where there is no room. Role cradle_join. */
int db_roaming_refused_add(struct db *db, const struct db_roaming_refused *refused, size_t n);

struct db_roaming_refusal {
    int64_t id;
    int64_t organization_id;
    uint8_t organization[ACCOUNT_ID_LEN]; /* who owned the devices */
    struct net_id home, sender;
    struct eui64 join_prefix; /* 24 bits, then zeros */
    unsigned what;
    enum db_roaming_reason reason;
    int64_t n;
    char first_at[DB_TIME_TEXT_LEN + 1];
    char last_at[DB_TIME_TEXT_LEN + 1];
    struct eui64 last_dev_eui; /* for its organization alone */
};
#define DB_ROAMING_PREFIX_BITS 24
/** The newest first, below the number `before` (0: from the newest); of one organization, or 0: of
 * all. */
int db_roaming_refusal_list(struct db *db, int64_t organization_id, int64_t before,
    struct db_roaming_refusal *ret, size_t n_max, size_t *ret_n);
/** One piece of what is too old. */
int db_roaming_refusal_purge(struct db *db, size_t *ret_n);
