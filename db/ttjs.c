#include "db/ttjs.h"

#include "db/audit.h"
#include "db/connection.h"
#include "db/record_row.h"
#include <string.h>

const struct db_statement db_ttjs_ns_id_statement = {
    .name = "ttjs_ns_id",
    .sql = "SELECT coalesce(bool_or(i.ns_id = $2), true) FROM peer_net_id n"
           " JOIN peer p ON p.id = n.peer_id AND p.revoked_at IS NULL"
           " JOIN peer_ns_id i ON i.peer_id = p.id WHERE n.net_id = $1",
    .shape = DB_SHAPE_ONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_BYTEA},
};

const struct db_statement db_ttjs_keep_statement = {
    .name = "ttjs_keep",
    .sql = "INSERT INTO ttjs_claim (dev_eui, ownership_epoch, home_net_id, home_ns_id, locked)"
           " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (dev_eui) DO UPDATE SET"
           "  ownership_epoch = excluded.ownership_epoch, home_net_id = excluded.home_net_id,"
           "  home_ns_id = excluded.home_ns_id, locked = excluded.locked",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA, DB_INT8, DB_BYTEA, DB_BYTEA, DB_BOOL},
};

/* Nothing is read of a device that is another's. */
const struct db_statement db_ttjs_load_statement = {
    .name = "ttjs_load",
    .sql = "SELECT i.ordinal::int4, " DB_RECORD_COLUMNS ", coalesce(c.generation, 0),"
           "  t.home_ns_id, coalesce(t.locked, true), EXISTS (SELECT FROM ttjs_claim k"
           "   WHERE k.dev_eui = d.dev_eui AND k.ownership_epoch = d.ownership_epoch)"
           "  OR c.origin IS DISTINCT FROM 'claimed'"
           " FROM unnest($1::bytea[]) WITH ORDINALITY AS i(dev_eui, ordinal)"
           " JOIN device d ON d.dev_eui = i.dev_eui AND d.owner_id = $2 AND d.kind = 'lorawan'"
           " LEFT JOIN claim_code c ON c.dev_eui = d.dev_eui"
           " LEFT JOIN ttjs_claim t ON t.dev_eui = d.dev_eui"
           "  AND t.ownership_epoch = d.ownership_epoch AND t.home_net_id = d.home_net_id",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_BYTEA_ARRAY, DB_INT8},
};

enum load_column {
    LOAD_ORDINAL,
    LOAD_RECORD,
    LOAD_GENERATION = LOAD_RECORD + DB_N_RECORD_COLUMNS,
    LOAD_NS_ID,
    LOAD_LOCKED,
    LOAD_CLAIMED,
};

/* Rows are locked in the order of DevEUIs, devices before subscriptions, hot rows and codes, as in
 * every other statement that changes them. What each device becomes is the table of moves' word. */
const struct db_statement db_ttjs_release_statement = {
    .name = "ttjs_release",
    .sql =
        "WITH input AS MATERIALIZED (SELECT * FROM unnest($1::bytea[], $2::int8[], $3::text[],"
        "   $4::text[], $5::text[], $6::int8[], $7::text[], $8::text[], $9::int4[], $10::bytea[])"
        "   WITH ORDINALITY AS i(dev_eui, epoch, credential, ownership, trust, next_epoch,"
        "   next_ownership, next_service, generation, hash, ordinal)),"
        " held AS MATERIALIZED (SELECT i.* FROM input i JOIN device d ON d.dev_eui = i.dev_eui"
        "  WHERE d.owner_id = $11 AND d.as_id = $12 AND d.ownership_epoch = i.epoch"
        "   AND d.credential = i.credential AND d.ownership = i.ownership"
        "   AND d.trust = i.trust ORDER BY i.dev_eui FOR NO KEY UPDATE OF d),"
        " places AS MATERIALIZED (SELECT count(*) AS n,"
        "   device_joins_hold(ARRAY(SELECT dev_eui FROM held)) AS n_joins FROM subscription_places("
        "   ARRAY(SELECT e.subscription_id FROM device_entitlement e JOIN held USING (dev_eui)))),"
        " moved AS (UPDATE device d SET owner_id = NULL, ownership = held.next_ownership,"
        "   ownership_epoch = held.next_epoch, service = held.next_service,"
        "   home_net_id = NULL, as_id = NULL, name = NULL"
        "  FROM held, places WHERE d.dev_eui = held.dev_eui AND n >= 0 AND n_joins >= 0),"
        " coded AS (INSERT INTO claim_code AS c (dev_eui, generation, hash, weak, origin,"
        "   made_by, released_by, released_at)"
        "  SELECT dev_eui, generation, hash, false, 'claimed', $13, $11, now()"
        "   FROM held ORDER BY dev_eui"
        "  ON CONFLICT (dev_eui) DO UPDATE SET generation = excluded.generation,"
        "   hash = excluded.hash, weak = excluded.weak, origin = excluded.origin,"
        "   made_by = excluded.made_by, issued_at = excluded.issued_at,"
        "   released_by = excluded.released_by, released_at = excluded.released_at"
        "   WHERE c.generation = excluded.generation - 1 RETURNING dev_eui),"
        " told AS (INSERT INTO audit_event (organization_id, client_id, request_id, action,"
        "   object, detail) SELECT $11, $14, $15, 'device.release', device_text(dev_eui),"
        "   jsonb_build_object('generation', generation, 'as_id', $12) FROM held)"
        " SELECT ordinal::int4, EXISTS (SELECT FROM coded WHERE coded.dev_eui = held.dev_eui)"
        "  FROM held",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 15,
    .params = {DB_BYTEA_ARRAY, DB_INT8_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY,
        DB_INT8_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_INT8,
        DB_TEXT, DB_BYTEA, DB_BYTEA, DB_TEXT},
};

const struct db_statement db_ttjs_load_released_statement = {
    .name = "ttjs_load_released",
    .sql =
        "SELECT i.ordinal::int4, c.generation"
        " FROM unnest($1::bytea[]) WITH ORDINALITY AS i(dev_eui, ordinal)"
        " JOIN claim_code c ON c.dev_eui = i.dev_eui AND c.made_by = $2 AND c.released_by = $3"
        "  AND c.released_at > now() - make_interval(days => " DB_DECIMAL(
            IDEMPOTENCY_DAYS) ")"
                              " JOIN device d ON d.dev_eui = c.dev_eui AND d.ownership = 'unowned'"
                              "  AND d.credential <> 'scrapped'",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA, DB_INT8},
};

/* A change of owners comes with a new generation: what has one is not touched. */
const struct db_statement db_ttjs_reissue_statement = {
    .name = "ttjs_reissue",
    .sql = "WITH held AS MATERIALIZED (SELECT i.* FROM unnest($1::bytea[], $2::int4[], $3::bytea[])"
           "   WITH ORDINALITY AS i(dev_eui, generation, hash, ordinal)"
           "  JOIN claim_code c ON c.dev_eui = i.dev_eui AND c.generation = i.generation - 1"
           "   AND c.made_by = $4 AND c.released_by = $5"
           "  ORDER BY i.dev_eui FOR NO KEY UPDATE OF c),"
           " coded AS (UPDATE claim_code c SET generation = held.generation, hash = held.hash,"
           "   issued_at = now() FROM held WHERE c.dev_eui = held.dev_eui),"
           " told AS (INSERT INTO audit_event (organization_id, client_id, request_id, action,"
           "   object, detail) SELECT $5, $6, $7, 'device.reissue-code', device_text(dev_eui),"
           "   jsonb_build_object('generation', generation, 'as_id', $8) FROM held)"
           " SELECT ordinal::int4 FROM held",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 8,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA, DB_INT8, DB_BYTEA, DB_TEXT,
        DB_TEXT},
};

int db_ttjs_ns_id_fits(
    struct db *db, const struct net_id *net_id, const struct eui64 *ns_id, bool *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, net_id->bytes, sizeof(net_id->bytes));
    db_param_bytes(p, ns_id->bytes, sizeof(ns_id->bytes));
    if ((r = db_run(db, DB_TTJS_NS_ID, &rows)) < 0)
        return r;
    *ret = db_row_bool(&rows, 0, 0);
    return db_rows_check(&rows);
}

int db_ttjs_keep(struct db *db, const struct db_claim *claim, const struct db_ttjs_terms *terms)
{
    struct db_params *p = db_params_of(db);

    db_param_bytes(p, claim->dev_eui.bytes, sizeof(claim->dev_eui.bytes));
    db_param_int(p, DB_INT8, claim->ownership_epoch);
    db_param_bytes(p, claim->home_net_id.bytes, sizeof(claim->home_net_id.bytes));
    if (terms->has_home_ns_id)
        db_param_bytes(p, terms->home_ns_id.bytes, sizeof(terms->home_ns_id.bytes));
    else
        db_param_null(p, DB_BYTEA);
    db_param_int(p, DB_BOOL, terms->locked);
    return db_run_quiet(db, DB_TTJS_KEEP);
}

int db_ttjs_load(struct db *db, int64_t organization_id, const struct eui64 *dev_euis, size_t n,
    struct db_ttjs_claim *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    memset(ret, 0, n * sizeof(*ret));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        ret[i].record.dev_eui = dev_euis[i];
        db_element_bytes(p, dev_euis[i].bytes, sizeof(dev_euis[i].bytes));
    }
    db_param_int(p, DB_INT8, organization_id);
    if ((r = db_run(db, DB_TTJS_LOAD, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, LOAD_ORDINAL, 1, (int64_t)n);
        struct db_ttjs_claim *claim = &ret[ordinal > 0 ? ordinal - 1 : 0];

        claim->is_here = true;
        db_row_record(&rows, i, LOAD_RECORD, &claim->record);
        claim->generation = (uint32_t)db_row_int(&rows, i, LOAD_GENERATION, 0, INT32_MAX - 1);
        claim->terms.has_home_ns_id = !db_row_is_null(&rows, i, LOAD_NS_ID);
        if (claim->terms.has_home_ns_id)
            db_row_bytes(&rows, i, LOAD_NS_ID, claim->terms.home_ns_id.bytes,
                sizeof(claim->terms.home_ns_id.bytes));
        claim->terms.locked = db_row_bool(&rows, i, LOAD_LOCKED);
        claim->is_claimed_here = db_row_bool(&rows, i, LOAD_CLAIMED);
    }
    return db_rows_check(&rows);
}

/* As they were read, and as they are to be. */
static void put_states(struct db_params *p, const struct db_ttjs_claim *before,
    const struct device_record *after, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, after[i].dev_eui.bytes, sizeof(after[i].dev_eui.bytes));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, before[i].record.ownership_epoch);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_credential_text(before[i].record.credential));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_ownership_text(before[i].record.ownership));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_trust_text(before[i].record.trust));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, after[i].ownership_epoch);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_ownership_text(after[i].ownership));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_service_text(after[i].service));
}

int db_ttjs_release(struct db *db, const struct db_claimant *claimant, const char *as_id,
    const struct db_ttjs_claim *before, const struct device_record *after,
    const struct db_code *codes, size_t n, bool *ret_done)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    bool whole = true;
    int r;

    memset(ret_done, 0, n * sizeof(*ret_done));
    put_states(p, before, after, n);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, codes[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, codes[i].hash, codes[i].version);
    db_param_int(p, DB_INT8, claimant->organization_id);
    db_param_text(p, as_id);
    db_param_bytes(p, claimant->call, sizeof(claimant->call));
    db_param_bytes(p, claimant->client_id, sizeof(claimant->client_id));
    db_param_text(p, claimant->request_id);
    if ((r = db_run(db, DB_TTJS_RELEASE, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        if (ordinal > 0)
            ret_done[ordinal - 1] = true;
        whole = whole && db_row_bool(&rows, i, 1);
    }
    r = db_rows_check(&rows);
    return r < 0 ? r : !whole;
}

int db_ttjs_load_released(
    struct db *db, const struct db_claimant *claimant, struct db_ttjs_claim *claims, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, claims[i].record.dev_eui.bytes, sizeof(claims[i].record.dev_eui.bytes));
    db_param_bytes(p, claimant->call, sizeof(claimant->call));
    db_param_int(p, DB_INT8, claimant->organization_id);
    if ((r = db_run(db, DB_TTJS_LOAD_RELEASED, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);
        struct db_ttjs_claim *claim = &claims[ordinal > 0 ? ordinal - 1 : 0];

        claim->is_released = !claim->is_here;
        if (claim->is_released)
            claim->generation = (uint32_t)db_row_int(&rows, i, 1, 1, INT32_MAX - 1);
    }
    return db_rows_check(&rows);
}

int db_ttjs_reissue(struct db *db, const struct db_claimant *claimant, const char *as_id,
    const struct db_code *codes, size_t n, bool *ret_done)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    memset(ret_done, 0, n * sizeof(*ret_done));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, codes[i].dev_eui.bytes, sizeof(codes[i].dev_eui.bytes));
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, codes[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, codes[i].hash, codes[i].version);
    db_param_bytes(p, claimant->call, sizeof(claimant->call));
    db_param_int(p, DB_INT8, claimant->organization_id);
    db_param_bytes(p, claimant->client_id, sizeof(claimant->client_id));
    db_param_text(p, claimant->request_id);
    db_param_text(p, as_id);
    if ((r = db_run(db, DB_TTJS_REISSUE, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        if (ordinal > 0)
            ret_done[ordinal - 1] = true;
    }
    return db_rows_check(&rows);
}
