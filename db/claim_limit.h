/* What wrong codes cost whoever tries them, by a claim or in the list of a maker: the rows of
 * claim_limit, and the pieces of SQL that all statements about them are made of. Private to db/. */
#pragma once

#include "db/claim.h"
#include "db/connection.h"

#define DB_NETWORK_LEN 8 /* bytes */

/* The fifth is the alarm, which only SQL writes and reads. */
enum db_limit_scope { SCOPE_CLIENT = 1, SCOPE_DEVICE, SCOPE_OWN, SCOPE_NETWORK };
#define ALARM_SUBJECT "'\\x0000000000000000'::bytea"
#define ALARM_ON                                                                                   \
    "EXISTS (SELECT FROM claim_limit WHERE scope = 5 AND subject = " ALARM_SUBJECT                 \
    " AND due > now())"

/* A bucket by its key. A join would do as well, but not for a plan that was made while the table
 * was all but empty: that one reads all buckets of the scope, and lasts while they become many. */
#define BUCKET(alias, scope, subject)                                                              \
    " LEFT JOIN LATERAL (SELECT due, n_wrong FROM claim_limit"                                     \
    "  WHERE scope = " scope " AND subject = " subject " LIMIT 1) " alias " ON true"

/* The row of the device that is asked for or, where there is none, of the one after it, at the same
 * cost, and of no account: or the time of a refusal would tell what is here. Whoever reads it
 * compares the DevEUI. */
#define NEAREST(alias, table, columns)                                                             \
    " LEFT JOIN LATERAL (SELECT dev_eui, " columns " FROM " table                                  \
    "  WHERE dev_eui >= i.dev_eui ORDER BY dev_eui LIMIT 1) " alias " ON true"

/* How long the bucket l of a scope holds others up: while more than its burst is not forgiven. */
#define WAIT_S(l, seconds, burst)                                                                  \
    "greatest(0, ceil(extract(epoch FROM " l                                                       \
    ".due - now()) - " DB_DECIMAL(seconds) "::int8 * (" DB_DECIMAL(burst) " - 1)))"

#define WAIT_DEVICE_S WAIT_S("l", DB_CLAIM_DEVICE_S, DB_CLAIM_DEVICE_BURST)
#define WAIT_NETWORK_S WAIT_S("n", DB_CLAIM_NETWORK_S, DB_CLAIM_NETWORK_BURST)
#define WEAK_MAX DB_DECIMAL(DB_CLAIM_WEAK_MAX)

/* A device (bucket l) holds up whoever (bucket o) has tried it wrongly, and within his own time. */
#define WAIT_OF_DEVICE                                                                             \
    "(CASE WHEN o.due > now() THEN least(coalesce(" WAIT_DEVICE_S ", 0),"                          \
    " ceil(extract(epoch FROM o.due - now()))) ELSE 0 END)::int8"

/* The same of a client (bucket c) and where he is (bucket n), of a `burst` at once; and how many
 * wrong ones the client may still make. Beside `one`, which has `alarm`. */
#define WAIT_OF_CLIENT(c, burst)                                                                   \
    "greatest(CASE WHEN alarm THEN " WAIT_S(c, DB_CLAIM_CLIENT_S, 1) " ELSE " WAIT_S(              \
        c, DB_CLAIM_CLIENT_S, burst) " END,"                                                       \
                                     " CASE WHEN " c ".due > now() THEN least(" WAIT_NETWORK_S     \
                                     ", ceil(extract(epoch FROM " c                                \
                                     ".due - now()))) ELSE 0 END, 0)::int8"
#define ALLOWANCE(c, burst)                                                                        \
    "(CASE WHEN alarm THEN 1 ELSE " DB_DECIMAL(burst) " END - coalesce(greatest(0, ceil("          \
                                                      "extract(epoch FROM " c                      \
                                                      ".due - now()) / " DB_DECIMAL(               \
                                                          DB_CLAIM_CLIENT_S) ")), 0))::int8"

/** Of a claimant who has one: as claim_limit.subject has it. */
void db_claimant_network(const struct db_claimant *claimant, uint8_t ret[static DB_NETWORK_LEN]);

#define DB_WRONG_MAX 64
/** A code that was wrong. */
struct db_wrong {
    const struct db_claimant *who;
    struct eui64 dev_eui;
    bool is_his; /* who tried it has the device anyway: held against him with that device alone */
};

/** Counts up to DB_WRONG_MAX, in the caller's transaction. */
int db_wrong_count(struct db *db, const struct db_wrong *wrong, size_t n);
