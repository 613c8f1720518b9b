#include "db/partner.h"

#include "base/log.h"
#include "db/connection.h"
#include <stdlib.h>
#include <string.h>

/* A row for each NetID; a partner without one has one row with a null. */
const struct db_statement db_directory_partners_statement = {
    .name = "directory_partners",
    .sql = "SELECT p.id, p.name, p.url, p.credential, p.protocol_version = '1.1', p.is_async,"
           " p.timeout_ms, p.max_in_flight, p.token_hash, p.san, p.trust_anchor, p.crl, n.net_id"
           " FROM partner p LEFT JOIN partner_net_id n ON n.partner_id = p.id"
           " WHERE p.revoked_at IS NULL ORDER BY p.id, n.net_id",
    .shape = DB_SHAPE_MANY,
};
const struct db_statement db_partner_add_statement = {
    .name = "partner_add",
    .sql = "WITH made AS (INSERT INTO partner (name, url, protocol_version, credential, is_async,"
           "   timeout_ms, max_in_flight, token_hash, san, trust_anchor, crl)"
           "  SELECT $1, $2, CASE WHEN $3 THEN '1.1' ELSE '1.0' END, $4, $5, $6, $7, $8, $9, $10,"
           "   $11 WHERE NOT EXISTS (SELECT FROM peer WHERE san = $9 AND revoked_at IS NULL)"
           "  ON CONFLICT DO NOTHING RETURNING id),"
           " nets AS (INSERT INTO partner_net_id (partner_id, net_id)"
           "  SELECT DISTINCT made.id, n FROM made, unnest($12::bytea[]) AS n)"
           " SELECT id FROM made",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 12,
    .params = {DB_TEXT, DB_TEXT, DB_BOOL, DB_TEXT, DB_BOOL, DB_INT4, DB_INT4, DB_BYTEA, DB_TEXT,
        DB_TEXT, DB_TEXT, DB_BYTEA_ARRAY},
};

/* `pem`: two columns, trust_anchor and crl. */
#define PARTNER_COLUMNS(pem)                                                                       \
    "id, name, url, credential, protocol_version = '1.1', is_async, timeout_ms, max_in_flight,"    \
    " NULL::bytea, san, " pem ", (SELECT string_agg(encode(net_id, 'hex'), ','"                    \
    "  ORDER BY net_id) FROM partner_net_id WHERE partner_id = id), " DB_UTC(                      \
        "created_at") ", " DB_UTC("revoked_at")
const struct db_statement db_partner_list_statement = {
    .name = "partner_list",
    .sql = "SELECT " PARTNER_COLUMNS(
        "NULL::text, NULL::text") " FROM partner WHERE id > $1 ORDER BY id LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};
/* Of several the one that is good, else the one that was revoked last. */
const struct db_statement db_partner_find_statement = {
    .name = "partner_find",
    .sql = "SELECT " PARTNER_COLUMNS(
        "trust_anchor, crl") " FROM partner WHERE name = $1"
                             " ORDER BY revoked_at DESC NULLS FIRST, id DESC LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};
const struct db_statement db_partner_hold_statement = {
    .name = "partner_hold",
    .sql = "SELECT id FROM partner WHERE name = $1 AND revoked_at IS NULL FOR SHARE",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};
const struct db_statement db_partner_lock_statement = {
    .name = "partner_lock",
    .sql = "SELECT id FROM partner WHERE name = $1 AND revoked_at IS NULL FOR UPDATE",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};
/* Another's SAN is looked for first: a conflict ends the transaction. */
const struct db_statement db_partner_set_statement = {
    .name = "partner_set",
    .sql = "WITH changed AS (UPDATE partner SET url = $2,"
           "   protocol_version = CASE WHEN $3 THEN '1.1' ELSE '1.0' END, credential = $4,"
           "   is_async = $5, timeout_ms = $6, max_in_flight = $7,"
           "   token_hash = CASE WHEN $5 THEN coalesce($8, token_hash) END,"
           "   san = $9, trust_anchor = $10, crl = $11"
           "  WHERE id = $1 AND NOT EXISTS (SELECT FROM peer WHERE peer.san = $9"
           "    AND peer.revoked_at IS NULL)"
           "   AND NOT EXISTS (SELECT FROM partner o WHERE o.san = $9 AND o.revoked_at IS NULL"
           "    AND o.id <> $1) RETURNING id),"
           " gone AS (DELETE FROM partner_net_id USING changed"
           "  WHERE partner_id = changed.id AND net_id <> ALL ($12::bytea[])),"
           " nets AS (INSERT INTO partner_net_id (partner_id, net_id)"
           "  SELECT changed.id, n FROM changed, unnest($12::bytea[]) AS n ON CONFLICT DO NOTHING)"
           " SELECT id FROM changed",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 12,
    .params = {DB_INT8, DB_TEXT, DB_BOOL, DB_TEXT, DB_BOOL, DB_INT4, DB_INT4, DB_BYTEA, DB_TEXT,
        DB_TEXT, DB_TEXT, DB_BYTEA_ARRAY},
};
const struct db_statement db_partner_route_statement = {
    .name = "partner_route",
    .sql = "SELECT r.prefix, r.prefix_len FROM join_route r JOIN partner p ON p.id = r.partner_id"
           " WHERE p.name = $1 AND p.revoked_at IS NULL ORDER BY r.prefix, r.prefix_len LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};
const struct db_statement db_partner_revoke_statement = {
    .name = "partner_revoke",
    .sql = "UPDATE partner SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL"
           " RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_TEXT},
};

static void read_partner(struct db_rows *rows, size_t row, struct db_partner *partner)
{
    db_row_text(rows, row, 1, partner->name, sizeof(partner->name));
    db_row_text(rows, row, 2, partner->url, sizeof(partner->url));
    db_row_text(rows, row, 3, partner->credential, sizeof(partner->credential));
    partner->is_1_1 = db_row_bool(rows, row, 4);
    partner->is_async = db_row_bool(rows, row, 5);
    partner->timeout_ms =
        (unsigned)db_row_int(rows, row, 6, PARTNER_TIMEOUT_MIN_MS, PARTNER_TIMEOUT_MAX_MS);
    partner->max_in_flight = (unsigned)db_row_int(rows, row, 7, 1, PARTNER_IN_FLIGHT_MAX);
    if (!db_row_is_null(rows, row, 8))
        db_row_bytes(rows, row, 8, partner->token_hash, sizeof(partner->token_hash));
    db_row_text(rows, row, 9, partner->san, sizeof(partner->san));
    partner->trust_anchor = db_row_text_new(rows, row, 10);
    partner->crl = db_row_text_new(rows, row, 11);
}

struct list {
    struct db_partner *partners;
    size_t n;
};

static void list_done(struct list *list)
{
    db_partners_free(list->partners, list->n);
}

int db_partners_load(struct db *db, struct db_partner **ret, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(list_done) struct list list = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_DIRECTORY_PARTNERS, &rows)) < 0)
        return r;
    list.partners = calloc(rows.n + 1, sizeof(*list.partners));
    if (list.partners == NULL)
        return error_set_errno("partners");
    for (size_t i = 0; i < rows.n; i++) {
        int64_t id = db_row_int(&rows, i, 0, 1, INT64_MAX);
        struct db_partner *partner = list.n > 0 ? &list.partners[list.n - 1] : NULL;

        if (partner == NULL || partner->id != id) {
            partner = &list.partners[list.n++];
            partner->id = id;
            read_partner(&rows, i, partner);
        }
        if (db_row_is_null(&rows, i, 12))
            continue;
        if (partner->n_net_ids == PEER_NET_IDS_MAX) {
            /* One partner's surplus must not keep every other change from being seen. */
            log_error("partner %s: only the first %d of its NetIDs are used", partner->name,
                PEER_NET_IDS_MAX);
            continue;
        }
        db_row_bytes(
            &rows, i, 12, partner->net_ids[partner->n_net_ids++].bytes, sizeof(struct net_id));
    }
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    *ret = list.partners;
    *ret_n = list.n;
    list = (struct list){0};
    return 0;
}

void db_partners_free(struct db_partner *partners, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(partners[i].trust_anchor);
        free(partners[i].crl);
    }
    free(partners);
}

bool db_partner_takes(const struct db_partner *partner, const struct net_id *net_id)
{
    for (size_t i = 0; i < partner->n_net_ids; i++)
        if (memcmp(&partner->net_ids[i], net_id, sizeof(*net_id)) == 0)
            return true;
    return partner->n_net_ids == 0;
}

static void put_text_or_null(struct db_params *p, const char *text)
{
    if (text != NULL && text[0] != '\0')
        db_param_text(p, text);
    else
        db_param_null(p, DB_TEXT);
}

/* URL to maximum in flight: what add and set say alike. */
static void put_way(struct db_params *p, const struct db_partner *partner)
{
    db_param_text(p, partner->url);
    db_param_int(p, DB_BOOL, partner->is_1_1);
    put_text_or_null(p, partner->credential);
    db_param_int(p, DB_BOOL, partner->is_async);
    db_param_int(p, DB_INT4, partner->timeout_ms);
    db_param_int(p, DB_INT4, partner->max_in_flight);
}

/* Token, trust and NetIDs. */
static void put_identity(struct db_params *p, const struct db_partner *partner, bool has_token)
{
    if (has_token)
        db_param_bytes(p, partner->token_hash, sizeof(partner->token_hash));
    else
        db_param_null(p, DB_BYTEA);
    put_text_or_null(p, partner->san);
    put_text_or_null(p, partner->trust_anchor);
    put_text_or_null(p, partner->crl);
    db_param_array(p, DB_BYTEA_ARRAY, partner->n_net_ids);
    for (size_t i = 0; i < partner->n_net_ids; i++)
        db_element_bytes(p, partner->net_ids[i].bytes, sizeof(partner->net_ids[i].bytes));
}

int db_partner_add(struct db *db, struct db_partner *partner)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, partner->name);
    put_way(p, partner);
    put_identity(p, partner, partner->is_async);
    if ((r = db_run(db, DB_PARTNER_ADD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    partner->id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}

int db_partner_set(struct db *db, const struct db_partner *partner, bool new_token)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, partner->id);
    put_way(p, partner);
    put_identity(p, partner, new_token);
    r = db_run(db, DB_PARTNER_SET, &rows);
    return r < 0 ? r : rows.n == 0;
}

/* "000013,000024" */
static void read_net_ids(struct db_rows *rows, size_t row, int column, struct db_partner *partner)
{
    char text[PEER_NET_IDS_MAX * (NET_ID_TEXT_LEN + 1) + 1];

    db_row_text(rows, row, column, text, sizeof(text));
    for (const char *at = text; *at != '\0' && partner->n_net_ids < PEER_NET_IDS_MAX;) {
        size_t len = strcspn(at, ",");

        if (!net_id_parse(at, len, &partner->net_ids[partner->n_net_ids++]))
            rows->failed = true;
        at += len + (at[len] == ',');
    }
}

static void read_entry(struct db_rows *rows, size_t row, struct db_partner_entry *ret)
{
    ret->partner.id = db_row_int(rows, row, 0, 1, INT64_MAX);
    read_partner(rows, row, &ret->partner);
    read_net_ids(rows, row, 12, &ret->partner);
    db_row_text(rows, row, 13, ret->created, sizeof(ret->created));
    db_row_text(rows, row, 14, ret->revoked, sizeof(ret->revoked));
}

static void free_trust(struct db_partner *partner)
{
    free(partner->trust_anchor);
    free(partner->crl);
    partner->trust_anchor = partner->crl = NULL;
}

int db_partner_list_load(struct db *db, int64_t after, size_t n_max, struct db_partner_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_partner_list_done) struct db_partner_list list = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_PARTNER_LIST, &rows)) < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (list.entries == NULL)
        return error_set_errno("list of partners");
    for (; list.n < rows.n; list.n++)
        read_entry(&rows, list.n, &list.entries[list.n]);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    *ret = list;
    list = (struct db_partner_list){0};
    return 0;
}

void db_partner_list_done(struct db_partner_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free_trust(&list->entries[i].partner);
    free(list->entries);
    *list = (struct db_partner_list){0};
}

int db_partner_find(struct db *db, const char *name, struct db_partner_entry *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    *ret = (struct db_partner_entry){0};
    db_param_text(db_params_of(db), name);
    if ((r = db_run(db, DB_PARTNER_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_entry(&rows, 0, ret);
    return db_rows_check(&rows);
}

void db_partner_entry_done(struct db_partner_entry *entry)
{
    free_trust(&entry->partner);
    *entry = (struct db_partner_entry){0};
}

int db_partner_hold(struct db *db, const char *name, int64_t *ret_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_text(db_params_of(db), name);
    if ((r = db_run(db, DB_PARTNER_HOLD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}

int db_partner_lock(struct db *db, const char *name)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_text(db_params_of(db), name);
    r = db_run(db, DB_PARTNER_LOCK, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_partner_revoke(
    struct db *db, const char *name, struct eui64 *ret_prefix, unsigned *ret_prefix_len)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0}, revoked = {0};
    int r;

    db_param_text(db_params_of(db), name);
    if ((r = db_run(db, DB_PARTNER_ROUTE, &rows)) < 0)
        return r;
    if (rows.n > 0) {
        db_row_bytes(&rows, 0, 0, ret_prefix->bytes, sizeof(ret_prefix->bytes));
        *ret_prefix_len = (unsigned)db_row_int(&rows, 0, 1, 0, 64);
        r = db_rows_check(&rows);
        return r < 0 ? r : DB_PARTNER_HAS_ROUTE;
    }
    db_param_text(db_params_of(db), name);
    r = db_run(db, DB_PARTNER_REVOKE, &revoked);
    return r < 0 ? r : revoked.n == 0 ? DB_PARTNER_UNKNOWN : 0;
}
