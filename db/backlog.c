#include "db/backlog.h"

#include "db/connection.h"

#define UP_TO " LIMIT " DB_DECIMAL(DB_BACKLOG_COUNT_MAX) ") few"
#define AGE(since) "greatest(0, coalesce(extract(epoch FROM now() - " since "), 0))::int8"

const struct db_statement db_backlog_statement = {
    .name = "backlog",
    .sql =
        "SELECT (SELECT count(*) FROM (SELECT FROM audit_pending" UP_TO "),"
        " (SELECT " AGE(
            "min(e.at)") " FROM audit_event e"
                         "   WHERE e.id = (SELECT min(event_id) FROM audit_pending)),"
                         " (SELECT count(*) FROM (SELECT FROM webhook_delivery"
                         "   WHERE state IN ('waiting', 'sending')" UP_TO "),"
                         " (SELECT " AGE(
                             "min(d.due_at)") " FROM webhook w CROSS JOIN LATERAL"
                                              "   (SELECT due_at FROM webhook_delivery"
                                              "    WHERE webhook_id = w.id"
                                              "    AND state IN ('waiting', 'sending')"
                                              "    ORDER BY due_at LIMIT 1) d),"
                                              " (SELECT count(*) FROM job WHERE kind IN ('export', 'move', 'order')"
                                              "   AND state = 'waiting'),"
                                              " (SELECT count(*) FROM job WHERE state = 'running'),"
                                              " greatest((SELECT " AGE(
                                                  "min(changed_at)") " FROM job"
                                                                     "   WHERE kind IN ('export', 'move', 'order') AND state = 'waiting'),"
                                                                     "  (SELECT " AGE(
                                                                         "min(changed_at)") " FROM job WHERE state = 'running')),"
                                                                                            " (SELECT count(*) FROM batch_order WHERE state = 'requested')",
    .shape = DB_SHAPE_ONE,
};

int db_backlog_read(struct db *db, struct db_backlog *ret)
{
    int64_t *const columns[] = {&ret->audit_pending, &ret->audit_oldest_s, &ret->webhook_waiting,
        &ret->webhook_oldest_s, &ret->jobs_waiting, &ret->jobs_running, &ret->jobs_oldest_s,
        &ret->orders_requested};
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_BACKLOG, &rows)) < 0)
        return r;
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        *columns[i] = db_row_int(&rows, 0, (int)i, 0, INT64_MAX);
    return db_rows_check(&rows);
}
