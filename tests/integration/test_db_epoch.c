#include "db/epoch.h"

#include "db/guard.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GAP 100
#define LAST 0xFFFFFF

static uint32_t join(struct db *db, uint32_t number, uint16_t dev_nonce)
{
    struct db_join_row row = load_one(db, number, dev_nonce);
    struct db_join_commit commit = commit_of(&row, dev_nonce, false);
    bool won = false;

    ck_ok(db_join_commit(db, &commit, 1, &won));
    ck_assert(won);
    return commit.new_join_nonce;
}

static struct db_epoch_report bump(uint32_t gap, uint32_t above)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    struct db_epoch_report report;

    ck_ok(db_epoch_bump(db, gap, above, &report));
    return report;
}

START_TEST(bump_leaves_a_gap_once_in_each_join_nonce)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");

    make_devices(1, 2, LW_MAC_1_0_3);
    ck_assert_uint_eq(join(db, 1, 1), 1);
    ck_assert_uint_eq(join(db, 1, 2), 2);
    ck_assert_uint_eq(bump(GAP, 0).after.join_nonce_total, GAP);
    ck_assert_uint_eq(join(db, 1, 3), 2 + GAP + 1);
    ck_assert_uint_eq(join(db, 1, 4), 2 + GAP + 2);
    /* One that did not join in between leaves out both. */
    (void)bump(GAP, 0);
    ck_assert_uint_eq(join(db, 1, 5), 2 + GAP + 2 + GAP + 1);
    ck_assert_uint_eq(join(db, 2, 1), 2 * GAP + 1);
    ck_assert_uint_eq(join(db, 2, 2), 2 * GAP + 2);
    /* One that is made anew begins above all that it may have had. */
    make_devices(3, 1, LW_MAC_1_0_3);
    ck_assert_uint_eq(join(db, 3, 1), 2 * GAP + 1);
}
END_TEST

START_TEST(bump_between_load_and_commit_waits_for_the_next_join)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");
    struct db_join_commit commit;
    struct db_join_row row;
    bool won = false;

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(db, 1, 1);
    commit = commit_of(&row, 1, false);
    (void)bump(GAP, 0);
    ck_ok(db_join_commit(db, &commit, 1, &won));
    ck_assert(won);
    ck_assert_uint_eq(join(db, 1, 2), 1 + GAP + 1);
}
END_TEST

START_TEST(same_backup_bumped_twice_goes_above_what_a_witness_saw)
{
    struct db_epoch_report report = bump(GAP, 5000);

    ck_assert_uint_eq(report.before.join_nonce_total, 0);
    ck_assert_uint_eq(report.after.join_nonce_total, 5000 + GAP);
    ck_assert_uint_eq(report.after.epoch, 1);
    ck_assert_mem_ne(report.before.mark, report.after.mark, sizeof(report.after.mark));
}
END_TEST

START_TEST(bump_reports_devices_whose_join_nonces_end_and_refuses_to_use_up_all)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_owner");
    CLEANUP(db_cleanup) struct db *joins = open_as("cradle_join");
    struct db_epoch_report report;
    struct eui64 used_up = eui_of(2);

    make_devices(1, 3, LW_MAC_1_0_3);
    ck_assert_int_eq(pg_sql(cluster, database,
                         "UPDATE device_join SET join_nonce = 16700000 WHERE dev_eui ="
                         " '\\x70b3d50000000002'"),
        0);
    ck_assert_int_eq(pg_sql(cluster, database,
                         "UPDATE device_join SET join_nonce = 15500000 WHERE dev_eui ="
                         " '\\x70b3d50000000003'"),
        0);
    ck_ok(db_epoch_bump(db, DB_EPOCH_GAP_MAX / 10, 0, &report));
    ck_assert_uint_eq(report.n_low, 2);
    ck_assert_uint_eq(report.n_used_up, 1);
    ck_assert_uint_eq(report.n_shown, 2);
    ck_assert_mem_eq(&report.low[0], &used_up, sizeof(used_up));
    ck_assert_uint_eq(load_one(joins, 2, 1).state.join_nonce_gap, DB_EPOCH_GAP_MAX / 10);
    ck_assert_int_eq(db_epoch_bump(db, GAP, LAST - 1, &report), ERROR_INPUT);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT epoch FROM database_epoch"), 1);
}
END_TEST

START_TEST(bump_is_audited_and_gives_no_number_twice)
{
    int64_t before;

    make_devices(1, 1, LW_MAC_1_0_3);
    before = pg_number(cluster, database, "SELECT max(id) FROM organization");
    (void)bump(GAP, 0);
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM audit_event WHERE action = 'database.epoch.bump'"
                         " AND detail->>'join_nonce_total' = '100' AND client_id IS NULL"),
        1);
    ck_assert_int_eq(
        pg_sql(cluster, database, "INSERT INTO organization (name) VALUES ('later')"), 0);
    ck_assert_int_gt(pg_number(cluster, database, "SELECT max(id) FROM organization"),
        before + DB_EPOCH_ID_STEP);
}
END_TEST

/* --- the guard of a connection --- */

static char witness[64];
static struct db_guard *guard;

static void witness_up(void)
{
    (void)snprintf(witness, sizeof(witness), "/tmp/test_epoch.%d.witness", (int)getpid());
    (void)unlink(witness);
}

static void guard_done(void)
{
    db_guard_free(guard);
    guard = NULL;
    (void)unlink(witness);
}

static struct db *open_guarded(const char *failover, const char *role)
{
    char conninfo[PG_CONNINFO_MAX];
    struct db *db = NULL;

    db_guard_free(guard);
    guard = NULL;
    ck_ok(db_guard_new(failover, witness, &guard));
    ck_ok(db_open(&(struct db_config){.conninfo = pg_conninfo(cluster, database, role, conninfo),
                      .program = "test",
                      .statement_ms = 30000,
                      .guard = guard},
        &db));
    return db;
}

static void check_refused(const char *failover, const char *words)
{
    CLEANUP(db_cleanup) struct db *db = open_guarded(failover, "cradle_join");

    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), words) != NULL, "%s", error_text());
    ck_assert_msg(strstr(error_text(), "cradle epoch bump") != NULL, "%s", error_text());
    ck_assert_int_eq(db_guard_look(guard), ERROR_CONFIG);
}

static void check_good(const char *failover)
{
    static const char *const roles[] = {"cradle_join", "cradle_activation"};

    for (size_t i = 0; i < 2; i++) {
        CLEANUP(db_cleanup) struct db *db = open_guarded(failover, roles[i]);

        ck_ok(db_check(db));
        ck_ok(db_guard_look(guard));
    }
}

START_TEST(database_of_another_cluster_is_refused_until_the_bump)
{
    check_good("bump");
    pg_sql(cluster, database, "UPDATE database_epoch SET system_identifier = 1");
    check_refused("bump", "another cluster");
    check_refused("synchronous", "another cluster");
    (void)bump(GAP, 0);
    check_good("bump");
}
END_TEST

START_TEST(dump_restored_into_the_same_cluster_is_refused_until_the_bump)
{
    check_good("bump");
    ck_assert_int_eq(pg_sql(cluster, database,
                         "CREATE TABLE again (LIKE database_epoch INCLUDING ALL);"
                         "INSERT INTO again SELECT * FROM database_epoch;"
                         "ALTER TABLE again OWNER TO cradle_owner;"
                         "GRANT SELECT ON again TO cradle_join, cradle_activation;"
                         "ALTER TABLE database_epoch RENAME TO before;"
                         "ALTER TABLE again RENAME TO database_epoch"),
        0);
    check_refused("bump", "restored from a dump");
    (void)bump(GAP, 0);
    check_good("bump");
}
END_TEST

START_TEST(changed_timeline_is_refused_until_the_bump)
{
    check_good("bump");
    pg_sql(cluster, database, "UPDATE database_epoch SET timeline = 0");
    check_refused("bump", "another timeline");
    (void)bump(GAP, 0);
    check_good("bump");
}
END_TEST

START_TEST(synchronous_failover_is_taken_only_where_commits_wait_for_a_standby)
{
    CLEANUP(db_cleanup) struct db *db = NULL;

    check_good("synchronous");
    guard_done(); /* or what was seen on it would be of a later timeline than its row */
    pg_sql(cluster, database, "UPDATE database_epoch SET timeline = 0");
    db = open_guarded("synchronous", "cradle_join");
    ck_assert_int_eq(db_check(db), ERROR_DB);
    ck_assert_msg(strstr(error_text(), "standby") != NULL, "%s", error_text());
    ck_ok(db_guard_look(guard)); /* not for good */
    ck_assert_int_eq(pg_number(cluster, database, "SELECT timeline FROM database_epoch"), 0);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT database_take_timeline()"), 0);
    pg_sql(cluster, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    pg_sql(cluster, "postgres", "SELECT pg_reload_conf()");
    wait_until("SELECT (current_setting('synchronous_standby_names') = 'nobody')::int");
    ck_assert_int_eq(pg_number(cluster, database,
                         "SET synchronous_commit = local; SELECT database_take_timeline()"),
        1);
    ck_ok(db_check(db));
    pg_sql(cluster, "postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    pg_sql(cluster, "postgres", "SELECT pg_reload_conf()");
    wait_until("SELECT (current_setting('synchronous_standby_names') = '')::int");
    ck_assert_int_eq(pg_number(cluster, database, "SELECT timeline FROM database_epoch"), 1);
}
END_TEST

START_TEST(join_that_was_answered_and_is_gone_is_noticed_by_its_position)
{
    CLEANUP(db_cleanup) struct db *db = open_guarded("bump", "cradle_join");
    struct db_witness *file = NULL;
    struct db_seen seen, later;

    make_devices(1, 1, LW_MAC_1_0_3);
    ck_ok(db_check(db));
    ck_ok(db_witness_open(witness, &file));
    db_witness_read(file, &seen);
    (void)join(db, 1, 1);
    db_witness_read(file, &later);
    ck_assert_uint_gt(later.lsn, seen.lsn);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT (pg_current_wal_flush_lsn() - '0/0' >= 1)::int"), 1);
    /* As if the database had been set back to before it. */
    later.lsn += 1u << 30;
    db_witness_write(file, &later);
    db_witness_close(file);
    check_refused("bump", "ends before");
    check_refused("synchronous", "ends before");
    (void)bump(GAP, 0);
    check_good("bump");
}
END_TEST

START_TEST(database_from_before_a_bump_is_refused_with_the_number_to_go_above)
{
    (void)bump(GAP, 0);
    check_good("bump");
    pg_sql(cluster, database,
        "UPDATE database_epoch SET epoch = 0, join_nonce_total = 0, mark = gen_random_uuid()");
    check_refused("bump", "before an epoch bump");
    ck_assert_msg(strstr(error_text(), "--above 100") != NULL, "%s", error_text());
    /* Without that number the gap would be the same again. */
    (void)bump(GAP, 0);
    check_refused("bump", "before an epoch bump");
    (void)bump(GAP, GAP);
    check_good("bump");
}
END_TEST

START_TEST(connection_that_is_made_anew_is_asked_again)
{
    CLEANUP(db_cleanup) struct db *db = open_guarded("bump", "cradle_join");
    struct db_join_key key = {.dev_eui = eui_of(1), .dev_nonce = 1};
    struct db_join_row row;

    make_devices(1, 1, LW_MAC_1_0_3);
    ck_ok(db_join_load(db, &key, 1, &row));
    pg_sql(cluster, database, "UPDATE database_epoch SET timeline = 99");
    ck_ok(db_join_load(db, &key, 1, &row));
    db_drop(db);
    ck_assert_int_eq(db_join_load(db, &key, 1, &row), ERROR_CONFIG);
    ck_assert_int_eq(db_join_load(db, &key, 1, &row), ERROR_CONFIG);
    ck_assert_int_eq(db_guard_look(guard), ERROR_CONFIG);
    /* For good: also on one that would be right, as another host of a list may be. */
    pg_sql(cluster, database, "UPDATE database_epoch SET timeline = 1");
    ck_assert_int_eq(db_join_load(db, &key, 1, &row), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "another timeline") != NULL, "%s", error_text());
}
END_TEST

START_TEST(database_of_a_schema_without_epochs_is_refused_where_one_was_seen)
{
    CLEANUP(db_cleanup) struct db *db = NULL;

    check_good("bump");
    pg_sql(cluster, database, "ALTER TABLE database_epoch RENAME TO not_made_yet");
    db = open_guarded("bump", "cradle_join");
    ck_assert_int_eq(db_ready(db), ERROR_CONFIG);
    ck_assert_int_eq(db_guard_look(guard), ERROR_CONFIG);
    db_close(db);
    db = NULL;
    guard_done();
    db = open_guarded("bump", "cradle_join");
    ck_ok(db_ready(db)); /* for db_check to say what is to be done */
}
END_TEST

#define N_RECONNECTS 300

static atomic_bool notes_end;

/* As many answers as can be: each moves the end of the WAL and is noted. */
static void *note_on(void *conn)
{
    while (!atomic_load(&notes_end)) {
        PGresult *result =
            PQexec(conn, "SELECT pg_logical_emit_message(false, 'test', '') - '0/0'::pg_lsn");

        db_guard_note(guard, strtoull(PQgetvalue(result, 0, 0), NULL, 10));
        PQclear(result);
    }
    return NULL;
}

/* Where the database is, is asked while others answer: what they noted meanwhile is behind that. */
START_TEST(connection_that_is_made_while_others_answer_is_good)
{
    CLEANUP(db_cleanup) struct db *db = open_guarded("bump", "cradle_join");
    char conninfo[PG_CONNINFO_MAX];
    PGconn *conn = PQconnectdb(pg_conninfo(cluster, database, "cradle_owner", conninfo));
    pthread_t thread;
    int r = 0;

    ck_assert_int_eq(PQstatus(conn), CONNECTION_OK);
    ck_ok(db_ready(db));
    atomic_store(&notes_end, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, note_on, conn), 0);
    for (int i = 0; i < N_RECONNECTS && r == 0; i++) {
        db_drop(db);
        r = db_ready(db);
    }
    atomic_store(&notes_end, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    PQfinish(conn);
    ck_ok(r);
    ck_ok(db_guard_look(guard));
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, witness_up, guard_done);
    tcase_add_test(tcase, bump_leaves_a_gap_once_in_each_join_nonce);
    tcase_add_test(tcase, bump_between_load_and_commit_waits_for_the_next_join);
    tcase_add_test(tcase, same_backup_bumped_twice_goes_above_what_a_witness_saw);
    tcase_add_test(tcase, bump_reports_devices_whose_join_nonces_end_and_refuses_to_use_up_all);
    tcase_add_test(tcase, bump_is_audited_and_gives_no_number_twice);
    tcase_add_test(tcase, database_of_another_cluster_is_refused_until_the_bump);
    tcase_add_test(tcase, dump_restored_into_the_same_cluster_is_refused_until_the_bump);
    tcase_add_test(tcase, changed_timeline_is_refused_until_the_bump);
    tcase_add_test(tcase, synchronous_failover_is_taken_only_where_commits_wait_for_a_standby);
    tcase_add_test(tcase, join_that_was_answered_and_is_gone_is_noticed_by_its_position);
    tcase_add_test(tcase, database_from_before_a_bump_is_refused_with_the_number_to_go_above);
    tcase_add_test(tcase, connection_that_is_made_anew_is_asked_again);
    tcase_add_test(tcase, connection_that_is_made_while_others_answer_is_good);
    tcase_add_test(tcase, database_of_a_schema_without_epochs_is_refused_where_one_was_seen);
}

int main(void)
{
    return run_suite("db epoch", add);
}
