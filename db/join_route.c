#include "db/join_route.h"

#include "db/connection.h"
#include "db/peer_names.h"
#include <stdlib.h>
#include <string.h>

/* Who changes whose JoinEUIs are waits for those who bring devices in, and they for him. */
#define OWNERS "hashtextextended('owners of JoinEUIs', 0)"

#define ROUTE_COLUMNS                                                                                \
    "r.prefix, r.prefix_len, r.kind, r.partner_id, r.organization_id, p.name, o.public_id, " DB_UTC( \
        "r.created_at")
#define WITH_NAMES                                                                                 \
    " LEFT JOIN partner p ON p.id = r.partner_id"                                                  \
    " LEFT JOIN organization o ON o.id = r.organization_id"

const struct db_statement db_route_list_statement = {
    .name = "route_list",
    .sql = "SELECT " ROUTE_COLUMNS " FROM join_route r" WITH_NAMES
           " WHERE $1::bytea IS NULL OR (r.prefix, r.prefix_len) > ($1, $2)"
           " ORDER BY r.prefix, r.prefix_len LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_BYTEA, DB_INT2, DB_INT8},
};
const struct db_statement db_route_find_statement = {
    .name = "route_find",
    .sql = "SELECT " ROUTE_COLUMNS " FROM join_route r" WITH_NAMES
           " WHERE r.prefix = $1 AND r.prefix_len = $2",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT2},
};
const struct db_statement db_route_lock_statement = {
    .name = "route_lock",
    .sql = "SELECT prefix_len FROM join_route WHERE prefix = $1 AND prefix_len = $2 FOR UPDATE",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT2},
};
/* The one that decides comes first; behind it the one that says whose the JoinEUI is. */
const struct db_statement db_route_longest_statement = {
    .name = "route_longest",
    .sql = "WITH found AS MATERIALIZED (SELECT * FROM join_routes_of($1)),"
           " r AS ((SELECT 0 AS place, * FROM found ORDER BY prefix_len DESC LIMIT 1) UNION ALL"
           "  (SELECT 1, * FROM found WHERE organization_id IS NOT NULL"
           "   ORDER BY prefix_len DESC LIMIT 1))"
           " SELECT " ROUTE_COLUMNS " FROM r" WITH_NAMES " ORDER BY r.place",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_BYTEA},
};
const struct db_statement db_route_add_statement = {
    .name = "route_add",
    .sql = "INSERT INTO join_route (prefix, prefix_len, kind, partner_id, organization_id)"
           " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING " DB_UTC("created_at"),
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA, DB_INT2, DB_TEXT, DB_INT8, DB_INT8},
};
const struct db_statement db_route_set_statement = {
    .name = "route_set",
    .sql = "UPDATE join_route SET kind = $3, partner_id = $4, organization_id = $5"
           " WHERE prefix = $1 AND prefix_len = $2 RETURNING prefix_len",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA, DB_INT2, DB_TEXT, DB_INT8, DB_INT8},
};
const struct db_statement db_route_remove_statement = {
    .name = "route_remove",
    .sql = "DELETE FROM join_route WHERE prefix = $1 AND prefix_len = $2 RETURNING prefix_len",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT2},
};
const struct db_statement db_net_id_spoken_statement = {
    .name = "net_id_spoken",
    .sql = "SELECT EXISTS (SELECT FROM peer_net_id n JOIN peer p ON p.id = n.peer_id"
           " WHERE n.net_id = $1 AND p.revoked_at IS NULL)",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};
const struct db_statement db_join_eui_owners_lock_statement = {
    .name = "join_eui_owners_lock",
    .sql = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(" OWNERS ")) AS held",
    .shape = DB_SHAPE_ONE,
};
const struct db_statement db_join_eui_owners_hold_statement = {
    .name = "join_eui_owners_hold",
    .sql = "SELECT 1 FROM (SELECT pg_advisory_xact_lock_shared(" OWNERS ")) AS held",
    .shape = DB_SHAPE_ONE,
};
const struct db_statement db_join_euis_of_others_statement = {
    .name = "join_euis_of_others",
    .sql = "SELECT i.ordinal::int4 FROM unnest($2::bytea[]) WITH ORDINALITY AS i(eui, ordinal)"
           " WHERE join_eui_organization(i.eui) <> $1",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA_ARRAY},
};

static void read_entry(struct db_rows *rows, size_t row, struct db_route_entry *ret)
{
    db_row_route(rows, row, 0, &ret->route);
    db_row_text(rows, row, 5, ret->partner, sizeof(ret->partner));
    if (!db_row_is_null(rows, row, 6))
        db_row_bytes(rows, row, 6, ret->organization, sizeof(ret->organization));
    db_row_text(rows, row, 7, ret->created, sizeof(ret->created));
}

int db_route_list_load(
    struct db *db, const struct db_join_route *after, size_t n_max, struct db_route_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_route_list_done) struct db_route_list list = {0};
    struct db_params *p = db_params_of(db);
    int r;

    if (after != NULL) {
        db_param_route(p, after);
    } else {
        db_param_null(p, DB_BYTEA);
        db_param_null(p, DB_INT2);
    }
    db_param_int(p, DB_INT8, (int64_t)n_max);
    r = db_run(db, DB_ROUTE_LIST, &rows);
    if (r < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (!list.entries)
        return error_set_errno("list of routes");
    for (; list.n < rows.n; list.n++)
        read_entry(&rows, list.n, &list.entries[list.n]);
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    *ret = list;
    list = (struct db_route_list){0};
    return 0;
}

void db_route_list_done(struct db_route_list *list)
{
    free(list->entries);
    *list = (struct db_route_list){0};
}

int db_join_route_find(struct db *db, const struct db_join_route *route, struct db_route_entry *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_route(db_params_of(db), route);
    if ((r = db_run(db, DB_ROUTE_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret = (struct db_route_entry){0};
    read_entry(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_join_route_longest(struct db *db, const struct eui64 *join_eui, struct db_route_entry *ret,
    struct db_route_entry *ret_owned)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    *ret = *ret_owned = (struct db_route_entry){0};
    db_param_bytes(db_params_of(db), join_eui->bytes, sizeof(join_eui->bytes));
    if ((r = db_run(db, DB_ROUTE_LONGEST, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_entry(&rows, 0, ret);
    if (rows.n > 1)
        read_entry(&rows, 1, ret_owned);
    return db_rows_check(&rows);
}

int db_join_route_add(
    struct db *db, const struct db_join_route *route, char ret_created[DB_TIME_TEXT_LEN + 1])
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p;
    int r;

    db_params_of(db);
    if (route->organization_id != 0 && (r = db_run_quiet(db, DB_JOIN_EUI_OWNERS_LOCK)) < 0)
        return r;
    p = db_params_of(db);
    db_param_route(p, route);
    db_param_route_target(p, route);
    r = db_run(db, DB_ROUTE_ADD, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    if (ret_created == NULL)
        return 0;
    db_row_text(&rows, 0, 0, ret_created, DB_TIME_TEXT_LEN + 1);
    return db_rows_check(&rows);
}

int db_join_route_lock(struct db *db, const struct db_join_route *route)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_route(db_params_of(db), route);
    r = db_run(db, DB_ROUTE_LOCK, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_join_route_set(struct db *db, const struct db_join_route *route)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p;
    int r;

    db_params_of(db);
    if ((r = db_run_quiet(db, DB_JOIN_EUI_OWNERS_LOCK)) < 0)
        return r;
    p = db_params_of(db);
    db_param_route(p, route);
    db_param_route_target(p, route);
    r = db_run(db, DB_ROUTE_SET, &rows);
    return r < 0 ? r : rows.n == 0;
}

/* What is behind it may have another owner then. */
int db_join_route_remove(struct db *db, const struct db_join_route *route)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run_quiet(db, DB_JOIN_EUI_OWNERS_LOCK)) < 0)
        return r;
    db_param_route(db_params_of(db), route);
    r = db_run(db, DB_ROUTE_REMOVE, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_net_id_is_spoken(struct db *db, const struct net_id *net_id, bool *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_bytes(db_params_of(db), net_id->bytes, sizeof(net_id->bytes));
    if ((r = db_run(db, DB_NET_ID_SPOKEN, &rows)) < 0)
        return r;
    *ret = db_row_bool(&rows, 0, 0);
    return db_rows_check(&rows);
}

int db_join_eui_owners_hold(struct db *db)
{
    db_params_of(db);
    return db_run_quiet(db, DB_JOIN_EUI_OWNERS_HOLD);
}

int db_join_euis_of_others(
    struct db *db, int64_t organization_id, const struct eui64 *join_euis, size_t n, bool *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    memset(ret, 0, n * sizeof(*ret));
    db_param_int(p, DB_INT8, organization_id);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, join_euis[i].bytes, sizeof(join_euis[i].bytes));
    if ((r = db_run(db, DB_JOIN_EUIS_OF_OTHERS, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        if (ordinal != 0)
            ret[ordinal - 1] = true;
    }
    return db_rows_check(&rows);
}
