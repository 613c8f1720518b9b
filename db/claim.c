#include "db/claim.h"

#include "base/bytes.h"
#include "db/audit.h"
#include "db/connection.h"
#include <string.h>

static const char *const outcome_names[] = {
    [CLAIM_CLAIMED] = "claimed",
    [CLAIM_REPEATED] = "repeated",
    [CLAIM_OWN] = "own",
    [CLAIM_AGAIN] = "again",
    [CLAIM_NO_PLACE] = "no-place",
    [CLAIM_UNKNOWN] = "unknown",
    [CLAIM_QUARANTINED] = "quarantined",
    [CLAIM_TAKEN] = "taken",
    [CLAIM_CREDENTIAL] = "credential",
    [CLAIM_NO_CODE] = "no-code",
    [CLAIM_LOCKED] = "locked",
    [CLAIM_CODE] = "code",
    [CLAIM_RACED] = "raced",
};
_Static_assert(sizeof(outcome_names) / sizeof(outcome_names[0]) == DB_N_CLAIM_OUTCOMES,
    "an outcome has no name");

#define NETWORK_LEN 8 /* bytes */

/* The fifth is the alarm, which only SQL writes and reads. */
enum limit_scope { SCOPE_CLIENT = 1, SCOPE_DEVICE, SCOPE_OWN, SCOPE_NETWORK };
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

/* What a claim is to take a place of; of nobody else's. */
#define OWN_SUBSCRIPTION(columns)                                                                  \
    " LEFT JOIN LATERAL (SELECT " columns " FROM subscription"                                     \
    "  WHERE public_id = i.wanted AND organization_id = $7 LIMIT 1) s ON true"

/* How long the bucket l of a scope holds others up: while more than its burst is not forgiven. */
#define WAIT_S(l, seconds, burst)                                                                  \
    "greatest(0, ceil(extract(epoch FROM " l                                                       \
    ".due - now()) - " DB_DECIMAL(seconds) "::int8 * (" DB_DECIMAL(burst) " - 1)))"

#define WAIT_DEVICE_S WAIT_S("l", DB_CLAIM_DEVICE_S, DB_CLAIM_DEVICE_BURST)
#define WAIT_CLIENT_S WAIT_S("c", DB_CLAIM_CLIENT_S, DB_CLAIM_CLIENT_BURST)
#define WAIT_ALARM_S WAIT_S("c", DB_CLAIM_CLIENT_S, 1)
#define WAIT_NETWORK_S WAIT_S("n", DB_CLAIM_NETWORK_S, DB_CLAIM_NETWORK_BURST)
#define CLIENT_BURST DB_DECIMAL(DB_CLAIM_CLIENT_BURST)
#define CLIENT_S DB_DECIMAL(DB_CLAIM_CLIENT_S)
#define WEAK_MAX DB_DECIMAL(DB_CLAIM_WEAK_MAX)

/* For how long a repeated call finds its claim: as long as its key is kept. */
#define LATELY "c.issued_at > now() - make_interval(days => " DB_DECIMAL(IDEMPOTENCY_DAYS) ")"

/* clang-format off */
/* A row more of the answer tells of the claimant: its ordinal is 0. Every row asks for the same,
 * whatever is here. */
const struct db_statement db_claim_load_statement = {
    .name = "claim_load",
    .sql =
        "WITH input AS (SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bytea[])"
        "  WITH ORDINALITY AS i(dev_eui, net_id, as_id, wanted, ordinal)),"
        " one AS MATERIALIZED (SELECT " ALARM_ON " AS alarm)"
        " SELECT i.ordinal::int4,"
        "  (CASE WHEN c.dev_eui = i.dev_eui THEN c.generation ELSE 1 END)::int4,"
        "  (CASE WHEN o.due > now() THEN least(coalesce(" WAIT_DEVICE_S ", 0),"
        "   ceil(extract(epoch FROM o.due - now()))) ELSE 0 END)::int8,"
        "  i.net_id IS NULL OR EXISTS (SELECT FROM peer_net_id n JOIN peer p ON p.id = n.peer_id"
        "   WHERE n.net_id = i.net_id AND p.revoked_at IS NULL),"
        "  i.as_id IS NULL OR EXISTS (SELECT FROM peer p WHERE p.kind = 'application_server'"
        "   AND p.name = i.as_id AND p.revoked_at IS NULL), 0::int8,"
        "  CASE WHEN i.wanted IS NULL THEN 0 WHEN s.id IS NULL THEN 1"
        "   WHEN EXISTS (SELECT FROM device_entitlement e WHERE e.dev_eui = i.dev_eui"
        "    AND e.subscription_id = s.id) THEN 0"
        "   WHEN NOT s.runs THEN 2 WHEN s.n_used >= s.n_places THEN 3 ELSE 0 END,"
        "  c.dev_eui IS NOT DISTINCT FROM i.dev_eui AND c.origin <> 'given'"
        " FROM input i"
        NEAREST("c", "claim_code", "generation, origin")
        BUCKET("l", "2", "i.dev_eui")
        BUCKET("o", "3", "$5 || i.dev_eui")
        OWN_SUBSCRIPTION("id, n_used, n_places, subscription_runs(subscription) AS runs")
        " UNION ALL"
        " SELECT 0, 1, greatest(CASE WHEN alarm THEN " WAIT_ALARM_S " ELSE " WAIT_CLIENT_S " END,"
        "  CASE WHEN c.due > now() THEN least(" WAIT_NETWORK_S ", ceil(extract(epoch"
        "   FROM c.due - now()))) ELSE 0 END, 0)::int8, true, true,"
        "  (CASE WHEN alarm THEN 1 ELSE " CLIENT_BURST " END - coalesce(greatest(0, ceil("
        "   extract(epoch FROM c.due - now()) / " CLIENT_S ")), 0))::int8, 0, false"
        " FROM one"
        BUCKET("c", "1", "$5")
        BUCKET("n", "4", "$6"),
    .shape = DB_SHAPE_MANY,
    .n_params = 7,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA, DB_BYTEA, DB_INT8},
};

/* Rows are looked for again, and locked, only where all is right: a wrong code takes the same steps
 * whether the device is here or not. Devices come before codes and in the order of DevEUIs, as in
 * every other statement that changes them. What `judged` says is read without a lock, of the moment
 * when the statement began: where it finds nothing wrong with a claim that did not come through,
 * another one was faster. */
const struct db_statement db_claim_settle_statement = {
    .name = "claim_settle",
    .sql =
        "WITH input AS MATERIALIZED (SELECT * FROM unnest($1, $2, $3,"
        " $4, $5, $6, $11) WITH ORDINALITY"
        " AS i(dev_eui, generation, hash, new_hash, net_id, as_id, wanted, ordinal)),"
        " judged AS MATERIALIZED (SELECT i.*, s.id AS sub, d.ownership_epoch, CASE"
        " WHEN d.dev_eui IS DISTINCT FROM i.dev_eui THEN 'unknown'"
        " WHEN d.owner_id = $7 AND c.dev_eui = i.dev_eui"
        " AND c.made_by = $8 AND " LATELY " AND d.trust <> 'quarantined' THEN 'again'"
        " WHEN d.owner_id = $7 THEN 'own'"
        " WHEN d.trust = 'quarantined' THEN 'quarantined'"
        " WHEN d.ownership <> 'unowned' THEN 'taken'"
        " WHEN d.credential NOT IN ('delivered', 'personalized', 'activable') THEN 'credential'"
        " WHEN c.dev_eui IS DISTINCT FROM i.dev_eui THEN 'no-code'"
        " WHEN c.weak AND l.n_wrong >= " WEAK_MAX " THEN 'locked'"
        " WHEN c.hash <> i.hash THEN 'code'"
        " ELSE 'raced' END AS reason"
        " FROM input i"
        NEAREST("d", "device", "owner_id, ownership, ownership_epoch, credential, trust")
        NEAREST("c", "claim_code", "hash, weak, origin, made_by, issued_at")
        BUCKET("l", "2", "i.dev_eui")
        OWN_SUBSCRIPTION("id") "),"
        " due AS MATERIALIZED (SELECT j.ordinal, j.dev_eui, j.new_hash, j.wanted, j.sub,"
        " CASE WHEN d.ownership = 'unowned' THEN j.net_id ELSE d.home_net_id END AS net_id,"
        " CASE WHEN d.ownership = 'unowned' THEN j.as_id ELSE d.as_id END AS as_id, c.generation, d.ownership_epoch, d.ownership = 'unowned' AS fresh"
        " FROM judged j JOIN device d ON d.dev_eui = j.dev_eui"
        " JOIN claim_code c ON c.dev_eui = j.dev_eui"
        " WHERE j.reason IN ('again', 'raced')"
        " AND c.generation = j.generation AND d.trust <> 'quarantined' AND ("
        " (d.ownership = 'unowned' AND c.hash = j.hash"
        " AND d.credential IN ('delivered', 'personalized', 'activable'))"
        " OR (d.owner_id = $7 AND c.made_by = $8))"
        " ORDER BY j.dev_eui FOR NO KEY UPDATE OF d, c),"
        /* Locks them: behind devices, and in one order. */
        " places AS (SELECT id, n_free FROM subscription_places("
        " ARRAY(SELECT sub FROM due WHERE fresh))),"
        " won AS (SELECT r.* FROM (SELECT *, row_number() OVER ("
        " PARTITION BY fresh, sub ORDER BY dev_eui) AS place FROM due) r"
        " LEFT JOIN places p ON p.id = r.sub"
        " WHERE r.wanted IS NULL OR NOT r.fresh OR r.place <= p.n_free),"
        " moved AS (UPDATE device d SET owner_id = $7, ownership = 'claimed',"
        " ownership_epoch = d.ownership_epoch + 1, service = 'active',"
        " home_net_id = won.net_id, as_id = won.as_id, name = NULL"
        " FROM won WHERE d.dev_eui = won.dev_eui AND won.fresh),"
        " coded AS (UPDATE claim_code c SET generation = c.generation + 1, hash = won.new_hash,"
        " weak = false, origin = 'claimed', made_by = $8, issued_at = now(),"
        " released_by = NULL, released_at = NULL"
        " FROM won WHERE c.dev_eui = won.dev_eui),"
        " told AS (INSERT INTO audit_event (organization_id, client_id, request_id, action,"
        " object, detail) SELECT $7, $9, $10,"
        " CASE WHEN won.fresh THEN 'device.claim' ELSE 'device.claim.repeat' END,"
        " device_text(won.dev_eui), jsonb_build_object('generation', won.generation + 1,"
        " 'home_net_id', encode(won.net_id, 'hex'), 'as_id', won.as_id,"
        " 'subscription', encode(won.wanted, 'hex'))"
        " FROM won),"
        " entitled AS (INSERT INTO device_entitlement (dev_eui, subscription_id)"
        " SELECT dev_eui, sub FROM won WHERE fresh AND wanted IS NOT NULL ORDER BY sub),"
        " settled AS MATERIALIZED (SELECT j.ordinal, j.dev_eui,"
        " CASE WHEN won.fresh THEN 'claimed' WHEN NOT won.fresh THEN 'repeated'"
        " WHEN j.ordinal IN (SELECT ordinal FROM due) THEN 'no-place'"
        " ELSE j.reason END AS outcome, CASE WHEN j.reason = 'unknown' THEN 0"
        " ELSE coalesce(won.ownership_epoch + won.fresh::int, j.ownership_epoch) END AS epoch,"
        " won.net_id, won.as_id"
        " FROM judged j LEFT JOIN won USING (ordinal)),"
        " events AS (INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id,"
        " outcome) SELECT dev_eui, $7, $9, $10, outcome FROM settled"
        " WHERE outcome NOT IN ('own', 'again') ORDER BY ordinal)"
        " SELECT ordinal::int4, outcome, epoch, net_id, as_id FROM settled",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 11,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY,
        DB_TEXT_ARRAY, DB_INT8, DB_BYTEA, DB_BYTEA, DB_TEXT, DB_BYTEA_ARRAY},
};
/* clang-format on */

#define CALL_LOCK "hashtextextended('claims ' || encode($1, 'hex'), 0)"

const struct db_statement db_claim_lock_statement = {
    .name = "claim_lock",
    .sql = "SELECT pg_try_advisory_lock(" CALL_LOCK ")",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

const struct db_statement db_claim_unlock_statement = {
    .name = "claim_unlock",
    .sql = "SELECT pg_advisory_unlock(" CALL_LOCK ")",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

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

/* By its index of wrong ones, and no further than there are too many. */
const struct db_statement db_claim_watch_statement = {
    .name = "claim_watch",
    .sql =
        "WITH wrong AS MATERIALIZED (SELECT count(*) AS n FROM (SELECT FROM claim_event"
        "   WHERE at > now() - make_interval(secs => " DB_DECIMAL(
            DB_CLAIM_ALARM_S) ")"
                              "   AND outcome NOT IN ('claimed', 'repeated', 'own', 'again', 'raced')"
                              "   AND outcome <> 'no-place'"
                              "   LIMIT " DB_DECIMAL(
                                  DB_CLAIM_ALARM_MAX) " + 1) w),"
                                                      " raised AS (INSERT INTO claim_limit (scope, subject, due, n_wrong)"
                                                      "  SELECT 5, " ALARM_SUBJECT
                                                      ", now() + make_interval(secs => " DB_DECIMAL(DB_CLAIM_ALARM_S) "), n FROM wrong WHERE n > " DB_DECIMAL(
                                                          DB_CLAIM_ALARM_MAX) "  ON CONFLICT (scope, subject) DO UPDATE SET due = excluded.due,"
                                                                              "   n_wrong = excluded.n_wrong RETURNING true)"
                                                                              " SELECT EXISTS (SELECT FROM raised) OR " ALARM_ON
                                                                              ", n FROM wrong",
    .shape = DB_SHAPE_ONE,
    .commits = true,
};

/* What a weak code was tried counts until somebody unlocks it. */
const struct db_statement db_claim_forgive_statement = {
    .name = "claim_forgive",
    .sql = "DELETE FROM claim_limit WHERE (scope, subject) IN (SELECT scope, subject"
           " FROM claim_limit l WHERE due < now() AND NOT (scope = 2 AND EXISTS (SELECT"
           "  FROM claim_code c WHERE c.dev_eui = l.subject AND c.weak)) LIMIT $1"
           " FOR UPDATE OF l SKIP LOCKED) RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_claim_forget_statement = {
    .name = "claim_forget",
    .sql = "DELETE FROM claim_event WHERE id IN (SELECT id FROM claim_event"
           " WHERE at < now() - make_interval(days => $1) ORDER BY at LIMIT $2) RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT4, DB_INT8},
};

const char *db_claim_outcome_text(enum db_claim_outcome outcome)
{
    return outcome_names[outcome];
}

static void network_bytes(const struct db_claimant *claimant, uint8_t out[static NETWORK_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, NETWORK_LEN);

    bytes_write_u64_be(&w, claimant->network);
}

static void put_homes(struct db_params *p, const struct db_claim *claims, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (claims[i].has_home_net_id)
            db_element_bytes(p, claims[i].home_net_id.bytes, sizeof(claims[i].home_net_id.bytes));
        else
            db_element_null(p);
    }
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (claims[i].as_id[0] != '\0')
            db_element_text(p, claims[i].as_id);
        else
            db_element_null(p);
    }
}

static void put_subscriptions(struct db_params *p, const struct db_claim *claims, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (claims[i].has_subscription)
            db_element_bytes(p, claims[i].subscription, sizeof(claims[i].subscription));
        else
            db_element_null(p);
    }
}

static void put_devices(struct db_params *p, const struct db_claim *claims, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, claims[i].dev_eui.bytes, sizeof(claims[i].dev_eui.bytes));
}

int db_claim_load(struct db *db, const struct db_claimant *claimant, struct db_claim *claims,
    size_t n, int64_t *ret_wait_s, size_t *ret_allowance)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    uint8_t network[NETWORK_LEN];
    int r;

    put_devices(p, claims, n);
    put_homes(p, claims, n);
    put_subscriptions(p, claims, n);
    db_param_bytes(p, claimant->client_id, sizeof(claimant->client_id));
    network_bytes(claimant, network);
    if (claimant->has_network)
        db_param_bytes(p, network, sizeof(network));
    else
        db_param_null(p, DB_BYTEA);
    db_param_int(p, DB_INT8, claimant->organization_id);
    if ((r = db_run(db, DB_CLAIM_LOAD, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 0, (int64_t)n);
        int64_t wait_s = db_row_int(&rows, i, 2, 0, INT64_MAX);
        int64_t allowance = db_row_int(&rows, i, 5, INT64_MIN, INT64_MAX);

        if (ordinal == 0) {
            *ret_wait_s = wait_s;
            *ret_allowance = allowance > 1 ? (size_t)allowance : 1;
            continue;
        }
        claims[ordinal - 1].generation = (uint32_t)db_row_int(&rows, i, 1, 1, INT32_MAX - 1);
        claims[ordinal - 1].wait_s = wait_s;
        claims[ordinal - 1].home_known = db_row_bool(&rows, i, 3);
        claims[ordinal - 1].as_known = db_row_bool(&rows, i, 4);
        claims[ordinal - 1].place =
            (enum db_claim_place)db_row_int(&rows, i, 6, PLACE_FREE, PLACE_FULL);
        claims[ordinal - 1].is_made = db_row_bool(&rows, i, 7);
    }
    return db_rows_check(&rows);
}

static bool outcome_parse(const char *text, enum db_claim_outcome *ret)
{
    for (unsigned i = 0; i < DB_N_CLAIM_OUTCOMES; i++) {
        if (strcmp(outcome_names[i], text) == 0) {
            *ret = (enum db_claim_outcome)i;
            return true;
        }
    }
    return false;
}

/* A bucket, and what a wrong claim puts into it. */
struct drop {
    enum limit_scope scope;
    uint8_t subject[ACCOUNT_ID_LEN + sizeof(struct eui64)];
    size_t len;
    int64_t seconds, n;
};

static struct drop drop_of(enum limit_scope scope, int64_t seconds, int64_t n, const void *subject,
    size_t len, const void *more, size_t more_len)
{
    struct drop drop = {.scope = scope, .seconds = seconds, .n = n, .len = len + more_len};

    memcpy(drop.subject, subject, len);
    if (more_len > 0)
        memcpy(drop.subject + len, more, more_len);
    return drop;
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

/* One bucket of the claimant, one of where he is, and two a device that was claimed in vain. */
static int count_wrong(
    struct db *db, const struct db_claimant *claimant, const struct db_claim *claims, size_t n)
{
    struct drop drops[2 * DB_CLAIM_CHUNK_MAX + 2];
    uint8_t network[NETWORK_LEN];
    size_t n_drops = 0;
    int64_t n_wrong = 0;

    for (size_t i = 0; i < n; i++) {
        const uint8_t *dev_eui = claims[i].dev_eui.bytes;

        if (claims[i].outcome < CLAIM_UNKNOWN || claims[i].outcome == CLAIM_RACED)
            continue; /* who was too slow has guessed nothing */
        n_wrong++;
        drops[n_drops++] =
            drop_of(SCOPE_DEVICE, DB_CLAIM_DEVICE_S, 1, dev_eui, sizeof(struct eui64), NULL, 0);
        drops[n_drops++] = drop_of(SCOPE_OWN, DB_CLAIM_OWN_S, 1, claimant->client_id,
            ACCOUNT_ID_LEN, dev_eui, sizeof(struct eui64));
    }
    if (n_wrong == 0)
        return 0;
    drops[n_drops++] = drop_of(
        SCOPE_CLIENT, DB_CLAIM_CLIENT_S, n_wrong, claimant->client_id, ACCOUNT_ID_LEN, NULL, 0);
    network_bytes(claimant, network);
    if (claimant->has_network)
        drops[n_drops++] =
            drop_of(SCOPE_NETWORK, DB_CLAIM_NETWORK_S, n_wrong, network, sizeof(network), NULL, 0);
    return put_drops(db, drops, n_drops);
}

static void put_claims(struct db_params *p, const struct db_claimant *claimant,
    const struct db_claim *claims, size_t n)
{
    put_devices(p, claims, n);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, claims[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, claims[i].hash, sizeof(claims[i].hash));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, claims[i].new_hash, sizeof(claims[i].new_hash));
    put_homes(p, claims, n);
    db_param_int(p, DB_INT8, claimant->organization_id);
    db_param_bytes(p, claimant->call, sizeof(claimant->call));
    db_param_bytes(p, claimant->client_id, sizeof(claimant->client_id));
    db_param_text(p, claimant->request_id);
    put_subscriptions(p, claims, n);
}

/* As the device has it now, which a repeated claim does not change. */
static void read_home(struct db_rows *rows, size_t row, int column, struct db_claim *claim)
{
    claim->has_home_net_id = !db_row_is_null(rows, row, column);
    if (claim->has_home_net_id)
        db_row_bytes(rows, row, column, claim->home_net_id.bytes, sizeof(claim->home_net_id.bytes));
    db_row_text(rows, row, column + 1, claim->as_id, sizeof(claim->as_id));
}

int db_claim_settle(
    struct db *db, const struct db_claimant *claimant, struct db_claim *claims, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    char outcome[16];
    int r;

    put_claims(db_params_of(db), claimant, claims, n);
    if ((r = db_run(db, DB_CLAIM_SETTLE, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        db_row_text(&rows, i, 1, outcome, sizeof(outcome));
        if (ordinal == 0 || !outcome_parse(outcome, &claims[ordinal - 1].outcome))
            return error_set(ERROR_INTERNAL, "database: a claim came to nothing that is known");
        claims[ordinal - 1].ownership_epoch = (uint32_t)db_row_int(&rows, i, 2, 0, UINT32_MAX);
        if (claims[ordinal - 1].outcome <= CLAIM_REPEATED)
            read_home(&rows, i, 3, &claims[ordinal - 1]);
    }
    if (rows.n != n)
        return error_set(ERROR_INTERNAL, "database: a claim came to nothing");
    r = db_rows_check(&rows);
    return r < 0 ? r : count_wrong(db, claimant, claims, n);
}

int db_claim_lock(struct db *db, const struct db_claimant *claimant, int *ret_session)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    bool taken;
    int r;

    db_param_bytes(db_params_of(db), claimant->call, sizeof(claimant->call));
    if ((r = db_run(db, DB_CLAIM_LOCK, &rows)) < 0)
        return r;
    taken = db_row_bool(&rows, 0, 0);
    *ret_session = db->backend_pid;
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return taken ? 0 : 1;
}

void db_claim_unlock(struct db *db, const struct db_claimant *claimant, int session)
{
    /* Another session never had it. */
    if (db->conn == NULL || db->backend_pid != session)
        return;
    db_param_bytes(db_params_of(db), claimant->call, sizeof(claimant->call));
    if (db_run_quiet(db, DB_CLAIM_UNLOCK) < 0)
        db_drop(db);
}

int db_claim_watch(struct db *db, bool *ret_on, int64_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_CLAIM_WATCH, &rows)) < 0)
        return r;
    *ret_on = db_row_bool(&rows, 0, 0);
    *ret_n = db_row_int(&rows, 0, 1, 0, INT64_MAX);
    return db_rows_check(&rows);
}

int db_claim_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows forgiven = {0};
    CLEANUP(db_rows_done) struct db_rows forgotten = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, DB_CLAIM_PIECE);
    if ((r = db_run(db, DB_CLAIM_FORGIVE, &forgiven)) < 0)
        return r;
    p = db_params_of(db);
    db_param_int(p, DB_INT4, DB_CLAIM_EVENT_DAYS);
    db_param_int(p, DB_INT8, DB_CLAIM_PIECE);
    if ((r = db_run(db, DB_CLAIM_FORGET, &forgotten)) < 0)
        return r;
    *ret_n = forgiven.n + forgotten.n;
    return 0;
}
