#include "db/batch.h"

#include "db/connection.h"

const struct db_statement db_batch_begin_statement = {
    .name = "batch_begin",
    .sql = "INSERT INTO batch (organization_id, format) VALUES ($1, $2) RETURNING id",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_TEXT},
};

/* One statement, hence one transaction: no device without its keys and its hot row. Devices are
 * made in DevEUI order, so that two files with the same devices wait for each other and do not
 * deadlock. A device that comes in claimed belongs to the organization that brings it. */
const struct db_statement db_batch_insert_statement = {
    .name = "batch_insert",
    .sql = "WITH input AS MATERIALIZED ("
           "  SELECT DISTINCT ON (dev_eui) * FROM unnest($3::bytea[], $4::bytea[], $5::text[],"
           "    $6::text[], $7::text[], $8::text[], $9::text[], $10::int8[], $11::int8[],"
           "    $12::bytea[], $13::text[], $14::text[], $15::bytea[], $16::bytea[], $17::text[],"
           "    $18::bytea[], $19::bytea[], $20::bytea[]) WITH ORDINALITY"
           "  AS i(dev_eui, join_eui, mac_version, credential, ownership, service, trust,"
           "    ownership_epoch, nonce_epoch, home_net_id, as_id, app_kek_label, app_blob, app_tag,"
           "    nwk_kek_label, nwk_blob, nwk_tag, kcv, ordinal) ORDER BY dev_eui, ordinal),"
           " made AS ("
           "  INSERT INTO device (dev_eui, join_eui, mac_version, credential, ownership, service,"
           "    trust, ownership_epoch, nonce_epoch, home_net_id, as_id, batch_id, organization_id,"
           "    owner_id)"
           "  SELECT dev_eui, join_eui, mac_version, credential, ownership, service, trust,"
           "    ownership_epoch, nonce_epoch, home_net_id, as_id, $1, $2,"
           "    CASE WHEN ownership <> 'unowned' THEN $2 END"
           "  FROM input ORDER BY dev_eui ON CONFLICT (dev_eui) DO NOTHING RETURNING dev_eui),"
           " keys AS ("
           "  INSERT INTO device_key (dev_eui, slot, kek_label, blob, tag, kcv)"
           "  SELECT dev_eui, 1, app_kek_label, app_blob, app_tag, kcv"
           "    FROM input JOIN made USING (dev_eui)"
           "  UNION ALL SELECT dev_eui, 2, nwk_kek_label, nwk_blob, nwk_tag, kcv"
           "    FROM input JOIN made USING (dev_eui) WHERE nwk_blob IS NOT NULL),"
           " hot AS (INSERT INTO device_join (dev_eui) SELECT dev_eui FROM made)"
           " SELECT ordinal::int4 FROM input JOIN made USING (dev_eui)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 20,
    .params = {DB_INT8, DB_INT8, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY,
        DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY, DB_BYTEA_ARRAY,
        DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY,
        DB_BYTEA_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_batch_finish_statement = {
    .name = "batch_finish",
    .sql = "UPDATE batch SET finished_at = now(), n_created = $2, n_refused = $3 WHERE id = $1"
           " RETURNING id",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

int db_batch_begin(
    struct db *db, int64_t organization_id, const char *format, int64_t *ret_batch_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int64_t id;
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_text(p, format);
    r = db_run(db, DB_BATCH_BEGIN, &rows);
    if (r < 0)
        return r;
    id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    *ret_batch_id = id;
    return 0;
}

static void put_record_columns(struct db_params *p, const struct db_batch_row *rows, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, rows[i].record.dev_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, rows[i].record.join_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, lw_mac_version_text(rows[i].record.mac_version));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_credential_text(rows[i].record.credential));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_ownership_text(rows[i].record.ownership));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_service_text(rows[i].record.service));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_trust_text(rows[i].record.trust));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i].record.ownership_epoch);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i].record.nonce_epoch);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].record.has_home_net_id)
            db_element_bytes(p, rows[i].record.home_net_id.bytes, sizeof(struct net_id));
        else
            db_element_null(p);
    }
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (*rows[i].record.as_id)
            db_element_text(p, rows[i].record.as_id);
        else
            db_element_null(p);
    }
}

/** The sealed key of a slot, or NULL when the row has none. */
static const struct sealed_key *key_of(const struct db_batch_row *row, enum key_slot slot)
{
    if (slot == KEY_SLOT_APP)
        return &row->app;
    return row->has_nwk ? &row->nwk : NULL;
}

static void put_key_columns(
    struct db_params *p, const struct db_batch_row *rows, size_t n, enum key_slot slot)
{
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        const struct sealed_key *key = key_of(&rows[i], slot);

        if (key)
            db_element_text(p, key->kek_label);
        else
            db_element_null(p);
    }
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        const struct sealed_key *key = key_of(&rows[i], slot);

        if (key)
            db_element_bytes(p, key->blob, key->blob_len);
        else
            db_element_null(p);
    }
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        const struct sealed_key *key = key_of(&rows[i], slot);

        if (key)
            db_element_bytes(p, key->tag, sizeof(key->tag));
        else
            db_element_null(p);
    }
}

int db_batch_insert(struct db *db, int64_t batch_id, int64_t organization_id,
    const struct db_batch_row *rows, size_t n_rows, enum db_batch_outcome *outcomes)
{
    CLEANUP(db_rows_done) struct db_rows made = {0};
    struct db_params *p = db_params_of(db);
    int r;

    if (n_rows == 0 || n_rows > DB_BATCH_ROWS_MAX)
        return error_set(ERROR_INTERNAL, "database: a batch of %zu devices", n_rows);
    db_param_int(p, DB_INT8, batch_id);
    db_param_int(p, DB_INT8, organization_id);
    put_record_columns(p, rows, n_rows);
    put_key_columns(p, rows, n_rows, KEY_SLOT_APP);
    put_key_columns(p, rows, n_rows, KEY_SLOT_NWK);
    db_param_array(p, DB_BYTEA_ARRAY, n_rows);
    for (size_t i = 0; i < n_rows; i++)
        db_element_bytes(p, rows[i].kcv, sizeof(rows[i].kcv));
    r = db_run(db, DB_BATCH_INSERT, &made);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n_rows; i++)
        outcomes[i] = DB_BATCH_EXISTS;
    for (size_t i = 0; i < made.n; i++) {
        int64_t ordinal = db_row_int(&made, i, 0, 1, (int64_t)n_rows);

        if (ordinal)
            outcomes[ordinal - 1] = DB_BATCH_CREATED;
    }
    return db_rows_check(&made);
}

int db_batch_finish(struct db *db, int64_t batch_id, size_t n_created, size_t n_refused)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, batch_id);
    db_param_int(p, DB_INT8, (int64_t)n_created);
    db_param_int(p, DB_INT8, (int64_t)n_refused);
    return db_run_quiet(db, DB_BATCH_FINISH);
}
