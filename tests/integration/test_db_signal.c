#include "db/signal.h"

#include "base/error.h"
#include "device/refusal.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_MAX 1000
#define PEER 7
#define N_MANY 20000
#define FIRST "'\\x70b3d50000000001'::bytea"
#define THIRD "'\\x70b3d50000000003'::bytea"

static struct db *one, *two;
static struct db_signal_round due;

static int64_t number(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *format, ...) PRINTF_LIKE(1, 2);
static void sql(const char *format, ...)
{
    char text[SQL_MAX];
    va_list args;

    va_start(args, format);
    ck_assert_int_lt(vsnprintf(text, sizeof(text), format, args), SQL_MAX);
    va_end(args);
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

static void setup(void)
{
    make_devices(1, 3, LW_MAC_1_0_4);
    one = open_as("cradle_activation");
    two = open_as("cradle_activation");
}

static void teardown(void)
{
    db_close(one);
    db_close(two);
}

/* Device 1 at a second of its own; the tests' clock begins an hour ago. */
static void joins_at(int second, int dev_nonce, int nonce_epoch, int peer)
{
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, peer_id, dev_nonce,"
        "  ownership_epoch, nonce_epoch)"
        " SELECT now() - interval '1 hour' + interval '%d s', " FIRST
        ", 255, 'success', %d, %d, 1, %d",
        second, peer, dev_nonce, nonce_epoch);
}

static void joins(int second, int dev_nonce)
{
    joins_at(second, dev_nonce, 0, PEER);
}

static void refused(int second, int dev_nonce, enum device_refusal refusal)
{
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, reason, peer_id, dev_nonce,"
        "  ownership_epoch)"
        " SELECT now() - interval '1 hour' + interval '%d s', " FIRST ", %d, 'refused', '%s', %d,"
        "  %d, 1",
        second, refusal == REFUSAL_RJ_COUNT_NOT_ABOVE ? 1 : 255, device_refusal_reason(refusal),
        PEER, dev_nonce);
}

static void lower(int second, int dev_nonce)
{
    refused(second, dev_nonce, REFUSAL_DEV_NONCE_NOT_ABOVE);
}

/* Looks on until there is nothing more. */
static void look_on(struct db_signal_found *ret)
{
    struct db_signal_found found = {.more = true};

    *ret = (struct db_signal_found){0};
    while (found.more) {
        ck_ok(db_signal_find(one, DB_SIGNAL_WINDOW_S, &found));
        for (int i = 0; i < N_DEVICE_SIGNALS; i++)
            ret->n[i] += found.n[i];
    }
}

/* From two hours ago. */
static struct db_signal_found look(void)
{
    struct db_signal_found found;

    sql("UPDATE trust_scan SET looked_until = now() - interval '2 h', fence_at = now() - interval '3 s', fence_xid = '0'");
    look_on(&found);
    return found;
}

static size_t total(const struct db_signal_found *found)
{
    size_t n = 0;

    for (int i = 0; i < N_DEVICE_SIGNALS; i++)
        n += found->n[i];
    return n;
}

START_TEST(two_rising_series_are_seen)
{
    struct db_signal_found found;

    joins(0, 10);
    joins(10, 40);
    for (int i = 0; i < 4; i++) {
        lower(20 + 10 * i, 20 + i);
        joins(25 + 10 * i, 41 + i);
    }
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_LOWER], 1);
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_SERIES], 3);
    ck_assert_int_eq(number("SELECT count(*) FROM trust_signal WHERE kind = 'dev_nonce_series'"
                            " AND from_value = to_value + 20 AND NOT judged"),
        3);
}
END_TEST

START_TEST(series_go_on_over_looks)
{
    struct db_signal_found found;

    joins(0, 10);
    joins(10, 40);
    lower(20, 20);
    ck_assert_uint_eq(look().n[SIGNAL_DEV_NONCE_LOWER], 1);
    joins(30, 41);
    lower(40, 21);
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_SERIES], 1);
    ck_assert_uint_eq(total(&found), 1);
}
END_TEST

START_TEST(recorded_frames_weigh_nothing_however_often_they_come)
{
    struct db_signal_found found;

    for (int i = 0; i < 5; i++)
        joins(10 * i, 40 + i);
    for (int i = 0; i < 30; i++) {
        lower(60 + 10 * i, 40 + i % 5);
        joins(65 + 10 * i, 50 + i);
    }
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_SERIES] + found.n[SIGNAL_DEV_NONCE_LOWER], 0);
}
END_TEST

START_TEST(a_frame_counts_once)
{
    joins(0, 10);
    joins(10, 40);
    for (int i = 0; i < 20; i++)
        lower(20 + i, 20);
    ck_assert_uint_eq(look().n[SIGNAL_DEV_NONCE_LOWER], 1);
    lower(60, 20);
    ck_assert_uint_eq(look().n[SIGNAL_DEV_NONCE_LOWER], 0);
}
END_TEST

START_TEST(what_was_sent_before_the_first_join_is_no_sign)
{
    struct db_signal_found found;

    joins(0, 40);
    for (int i = 0; i < 10; i++) {
        lower(10 + 10 * i, 5 + i);
        joins(15 + 10 * i, 41 + i);
    }
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_SERIES] + found.n[SIGNAL_DEV_NONCE_LOWER], 0);
}
END_TEST

START_TEST(a_device_that_lost_its_counter_is_no_series)
{
    struct db_signal_found found;

    joins(0, 10);
    joins(10, 40);
    for (int i = 0; i < 15; i++)
        lower(20 + i, 26 + i);
    joins(60, 41);
    joins(70, 42);
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_SERIES], 0);
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_LOWER], 14); /* 40 it joined with */
}
END_TEST

START_TEST(a_join_stands_between_one_pair_and_a_falling_series_is_none)
{
    struct db_signal_found found;

    joins(0, 10);
    joins(10, 40);
    lower(20, 30);
    joins(30, 41);
    lower(40, 29);
    lower(41, 28);
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_SERIES], 0);
    lower(50, 31);
    lower(51, 32);
    lower(52, 33);
    ck_assert_uint_eq(look().n[SIGNAL_DEV_NONCE_SERIES], 0);
    joins(60, 42);
    lower(70, 34);
    lower(71, 35);
    ck_assert_uint_eq(look().n[SIGNAL_DEV_NONCE_SERIES], 1);
}
END_TEST

/* After a reset old frames are taken again, and the device's own are then the lower ones. */
START_TEST(old_frames_that_are_taken_after_a_reset_are_no_sign)
{
    struct db_signal_found found;

    joins(0, 3);
    for (int i = 0; i < 40; i++)
        joins(10 + i, 50 + i);
    sql("UPDATE device SET nonce_epoch = 1, trust_since = now() - interval '1 hour' + interval '60 s'");
    joins_at(70, 4, 1, PEER);
    for (int i = 0; i < 12; i++) {
        joins_at(80 + 10 * i, 50 + i, 1, PEER);
        lower(85 + 10 * i, 5 + i);
    }
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_SERIES], 0);
    ck_assert_uint_eq(found.n[SIGNAL_DEV_NONCE_LOWER], 12);
    /* The joins of before the reset are forgotten; of those behind it one is new. */
    ck_assert_uint_eq(found.n[SIGNAL_JOIN_RATE], 0);
}
END_TEST

START_TEST(a_wrong_mic_is_nobodys_evidence)
{
    struct db_signal_found found;

    joins(0, 10);
    joins(10, 40);
    refused(20, 20, REFUSAL_MIC_WRONG);
    refused(21, 21, REFUSAL_NOT_ACTIVABLE);
    refused(22, 22, REFUSAL_UNCLAIMED);
    found = look();
    ck_assert_uint_eq(total(&found), 0);
    lower(30, 20); /* nor has anybody seen it by that */
    ck_assert_uint_eq(look().n[SIGNAL_DEV_NONCE_LOWER], 1);
}
END_TEST

START_TEST(joins_beyond_what_is_usual_count_by_the_quarter_of_an_hour)
{
    struct db_signal_found found;

    sql("UPDATE device SET trust_since = NULL");
    for (int i = 0; i < DB_SIGNAL_RATE_MAX; i++)
        joins(i, 10 + i);
    sql("UPDATE join_event SET at = " /* the beginning of a quarter of an hour that is over */
        "date_bin('15 min', now(), '2001-01-01Z') - interval '30 min' + interval '1 s' * dev_nonce");
    ck_assert_uint_eq(look().n[SIGNAL_JOIN_RATE], 0);
    joins(0, 30);
    sql("UPDATE join_event SET at = (SELECT max(at) FROM join_event WHERE dev_nonce < 30) + interval '1 s'"
        " WHERE dev_nonce = 30");
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_JOIN_RATE], 1);
    ck_assert_uint_eq(found.n[SIGNAL_TWO_NETWORKS], 0);
    ck_assert_int_eq(number("SELECT to_value FROM trust_signal"), DB_SIGNAL_RATE_MAX + 1);
    sql("UPDATE join_event SET peer_id = 8 WHERE dev_nonce = 30");
    found = look();
    ck_assert_uint_eq(found.n[SIGNAL_JOIN_RATE], 0);
    ck_assert_uint_eq(found.n[SIGNAL_TWO_NETWORKS], 1);
}
END_TEST

START_TEST(a_copy_by_another_network_is_no_second_network)
{
    struct db_signal_found found;

    joins(0, 10);
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, reason, peer_id, dev_nonce, ownership_epoch)"
        " SELECT at + interval '1 s', dev_eui, 255, 'refused', '%s', 8, dev_nonce, 1 FROM join_event",
        device_refusal_reason(REFUSAL_DEV_NONCE_NOT_ABOVE));
    found = look();
    ck_assert_uint_eq(total(&found), 0);
}
END_TEST

START_TEST(a_suspended_device_is_told_of_once_a_day)
{
    for (int i = 0; i < 5; i++)
        refused(10 * i, 10 + i, REFUSAL_SUSPENDED);
    ck_assert_uint_eq(look().n[SIGNAL_SUSPENDED_JOIN], 1);
    refused(100, 30, REFUSAL_SUSPENDED);
    ck_assert_uint_eq(look().n[SIGNAL_SUSPENDED_JOIN], 0);
    sql("UPDATE trust_signal SET at = at - interval '25 h'");
    refused(110, 31, REFUSAL_SUSPENDED);
    ck_assert_uint_eq(look().n[SIGNAL_SUSPENDED_JOIN], 1);
}
END_TEST

START_TEST(an_rj_count_that_was_never_seen_counts)
{
    refused(0, 5, REFUSAL_RJ_COUNT_NOT_ABOVE);
    refused(1, 5, REFUSAL_RJ_COUNT_NOT_ABOVE);
    ck_assert_uint_eq(look().n[SIGNAL_RJ_COUNT_LOWER], 1);
}
END_TEST

START_TEST(another_owner_s_attempts_are_not_his_successor_s)
{
    struct db_signal_found found;

    joins(0, 10);
    joins(10, 40);
    lower(20, 20);
    sql("UPDATE device SET ownership_epoch = 2");
    found = look();
    ck_assert_uint_eq(total(&found), 0);
}
END_TEST

/* --- once, in order, by one ------------------------------------------------------------------- */

START_TEST(a_row_is_read_once)
{
    struct db_signal_found found;

    refused(0, 5, REFUSAL_RJ_COUNT_NOT_ABOVE);
    found = look();
    ck_assert_uint_eq(total(&found), 1);
    sql("DELETE FROM trust_signal");
    look_on(&found);
    ck_assert_uint_eq(total(&found), 0);
    ck_assert_int_eq(
        number("SELECT count(*) FROM trust_scan WHERE looked_until > now() - interval '1 min'"), 1);
}
END_TEST

START_TEST(a_look_that_did_not_end_is_done_again)
{
    struct db_signal_found found;

    refused(0, 5, REFUSAL_RJ_COUNT_NOT_ABOVE);
    sql("UPDATE trust_scan SET looked_until = now() - interval '65 min', fence_at = now() - interval '3 s', fence_xid = '0'");
    sql("CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no'; END $$;"
        "CREATE TRIGGER fails BEFORE INSERT ON trust_signal EXECUTE FUNCTION fails()");
    ck_assert_int_lt(db_signal_find(one, DB_SIGNAL_WINDOW_S, &found), 0);
    ck_assert_int_eq(
        number("SELECT count(*) FROM trust_scan WHERE looked_until < now() - interval '1 h'"), 1);
    sql("DROP FUNCTION fails CASCADE");
    look_on(&found);
    ck_assert_uint_eq(total(&found), 1);
}
END_TEST

START_TEST(two_do_not_look_at_once)
{
    struct db_signal_found found;

    refused(0, 5, REFUSAL_RJ_COUNT_NOT_ABOVE);
    sql("UPDATE trust_scan SET looked_until = now() - interval '2 h', fence_at = now() - interval '3 s', fence_xid = '0'");
    ck_ok(db_begin(two));
    ck_ok(db_exec(two, "SELECT FROM trust_scan FOR UPDATE", false));
    ck_ok(db_signal_find(one, DB_SIGNAL_WINDOW_S, &found));
    ck_assert(!found.more && total(&found) == 0);
    db_rollback(two);
    look_on(&found);
    ck_assert_uint_eq(total(&found), 1);
}
END_TEST

START_TEST(what_is_not_committed_yet_is_waited_for)
{
    CLEANUP(db_cleanup) struct db *join = open_as("cradle_join");
    struct db_signal_found found;
    char text[SQL_MAX];

    ck_ok(db_begin(join));
    (void)snprintf(text, sizeof(text),
        "INSERT INTO join_event (at, dev_eui, join_type, outcome, reason, dev_nonce, ownership_epoch)"
        " SELECT now() - interval '1 hour', " FIRST ", 1, 'refused', '%s', 5, 1",
        device_refusal_reason(REFUSAL_RJ_COUNT_NOT_ABOVE));
    ck_ok(db_exec(join, text, false));
    sql("UPDATE trust_scan SET looked_until = now() - interval '2 h', fence_at = now() - interval '3 s',"
        " fence_xid = pg_current_xact_id()");
    look_on(&found);
    ck_assert_uint_eq(total(&found), 0);
    ck_assert_int_eq(
        number("SELECT count(*) FROM trust_scan WHERE looked_until < now() - interval '110 min'"),
        1);
    ck_ok(db_commit(join));
    look_on(&found);
    ck_assert_uint_eq(total(&found), 1);
}
END_TEST

/* As the session plans it, and keeps it. */
static char *plan_of(enum db_statement_id id, const char *call)
{
    static char plan[1 << 15];
    PGresult *result;
    size_t len = 0;

    ck_ok(db_begin(one));
    if (id == DB_SIGNAL_RATES)
        ck_ok(db_exec(one, "SET LOCAL enable_bitmapscan = on", false));
    ck_ok(db_prepare(one, id));
    result = PQexec(one->conn, call);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); i++)
        len += (size_t)snprintf(plan + len, sizeof(plan) - len, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    db_rollback(one);
    return plan;
}

START_TEST(a_look_reads_what_is_new_and_not_the_month)
{
    const char *plan;

    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, reason, peer_id, dev_nonce,"
        "  ownership_epoch)"
        " SELECT now() - interval '1 h' + n * interval '0.1 s', " FIRST ", 255,"
        "  CASE WHEN n %% 2 = 0 THEN 'success' ELSE 'refused' END, '%s', 1, n, 1"
        " FROM generate_series(1, %d) n",
        device_refusal_reason(REFUSAL_DEV_NONCE_USED), N_MANY);
    sql("ANALYZE join_event");
    plan = plan_of(DB_SIGNAL_NONCES, "EXPLAIN EXECUTE signal_nonces (NULL, NULL)");
    ck_assert_msg(strstr(plan, "Index Cond: ((reason = $2) AND (at >= ") != NULL, "%s", plan);
    ck_assert_msg(strstr(plan, "Seq Scan on join_event") == NULL, "%s", plan);
    plan = plan_of(DB_SIGNAL_RATES, "EXPLAIN EXECUTE signal_rates (NULL, NULL)");
    ck_assert_msg(strstr(plan, "Bitmap Index Scan on join_event_") != NULL, "%s", plan);
}
END_TEST

/* --- judging ---------------------------------------------------------------------------------- */

static void seen(const char *kind, int n, int hours)
{
    sql("INSERT INTO trust_signal (at, dev_eui, kind, from_value, to_value, ownership_epoch)"
        " SELECT now() - interval '%d h', " FIRST ", '%s', 0, 0, 1 FROM generate_series(1, %d)",
        hours, kind, n);
}

START_TEST(what_is_due_is_judged_once)
{
    ck_ok(db_signal_due(one, &due));
    ck_assert_uint_eq(due.n_dev_euis, 0);
    seen("dev_nonce_series", 3, 0);
    seen("dev_nonce_jump", 1, 24 * 7);
    ck_ok(db_signal_due(one, &due));
    ck_assert_uint_eq(due.n, 1);
    ck_assert_uint_eq(due.n_ids, 4);
    ck_assert_uint_eq(due.devices[0].n, 4);
    ck_assert(!due.devices[0].may_quarantine);
    ck_assert_int_eq((int)device_signal_score(due.devices[0].seen, 4), 3 * 13 + 3);
    ck_ok(db_signal_judged(one, &due));
    ck_ok(db_signal_due(two, &due));
    ck_assert_uint_eq(due.n_dev_euis, 0);
}
END_TEST

START_TEST(of_two_that_judge_one_moves)
{
    struct device_record before, after;

    seen("dev_nonce_series", 3, 0);
    ck_ok(db_signal_due(one, &due));
    before = after = due.devices[0].record;
    device_move_make(MOVE_SUSPECT, &after);
    ck_ok(db_signal_move(one, &before, &after));
    ck_assert_int_eq(db_signal_move(two, &before, &after), 1);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE trust = 'suspect'"
                            " AND trust_look_at > now() AND quarantined_by IS NULL"),
        1);
}
END_TEST

START_TEST(a_suspect_device_is_looked_at_again_and_a_trusted_one_is_not)
{
    sql("UPDATE device SET trust = 'suspect', trust_look_at = now() - interval '1 s'"
        " WHERE dev_eui = " FIRST ";"
        "UPDATE organization SET quarantine_clones = true");
    ck_ok(db_signal_due(one, &due));
    ck_assert_uint_eq(due.n, 1);
    ck_assert_uint_eq(due.n_ids, 0);
    ck_assert_int_eq(due.devices[0].record.trust, TRUST_SUSPECT);
    ck_assert(due.devices[0].may_quarantine);
    ck_ok(db_signal_judged(one, &due));
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE trust_look_at > now()"), 1);
    sql("UPDATE device SET trust = 'ok', trust_look_at = now() - interval '1 s' WHERE trust = 'suspect'");
    ck_ok(db_signal_due(one, &due));
    ck_ok(db_signal_judged(one, &due));
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE trust_look_at IS NOT NULL"), 0);
}
END_TEST

START_TEST(what_is_forgotten_and_what_was_another_owner_s_does_not_count)
{
    static struct db_signal_list list;
    const struct eui64 eui = eui_of(1);

    seen("dev_nonce_series", 2, 0);
    seen("shared_key", 1, 0);
    ck_ok(db_signal_list(one, &eui, &list));
    ck_assert_uint_eq(list.n, 3);
    sql("UPDATE device SET ownership_epoch = 2");
    ck_ok(db_signal_list(one, &eui, &list));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_eq(list.items[0].signal, SIGNAL_SHARED_KEY);
    ck_assert_int_eq((int)(db_signal_list_score(&list) + 0.5), 20);
    ck_ok(db_signal_forget(one, &eui, 1));
    ck_ok(db_signal_list(one, &eui, &list));
    ck_assert_uint_eq(list.n, 0);
}
END_TEST

START_TEST(a_shared_key_is_told_of_both_devices_and_nothing_of_another_organization_s)
{
    const struct eui64 third = eui_of(3);
    int64_t maker = number("SELECT min(id) FROM organization");

    sql("UPDATE device_key SET fingerprint = decode(md5(dev_eui::text), 'hex');"
        "UPDATE device_key SET fingerprint = (SELECT fingerprint FROM device_key k"
        "  WHERE k.dev_eui = " FIRST ")"
        " WHERE dev_eui = " THIRD "");
    ck_ok(db_signal_shared(one, maker, &third, 1));
    ck_ok(db_signal_shared(one, maker, &third, 1));
    ck_assert_int_eq(number("SELECT count(*) FROM trust_signal WHERE kind = 'shared_key'"), 2);
    sql("DELETE FROM trust_signal; INSERT INTO organization (name) VALUES ('other');"
        "UPDATE device SET organization_id = (SELECT max(id) FROM organization),"
        "  owner_id = (SELECT max(id) FROM organization) WHERE dev_eui = " THIRD);
    ck_ok(db_signal_shared(one, number("SELECT max(id) FROM organization"), &third, 1));
    ck_assert_int_eq(number("SELECT count(*) FROM trust_signal"), 0);
}
END_TEST

START_TEST(old_signals_are_deleted)
{
    size_t n;

    seen("dev_nonce_jump", 3, 24 * (DB_SIGNAL_DAYS + 1));
    seen("dev_nonce_jump", 2, 24 * (DB_SIGNAL_DAYS - 1));
    ck_ok(db_signal_purge(one, &n));
    ck_assert_uint_eq(n, 3);
    ck_ok(db_signal_purge(one, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM trust_signal"), 2);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, two_rising_series_are_seen);
    tcase_add_test(tcase, series_go_on_over_looks);
    tcase_add_test(tcase, recorded_frames_weigh_nothing_however_often_they_come);
    tcase_add_test(tcase, a_frame_counts_once);
    tcase_add_test(tcase, what_was_sent_before_the_first_join_is_no_sign);
    tcase_add_test(tcase, a_device_that_lost_its_counter_is_no_series);
    tcase_add_test(tcase, a_join_stands_between_one_pair_and_a_falling_series_is_none);
    tcase_add_test(tcase, old_frames_that_are_taken_after_a_reset_are_no_sign);
    tcase_add_test(tcase, a_wrong_mic_is_nobodys_evidence);
    tcase_add_test(tcase, joins_beyond_what_is_usual_count_by_the_quarter_of_an_hour);
    tcase_add_test(tcase, a_copy_by_another_network_is_no_second_network);
    tcase_add_test(tcase, a_suspended_device_is_told_of_once_a_day);
    tcase_add_test(tcase, an_rj_count_that_was_never_seen_counts);
    tcase_add_test(tcase, another_owner_s_attempts_are_not_his_successor_s);
    tcase_add_test(tcase, a_row_is_read_once);
    tcase_add_test(tcase, a_look_that_did_not_end_is_done_again);
    tcase_add_test(tcase, two_do_not_look_at_once);
    tcase_add_test(tcase, what_is_not_committed_yet_is_waited_for);
    tcase_add_test(tcase, a_look_reads_what_is_new_and_not_the_month);
    tcase_add_test(tcase, what_is_due_is_judged_once);
    tcase_add_test(tcase, of_two_that_judge_one_moves);
    tcase_add_test(tcase, a_suspect_device_is_looked_at_again_and_a_trusted_one_is_not);
    tcase_add_test(tcase, what_is_forgotten_and_what_was_another_owner_s_does_not_count);
    tcase_add_test(
        tcase, a_shared_key_is_told_of_both_devices_and_nothing_of_another_organization_s);
    tcase_add_test(tcase, old_signals_are_deleted);
}

int main(void)
{
    return run_suite("db signal", add);
}
