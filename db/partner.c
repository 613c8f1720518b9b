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

int db_partner_add(struct db *db, struct db_partner *partner)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, partner->name);
    db_param_text(p, partner->url);
    db_param_int(p, DB_BOOL, partner->is_1_1);
    put_text_or_null(p, partner->credential);
    db_param_int(p, DB_BOOL, partner->is_async);
    db_param_int(p, DB_INT4, partner->timeout_ms);
    db_param_int(p, DB_INT4, partner->max_in_flight);
    if (partner->is_async)
        db_param_bytes(p, partner->token_hash, sizeof(partner->token_hash));
    else
        db_param_null(p, DB_BYTEA);
    put_text_or_null(p, partner->san);
    put_text_or_null(p, partner->trust_anchor);
    put_text_or_null(p, partner->crl);
    db_param_array(p, DB_BYTEA_ARRAY, partner->n_net_ids);
    for (size_t i = 0; i < partner->n_net_ids; i++)
        db_element_bytes(p, partner->net_ids[i].bytes, sizeof(partner->net_ids[i].bytes));
    if ((r = db_run(db, DB_PARTNER_ADD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    partner->id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}
