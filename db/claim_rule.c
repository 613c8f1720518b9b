#include "db/claim_rule.h"

#include "db/connection.h"
#include "db/record_row.h"
#include "db/text.h"
#include <string.h>

static const char *const state_names[] = {
    [RULE_OPEN] = "open",
    [RULE_ACTIVE] = "active",
    [RULE_FULL] = "full",
    [RULE_DECLINED] = "declined",
    [RULE_CANCELLED] = "cancelled",
    [RULE_EXPIRED] = "expired",
};
#define N_STATES (sizeof(state_names) / sizeof(state_names[0]))

#define COLUMNS                                                                                    \
    "r.id, r.public_id, r.batch_id, r.from_id, r.to_id, b.public_id, f.public_id, t.public_id,"    \
    " CASE WHEN r.state IN ('open', 'active') AND r.expires_at <= now() THEN 'expired'"            \
    "  ELSE r.state END,"                                                                          \
    " r.is_listed, r.max_devices, r.n_used, r.home_net_id, r.as_id, " DB_UTC(                      \
        "r.created_at") ", " DB_UTC("r.expires_at")
#define TABLES                                                                                     \
    " JOIN batch b ON b.id = r.batch_id JOIN organization f ON f.id = r.from_id"                   \
    " JOIN organization t ON t.id = r.to_id"

/* The predicate of the index device_never_owned, word by word. */
#define CLAIMABLE                                                                                  \
    "d.credential = 'activable' AND d.ownership = 'unowned' AND d.ownership_epoch = 0"             \
    " AND d.trust <> 'quarantined'"

/* An organization all of whose clients were revoked has nobody who could want it. */
#define STANDS(organization)                                                                       \
    "EXISTS (SELECT FROM client k WHERE k.organization_id = " organization                         \
    " AND k.revoked_at IS NULL)"
#define LIVE                                                                                       \
    "r.state = 'active' AND r.expires_at > now() AND r.n_used < r.max_devices"                     \
    " AND " STANDS("r.from_id") " AND " STANDS("r.to_id")

/* The device behind the first DevEUI of each, which no plan turns into a join over the batch. */
const struct db_statement db_rule_check_statement = {
    .name = "rule_check",
    .sql = "SELECT i.ordinal FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY"
           "  AS i(first, last, ordinal)"
           " LEFT JOIN LATERAL (SELECT d.dev_eui FROM device d WHERE d.batch_id = $1"
           "  AND d.dev_eui >= i.first ORDER BY d.dev_eui LIMIT 1) d ON true"
           " WHERE d.dev_eui IS NULL OR d.dev_eui > i.last ORDER BY i.ordinal LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_rule_add_statement = {
    .name = "rule_add",
    .sql = "WITH r AS (INSERT INTO claim_rule (batch_id, from_id, to_id, is_listed, max_devices,"
           "   home_net_id, as_id, expires_at)"
           "  SELECT $1, $2, $3, $4, $5, $6, $7, now() + make_interval(days => $8)"
           "   WHERE (SELECT count(*) FROM claim_rule l WHERE l.from_id = $2"
           "    AND l.state IN ('open', 'active')) < " DB_DECIMAL(
               DB_RULE_LIVE_MAX) " RETURNING *),"
                                 " ranges AS (INSERT INTO claim_rule_range (rule_id, first, last)"
                                 "  SELECT r.id, i.first, i.last"
                                 "  FROM r, unnest($9::bytea[], $10::bytea[]) AS i(first, last))"
                                 " SELECT " COLUMNS " FROM r" TABLES,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 10,
    .params = {DB_INT8, DB_INT8, DB_INT8, DB_BOOL, DB_INT4, DB_BYTEA, DB_TEXT, DB_INT4,
        DB_BYTEA_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_rule_find_statement = {
    .name = "rule_find",
    .sql = "SELECT " COLUMNS " FROM claim_rule r" TABLES
           " WHERE r.public_id = $1 AND $2 IN (r.from_id, r.to_id)",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT8},
};

/* By two indexes, each in its order; one that an organization made for itself is in the first. */
const struct db_statement db_rule_list_statement = {
    .name = "rule_list",
    .sql = "SELECT " COLUMNS " FROM (("
           "   SELECT * FROM claim_rule WHERE from_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3)"
           "  UNION ALL ("
           "   SELECT * FROM claim_rule WHERE to_id = $1 AND from_id <> $1 AND id < $2"
           "   ORDER BY id DESC LIMIT $3)) r" TABLES " ORDER BY r.id DESC LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_rule_ranges_statement = {
    .name = "rule_ranges",
    .sql = "SELECT first, last FROM claim_rule_range WHERE rule_id = $1 ORDER BY first LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

#define LOOK_MAX DB_DECIMAL(DB_RULE_LOOK_MAX) " + 1"
const struct db_statement db_rule_skipped_statement = {
    .name = "rule_skipped",
    .sql = "SELECT count(*), count(*) FILTER (WHERE ownership <> 'unowned' OR ownership_epoch > 0"
           "   OR credential = 'scrapped' OR trust = 'quarantined')"
           " FROM (SELECT d.* FROM claim_rule_range g"
           "  CROSS JOIN LATERAL (SELECT d.ownership, d.ownership_epoch, d.credential, d.trust"
           "   FROM device d WHERE d.batch_id = $2 AND d.dev_eui BETWEEN g.first AND g.last"
           "    AND d.organization_id = (SELECT from_id FROM claim_rule WHERE id = $1)"
           "   ORDER BY d.dev_eui LIMIT " LOOK_MAX ") d"
           "  WHERE g.rule_id = $1 LIMIT " LOOK_MAX ") about",
    .shape = DB_SHAPE_ONE,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_rule_accept_statement = {
    .name = "rule_accept",
    .sql = "UPDATE claim_rule SET state = 'active', accepted_by = $2, home_net_id = $3, as_id = $4,"
           "  due_at = now(), used_at = now(), changed_at = now()"
           " WHERE id = $1 AND state = 'open' AND expires_at > now() RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_BYTEA, DB_BYTEA, DB_TEXT},
};

const struct db_statement db_rule_end_statement = {
    .name = "rule_end",
    .sql = "UPDATE claim_rule SET state = $2, changed_at = now()"
           " WHERE id = $1 AND state IN ('open', 'active') AND expires_at > now() RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_TEXT},
};

const struct db_statement db_rule_take_statement = {
    .name = "rule_take",
    .sql =
        "UPDATE claim_rule SET due_at = now() + make_interval(secs =>"
        "  least(greatest(extract(epoch FROM now() - used_at)::float8 / 10, " DB_DECIMAL(DB_RULE_REST_MIN_S) "), " DB_DECIMAL(
            DB_RULE_REST_MAX_S) "))"
                                " WHERE id = (SELECT id FROM claim_rule WHERE state = 'active' AND due_at <= now()"
                                "  ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
};

/* Range by range, and of each no more than are wanted. What its maker has handed over is not his to
 * give away. */
const struct db_statement db_rule_load_statement = {
    .name = "rule_load",
    .sql = "SELECT d.dev_eui, coalesce(c.generation, 0) FROM claim_rule r"
           " JOIN claim_rule_range g ON g.rule_id = r.id"
           " CROSS JOIN LATERAL (SELECT d.dev_eui FROM device d WHERE d.batch_id = r.batch_id"
           "  AND d.organization_id = r.from_id"
           "  AND d.dev_eui BETWEEN g.first AND g.last AND " CLAIMABLE
           "  ORDER BY d.dev_eui LIMIT $2) d"
           " LEFT JOIN claim_code c ON c.dev_eui = d.dev_eui"
           " WHERE r.id = $1 AND " LIVE " ORDER BY g.first, d.dev_eui"
           " LIMIT least($2, (SELECT max_devices - n_used FROM claim_rule WHERE id = $1))",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

/* The rule's row is locked first: who waits for it goes on with its newest count. Then devices,
 * then the hot rows and codes, in the order of DevEUIs, as in every other statement that changes
 * them. A device whose code was made anew meanwhile is left for the next look. A Sigfox device gets
 * no network. */
const struct db_statement db_rule_claim_statement = {
    .name = "rule_claim",
    .sql =
        "WITH rule AS MATERIALIZED (SELECT r.* FROM claim_rule r WHERE r.id = $1 AND " LIVE
        "  FOR NO KEY UPDATE OF r),"
        " input AS MATERIALIZED (SELECT * FROM unnest($2::bytea[], $3::int4[], $4::bytea[])"
        "  AS i(dev_eui, generation, hash)),"
        " due AS MATERIALIZED (SELECT d.dev_eui, i.generation, i.hash"
        "  FROM input i JOIN device d ON d.dev_eui = i.dev_eui"
        "  WHERE d.batch_id = (SELECT batch_id FROM rule)"
        "  AND d.organization_id = (SELECT from_id FROM rule) AND " CLAIMABLE
        "  ORDER BY d.dev_eui LIMIT (SELECT max_devices - n_used FROM rule)"
        "  FOR NO KEY UPDATE OF d),"
        " held AS MATERIALIZED (SELECT device_joins_hold(ARRAY(SELECT dev_eui FROM due)) AS n),"
        " coded AS (INSERT INTO claim_code AS c (dev_eui, generation, hash, weak, origin, made_by)"
        "  SELECT due.dev_eui, due.generation, due.hash, false, 'claimed', rule.public_id"
        "   FROM due, rule ORDER BY due.dev_eui"
        "  ON CONFLICT (dev_eui) DO UPDATE SET generation = excluded.generation,"
        "   hash = excluded.hash, weak = false, origin = 'claimed', made_by = excluded.made_by,"
        "   issued_at = excluded.issued_at, released_by = NULL, released_at = NULL"
        "   WHERE c.generation = excluded.generation - 1 RETURNING dev_eui, generation),"
        " moved AS (UPDATE device d SET owner_id = rule.to_id, ownership = 'claimed',"
        "   ownership_epoch = d.ownership_epoch + 1, service = 'active', name = NULL,"
        "   home_net_id = CASE WHEN d.dev_eui >= " DB_FIRST_DEV_EUI " THEN rule.home_net_id END,"
        "   as_id = CASE WHEN d.dev_eui >= " DB_FIRST_DEV_EUI " THEN rule.as_id END"
        "  FROM coded, rule, held WHERE d.dev_eui = coded.dev_eui AND held.n >= 0),"
        " told AS (INSERT INTO audit_event (organization_id, request_id, action, object, detail)"
        "  SELECT rule.to_id, 'rule-' || encode(rule.public_id, 'hex'), 'device.claim',"
        "   device_text(coded.dev_eui), jsonb_build_object('generation', coded.generation,"
        "    'home_net_id', CASE WHEN coded.dev_eui >= " DB_FIRST_DEV_EUI
        "     THEN encode(rule.home_net_id, 'hex') END,"
        "    'as_id', CASE WHEN coded.dev_eui >= " DB_FIRST_DEV_EUI " THEN rule.as_id END,"
        "    'rule', encode(rule.public_id, 'hex')) FROM coded, rule),"
        " events AS (INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id,"
        "   outcome) SELECT coded.dev_eui, rule.to_id, rule.accepted_by,"
        "   'rule-' || encode(rule.public_id, 'hex'), 'claimed'"
        "   FROM coded, rule ORDER BY coded.dev_eui),"
        " counted AS (SELECT count(*)::int4 AS n FROM coded)"
        " UPDATE claim_rule r SET n_used = r.n_used + counted.n, due_at = now(), used_at = now(),"
        "  state = CASE WHEN r.n_used + counted.n = r.max_devices THEN 'full' ELSE r.state END,"
        "  changed_at = CASE WHEN r.n_used + counted.n = r.max_devices THEN now()"
        "   ELSE r.changed_at END"
        " FROM counted WHERE r.id = $1 AND counted.n > 0 RETURNING counted.n",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_rule_expire_statement = {
    .name = "rule_expire",
    .sql = "WITH due AS MATERIALIZED (SELECT id, public_id, from_id, to_id, n_used FROM claim_rule"
           "   WHERE state IN ('open', 'active') AND expires_at <= now()"
           "   ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED),"
           " told AS (INSERT INTO audit_event (organization_id, request_id, action, object, detail)"
           "  SELECT DISTINCT v.of_id, format('expired-%s', due.id), 'claim-rule.expire',"
           "   encode(public_id, 'hex'), jsonb_build_object('used', due.n_used)"
           "  FROM due CROSS JOIN LATERAL (VALUES (due.from_id), (due.to_id)) AS v(of_id))"
           " UPDATE claim_rule r SET state = 'expired', changed_at = now() FROM due"
           "  WHERE r.id = due.id RETURNING r.id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_rule_wake_statement = {
    .name = "rule_wake",
    .sql = "SELECT count(claim_rule_wake(b)) FROM unnest($1::int8[]) AS b",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8_ARRAY},
};

const char *db_rule_state_text(enum db_rule_state state)
{
    return state_names[state];
}

static int read_rule(struct db_rows *rows, size_t row, struct db_rule *ret)
{
    char state[12];
    unsigned i = 0;

    *ret = (struct db_rule){0};
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    ret->batch_id = db_row_int(rows, row, 2, 1, INT64_MAX);
    ret->from_id = db_row_int(rows, row, 3, 1, INT64_MAX);
    ret->to_id = db_row_int(rows, row, 4, 1, INT64_MAX);
    db_row_bytes(rows, row, 5, ret->batch, sizeof(ret->batch));
    db_row_bytes(rows, row, 6, ret->from, sizeof(ret->from));
    db_row_bytes(rows, row, 7, ret->to, sizeof(ret->to));
    db_row_text(rows, row, 8, state, sizeof(state));
    ret->is_listed = db_row_bool(rows, row, 9);
    ret->max_devices = (uint32_t)db_row_int(rows, row, 10, 1, INT32_MAX);
    ret->n_used = (uint32_t)db_row_int(rows, row, 11, 0, INT32_MAX);
    ret->has_home_net_id = !db_row_is_null(rows, row, 12);
    if (ret->has_home_net_id)
        db_row_bytes(rows, row, 12, ret->home_net_id.bytes, sizeof(ret->home_net_id.bytes));
    db_row_text(rows, row, 13, ret->as_id, sizeof(ret->as_id));
    db_row_text(rows, row, 14, ret->created_at, sizeof(ret->created_at));
    db_row_text(rows, row, 15, ret->expires_at, sizeof(ret->expires_at));
    while (i < N_STATES && strcmp(state_names[i], state) != 0)
        i++;
    if (i == N_STATES)
        return error_set(ERROR_INTERNAL, "database: a claim rule is in no state that is known");
    ret->state = (enum db_rule_state)i;
    return db_rows_check(rows);
}

static void put_ranges(struct db_params *p, const struct db_rule_range *ranges, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, ranges[i].first.bytes, sizeof(ranges[i].first.bytes));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, ranges[i].last.bytes, sizeof(ranges[i].last.bytes));
}

static void put_home(struct db_params *p, const struct db_rule *rule)
{
    if (rule->has_home_net_id) {
        db_param_bytes(p, rule->home_net_id.bytes, sizeof(rule->home_net_id.bytes));
        db_param_text(p, rule->as_id);
    } else {
        db_param_null(p, DB_BYTEA);
        db_param_null(p, DB_TEXT);
    }
}

int db_rule_check(
    struct db *db, int64_t batch_id, const struct db_rule_range *ranges, size_t n, size_t *ret_at)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, batch_id);
    put_ranges(p, ranges, n);
    if ((r = db_run(db, DB_RULE_CHECK, &rows)) < 0 || rows.n == 0)
        return r;
    *ret_at = (size_t)db_row_int(&rows, 0, 0, 1, (int64_t)n) - 1;
    r = db_rows_check(&rows);
    return r < 0 ? r : 1;
}

int db_rule_add(struct db *db, struct db_rule *rule, uint32_t lifetime_days,
    const struct db_rule_range *ranges, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, rule->batch_id);
    db_param_int(p, DB_INT8, rule->from_id);
    db_param_int(p, DB_INT8, rule->to_id);
    db_param_int(p, DB_BOOL, rule->is_listed);
    db_param_int(p, DB_INT4, rule->max_devices);
    put_home(p, rule);
    db_param_int(p, DB_INT4, lifetime_days);
    put_ranges(p, ranges, n);
    if ((r = db_run(db, DB_RULE_ADD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    return read_rule(&rows, 0, rule);
}

int db_rule_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], int64_t organization_id,
    struct db_rule *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    db_param_int(p, DB_INT8, organization_id);
    if ((r = db_run(db, DB_RULE_FIND, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    return read_rule(&rows, 0, ret);
}

int db_rule_list(struct db *db, int64_t organization_id, int64_t before, struct db_rule *ret,
    size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_int(p, DB_INT8, before > 0 ? before : INT64_MAX);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_RULE_LIST, &rows)) < 0)
        return r;
    for (size_t i = 0; r == 0 && i < rows.n; i++)
        r = read_rule(&rows, i, &ret[i]);
    *ret_n = rows.n;
    return r;
}

int db_rule_ranges(struct db *db, const struct db_rule *rule, struct db_rule_range *ret,
    size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, rule->row_id);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_RULE_RANGES, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        db_row_bytes(&rows, i, 0, ret[i].first.bytes, sizeof(ret[i].first.bytes));
        db_row_bytes(&rows, i, 1, ret[i].last.bytes, sizeof(ret[i].last.bytes));
    }
    *ret_n = rows.n;
    return db_rows_check(&rows);
}

int db_rule_skipped(struct db *db, const struct db_rule *rule, int64_t *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int64_t n, n_out;
    int r;

    db_param_int(p, DB_INT8, rule->row_id);
    db_param_int(p, DB_INT8, rule->batch_id);
    if ((r = db_run(db, DB_RULE_SKIPPED, &rows)) < 0)
        return r;
    n = db_row_int(&rows, 0, 0, 0, INT64_MAX);
    n_out = db_row_int(&rows, 0, 1, 0, INT64_MAX);
    /* It may have claimed some since its row was read. */
    *ret = n_out > rule->n_used ? n_out - rule->n_used : 0;
    r = db_rows_check(&rows);
    return r < 0 ? r : n > DB_RULE_LOOK_MAX;
}

int db_rule_accept(
    struct db *db, const struct db_rule *rule, const uint8_t client_id[static ACCOUNT_ID_LEN])
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, rule->row_id);
    db_param_bytes(p, client_id, ACCOUNT_ID_LEN);
    put_home(p, rule);
    r = db_run(db, DB_RULE_ACCEPT, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_rule_end(struct db *db, int64_t row_id, enum db_rule_state state)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, row_id);
    db_param_text(p, db_rule_state_text(state));
    r = db_run(db, DB_RULE_END, &rows);
    return r < 0 ? r : rows.n == 0;
}

int db_rule_take(struct db *db, int64_t *ret_row_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_RULE_TAKE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret_row_id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    return db_rows_check(&rows);
}

int db_rule_load(struct db *db, int64_t row_id, struct db_code *ret, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, row_id);
    db_param_int(p, DB_INT8, DB_RULE_CHUNK_MAX);
    if ((r = db_run(db, DB_RULE_LOAD, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        ret[i] = (struct db_code){0};
        db_row_bytes(&rows, i, 0, ret[i].dev_eui.bytes, sizeof(ret[i].dev_eui.bytes));
        ret[i].generation = (uint32_t)db_row_int(&rows, i, 1, 0, INT32_MAX - 1);
    }
    *ret_n = rows.n;
    return db_rows_check(&rows);
}

int db_rule_claim(
    struct db *db, int64_t row_id, const struct db_code *codes, size_t n, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, row_id);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, codes[i].dev_eui.bytes, sizeof(codes[i].dev_eui.bytes));
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, codes[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, codes[i].hash, codes[i].version);
    *ret_n = 0;
    if ((r = db_run(db, DB_RULE_CLAIM, &rows)) < 0 || rows.n == 0)
        return r;
    *ret_n = (size_t)db_row_int(&rows, 0, 0, 1, (int64_t)n);
    return db_rows_check(&rows);
}

int db_rule_expire(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, DB_RULE_PIECE);
    if ((r = db_run(db, DB_RULE_EXPIRE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}

int db_rule_wake(struct db *db, const int64_t *batch_ids, size_t n)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, batch_ids[i]);
    return db_run_quiet(db, DB_RULE_WAKE);
}
