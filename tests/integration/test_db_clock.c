#include "db/clock_look.h"
#include "db/subscription.h"

#include "activation/clocks.h"
#include "base/error.h"
#include "db/audit_chain.h"
#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_BACK 9
#define DAY_S 86400
#define SOON "now() - interval '10 minutes' AND now() + interval '10 minutes'"

static struct db *db;

static int64_t number_of(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

/* Devices, an organization, and a handle as the activation service has it. */
static void begin(void)
{
    make_devices(1, 3, LW_MAC_1_0_3);
    db = open_as("cradle_activation");
}

static void end(void)
{
    db_close(db);
    db = NULL;
}

/* All tables, each to its end. */
static size_t settle(void)
{
    size_t total = 0;

    for (unsigned part = 0; part < DB_CLOCK_N_PARTS; part++) {
        size_t n;

        do {
            ck_ok(db_clock_settle(db, part, &n));
            ck_assert_uint_le(n, DB_CLOCK_PIECE);
            total += n;
        } while (n == DB_CLOCK_PIECE);
    }
    return total;
}

/* Of each kind one that is due in years, and where it makes a difference one that is due as late as
 * it may be: that one stays. */
static void make_all(const char *years)
{
    char text[2600];

    (void)snprintf(text, sizeof(text),
        "INSERT INTO claim_limit (scope, subject, due) VALUES"
        "  (1, decode(repeat('01', 16), 'hex'), now() + '%s'),"
        "  (2, decode(repeat('02', 8), 'hex'), now() + '%s'),"
        "  (2, decode(repeat('03', 8), 'hex'), now() + interval '20 days'),"
        "  (3, decode(repeat('04', 24), 'hex'), now() + interval '1 hour');"
        "UPDATE webhook_scan SET looked_from = now() + '%s', looked_until = now() + '%s'"
        "  WHERE source = 'claim_event';"
        "UPDATE trust_scan SET looked_until = now() + '%s', fence_at = now() + '%s';"
        "UPDATE device SET trust_look_at = now() + '%s'"
        "  WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui LIMIT 1);"
        "INSERT INTO webhook (public_id, organization_id, url, events, rests_until)"
        "  SELECT decode(repeat('05', 16), 'hex'), max(id), 'https://x', 1, now() + '%s'"
        "  FROM organization;"
        "INSERT INTO webhook_delivery (webhook_id, organization_id, event_id, type, body, due_at)"
        "  SELECT w.id, w.organization_id, decode(repeat('06', 16), 'hex'), 'device.claimed', '{}',"
        "   now() + d.due FROM webhook w, (VALUES (interval '%s'), (interval '1 day')) d(due);"
        "INSERT INTO webhook_first_join (dev_eui, ownership_epoch, claimed_at, due_at) VALUES"
        "  (decode(repeat('07', 8), 'hex'), 1, now() + '%s', now() + '%s'),"
        "  (decode(repeat('08', 8), 'hex'), 1, now() - interval '300 days', now() + interval '30 days');"
        "INSERT INTO webhook_refused (dev_eui, n_untold, last_at, told_at)"
        "  SELECT dev_eui, 1, now() + '%s', now() + '%s' FROM device ORDER BY dev_eui LIMIT 1",
        years, years, years, years, years, years, years, years, years, years, years, years, years);
    sql(text);
}

START_TEST(what_lies_further_ahead_than_it_may_is_brought_back)
{
    size_t n = 1;

    begin();
    n = settle();
    ck_assert_uint_eq(n, 0);
    make_all("3 years");
    n = settle();
    ck_assert_uint_eq(n, N_BACK);
    ck_assert_int_eq(number_of("SELECT count(*) FROM claim_limit WHERE due BETWEEN " SOON), 2);
    ck_assert_int_eq(
        number_of("SELECT count(*) FROM claim_limit WHERE due > now() + interval '30 days'"), 0);
    ck_assert_int_eq(number_of("SELECT count(*) FROM webhook_scan WHERE looked_until < now()"
                               " AND source = 'claim_event'"),
        1);
    ck_assert_int_eq(
        number_of(
            "SELECT count(*) FROM trust_scan WHERE looked_until < now() AND fence_at < now()"),
        1);
    ck_assert_int_eq(number_of("SELECT count(*) FROM device WHERE trust_look_at <= now()"), 1);
    ck_assert_int_eq(number_of("SELECT count(*) FROM webhook WHERE rests_until <= now()"), 1);
    ck_assert_int_eq(number_of("SELECT count(*) FROM webhook_delivery WHERE due_at <= now()"), 1);
    ck_assert_int_eq(number_of("SELECT count(*) FROM webhook_first_join WHERE due_at <= now()"
                               " AND claimed_at < now()"),
        1);
    ck_assert_int_eq(number_of("SELECT count(*) FROM webhook_refused WHERE told_at <= now()"), 1);
    n = settle();
    ck_assert_uint_eq(n, 0);
    end();
}
END_TEST

#define N_MANY (2 * DB_CLOCK_PIECE + 7)
#define FAR_DEVICES "SELECT count(*) FROM device WHERE trust_look_at > now()"
#define FAR_LIMITS "SELECT count(*) FROM claim_limit WHERE due > now()"
#define FAR_DELIVERIES "SELECT count(*) FROM webhook_delivery WHERE due_at > now()"

/* Of three kinds more than a statement takes; the deliveries are of two webhooks. */
static void make_many(void)
{
    char text[1200];

    make_devices(10, N_MANY, LW_MAC_1_0_3);
    (void)snprintf(text, sizeof(text),
        "UPDATE device SET trust_look_at = now() + interval '3 years';"
        "INSERT INTO claim_limit (scope, subject, due) SELECT 1, substring(sha256(n::text::bytea) FROM 1 FOR 16),"
        "  now() + interval '3 years' FROM generate_series(1, %d) n;"
        "INSERT INTO webhook (public_id, organization_id, url, events)"
        "  SELECT substring(sha256(n::text::bytea) FROM 1 FOR 16), max(g.id), 'https://x', 1"
        "  FROM organization g, generate_series(1, 2) n GROUP BY n;"
        "INSERT INTO webhook_delivery (webhook_id, organization_id, event_id, type, body, due_at)"
        "  SELECT w.id, w.organization_id, substring(sha256(n::text::bytea) FROM 1 FOR 16),"
        "   'device.claimed', '{}', now() + interval '3 years'"
        "  FROM webhook w, generate_series(1, %d) n",
        N_MANY, N_MANY);
    sql(text);
}

START_TEST(a_statement_takes_a_piece_of_one_table_and_the_next_goes_on)
{
    size_t n = 0;
    bool whole = false;

    begin();
    make_many();
    for (unsigned part = 0; part < DB_CLOCK_N_PARTS && !whole; part++) {
        ck_ok(db_clock_settle(db, part, &n));
        whole = n == DB_CLOCK_PIECE;
    }
    ck_assert(whole);
    ck_assert_int_eq(
        number_of("SELECT (" FAR_DEVICES ") + (" FAR_LIMITS ") + (" FAR_DELIVERIES ")"),
        3 + 4 * N_MANY - DB_CLOCK_PIECE);
    ck_assert_uint_eq(settle(), 3 + 4 * N_MANY - DB_CLOCK_PIECE);
    ck_assert_int_eq(
        number_of("SELECT (" FAR_DEVICES ") + (" FAR_LIMITS ") + (" FAR_DELIVERIES ")"), 0);
    ck_assert_uint_eq(settle(), 0);
    end();
}
END_TEST

/* As main's thread does it, a look a second. */
START_TEST(a_table_that_cannot_be_settled_keeps_no_other_from_it)
{
    struct act_clocks clocks = {0};

    begin();
    make_many();
    sql("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'broken'; END $$; GRANT EXECUTE ON FUNCTION broken() TO PUBLIC;"
        "CREATE TRIGGER broken BEFORE UPDATE ON webhook_delivery EXECUTE FUNCTION broken()");
    do {
        ck_assert(act_clocks_look(&clocks, db));
    } while (number_of("SELECT (" FAR_DEVICES ") + (" FAR_LIMITS ")") > 0);
    ck_assert(clocks.ill);
    ck_assert_int_eq(number_of(FAR_DELIVERIES), 2 * N_MANY);
    sql("DROP TRIGGER broken ON webhook_delivery");
    do {
        clocks.again_ms = 0; /* as ten seconds later */
        ck_assert(act_clocks_look(&clocks, db));
    } while (number_of(FAR_DELIVERIES) > 0 || clocks.ill);
    end();
}
END_TEST

START_TEST(a_subscription_that_ended_before_its_end_runs_again)
{
    struct db_subscription subscription = {.name = "fleet", .n_places = 1, .notice_days = 14};
    size_t n = 0;
    int64_t now_s = 0;

    begin();
    ck_ok(db_clock_read(db, &now_s));
    ck_assert_int_lt(llabs(now_s - (int64_t)time(NULL)), 60);
    subscription.organization_id = subscription.seller_id =
        number_of("SELECT max(id) FROM organization");
    subscription.ends_s = now_s + 365 * (int64_t)DAY_S;
    ck_ok(db_subscription_add(db, &subscription));
    n = settle();
    ck_assert_uint_eq(n, 0);
    sql("UPDATE subscription SET due_at = NULL, notice_at = NULL"); /* as one that has ended */
    n = settle();
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(
        number_of("SELECT count(*) FROM subscription WHERE due_at = ends_at AND walk = ''"
                  " AND notice_at = ends_at - interval '14 days'"),
        1);
    ck_assert_int_eq(
        number_of("SELECT count(*) FROM audit_event WHERE action = 'subscription.change'"), 1);
    sql("UPDATE subscription SET due_at = NULL, starts_at = now() - interval '3 days',"
        " ends_at = now() - interval '1 day', walk = NULL"); /* as it should have */
    n = settle();
    ck_assert_uint_eq(n, 0);
    end();
}
END_TEST

START_TEST(a_checkpoint_of_a_time_to_come_keeps_nothing_from_being_signed)
{
    struct audit_checkpoint due;

    begin();
    sql("SET session_replication_role = replica;"
        "INSERT INTO audit_chain (seq, event_id, organization_id, organization_seq, chain,"
        "  organization_chain, salt) SELECT n, n, 1, n, decode(repeat('0a', 32), 'hex'),"
        "  decode(repeat('0a', 32), 'hex'), decode(repeat('0a', 16), 'hex')"
        " FROM generate_series(1, 2) n");
    sql("INSERT INTO audit_checkpoint (seq, signed_at, chain, root, signature)"
        " SELECT 1, extract(epoch FROM now() + interval '3 years')::int8, chain, chain,"
        "  decode(repeat('0b', 64), 'hex') FROM audit_chain WHERE seq = 1");
    /* It is due, and there is no tree here: 1 would be that none is due. */
    ck_assert_int_eq(db_audit_checkpoint_due(db, 1000, 600, &due), ERROR_DB);
    end();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, what_lies_further_ahead_than_it_may_is_brought_back);
    tcase_add_test(tcase, a_statement_takes_a_piece_of_one_table_and_the_next_goes_on);
    tcase_add_test(tcase, a_table_that_cannot_be_settled_keeps_no_other_from_it);
    tcase_add_test(tcase, a_subscription_that_ended_before_its_end_runs_again);
    tcase_add_test(tcase, a_checkpoint_of_a_time_to_come_keeps_nothing_from_being_signed);
}

int main(void)
{
    return run_suite("db clock", add);
}
