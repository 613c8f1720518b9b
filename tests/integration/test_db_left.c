/* What connections leave behind while commits wait for a standby that does not answer. */
#include "base/clock.h"
#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <string.h>

#define IMPATIENT_MS 150
#define TRIES 12

/* As many of ours as there are beside this one. */
#define BACKENDS                                                                                   \
    "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('cradle_join', 'cradle_activation')"  \
    " AND datname = current_database()"
#define NONE_LEFT                                                                                  \
    "SELECT (count(*) <= 1)::int FROM pg_stat_activity WHERE usename = 'cradle_join'"              \
    " AND datname = current_database()"

static void standbys_are(const char *name)
{
    char sql[120];

    (void)snprintf(sql, sizeof(sql), "ALTER SYSTEM SET synchronous_standby_names = '%s'", name);
    ck_assert_int_eq(pg_sql(cluster, "postgres", sql), 0);
    ck_assert_int_eq(pg_sql(cluster, "postgres", "SELECT pg_reload_conf()"), 0);
    (void)snprintf(sql, sizeof(sql),
        "SELECT (current_setting('synchronous_standby_names') = '%s')::int", name);
    wait_until(sql);
}

static void standby_back(void)
{
    standbys_are("");
}

static int settle_impatiently(struct db *db)
{
    db_set_deadline(db, clock_monotonic_ms() + IMPATIENT_MS);
    return db_join_settle(db);
}

START_TEST(handle_leaves_one_waiting_backend_at_most)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");

    ck_ok(db_check(db));
    standbys_are("nobody");
    /* Known to the server some time after that. */
    while (settle_impatiently(db) == 0)
        continue;
    for (int i = 0; i < TRIES; i++) {
        ck_assert_int_lt(settle_impatiently(db), 0);
        /* The one that was left, and one that the signal to end has not reached yet. */
        ck_assert_int_le(pg_number(cluster, database, BACKENDS), 2);
    }
    standby_back();
    db_set_deadline(db, 0);
    ck_ok(db_join_settle(db));
    wait_until(NONE_LEFT);
    ck_ok(db_join_settle(db));
}
END_TEST

/* What the ended backend had committed is seen from then on, and is on no standby: nobody answers
 * from it. */
START_TEST(commit_of_unknown_result_is_read_only_when_it_is_durable)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_join");
    CLEANUP(db_cleanup) struct db *probe = open_as("cradle_join");
    struct db_join_key key = {.dev_eui = eui_of(1), .dev_nonce = 2};
    struct db_join_commit commit;
    struct db_join_row row;
    bool won = false;

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(db, 1, 1);
    commit = commit_of(&row, 1, false);
    standbys_are("nobody");
    /* Known to the server some time after that: once a commit waits, all do. */
    while (settle_impatiently(probe) == 0)
        continue;
    db_set_deadline(db, clock_monotonic_ms() + IMPATIENT_MS);
    ck_assert_int_eq(db_join_commit(db, &commit, 1, &won), ERROR_DB_UNKNOWN);
    for (int i = 0; i < 2; i++) {
        db_set_deadline(db, clock_monotonic_ms() + IMPATIENT_MS);
        ck_assert_int_eq(db_join_load(db, &key, 1, &row), ERROR_DB);
        ck_assert_int_eq(db_join_resolve(db, &commit, 1, &won), ERROR_DB);
    }
    /* It is there for all who look. */
    ck_assert_int_eq(pg_number(cluster, database, "SELECT join_nonce FROM device_join"), 1);
    standby_back();
    db_set_deadline(db, 0);
    ck_ok(db_join_resolve(db, &commit, 1, &won));
    ck_assert(won);
    ck_assert_uint_eq(load_one(db, 1, 2).state.join_nonce, 1);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, NULL, standby_back);
    tcase_add_test(tcase, handle_leaves_one_waiting_backend_at_most);
    tcase_add_test(tcase, commit_of_unknown_result_is_read_only_when_it_is_durable);
}

int main(void)
{
    return run_suite("db left", add);
}
