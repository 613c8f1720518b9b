#include "db/peer.h"

#include "db/connection.h"
#include "db/peer_names.h"
#include <stdlib.h>
#include <string.h>

const struct db_statement db_kek_add_statement = {
    .name = "kek_add",
    .sql =
        "INSERT INTO kek (peer_kind, peer_id, class, label, is_current, kek_label, blob, tag)"
        " VALUES ($1, $2, $3, $4, false, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING id, public_id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 7,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_BYTEA, DB_BYTEA},
};
/* Two statements: the partial unique index looks at each row as it is written. */
/* Who changes what wraps for a peer does it alone: two that make another KEK current at once would
 * each find none to retire but the old one. */
const struct db_statement db_kek_lock_statement = {
    .name = "kek_lock",
    .sql = "SELECT 1 FROM (SELECT pg_advisory_xact_lock("
           "hashtextextended(concat_ws(' ', 'kek', $1, $2, $3), 0))) AS held",
    .shape = DB_SHAPE_ONE,
    .n_params = 3,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT},
};
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
const struct db_statement db_kek_make_first_statement = {
    .name = "kek_make_first",
    .sql = "UPDATE kek SET is_current = true WHERE id = $1 AND NOT EXISTS"
           " (SELECT FROM kek other WHERE other.peer_kind = kek.peer_kind"
           "  AND other.peer_id = kek.peer_id AND other.class = kek.class AND other.is_current)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};
#define PEER_COLUMNS                                                                                  \
    "id, name, (SELECT string_agg(encode(net_id, 'hex'), ',' ORDER BY net_id)"                        \
    "  FROM peer_net_id WHERE peer_id = id), san, " DB_UTC("created_at") ", " DB_UTC(                 \
        "revoked_at") ", (SELECT string_agg(encode(ns_id, 'hex'), ',' ORDER BY ns_id)"                \
                      "  FROM peer_ns_id WHERE peer_id = id), allow_plain_keys, app_s_key = 'plain'," \
                      " session_key_id = 'omit', answer_url, answer_credential"
const struct db_statement db_peer_list_statement = {
    .name = "peer_list",
    .sql = "SELECT " PEER_COLUMNS " FROM peer WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_TEXT, DB_INT8, DB_INT8},
};
/* Of several the one that is good, else the one that was revoked last. */
const struct db_statement db_peer_find_statement = {
    .name = "peer_find",
    .sql = "SELECT " PEER_COLUMNS ", trust_anchor, crl FROM peer WHERE kind = $1 AND name = $2"
           " ORDER BY revoked_at DESC NULLS FIRST, id DESC LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_TEXT, DB_TEXT},
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
#define KEK_COLUMNS                                                                                \
    "id, public_id, peer_kind, peer_id, class, label, is_current, " DB_UTC("created_at")
const struct db_statement db_kek_list_statement = {
    .name = "kek_list",
    .sql = "SELECT " KEK_COLUMNS " FROM kek WHERE id > $1 ORDER BY id LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};
const struct db_statement db_kek_find_id_statement = {
    .name = "kek_find_id",
    .sql = "SELECT " KEK_COLUMNS " FROM kek WHERE public_id = $1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};
const struct db_statement db_kek_compare_statement = {
    .name = "kek_compare",
    .sql = "SELECT kek_label <> $5 OR blob = $6 FROM kek WHERE peer_kind = $1 AND peer_id = $2"
           " AND class = $3 AND label = $4",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 6,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_BYTEA},
};
/* Locked, so that it is not removed before it is current. */
const struct db_statement db_kek_hold_statement = {
    .name = "kek_hold",
    .sql = "SELECT id FROM kek WHERE public_id = $1 FOR UPDATE",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_BYTEA},
};
/* The DELETE looks at is_current again once it has the row: another may just have made it so. */
const struct db_statement db_kek_remove_statement = {
    .name = "kek_remove",
    .sql =
        "WITH found AS (SELECT id, peer_kind, peer_id, class FROM kek WHERE public_id = $1),"
        " gone AS (DELETE FROM kek USING found"
        "  WHERE kek.id = found.id AND (NOT kek.is_current OR $2 AND NOT EXISTS (SELECT FROM kek o"
        "   WHERE o.peer_kind = found.peer_kind AND o.peer_id = found.peer_id"
        "    AND o.class = found.class AND o.id <> found.id))"
        "  RETURNING kek.id)"
        " SELECT EXISTS (SELECT FROM gone) FROM found",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_BOOL},
};
static void read_peer(struct db_rows *rows, size_t row, struct db_peer_entry *entry)
{
    struct db_peer *peer = &entry->peer;

    peer->id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_text(rows, row, 1, peer->name, sizeof(peer->name));
    entry->net_ids = db_row_text_new(rows, row, 2);
    db_row_text(rows, row, 3, peer->san, sizeof(peer->san));
    db_row_text(rows, row, 4, entry->created, sizeof(entry->created));
    db_row_text(rows, row, 5, entry->revoked, sizeof(entry->revoked));
    entry->ns_ids = db_row_text_new(rows, row, 6);
    peer->allow_plain_keys = db_row_bool(rows, row, 7);
    peer->app_s_key_plain = db_row_bool(rows, row, 8);
    peer->session_key_id_omit = db_row_bool(rows, row, 9);
    db_row_text(rows, row, 10, peer->answer_url, sizeof(peer->answer_url));
    db_row_text(rows, row, 11, peer->answer_credential, sizeof(peer->answer_credential));
}

static void entry_done(struct db_peer_entry *entry)
{
    free(entry->net_ids);
    free(entry->ns_ids);
    free(entry->peer.trust_anchor);
    free(entry->peer.crl);
}

int db_peer_list_load(
    struct db *db, enum peer_kind kind, int64_t after, size_t n_max, struct db_peer_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_peer_list_done) struct db_peer_list list = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, db_peer_kind_name(kind));
    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    r = db_run(db, DB_PEER_LIST, &rows);
    if (r < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (!list.entries)
        return error_set_errno("list of peers");
    for (; list.n < rows.n; list.n++) {
        list.entries[list.n].peer.kind = kind;
        read_peer(&rows, list.n, &list.entries[list.n]);
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
    for (size_t i = 0; i < list->n; i++)
        entry_done(&list->entries[i]);
    free(list->entries);
    *list = (struct db_peer_list){0};
}

int db_peer_find(struct db *db, enum peer_kind kind, const char *name, struct db_peer_entry *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    *ret = (struct db_peer_entry){.peer.kind = kind};
    db_param_text(p, db_peer_kind_name(kind));
    db_param_text(p, name);
    r = db_run(db, DB_PEER_FIND, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_peer(&rows, 0, ret);
    ret->peer.trust_anchor = db_row_text_new(&rows, 0, 12);
    ret->peer.crl = db_row_text_new(&rows, 0, 13);
    return db_rows_check(&rows);
}

void db_peer_entry_done(struct db_peer_entry *entry)
{
    entry_done(entry);
    *entry = (struct db_peer_entry){0};
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

static void read_kek(struct db_rows *rows, size_t row, struct db_kek_entry *entry)
{
    entry->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, entry->id, sizeof(entry->id));
    entry->peer_kind = db_row_peer_kind(rows, row, 2);
    db_row_text(rows, row, 3, entry->peer_id, sizeof(entry->peer_id));
    entry->kek_class = db_row_kek_class(rows, row, 4);
    db_row_text(rows, row, 5, entry->label, sizeof(entry->label));
    entry->is_current = db_row_bool(rows, row, 6);
    db_row_text(rows, row, 7, entry->created, sizeof(entry->created));
}

int db_kek_list_load(struct db *db, int64_t after, size_t n_max, struct db_kek_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_kek_list_done) struct db_kek_list list = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    r = db_run(db, DB_KEK_LIST, &rows);
    if (r < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (!list.entries)
        return error_set_errno("list of KEKs");
    for (; list.n < rows.n; list.n++)
        read_kek(&rows, list.n, &list.entries[list.n]);
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    *ret = list;
    list = (struct db_kek_list){0};
    return 0;
}

int db_kek_find(struct db *db, const uint8_t id[static KEK_ID_LEN], struct db_kek_entry *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_bytes(db_params_of(db), id, KEK_ID_LEN);
    r = db_run(db, DB_KEK_FIND_ID, &rows);
    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_kek(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_kek_compare(struct db *db, const struct sealed_kek *kek, bool *ret_may_be_same)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_kek_peer(p, kek);
    db_param_text(p, kek->label);
    db_param_text(p, kek->key.kek_label);
    db_param_bytes(p, kek->key.blob, kek->key.blob_len);
    if ((r = db_run(db, DB_KEK_COMPARE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret_may_be_same = db_row_bool(&rows, 0, 0);
    return db_rows_check(&rows);
}

void db_kek_list_done(struct db_kek_list *list)
{
    free(list->entries);
    *list = (struct db_kek_list){0};
}

/* What changes, of the peer that holds it. */
struct kek_change {
    struct sealed_kek kek;  /* of one that is there: the peer and the class */
    uint8_t id[KEK_ID_LEN]; /* of one that is there; gets that of a new one */
    bool yields;            /* a new one: to one that is the current one */
    bool last;
};

/* One at a time for a peer, in the transaction that is open or in one of its own. An outcome of
 * `work` ends that. */
static int change_keks(
    struct db *db, struct kek_change *change, int (*work)(struct db *db, struct kek_change *change))
{
    bool is_own = !db->in_transaction;
    int r = 0;

    if (is_own)
        r = db_begin(db);
    if (r < 0)
        return r;
    db_param_kek_peer(db_params_of(db), &change->kek);
    r = db_run_quiet(db, DB_KEK_LOCK);
    if (r == 0)
        r = work(db, change);
    if (!is_own)
        return r;
    if (r == 0)
        return db_commit(db);
    db_rollback(db);
    return r;
}

static int make_current(struct db *db, const struct sealed_kek *kek, int64_t row_id)
{
    int r;

    db_param_kek_peer(db_params_of(db), kek);
    if ((r = db_run_quiet(db, DB_KEK_RETIRE)) < 0)
        return r;
    db_param_int(db_params_of(db), DB_INT8, row_id);
    return db_run_quiet(db, DB_KEK_MAKE_CURRENT);
}

static int make_first(struct db *db, int64_t row_id)
{
    db_param_int(db_params_of(db), DB_INT8, row_id);
    return db_run_quiet(db, DB_KEK_MAKE_FIRST);
}

/** Outcome 1: the label is there already. */
static int insert(struct db *db, struct kek_change *change)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    const struct sealed_kek *kek = &change->kek;
    int64_t row_id;
    int r;

    db_param_kek_peer(p, kek);
    db_param_text(p, kek->label);
    db_param_text(p, kek->key.kek_label);
    db_param_bytes(p, kek->key.blob, kek->key.blob_len);
    db_param_keyed(p, kek->key.tag, kek->key.tag_version);
    r = db_run(db, DB_KEK_ADD, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return 1;
    row_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    db_row_bytes(&rows, 0, 1, change->id, sizeof(change->id));
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return change->yields ? make_first(db, row_id) : make_current(db, kek, row_id);
}

/** Outcome 1: no such KEK. */
static int use(struct db *db, struct kek_change *change)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int64_t row_id;
    int r;

    db_param_bytes(db_params_of(db), change->id, sizeof(change->id));
    r = db_run(db, DB_KEK_HOLD, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return 1;
    row_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    r = db_rows_check(&rows);
    return r < 0 ? r : make_current(db, &change->kek, row_id);
}

static int kek_remove(struct db *db, struct kek_change *change)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    bool gone;
    int r;

    db_param_bytes(p, change->id, sizeof(change->id));
    db_param_int(p, DB_BOOL, change->last);
    r = db_run(db, DB_KEK_REMOVE, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return DB_KEK_UNKNOWN;
    gone = db_row_bool(&rows, 0, 0);
    r = db_rows_check(&rows);
    return r < 0 ? r : gone ? 0 : DB_KEK_IS_CURRENT;
}

/* Of one that is there: whose it is stands with it, and never changes. Outcome 1: no such KEK. */
static int find_change(struct db *db, const uint8_t id[static KEK_ID_LEN], struct kek_change *ret)
{
    struct db_kek_entry entry;
    int r = db_kek_find(db, id, &entry);

    if (r != 0)
        return r;
    *ret = (struct kek_change){.kek = {.peer_kind = entry.peer_kind, .kek_class = entry.kek_class}};
    memcpy(ret->kek.peer_id, entry.peer_id, sizeof(entry.peer_id));
    memcpy(ret->id, id, KEK_ID_LEN);
    return 0;
}

static int add(struct db *db, struct kek_change *change, uint8_t *ret_id)
{
    int r = change_keks(db, change, insert);

    if (r == 0 && ret_id != NULL)
        memcpy(ret_id, change->id, KEK_ID_LEN);
    return r;
}

int db_kek_add(struct db *db, const struct sealed_kek *kek, uint8_t *ret_id)
{
    struct kek_change change = {.kek = *kek};

    return add(db, &change, ret_id);
}

int db_kek_add_spare(struct db *db, const struct sealed_kek *kek, uint8_t *ret_id)
{
    struct kek_change change = {.kek = *kek, .yields = true};

    return add(db, &change, ret_id);
}

int db_kek_use(struct db *db, const uint8_t id[static KEK_ID_LEN])
{
    struct kek_change change;
    int r = find_change(db, id, &change);

    return r != 0 ? r : change_keks(db, &change, use);
}

int db_kek_revoke(struct db *db, const uint8_t id[static KEK_ID_LEN], bool last)
{
    struct kek_change change;
    int r = find_change(db, id, &change);

    if (r != 0)
        return r < 0 ? r : DB_KEK_UNKNOWN;
    change.last = last;
    return change_keks(db, &change, kek_remove);
}
