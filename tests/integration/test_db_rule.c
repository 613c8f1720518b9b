#include "base/clock.h"
#include "base/text.h"
#include "db/claim_rule.h"
#include "tests/integration/db_fixture.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define N_DEVICES 300
#define N_SERVICES 4
#define PATIENCE_MS 20000
#define DAYS 1

static struct db *db;
static struct db_rule rule;
static uint8_t client_id[ACCOUNT_ID_LEN];

/* Devices that nobody ever owned, and an accepted rule about all of them, to another. */
static void begin(uint32_t n, uint32_t cap)
{
    struct db_rule_range all = {0};

    make_devices(1, n, LW_MAC_1_0_3);
    pg_sql(cluster, database,
        "UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive',"
        " ownership_epoch = 0, home_net_id = NULL, as_id = NULL;"
        "INSERT INTO organization (name) VALUES ('owner');"
        "INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('07', 16), 'hex'), id, 8, decode(repeat('00', 32), 'hex')"
        " FROM organization WHERE name = 'owner';"
        "INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('08', 16), 'hex'), id, 4, decode(repeat('00', 32), 'hex')"
        " FROM organization WHERE name = 'maker'");
    db = open_as("cradle_activation");
    memset(all.last.bytes, 0xff, sizeof(all.last.bytes));
    memset(client_id, 7, sizeof(client_id));
    rule = (struct db_rule){.max_devices = cap,
        .batch_id = pg_number(cluster, database, "SELECT max(id) FROM batch"),
        .from_id = pg_number(cluster, database, "SELECT organization_id FROM batch"),
        .to_id = pg_number(cluster, database, "SELECT id FROM organization WHERE name = 'owner'"),
        .has_home_net_id = true,
        .as_id = "as"};
    ck_ok(db_rule_add(db, &rule, DAYS, &all, 1));
    ck_assert_int_eq(rule.state, RULE_OPEN);
    ck_ok(db_rule_accept(db, &rule, client_id));
    ck_assert_int_eq(db_rule_accept(db, &rule, client_id), 1);
}

static void end(void)
{
    db_close(db);
    db = NULL;
}

/* A chunk; how many were claimed. */
static size_t step(struct db *with)
{
    struct db_code codes[DB_RULE_CHUNK_MAX];
    size_t n, n_claimed;

    ck_ok(db_rule_load(with, rule.row_id, codes, &n));
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        codes[i].generation++;
    ck_ok(db_rule_claim(with, rule.row_id, codes, n, &n_claimed));
    return n_claimed;
}

static size_t claim(struct db *with, uint32_t first, uint32_t last)
{
    struct db_code codes[DB_RULE_CHUNK_MAX] = {0};
    size_t n = 0, n_claimed;

    for (uint32_t i = first; i <= last; i++)
        codes[n++] = (struct db_code){.dev_eui = eui_of(i), .generation = 1};
    ck_ok(db_rule_claim(with, rule.row_id, codes, n, &n_claimed));
    return n_claimed;
}

static int64_t number(const char *what)
{
    char sql[200];

    (void)snprintf(sql, sizeof(sql), "SELECT %s", what);
    return pg_number(cluster, database, sql);
}

#define OWNED "count(*) FROM device WHERE ownership = 'claimed' AND ownership_epoch = 1"
#define USED "n_used FROM claim_rule"

struct service {
    pthread_t thread;
    struct db *db;
    size_t n_claimed;
    int result;
};

/* As step, in a thread, where nothing may be asserted. Until nothing is left. */
static void *serve(void *arg)
{
    struct service *s = arg;
    struct db_code codes[DB_RULE_CHUNK_MAX];
    size_t n = 1, n_claimed;

    while (n > 0) {
        if ((s->result = db_rule_load(s->db, rule.row_id, codes, &n)) < 0 || n == 0)
            break;
        for (size_t i = 0; i < n; i++)
            codes[i].generation++;
        if ((s->result = db_rule_claim(s->db, rule.row_id, codes, n, &n_claimed)) < 0)
            break;
        s->n_claimed += n_claimed;
    }
    return NULL;
}

START_TEST(services_at_once_claim_as_many_as_may_be_and_each_once)
{
    const int64_t cap = _i == 0 ? N_DEVICES / 2 + 1 : N_DEVICES + 1;
    const int64_t expected = cap < N_DEVICES ? cap : N_DEVICES;
    struct service services[N_SERVICES] = {0};
    size_t n = 0;

    begin(N_DEVICES, (uint32_t)cap);
    for (unsigned i = 0; i < N_SERVICES; i++) {
        services[i].db = open_as("cradle_activation");
        ck_assert_int_eq(pthread_create(&services[i].thread, NULL, serve, &services[i]), 0);
    }
    for (unsigned i = 0; i < N_SERVICES; i++) {
        pthread_join(services[i].thread, NULL);
        ck_assert_int_eq(services[i].result, 0);
        n += services[i].n_claimed;
        db_close(services[i].db);
    }
    ck_assert_int_eq((int64_t)n, expected);
    ck_assert_int_eq(number(USED), expected);
    ck_assert_int_eq(number(OWNED), expected);
    ck_assert_int_eq(number("count(*) FROM claim_code WHERE generation = 1"), expected);
    ck_assert_int_eq(number("count(DISTINCT dev_eui) FROM claim_event"), expected);
    ck_assert_int_eq(number("count(*) FROM claim_event"), expected);
    ck_assert_int_eq(number("count(*) FROM claim_rule WHERE state = 'full'"), _i == 0);
    end();
}
END_TEST

static void *claim_3_to_5(void *arg)
{
    struct service *s = arg;
    struct db_code codes[3] = {0};

    for (uint32_t i = 0; i < 3; i++)
        codes[i] = (struct db_code){.dev_eui = eui_of(3 + i), .generation = 1};
    s->result = db_rule_claim(s->db, rule.row_id, codes, 3, &s->n_claimed);
    return NULL;
}

START_TEST(who_waits_for_another_goes_on_with_what_that_one_left)
{
    struct service other = {0};
    int64_t deadline = clock_monotonic_ms() + PATIENCE_MS;

    begin(5, 4);
    other.db = open_as("cradle_activation");
    ck_ok(db_begin(db));
    ck_assert_uint_eq(claim(db, 1, 3), 3);
    ck_assert_int_eq(pthread_create(&other.thread, NULL, claim_3_to_5, &other), 0);
    while (number("count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                  " AND datname = current_database()") == 0) {
        ck_assert_int_lt(clock_monotonic_ms(), deadline);
        sched_yield();
    }
    ck_ok(db_commit(db));
    pthread_join(other.thread, NULL);
    ck_assert_int_eq(other.result, 0);
    ck_assert_uint_eq(other.n_claimed, 1);
    ck_assert_int_eq(number(USED), 4);
    ck_assert_int_eq(number(OWNED), 4);
    db_close(other.db);
    end();
}
END_TEST

START_TEST(a_service_that_dies_in_a_chunk_has_claimed_nothing_of_it)
{
    struct db *dying;

    begin(DB_RULE_CHUNK_MAX + 2, N_DEVICES);
    dying = open_as("cradle_activation");
    ck_assert_uint_eq(step(dying), DB_RULE_CHUNK_MAX);
    ck_ok(db_begin(dying));
    ck_assert_uint_eq(step(dying), 2);
    db_close(dying);
    ck_assert_int_eq(number(USED), DB_RULE_CHUNK_MAX);
    ck_assert_int_eq(number(OWNED), DB_RULE_CHUNK_MAX);
    ck_assert_uint_eq(step(db), 2);
    ck_assert_uint_eq(step(db), 0);
    end();
}
END_TEST

/* What happens to device 1 between the look and the claim, each of which leaves it alone. */
static const char *const meanwhile[] = {
    "UPDATE device SET credential = 'scrapped' WHERE dev_eui = '\\x70b3d50000000001'",
    "UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x70b3d50000000001'",
    "UPDATE device SET ownership = 'claimed', owner_id = organization_id, ownership_epoch = 1"
    " WHERE dev_eui = '\\x70b3d50000000001'",
    "UPDATE device SET ownership_epoch = 2 WHERE dev_eui = '\\x70b3d50000000001'",
    "INSERT INTO claim_code (dev_eui, generation, hash, weak, origin, made_by) VALUES"
    " ('\\x70b3d50000000001', 1, decode(repeat('aa', 32), 'hex'), false, 'made',"
    "  decode(repeat('bb', 32), 'hex'))",
    "UPDATE claim_rule SET expires_at = now()",
    "UPDATE claim_rule SET state = 'cancelled'",
    "UPDATE client SET revoked_at = now() WHERE id = decode(repeat('07', 16), 'hex')",
    "UPDATE client SET revoked_at = now() WHERE id = decode(repeat('08', 16), 'hex')",
};
#define N_MEANWHILE (sizeof(meanwhile) / sizeof(meanwhile[0]))

START_TEST(what_has_changed_since_it_was_looked_at_is_not_claimed)
{
    begin(1, 1);
    ck_assert_int_eq(pg_sql(cluster, database, meanwhile[_i]), 0);
    ck_assert_uint_eq(claim(db, 1, 1), 0);
    ck_assert_int_eq(number(USED), 0);
    ck_assert_int_eq(number("count(*) FROM claim_event"), 0);
    ck_assert_int_eq(number("count(*) FROM audit_event"), 0);
    end();
}
END_TEST

START_TEST(a_rule_rests_and_is_woken)
{
    int64_t row_id = 0;

    begin(1, 1);
    ck_ok(db_rule_take(db, &row_id));
    ck_assert_int_eq(row_id, rule.row_id);
    ck_assert_int_eq(db_rule_take(db, &row_id), 1);
    pg_sql(cluster, database,
        "UPDATE claim_rule SET due_at = now(), used_at = now() - interval '1 day'");
    ck_ok(db_rule_take(db, &row_id));
    ck_assert_int_eq(
        number("count(*) FROM claim_rule WHERE due_at - used_at >= interval '1 day 1 minute'"), 1);
    pg_sql(cluster, database, "SELECT claim_rule_wake(batch_id) FROM claim_rule");
    ck_ok(db_rule_take(db, &row_id));
    end();
}
END_TEST

START_TEST(a_look_reads_what_there_is_to_claim_and_nothing_else)
{
    CLEANUP(text_done) struct text plan = {0};
    PGresult *result;

    begin(1, 1);
    /* And of many that its maker has handed over. */
    pg_sql(cluster, database,
        "INSERT INTO organization (name) VALUES ('product maker');"
        "INSERT INTO device (dev_eui, join_eui, mac_version, organization_id, batch_id, credential)"
        " SELECT int8send(g + (1::int8 << 40)), '\\x70b3d5ff00000001', '1.0.3', o.id,"
        "  (SELECT max(id) FROM batch), 'activable' FROM generate_series(1, 20000) g, organization o"
        "  WHERE o.name = 'product maker'");
    pg_sql(cluster, database, "VACUUM ANALYZE");
    ck_ok(db_prepare(db, DB_RULE_LOAD));
    PQclear(PQexec(db->conn, "SET plan_cache_mode = force_generic_plan"));
    PQclear(PQexec(db->conn, "SET enable_seqscan = off")); /* of a table of one page */
    result = PQexec(db->conn, "EXPLAIN (COSTS OFF) EXECUTE rule_load(1, 64)");
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); i++)
        text_addf(&plan, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    ck_assert_msg(
        strstr(plan.data, "using device_never_owned on device") != NULL, "%.3000s", plan.data);
    end();
}
END_TEST

START_TEST(a_rule_whose_time_is_over_is_ended_once_and_both_are_told)
{
    size_t n;

    begin(1, 1);
    ck_ok(db_rule_expire(db, &n));
    ck_assert_uint_eq(n, 0);
    pg_sql(cluster, database, "UPDATE claim_rule SET expires_at = now()");
    ck_ok(db_rule_expire(db, &n));
    ck_assert_uint_eq(n, 1);
    ck_ok(db_rule_expire(db, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(number("count(DISTINCT organization_id) FROM audit_event"
                            " WHERE action = 'claim-rule.expire'"),
        2);
    end();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_loop_test(tcase, services_at_once_claim_as_many_as_may_be_and_each_once, 0, 2);
    tcase_add_test(tcase, who_waits_for_another_goes_on_with_what_that_one_left);
    tcase_add_test(tcase, a_service_that_dies_in_a_chunk_has_claimed_nothing_of_it);
    tcase_add_loop_test(
        tcase, what_has_changed_since_it_was_looked_at_is_not_claimed, 0, (int)N_MEANWHILE);
    tcase_add_test(tcase, a_rule_rests_and_is_woken);
    tcase_add_test(tcase, a_look_reads_what_there_is_to_claim_and_nothing_else);
    tcase_add_test(tcase, a_rule_whose_time_is_over_is_ended_once_and_both_are_told);
}

int main(void)
{
    return run_suite("db rule", add);
}
