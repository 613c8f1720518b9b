#include "db/webhook_look.h"

#include "db/job_row.h"

/* How long before a transaction is known to be under way it may have begun by its own clock. */
#define BEGUN_UNSEEN_S 2
#define LOOK_BACK_S 3600 /* after a pause: older attempts are not told any more */

/* One service at a time, and no more often than there can be something new. An event's time is that
 * of its transaction's beginning, so what is older than all that are under way is there or will
 * never be; those of this role, which alone writes claim events, are seen. */
const struct db_statement db_webhook_scan_statement = {
    .name = "webhook_scan",
    .sql =
        "UPDATE webhook_scan SET looked_from = greatest(looked_until,"
        "   now() - make_interval(secs => " DB_DECIMAL(
            LOOK_BACK_S) ")),"
                         "  looked_until = greatest(looked_until, bound.at)"
                         " FROM (SELECT least(now() - make_interval(secs => " DB_DECIMAL(
                             BEGUN_UNSEEN_S) "),"
                                             "   min(a.xact_start)) AS at FROM pg_stat_activity a"
                                             "   WHERE a.datname = current_database() AND a.xact_start IS NOT NULL"
                                             "    AND a.pid <> pg_backend_pid()) bound"
                                             " WHERE source = (SELECT s.source FROM webhook_scan s WHERE s.source = 'claim_event'"
                                             "   AND s.looked_until < now() - make_interval(secs => 2 * " DB_DECIMAL(
                                                 BEGUN_UNSEEN_S) ")"
                                                                 "   FOR UPDATE SKIP LOCKED)"
                                                                 " RETURNING EXISTS (SELECT FROM webhook w WHERE w.active AND w.events & 2 <> 0)",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
};

/* Of a device that has an owner any claim is wrong, whatever its code. */
const struct db_statement db_webhook_tried_statement = {
    .name = "webhook_tried",
    .sql = "INSERT INTO webhook_refused AS r (dev_eui, n_untold, last_at)"
           " SELECT e.dev_eui, count(*), max(e.at) FROM claim_event e, webhook_scan s"
           "  WHERE s.source = 'claim_event' AND e.at >= s.looked_from AND e.at < s.looked_until"
           "   AND e.outcome IN ('code', 'locked', 'taken') AND EXISTS (SELECT FROM device d"
           "    JOIN webhook w ON w.organization_id = coalesce(d.owner_id, d.organization_id)"
           "    WHERE d.dev_eui = e.dev_eui AND w.active AND w.events & 2 <> 0)"
           "  GROUP BY e.dev_eui ORDER BY e.dev_eui"
           " ON CONFLICT (dev_eui) DO UPDATE SET n_untold = r.n_untold + excluded.n_untold,"
           "  last_at = excluded.last_at",
    .shape = DB_SHAPE_MANY,
    .commits = true,
};

const struct db_statement db_webhook_refused_statement = {
    .name = "webhook_refused",
    .sql =
        "WITH due AS MATERIALIZED (SELECT * FROM webhook_refused WHERE n_untold > 0"
        "   AND (told_at IS NULL OR told_at < now() - make_interval(secs => " DB_DECIMAL(
            DB_WEBHOOK_TOLD_S) "))"
                               "  ORDER BY last_at LIMIT $1 FOR UPDATE SKIP LOCKED),"
                               " told AS (UPDATE webhook_refused r SET n_untold = 0, told_at = now() FROM due"
                               "  WHERE r.dev_eui = due.dev_eui)"
                               " SELECT webhook_tell(coalesce(d.owner_id, d.organization_id), 2, 'claim.refused',"
                               "  due.last_at, jsonb_build_object('dev_eui', device_text(due.dev_eui),"
                               "   'attempts', due.n_untold))"
                               " FROM due JOIN device d ON d.dev_eui = due.dev_eui",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* Looked for at tenths of its age: a fleet that lies in a warehouse costs next to nothing. */
const struct db_statement db_webhook_first_joins_statement = {
    .name = "webhook_first_joins",
    .sql = "WITH due AS MATERIALIZED (SELECT dev_eui, ownership_epoch, claimed_at"
           "   FROM webhook_first_join WHERE due_at <= now() ORDER BY due_at LIMIT $1"
           "   FOR UPDATE SKIP LOCKED),"
           " seen AS MATERIALIZED (SELECT due.*, d.owner_id, j.at FROM due"
           "  LEFT JOIN device d ON d.dev_eui = due.dev_eui AND d.owner_id IS NOT NULL"
           "   AND d.ownership_epoch = due.ownership_epoch"
           "  LEFT JOIN LATERAL (SELECT e.at FROM join_event e WHERE e.dev_eui = due.dev_eui"
           "   AND e.outcome = 'success' AND e.at >= due.claimed_at"
           "   AND e.ownership_epoch = due.ownership_epoch ORDER BY e.at LIMIT 1) j ON true),"
           " ended AS (DELETE FROM webhook_first_join f USING seen WHERE f.dev_eui = seen.dev_eui"
           "  AND (seen.at IS NOT NULL OR seen.owner_id IS NULL)),"
           " later AS (UPDATE webhook_first_join f SET due_at = now()"
           "   + greatest(interval '2 s', (now() - f.claimed_at) / 10)"
           "  FROM seen WHERE f.dev_eui = seen.dev_eui AND seen.at IS NULL"
           "   AND seen.owner_id IS NOT NULL)"
           " SELECT webhook_tell(owner_id, 8, 'device.first_join', at,"
           "  jsonb_build_object('dev_eui', device_text(dev_eui),"
           "   'ownership_epoch', ownership_epoch))"
           " FROM seen WHERE at IS NOT NULL AND owner_id IS NOT NULL",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* In the order of writing, which is that of age but for moments. */
const struct db_statement db_webhook_old_statement = {
    .name = "webhook_old",
    .sql = "DELETE FROM webhook_delivery WHERE id IN (SELECT id FROM (SELECT id, created_at"
           "  FROM webhook_delivery ORDER BY id LIMIT $1) oldest"
           " WHERE created_at < now() - make_interval(days => " DB_DECIMAL(
               DB_WEBHOOK_DAYS) "))"
                                " RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* Of the oldest, however many there are: so a flood is deleted piece by piece without sorting it.
 */
const struct db_statement db_webhook_surplus_statement = {
    .name = "webhook_surplus",
    .sql = "WITH full_ones AS MATERIALIZED (SELECT organization_id, count(*) - $2 AS surplus"
           "  FROM webhook_delivery GROUP BY organization_id HAVING count(*) > $2)"
           " DELETE FROM webhook_delivery WHERE id IN (SELECT c.id FROM full_ones f"
           "  CROSS JOIN LATERAL (SELECT d.id FROM (SELECT o.id, o.state"
           "    FROM webhook_delivery o WHERE o.organization_id = f.organization_id"
           "    ORDER BY o.id LIMIT $1 + $2) d"
           "   ORDER BY CASE d.state WHEN 'dead' THEN 0 WHEN 'delivered' THEN 1 ELSE 2 END, d.id"
           "   LIMIT least(f.surplus, $1)) c) RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_webhook_forget_statement = {
    .name = "webhook_forget",
    .sql = "DELETE FROM webhook_refused WHERE dev_eui IN (SELECT dev_eui FROM webhook_refused"
           " WHERE n_untold = 0 AND told_at < now() - make_interval(secs => " DB_DECIMAL(
               DB_WEBHOOK_TOLD_S) ")"
                                  " LIMIT $1 FOR UPDATE SKIP LOCKED)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

static int run_piece(struct db *db, enum db_statement_id id, int64_t n_max)
{
    db_param_int(db_params_of(db), DB_INT8, n_max);
    return db_run_quiet(db, id);
}

/* In a transaction: what was looked through is remembered with what was found. */
static int scan(struct db *db)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    bool wanted;
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_WEBHOOK_SCAN, &rows)) < 0 || rows.n == 0)
        return r;
    wanted = db_row_bool(&rows, 0, 0);
    if ((r = db_rows_check(&rows)) < 0 || !wanted)
        return r;
    (void)db_params_of(db);
    return db_run_quiet(db, DB_WEBHOOK_TRIED);
}

int db_webhook_look(struct db *db)
{
    int r = db_begin(db);

    if (r == 0)
        r = scan(db);
    if (r == 0)
        r = db_commit(db);
    else
        db_rollback(db);
    if (r == 0)
        r = run_piece(db, DB_WEBHOOK_REFUSED, DB_WEBHOOK_LOOK_MAX);
    return r < 0 ? r : run_piece(db, DB_WEBHOOK_FIRST_JOINS, DB_WEBHOOK_LOOK_MAX);
}

int db_webhook_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows old = {0};
    CLEANUP(db_rows_done) struct db_rows surplus = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, DB_WEBHOOK_PIECE);
    if ((r = db_run(db, DB_WEBHOOK_OLD, &old)) < 0)
        return r;
    p = db_params_of(db);
    db_param_int(p, DB_INT8, DB_WEBHOOK_PIECE);
    db_param_int(p, DB_INT8, DB_WEBHOOK_ROWS_MAX);
    if ((r = db_run(db, DB_WEBHOOK_SURPLUS, &surplus)) < 0)
        return r;
    *ret_n = old.n + surplus.n;
    return run_piece(db, DB_WEBHOOK_FORGET, DB_WEBHOOK_PIECE);
}
