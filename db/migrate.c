#include "db/migrate.h"

#include "db/connection.h"
#include "db/migration.h"
#include <stdio.h>
#include <string.h>

/* This table is there before any migration, so the runner makes it. */
static const char table_sql[] =
    "CREATE TABLE IF NOT EXISTS schema_migration ("
    "  number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
    "  applied_at timestamptz NOT NULL DEFAULT now());"
    "COMMENT ON TABLE schema_migration IS 'The migrations this database has; forward only.';"
    "COMMENT ON COLUMN schema_migration.number IS 'Number of the migration, from 1.';"
    "COMMENT ON COLUMN schema_migration.name IS 'Its name.';"
    "COMMENT ON COLUMN schema_migration.checksum IS 'SHA-256 of its text; a changed one is refused.';"
    "COMMENT ON COLUMN schema_migration.applied_at IS 'When it was applied.'";

/* One runner at a time in a database; any constant will do, as long as it stays. */
#define LOCK_SQL "SELECT pg_advisory_lock(4849011)"
#define UNLOCK_SQL "SELECT pg_advisory_unlock(4849011)"

#define NAME_MAX_LEN 64
#define CHECKSUM_LEN 64
#define RECORD_SQL_MAX 512

struct recorded {
    int number;
    char name[NAME_MAX_LEN + 1];
    char checksum[CHECKSUM_LEN + 1];
};

int db_migrate_newest(void)
{
    return db_migrations[db_n_migrations - 1].number;
}

/** One row of schema_migration against what is compiled in. */
static int check_recorded(const struct recorded *row)
{
    const struct db_migration *known;

    /* Numbers run from 1 without a gap: the generator holds them to it. */
    if (row->number < 1 || (size_t)row->number > db_n_migrations)
        return error_set(ERROR_CONFIG,
            "migration %04d_%s is in the database and unknown to this program; use a newer program",
            row->number, row->name);
    known = &db_migrations[row->number - 1];
    if (strcmp(row->name, known->name) != 0 || strcmp(row->checksum, known->checksum) != 0)
        return error_set(ERROR_CONFIG,
            "migration %04d_%s was changed after it was applied (here %04d_%s, checksum %.12s)",
            row->number, row->name, known->number, known->name, known->checksum);
    return 0;
}

/** Checks what the database has and tells the number of the newest. */
static int check_database(struct db *db, int *ret_newest)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    r = db_run(db, DB_MIGRATIONS, &rows);
    if (r < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        struct recorded row;

        row.number = (int)db_row_int(&rows, i, 0, INT32_MIN, INT32_MAX);
        db_row_text(&rows, i, 1, row.name, sizeof(row.name));
        db_row_text(&rows, i, 2, row.checksum, sizeof(row.checksum));
        r = db_rows_check(&rows);
        if (r == 0)
            r = check_recorded(&row);
        if (r < 0)
            return r;
        if (row.number != (int)i + 1)
            return error_set(ERROR_CONFIG, "migration %04d_%s is missing before %04d_%s",
                db_migrations[i].number, db_migrations[i].name, row.number, row.name);
    }
    *ret_newest = (int)rows.n;
    return 0;
}

const struct db_statement db_migrations_statement = {
    .name = "migrations",
    .sql = "SELECT number, name, checksum FROM schema_migration ORDER BY number",
    .shape = DB_SHAPE_MANY,
};

static int apply(struct db *db, const struct db_migration *m)
{
    char sql[RECORD_SQL_MAX];
    char why[ERROR_TEXT_MAX];
    int r;

    /* Name and checksum come from the build: letters, digits and '_'. */
    snprintf(sql, sizeof(sql),
        "INSERT INTO schema_migration (number, name, checksum) VALUES (%d, '%s', '%s')", m->number,
        m->name, m->checksum);
    r = db_begin(db);
    if (r == 0)
        r = db_exec(db, m->text, false);
    if (r == 0)
        r = db_exec(db, sql, false);
    if (r == 0)
        return db_commit(db);
    snprintf(why, sizeof(why), "%s", error_text());
    db_rollback(db);
    return error_set(r, "migration %04d_%s: %.400s", m->number, m->name, why);
}

static int migrate_locked(struct db *db, struct text *report)
{
    int newest = 0;
    int r;

    r = db_exec(db, table_sql, true);
    if (r == 0)
        r = check_database(db, &newest);
    if (r < 0)
        return r;
    for (size_t i = (size_t)newest; i < db_n_migrations; i++) {
        r = apply(db, &db_migrations[i]);
        if (r < 0)
            return r;
        text_addf(report, "applied %04d_%s\n", db_migrations[i].number, db_migrations[i].name);
    }
    return 0;
}

int db_migrate(struct db *db, struct text *report)
{
    char why[ERROR_TEXT_MAX];
    int r;

    r = db_exec(db, LOCK_SQL, false);
    if (r < 0)
        return r;
    r = migrate_locked(db, report);
    if (r == 0)
        return db_exec(db, UNLOCK_SQL, false);
    /* The end of the connection gives the lock back, whatever state it is in. */
    snprintf(why, sizeof(why), "%s", error_text());
    db_drop(db);
    return error_set(r, "%s", why);
}
