#include "db/device_change.h"

#include "db/connection.h"
#include <string.h>

const struct db_statement db_device_change_statement = {
    .name = "device_change",
    .sql =
        "UPDATE device SET credential = $3, ownership = $4, service = $5, trust = $6,"
        "  ownership_epoch = $7, nonce_epoch = $8, home_net_id = $9, as_id = $10, name = $11,"
        "  owner_id = CASE WHEN $4 = 'unowned' THEN NULL ELSE nullif($21, 0) END"
        " WHERE dev_eui = $2 AND coalesce(owner_id, 0) = $1 AND credential = $12 AND ownership = $13"
        "  AND service = $14 AND trust = $15 AND ownership_epoch = $16 AND nonce_epoch = $17"
        "  AND home_net_id IS NOT DISTINCT FROM $18 AND as_id IS NOT DISTINCT FROM $19"
        "  AND name IS NOT DISTINCT FROM $20 RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 21,
    .params = {DB_INT8, DB_BYTEA, DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_INT8, DB_INT8, DB_BYTEA,
        DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_INT8, DB_INT8, DB_BYTEA, DB_TEXT,
        DB_TEXT, DB_INT8},
};

const struct db_statement db_device_destroy_keys_statement = {
    .name = "device_destroy_keys",
    .sql = "DELETE FROM device_key WHERE dev_eui = $1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA},
};

const struct db_statement db_device_mark_quarantine_statement = {
    .name = "device_mark_quarantine",
    .sql = "UPDATE device SET quarantined_by = $2"
           " WHERE dev_eui = $1 AND quarantined_by IS NOT DISTINCT FROM $3 RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 3,
    .params = {DB_BYTEA, DB_TEXT, DB_TEXT},
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
           " VALUES ($1, $2, $3, false, 'claimed', $4, CASE WHEN $6 > 0 THEN $5 END,"
           "  CASE WHEN $6 > 0 THEN now() END)"
           " ON CONFLICT (dev_eui) DO UPDATE SET generation = excluded.generation,"
           "  hash = excluded.hash, weak = false, origin = excluded.origin,"
           "  made_by = excluded.made_by, issued_at = excluded.issued_at,"
           "  released_by = excluded.released_by,"
           "  released_at = CASE WHEN $6 = 2 THEN c.released_at ELSE excluded.released_at END"
           "  WHERE c.generation = excluded.generation - 1 RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_BYTEA, DB_INT4, DB_BYTEA, DB_BYTEA, DB_INT8, DB_INT4},
};

const struct db_statement db_code_unlock_statement = {
    .name = "code_unlock",
    .sql = "DELETE FROM claim_limit WHERE scope = 2 AND subject = $1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA},
};

static void put_text_or_null(struct db_params *p, const char *text)
{
    if (text[0] != '\0')
        db_param_text(p, text);
    else
        db_param_null(p, DB_TEXT);
}

static void put_states(struct db_params *p, const struct device_record *record)
{
    db_param_text(p, device_credential_text(record->credential));
    db_param_text(p, device_ownership_text(record->ownership));
    db_param_text(p, device_service_text(record->service));
    db_param_text(p, device_trust_text(record->trust));
    db_param_int(p, DB_INT8, record->ownership_epoch);
    db_param_int(p, DB_INT8, record->nonce_epoch);
    if (record->has_home_net_id)
        db_param_bytes(p, record->home_net_id.bytes, sizeof(record->home_net_id.bytes));
    else
        db_param_null(p, DB_BYTEA);
    put_text_or_null(p, record->as_id);
}

int db_device_change(struct db *db, int64_t owner_id, int64_t new_owner_id,
    const struct db_device *before, const struct device_record *after, const char *name)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, owner_id);
    db_param_bytes(p, after->dev_eui.bytes, sizeof(after->dev_eui.bytes));
    put_states(p, after);
    put_text_or_null(p, name);
    put_states(p, &before->record);
    put_text_or_null(p, before->name);
    db_param_int(p, DB_INT8, new_owner_id);
    r = db_run(db, DB_DEVICE_CHANGE, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_device_destroy_keys(struct db *db, const struct eui64 *dev_eui)
{
    db_param_bytes(db_params_of(db), dev_eui->bytes, sizeof(dev_eui->bytes));
    return db_run_quiet(db, DB_DEVICE_DESTROY_KEYS);
}

int db_device_mark_quarantine(struct db *db, const struct db_device *before, const char *by)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    const struct eui64 *dev_eui = &before->record.dev_eui;
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    put_text_or_null(p, by);
    put_text_or_null(p, before->quarantined_by);
    r = db_run(db, DB_DEVICE_MARK_QUARANTINE, &rows);
    return r < 0 ? r : rows.n == 0;
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

int db_code_renew(struct db *db, const struct db_code *code, enum db_code_renewal renewal,
    int64_t organization_id, const uint8_t made_by[static DB_CODE_CALL_LEN])
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, code->dev_eui.bytes, sizeof(code->dev_eui.bytes));
    db_param_int(p, DB_INT4, code->generation);
    db_param_bytes(p, code->hash, sizeof(code->hash));
    db_param_bytes(p, made_by, DB_CODE_CALL_LEN);
    db_param_int(p, DB_INT8, organization_id);
    db_param_int(p, DB_INT4, renewal);
    r = db_run(db, DB_CODE_RENEW, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_code_unlock(struct db *db, const struct eui64 *dev_eui)
{
    db_param_bytes(db_params_of(db), dev_eui->bytes, sizeof(dev_eui->bytes));
    return db_run_quiet(db, DB_CODE_UNLOCK);
}
