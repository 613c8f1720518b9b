/* The guard where a conninfo names several hosts: two PostgreSQLs that know nothing of each other,
 * and one. */
#include "db/guard.h"

#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNINFO_MAX (2 * PG_CONNINFO_MAX)
#define GAP 100
#define AHEAD 1000000 /* bytes of WAL */

static struct pg_cluster *second;
static struct db_guard *guard;
static char witness[64];

static void second_up(void)
{
    ck_assert_int_eq(pg_cluster_start(&second), 0);
}

static void second_down(void)
{
    pg_cluster_stop(second);
}

static void both_up(void)
{
    ck_assert_int_eq(pg_clone(second, database), 0);
    (void)snprintf(witness, sizeof(witness), "/tmp/test_db_guard.%d.witness", (int)getpid());
    (void)unlink(witness);
}

static void guard_done(void)
{
    db_guard_free(guard);
    guard = NULL;
    (void)unlink(witness);
}

/* As a service that is started: with a guard that remembers nothing but its witness. */
static struct db *open_at(const char *hosts, const char *witness_path)
{
    char conninfo[CONNINFO_MAX];
    struct db *db = NULL;

    db_guard_free(guard);
    guard = NULL;
    ck_ok(db_guard_new("bump", witness_path, &guard));
    (void)snprintf(
        conninfo, sizeof(conninfo), "host=%s dbname=%s user=cradle_join", hosts, database);
    ck_ok(db_open(
        &(struct db_config){
            .conninfo = conninfo, .program = "test", .statement_ms = 30000, .guard = guard},
        &db));
    return db;
}

static const char *both(void)
{
    static char hosts[CONNINFO_MAX];

    (void)snprintf(
        hosts, sizeof(hosts), "%s,%s", pg_cluster_folder(cluster), pg_cluster_folder(second));
    return hosts;
}

static void bump(struct pg_cluster *at)
{
    char conninfo[PG_CONNINFO_MAX];
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_epoch_report report;

    ck_ok(
        db_open(&(struct db_config){.conninfo = pg_conninfo(at, database, "cradle_owner", conninfo),
                    .program = "test"},
            &db));
    ck_ok(db_epoch_bump(db, GAP, 0, &report));
}

static void check_said(const char *words)
{
    ck_assert_msg(strstr(error_text(), words) != NULL, "%s", error_text());
}

/* What an operator would find at the first host, and what is said of it. */
static const struct {
    const char *sql, *words;
} faults[] = {
    {"UPDATE database_epoch SET system_identifier = 1", "another cluster"},
    {"UPDATE database_epoch SET timeline = 0", "another timeline"},
    {"UPDATE database_epoch SET table_oid = 1", "restored from a dump"},
};
#define N_FAULTS ((int)(sizeof(faults) / sizeof(*faults)))

START_TEST(refused_host_is_passed_over_for_one_that_is_good)
{
    CLEANUP(db_cleanup) struct db *db = open_at(both(), "");

    ck_assert_int_eq(pg_sql(cluster, database, faults[_i].sql), 0);
    for (int i = 0; i < 2; i++) {
        ck_ok(db_check(db));
        ck_assert_uint_eq(db->hosts.at, 1);
        ck_ok(db_guard_look(guard));
        db_drop(db);
        db->hosts.at = 0;
    }
    db_close(db);
    db = open_at(pg_cluster_folder(cluster), "");
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
    check_said(faults[_i].words);
    ck_assert_int_eq(db_guard_look(guard), ERROR_CONFIG);
}
END_TEST

START_TEST(service_waits_for_the_good_host_and_ends_only_when_all_are_refused)
{
    CLEANUP(db_cleanup) struct db *db = open_at(both(), "");

    ck_assert_int_eq(pg_sql(cluster, database, faults[0].sql), 0);
    pg_cluster_kill(second);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(db_check(db), ERROR_DB);
        ck_ok(db_guard_look(guard));
    }
    ck_assert_int_eq(pg_cluster_resume(second), 0);
    ck_ok(db_check(db));
    ck_assert_uint_eq(db->hosts.at, 1);
    ck_assert_int_eq(pg_sql(second, database, faults[0].sql), 0);
    db_drop(db);
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
    check_said("database: refused");
    check_said("cradle epoch bump");
    ck_assert_int_eq(db_guard_look(guard), ERROR_CONFIG);
    /* And it has ended: not what comes later. */
    bump(second);
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
}
END_TEST

START_TEST(refused_host_that_is_bumped_is_taken_without_a_start)
{
    CLEANUP(db_cleanup) struct db *db = open_at(both(), "");

    ck_assert_int_eq(pg_sql(cluster, database, faults[0].sql), 0);
    pg_cluster_kill(second);
    ck_assert_int_eq(db_check(db), ERROR_DB);
    bump(cluster);
    ck_ok(db_check(db));
    ck_assert_uint_eq(db->hosts.at, 0);
    ck_assert_int_eq(pg_cluster_resume(second), 0);
}
END_TEST

START_TEST(former_primary_from_before_the_bump_is_passed_over_by_who_has_seen_it)
{
    CLEANUP(db_cleanup) struct db *db = open_at(pg_cluster_folder(second), witness);

    bump(second);
    ck_ok(db_check(db));
    db_close(db);
    db = open_at(both(), witness);
    ck_ok(db_check(db));
    ck_assert_uint_eq(db->hosts.at, 1);
    ck_ok(db_guard_look(guard));
    db_close(db);
    /* Alone it ends the service. */
    db = open_at(pg_cluster_folder(cluster), witness);
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
    check_said("before an epoch bump");
    check_said("--above 100");
    ck_assert_int_eq(db_guard_look(guard), ERROR_CONFIG);
}
END_TEST

/* The witness has seen a megabyte more than there is. */
static void go_back(void)
{
    struct db_witness *file = NULL;
    struct db_seen seen;

    ck_ok(db_witness_open(witness, &file));
    db_witness_read(file, &seen);
    ck_assert(seen.any);
    seen.lsn = (uint64_t)pg_number(
                   cluster, database, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn") +
               AHEAD;
    db_witness_write(file, &seen);
    db_witness_close(file);
}

static void write_on(void)
{
    ck_assert_int_eq(pg_sql(cluster, database,
                         "SELECT pg_logical_emit_message(false, 'test', repeat('x', 2000000))"),
        0);
}

START_TEST(database_that_went_back_stays_refused_when_it_was_written_to_since)
{
    CLEANUP(db_cleanup) struct db *db = open_at(pg_cluster_folder(cluster), witness);

    ck_ok(db_check(db));
    go_back();
    for (int i = 0; i < 2; i++) {
        db_close(db);
        db = open_at(pg_cluster_folder(cluster), witness);
        ck_assert_int_eq(db_check(db), ERROR_CONFIG);
        check_said("ends before what was answered");
        ck_assert_int_eq(db_guard_look(guard), ERROR_CONFIG);
        write_on();
    }
    bump(cluster);
    db_close(db);
    db = open_at(pg_cluster_folder(cluster), witness);
    ck_ok(db_check(db));
}
END_TEST

START_TEST(host_that_went_back_stays_refused_while_another_is_waited_for)
{
    char hosts[CONNINFO_MAX];
    CLEANUP(db_cleanup) struct db *db = open_at(pg_cluster_folder(cluster), witness);

    ck_ok(db_check(db));
    go_back();
    db_close(db);
    (void)snprintf(hosts, sizeof(hosts), "/nonexistent,%s", pg_cluster_folder(cluster));
    db = open_at(hosts, witness);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(db_check(db), ERROR_DB);
        check_said("ends before what was answered");
        ck_ok(db_guard_look(guard));
        db->hosts.at = 0;
        write_on();
    }
    bump(cluster);
    ck_ok(db_check(db));
}
END_TEST

START_TEST(timeline_that_a_service_with_another_setting_took_is_refused)
{
    CLEANUP(db_cleanup) struct db *db = open_at(pg_cluster_folder(cluster), witness);
    struct db_witness *file = NULL;
    struct db_seen seen;

    ck_ok(db_check(db));
    db_close(db);
    /* As after a failover to timeline 1 from one before it, which others have taken. */
    ck_ok(db_witness_open(witness, &file));
    db_witness_read(file, &seen);
    seen.timeline = 0;
    db_witness_write(file, &seen);
    db_witness_close(file);
    db = open_at(pg_cluster_folder(cluster), witness);
    ck_assert_int_eq(db_check(db), ERROR_CONFIG);
    check_said("taken by a service");
    bump(cluster);
    db_close(db);
    db = open_at(pg_cluster_folder(cluster), witness);
    ck_ok(db_check(db));
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_unchecked_fixture(tcase, second_up, second_down);
    tcase_add_checked_fixture(tcase, both_up, guard_done);
    tcase_add_loop_test(tcase, refused_host_is_passed_over_for_one_that_is_good, 0, N_FAULTS);
    tcase_add_test(tcase, service_waits_for_the_good_host_and_ends_only_when_all_are_refused);
    tcase_add_test(tcase, refused_host_that_is_bumped_is_taken_without_a_start);
    tcase_add_test(tcase, former_primary_from_before_the_bump_is_passed_over_by_who_has_seen_it);
    tcase_add_test(tcase, database_that_went_back_stays_refused_when_it_was_written_to_since);
    tcase_add_test(tcase, host_that_went_back_stays_refused_while_another_is_waited_for);
    tcase_add_test(tcase, timeline_that_a_service_with_another_setting_took_is_refused);
}

int main(void)
{
    return run_suite("db guard", add);
}
