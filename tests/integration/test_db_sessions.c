#include "tests/integration/db_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static struct db *join;

static void setup(void)
{
    join = open_as("cradle_join");
}

static void teardown(void)
{
    db_close(join);
    join = NULL;
}

/** Commits one; whether it won. */
static bool commit_one(const struct db_join_commit *c)
{
    bool won = false;

    ck_ok(db_join_commit(join, c, 1, &won));
    return won;
}

START_TEST(only_a_session_with_opt_neg_is_kept)
{
    static const char sql[] =
        "SELECT coalesce(current_join_nonce, -1), coalesce(current_nonce, -1),"
        " coalesce(pending_join_nonce, -1), coalesce(pending_nonce, -1),"
        " coalesce(pending_join_type, -1) FROM device_join";
    static const char *const expected[] = {
        "-1 -1 -1 -1 -1 \n", "-1 -1 2 21 255 \n", "-1 -1 -1 -1 -1 \n"};

    make_devices(1, 1, LW_MAC_1_1);
    for (uint16_t i = 0; i < 3; i++) {
        struct db_join_row row = load_one(join, 1, (uint16_t)(20 + i));
        struct db_join_commit c = commit_of(&row, (uint16_t)(20 + i), true);
        char *numbers;

        c.opt_neg = i == 1;
        ck_assert(commit_one(&c));
        numbers = pg_text(cluster, database, sql);
        ck_assert_str_eq(numbers, expected[i]);
        free(numbers);
    }
}
END_TEST

/* Commits a rejoin and returns the row that follows. */
static struct db_join_row rejoin(enum lw_join_type type, int proved, uint16_t count)
{
    struct db_join_row row = load_one(join, 1, 0);
    struct db_join_commit c = commit_of(&row, count, true);

    c.opt_neg = true;
    c.join_type = type;
    c.proved = proved;
    ck_assert(commit_one(&c));
    return load_one(join, 1, 0);
}

static void session_is(
    const struct device_session *s, uint32_t join_nonce, uint16_t nonce, int32_t count)
{
    ck_assert(s->present);
    ck_assert_uint_eq(s->join_nonce, join_nonce);
    ck_assert_uint_eq(s->nonce, nonce);
    ck_assert_int_eq(s->rj_count0, count);
    ck_assert_uint_eq(s->net_id.bytes[2], 0x13);
}

START_TEST(the_proved_session_is_current_and_the_new_one_pending)
{
    struct db_join_row row;

    make_devices(1, 1, LW_MAC_1_1);
    row = rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 20);
    ck_assert(!row.state.sessions[DEVICE_SESSION_CURRENT].present);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 1, 20, DEVICE_NO_NONCE);

    row = rejoin(LW_REJOIN_0, DEVICE_SESSION_PENDING, 1);
    session_is(&row.state.sessions[DEVICE_SESSION_CURRENT], 1, 20, 1);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 2, 1, DEVICE_NO_NONCE);
    ck_assert_int_eq(row.state.last_dev_nonce, 20);

    /* The accept was lost: the device goes on in the old one. */
    row = rejoin(LW_REJOIN_2, DEVICE_SESSION_CURRENT, 2);
    session_is(&row.state.sessions[DEVICE_SESSION_CURRENT], 1, 20, 2);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 3, 2, DEVICE_NO_NONCE);

    row = rejoin(LW_REJOIN_0, DEVICE_SESSION_PENDING, 1);
    session_is(&row.state.sessions[DEVICE_SESSION_CURRENT], 3, 2, 1);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 4, 1, DEVICE_NO_NONCE);

    /* What proves nothing leaves the current one as it is, and the one before. */
    row = rejoin(LW_REJOIN_1, DB_JOIN_NONE_PROVED, 9);
    session_is(&row.state.sessions[DEVICE_SESSION_CURRENT], 3, 2, 1);
    session_is(&row.state.sessions[DEVICE_SESSION_PREVIOUS], 4, 1, DEVICE_NO_NONCE);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 5, 9, DEVICE_NO_NONCE);
    ck_assert_int_eq(
        pg_number(cluster, database,
            "SELECT count(*) FROM join_event WHERE (join_nonce, join_type, dev_nonce) IN"
            " ((1, 255, 20), (2, 0, 1), (3, 2, 2), (4, 0, 1), (5, 1, 9))"),
        5);
}
END_TEST

START_TEST(the_last_two_are_kept_however_many_were_answered)
{
    struct db_join_row row;

    make_devices(1, 1, LW_MAC_1_1);
    (void)rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 20);
    row = rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 21);
    ck_assert(!row.state.sessions[DEVICE_SESSION_CURRENT].present);
    session_is(&row.state.sessions[DEVICE_SESSION_PREVIOUS], 1, 20, DEVICE_NO_NONCE);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 2, 21, DEVICE_NO_NONCE);
    for (uint16_t i = 0; i < 3; i++)
        row = rejoin(LW_REJOIN_1, DB_JOIN_NONE_PROVED, i);
    /* Nothing was ever proved: the oldest stays, for whoever missed all answers since. */
    session_is(&row.state.sessions[DEVICE_SESSION_CURRENT], 1, 20, DEVICE_NO_NONCE);
    session_is(&row.state.sessions[DEVICE_SESSION_PREVIOUS], 4, 1, DEVICE_NO_NONCE);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 5, 2, DEVICE_NO_NONCE);
    row = rejoin(LW_REJOIN_0, DEVICE_SESSION_PREVIOUS, 5);
    session_is(&row.state.sessions[DEVICE_SESSION_CURRENT], 4, 1, 5);
    ck_assert(!row.state.sessions[DEVICE_SESSION_PREVIOUS].present);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 6, 5, DEVICE_NO_NONCE);
}
END_TEST

static const char *const session_ends[] = {
    "UPDATE device SET ownership_epoch = ownership_epoch + 1",
    "UPDATE device SET join_eui = '\\x02cdcd00000000ff'",
    "UPDATE device_key SET blob = set_byte(blob, 0, 1), tag = set_byte(tag, 0, 1) WHERE slot = 2",
    "DELETE FROM device_key",
};

START_TEST(a_session_ends_with_what_it_stands_on)
{
    struct db_join_row before, after;

    make_devices(1, 1, LW_MAC_1_1);
    (void)rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 20);
    before = rejoin(LW_REJOIN_0, DEVICE_SESSION_PENDING, 1);
    ck_assert(before.state.sessions[DEVICE_SESSION_CURRENT].present);
    pg_sql(cluster, database, session_ends[_i]);
    after = load_one(join, 1, 0);
    for (int s = 0; s < DEVICE_N_SESSIONS; s++)
        ck_assert(!after.state.sessions[s].present);
    ck_assert_int_gt(after.state.gate_rev, before.state.gate_rev);
    ck_assert_uint_eq(after.state.join_nonce, before.state.join_nonce);
}
END_TEST

START_TEST(a_suspension_ends_no_session)
{
    struct db_join_row row;

    make_devices(1, 1, LW_MAC_1_1);
    (void)rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 20);
    pg_sql(cluster, database, "UPDATE device SET service = 'suspended'");
    row = load_one(join, 1, 0);
    session_is(&row.state.sessions[DEVICE_SESSION_PENDING], 1, 20, DEVICE_NO_NONCE);
}
END_TEST

/* Of three devices that one statement changes, each in its own way. */
START_TEST(what_one_statement_changes_is_told_apart_by_device)
{
    struct db_join_row before[3], after;

    make_devices(1, 3, LW_MAC_1_1);
    (void)rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 20);
    pg_sql(cluster, database,
        "UPDATE device_join SET pending_join_type = 255,"
        " pending_join_nonce = 1, pending_nonce = 20, pending_net_id = '\\x000013'");
    for (uint32_t i = 0; i < 3; i++)
        before[i] = load_one(join, i + 1, 0);
    pg_sql(cluster, database,
        "WITH d AS (SELECT dev_eui, row_number() OVER (ORDER BY dev_eui) AS n FROM device)"
        " UPDATE device SET ownership_epoch = ownership_epoch + (n = 1)::int, serial = 'x',"
        " service = CASE WHEN n = 2 THEN 'suspended' ELSE service END"
        " FROM d WHERE d.dev_eui = device.dev_eui");
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(before[i].state.sessions[DEVICE_SESSION_PENDING].present);
        after = load_one(join, i + 1, 0);
        ck_assert_int_eq(after.state.sessions[DEVICE_SESSION_PENDING].present, i != 0);
        ck_assert_int_eq(after.state.gate_rev - before[i].state.gate_rev, i == 2 ? 0 : 1);
    }
}
END_TEST

START_TEST(rj_count1_is_the_devices)
{
    struct db_join_row row;

    make_devices(1, 1, LW_MAC_1_1);
    row = rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 20);
    ck_assert_int_eq(row.state.rj_count1, DEVICE_NO_NONCE);
    row = rejoin(LW_REJOIN_1, DB_JOIN_NONE_PROVED, 9);
    ck_assert_int_eq(row.state.rj_count1, 9);
    row = rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 21);
    ck_assert_int_eq(row.state.rj_count1, 9);
    pg_sql(cluster, database, "UPDATE device SET nonce_epoch = 1");
    row = rejoin(LW_JOIN, DB_JOIN_NONE_PROVED, 0);
    ck_assert_int_eq(row.state.rj_count1, DEVICE_NO_NONCE);
    ck_assert_int_eq(row.state.last_dev_nonce, 0);
    pg_sql(cluster, database, "UPDATE device SET nonce_epoch = 2");
    row = rejoin(LW_REJOIN_1, DB_JOIN_NONE_PROVED, 0);
    ck_assert_int_eq(row.state.rj_count1, 0);
    ck_assert_int_eq(row.state.last_dev_nonce, DEVICE_NO_NONCE);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, only_a_session_with_opt_neg_is_kept);
    tcase_add_test(tcase, the_proved_session_is_current_and_the_new_one_pending);
    tcase_add_test(tcase, the_last_two_are_kept_however_many_were_answered);
    tcase_add_test(tcase, a_suspension_ends_no_session);
    tcase_add_test(tcase, what_one_statement_changes_is_told_apart_by_device);
    tcase_add_test(tcase, rj_count1_is_the_devices);
    tcase_add_loop_test(tcase, a_session_ends_with_what_it_stands_on, 0,
        sizeof(session_ends) / sizeof(*session_ends));
}

int main(void)
{
    return run_suite("db sessions", add);
}
