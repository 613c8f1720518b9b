#include "db/db.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/connection.h"
#include "db/migrate.h"
#include "db/passfile.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#define BEGIN_SQL_MAX 64

#define SETTING_MAX 32
#define AWAIT_PAUSE_MS 200
#define SQLSTATE_NO_TABLE "42P01"

const struct db_statement db_check_statement = {
    .name = "check",
    .sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync'),"
           "  current_setting('full_page_writes'), coalesce(max(number), 0)::int4"
           " FROM schema_migration",
    .shape = DB_SHAPE_ONE,
};

/* What an answered join stands on. */
static const struct {
    const char *name;
    const char *good[2];
} durable_settings[] = {
    {"synchronous_commit", {"on", "remote_apply"}},
    {"fsync", {"on", "on"}},
    {"full_page_writes", {"on", "on"}},
};
#define N_DURABLE_SETTINGS (sizeof(durable_settings) / sizeof(*durable_settings))

int db_open(const struct db_config *config, struct db **ret)
{
    CLEANUP(db_cleanup) struct db *db = calloc(1, sizeof(*db));
    int r;

    if (!db)
        return error_set_errno("database");
    db->passfile = -1;
    db->conninfo = strdup(config->conninfo);
    db->program = strdup(config->program);
    db->statement_ms = config->statement_ms;
    db->guard = config->guard;
    if (!db->conninfo || !db->program)
        return error_set_errno("database");
    r = db_passfile_open(db->conninfo, &db->passfile);
    if (r == 0)
        r = db_hosts_find(db->conninfo, &db->hosts);
    if (r < 0)
        return r;
    *ret = db;
    db = NULL;
    return 0;
}

void db_set_deadline(struct db *db, int64_t deadline_ms)
{
    db->deadline_ms = deadline_ms;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db_drop(db);
    db_params_done(&db->params);
    db_hosts_done(&db->hosts);
    cleanup_close(&db->passfile);
    free(db->conninfo);
    free(db->program);
    free(db);
}

int db_check(struct db *db)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int newest = db_migrate_newest(), found;
    int r;

    db_params_of(db);
    r = db_run(db, DB_CHECK, &rows);
    if (r < 0 && strcmp(db->sqlstate, SQLSTATE_NO_TABLE) == 0)
        return error_set(ERROR_CONFIG, "database: has no schema; run the migrations first");
    if (r < 0)
        return r;
    for (size_t i = 0; i < N_DURABLE_SETTINGS; i++) {
        char value[SETTING_MAX];

        db_row_text(&rows, 0, (int)i, value, sizeof(value));
        if (strcmp(value, durable_settings[i].good[0]) != 0 &&
            strcmp(value, durable_settings[i].good[1]) != 0)
            return error_set(ERROR_CONFIG,
                "database: %s is %s: an answered join would not be safe; set it on",
                durable_settings[i].name, value);
    }
    found = (int)db_row_int(&rows, 0, (int)N_DURABLE_SETTINGS, 0, INT32_MAX);
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    if (found != newest)
        return error_set(ERROR_CONFIG, "database: schema version is %d, this program needs %d; %s",
            found, newest, found < newest ? "run the migrations" : "use a newer program");
    return 0;
}

int db_await(struct db *db, bool (*stop_wanted)(long pause_ms))
{
    int64_t give_up_ms = clock_monotonic_ms() + DB_AWAIT_MS;
    bool told = false;
    int r;

    while ((r = db_check(db)) < 0 && r != ERROR_CONFIG && clock_monotonic_ms() < give_up_ms) {
        if (!told)
            log_warn("waiting for the database: %s", error_text());
        told = true;
        if (stop_wanted(AWAIT_PAUSE_MS))
            return 1;
    }
    return r;
}

static int begin(struct db *db, const char *sql)
{
    int r;

    if (db->in_transaction)
        return error_set(ERROR_INTERNAL, "database: a transaction is open already");
    r = db_exec(db, sql, false);
    if (r == 0)
        db->in_transaction = true;
    return r;
}

int db_begin(struct db *db)
{
    return begin(db, "BEGIN");
}

int db_begin_impatient(struct db *db, unsigned lock_ms)
{
    char sql[BEGIN_SQL_MAX];

    (void)snprintf(sql, sizeof(sql), "BEGIN; SET LOCAL lock_timeout = %u", lock_ms);
    return begin(db, sql);
}

int db_commit(struct db *db)
{
    int r;

    if (!db->in_transaction)
        return error_set(ERROR_INTERNAL, "database: no transaction is open");
    r = db_ready(db);
    if (r < 0)
        return r;
    if (PQtransactionStatus(db->conn) != PQTRANS_INTRANS) {
        /* COMMIT of a failed transaction answers ROLLBACK, without an error. */
        db_rollback(db);
        return error_set(ERROR_DB, "database: a statement of the transaction had failed");
    }
    r = db_exec(db, "COMMIT", true);
    db->in_transaction = false;
    return r;
}

void db_rollback(struct db *db)
{
    if (!db->in_transaction)
        return;
    db->in_transaction = false;
    /* A connection that cannot even do that is dropped, and the server rolls back by itself. */
    if (db_exec(db, "ROLLBACK", false) < 0)
        db_drop(db);
}
