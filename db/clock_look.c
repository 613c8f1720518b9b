#include "db/clock_look.h"

#include "db/claim_rule.h"
#include "db/job_row.h"
#include "db/signal.h"

/* How far ahead anything of that kind may lie, with much to spare. */
#define FAR " > now() + interval '1 hour'"     /* what is due in minutes */
#define DISTANT " > now() + interval '2 days'" /* in hours */
/* How long it may take until it is noticed: what happened meanwhile is looked at again. */
#define SOME_TIME_AGO "now() - interval '5 minutes'"
#define PIECE " LIMIT 1000"

/* Rows of one table. By the indexes that the work itself is found by, from their other end; nobody
 * is waited for: what is missed is found a minute later. */
#define BACK(table, key, set, where)                                                               \
    "(UPDATE " table " SET " set " WHERE (" key ") IN (SELECT " key " FROM " table " WHERE " where \
    " FOR NO KEY UPDATE SKIP LOCKED) RETURNING *)"

#define JOBS                                                                                       \
    BACK("job", "id", "lease_until = " DB_JOB_LEASE,                                               \
        "state IN ('waiting', 'running') AND lease_until" FAR)
/* Files and reports whose end lies too far ahead are left alone: that a clock was ahead then cannot
 * be told from its being behind now, and what is deleted by a clock that is behind is lost. */
#define DELIVERIES                                                                                 \
    BACK("webhook_delivery", "id", "due_at = now()",                                               \
        "state IN ('waiting', 'sending') AND due_at" DISTANT PIECE)
#define WEBHOOKS BACK("webhook", "id", "rests_until = now()", "rests_until" FAR)
/* Looked for at tenths of its age. */
#define FIRST_JOINS                                                                                \
    BACK("webhook_first_join", "dev_eui",                                                          \
        "due_at = now(), claimed_at = least(claimed_at, now() - interval '1 day')",                \
        "due_at" FAR " AND due_at - now() > now() - claimed_at ORDER BY due_at DESC" PIECE)
#define ATTEMPTS                                                                                   \
    BACK("webhook_scan", "source",                                                                 \
        "looked_from = " SOME_TIME_AGO ", looked_until = " SOME_TIME_AGO, "looked_until" FAR)
#define REFUSED                                                                                    \
    BACK("webhook_refused", "dev_eui", "told_at = now(), last_at = least(last_at, now())",         \
        "told_at" FAR)
/* The bucket of a device, which all who guess fill, may be many days deep, and that of a client at
 * a device where many guesses come at once. */
#define LIMITS                                                                                     \
    BACK("claim_limit", "scope, subject", "due = now()",                                           \
        "due" DISTANT " AND (scope NOT IN (2, 3) OR due > now() + interval '60 days')"             \
        " ORDER BY due DESC" PIECE)
#define RULES BACK("claim_rule", "id", "due_at = now()", "state = 'active' AND due_at" FAR)
#define SIGNALS                                                                                    \
    BACK("trust_scan", "one",                                                                      \
        "looked_from = " SOME_TIME_AGO ", looked_until = " SOME_TIME_AGO                           \
        ", fence_at = " SOME_TIME_AGO,                                                             \
        "fence_at" FAR " OR looked_until" FAR)
#define SUSPECTS                                                                                   \
    BACK("device", "dev_eui", "trust_look_at = now()",                                             \
        "trust_look_at" FAR " ORDER BY dev_eui" PIECE)
#define NOTICE "ends_at - make_interval(days => notice_days)"
#define SUBSCRIPTIONS                                                                              \
    BACK("subscription", "id",                                                                     \
        "due_at = ends_at, walk = '', notice_at = CASE WHEN " NOTICE " > now() THEN " NOTICE       \
        " END",                                                                                    \
        "due_at IS NULL AND ends_at > now()")
#define SUBSCRIPTION_ENDS DB_UTC("ends_at")

const struct db_statement db_clock_read_statement = {
    .name = "clock_read",
    .sql = "SELECT extract(epoch FROM now())::int8",
    .shape = DB_SHAPE_ONE,
};

const struct db_statement db_clock_settle_statement = {
    .name = "clock_settle",
    .sql =
        "WITH a AS " JOBS ", b AS " DELIVERIES ", c AS " WEBHOOKS ", d AS " FIRST_JOINS
        ", e AS " ATTEMPTS ", f AS " REFUSED ", g AS " LIMITS ", h AS " RULES ", i AS " SIGNALS
        ", j AS " SUSPECTS ", k AS " SUBSCRIPTIONS
        ", told AS (INSERT INTO audit_event (organization_id, request_id, action, object, detail)"
        "  SELECT v.of_id, format('clock-%s', id), 'subscription.change', encode(public_id, 'hex'),"
        "   jsonb_build_object('ends_at', " SUBSCRIPTION_ENDS ")"
        "  FROM k CROSS JOIN LATERAL (SELECT organization_id AS of_id UNION SELECT seller_id) AS v)"
        " SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c)"
        " + (SELECT count(*) FROM d) + (SELECT count(*) FROM e) + (SELECT count(*) FROM f)"
        " + (SELECT count(*) FROM g) + (SELECT count(*) FROM h) + (SELECT count(*) FROM i)"
        " + (SELECT count(*) FROM j) + (SELECT count(*) FROM k)",
    .shape = DB_SHAPE_ONE,
    .commits = true,
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

int db_clock_settle(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_CLOCK_SETTLE, &rows)) < 0)
        return r;
    *ret_n = (size_t)db_row_int(&rows, 0, 0, 0, INT64_MAX);
    return db_rows_check(&rows);
}
