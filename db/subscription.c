#include "db/subscription.h"

#include "db/job_row.h"
#include <string.h>

static const char *const state_names[] = {
    [SUBSCRIPTION_UPCOMING] = "upcoming",
    [SUBSCRIPTION_RUNNING] = "running",
    [SUBSCRIPTION_ENDED] = "ended",
};
#define RENEWAL_NONE "none"
#define RENEWAL_AUTO "auto"
#define RENEWAL_MAX 5

/* `runs`: of the row, while that is still one of the table. */
#define COLUMNS(runs)                                                                              \
    "s.id, s.public_id, s.organization_id, s.seller_id, o.public_id, v.public_id, s.name,"         \
    " extract(epoch FROM s.starts_at)::int8, extract(epoch FROM s.ends_at)::int8,"                 \
    " " DB_UTC("s.starts_at") ", " DB_UTC("s.ends_at") ", " DB_UTC(                                \
        "s.created_at") ","                                                                        \
                        " s.n_places, s.n_used, s.notice_days, s.renewal,"                         \
                        " CASE WHEN s.starts_at > now() THEN 0 WHEN " runs " THEN 1 ELSE 2 END"
#define MADE "RETURNING *, subscription_runs(subscription) AS runs)"
#define TABLES                                                                                     \
    " JOIN organization o ON o.id = s.organization_id JOIN organization v ON v.id = s.seller_id"

/* $4 may be null: now. */
const struct db_statement db_subscription_add_statement = {
    .name = "subscription_add",
    .sql =
        "WITH t AS (SELECT coalesce(to_timestamp($4::int8), date_trunc('second', now())) AS starts_at,"
        "   to_timestamp($5::int8) AS ends_at),"
        " s AS (INSERT INTO subscription (organization_id, seller_id, name, starts_at, ends_at,"
        "  term_s, n_places, renewal, notice_days, notice_at, due_at)"
        "  SELECT $1, $2, $3, starts_at, ends_at, extract(epoch FROM ends_at - starts_at)::int8,"
        "   $6, $7, $8, ends_at - make_interval(days => $8), ends_at FROM t"
        "   WHERE ends_at - starts_at >= make_interval(secs => " DB_DECIMAL(
            DB_SUBSCRIPTION_TERM_MIN_S) ")"
                                        "  " MADE " SELECT " COLUMNS("s.runs") " FROM s" TABLES,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 8,
    .params = {DB_INT8, DB_INT8, DB_TEXT, DB_INT8, DB_INT8, DB_INT4, DB_TEXT, DB_INT4},
};

const struct db_statement db_subscription_find_statement = {
    .name = "subscription_find",
    .sql = "SELECT " COLUMNS(
        "subscription_runs(s)") " FROM subscription s" TABLES " WHERE s.public_id = $5"
                                " AND ($4 OR ($2 AND s.organization_id = $1) OR ($3 AND s.seller_id = $1))",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 5,
    .params = {DB_INT8, DB_BOOL, DB_BOOL, DB_BOOL, DB_BYTEA},
};

/* By an index each, in its order. */
const struct db_statement db_subscription_list_statement = {
    .name = "subscription_list",
    .sql = "SELECT " COLUMNS(
        "subscription_runs(s)") " FROM ("
                                "  (SELECT * FROM subscription WHERE $2 AND NOT $4 AND organization_id = $1 AND id < $5"
                                "    ORDER BY id DESC LIMIT $6)"
                                "  UNION ALL (SELECT * FROM subscription WHERE $3 AND NOT $4 AND seller_id = $1"
                                "    AND id < $5 AND NOT ($2 AND organization_id = $1) ORDER BY id DESC LIMIT $6)"
                                "  UNION ALL (SELECT * FROM subscription WHERE $4 AND id < $5 ORDER BY id DESC LIMIT $6)"
                                " ) u JOIN subscription s ON s.id = u.id" TABLES
                                " ORDER BY s.id DESC LIMIT $6",
    .shape = DB_SHAPE_MANY,
    .n_params = 6,
    .params = {DB_INT8, DB_BOOL, DB_BOOL, DB_BOOL, DB_INT8, DB_INT8},
};

/* One that has ended is brought back by another end or by renewal, and its devices follow. Its
 * owner is told once of an end, whatever else changes. */
const struct db_statement db_subscription_set_statement = {
    .name = "subscription_set",
    .sql =
        "WITH s AS (UPDATE subscription SET name = coalesce($2, name),"
        "  ends_at = coalesce(to_timestamp($3::int8), ends_at), n_places = coalesce($4, n_places),"
        "  renewal = coalesce($5, renewal), notice_days = coalesce($6, notice_days),"
        "  due_at = CASE WHEN to_timestamp($3::int8) <> ends_at THEN to_timestamp($3::int8)"
        "   WHEN $5 = 'auto' THEN ends_at ELSE due_at END,"
        "  walk = CASE WHEN due_at IS NULL AND (to_timestamp($3::int8) <> ends_at OR $5 = 'auto') THEN ''"
        "   ELSE walk END,"
        "  notice_at = CASE WHEN to_timestamp($3::int8) <> ends_at"
        "    THEN to_timestamp($3::int8) - make_interval(days => coalesce($6, notice_days))"
        "   WHEN notice_at IS NOT NULL"
        "    THEN ends_at - make_interval(days => coalesce($6, notice_days)) END"
        "  WHERE id = $1 AND n_used <= coalesce($4, n_places)"
        "   AND starts_at <= coalesce(to_timestamp($3::int8), ends_at) " MADE
        " SELECT " COLUMNS("s.runs") " FROM s" TABLES,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_INT8, DB_TEXT, DB_INT8, DB_INT4, DB_TEXT, DB_INT4},
};

/* A device comes before subscriptions, and these in the order of their numbers, as in every other
 * statement that locks them. Of a row that was waited for the newest version is judged. */
const struct db_statement db_subscription_take_statement = {
    .name = "subscription_take",
    .sql = "WITH held AS MATERIALIZED (SELECT d.dev_eui, (SELECT e.subscription_id"
           "    FROM device_entitlement e WHERE e.dev_eui = d.dev_eui) AS present"
           "   FROM device d WHERE d.dev_eui = $1 AND d.owner_id = $2 AND d.ownership = 'claimed'"
           "    AND d.credential <> 'scrapped' FOR NO KEY UPDATE),"
           " places AS MATERIALIZED (SELECT s.id, held.present, subscription_runs(s) AS runs,"
           "    s.n_used < s.n_places AS has_place FROM held JOIN subscription s"
           "    ON s.id = $3 OR s.id = held.present ORDER BY s.id FOR NO KEY UPDATE OF s),"
           " taken AS (INSERT INTO device_entitlement (dev_eui, subscription_id)"
           "   SELECT $1, id FROM places WHERE id = $3 AND runs"
           "    AND (has_place OR present IS NOT DISTINCT FROM id)"
           "   ON CONFLICT (dev_eui) DO UPDATE SET subscription_id = excluded.subscription_id,"
           "    taken_at = now() RETURNING 1)"
           " SELECT EXISTS (SELECT FROM held), EXISTS (SELECT FROM taken)",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 3,
    .params = {DB_BYTEA, DB_INT8, DB_INT8},
};

const struct db_statement db_subscription_give_back_statement = {
    .name = "subscription_give_back",
    .sql =
        "WITH held AS MATERIALIZED (SELECT dev_eui FROM device WHERE dev_eui = $1"
        "   AND owner_id = $2 AND ownership = 'claimed' FOR NO KEY UPDATE)"
        " DELETE FROM device_entitlement e USING held WHERE e.dev_eui = held.dev_eui RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT8},
};

const struct db_statement db_subscription_settle_statement = {
    .name = "subscription_settle",
    .sql = "SELECT ret_suspended, ret_resumed FROM entitlement_settle($1, $2)",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_BYTEA_ARRAY, DB_TEXT},
};

const struct db_statement db_subscription_hand_over_statement = {
    .name = "subscription_hand_over",
    .sql = "UPDATE device SET suspended_by = NULL WHERE dev_eui = ANY ($1)"
           " AND suspended_by IS NOT NULL",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_BYTEA_ARRAY},
};

/* What is told of one in an audit event and in a webhook's. */
#define ABOUT                                                                                      \
    "jsonb_build_object('subscription', encode(public_id, 'hex'), 'name', name,"                   \
    " 'ends_at', " DB_UTC("ends_at") ", 'renewal', renewal, 'devices', n_used)"
/* In the history of its owner, and of who sold it. */
#define TOLD(action, rows)                                                                         \
    "INSERT INTO audit_event (organization_id, request_id, action, object, detail)"                \
    " SELECT v.of_id, format('subscription-%s', id), " action ", encode(public_id, 'hex'), " ABOUT \
    " FROM " rows " CROSS JOIN LATERAL"                                                            \
    "  (SELECT organization_id AS of_id UNION SELECT seller_id) AS v"

const struct db_statement db_subscription_notice_statement = {
    .name = "subscription_notice",
    .sql =
        "WITH due AS MATERIALIZED (SELECT * FROM subscription WHERE notice_at <= now()"
        "   ORDER BY notice_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED),"
        " noticed AS (UPDATE subscription s SET notice_at = NULL FROM due WHERE s.id = due.id),"
        " told AS (" TOLD("'subscription.notice'",
            "due") ")"
                   " SELECT webhook_tell(organization_id, 128, 'subscription.ending', now(), " ABOUT
                   ")"
                   " FROM due",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* Of no end that its owner was not told of: another service may have that in its hands. By as many
 * terms as are over, however long no service ran. */
const struct db_statement db_subscription_due_statement = {
    .name = "subscription_due",
    .sql = "WITH due AS MATERIALIZED (SELECT *, CASE WHEN renewal = 'auto' THEN ends_at"
           "    + make_interval(secs => term_s * (1 + floor(extract(epoch FROM now() - ends_at)"
           "     / term_s))::float8) END AS next_at"
           "   FROM subscription WHERE due_at <= now() AND notice_at IS NULL"
           "   ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED),"
           " acted AS (UPDATE subscription s SET ends_at = coalesce(due.next_at, s.ends_at),"
           "   due_at = due.next_at, walk = CASE WHEN due.next_at IS NULL THEN '' ELSE s.walk END,"
           "   notice_at = due.next_at - make_interval(days => s.notice_days)"
           "   FROM due WHERE s.id = due.id RETURNING s.*),"
           " told AS (" TOLD("CASE WHEN due_at IS NULL THEN 'subscription.end'"
                             " ELSE 'subscription.renew' END",
               "acted") ")"
                        " SELECT due_at IS NOT NULL FROM acted",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_subscription_walk_statement = {
    .name = "subscription_walk",
    .sql = "SELECT ret_walked, ret_suspended, ret_resumed FROM subscription_walk($1)",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT4},
};

const struct db_statement db_organization_walk_statement = {
    .name = "organization_walk",
    .sql = "SELECT ret_walked, ret_suspended, ret_resumed FROM organization_walk($1)",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT4},
};

const char *db_subscription_state_text(enum db_subscription_state state)
{
    return state_names[state];
}

static int read_subscription(struct db_rows *rows, size_t row, struct db_subscription *ret)
{
    char renewal[RENEWAL_MAX];
    int column = 0;

    *ret = (struct db_subscription){0};
    ret->row_id = db_row_int(rows, row, column++, 1, INT64_MAX);
    db_row_bytes(rows, row, column++, ret->id, sizeof(ret->id));
    ret->organization_id = db_row_int(rows, row, column++, 1, INT64_MAX);
    ret->seller_id = db_row_int(rows, row, column++, 1, INT64_MAX);
    db_row_bytes(rows, row, column++, ret->organization, sizeof(ret->organization));
    db_row_bytes(rows, row, column++, ret->seller, sizeof(ret->seller));
    db_row_text(rows, row, column++, ret->name, sizeof(ret->name));
    ret->starts_s = db_row_int(rows, row, column++, INT64_MIN, INT64_MAX);
    ret->ends_s = db_row_int(rows, row, column++, INT64_MIN, INT64_MAX);
    db_row_text(rows, row, column++, ret->starts_at, sizeof(ret->starts_at));
    db_row_text(rows, row, column++, ret->ends_at, sizeof(ret->ends_at));
    db_row_text(rows, row, column++, ret->created_at, sizeof(ret->created_at));
    ret->n_places = (uint32_t)db_row_int(rows, row, column++, 1, INT32_MAX);
    ret->n_used = (uint32_t)db_row_int(rows, row, column++, 0, INT32_MAX);
    ret->notice_days = (uint32_t)db_row_int(rows, row, column++, 0, INT32_MAX);
    db_row_text(rows, row, column++, renewal, sizeof(renewal));
    ret->renews = strcmp(renewal, RENEWAL_AUTO) == 0;
    ret->state = (enum db_subscription_state)db_row_int(rows, row, column, 0, SUBSCRIPTION_ENDED);
    return db_rows_check(rows);
}

/* Of a statement that gives one row, or none: outcome 1. */
static int run_for_one(struct db *db, enum db_statement_id id, struct db_subscription *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = db_run(db, id, &rows);

    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    return read_subscription(&rows, 0, ret);
}

static const char *renewal_text(bool renews)
{
    return renews ? RENEWAL_AUTO : RENEWAL_NONE;
}

int db_subscription_add(struct db *db, struct db_subscription *subscription)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, subscription->organization_id);
    db_param_int(p, DB_INT8, subscription->seller_id);
    db_param_text(p, subscription->name);
    if (subscription->starts_s != 0)
        db_param_int(p, DB_INT8, subscription->starts_s);
    else
        db_param_null(p, DB_INT8);
    db_param_int(p, DB_INT8, subscription->ends_s);
    db_param_int(p, DB_INT4, subscription->n_places);
    db_param_text(p, renewal_text(subscription->renews));
    db_param_int(p, DB_INT4, subscription->notice_days);
    return run_for_one(db, DB_SUBSCRIPTION_ADD, subscription);
}

static void put_eye(struct db_params *p, const struct db_subscription_eye *eye)
{
    db_param_int(p, DB_INT8, eye->organization_id);
    db_param_int(p, DB_BOOL, eye->uses);
    db_param_int(p, DB_BOOL, eye->sells);
    db_param_int(p, DB_BOOL, eye->all);
}

int db_subscription_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN],
    const struct db_subscription_eye *eye, struct db_subscription *ret)
{
    struct db_params *p = db_params_of(db);

    put_eye(p, eye);
    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    return run_for_one(db, DB_SUBSCRIPTION_FIND, ret);
}

int db_subscription_list(struct db *db, const struct db_subscription_eye *eye, int64_t before,
    struct db_subscription *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    put_eye(p, eye);
    db_param_int(p, DB_INT8, before > 0 ? before : INT64_MAX);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_SUBSCRIPTION_LIST, &rows)) < 0)
        return r;
    for (size_t i = 0; r == 0 && i < rows.n; i++)
        r = read_subscription(&rows, i, &ret[i]);
    *ret_n = rows.n;
    return r;
}

int db_subscription_set(struct db *db, int64_t row_id, const struct db_subscription_change *change,
    struct db_subscription *ret)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, row_id);
    if (change->name != NULL)
        db_param_text(p, change->name);
    else
        db_param_null(p, DB_TEXT);
    if (change->ends_s != NULL)
        db_param_int(p, DB_INT8, *change->ends_s);
    else
        db_param_null(p, DB_INT8);
    if (change->n_places != NULL)
        db_param_int(p, DB_INT4, *change->n_places);
    else
        db_param_null(p, DB_INT4);
    if (change->renews != NULL)
        db_param_text(p, renewal_text(*change->renews));
    else
        db_param_null(p, DB_TEXT);
    if (change->notice_days != NULL)
        db_param_int(p, DB_INT4, *change->notice_days);
    else
        db_param_null(p, DB_INT4);
    return run_for_one(db, DB_SUBSCRIPTION_SET, ret);
}

int db_subscription_take(
    struct db *db, const struct eui64 *dev_eui, int64_t owner_id, int64_t row_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    bool is_held, is_taken;
    int r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_int(p, DB_INT8, owner_id);
    db_param_int(p, DB_INT8, row_id);
    if ((r = db_run(db, DB_SUBSCRIPTION_TAKE, &rows)) < 0)
        return r;
    is_held = db_row_bool(&rows, 0, 0);
    is_taken = db_row_bool(&rows, 0, 1);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return !is_held ? 2 : !is_taken;
}

/* Of a statement that finds its device, or does not: outcome 1. */
static int run_on_device(
    struct db *db, enum db_statement_id id, const struct eui64 *dev_eui, int64_t owner_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_int(p, DB_INT8, owner_id);
    r = db_run(db, id, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_subscription_give_back(struct db *db, const struct eui64 *dev_eui, int64_t owner_id)
{
    return run_on_device(db, DB_SUBSCRIPTION_GIVE_BACK, dev_eui, owner_id);
}

static void put_devices(struct db_params *p, const struct eui64 *dev_euis, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, dev_euis[i].bytes, sizeof(dev_euis[i].bytes));
}

int db_subscription_hand_over(struct db *db, const struct eui64 *dev_euis, size_t n)
{
    put_devices(db_params_of(db), dev_euis, n);
    return db_run_quiet(db, DB_SUBSCRIPTION_HAND_OVER);
}

int db_subscription_settle(struct db *db, const struct eui64 *dev_euis, size_t n,
    const char *request_id, size_t *ret_n_suspended)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    put_devices(p, dev_euis, n);
    db_param_text(p, request_id);
    if ((r = db_run(db, DB_SUBSCRIPTION_SETTLE, &rows)) < 0)
        return r;
    *ret_n_suspended = (size_t)db_row_int(&rows, 0, 0, 0, INT64_MAX);
    return db_rows_check(&rows);
}

static int notice(struct db *db, struct db_subscription_done *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, DB_SUBSCRIPTION_PIECE);
    if ((r = db_run(db, DB_SUBSCRIPTION_NOTICE, &rows)) < 0)
        return r;
    ret->n_noticed += rows.n;
    return rows.n == DB_SUBSCRIPTION_PIECE;
}

static int act_on_ends(struct db *db, struct db_subscription_done *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, DB_SUBSCRIPTION_PIECE);
    if ((r = db_run(db, DB_SUBSCRIPTION_DUE, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        if (db_row_bool(&rows, i, 0))
            ret->n_renewed++;
        else
            ret->n_ended++;
    }
    r = db_rows_check(&rows);
    return r < 0 ? r : rows.n == DB_SUBSCRIPTION_PIECE;
}

static int walk(struct db *db, enum db_statement_id id, struct db_subscription_done *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    bool any;
    int r;

    db_param_int(db_params_of(db), DB_INT4, DB_SUBSCRIPTION_PIECE);
    if ((r = db_run(db, id, &rows)) < 0)
        return r;
    any = db_row_int(&rows, 0, 0, 0, INT64_MAX) > 0;
    ret->n_suspended += (size_t)db_row_int(&rows, 0, 1, 0, INT64_MAX);
    ret->n_resumed += (size_t)db_row_int(&rows, 0, 2, 0, INT64_MAX);
    r = db_rows_check(&rows);
    return r < 0 ? r : any;
}

/* Who is told comes before what is done; and what renews is renewed before anything is suspended.
 */
int db_subscription_work(struct db *db, struct db_subscription_done *ret)
{
    int noticed, acted, walked, required;

    if ((noticed = notice(db, ret)) < 0)
        return noticed;
    if ((acted = act_on_ends(db, ret)) < 0)
        return acted;
    if ((walked = walk(db, DB_SUBSCRIPTION_WALK, ret)) < 0)
        return walked;
    if ((required = walk(db, DB_ORGANIZATION_WALK, ret)) < 0)
        return required;
    return noticed > 0 || acted > 0 || walked > 0 || required > 0;
}
