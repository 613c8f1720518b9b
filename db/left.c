/* What a connection leaves behind: a commit that may be on no standby, and a backend that may still
 * run a statement whose answer nobody waits for any more. One that waits for a standby does so
 * until there is one, whatever becomes of its client; so each of our handles would leave another
 * with each try, until the server takes nobody. A handle has one of them at most, at each host. */
#include "db/connection.h"
#include "db/join.h"

#define COMMIT_ENDS_MS 2000

/* It may wait for a row, or for a standby. Where it may be committing it is waited for, so that
 * what is read next is the last word; one that only reads is told to end, however long it takes. A
 * pid alone may be somebody else's by now; with its start it is not. */
const struct db_statement db_left_end_statement = {
    .name = "left_end",
    .sql = "SELECT coalesce(bool_and(pg_terminate_backend(pid, $3)), true) FROM pg_stat_activity"
           " WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::int8 = $2",
    .shape = DB_SHAPE_ONE,
    .n_params = 3,
    .params = {DB_INT4, DB_INT8, DB_INT8},
};

void db_left_note(struct db *db, bool commits)
{
    struct db_backend *left = &db->left[db->hosts.trying];

    /* One that may still commit gives its place to nobody: a connection may fail before it is
     * ended. */
    if (db->backend.pid != 0 && (left->pid == 0 || (commits && !db->unsettled)))
        *left = db->backend;
    db->unsettled |= commits;
}

static int end(struct db *db, const struct db_backend *left)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT4, left->pid);
    db_param_int(p, DB_INT8, left->start_us);
    db_param_int(p, DB_INT8, db->unsettled ? COMMIT_ENDS_MS : 0);
    if ((r = db_run(db, DB_LEFT_END, &rows)) < 0)
        return r;
    if (!db_row_bool(&rows, 0, 0))
        return error_set(ERROR_DB, "database: a session that was left does not end");
    return db_rows_check(&rows);
}

int db_left_end(struct db *db)
{
    const unsigned host = db->hosts.trying;
    const struct db_backend left = db->left[host];
    int r;

    db->left[host] = (struct db_backend){0};
    if (left.pid != 0 && (r = end(db, &left)) < 0) {
        db->left[host] = left; /* still the one to be ended; the one that asked ends by itself */
        return r;
    }
    if (!db->unsettled)
        return 0;
    /* What was committed there may be seen now and be on no standby. */
    if ((r = db_join_settle(db)) == 0)
        db->unsettled = false;
    return r;
}
