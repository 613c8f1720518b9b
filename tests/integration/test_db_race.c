#include "base/clock.h"
#include "tests/integration/db_fixture.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMPATIENT_MS 150
#define N_RACERS 64
#define N_SHARED 100
#define N_HALVES 2
#define N_ROUNDS 150

struct racer {
    pthread_t thread;
    pthread_barrier_t *start;
    struct db *db;
    struct db_join_commit commit;
    bool won;
    int result;
};

static void *race(void *arg)
{
    struct racer *r = arg;

    r->result = db_check(r->db);
    pthread_barrier_wait(r->start);
    if (r->result == 0)
        r->result = db_join_commit(r->db, &r->commit, 1, &r->won);
    return NULL;
}

START_TEST(of_64_connections_with_one_device_exactly_one_wins)
{
    static struct racer racers[N_RACERS];
    pthread_barrier_t start;
    struct db_join_row row;
    unsigned n_won = 0;

    make_devices(1, 1, LW_MAC_1_0_3);
    racers[0].db = open_as("cradle_join");
    row = load_one(racers[0].db, 1, 7);
    pthread_barrier_init(&start, NULL, N_RACERS);
    for (unsigned i = 0; i < N_RACERS; i++) {
        if (i)
            racers[i].db = open_as("cradle_join");
        racers[i].start = &start;
        racers[i].commit = commit_of(&row, 7, false);
        racers[i].commit.dev_addr.bytes[3] = (uint8_t)i;
        ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < N_RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        db_close(racers[i].db);
        ck_assert_int_eq(racers[i].result, 0);
        n_won += racers[i].won;
    }
    pthread_barrier_destroy(&start);
    ck_assert_uint_eq(n_won, 1);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM join_event"), 1);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT join_nonce FROM device_join"), 1);
}
END_TEST

struct server {
    pthread_t thread;
    struct db *db;
    bool backwards;
    int result;
    unsigned n_won;
    char why[ERROR_TEXT_MAX];
};

/** Loads and commits all shared devices, N_HALVES batches a round, in its own order. */
static void *serve(void *arg)
{
    struct server *s = arg;
    struct db_join_key keys[DB_JOIN_BATCH_MAX];
    struct db_join_row rows[DB_JOIN_BATCH_MAX];
    struct db_join_commit commits[DB_JOIN_BATCH_MAX];
    bool won[DB_JOIN_BATCH_MAX];
    const unsigned n = N_SHARED / N_HALVES;

    for (unsigned round = 0; round < N_ROUNDS * N_HALVES && s->result == 0; round++) {
        uint16_t dev_nonce = (uint16_t)(2 * round + s->backwards);

        for (unsigned i = 0; i < n; i++) {
            unsigned number = round % N_HALVES * n + i;

            keys[i].dev_eui = eui_of(s->backwards ? N_SHARED - 1 - number : number);
            keys[i].dev_nonce = dev_nonce;
        }
        s->result = db_join_load(s->db, keys, n, rows);
        if (s->result < 0)
            break;
        for (unsigned i = 0; i < n; i++)
            commits[i] = commit_of(&rows[i], dev_nonce, false);
        s->result = db_join_commit(s->db, commits, n, won);
        for (unsigned i = 0; i < n && s->result == 0; i++)
            s->n_won += won[i];
    }
    if (s->result < 0)
        snprintf(s->why, sizeof(s->why), "%s", error_text());
    return NULL;
}

START_TEST(two_servers_over_the_same_devices_never_deadlock_nor_repeat_a_join_nonce)
{
    struct server servers[2] = {{.backwards = false}, {.backwards = true}};
    unsigned n_won = 0;

    make_devices(0, N_SHARED, LW_MAC_1_0_3);
    for (int i = 0; i < 2; i++) {
        servers[i].db = open_as("cradle_join");
        ck_assert_int_eq(pthread_create(&servers[i].thread, NULL, serve, &servers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(servers[i].thread, NULL);
        n_won += servers[i].n_won;
        db_close(servers[i].db);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_msg(servers[i].result == 0, "%s", servers[i].why);
    ck_assert_uint_ge(n_won, N_ROUNDS * N_SHARED);
    /* A backend reports its counts when it ends, shortly after its connection. */
    wait_until("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE usename = 'cradle_join' AND"
               " datname = current_database()");
    ck_assert_int_eq(
        pg_number(cluster, database,
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        0);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM join_event"), n_won);
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM (SELECT FROM join_event GROUP BY dev_eui, join_nonce"
                         " HAVING count(*) > 1) AS twice"),
        0);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT sum(join_nonce) FROM device_join"), n_won);
    ck_assert_int_eq(n_dev_nonces(), n_won);
}
END_TEST

/** Waits until the one backend of cradle_join waits as named; the condition, not time, ends it. */
static void wait_for_backend(const char *wait_event_type, const char *wait_event)
{
    char sql[256];

    snprintf(sql, sizeof(sql),
        "SELECT (count(*) > 0)::int FROM pg_stat_activity WHERE usename = 'cradle_join' AND"
        " datname = current_database() AND wait_event_type = '%s' AND wait_event = '%s'",
        wait_event_type, wait_event);
    wait_until(sql);
}

/** Starts a commit of device 1 in a thread, on a handle that is connected. */
static void start_commit(struct racer *r, pthread_barrier_t *start)
{
    struct db_join_row row;

    make_devices(1, 1, LW_MAC_1_0_3);
    r->db = open_as("cradle_join");
    row = load_one(r->db, 1, 7);
    r->commit = commit_of(&row, 7, false);
    r->start = start;
    pthread_barrier_init(start, NULL, 1);
}

START_TEST(session_ended_while_it_waits_for_a_row_has_committed_nothing)
{
    char conninfo[PG_CONNINFO_MAX];
    pthread_barrier_t start;
    struct racer r = {0};
    PGconn *holder;

    start_commit(&r, &start);
    holder = PQconnectdb(pg_conninfo(cluster, database, "postgres", conninfo));
    PQclear(PQexec(holder, "BEGIN"));
    PQclear(PQexec(holder, "SELECT FROM device_join FOR UPDATE"));
    pthread_create(&r.thread, NULL, race, &r);
    wait_for_backend("Lock", "transactionid");
    pg_sql(cluster, database,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename ="
        " 'cradle_join' AND datname = current_database()");
    pthread_join(r.thread, NULL);
    PQfinish(holder);
    ck_assert(r.result == ERROR_DB_UNKNOWN || r.result == ERROR_DB);
    r.won = true;
    ck_ok(db_join_resolve(r.db, &r.commit, 1, &r.won));
    ck_assert(!r.won);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT join_nonce FROM device_join"), 0);
    /* The handle is good again, and so is the join. */
    ck_ok(db_join_commit(r.db, &r.commit, 1, &r.won));
    ck_assert(r.won);
    db_close(r.db);
    pthread_barrier_destroy(&start);
}
END_TEST

START_TEST(resolve_ends_a_commit_that_still_waits)
{
    char conninfo[PG_CONNINFO_MAX];
    pthread_barrier_t start;
    struct racer r = {0};
    CLEANUP(db_cleanup) struct db *other = NULL;
    PGconn *holder;

    start_commit(&r, &start);
    other = open_as("cradle_join");
    ck_ok(db_check(other));
    holder = PQconnectdb(pg_conninfo(cluster, database, "postgres", conninfo));
    PQclear(PQexec(holder, "BEGIN"));
    PQclear(PQexec(holder, "SELECT FROM device_join FOR UPDATE"));
    pthread_create(&r.thread, NULL, race, &r);
    wait_for_backend("Lock", "transactionid");
    /* As if `other` were the handle whose connection broke while that backend went on. */
    other->left[0] = r.db->backend;
    r.won = true;
    ck_ok(db_join_resolve(other, &r.commit, 1, &r.won));
    ck_assert(!r.won);
    PQclear(PQexec(holder, "COMMIT"));
    PQfinish(holder);
    pthread_join(r.thread, NULL);
    ck_assert_int_eq(r.result, ERROR_DB_UNKNOWN);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT join_nonce FROM device_join"), 0);
    db_close(r.db);
    pthread_barrier_destroy(&start);
}
END_TEST

/** How a wait for a standby that is not there comes to its end. */
static const char *const wait_enders[] = {
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename ="
    " 'cradle_join' AND datname = current_database()",
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename ="
    " 'cradle_join' AND datname = current_database()",
};

START_TEST(ended_wait_for_a_standby_is_unknown_and_resolve_finds_the_join)
{
    const struct db_join_key key = {.dev_eui = eui_of(1), .dev_nonce = 8};
    struct db_join_row row;
    pthread_barrier_t start;
    struct racer r = {0};

    /* Its warning alone tells, and must come whatever somebody set for the role. */
    pg_sql(cluster, database, "ALTER ROLE cradle_join SET client_min_messages = error");
    start_commit(&r, &start);
    pg_sql(cluster, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    pg_sql(cluster, "postgres", "SELECT pg_reload_conf()");
    wait_until("SELECT (current_setting('synchronous_standby_names') = 'nobody')::int");
    pthread_create(&r.thread, NULL, race, &r);
    wait_for_backend("IPC", "SyncRep");
    pg_sql(cluster, database, wait_enders[_i]);
    pthread_join(r.thread, NULL);
    ck_assert_int_eq(r.result, ERROR_DB_UNKNOWN);
    /* It is there, and on no standby: nothing is read before a commit behind it has come through.
     */
    ck_assert_int_eq(pg_number(cluster, database, "SELECT join_nonce FROM device_join"), 1);
    db_set_deadline(r.db, clock_monotonic_ms() + IMPATIENT_MS);
    ck_assert_int_eq(db_join_load(r.db, &key, 1, &row), ERROR_DB);
    db_set_deadline(r.db, 0);
    pg_sql(cluster, "postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    pg_sql(cluster, "postgres", "SELECT pg_reload_conf()");
    pg_sql(cluster, database, "ALTER ROLE cradle_join RESET client_min_messages");
    ck_ok(db_join_resolve(r.db, &r.commit, 1, &r.won));
    ck_assert(r.won);
    db_close(r.db);
    pthread_barrier_destroy(&start);
}
END_TEST

START_TEST(killed_server_loses_no_join_it_confirmed)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");
    struct server s = {.db = db};
    int64_t in_database;

    make_devices(0, N_SHARED, LW_MAC_1_0_3);
    pthread_create(&s.thread, NULL, serve, &s);
    wait_until("SELECT (count(*) >= 100)::int FROM join_event");
    pg_cluster_kill(cluster);
    pthread_join(s.thread, NULL);
    ck_assert_int_eq(pg_cluster_resume(cluster), 0);
    /* Never fewer than confirmed; more by at most the batch whose answer was lost. */
    in_database = pg_number(cluster, database, "SELECT count(*) FROM join_event");
    ck_assert_int_ge(in_database, s.n_won);
    ck_assert_int_le(in_database, s.n_won + N_SHARED / N_HALVES);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT sum(join_nonce) FROM device_join"), in_database);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, of_64_connections_with_one_device_exactly_one_wins);
    tcase_add_test(tcase, two_servers_over_the_same_devices_never_deadlock_nor_repeat_a_join_nonce);
    tcase_add_test(tcase, session_ended_while_it_waits_for_a_row_has_committed_nothing);
    tcase_add_test(tcase, resolve_ends_a_commit_that_still_waits);
    tcase_add_loop_test(tcase, ended_wait_for_a_standby_is_unknown_and_resolve_finds_the_join, 0,
        sizeof(wait_enders) / sizeof(*wait_enders));
    tcase_add_test(tcase, killed_server_loses_no_join_it_confirmed);
}

int main(void)
{
    return run_suite("db race", add);
}
