#include "db/clock_look.h"

#include "db/claim_rule.h"
#include "db/job_row.h"
#include "db/signal.h"

/* How far ahead anything of that kind may lie, with much to spare. */
#define FAR " > now() + interval '1 hour'"     /* what is due in minutes */
#define DISTANT " > now() + interval '2 days'" /* in hours */
/* How long it may take until it is noticed: what happened meanwhile is looked at again. */
#define SOME_TIME_AGO "now() - interval '5 minutes'"

/* A piece of one table. By the indexes that the work itself is found by, from their other end;
 * nobody is waited for: what is missed is found a moment later. */
#define DUE(key, from)                                                                             \
    "WITH due AS MATERIALIZED (SELECT " key " FROM " from                                          \
    " LIMIT " DB_DECIMAL(DB_CLOCK_PIECE) " FOR NO KEY UPDATE SKIP LOCKED)"
#define BACK(table, key, set)                                                                      \
    ", back AS (UPDATE " table " SET " set " WHERE (" key ") IN (SELECT " key " FROM due)"         \
    " RETURNING *)"
#define STATEMENT(part, text)                                                                      \
    const struct db_statement db_clock_##part##_statement = {                                      \
        .name = "clock_" #part,                                                                    \
        .sql = text " SELECT count(*) FROM back",                                                  \
        .shape = DB_SHAPE_ONE,                                                                     \
        .commits = true,                                                                           \
    }
#define SETTLE(part, table, key, set, where)                                                       \
    STATEMENT(part, DUE(key, table " WHERE " where) BACK(table, key, set))

/* Files and reports whose end lies too far ahead are left alone: that a clock was ahead then cannot
 * be told from its being behind now, and what is deleted by a clock that is behind is lost. */
SETTLE(jobs, "job", "id", "lease_until = " DB_JOB_LEASE,
    "state IN ('waiting', 'running') AND lease_until" FAR);
/* The index begins with the webhook. */
STATEMENT(deliveries,
    "WITH due AS MATERIALIZED (SELECT d.id FROM webhook w CROSS JOIN LATERAL (SELECT p.id"
    "  FROM webhook_delivery p WHERE p.webhook_id = w.id AND p.state IN ('waiting', 'sending')"
    "   AND p.due_at" DISTANT
    " ORDER BY p.due_at DESC LIMIT " DB_DECIMAL(DB_CLOCK_PIECE) "  FOR NO KEY UPDATE SKIP LOCKED) AS d LIMIT " DB_DECIMAL(
        DB_CLOCK_PIECE) ")" BACK("webhook_delivery", "id", "due_at = now()"));
SETTLE(webhooks, "webhook", "id", "rests_until = now()", "rests_until" FAR);
/* Looked for at tenths of its age. */
SETTLE(first_joins, "webhook_first_join", "dev_eui",
    "due_at = now(), claimed_at = least(claimed_at, now() - interval '1 day')",
    "due_at" FAR " AND due_at - now() > now() - claimed_at ORDER BY due_at DESC");
SETTLE(attempts, "webhook_scan", "source",
    "looked_from = " SOME_TIME_AGO ", looked_until = " SOME_TIME_AGO, "looked_until" FAR);
SETTLE(refused, "webhook_refused", "dev_eui", "told_at = now(), last_at = least(last_at, now())",
    "told_at" FAR);
/* The bucket of a device, which all who guess fill, may be many days deep, and that of a client at
 * a device where many guesses come at once. */
SETTLE(limits, "claim_limit", "scope, subject", "due = now()",
    "due" DISTANT " AND (scope NOT IN (2, 3) OR due > now() + interval '60 days')"
    " ORDER BY due DESC");
SETTLE(rules, "claim_rule", "id", "due_at = now()", "state = 'active' AND due_at" FAR);
SETTLE(signals, "trust_scan", "one",
    "looked_from = " SOME_TIME_AGO ", looked_until = " SOME_TIME_AGO ", fence_at = " SOME_TIME_AGO,
    "fence_at" FAR " OR looked_until" FAR);
SETTLE(suspects, "device", "dev_eui", "trust_look_at = now()",
    "trust_look_at" FAR " ORDER BY trust_look_at DESC");
#define NOTICE "ends_at - make_interval(days => notice_days)"
STATEMENT(subscriptions,
    DUE("id", "subscription WHERE due_at IS NULL AND ends_at > now()") BACK("subscription", "id",
        "due_at = ends_at, walk = '', notice_at = CASE WHEN " NOTICE " > now() THEN " NOTICE
        " END") ", told AS (INSERT INTO audit_event (organization_id, request_id, action, object, detail)"
                "  SELECT v.of_id, format('clock-%s', id), 'subscription.change', encode(public_id, 'hex'),"
                "   jsonb_build_object('ends_at', " DB_UTC(
                    "ends_at") ")"
                               "  FROM back CROSS JOIN LATERAL (SELECT organization_id AS of_id UNION SELECT seller_id) AS v)");

static const enum db_statement_id parts[] = {DB_CLOCK_JOBS, DB_CLOCK_DELIVERIES, DB_CLOCK_WEBHOOKS,
    DB_CLOCK_FIRST_JOINS, DB_CLOCK_ATTEMPTS, DB_CLOCK_REFUSED, DB_CLOCK_LIMITS, DB_CLOCK_RULES,
    DB_CLOCK_SIGNALS, DB_CLOCK_SUSPECTS, DB_CLOCK_SUBSCRIPTIONS};
_Static_assert(sizeof(parts) / sizeof(parts[0]) == DB_CLOCK_N_PARTS, "a table has no statement");

const struct db_statement db_clock_read_statement = {
    .name = "clock_read",
    .sql = "SELECT extract(epoch FROM now())::int8",
    .shape = DB_SHAPE_ONE,
};

int db_clock_read(struct db *db, int64_t *ret_s)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_CLOCK_READ, &rows)) < 0)
        return r;
    *ret_s = db_row_int(&rows, 0, 0, INT64_MIN, INT64_MAX);
    return db_rows_check(&rows);
}

int db_clock_settle(struct db *db, unsigned part, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, parts[part], &rows)) < 0)
        return r;
    *ret_n = (size_t)db_row_int(&rows, 0, 0, 0, DB_CLOCK_PIECE);
    return db_rows_check(&rows);
}
