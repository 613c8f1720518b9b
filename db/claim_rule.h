/* Claim rules: devices of a maker's batch that become an owner's without a code, once he has
 * accepted that. Role cradle_activation. */
#pragma once

#include "db/account.h"
#include "db/code.h"
#include "device/record.h"

enum db_rule_state {
    RULE_OPEN,   /* its owner has not accepted it */
    RULE_ACTIVE, /* it claims */
    RULE_FULL,   /* it has claimed as many devices as it may */
    RULE_DECLINED,
    RULE_CANCELLED,
    RULE_EXPIRED,
};
const char *db_rule_state_text(enum db_rule_state state);

/** DevEUIs from the first to the last. */
struct db_rule_range {
    struct eui64 first, last;
};

struct db_rule {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN];
    int64_t batch_id, from_id, to_id;
    uint8_t batch[ACCOUNT_ID_LEN], from[ACCOUNT_ID_LEN], to[ACCOUNT_ID_LEN]; /* names outside */
    enum db_rule_state state; /* one whose time is over is RULE_EXPIRED */
    bool is_listed;           /* it names devices; else all of the batch are meant */
    uint32_t max_devices, n_used;
    bool has_home_net_id; /* with as_id */
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1];
    char created_at[DB_TIME_TEXT_LEN + 1];
    char expires_at[DB_TIME_TEXT_LEN + 1];
};

/** Outcome 1: ranges[*ret_at], the first such, holds no device of the batch. */
int db_rule_check(
    struct db *db, int64_t batch_id, const struct db_rule_range *ranges, size_t n, size_t *ret_at);

#define DB_RULE_LIVE_MAX 1000 /* rules of a maker that are open or active */
/** In a transaction of the caller; ranges do not overlap. Fills row_id, id, state and the times.
 * Outcome 1: the maker has DB_RULE_LIVE_MAX. */
int db_rule_add(struct db *db, struct db_rule *rule, uint32_t lifetime_days,
    const struct db_rule_range *ranges, size_t n);
/** Outcome 1: there is none, or the organization is neither of its two. */
int db_rule_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], int64_t organization_id,
    struct db_rule *ret);
/** The newest first: at most `n_max` before the one of that number (0: from the newest). */
int db_rule_list(struct db *db, int64_t organization_id, int64_t before, struct db_rule *ret,
    size_t n_max, size_t *ret_n);
/** What it is about, in the order of DevEUIs: at most `n_max`. */
int db_rule_ranges(struct db *db, const struct db_rule *rule, struct db_rule_range *ret,
    size_t n_max, size_t *ret_n);
/** How many devices that the rule is about it will not claim as they are: they have an owner or had
 * one, are scrapped or in quarantine; not those that it has claimed. Outcome 1: it is about more
 * than DB_RULE_LOOK_MAX, too many to count. */
#define DB_RULE_LOOK_MAX 100000
int db_rule_skipped(struct db *db, const struct db_rule *rule, int64_t *ret);
/** In a transaction of the caller, with the home that its owner wants. Outcome 1: it is not open
 * any more. */
int db_rule_accept(
    struct db *db, const struct db_rule *rule, const uint8_t client_id[static ACCOUNT_ID_LEN]);
/** In a transaction of the caller. Outcome 1: it is neither open nor active any more. */
int db_rule_end(struct db *db, int64_t row_id, enum db_rule_state state);

/* What claims by them. Any number of services may: a rule's row is locked in the one statement that
 * claims, so its cap holds. */
#define DB_RULE_CHUNK_MAX 64  /* devices of one statement, and codes that keyd hashes at once */
#define DB_RULE_REST_MIN_S 5  /* between two looks at a rule that found nothing: a tenth of the */
#define DB_RULE_REST_MAX_S 60 /* time since it claimed something last, within these */
/** The rule that is due longest; nobody else takes it before it has rested. Outcome 1: none is. */
int db_rule_take(struct db *db, int64_t *ret_row_id);
/** Up to DB_RULE_CHUNK_MAX devices that it may claim: activable, and never anybody's. `generation`
 * is that of their present code, 0 where they have none. None of a rule that claims nothing now. */
int db_rule_load(struct db *db, int64_t row_id, struct db_code *ret, size_t *ret_n);
/** Claims those of them, each with a new code of the next generation, that are still as they were
 * read, as far as the rule goes: owner, home, code, audit event and claim event of each, and the
 * rule's count, in one statement. *ret_n: how many. What is claimed twice is claimed once: a result
 * that is not known needs nothing. */
int db_rule_claim(
    struct db *db, int64_t row_id, const struct db_code *codes, size_t n, size_t *ret_n);

/** Ends rules whose time is over, at most DB_RULE_PIECE, with an audit event. *ret_n: how many. */
#define DB_RULE_PIECE 1000
int db_rule_expire(struct db *db, size_t *ret_n);

/** Has the active rules of these batches looked at now, and not when they are due: for whoever has
 * made devices of theirs activable, behind his commit. */
int db_rule_wake(struct db *db, const int64_t *batch_ids, size_t n);
