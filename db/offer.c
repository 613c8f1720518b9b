#include "db/offer.h"

#include "db/connection.h"
#include "db/text.h"
#include <string.h>

static const char *const state_names[] = {
    [OFFER_OPEN] = "open",
    [OFFER_ACCEPTED] = "accepted",
    [OFFER_DECLINED] = "declined",
    [OFFER_WITHDRAWN] = "withdrawn",
    [OFFER_EXPIRED] = "expired",
};
#define N_STATES (sizeof(state_names) / sizeof(state_names[0]))

#define COLUMNS                                                                                    \
    "o.id, o.public_id, o.dev_eui, o.from_id, o.to_id, f.public_id, t.public_id,"                  \
    " CASE WHEN o.state = 'open' AND o.expires_at <= now() THEN 'expired' ELSE o.state END,"       \
    " " DB_UTC("o.created_at") ", " DB_UTC("o.expires_at")
#define TABLES " JOIN organization f ON f.id = o.from_id JOIN organization t ON t.id = o.to_id"

const struct db_statement db_offer_add_statement = {
    .name = "offer_add",
    .sql = "WITH o AS (INSERT INTO offer (dev_eui, from_id, to_id, expires_at)"
           "  SELECT dev_eui, $2, $3, now() + make_interval(secs => $4::int8)"
           "   FROM unnest($1::bytea[]) WITH ORDINALITY AS i(dev_eui, ordinal) ORDER BY ordinal"
           "  ON CONFLICT (dev_eui) WHERE state = 'open' DO NOTHING RETURNING *)"
           " SELECT " COLUMNS " FROM o" TABLES " ORDER BY o.id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_BYTEA_ARRAY, DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_offer_find_statement = {
    .name = "offer_find",
    .sql = "SELECT " COLUMNS " FROM offer o" TABLES
           " WHERE o.public_id = $1 AND $2 IN (o.from_id, o.to_id)",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT8},
};

/* By two indexes, each in its order. */
const struct db_statement db_offer_list_statement = {
    .name = "offer_list",
    .sql =
        "SELECT " COLUMNS " FROM (("
        "   SELECT * FROM offer WHERE from_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3)"
        "  UNION ALL ("
        "   SELECT * FROM offer WHERE to_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3)) o" TABLES
        " ORDER BY o.id DESC LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_offer_end_statement = {
    .name = "offer_end",
    .sql = "UPDATE offer SET state = $2, changed_at = now()"
           " WHERE id = $1 AND state = 'open' AND (expires_at > now() OR $2 <> 'accepted')"
           " RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_TEXT},
};

/* Devices first and in the order of their DevEUIs, as in every statement that changes them. */
const struct db_statement db_offer_expire_statement = {
    .name = "offer_expire",
    .sql = "WITH due AS MATERIALIZED (SELECT o.id, o.public_id, o.dev_eui, o.from_id, o.to_id"
           "   FROM offer o"
           "   JOIN device d ON d.dev_eui = o.dev_eui"
           "  WHERE o.state = 'open' AND o.expires_at <= now() AND d.ownership = 'offered'"
           "  ORDER BY d.dev_eui LIMIT $1 FOR NO KEY UPDATE OF d, o SKIP LOCKED),"
           " freed AS (UPDATE device d SET ownership = 'claimed' FROM due"
           "  WHERE d.dev_eui = due.dev_eui),"
           " told AS (INSERT INTO audit_event (organization_id, request_id, action, object, detail)"
           "  SELECT v.of_id, format('expired-%s', id), 'device.offer.expire',"
           "   device_text(dev_eui), jsonb_build_object('offer', encode(public_id, 'hex'))"
           "  FROM due CROSS JOIN LATERAL (VALUES (due.from_id), (due.to_id)) AS v(of_id))"
           " UPDATE offer o SET state = 'expired', changed_at = now() FROM due WHERE o.id = due.id"
           " RETURNING o.id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_offer_purge_statement = {
    .name = "offer_purge",
    .sql = "DELETE FROM offer WHERE id IN (SELECT id FROM offer WHERE state <> 'open'"
           "  AND changed_at < now() - make_interval(days => $1) ORDER BY changed_at LIMIT $2)"
           " RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT4, DB_INT8},
};

const char *db_offer_state_text(enum db_offer_state state)
{
    return state_names[state];
}

static int read_offer(struct db_rows *rows, size_t row, struct db_offer *ret)
{
    char state[12];
    unsigned i = 0;

    *ret = (struct db_offer){0};
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    db_row_bytes(rows, row, 2, ret->dev_eui.bytes, sizeof(ret->dev_eui.bytes));
    ret->from_id = db_row_int(rows, row, 3, 1, INT64_MAX);
    ret->to_id = db_row_int(rows, row, 4, 1, INT64_MAX);
    db_row_bytes(rows, row, 5, ret->from, sizeof(ret->from));
    db_row_bytes(rows, row, 6, ret->to, sizeof(ret->to));
    db_row_text(rows, row, 7, state, sizeof(state));
    db_row_text(rows, row, 8, ret->created_at, sizeof(ret->created_at));
    db_row_text(rows, row, 9, ret->expires_at, sizeof(ret->expires_at));
    while (i < N_STATES && strcmp(state_names[i], state) != 0)
        i++;
    if (i == N_STATES)
        return error_set(ERROR_INTERNAL, "database: an offer is in no state that is known");
    ret->state = (enum db_offer_state)i;
    return db_rows_check(rows);
}

int db_offer_add(struct db *db, struct db_offer *offers, size_t n, int64_t lifetime_s)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, offers[i].dev_eui.bytes, sizeof(offers[i].dev_eui.bytes));
    db_param_int(p, DB_INT8, offers[0].from_id);
    db_param_int(p, DB_INT8, offers[0].to_id);
    db_param_int(p, DB_INT8, lifetime_s);
    if ((r = db_run(db, DB_OFFER_ADD, &rows)) < 0 || rows.n != n)
        return r < 0 ? r : 1;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = read_offer(&rows, i, &offers[i]);
    return r;
}

int db_offer_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], int64_t organization_id,
    struct db_offer *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    db_param_int(p, DB_INT8, organization_id);
    if ((r = db_run(db, DB_OFFER_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    return read_offer(&rows, 0, ret);
}

int db_offer_list(struct db *db, int64_t organization_id, int64_t before, struct db_offer *ret,
    size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_int(p, DB_INT8, before > 0 ? before : INT64_MAX);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_OFFER_LIST, &rows)) < 0)
        return r;
    for (size_t i = 0; r == 0 && i < rows.n; i++)
        r = read_offer(&rows, i, &ret[i]);
    *ret_n = rows.n;
    return r;
}

int db_offer_end(struct db *db, int64_t row_id, enum db_offer_state state)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, row_id);
    db_param_text(p, db_offer_state_text(state));
    r = db_run(db, DB_OFFER_END, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_offer_expire(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, DB_OFFER_PIECE);
    if ((r = db_run(db, DB_OFFER_EXPIRE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}

int db_offer_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT4, DB_OFFER_DAYS);
    db_param_int(p, DB_INT8, DB_OFFER_PIECE);
    if ((r = db_run(db, DB_OFFER_PURGE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}
