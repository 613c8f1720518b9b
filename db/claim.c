#include "db/claim.h"

#include "db/audit.h"
#include "db/claim_limit.h"
#include <string.h>

static const char *const outcome_names[] = {
    [CLAIM_CLAIMED] = "claimed",
    [CLAIM_REPEATED] = "repeated",
    [CLAIM_OWN] = "own",
    [CLAIM_AGAIN] = "again",
    [CLAIM_NO_PLACE] = "no-place",
    [CLAIM_LIMITED] = "limited",
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
_Static_assert(DB_CLAIM_CHUNK_MAX <= DB_WRONG_MAX, "a chunk may be wrong as a whole");

/* What a claim is to take a place of; of nobody else's. */
#define OWN_SUBSCRIPTION(columns)                                                                  \
    " LEFT JOIN LATERAL (SELECT " columns " FROM subscription"                                     \
    "  WHERE public_id = i.wanted AND organization_id = i.org LIMIT 1) s ON true"

/* For how long a repeated call finds its claim: as long as its key is kept. */
#define LATELY "c.issued_at > now() - make_interval(days => " DB_DECIMAL(IDEMPOTENCY_DAYS) ")"

/* clang-format off */
/* Every row asks for the same, whatever is here. */
const struct db_statement db_claim_load_statement = {
    .name = "claim_load",
    .sql =
        "WITH one AS MATERIALIZED (SELECT " ALARM_ON " AS alarm)"
        " SELECT i.ordinal::int4,"
        "  (CASE WHEN c.dev_eui = i.dev_eui THEN c.generation ELSE 1 END)::int4,"
        "  greatest(" WAIT_OF_DEVICE ", " WAIT_OF_CLIENT("b", DB_CLAIM_CLIENT_BURST) "),"
        "  i.net_id IS NULL OR EXISTS (SELECT FROM peer_net_id n JOIN peer p ON p.id = n.peer_id"
        "   WHERE n.net_id = i.net_id AND p.revoked_at IS NULL),"
        "  i.as_id IS NULL OR EXISTS (SELECT FROM peer p WHERE p.kind = 'application_server'"
        "   AND p.name = i.as_id AND p.revoked_at IS NULL),"
        "  " ALLOWANCE("b", DB_CLAIM_CLIENT_BURST) ","
        "  CASE WHEN i.wanted IS NULL THEN 0 WHEN s.id IS NULL THEN 1"
        "   WHEN EXISTS (SELECT FROM device_entitlement e WHERE e.dev_eui = i.dev_eui"
        "    AND e.subscription_id = s.id) THEN 0"
        "   WHEN NOT s.runs THEN 2 WHEN s.n_used >= s.n_places THEN 3 ELSE 0 END,"
        "  c.dev_eui IS NOT DISTINCT FROM i.dev_eui AND c.origin <> 'given',"
        "  (CASE WHEN c.dev_eui = i.dev_eui THEN c.code_key ELSE 0 END)::int4"
        " FROM one, unnest($1::bytea[], $2::bytea[], $3::text[], $4::bytea[], $5::int8[],"
        "  $6::bytea[], $7::bytea[]) WITH ORDINALITY"
        "  AS i(dev_eui, net_id, as_id, wanted, org, client, network, ordinal)"
        NEAREST("c", "claim_code", "generation, origin, " DB_CODE_KEY("hash") " AS code_key")
        BUCKET("b", "1", "i.client")
        BUCKET("l", "2", "i.dev_eui")
        BUCKET("o", "3", "i.client || i.dev_eui")
        BUCKET("n", "4", "i.network")
        OWN_SUBSCRIPTION("id, n_used, n_places, subscription_runs(subscription) AS runs"),
    .shape = DB_SHAPE_MANY,
    .n_params = 7,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_INT8_ARRAY,
        DB_BYTEA_ARRAY, DB_BYTEA_ARRAY},
};

/* Rows are looked for again, and locked, only where all is right: a wrong code takes the same steps
 * whether the device is here or not. Devices come before codes and in the order of DevEUIs, as in
 * every other statement that changes them. What `seen` says is read without a lock, of the moment
 * when the statement began: where it finds nothing wrong with a claim that did not come through,
 * another one was faster. `n` is a claim's place, `r` the request's id. */
const struct db_statement db_claim_settle_statement = {
    .name = "claim_settle",
    .sql =
        "WITH seen AS (SELECT i.*, s.id AS sub, CASE"
        " WHEN d.dev_eui IS DISTINCT FROM i.dev_eui THEN 'unknown'"
        " WHEN d.owner_id = org AND c.dev_eui = i.dev_eui"
        " AND c.made_by = call AND " LATELY " AND d.trust <> 'quarantined' THEN 'again'"
        " WHEN d.owner_id = org THEN 'own'"
        " WHEN d.trust = 'quarantined' THEN 'quarantined'"
        " WHEN d.ownership <> 'unowned' THEN 'taken'"
        " WHEN d.credential NOT IN ('delivered', 'personalized', 'activable') THEN 'credential'"
        " WHEN c.dev_eui IS DISTINCT FROM i.dev_eui THEN 'no-code'"
        " WHEN c.weak AND l.n_wrong >= " WEAK_MAX " THEN 'locked'"
        " WHEN c.hash <> i.hash THEN 'code'"
        " ELSE 'raced' END AS why"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) WITH ORDINALITY"
        " AS i(dev_eui, net, server, wanted, org, client, generation, hash, new_hash, call, r, most, n)"
        NEAREST("d", "device", "owner_id, ownership, credential, trust")
        NEAREST("c", "claim_code", "hash, weak, made_by, issued_at")
        BUCKET("l", "2", "i.dev_eui")
        OWN_SUBSCRIPTION("id") "),"
        " judged AS (SELECT *, CASE WHEN most > count(*) FILTER (WHERE why NOT IN ('again', 'own',"
        " 'raced')) OVER (PARTITION BY client ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1"
        " PRECEDING) THEN why ELSE 'limited' END AS reason FROM seen),"
        " due AS (SELECT j.*, CASE WHEN d.ownership = 'unowned' THEN net ELSE home_net_id END AS net_id,"
        " CASE WHEN d.ownership = 'unowned' THEN server ELSE as_id END AS as_id,"
        " d.ownership_epoch, d.ownership = 'unowned' AS fresh"
        " FROM judged j JOIN device d USING (dev_eui) JOIN claim_code c USING (dev_eui)"
        " WHERE reason IN ('again', 'raced')"
        " AND c.generation = j.generation AND trust <> 'quarantined' AND ("
        " (d.ownership = 'unowned' AND c.hash = j.hash"
        " AND d.credential IN ('delivered', 'personalized', 'activable'))"
        " OR (d.owner_id = org AND made_by = call))"
        " ORDER BY dev_eui FOR NO KEY UPDATE OF d, c),"
        /* Locks them: behind devices, and in one order; then the hot rows, which the places that
         * are taken would come upon in another order than joins do. */
        " places AS (SELECT id, n_free, device_joins_hold(ARRAY(SELECT dev_eui FROM due WHERE fresh))"
        " FROM subscription_places(ARRAY(SELECT sub FROM due WHERE fresh))),"
        " won AS (SELECT d.* FROM (SELECT *, row_number() OVER ("
        " PARTITION BY fresh, sub ORDER BY dev_eui) AS place FROM due) d"
        " LEFT JOIN places p ON p.id = sub"
        " WHERE wanted IS NULL OR NOT fresh OR place <= n_free),"
        " moved AS (UPDATE device d SET owner_id = org, ownership = 'claimed',"
        " ownership_epoch = d.ownership_epoch + 1, service = 'active',"
        " home_net_id = won.net_id, as_id = won.as_id, name = NULL"
        " FROM won WHERE d.dev_eui = won.dev_eui AND fresh),"
        " coded AS (UPDATE claim_code c SET generation = c.generation + 1, hash = new_hash,"
        " weak = false, origin = 'claimed', made_by = call, issued_at = now(),"
        " released_by = NULL, released_at = NULL"
        " FROM won WHERE c.dev_eui = won.dev_eui),"
        " told AS (INSERT INTO audit_event (organization_id, client_id, request_id, action,"
        " object, detail) SELECT org, client, r,"
        " CASE WHEN fresh THEN 'device.claim' ELSE 'device.claim.repeat' END,"
        " device_text(dev_eui), jsonb_build_object('generation', generation + 1,"
        " 'home_net_id', encode(net_id, 'hex'), 'as_id', as_id,"
        " 'subscription', encode(wanted, 'hex')) FROM won ORDER BY n),"
        " entitled AS (INSERT INTO device_entitlement (dev_eui, subscription_id)"
        " SELECT dev_eui, sub FROM won WHERE fresh AND wanted IS NOT NULL ORDER BY sub),"
        " settled AS (SELECT j.*, CASE WHEN fresh THEN 'claimed' WHEN NOT fresh THEN 'repeated'"
        " WHEN n IN (SELECT n FROM due) THEN 'no-place'"
        " ELSE j.reason END AS outcome, ownership_epoch + fresh::int AS epoch, net_id, as_id"
        " FROM judged j LEFT JOIN won USING (n)),"
        " events AS (INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id,"
        " outcome) SELECT dev_eui, org, client, r, outcome FROM settled"
        " WHERE outcome NOT IN ('own', 'again', 'limited') AND ($13 OR outcome <> 'raced') ORDER BY n)"
        " SELECT n::int4, outcome, epoch, net_id, as_id FROM settled",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 13,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_INT8_ARRAY,
        DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY,
        DB_TEXT_ARRAY, DB_INT4_ARRAY, DB_BOOL},
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

/* By its index of wrong ones, and no further than there are too many. */
const struct db_statement db_claim_watch_statement = {
    .name = "claim_watch",
    .sql =
        "WITH wrong AS MATERIALIZED (SELECT count(*) AS n FROM (SELECT FROM claim_event"
        "   WHERE at > now() - make_interval(secs => " DB_DECIMAL(
            DB_CLAIM_ALARM_S) ") AND at <= now()"
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

/* What both statements ask for: the devices, what is wanted for them, and who claims. */
static void put_claims(struct db_params *p, const struct db_claim *claims, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, claims[i].dev_eui.bytes, sizeof(claims[i].dev_eui.bytes));
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
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (claims[i].has_subscription)
            db_element_bytes(p, claims[i].subscription, sizeof(claims[i].subscription));
        else
            db_element_null(p);
    }
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, claims[i].claimant->organization_id);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, claims[i].claimant->client_id, sizeof(claims[i].claimant->client_id));
}

static void put_networks(struct db_params *p, const struct db_claim *claims, size_t n)
{
    uint8_t network[DB_NETWORK_LEN];

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        db_claimant_network(claims[i].claimant, network);
        if (claims[i].claimant->has_network)
            db_element_bytes(p, network, sizeof(network));
        else
            db_element_null(p);
    }
}

int db_claim_load(struct db *db, struct db_claim *claims, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    put_claims(p, claims, n);
    put_networks(p, claims, n);
    if ((r = db_run(db, DB_CLAIM_LOAD, &rows)) < 0)
        return r;
    if (rows.n != n)
        return error_set(ERROR_INTERNAL, "database: a claim was not loaded");
    for (size_t i = 0; i < n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);
        struct db_claim *claim = &claims[ordinal > 0 ? ordinal - 1 : 0];
        int64_t allowance = db_row_int(&rows, i, 5, INT64_MIN, INT64_MAX);

        claim->generation = (uint32_t)db_row_int(&rows, i, 1, 1, INT32_MAX - 1);
        claim->wait_s = db_row_int(&rows, i, 2, 0, INT64_MAX);
        claim->home_known = db_row_bool(&rows, i, 3);
        claim->as_known = db_row_bool(&rows, i, 4);
        claim->allowance = allowance > 1 ? (unsigned)allowance : 1;
        claim->place = (enum db_claim_place)db_row_int(&rows, i, 6, PLACE_FREE, PLACE_FULL);
        claim->is_made = db_row_bool(&rows, i, 7);
        claim->code_key = (uint16_t)db_row_int(&rows, i, 8, 0, KEYED_VERSION_MAX);
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

/* Who was too slow has guessed nothing. */
static int count_wrong(struct db *db, const struct db_claim *claims, size_t n)
{
    struct db_wrong wrong[DB_CLAIM_CHUNK_MAX];
    size_t n_wrong = 0;

    for (size_t i = 0; i < n; i++)
        if (claims[i].outcome >= CLAIM_UNKNOWN && claims[i].outcome != CLAIM_RACED)
            wrong[n_wrong++] =
                (struct db_wrong){.who = claims[i].claimant, .dev_eui = claims[i].dev_eui};
    return db_wrong_count(db, wrong, n_wrong);
}

static void put_codes(struct db_params *p, const struct db_claim *claims, size_t n)
{
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, claims[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, claims[i].hash, claims[i].hash_version);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, claims[i].new_hash, claims[i].new_hash_version);
}

static void put_calls(struct db_params *p, const struct db_claim *claims, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, claims[i].claimant->call, sizeof(claims[i].claimant->call));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, claims[i].claimant->request_id);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, claims[i].allowance);
}

/* As the device has it now, which a repeated claim does not change. */
static void read_standing(struct db_rows *rows, size_t row, int column, struct db_claim *claim)
{
    claim->ownership_epoch = (uint32_t)db_row_int(rows, row, column, 0, UINT32_MAX);
    claim->has_home_net_id = !db_row_is_null(rows, row, column + 1);
    if (claim->has_home_net_id)
        db_row_bytes(
            rows, row, column + 1, claim->home_net_id.bytes, sizeof(claim->home_net_id.bytes));
    db_row_text(rows, row, column + 2, claim->as_id, sizeof(claim->as_id));
}

int db_claim_settle(struct db *db, struct db_claim *claims, size_t n, bool last)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    char outcome[16];
    int r;

    put_claims(p, claims, n);
    put_codes(p, claims, n);
    put_calls(p, claims, n);
    db_param_int(p, DB_BOOL, last);
    if ((r = db_run(db, DB_CLAIM_SETTLE, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        db_row_text(&rows, i, 1, outcome, sizeof(outcome));
        if (ordinal == 0 || !outcome_parse(outcome, &claims[ordinal - 1].outcome))
            return error_set(ERROR_INTERNAL, "database: a claim came to nothing that is known");
        if (claims[ordinal - 1].outcome <= CLAIM_REPEATED)
            read_standing(&rows, i, 2, &claims[ordinal - 1]);
    }
    if (rows.n != n)
        return error_set(ERROR_INTERNAL, "database: a claim came to nothing");
    r = db_rows_check(&rows);
    return r < 0 ? r : count_wrong(db, claims, n);
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
    *ret_session = db->backend.pid;
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return taken ? 0 : 1;
}

void db_claim_unlock(struct db *db, const struct db_claimant *claimant, int session)
{
    /* Another session never had it. */
    if (db->conn == NULL || db->backend.pid != session)
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
