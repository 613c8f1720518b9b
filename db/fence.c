#include "db/fence.h"

#include "db/connection.h"
#include "db/sqlstate.h"
#include "db/statement.h"
#include <string.h>

#define HOLDERS_MAX 256

/* Shared by who stores: key_fence_holds() in the migration. */
const struct db_statement db_fence_lock_statement = {
    .name = "fence_lock",
    .sql = "SELECT 1 FROM (SELECT"
           " pg_advisory_xact_lock(hashtextextended('fence of keys', 0))) AS held",
    .shape = DB_SHAPE_ONE,
};

/* Whoever stores at this moment, for the error. */
const struct db_statement db_fence_holders_statement = {
    .name = "fence_holders",
    .sql =
        "SELECT coalesce(left(string_agg(a.pid || ' ' || a.application_name, ', '), 200), 'nobody now')"
        " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()"
        " AND l.objsubid = 1 AND (l.classid::int8 << 32) | l.objid::int8"
        "  = hashtextextended('fence of keys', 0)",
    .shape = DB_SHAPE_ONE,
};

const struct db_statement db_fence_raise_statement = {
    .name = "fence_raise",
    .sql = "INSERT INTO key_fence (key) VALUES ($1) ON CONFLICT DO NOTHING",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_TEXT},
};

const struct db_statement db_fence_hold_statement = {
    .name = "fence_hold",
    .sql = "SELECT 1 FROM key_fence WHERE key = $1 FOR UPDATE",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 1,
    .params = {DB_TEXT},
};

const struct db_statement db_fence_lower_statement = {
    .name = "fence_lower",
    .sql = "DELETE FROM key_fence WHERE key = $1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_TEXT},
};

static int run_of(struct db *db, enum db_statement_id id, const char *key)
{
    db_param_text(db_params_of(db), key);
    return db_run_quiet(db, id);
}

/* All who store wait for a holder of the lock: one that stands still is ended. */
static int try_raise(struct db *db, const char *key, unsigned wait_ms)
{
    int r = db_begin_impatient(db, wait_ms);

    if (r < 0)
        return r;
    if ((r = db_exec(db, "SET LOCAL idle_in_transaction_session_timeout = '5s'", false)) == 0) {
        (void)db_params_of(db);
        r = db_run_quiet(db, DB_FENCE_LOCK);
    }
    if (r == 0)
        r = run_of(db, DB_FENCE_RAISE, key);
    if (r == 0)
        return db_commit(db);
    db_rollback(db);
    return r;
}

static int tell_holders(struct db *db)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    char holders[HOLDERS_MAX];
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_FENCE_HOLDERS, &rows)) < 0)
        return r;
    db_row_text(&rows, 0, 0, holders, sizeof(holders));
    return error_set(ERROR_DB,
        "database: somebody has been storing keys all through %d s (process and program: %s); try "
        "again when they have ended",
        DB_FENCE_WAIT_MS / 1000, holders);
}

/* Whoever comes behind one that waits for the lock waits, too: so each try ends soon. The later
 * ones take longer, or storing that overlaps would leave no moment. */
int db_fence_raise(struct db *db, const char *key)
{
    unsigned wait_ms = DB_FENCE_TRY_MS;
    int r = 0;

    for (unsigned waited_ms = 0; waited_ms < DB_FENCE_WAIT_MS; waited_ms += wait_ms) {
        if (waited_ms > 0 && wait_ms < DB_FENCE_TRY_MAX_MS)
            wait_ms *= 2;
        db->sqlstate[0] = '\0';
        r = try_raise(db, key, wait_ms);
        if (r == 0 || strcmp(db->sqlstate, DB_SQLSTATE_NO_LOCK) != 0)
            return r;
    }
    return tell_holders(db);
}

static int count_behind(struct db *db, const char *key,
    struct db_rewrap_use ret[static DB_REWRAP_USES_MAX], size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_text(db_params_of(db), key);
    if ((r = db_run(db, DB_FENCE_HOLD, &rows)) < 0)
        return r;
    if (rows.n == 0)
        return error_set(
            ERROR_DB, "database: another `hsm retire` of %s was refused: try again", key);
    if ((r = db_rewrap_uses(db, key, ret, ret_n)) < 0 || *ret_n == 0)
        return r;
    return run_of(db, DB_FENCE_LOWER, key);
}

/* The row of the fence is held meanwhile: another retirement takes it away before or behind us. */
int db_fence_uses(struct db *db, const char *key,
    struct db_rewrap_use ret[static DB_REWRAP_USES_MAX], size_t *ret_n)
{
    int r = db_begin(db);

    if (r < 0)
        return r;
    if ((r = count_behind(db, key, ret, ret_n)) == 0)
        return db_commit(db);
    db_rollback(db);
    return r;
}
