#include "db/claim_limit.h"

#include "base/bytes.h"
#include <string.h>

/* In one order, so that two that count the same never wait for each other in a ring. */
const struct db_statement db_claim_count_statement = {
    .name = "claim_count",
    .sql =
        "INSERT INTO claim_limit AS l (scope, subject, due, n_wrong)"
        " SELECT scope, subject, now() + make_interval(secs => seconds * n * CASE"
        "   WHEN scope = 1 AND " ALARM_ON " THEN " DB_DECIMAL(
            DB_CLAIM_ALARM_SLOWER) " ELSE 1 END), n"
                                   " FROM unnest($1::int2[], $2::bytea[], $3::int4[], $4::int4[])"
                                   "  AS i(scope, subject, seconds, n) ORDER BY scope, subject"
                                   " ON CONFLICT (scope, subject) DO UPDATE SET"
                                   "  due = greatest(l.due, now()) + (excluded.due - now()),"
                                   "  n_wrong = least(l.n_wrong::int8 + excluded.n_wrong, 2147483647)::int4",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT2_ARRAY, DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_INT4_ARRAY},
};

void db_claimant_network(const struct db_claimant *claimant, uint8_t ret[static DB_NETWORK_LEN])
{
    struct bytes_writer w = bytes_writer_over(ret, DB_NETWORK_LEN);

    bytes_write_u64_be(&w, claimant->network);
}

/* A bucket, and what wrong codes put into it. */
struct drop {
    enum db_limit_scope scope;
    uint8_t subject[ACCOUNT_ID_LEN + sizeof(struct eui64)];
    size_t len;
    int64_t seconds, n;
};

struct drops {
    struct drop list[4 * DB_WRONG_MAX];
    size_t n;
};

/* A bucket stands there once, whoever fills it how often: a row is written once by a statement. */
static void add_drop(struct drops *drops, enum db_limit_scope scope, int64_t seconds,
    const void *subject, size_t len, const void *more, size_t more_len)
{
    struct drop drop = {.scope = scope, .seconds = seconds, .n = 1, .len = len + more_len};

    memcpy(drop.subject, subject, len);
    if (more_len > 0)
        memcpy(drop.subject + len, more, more_len);
    for (size_t i = 0; i < drops->n; i++) {
        if (drops->list[i].scope == scope &&
            memcmp(drops->list[i].subject, drop.subject, sizeof(drop.subject)) == 0) {
            drops->list[i].n++;
            return;
        }
    }
    drops->list[drops->n++] = drop;
}

static int put_drops(struct db *db, const struct drop *drops, size_t n)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_INT2_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, drops[i].scope);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, drops[i].subject, drops[i].len);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, drops[i].seconds);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, drops[i].n);
    return db_run_quiet(db, DB_CLAIM_COUNT);
}

/* The device's bucket, and that of the device and who tried it; where the device is not his, his
 * own, and that of where he is. */
int db_wrong_count(struct db *db, const struct db_wrong *wrong, size_t n)
{
    struct drops drops = {.n = 0};
    uint8_t network[DB_NETWORK_LEN];

    for (size_t i = 0; i < n; i++) {
        const struct db_claimant *who = wrong[i].who;
        const uint8_t *dev_eui = wrong[i].dev_eui.bytes;

        add_drop(&drops, SCOPE_DEVICE, DB_CLAIM_DEVICE_S, dev_eui, sizeof(struct eui64), NULL, 0);
        add_drop(&drops, SCOPE_OWN, DB_CLAIM_OWN_S, who->client_id, ACCOUNT_ID_LEN, dev_eui,
            sizeof(struct eui64));
        if (wrong[i].is_his)
            continue;
        add_drop(&drops, SCOPE_CLIENT, DB_CLAIM_CLIENT_S, who->client_id, ACCOUNT_ID_LEN, NULL, 0);
        db_claimant_network(who, network);
        if (who->has_network)
            add_drop(&drops, SCOPE_NETWORK, DB_CLAIM_NETWORK_S, network, sizeof(network), NULL, 0);
    }
    return drops.n > 0 ? put_drops(db, drops.list, drops.n) : 0;
}
