#include "db/certificate.h"

#include "db/connection.h"

#define CERTIFICATE_SELECT                                                                                \
    "SELECT c.id, c.number, c.organization_id, o.public_id, c.name, " DB_UTC("c.created_at") ", " DB_UTC( \
        "c.revoked_at") ", coalesce(c.module_id, 0), m.number, c.prototype_quota, c.n_prototypes"         \
                        ", coalesce(m.organization_id, 0)"                                                \
                        " FROM certificate c JOIN organization o ON o.id = c.organization_id"             \
                        " LEFT JOIN certificate m ON m.id = c.module_id"

const struct db_statement db_certificate_add_statement = {
    .name = "certificate_add",
    .sql = "INSERT INTO certificate (number, kind, organization_id, name, module_id,"
           "  prototype_quota) VALUES ($1,"
           " CASE left($1, 1) WHEN 'M' THEN 'module' ELSE 'product' END, $2, $3, nullif($4, 0), $5)"
           " ON CONFLICT (number) DO NOTHING RETURNING id, " DB_UTC("created_at"),
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_TEXT, DB_INT8, DB_TEXT, DB_INT8, DB_INT4},
};
const struct db_statement db_certificate_find_statement = {
    .name = "certificate_find",
    .sql = CERTIFICATE_SELECT " WHERE c.number = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};
const struct db_statement db_certificate_list_statement = {
    .name = "certificate_list",
    .sql = CERTIFICATE_SELECT " WHERE ($1 = 0 OR c.organization_id = $1) AND c.id > $2"
                              " ORDER BY c.id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};
const struct db_statement db_certificate_revoke_statement = {
    .name = "certificate_revoke",
    .sql = "UPDATE certificate SET revoked_at = now() WHERE number = $1 AND revoked_at IS NULL"
           " RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_TEXT},
};

const struct db_statement db_certificate_set_quota_statement = {
    .name = "certificate_set_quota",
    .sql = "UPDATE certificate SET prototype_quota = $2 WHERE id = $1 AND kind = 'module'"
           " AND n_prototypes <= $2 AND revoked_at IS NULL RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_INT4},
};

static void read_certificate(struct db_rows *rows, size_t row, struct db_certificate *ret)
{
    *ret = (struct db_certificate){0};
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_text(rows, row, 1, ret->number, sizeof(ret->number));
    ret->organization_id = db_row_int(rows, row, 2, 1, INT64_MAX);
    db_row_bytes(rows, row, 3, ret->organization_public_id, sizeof(ret->organization_public_id));
    db_row_text(rows, row, 4, ret->name, sizeof(ret->name));
    db_row_text(rows, row, 5, ret->created, sizeof(ret->created));
    db_row_text(rows, row, 6, ret->revoked_at, sizeof(ret->revoked_at));
    ret->module_id = db_row_int(rows, row, 7, 0, INT64_MAX);
    db_row_text(rows, row, 8, ret->module, sizeof(ret->module));
    ret->prototype_quota = (uint32_t)db_row_int(rows, row, 9, 0, CERTIFICATE_QUOTA_MAX);
    ret->n_prototypes = (uint32_t)db_row_int(rows, row, 10, 0, CERTIFICATE_QUOTA_MAX);
    ret->module_organization_id = db_row_int(rows, row, 11, 0, INT64_MAX);
}

int db_certificate_add(struct db *db, struct db_certificate *certificate)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, certificate->number);
    db_param_int(p, DB_INT8, certificate->organization_id);
    db_param_text(p, certificate->name);
    db_param_int(p, DB_INT8, certificate->module_id);
    db_param_int(p, DB_INT4, certificate->prototype_quota);
    r = db_run(db, DB_CERTIFICATE_ADD, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    certificate->row_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    db_row_text(&rows, 0, 1, certificate->created, sizeof(certificate->created));
    return db_rows_check(&rows);
}

int db_certificate_find(struct db *db, const char *number, struct db_certificate *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_text(db_params_of(db), number);
    r = db_run(db, DB_CERTIFICATE_FIND, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_certificate(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_certificate_list(struct db *db, int64_t organization_id, int64_t after,
    struct db_certificate *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    r = db_run(db, DB_CERTIFICATE_LIST, &rows);
    if (r < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_certificate(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_certificate_set_quota(struct db *db, int64_t row_id, uint32_t prototype_quota)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, row_id);
    db_param_int(p, DB_INT4, prototype_quota);
    r = db_run(db, DB_CERTIFICATE_SET_QUOTA, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_certificate_revoke(struct db *db, const char *number)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_text(db_params_of(db), number);
    r = db_run(db, DB_CERTIFICATE_REVOKE, &rows);
    return r < 0 ? r : rows.n == 0;
}
