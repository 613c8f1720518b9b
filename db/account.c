#include "db/account.h"

#include "db/connection.h"

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
    .sql = "SELECT c.organization_id, o.name, c.roles, c.secret_hash, c.revoked_at IS NOT NULL"
           " FROM client c JOIN organization o ON o.id = c.organization_id WHERE c.id = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
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

int db_client_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_client *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_client client = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    r = db_run(db, DB_CLIENT_FIND, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return 1;
    for (size_t i = 0; i < ACCOUNT_ID_LEN; i++)
        client.id[i] = id[i];
    client.organization_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    db_row_text(&rows, 0, 1, client.organization, sizeof(client.organization));
    client.roles = (unsigned)db_row_int(&rows, 0, 2, 0, INT32_MAX);
    db_row_bytes(&rows, 0, 3, client.secret_hash, sizeof(client.secret_hash));
    client.revoked = db_row_bool(&rows, 0, 4);
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    *ret = client;
    return 0;
}
