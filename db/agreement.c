#include "db/agreement.h"

#include "base/clock.h"
#include "base/error.h"
#include "db/connection.h"
#include <stdlib.h>
#include <string.h>

#define ALLOWS "CASE WHEN a.activation THEN 1 ELSE 0 END + CASE WHEN a.home_ns THEN 2 ELSE 0 END"
_Static_assert(AWAY_ACTIVATION == 1 && AWAY_HOME_NS == 2, "the statements say other numbers");
#define SECONDS(time) "ceil(extract(epoch FROM " time "))::int8"

#define COLUMNS                                                                                    \
    "a.id, a.home_net_id, a.visited_net_id, a.both_ways, coalesce(a.group_id, 0), " ALLOWS         \
    ", " SECONDS("a.starts_at") ", " SECONDS("a.ends_at")
#define VIEW                                                                                       \
    COLUMNS ", (SELECT g.name FROM roaming_group g WHERE g.id = a.group_id), " DB_UTC(             \
        "a.starts_at") ", " DB_UTC("a.ends_at") ", " DB_UTC("a.created_at")

enum column {
    ID,
    HOME,
    VISITED,
    BOTH_WAYS,
    GROUP_ID,
    ALLOWED,
    STARTS_S,
    ENDS_S,
    GROUP_NAME,
    STARTS_AT,
    ENDS_AT,
    CREATED_AT
};

const struct db_statement db_agreements_statement = {
    .name = "agreements",
    .sql = "SELECT " COLUMNS " FROM roaming_agreement a",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_agreement_members_statement = {
    .name = "agreement_members",
    .sql = "SELECT net_id, group_id FROM roaming_group_member",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_agreement_add_statement = {
    .name = "agreement_add",
    .sql =
        "WITH a AS (INSERT INTO roaming_agreement (home_net_id, visited_net_id, both_ways,"
        "   group_id, activation, home_ns, starts_at, ends_at)"
        "  SELECT $1, $2, $3, $4, $5, $6,"
        "   coalesce(to_timestamp($7::int8), date_trunc('second', now())), to_timestamp($8::int8)"
        "   WHERE (SELECT count(*) FROM roaming_agreement) < " DB_DECIMAL(
            DB_AGREEMENTS_MAX) "  RETURNING *) SELECT " VIEW " FROM a",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 8,
    .params = {DB_BYTEA, DB_BYTEA, DB_BOOL, DB_INT8, DB_BOOL, DB_BOOL, DB_INT8, DB_INT8},
};
const struct db_statement db_agreement_hold_statement = {
    .name = "agreement_hold",
    .sql = "SELECT " VIEW " FROM roaming_agreement a WHERE a.id = $1 FOR UPDATE OF a",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_INT8},
};
const struct db_statement db_agreement_list_statement = {
    .name = "agreement_list",
    .sql = "SELECT " VIEW " FROM roaming_agreement a WHERE a.id > $1 ORDER BY a.id LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};
const struct db_statement db_agreement_set_statement = {
    .name = "agreement_set",
    .sql = "WITH a AS (UPDATE roaming_agreement SET both_ways = $2, activation = $3, home_ns = $4,"
           "   starts_at = to_timestamp($5::int8), ends_at = to_timestamp($6::int8) WHERE id = $1"
           "  RETURNING *) SELECT " VIEW " FROM a",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_INT8, DB_BOOL, DB_BOOL, DB_BOOL, DB_INT8, DB_INT8},
};
const struct db_statement db_agreement_remove_statement = {
    .name = "agreement_remove",
    .sql = "DELETE FROM roaming_agreement WHERE id = $1 RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_group_add_statement = {
    .name = "group_add",
    .sql = "WITH room AS (SELECT count(*) < " DB_DECIMAL(
        DB_GROUPS_MAX) "   AS is_there FROM roaming_group),"
                       " made AS (INSERT INTO roaming_group (name) SELECT $1 FROM room WHERE is_there"
                       "  ON CONFLICT DO NOTHING RETURNING id),"
                       " members AS (INSERT INTO roaming_group_member (group_id, net_id)"
                       "  SELECT DISTINCT made.id, n FROM made, unnest($2::bytea[]) AS n)"
                       " SELECT (SELECT id FROM made), is_there FROM room",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_TEXT, DB_BYTEA_ARRAY},
};
/* An agreement that is made of it waits for this, and finds it gone. */
const struct db_statement db_group_hold_statement = {
    .name = "group_hold",
    .sql = "SELECT g.id, EXISTS (SELECT FROM roaming_agreement a WHERE a.group_id = g.id)"
           " FROM roaming_group g WHERE g.name = $1 FOR UPDATE OF g",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};
const struct db_statement db_group_set_statement = {
    .name = "group_set",
    .sql = "WITH gone AS (DELETE FROM roaming_group_member"
           "  WHERE group_id = $1 AND net_id <> ALL ($2::bytea[]))"
           " INSERT INTO roaming_group_member (group_id, net_id)"
           " SELECT DISTINCT $1, n FROM unnest($2::bytea[]) AS n ON CONFLICT DO NOTHING",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA_ARRAY},
};
const struct db_statement db_group_remove_statement = {
    .name = "group_remove",
    .sql = "DELETE FROM roaming_group WHERE id = $1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};
const struct db_statement db_group_list_statement = {
    .name = "group_list",
    .sql =
        "SELECT g.id, g.name, (SELECT string_agg(encode(m.net_id, 'hex'), ',' ORDER BY m.net_id)"
        "  FROM roaming_group_member m WHERE m.group_id = g.id), " DB_UTC(
            "g.created_at") " FROM roaming_group g WHERE ($1::text IS NULL OR g.name = $1) AND g.id > $2"
                            " ORDER BY g.id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_TEXT, DB_INT8, DB_INT8},
};

static void read_agreement(struct db_rows *rows, size_t row, struct device_agreement *ret)
{
    *ret = (struct device_agreement){.ends_s = AGREEMENT_NO_END};
    ret->group_id = db_row_int(rows, row, GROUP_ID, 0, INT64_MAX);
    if (ret->group_id == 0) {
        db_row_bytes(rows, row, HOME, ret->home.bytes, sizeof(ret->home.bytes));
        db_row_bytes(rows, row, VISITED, ret->visited.bytes, sizeof(ret->visited.bytes));
    }
    ret->both_ways = db_row_bool(rows, row, BOTH_WAYS);
    ret->allows = (unsigned)db_row_int(rows, row, ALLOWED, 1, AWAY_ALL);
    ret->starts_s = db_row_int(rows, row, STARTS_S, INT64_MIN, INT64_MAX);
    if (!db_row_is_null(rows, row, ENDS_S))
        ret->ends_s = db_row_int(rows, row, ENDS_S, INT64_MIN, INT64_MAX);
}

/* One that is both ways is two here. */
static int load_agreements(struct db *db, struct device_agreements *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_AGREEMENTS, &rows)) < 0)
        return r;
    if ((ret->agreements = calloc(2 * rows.n + 1, sizeof(*ret->agreements))) == NULL)
        return error_set_errno("agreements");
    for (size_t i = 0; i < rows.n; i++) {
        struct device_agreement *a = &ret->agreements[ret->n_agreements++];

        read_agreement(&rows, i, a);
        if (!a->both_ways)
            continue;
        a[1] = a[0];
        a[1].home = a[0].visited;
        a[1].visited = a[0].home;
        ret->n_agreements++;
    }
    return db_rows_check(&rows);
}

static int load_members(struct db *db, struct device_agreements *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_AGREEMENT_MEMBERS, &rows)) < 0)
        return r;
    if ((ret->members = calloc(rows.n + 1, sizeof(*ret->members))) == NULL)
        return error_set_errno("agreements");
    ret->n_members = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        db_row_bytes(&rows, i, 0, ret->members[i].net_id.bytes, sizeof(struct net_id));
        ret->members[i].group_id = db_row_int(&rows, i, 1, 1, INT64_MAX);
    }
    return db_rows_check(&rows);
}

int db_agreements_load(struct db *db, struct device_agreements *ret)
{
    CLEANUP(device_agreements_done) struct device_agreements a = {0};
    int r;

    if ((r = load_agreements(db, &a)) < 0 || (r = load_members(db, &a)) < 0)
        return r;
    device_agreements_sort(&a);
    *ret = a;
    a = (struct device_agreements){0};
    return 0;
}

static void read_view(struct db_rows *rows, size_t row, struct db_agreement *ret)
{
    *ret = (struct db_agreement){.id = db_row_int(rows, row, ID, 1, INT64_MAX)};
    read_agreement(rows, row, &ret->is);
    db_row_text(rows, row, GROUP_NAME, ret->group, sizeof(ret->group));
    db_row_text(rows, row, STARTS_AT, ret->starts_at, sizeof(ret->starts_at));
    db_row_text(rows, row, ENDS_AT, ret->ends_at, sizeof(ret->ends_at));
    db_row_text(rows, row, CREATED_AT, ret->created, sizeof(ret->created));
}

static int run_for_one(struct db *db, enum db_statement_id id, struct db_agreement *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = db_run(db, id, &rows);

    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_view(&rows, 0, ret);
    return db_rows_check(&rows);
}

static void put_net_id_unless(struct db_params *p, bool is_of_group, const struct net_id *net_id)
{
    if (is_of_group)
        db_param_null(p, DB_BYTEA);
    else
        db_param_bytes(p, net_id->bytes, sizeof(net_id->bytes));
}

static void put_int_unless(struct db_params *p, bool is_null, int64_t value)
{
    if (is_null)
        db_param_null(p, DB_INT8);
    else
        db_param_int(p, DB_INT8, value);
}

static void put_allowed(struct db_params *p, const struct device_agreement *a)
{
    db_param_int(p, DB_BOOL, (a->allows & AWAY_ACTIVATION) != 0);
    db_param_int(p, DB_BOOL, (a->allows & AWAY_HOME_NS) != 0);
}

int db_agreement_add(struct db *db, struct db_agreement *agreement)
{
    const struct device_agreement a = agreement->is;
    struct db_params *p = db_params_of(db);

    put_net_id_unless(p, a.group_id != 0, &a.home);
    put_net_id_unless(p, a.group_id != 0, &a.visited);
    db_param_int(p, DB_BOOL, a.both_ways);
    put_int_unless(p, a.group_id == 0, a.group_id);
    put_allowed(p, &a);
    put_int_unless(p, a.starts_s == 0, a.starts_s);
    put_int_unless(p, a.ends_s == AGREEMENT_NO_END, a.ends_s);
    return run_for_one(db, DB_AGREEMENT_ADD, agreement);
}

int db_agreement_hold(struct db *db, int64_t id, struct db_agreement *ret)
{
    db_param_int(db_params_of(db), DB_INT8, id);
    return run_for_one(db, DB_AGREEMENT_HOLD, ret);
}

int db_agreement_list(
    struct db *db, int64_t after, struct db_agreement *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_AGREEMENT_LIST, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_view(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_agreement_find(struct db *db, int64_t id, struct db_agreement *ret)
{
    size_t n = 0;
    int r = id > 0 ? db_agreement_list(db, id - 1, ret, 1, &n) : 0;

    return r < 0 ? r : n == 0 || ret->id != id;
}

int db_agreement_set(struct db *db, struct db_agreement *agreement)
{
    const struct device_agreement a = agreement->is;
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, agreement->id);
    db_param_int(p, DB_BOOL, a.both_ways);
    put_allowed(p, &a);
    db_param_int(p, DB_INT8, a.starts_s);
    put_int_unless(p, a.ends_s == AGREEMENT_NO_END, a.ends_s);
    return run_for_one(db, DB_AGREEMENT_SET, agreement);
}

int db_agreement_remove(struct db *db, int64_t id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, id);
    r = db_run(db, DB_AGREEMENT_REMOVE, &rows);
    return r < 0 ? r : rows.n == 0;
}

/* --- groups ----------------------------------------------------------------------------------- */

static void put_net_ids(struct db_params *p, const struct net_id *net_ids, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, net_ids[i].bytes, sizeof(net_ids[i].bytes));
}

int db_group_add(struct db *db, const char *name, const struct net_id *net_ids, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, name);
    put_net_ids(p, net_ids, n);
    if ((r = db_run(db, DB_GROUP_ADD, &rows)) < 0)
        return r;
    if (!db_row_is_null(&rows, 0, 0))
        return 0;
    return db_row_bool(&rows, 0, 1) ? DB_GROUP_TAKEN : DB_GROUP_TOO_MANY;
}

int db_group_hold(struct db *db, const char *name, int64_t *ret_id, bool *ret_has_agreement)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_text(db_params_of(db), name);
    if ((r = db_run(db, DB_GROUP_HOLD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    *ret_has_agreement = db_row_bool(&rows, 0, 1);
    return db_rows_check(&rows);
}

int db_group_set(struct db *db, int64_t id, const struct net_id *net_ids, size_t n)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, id);
    put_net_ids(p, net_ids, n);
    return db_run_quiet(db, DB_GROUP_SET);
}

int db_group_remove(struct db *db, int64_t id)
{
    db_param_int(db_params_of(db), DB_INT8, id);
    return db_run_quiet(db, DB_GROUP_REMOVE);
}

int db_group_list(
    struct db *db, const char *name, int64_t after, size_t n_max, struct db_group_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    if (name != NULL)
        db_param_text(p, name);
    else
        db_param_null(p, DB_TEXT);
    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_GROUP_LIST, &rows)) < 0)
        return r;
    if ((ret->groups = calloc(rows.n + 1, sizeof(*ret->groups))) == NULL)
        return error_set_errno("groups");
    ret->n = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        struct db_group *group = &ret->groups[i];

        group->id = db_row_int(&rows, i, 0, 1, INT64_MAX);
        db_row_text(&rows, i, 1, group->name, sizeof(group->name));
        group->net_ids = db_row_text_new(&rows, i, 2);
        db_row_text(&rows, i, 3, group->created, sizeof(group->created));
    }
    return db_rows_check(&rows);
}

void db_group_list_done(struct db_group_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->groups[i].net_ids);
    free(list->groups);
    *list = (struct db_group_list){0};
}
