#include "db/account.h"

#include "db/connection.h"
#include <string.h>

const struct word_bits account_role_names[] = {
    {"admin", ROLE_ADMIN},
    {"operator", ROLE_OPERATOR},
    {"maker", ROLES_MAKER},
    {"module_maker", ROLE_MODULE_MAKER},
    {"product_maker", ROLE_PRODUCT_MAKER},
    {"owner", ROLE_OWNER},
    {"application_server", ROLE_APPLICATION_SERVER},
    {"auditor", ROLE_AUDITOR},
    {NULL, 0},
};

/* DO UPDATE, so that RETURNING gives the id of an organization that another session made just now.
 */
const struct db_statement db_client_add_statement = {
    .name = "client_add",
    .sql = "WITH org AS (INSERT INTO organization (name) VALUES ($1)"
           "  ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id)"
           " INSERT INTO client (id, organization_id, roles, secret_hash)"
           "  SELECT $2, org.id, $3, $4 FROM org RETURNING organization_id",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_TEXT, DB_BYTEA, DB_INT4, DB_BYTEA},
};

const struct db_statement db_client_find_statement = {
    .name = "client_find",
    .sql = "SELECT i.ordinal::int4, c.organization_id, o.name, c.roles, c.secret_hash,"
           "  c.revoked_at IS NOT NULL, o.public_id, o.claim_code_length"
           " FROM unnest($1::bytea[]) WITH ORDINALITY AS i(id, ordinal)"
           " JOIN client c ON c.id = i.id JOIN organization o ON o.id = c.organization_id",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

#define ORGANIZATION_COLUMNS                                                                       \
    "id, public_id, name, allow_clear_keys, subscription_required, " DB_UTC(                       \
        "created_at") ", claim_code_length, orders_need_approval, allow_legacy_delivery"

const struct db_statement db_client_standing_statement = {
    .name = "client_standing",
    .sql = "SELECT c.revoked_at IS NOT NULL, o.allow_clear_keys"
           " FROM client c JOIN organization o ON o.id = c.organization_id WHERE c.id = $1",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

const struct db_statement db_organization_add_statement = {
    .name = "organization_add",
    .sql = "INSERT INTO organization (name, allow_clear_keys, subscription_required,"
           "  claim_code_length, orders_need_approval, allow_legacy_delivery)"
           " VALUES ($1, $2, $3, $4, $5, $6)"
           " ON CONFLICT (name) DO NOTHING RETURNING " ORGANIZATION_COLUMNS,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_TEXT, DB_BOOL, DB_BOOL, DB_INT2, DB_BOOL, DB_BOOL},
};

const struct db_statement db_organization_find_statement = {
    .name = "organization_find",
    .sql = "SELECT " ORGANIZATION_COLUMNS " FROM organization WHERE public_id = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};

/* What is not given stays as it is when the row is locked: two changes at once do not undo each
 * other. Whoever makes it the owner of a device has a hold of its key, and is waited for where its
 * devices need a subscription from now on (migration 0027). The name is looked for first: a
 * conflict would end the transaction. Two that take one name at the same moment: the second gets
 * the error.
 */
const struct db_statement db_organization_set_statement = {
    .name = "organization_set",
    .sql = "UPDATE organization SET name = coalesce($2, name),"
           "  allow_clear_keys = coalesce($3, allow_clear_keys),"
           "  subscription_required = coalesce($4, subscription_required),"
           "  claim_code_length = coalesce($5, claim_code_length),"
           "  orders_need_approval = coalesce($6, orders_need_approval),"
           "  allow_legacy_delivery = coalesce($7, allow_legacy_delivery),"
           "  subscription_walk = CASE WHEN subscription_required <> $4 THEN ''"
           "   ELSE subscription_walk END WHERE id = CASE WHEN $4 IS NULL THEN $1"
           "   ELSE (SELECT o.id FROM organization o WHERE o.id = $1 FOR UPDATE) END"
           " AND NOT EXISTS (SELECT FROM organization o WHERE o.name = $2 AND o.id <> $1)"
           " RETURNING " ORGANIZATION_COLUMNS,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 7,
    .params = {DB_INT8, DB_TEXT, DB_BOOL, DB_BOOL, DB_INT2, DB_BOOL, DB_BOOL},
};

const struct db_statement db_organization_policy_statement = {
    .name = "organization_policy",
    .sql = "SELECT quarantine_clones FROM organization WHERE id = $1",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_organization_set_policy_statement = {
    .name = "organization_set_policy",
    .sql = "UPDATE organization SET quarantine_clones = $2 WHERE id = $1 RETURNING 1",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BOOL},
};

const struct db_statement db_organization_list_statement = {
    .name = "organization_list",
    .sql = "SELECT " ORGANIZATION_COLUMNS " FROM organization"
           " WHERE id > coalesce((SELECT a.id FROM organization a WHERE a.public_id = $1), 0)"
           " ORDER BY id LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT8},
};

const struct db_statement db_organization_client_add_statement = {
    .name = "organization_client_add",
    .sql = "WITH server AS (SELECT id FROM peer WHERE kind = 'application_server' AND name = $6"
           "   AND revoked_at IS NULL),"
           " made AS (INSERT INTO client (id, organization_id, name, roles, secret_hash, peer_id)"
           "  SELECT $1, $2, $3, $4, $5, (SELECT id FROM server)"
           "   WHERE $6 IS NULL OR EXISTS (SELECT FROM server)"
           "  ON CONFLICT (peer_id) WHERE revoked_at IS NULL DO NOTHING RETURNING created_at)"
           " SELECT (SELECT " DB_UTC("created_at") " FROM made), EXISTS (SELECT FROM server)",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_BYTEA, DB_INT8, DB_TEXT, DB_INT4, DB_BYTEA, DB_TEXT},
};

/* One row: a SAN is one peer's, and that one client. */
const struct db_statement db_certificate_holder_find_statement = {
    .name = "certificate_holder_find",
    .sql = "SELECT p.trust_anchor, p.crl, p.name, c.id, c.organization_id, c.roles, o.public_id,"
           "  o.claim_code_length"
           " FROM peer p LEFT JOIN client c ON c.peer_id = p.id AND c.revoked_at IS NULL"
           " LEFT JOIN organization o ON o.id = c.organization_id"
           " WHERE p.san = $1 AND p.revoked_at IS NULL",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};

/* By age and id: two may be of one moment. */
const struct db_statement db_organization_client_list_statement = {
    .name = "organization_client_list",
    .sql = "SELECT id, name, roles, " DB_UTC("created_at") ", " DB_UTC(
        "revoked_at") ", (SELECT p.name FROM peer p WHERE p.id = client.peer_id) FROM client WHERE organization_id = $1 AND ($2::bytea IS NULL OR (created_at, id) >"
                      "  (SELECT a.created_at, a.id FROM client a WHERE a.id = $2 AND a.organization_id = $1))"
                      " ORDER BY created_at, id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_INT8},
};

const struct db_statement db_organization_client_revoke_statement = {
    .name = "organization_client_revoke",
    .sql = "UPDATE client SET revoked_at = now()"
           " WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA},
};

int db_client_add(struct db *db, struct db_client *client)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, client->organization);
    db_param_bytes(p, client->id, sizeof(client->id));
    db_param_int(p, DB_INT4, client->roles);
    db_param_bytes(p, client->secret_hash, sizeof(client->secret_hash));
    r = db_run(db, DB_CLIENT_ADD, &rows);
    if (r < 0)
        return r;
    client->organization_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}

static void read_client(struct db_rows *rows, size_t row, struct db_client *ret)
{
    ret->organization_id = db_row_int(rows, row, 1, 1, INT64_MAX);
    db_row_text(rows, row, 2, ret->organization, sizeof(ret->organization));
    ret->roles = (unsigned)db_row_int(rows, row, 3, 0, INT32_MAX);
    db_row_bytes(rows, row, 4, ret->secret_hash, sizeof(ret->secret_hash));
    ret->revoked = db_row_bool(rows, row, 5);
    db_row_bytes(rows, row, 6, ret->organization_public_id, sizeof(ret->organization_public_id));
    ret->claim_code_length = (unsigned)db_row_int(rows, row, 7, 0, INT16_MAX);
}

int db_clients_find(
    struct db *db, const uint8_t *const *ids, size_t n, struct db_client *ret, bool *ret_found)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, ids[i], ACCOUNT_ID_LEN);
    if ((r = db_run(db, DB_CLIENT_FIND, &rows)) < 0)
        return r;
    memset(ret_found, 0, n * sizeof(*ret_found));
    for (size_t i = 0; i < rows.n; i++) {
        size_t at = (size_t)db_row_int(&rows, i, 0, 1, (int64_t)n);

        if (at == 0)
            break;
        ret[at - 1] = (struct db_client){0};
        memcpy(ret[at - 1].id, ids[at - 1], sizeof(ret->id));
        read_client(&rows, i, &ret[at - 1]);
        ret_found[at - 1] = true;
    }
    return db_rows_check(&rows);
}

int db_client_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_client *ret)
{
    struct db_client client;
    bool found;
    int r = db_clients_find(db, &id, 1, &client, &found);

    if (r < 0 || !found)
        return r < 0 ? r : 1;
    *ret = client;
    return 0;
}

int db_client_standing(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], bool *ret_revoked,
    bool *ret_allow_clear_keys)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    if ((r = db_run(db, DB_CLIENT_STANDING, &rows)) < 0)
        return r;
    *ret_revoked = db_row_bool(&rows, 0, 0);
    *ret_allow_clear_keys = db_row_bool(&rows, 0, 1);
    return db_rows_check(&rows);
}

static void read_organization(struct db_rows *rows, size_t row, struct db_organization *ret)
{
    *ret = (struct db_organization){0};
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    db_row_text(rows, row, 2, ret->name, sizeof(ret->name));
    ret->allow_clear_keys = db_row_bool(rows, row, 3);
    ret->subscription_required = db_row_bool(rows, row, 4);
    db_row_text(rows, row, 5, ret->created, sizeof(ret->created));
    ret->claim_code_length = (unsigned)db_row_int(rows, row, 6, 0, INT16_MAX);
    ret->orders_need_approval = db_row_bool(rows, row, 7);
    ret->allow_legacy_delivery = db_row_bool(rows, row, 8);
}

int db_organization_add(struct db *db, struct db_organization *organization)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, organization->name);
    db_param_int(p, DB_BOOL, organization->allow_clear_keys);
    db_param_int(p, DB_BOOL, organization->subscription_required);
    db_param_int(p, DB_INT2, organization->claim_code_length);
    db_param_int(p, DB_BOOL, organization->orders_need_approval);
    db_param_int(p, DB_BOOL, organization->allow_legacy_delivery);
    r = db_run(db, DB_ORGANIZATION_ADD, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_organization(&rows, 0, organization);
    return db_rows_check(&rows);
}

int db_organization_find(
    struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_organization *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    r = db_run(db, DB_ORGANIZATION_FIND, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_organization(&rows, 0, ret);
    return db_rows_check(&rows);
}

static void put_choice(struct db_params *p, const bool *choice)
{
    if (choice != NULL)
        db_param_int(p, DB_BOOL, *choice);
    else
        db_param_null(p, DB_BOOL);
}

int db_organization_set(struct db *db, int64_t row_id, const struct db_organization_change *change,
    struct db_organization *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, row_id);
    if (change->name != NULL)
        db_param_text(p, change->name);
    else
        db_param_null(p, DB_TEXT);
    put_choice(p, change->allow_clear_keys);
    put_choice(p, change->subscription_required);
    if (change->claim_code_length != NULL)
        db_param_int(p, DB_INT2, *change->claim_code_length);
    else
        db_param_null(p, DB_INT2);
    put_choice(p, change->orders_need_approval);
    put_choice(p, change->allow_legacy_delivery);
    r = db_run(db, DB_ORGANIZATION_SET, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_organization(&rows, 0, ret);
    return db_rows_check(&rows);
}

static void put_id_or_null(struct db_params *p, const uint8_t *id)
{
    if (id != NULL)
        db_param_bytes(p, id, ACCOUNT_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
}

int db_organization_policy(struct db *db, int64_t row_id, bool *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, row_id);
    if ((r = db_run(db, DB_ORGANIZATION_POLICY, &rows)) < 0)
        return r;
    *ret = db_row_bool(&rows, 0, 0);
    return db_rows_check(&rows);
}

int db_organization_set_policy(struct db *db, int64_t row_id, bool quarantine_clones)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, row_id);
    db_param_int(p, DB_BOOL, quarantine_clones);
    return db_run_quiet(db, DB_ORGANIZATION_SET_POLICY);
}

int db_organization_list(
    struct db *db, const uint8_t *after, struct db_organization *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    put_id_or_null(p, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    r = db_run(db, DB_ORGANIZATION_LIST, &rows);
    if (r < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_organization(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_organization_client_add(struct db *db, struct db_client *client)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, client->id, sizeof(client->id));
    db_param_int(p, DB_INT8, client->organization_id);
    db_param_text(p, client->name);
    db_param_int(p, DB_INT4, client->roles);
    db_param_bytes(p, client->secret_hash, sizeof(client->secret_hash));
    if (client->as_id[0] != '\0')
        db_param_text(p, client->as_id);
    else
        db_param_null(p, DB_TEXT);
    r = db_run(db, DB_ORGANIZATION_CLIENT_ADD, &rows);
    if (r < 0)
        return r;
    if (db_row_is_null(&rows, 0, 0))
        return db_row_bool(&rows, 0, 1) ? DB_CLIENT_PEER_TAKEN : DB_CLIENT_NO_PEER;
    db_row_text(&rows, 0, 0, client->created, sizeof(client->created));
    return db_rows_check(&rows);
}

int db_certificate_holder_find(struct db *db, const char *san, struct db_certificate_holder *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_client *client = &ret->client;
    int r;

    *ret = (struct db_certificate_holder){0};
    db_param_text(db_params_of(db), san);
    if ((r = db_run(db, DB_CERTIFICATE_HOLDER_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    ret->trust_anchor = db_row_text_new(&rows, 0, 0);
    ret->crl = db_row_text_new(&rows, 0, 1);
    ret->is_client = !db_row_is_null(&rows, 0, 3);
    if (ret->is_client) {
        db_row_text(&rows, 0, 2, client->as_id, sizeof(client->as_id));
        db_row_bytes(&rows, 0, 3, client->id, sizeof(client->id));
        client->organization_id = db_row_int(&rows, 0, 4, 1, INT64_MAX);
        client->roles = (unsigned)db_row_int(&rows, 0, 5, 0, INT32_MAX);
        db_row_bytes(
            &rows, 0, 6, client->organization_public_id, sizeof(client->organization_public_id));
        client->claim_code_length = (unsigned)db_row_int(&rows, 0, 7, 0, INT16_MAX);
    }
    return db_rows_check(&rows);
}

void db_certificate_holder_done(struct db_certificate_holder *holder)
{
    free(holder->trust_anchor);
    free(holder->crl);
    *holder = (struct db_certificate_holder){0};
}

int db_organization_client_list(struct db *db, int64_t organization_id, const uint8_t *after,
    struct db_client *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    put_id_or_null(p, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    r = db_run(db, DB_ORGANIZATION_CLIENT_LIST, &rows);
    if (r < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        ret[i] = (struct db_client){.organization_id = organization_id};
        db_row_bytes(&rows, i, 0, ret[i].id, sizeof(ret[i].id));
        db_row_text(&rows, i, 1, ret[i].name, sizeof(ret[i].name));
        ret[i].roles = (unsigned)db_row_int(&rows, i, 2, 0, INT32_MAX);
        db_row_text(&rows, i, 3, ret[i].created, sizeof(ret[i].created));
        db_row_text(&rows, i, 4, ret[i].revoked_at, sizeof(ret[i].revoked_at));
        ret[i].revoked = ret[i].revoked_at[0] != '\0';
        db_row_text(&rows, i, 5, ret[i].as_id, sizeof(ret[i].as_id));
    }
    return db_rows_check(&rows);
}

int db_organization_client_revoke(
    struct db *db, int64_t organization_id, const uint8_t id[static ACCOUNT_ID_LEN])
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    r = db_run(db, DB_ORGANIZATION_CLIENT_REVOKE, &rows);
    return r < 0 ? r : rows.n == 0;
}
