#include "db/device_change.h"

#include "db/connection.h"
#include <string.h>

/* clang-format off */
const struct db_statement db_device_change_statement = {
    .name = "device_change",
    .sql =
        "WITH input AS MATERIALIZED (SELECT * FROM unnest($1::int8[], $2::bytea[], $3::text[],"
        "   $4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::bytea[], $10::text[],"
        "   $11::text[], $12::bytea[], $13::text[], $14::text[], $15::text[], $16::text[],"
        "   $17::int8[], $18::int8[], $19::bytea[], $20::text[], $21::text[], $22::bytea[],"
        "   $23::int8[])"
        "  AS i(owner_id, dev_eui, credential, ownership, service, trust, ownership_epoch,"
        "   nonce_epoch, home_net_id, as_id, name, roaming, old_credential, old_ownership,"
        "   old_service, old_trust, old_ownership_epoch, old_nonce_epoch, old_home_net_id,"
        "   old_as_id, old_name, old_roaming, new_owner_id)),"
        " ready AS MATERIALIZED (SELECT i.* FROM input i JOIN device d ON d.dev_eui = i.dev_eui"
        "  WHERE coalesce(d.owner_id, 0) = i.owner_id AND d.credential = i.old_credential"
        "   AND d.ownership = i.old_ownership AND d.service = i.old_service"
        "   AND d.trust = i.old_trust AND d.ownership_epoch = i.old_ownership_epoch"
        "   AND d.nonce_epoch = i.old_nonce_epoch"
        "   AND d.home_net_id IS NOT DISTINCT FROM i.old_home_net_id"
        "   AND d.as_id IS NOT DISTINCT FROM i.old_as_id"
        "   AND d.name IS NOT DISTINCT FROM i.old_name"
        "   AND d.roaming IS NOT DISTINCT FROM i.old_roaming"
        "  ORDER BY d.dev_eui FOR NO KEY UPDATE OF d),"
        /* What frees places locks their subscriptions in one order, before the triggers do. */
        " places AS MATERIALIZED (SELECT count(*) AS n FROM subscription_places(ARRAY("
        "  SELECT e.subscription_id FROM device_entitlement e JOIN ready r USING (dev_eui)"
        "   WHERE r.ownership_epoch <> r.old_ownership_epoch"
        "    OR (r.credential = 'scrapped' AND r.old_credential <> 'scrapped'))))"
        " UPDATE device d SET credential = r.credential, ownership = r.ownership,"
        "  service = r.service, trust = r.trust, ownership_epoch = r.ownership_epoch,"
        "  nonce_epoch = r.nonce_epoch, home_net_id = r.home_net_id, as_id = r.as_id,"
        "  name = r.name, roaming = r.roaming, owner_id = CASE WHEN r.ownership = 'unowned' THEN NULL"
        "   ELSE nullif(r.new_owner_id, 0) END"
        " FROM ready r, places WHERE d.dev_eui = r.dev_eui AND places.n >= 0 RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 23,
    .params = {DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY,
        DB_TEXT_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY,
        DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_INT8_ARRAY,
        DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY,
        DB_INT8_ARRAY},
};
/* clang-format on */

const struct db_statement db_device_destroy_keys_statement = {
    .name = "device_destroy_keys",
    .sql = "DELETE FROM device_key WHERE dev_eui = ANY ($1)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

const struct db_statement db_device_mark_quarantine_statement = {
    .name = "device_mark_quarantine",
    .sql = "UPDATE device d SET quarantined_by = i.by"
           " FROM unnest($1::bytea[], $2::text[], $3::text[]) AS i(dev_eui, by, old_by)"
           " WHERE d.dev_eui = i.dev_eui AND d.quarantined_by IS NOT DISTINCT FROM i.old_by"
           " RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 3,
    .params = {DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY},
};

const struct db_statement db_home_known_statement = {
    .name = "home_known",
    .sql = "SELECT EXISTS (SELECT FROM peer_net_id n JOIN peer p ON p.id = n.peer_id"
           "  WHERE n.net_id = $1 AND p.revoked_at IS NULL),"
           " EXISTS (SELECT FROM peer p WHERE p.kind = 'application_server' AND p.name = $2"
           "  AND p.revoked_at IS NULL)",
    .shape = DB_SHAPE_ONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_TEXT},
};

#define REISSUE_DAYS DB_DECIMAL(DB_CODE_REISSUE_DAYS)

const struct db_statement db_code_standing_statement = {
    .name = "code_standing",
    .sql = "SELECT coalesce(c.generation, 0),"
           "  coalesce(d.ownership = 'unowned' AND c.released_by = $2, false),"
           "  coalesce(c.released_at > now() - make_interval(days => " REISSUE_DAYS "), false),"
           "  coalesce(d.ownership = 'unowned' AND c.released_by <> $2, false)"
           " FROM device d LEFT JOIN claim_code c ON c.dev_eui = d.dev_eui WHERE d.dev_eui = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT8},
};

/* A change of owners comes with a new generation: so the code that is stored here is never that of
 * somebody else's device. */
const struct db_statement db_code_renew_statement = {
    .name = "code_renew",
    .sql = "INSERT INTO claim_code AS c (dev_eui, generation, hash, weak, origin, made_by,"
           "  released_by, released_at)"
           " SELECT dev_eui, generation, hash, false, 'claimed', $4, CASE WHEN $6 > 0 THEN $5 END,"
           "  CASE WHEN $6 > 0 THEN now() END"
           "  FROM unnest($1::bytea[], $2::int4[], $3::bytea[]) AS i(dev_eui, generation, hash)"
           "  ORDER BY dev_eui"
           " ON CONFLICT (dev_eui) DO UPDATE SET generation = excluded.generation,"
           "  hash = excluded.hash, weak = false, origin = excluded.origin,"
           "  made_by = excluded.made_by, issued_at = excluded.issued_at,"
           "  released_by = excluded.released_by,"
           "  released_at = CASE WHEN $6 = 2 THEN c.released_at ELSE excluded.released_at END"
           "  WHERE c.generation = excluded.generation - 1 RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 6,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA, DB_INT8, DB_INT4},
};

const struct db_statement db_code_unlock_statement = {
    .name = "code_unlock",
    .sql = "DELETE FROM claim_limit WHERE scope = 2 AND subject = $1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA},
};

static void element_text_or_null(struct db_params *p, const char *text)
{
    if (text[0] != '\0')
        db_element_text(p, text);
    else
        db_element_null(p);
}

static const struct device_record *record_of(const struct db_device_change *change, bool after)
{
    return after ? change->after : &change->before->record;
}

static void put_words(
    struct db_params *p, const struct db_device_change *changes, size_t n, bool after)
{
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_credential_text(record_of(&changes[i], after)->credential));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_ownership_text(record_of(&changes[i], after)->ownership));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_service_text(record_of(&changes[i], after)->service));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_trust_text(record_of(&changes[i], after)->trust));
}

/* Ten columns: the record with the name. */
static void put_states(
    struct db_params *p, const struct db_device_change *changes, size_t n, bool after)
{
    put_words(p, changes, n, after);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, record_of(&changes[i], after)->ownership_epoch);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, record_of(&changes[i], after)->nonce_epoch);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        const struct device_record *record = record_of(&changes[i], after);

        if (record->has_home_net_id)
            db_element_bytes(p, record->home_net_id.bytes, sizeof(record->home_net_id.bytes));
        else
            db_element_null(p);
    }
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        element_text_or_null(p, record_of(&changes[i], after)->as_id);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        element_text_or_null(p, after ? changes[i].name : changes[i].before->name);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        const struct device_roaming *roaming = &record_of(&changes[i], after)->roaming;

        if (roaming->narrowed)
            db_element_bytes(p, roaming->net_ids, roaming->n * sizeof(roaming->net_ids[0]));
        else
            db_element_null(p);
    }
}

static void put_devices(struct db_params *p, const struct db_device_change *changes, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, changes[i].after->dev_eui.bytes, sizeof(struct eui64));
}

/* Runs a statement that answers a row for each of `n` devices. Outcome 1: not for each. */
static int run_all(struct db *db, enum db_statement_id id, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = db_run(db, id, &rows);

    return r < 0 ? r : rows.n != n;
}

int db_device_change(struct db *db, const struct db_device_change *changes, size_t n)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, changes[i].owner_id);
    put_devices(p, changes, n);
    put_states(p, changes, n, true);
    put_states(p, changes, n, false);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, changes[i].new_owner_id);
    return run_all(db, DB_DEVICE_CHANGE, n);
}

int db_device_destroy_keys(struct db *db, const struct db_device_change *changes, size_t n)
{
    put_devices(db_params_of(db), changes, n);
    return db_run_quiet(db, DB_DEVICE_DESTROY_KEYS);
}

int db_device_mark_quarantine(struct db *db, const struct db_device_change *changes, size_t n)
{
    struct db_params *p = db_params_of(db);

    put_devices(p, changes, n);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        element_text_or_null(p, changes[i].quarantined_by);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        element_text_or_null(p, changes[i].before->quarantined_by);
    return run_all(db, DB_DEVICE_MARK_QUARANTINE, n);
}

int db_home_known(
    struct db *db, const struct net_id *net_id, const char *as_id, bool *ret_home, bool *ret_as)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, net_id->bytes, sizeof(net_id->bytes));
    db_param_text(p, as_id);
    if ((r = db_run(db, DB_HOME_KNOWN, &rows)) < 0)
        return r;
    *ret_home = db_row_bool(&rows, 0, 0);
    *ret_as = db_row_bool(&rows, 0, 1);
    return db_rows_check(&rows);
}

int db_code_standing(struct db *db, const struct eui64 *dev_eui, int64_t organization_id,
    struct db_code_standing *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_int(p, DB_INT8, organization_id);
    if ((r = db_run(db, DB_CODE_STANDING, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    ret->generation = (uint32_t)db_row_int(&rows, 0, 0, 0, INT32_MAX - 1);
    ret->former = db_row_bool(&rows, 0, 1);
    ret->reissuable = db_row_bool(&rows, 0, 2) && ret->former;
    ret->of_another = db_row_bool(&rows, 0, 3);
    return db_rows_check(&rows);
}

int db_code_renew(struct db *db, const struct db_code *codes, size_t n,
    enum db_code_renewal renewal, int64_t organization_id,
    const uint8_t made_by[static DB_CODE_CALL_LEN])
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, codes[i].dev_eui.bytes, sizeof(codes[i].dev_eui.bytes));
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, codes[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, codes[i].hash, codes[i].version);
    db_param_bytes(p, made_by, DB_CODE_CALL_LEN);
    db_param_int(p, DB_INT8, organization_id);
    db_param_int(p, DB_INT4, renewal);
    return run_all(db, DB_CODE_RENEW, n);
}

int db_code_unlock(struct db *db, const struct eui64 *dev_eui)
{
    db_param_bytes(db_params_of(db), dev_eui->bytes, sizeof(dev_eui->bytes));
    return db_run_quiet(db, DB_CODE_UNLOCK);
}
