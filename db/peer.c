#include "db/peer.h"

#include "db/connection.h"
#include "db/peer_names.h"
#include <stdlib.h>

#define UTC(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

const struct db_statement db_kek_add_statement = {
    .name = "kek_add",
    .sql = "INSERT INTO kek (peer_kind, peer_id, class, label, is_current, kek_label, blob, tag)"
           " VALUES ($1, $2, $3, $4, false, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 7,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_BYTEA, DB_BYTEA},
};
/* Two statements: the partial unique index looks at each row as it is written. */
const struct db_statement db_kek_retire_statement = {
    .name = "kek_retire",
    .sql = "UPDATE kek SET is_current = false"
           " WHERE peer_kind = $1 AND peer_id = $2 AND class = $3 AND is_current",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 3,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT},
};
const struct db_statement db_kek_make_current_statement = {
    .name = "kek_make_current",
    .sql = "UPDATE kek SET is_current = true WHERE id = $1 RETURNING id",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};
const struct db_statement db_peer_list_statement = {
    .name = "peer_list",
    .sql = "SELECT name, (SELECT string_agg(encode(net_id, 'hex'), ',' ORDER BY net_id)"
           "  FROM peer_net_id WHERE peer_id = id), san, " UTC("created_at") ", " UTC(
               "revoked_at") ", (SELECT string_agg(encode(ns_id, 'hex'), ',' ORDER BY ns_id)"
                             "  FROM peer_ns_id WHERE peer_id = id), allow_plain_keys,"
                             " app_s_key = 'plain', session_key_id = 'omit', answer_url,"
                             " answer_credential FROM peer WHERE kind = $1 ORDER BY name, id",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_TEXT},
};
const struct db_statement db_peer_revoke_statement = {
    .name = "peer_revoke",
    .sql = "UPDATE peer SET revoked_at = now()"
           " WHERE kind = $1 AND name = $2 AND revoked_at IS NULL RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_TEXT, DB_TEXT},
};
const struct db_statement db_kek_list_statement = {
    .name = "kek_list",
    .sql = "SELECT peer_id, class, label, is_current, " UTC(
        "created_at") " FROM kek ORDER BY class, peer_id, id",
    .shape = DB_SHAPE_MANY,
};
/* Locked, so that it is not removed before it is current. */
const struct db_statement db_kek_find_statement = {
    .name = "kek_find",
    .sql = "SELECT id FROM kek WHERE peer_kind = $1 AND peer_id = $2 AND class = $3 AND label = $4"
           " FOR UPDATE",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 4,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT},
};
/* The DELETE looks at is_current again once it has the row: another may just have made it so. */
const struct db_statement db_kek_remove_statement = {
    .name = "kek_remove",
    .sql =
        "WITH found AS (SELECT id FROM kek"
        "  WHERE peer_kind = $1 AND peer_id = $2 AND class = $3 AND label = $4),"
        " gone AS (DELETE FROM kek USING found"
        "  WHERE kek.id = found.id AND (NOT kek.is_current OR $5 AND NOT EXISTS (SELECT FROM kek o"
        "   WHERE o.peer_kind = $1 AND o.peer_id = $2 AND o.class = $3 AND o.id <> found.id))"
        "  RETURNING kek.id)"
        " SELECT EXISTS (SELECT FROM gone) FROM found",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_BOOL},
};
const struct db_statement db_route_list_statement = {
    .name = "route_list",
    .sql = "SELECT prefix, prefix_len, " UTC("created_at") " FROM join_route"
                                                           " ORDER BY prefix, prefix_len",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_route_remove_statement = {
    .name = "route_remove",
    .sql = "DELETE FROM join_route WHERE prefix = $1 AND prefix_len = $2 RETURNING prefix_len",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT2},
};

int db_peer_list_load(struct db *db, enum peer_kind kind, struct db_peer_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_peer_list_done) struct db_peer_list list = {0};
    int r;

    db_param_text(db_params_of(db), db_peer_kind_name(kind));
    r = db_run(db, DB_PEER_LIST, &rows);
    if (r < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (!list.entries)
        return error_set_errno("list of peers");
    for (; list.n < rows.n; list.n++) {
        struct db_peer_entry *entry = &list.entries[list.n];

        entry->peer.kind = kind;
        db_row_text(&rows, list.n, 0, entry->peer.name, sizeof(entry->peer.name));
        entry->net_ids = db_row_text_new(&rows, list.n, 1);
        db_row_text(&rows, list.n, 2, entry->peer.san, sizeof(entry->peer.san));
        db_row_text(&rows, list.n, 3, entry->created, sizeof(entry->created));
        db_row_text(&rows, list.n, 4, entry->revoked, sizeof(entry->revoked));
        entry->ns_ids = db_row_text_new(&rows, list.n, 5);
        entry->peer.allow_plain_keys = db_row_bool(&rows, list.n, 6);
        entry->peer.app_s_key_plain = db_row_bool(&rows, list.n, 7);
        entry->peer.session_key_id_omit = db_row_bool(&rows, list.n, 8);
        db_row_text(&rows, list.n, 9, entry->peer.answer_url, sizeof(entry->peer.answer_url));
        db_row_text(&rows, list.n, 10, entry->peer.answer_credential,
            sizeof(entry->peer.answer_credential));
    }
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    *ret = list;
    list = (struct db_peer_list){0};
    return 0;
}

void db_peer_list_done(struct db_peer_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->entries[i].net_ids);
        free(list->entries[i].ns_ids);
    }
    free(list->entries);
    *list = (struct db_peer_list){0};
}

int db_peer_revoke(struct db *db, enum peer_kind kind, const char *name)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, db_peer_kind_name(kind));
    db_param_text(p, name);
    r = db_run(db, DB_PEER_REVOKE, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_kek_list_load(struct db *db, struct db_kek_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_kek_list_done) struct db_kek_list list = {0};
    int r;

    db_params_of(db);
    r = db_run(db, DB_KEK_LIST, &rows);
    if (r < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (!list.entries)
        return error_set_errno("list of KEKs");
    for (; list.n < rows.n; list.n++) {
        struct db_kek_entry *entry = &list.entries[list.n];

        db_row_text(&rows, list.n, 0, entry->peer_id, sizeof(entry->peer_id));
        entry->kek_class = db_row_kek_class(&rows, list.n, 1);
        db_row_text(&rows, list.n, 2, entry->label, sizeof(entry->label));
        entry->is_current = db_row_bool(&rows, list.n, 3);
        db_row_text(&rows, list.n, 4, entry->created, sizeof(entry->created));
    }
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    *ret = list;
    list = (struct db_kek_list){0};
    return 0;
}

void db_kek_list_done(struct db_kek_list *list)
{
    free(list->entries);
    *list = (struct db_kek_list){0};
}

/** Outcome 1: no such KEK. */
static int find_kek(struct db *db, const struct sealed_kek *kek, int64_t *ret_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_kek_peer(p, kek);
    db_param_text(p, kek->label);
    r = db_run(db, DB_KEK_FIND, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return 1;
    *ret_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}

/* One transaction: the label that `choose` makes or finds becomes the current one. Its outcome ends
 * it. */
static int make_current(struct db *db, const struct sealed_kek *kek,
    int (*choose)(struct db *db, const struct sealed_kek *kek, int64_t *ret_id))
{
    int64_t id = 0;
    int r;

    r = db_begin(db);
    if (r < 0)
        return r;
    r = choose(db, kek, &id);
    if (r == 0) {
        db_param_kek_peer(db_params_of(db), kek);
        r = db_run_quiet(db, DB_KEK_RETIRE);
    }
    if (r == 0) {
        db_param_int(db_params_of(db), DB_INT8, id);
        r = db_run_quiet(db, DB_KEK_MAKE_CURRENT);
    }
    if (r == 0)
        return db_commit(db);
    db_rollback(db);
    return r;
}

/** Outcome 1: the label is there already. */
static int kek_insert(struct db *db, const struct sealed_kek *kek, int64_t *ret_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_kek_peer(p, kek);
    db_param_text(p, kek->label);
    db_param_text(p, kek->key.kek_label);
    db_param_bytes(p, kek->key.blob, kek->key.blob_len);
    db_param_bytes(p, kek->key.tag, sizeof(kek->key.tag));
    r = db_run(db, DB_KEK_ADD, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return 1;
    *ret_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}

int db_kek_add(struct db *db, const struct sealed_kek *kek)
{
    return make_current(db, kek, kek_insert);
}

int db_kek_use(struct db *db, const struct sealed_kek *kek)
{
    return make_current(db, kek, find_kek);
}

int db_kek_revoke(struct db *db, const struct sealed_kek *kek, bool last)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    bool gone;
    int r;

    db_param_kek_peer(p, kek);
    db_param_text(p, kek->label);
    db_param_int(p, DB_BOOL, last);
    r = db_run(db, DB_KEK_REMOVE, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return DB_KEK_UNKNOWN;
    gone = db_row_bool(&rows, 0, 0);
    r = db_rows_check(&rows);
    return r < 0 ? r : gone ? 0 : DB_KEK_IS_CURRENT;
}

int db_route_list_load(struct db *db, struct db_route_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_route_list_done) struct db_route_list list = {0};
    int r;

    db_params_of(db);
    r = db_run(db, DB_ROUTE_LIST, &rows);
    if (r < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (!list.entries)
        return error_set_errno("list of routes");
    for (; list.n < rows.n; list.n++) {
        struct db_route_entry *entry = &list.entries[list.n];

        db_row_bytes(&rows, list.n, 0, entry->route.prefix.bytes, sizeof(struct eui64));
        entry->route.prefix_len = (unsigned)db_row_int(&rows, list.n, 1, 0, 64);
        db_row_text(&rows, list.n, 2, entry->created, sizeof(entry->created));
    }
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

int db_join_route_remove(struct db *db, const struct db_join_route *route)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_route(db_params_of(db), route);
    r = db_run(db, DB_ROUTE_REMOVE, &rows);
    return r < 0 ? r : rows.n == 0;
}
