#include "db/directory.h"

#include "base/log.h"
#include "db/connection.h"
#include "db/peer_names.h"
#include <errno.h>
#include <string.h>

#define UNIQUE_VIOLATION "23505" /* SQLSTATE */

/* What the trigger san_is_of_one refuses, said before it ends the transaction. */
#define NOT_A_PARTNERS_SAN(san)                                                                    \
    "NOT EXISTS (SELECT FROM partner WHERE partner.san = " san " AND partner.revoked_at IS NULL)"

/* The table's words for what is a truth value here; null stays null. */
#define APP_S_KEY(plain) "CASE " plain " WHEN true THEN 'plain' WHEN false THEN 'wrapped' END"
#define SESSION_KEY_ID(omit) "CASE " omit " WHEN true THEN 'omit' WHEN false THEN 'send' END"

/* A row for each NetID; a peer without one has one row with a null. */
const struct db_statement db_directory_peers_statement = {
    .name = "directory_peers",
    .sql =
        "SELECT p.id, p.kind, p.name, p.token_hash, n.net_id, p.san, p.trust_anchor,"
        " p.crl, p.allow_plain_keys, p.app_s_key = 'plain', p.session_key_id = 'omit',"
        " p.answer_url, p.answer_credential FROM peer p LEFT JOIN peer_net_id n ON n.peer_id = p.id"
        " WHERE p.revoked_at IS NULL AND (p.token_hash IS NOT NULL OR p.san IS NOT NULL)"
        " ORDER BY p.id, n.net_id",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_directory_ns_ids_statement = {
    .name = "directory_ns_ids",
    .sql = "SELECT peer_id, ns_id FROM peer_ns_id ORDER BY peer_id, ns_id",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_directory_keks_statement = {
    .name = "directory_keks",
    .sql = "SELECT peer_kind, peer_id, class, label, kek_label, blob, tag FROM kek"
           " WHERE is_current ORDER BY id",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_directory_routes_statement = {
    .name = "directory_routes",
    .sql = "SELECT prefix, prefix_len, kind, partner_id, organization_id FROM join_route"
           " ORDER BY prefix, prefix_len",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_peer_add_statement = {
    .name = "peer_add",
    .sql =
        "WITH made AS (INSERT INTO peer (kind, name, token_hash, san, trust_anchor, crl,"
        "   allow_plain_keys, app_s_key, session_key_id, answer_url, answer_credential)"
        "  SELECT $1, $2, $3, $5, $6, $7, $9, " APP_S_KEY("$10") ", " SESSION_KEY_ID("$11") ", $12, $13 WHERE " NOT_A_PARTNERS_SAN(
            "$5") " ON CONFLICT DO NOTHING RETURNING id),"
                  " nets AS (INSERT INTO peer_net_id (peer_id, net_id)"
                  "  SELECT DISTINCT made.id, n FROM made, unnest($4::bytea[]) AS n),"
                  " servers AS (INSERT INTO peer_ns_id (peer_id, ns_id)"
                  "  SELECT DISTINCT made.id, n FROM made, unnest($8::bytea[]) AS n)"
                  " SELECT id FROM made",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 13,
    .params = {DB_TEXT, DB_TEXT, DB_BYTEA, DB_BYTEA_ARRAY, DB_TEXT, DB_TEXT, DB_TEXT,
        DB_BYTEA_ARRAY, DB_BOOL, DB_BOOL, DB_BOOL, DB_TEXT, DB_TEXT},
};
/* A parameter that is null leaves what is there; '' is none. A row without an id: the credential
 * has no URL to be shown at. */
const struct db_statement db_peer_set_statement = {
    .name = "peer_set",
    .sql =
        "WITH found AS (SELECT id, coalesce($7, answer_url, '') AS url,"
        "   CASE $7 WHEN '' THEN coalesce($8, '')"
        "    ELSE coalesce($8, answer_credential, '') END AS credential"
        "  FROM peer WHERE kind = $1 AND name = $2 AND revoked_at IS NULL FOR UPDATE),"
        " changed AS (UPDATE peer SET allow_plain_keys = coalesce($4, allow_plain_keys),"
        "   app_s_key = coalesce(" APP_S_KEY(
            "$5") ", app_s_key),"
                  "   session_key_id = coalesce(" SESSION_KEY_ID(
                      "$6") ", session_key_id),"
                            "   answer_url = nullif(url, ''), answer_credential = nullif(credential, '')"
                            "  FROM found WHERE peer.id = found.id AND (url <> '' OR credential = '')"
                            "  RETURNING peer.id),"
                            " gone AS (DELETE FROM peer_ns_id USING changed"
                            "  WHERE peer_id = changed.id AND ns_id <> ALL ($3::bytea[])),"
                            " servers AS (INSERT INTO peer_ns_id (peer_id, ns_id)"
                            "  SELECT changed.id, n FROM changed, unnest($3::bytea[]) AS n ON CONFLICT DO NOTHING),"
                            " left_nets AS (DELETE FROM peer_net_id USING changed"
                            "  WHERE peer_id = changed.id AND net_id <> ALL ($9::bytea[])),"
                            " nets AS (INSERT INTO peer_net_id (peer_id, net_id)"
                            "  SELECT changed.id, n FROM changed, unnest($9::bytea[]) AS n ON CONFLICT DO NOTHING)"
                            " SELECT (SELECT id FROM changed) FROM found",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 9,
    .params = {DB_TEXT, DB_TEXT, DB_BYTEA_ARRAY, DB_BOOL, DB_BOOL, DB_BOOL, DB_TEXT, DB_TEXT,
        DB_BYTEA_ARRAY},
};
const struct db_statement db_peer_lock_statement = {
    .name = "peer_lock",
    .sql = "SELECT id FROM peer WHERE kind = $1 AND name = $2 AND revoked_at IS NULL FOR UPDATE",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_TEXT, DB_TEXT},
};
/* Another's SAN is looked for first: a conflict ends the transaction. Two that take one at the same
 * moment: the second has that conflict. */
const struct db_statement db_peer_set_trust_statement = {
    .name = "peer_set_trust",
    .sql = "WITH found AS (SELECT id FROM peer"
           "  WHERE kind = $1 AND name = $2 AND revoked_at IS NULL FOR UPDATE),"
           " changed AS (UPDATE peer SET san = $3, trust_anchor = $4, crl = $5 FROM found"
           "  WHERE peer.id = found.id AND NOT EXISTS (SELECT FROM peer o"
           "   WHERE o.san = $3 AND o.revoked_at IS NULL AND o.id <> found.id)"
           "   AND " NOT_A_PARTNERS_SAN("$3") " RETURNING peer.id)"
                                              " SELECT (SELECT id FROM changed) FROM found",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT, DB_TEXT},
};
bool db_peer_has_net_id(const struct db_peer *peer, const struct net_id *net_id)
{
    for (size_t i = 0; i < peer->n_net_ids; i++)
        if (memcmp(&peer->net_ids[i], net_id, sizeof(*net_id)) == 0)
            return peer->kind == PEER_NETWORK_SERVER;
    return false;
}

bool db_peer_has_ns_id(const struct db_peer *peer, const struct eui64 *ns_id)
{
    for (size_t i = 0; i < peer->n_ns_ids; i++)
        if (memcmp(&peer->ns_ids[i], ns_id, sizeof(*ns_id)) == 0)
            return peer->kind == PEER_NETWORK_SERVER;
    return false;
}

void db_kek_peer_id(
    const struct net_id *net_id, const struct eui64 *ns_id, char ret[static PEER_ID_MAX + 1])
{
    (void)net_id_format(net_id, ret);
    if (ns_id == NULL)
        return;
    ret[NET_ID_TEXT_LEN] = '/';
    (void)eui64_format(ns_id, ret + NET_ID_TEXT_LEN + 1);
}

static int load_peers(struct db *db, struct db_directory *d)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    r = db_run(db, DB_DIRECTORY_PEERS, &rows);
    if (r < 0)
        return r;
    d->peers = calloc(rows.n + 1, sizeof(*d->peers));
    if (!d->peers)
        return error_set_errno("directory");
    for (size_t i = 0; i < rows.n; i++) {
        int64_t id = db_row_int(&rows, i, 0, 1, INT64_MAX);
        struct db_peer *peer = d->n_peers ? &d->peers[d->n_peers - 1] : NULL;

        if (!peer || peer->id != id) {
            peer = &d->peers[d->n_peers++];
            peer->id = id;
            peer->kind = db_row_peer_kind(&rows, i, 1);
            db_row_text(&rows, i, 2, peer->name, sizeof(peer->name));
            if (!db_row_is_null(&rows, i, 3))
                db_row_bytes(&rows, i, 3, peer->token_hash, sizeof(peer->token_hash));
            db_row_text(&rows, i, 5, peer->san, sizeof(peer->san));
            peer->trust_anchor = db_row_text_new(&rows, i, 6);
            peer->crl = db_row_text_new(&rows, i, 7);
            peer->allow_plain_keys = db_row_bool(&rows, i, 8);
            peer->app_s_key_plain = db_row_bool(&rows, i, 9);
            peer->session_key_id_omit = db_row_bool(&rows, i, 10);
            db_row_text(&rows, i, 11, peer->answer_url, sizeof(peer->answer_url));
            db_row_text(&rows, i, 12, peer->answer_credential, sizeof(peer->answer_credential));
        }
        if (db_row_is_null(&rows, i, 4))
            continue;
        if (peer->n_net_ids == PEER_NET_IDS_MAX) {
            /* One peer's surplus must not keep every other change from being seen. */
            log_error(
                "peer %s: only the first %d of its NetIDs are used", peer->name, PEER_NET_IDS_MAX);
            continue;
        }
        db_row_bytes(&rows, i, 4, peer->net_ids[peer->n_net_ids++].bytes, sizeof(struct net_id));
    }
    return db_rows_check(&rows);
}

/* The peers are there, by id. */
static int load_ns_ids(struct db *db, struct db_directory *d)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    size_t at = 0;
    int r;

    db_params_of(db);
    r = db_run(db, DB_DIRECTORY_NS_IDS, &rows);
    if (r < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t id = db_row_int(&rows, i, 0, 1, INT64_MAX);
        struct db_peer *peer;

        while (at < d->n_peers && d->peers[at].id < id)
            at++;
        if (at == d->n_peers || d->peers[at].id != id)
            continue; /* revoked, or made since the peers were read */
        peer = &d->peers[at];
        if (peer->n_ns_ids == PEER_NS_IDS_MAX) {
            log_error(
                "peer %s: only the first %d of its NSIDs are used", peer->name, PEER_NS_IDS_MAX);
            continue;
        }
        db_row_bytes(&rows, i, 1, peer->ns_ids[peer->n_ns_ids++].bytes, sizeof(struct eui64));
    }
    return db_rows_check(&rows);
}

static int load_keks(struct db *db, struct db_directory *d)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    r = db_run(db, DB_DIRECTORY_KEKS, &rows);
    if (r < 0)
        return r;
    d->keks = calloc(rows.n + 1, sizeof(*d->keks));
    if (!d->keks)
        return error_set_errno("directory");
    d->n_keks = rows.n;
    for (size_t i = 0; i < rows.n; i++) {
        struct sealed_kek *kek = &d->keks[i];

        kek->peer_kind = db_row_peer_kind(&rows, i, 0);
        db_row_text(&rows, i, 1, kek->peer_id, sizeof(kek->peer_id));
        kek->kek_class = db_row_kek_class(&rows, i, 2);
        db_row_text(&rows, i, 3, kek->label, sizeof(kek->label));
        db_row_text(&rows, i, 4, kek->key.kek_label, sizeof(kek->key.kek_label));
        kek->key.blob_len =
            (uint8_t)db_row_bytes_upto(&rows, i, 5, kek->key.blob, sizeof(kek->key.blob));
        db_row_keyed(&rows, i, 6, kek->key.tag, &kek->key.tag_version);
    }
    return db_rows_check(&rows);
}

static int load_routes(struct db *db, struct db_directory *d)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    r = db_run(db, DB_DIRECTORY_ROUTES, &rows);
    if (r < 0)
        return r;
    d->routes = calloc(rows.n + 1, sizeof(*d->routes));
    if (!d->routes)
        return error_set_errno("directory");
    d->n_routes = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        db_row_route(&rows, i, 0, &d->routes[i]);
    r = db_rows_check(&rows);
    return r < 0 ? r : db_route_table_build(d->routes, d->n_routes, &d->table);
}

int db_directory_load(struct db *db, struct db_directory *ret)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    int r;

    r = load_peers(db, &d);
    if (r == 0)
        r = load_ns_ids(db, &d);
    if (r == 0)
        r = load_keks(db, &d);
    if (r == 0)
        r = db_partners_load(db, &d.partners, &d.n_partners);
    if (r == 0)
        r = load_routes(db, &d);
    if (r == 0)
        r = db_agreements_load(db, &d.agreements);
    if (r < 0)
        return r;
    *ret = d;
    d = (struct db_directory){0};
    return 0;
}

void db_directory_done(struct db_directory *directory)
{
    for (size_t i = 0; i < directory->n_peers; i++) {
        free(directory->peers[i].trust_anchor);
        free(directory->peers[i].crl);
    }
    free(directory->peers);
    free(directory->keks);
    db_partners_free(directory->partners, directory->n_partners);
    free(directory->routes);
    db_route_table_free(directory->table);
    device_agreements_done(&directory->agreements);
    *directory = (struct db_directory){0};
}

bool db_directory_speaks(const struct db_directory *directory, const struct net_id *net_id)
{
    for (size_t i = 0; i < directory->n_peers; i++)
        if (db_peer_has_net_id(&directory->peers[i], net_id))
            return true;
    return false;
}

bool db_directory_has_as(const struct db_directory *directory, const char *as_id)
{
    for (size_t i = 0; i < directory->n_peers; i++)
        if (directory->peers[i].kind == PEER_APPLICATION_SERVER &&
            strcmp(directory->peers[i].name, as_id) == 0)
            return true;
    return false;
}

const struct db_join_route *db_directory_route(
    const struct db_directory *directory, const struct eui64 *join_eui)
{
    return db_route_table_find(directory->table, join_eui);
}

bool db_directory_routes(const struct db_directory *directory, const struct eui64 *join_eui)
{
    return db_route_is_local(db_directory_route(directory, join_eui));
}

int db_directory_listen(struct db *db)
{
    return db_listen(db, "cradle_directory");
}

int db_directory_wait(struct db *db, int timeout_ms)
{
    return db_wait(db, timeout_ms);
}

static void put_text_or_null(struct db_params *p, const char *text)
{
    if (text != NULL)
        db_param_text(p, text);
    else
        db_param_null(p, DB_TEXT);
}

static void put_net_ids(struct db_params *p, const struct db_peer *peer)
{
    db_param_array(p, DB_BYTEA_ARRAY, peer->n_net_ids);
    for (size_t i = 0; i < peer->n_net_ids; i++)
        db_element_bytes(p, peer->net_ids[i].bytes, sizeof(peer->net_ids[i].bytes));
}

static void put_ns_ids(struct db_params *p, const struct db_peer *peer)
{
    db_param_array(p, DB_BYTEA_ARRAY, peer->n_ns_ids);
    for (size_t i = 0; i < peer->n_ns_ids; i++)
        db_element_bytes(p, peer->ns_ids[i].bytes, sizeof(peer->ns_ids[i].bytes));
}

static void put_bool_or_null(struct db_params *p, bool present, bool value)
{
    if (present)
        db_param_int(p, DB_BOOL, value);
    else
        db_param_null(p, DB_BOOL);
}

int db_peer_add(struct db *db, const struct db_peer *peer)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, db_peer_kind_name(peer->kind));
    db_param_text(p, peer->name);
    db_param_bytes(p, peer->token_hash, sizeof(peer->token_hash));
    put_net_ids(p, peer);
    put_text_or_null(p, peer->san[0] != '\0' ? peer->san : NULL);
    put_text_or_null(p, peer->trust_anchor);
    put_text_or_null(p, peer->crl);
    put_ns_ids(p, peer);
    db_param_int(p, DB_BOOL, peer->allow_plain_keys);
    db_param_int(p, DB_BOOL, peer->app_s_key_plain);
    db_param_int(p, DB_BOOL, peer->session_key_id_omit);
    put_text_or_null(p, peer->answer_url[0] != '\0' ? peer->answer_url : NULL);
    put_text_or_null(p, peer->answer_credential[0] != '\0' ? peer->answer_credential : NULL);
    r = db_run(db, DB_PEER_ADD, &rows);
    if (r < 0)
        return r;
    return rows.n == 0;
}

int db_peer_lock(struct db *db, enum peer_kind kind, const char *name)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, db_peer_kind_name(kind));
    db_param_text(p, name);
    r = db_run(db, DB_PEER_LOCK, &rows);
    return r < 0 ? r : rows.n == 0 ? DB_PEER_UNKNOWN : 0;
}

int db_peer_set(struct db *db, const struct db_peer *peer, unsigned set)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, db_peer_kind_name(peer->kind));
    db_param_text(p, peer->name);
    if ((set & DB_PEER_NS_IDS) != 0)
        put_ns_ids(p, peer);
    else
        db_param_null(p, DB_BYTEA_ARRAY);
    put_bool_or_null(p, (set & DB_PEER_ALLOW_PLAIN_KEYS) != 0, peer->allow_plain_keys);
    put_bool_or_null(p, (set & DB_PEER_APP_S_KEY_PLAIN) != 0, peer->app_s_key_plain);
    put_bool_or_null(p, (set & DB_PEER_SESSION_KEY_ID_OMIT) != 0, peer->session_key_id_omit);
    put_text_or_null(p, (set & DB_PEER_ANSWER_URL) != 0 ? peer->answer_url : NULL);
    put_text_or_null(p, (set & DB_PEER_ANSWER_CREDENTIAL) != 0 ? peer->answer_credential : NULL);
    if ((set & DB_PEER_NET_IDS) != 0)
        put_net_ids(p, peer);
    else
        db_param_null(p, DB_BYTEA_ARRAY);
    r = db_run(db, DB_PEER_SET, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0)
        return DB_PEER_UNKNOWN;
    return db_row_is_null(&rows, 0, 0) ? DB_PEER_HAS_NO_URL : 0;
}

int db_peer_set_trust(struct db *db, const struct db_peer *peer)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, db_peer_kind_name(peer->kind));
    db_param_text(p, peer->name);
    put_text_or_null(p, peer->san[0] != '\0' ? peer->san : NULL);
    put_text_or_null(p, peer->trust_anchor);
    put_text_or_null(p, peer->crl);
    r = db_run(db, DB_PEER_SET_TRUST, &rows);
    if (r < 0)
        return strcmp(db->sqlstate, UNIQUE_VIOLATION) == 0 ? DB_PEER_SAN_RACE : r;
    if (rows.n == 0)
        return DB_PEER_UNKNOWN;
    return db_row_is_null(&rows, 0, 0) ? DB_PEER_SAN_TAKEN : 0;
}
