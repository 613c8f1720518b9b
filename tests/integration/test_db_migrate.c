#include "db/migrate.h"

#include "db/migration.h"
#include "tests/integration/db_fixture.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(migrate_twice_is_a_no_op)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    CLEANUP(text_done) struct text report = {0};
    int64_t before = pg_number(cluster, database, "SELECT sum(oid::int8) FROM pg_class");

    ck_ok(db_migrate(db, &report));
    ck_assert_uint_eq(report.len, 0);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT sum(oid::int8) FROM pg_class"), before);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM schema_migration"),
        (int64_t)db_n_migrations);
    ck_ok(db_check(db));
}
END_TEST

START_TEST(migrate_fills_an_empty_database_and_reports_each)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(text_done) struct text report = {0};

    ck_assert_int_eq(pg_create(cluster, "empty_one"), 0);
    (void)snprintf(database, sizeof(database), "empty_one");
    db = open_as("cradle_owner");
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
    ck_ok(db_migrate(db, &report));
    ck_assert_ptr_nonnull(strstr(report.data, "applied 0001_organizations\n"));
    ck_assert_ptr_nonnull(strstr(report.data, "applied 0004_peers\n"));
    ck_assert_ptr_nonnull(strstr(report.data, "applied 0005_peer_tls\n"));
    ck_assert_ptr_nonnull(strstr(report.data, "applied 0006_peer_changes\n"));
    ck_ok(db_check(db));
}
END_TEST

START_TEST(changed_migration_is_refused_by_name)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    CLEANUP(text_done) struct text report = {0};

    pg_sql(cluster, database,
        "UPDATE schema_migration SET checksum = repeat('0', 64) WHERE number = 2");
    ck_assert_int_eq(db_migrate(db, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "0002_devices") != NULL, "%s", error_text());
}
END_TEST

START_TEST(unknown_migration_is_refused_by_name)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    CLEANUP(text_done) struct text report = {0};

    pg_sql(cluster, database,
        "INSERT INTO schema_migration (number, name, checksum) VALUES (9999, 'later', 'x')");
    ck_assert_int_eq(db_migrate(db, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "9999_later") != NULL, "%s", error_text());
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
}
END_TEST

START_TEST(missing_migration_below_an_applied_one_is_refused)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    CLEANUP(text_done) struct text report = {0};

    pg_sql(cluster, database, "DELETE FROM schema_migration WHERE number = 2");
    ck_assert_int_eq(db_migrate(db, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "0002_devices") != NULL, "%s", error_text());
}
END_TEST

START_TEST(peers_that_no_path_can_name_are_named_before_they_are_lost)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    CLEANUP(text_done) struct text report = {0};

    /* As it was before 0013. */
    ck_assert_int_eq(pg_sql(cluster, database, "ALTER TABLE kek DROP COLUMN public_id"), 0);
    ck_assert_int_eq(
        pg_sql(cluster, database, "DELETE FROM schema_migration WHERE number >= 13"), 0);
    ck_assert_int_eq(
        pg_sql(cluster, database,
            "INSERT INTO peer (kind, name, token_hash, revoked_at)"
            " SELECT 'network_server', n, sha256(n::bytea), w FROM (VALUES ('home/1', NULL),"
            "  ('..', NULL), (E'a\tb', NULL), ('good one.', NULL), ('gone/1', now())) AS v (n, w)"),
        0);
    ck_assert_int_eq(db_migrate(db, &report), ERROR_DB);
    for (size_t i = 0; i < 3; i++) {
        static const char *const words[] = {"0013_operator: ", "3 peers", "'home/1'"};

        ck_assert_msg(strstr(error_text(), words[i]) != NULL, "%s", error_text());
    }
    ck_assert_ptr_nonnull(strstr(error_text(), "former release"));
    ck_assert_ptr_null(strstr(error_text(), "gone/1"));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT max(number) FROM schema_migration"), 12);
    ck_assert_int_eq(pg_sql(cluster, database,
                         "UPDATE peer SET name = 'renamed-' || id WHERE name <> 'good one.'"
                         " AND revoked_at IS NULL"),
        0);
    /* It goes through now; what follows is there already. */
    ck_assert_int_eq(db_migrate(db, &report), ERROR_DB);
    ck_assert_ptr_nonnull(strstr(report.data, "applied 0013_operator\n"));
}
END_TEST

START_TEST(dev_nonces_in_pages_of_before_the_list_are_remembered)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    CLEANUP(db_cleanup) struct db *join = open_as("cradle_join");
    CLEANUP(text_done) struct text report = {0};

    make_devices(1, 2, LW_MAC_1_0_3);
    /* As it was before 0032. */
    ck_assert_int_eq(pg_sql(cluster, database,
                         "DROP FUNCTION dev_nonces_to_pages CASCADE;"
                         "ALTER TABLE device_join DROP COLUMN recent_join_eui,"
                         " DROP COLUMN recent_nonces, DROP COLUMN has_pages;"
                         "INSERT INTO dev_nonce_page SELECT dev_eui, join_eui, nonce_epoch, 0, 5,"
                         " set_bit(decode(repeat('00', 256), 'hex'), 5, 1) FROM device"
                         " ORDER BY dev_eui LIMIT 1;"
                         "DELETE FROM schema_migration WHERE number >= 32"),
        0);
    (void)db_migrate(db, &report); /* what follows may be there already */
    ck_assert_ptr_nonnull(strstr(report.data, "applied 0032_recent_nonces\n"));
    ck_assert(load_one(join, 1, 5).dev_nonce_used);
    ck_assert(!load_one(join, 1, 6).dev_nonce_used);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT count(*) FROM device_join WHERE has_pages"), 1);
}
END_TEST

START_TEST(missing_role_is_named_and_nothing_stays)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(text_done) struct text report = {0};

    ck_assert_int_eq(pg_create(cluster, "no_role"), 0);
    (void)snprintf(database, sizeof(database), "no_role");
    pg_sql(cluster, "postgres", "ALTER ROLE cradle_join RENAME TO cradle_away");
    db = open_as("cradle_owner");
    ck_assert_int_eq(db_migrate(db, &report), ERROR_DB);
    pg_sql(cluster, "postgres", "ALTER ROLE cradle_away RENAME TO cradle_join");
    ck_assert_msg(
        strstr(error_text(), "role cradle_join does not exist") != NULL, "%s", error_text());
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM schema_migration"), 0);
    ck_ok(db_migrate(db, &report));
}
END_TEST

START_TEST(every_table_and_column_has_a_comment)
{
    char *missing = pg_text(cluster, database,
        "SELECT c.relname, a.attname FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition AND col_description(c.oid, a.attnum) IS NULL"
        " UNION ALL SELECT c.relname, '(table)' FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL"
        " UNION ALL SELECT proname, '(function)' FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL");

    ck_assert_str_eq(missing, "");
    free(missing);
    /* The walk saw something. */
    ck_assert_int_gt(pg_number(cluster, database,
                         "SELECT count(*) FROM pg_description WHERE objsubid > 0 AND classoid ="
                         " 'pg_class'::regclass AND objoid >= 16384"),
        50);
}
END_TEST

START_TEST(every_statement_of_the_table_prepares)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");

    for (int id = 0; id < DB_N_STATEMENTS; id++) {
        const struct db_statement *s = db_statement_at((enum db_statement_id)id);

        ck_assert_ptr_nonnull(s);
        ck_assert_msg(
            db_prepare(db, (enum db_statement_id)id) == 0, "%s: %s", s->name, error_text());
        for (int other = 0; other < id; other++)
            ck_assert_str_ne(s->name, db_statement_at((enum db_statement_id)other)->name);
    }
}
END_TEST

START_TEST(check_refuses_an_unsafe_server)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");

    pg_sql(cluster, "postgres", "ALTER ROLE cradle_join SET synchronous_commit = off");
    ck_ok(db_check(db)); /* the session asserts its own */
    pg_sql(cluster, "postgres", "ALTER ROLE cradle_join RESET synchronous_commit");
    ck_assert_int_eq(db_exec(db, "SET synchronous_commit = off", false), 0);
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "synchronous_commit"));
}
END_TEST

START_TEST(closed_connection_is_opened_again_by_the_next_call)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");
    char sql[96];

    ck_ok(db_check(db));
    /* Waits until that backend is gone. */
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d, 5000)", db->backend.pid);
    ck_assert_int_eq(pg_sql(cluster, database, sql), 0);
    ck_ok(db_check(db));
}
END_TEST

START_TEST(lost_connection_ends_a_transaction_with_an_error)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");
    char sql[96];

    ck_ok(db_begin(db));
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d, 5000)", db->backend.pid);
    ck_assert_int_eq(pg_sql(cluster, database, sql), 0);
    ck_assert_int_eq(db_check(db), ERROR_DB);
    ck_ok(db_check(db));
}
END_TEST

START_TEST(killed_server_comes_back_to_the_same_handle)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");

    ck_ok(db_check(db));
    pg_cluster_kill(cluster);
    ck_assert_int_eq(db_check(db), ERROR_DB);
    ck_assert_int_eq(pg_cluster_resume(cluster), 0);
    ck_ok(db_check(db));
}
END_TEST

START_TEST(frozen_server_is_not_waited_for)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");
    int pid;

    db->statement_ms = 100;
    ck_ok(db_check(db));
    pid = db->backend.pid;
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(db_check(db), ERROR_DB);
    /* The next call is a new connection, and does not need the frozen one. */
    ck_ok(db_check(db));
    ck_assert_int_ne(db->backend.pid, pid);
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
}
END_TEST

START_TEST(errors_carry_no_values_of_rows)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");

    ck_assert_int_eq(
        db_exec(db, "INSERT INTO organization (name) VALUES ('canary-name')", true), 0);
    ck_assert_int_eq(
        db_exec(db, "INSERT INTO organization (name) VALUES ('canary-name')", true), ERROR_DB);
    ck_assert_ptr_nonnull(strstr(error_text(), "23505"));
    ck_assert_ptr_null(strstr(error_text(), "canary"));
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, migrate_twice_is_a_no_op);
    tcase_add_test(tcase, migrate_fills_an_empty_database_and_reports_each);
    tcase_add_test(tcase, changed_migration_is_refused_by_name);
    tcase_add_test(tcase, unknown_migration_is_refused_by_name);
    tcase_add_test(tcase, missing_migration_below_an_applied_one_is_refused);
    tcase_add_test(tcase, peers_that_no_path_can_name_are_named_before_they_are_lost);
    tcase_add_test(tcase, dev_nonces_in_pages_of_before_the_list_are_remembered);
    tcase_add_test(tcase, missing_role_is_named_and_nothing_stays);
    tcase_add_test(tcase, every_table_and_column_has_a_comment);
    tcase_add_test(tcase, every_statement_of_the_table_prepares);
    tcase_add_test(tcase, check_refuses_an_unsafe_server);
    tcase_add_test(tcase, closed_connection_is_opened_again_by_the_next_call);
    tcase_add_test(tcase, lost_connection_ends_a_transaction_with_an_error);
    tcase_add_test(tcase, killed_server_comes_back_to_the_same_handle);
    tcase_add_test(tcase, frozen_server_is_not_waited_for);
    tcase_add_test(tcase, errors_carry_no_values_of_rows);
}

int main(void)
{
    return run_suite("db migrate", add);
}
