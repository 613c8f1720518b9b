#include "db/audit.h"

#include "base/text.h"
#include "db/statement.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct db *db;

static void setup(void)
{
    db = open_as("cradle_activation");
    ck_assert_int_eq(pg_sql(cluster, database,
                         "INSERT INTO organization (name) VALUES ('a'), ('b');"
                         "INSERT INTO client (id, organization_id, roles, secret_hash)"
                         " VALUES ('\\x01010101010101010101010101010101', 1, 2, sha256(''))"),
        0);
}

static void teardown(void)
{
    db_close(db);
}

static int64_t number(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

static char *plan(enum db_statement_id id, const char *parameters)
{
    struct text text = {0};
    PGresult *result;

    ck_ok(db_prepare(db, id));
    text_addf(&text, "EXPLAIN EXECUTE %s (%s)", db_statement_at(id)->name, parameters);
    result = PQexec(db->conn, text.data);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    text_clear(&text);
    for (int i = 0; i < PQntuples(result); i++)
        text_addf(&text, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    return text.data;
}

START_TEST(an_organizations_events_are_found_by_its_index_and_all_by_their_number)
{
    char *own = plan(DB_AUDIT_LIST, "NULL, NULL, NULL"),
         *all = plan(DB_AUDIT_LIST_ALL, "NULL, NULL");

    ck_assert_msg(strstr(own, "using audit_event_organization") != NULL, "%s", own);
    ck_assert_msg(strstr(own, "Filter") == NULL, "%s", own);
    ck_assert_msg(strstr(all, "using audit_event_pkey") != NULL, "%s", all);
    free(own);
    free(all);
}
END_TEST

START_TEST(events_are_listed_of_one_organization_or_of_all)
{
    static const struct {
        int64_t organization, after;
        size_t n_max, n;
    } cases[] = {
        {1, 0, 10, 2}, {2, 0, 10, 1}, {0, 0, 10, 4}, {0, 0, 3, 3}, {1, 1, 10, 1}, {0, 1, 9, 3}};

    sql("INSERT INTO audit_event (organization_id, request_id, action, object)"
        " VALUES (1, 'r', 'a', 'o'), (2, 'r', 'a', 'o'), (1, 'r', 'a', 'o'), (NULL, 'r', 'a', 'o')");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(db_audit_list_done) struct db_audit_list list = {0};

        ck_ok(db_audit_list_load(db, cases[i].organization, cases[i].after, cases[i].n_max, &list));
        ck_assert_uint_eq(list.n, cases[i].n);
    }
}
END_TEST

START_TEST(old_answers_of_calls_are_forgotten_in_pieces)
{
    size_t n;
    char text[400];

    (void)snprintf(text, sizeof(text),
        "INSERT INTO idempotency (client_id, route, key, at, fingerprint)"
        " SELECT '\\x01010101010101010101010101010101', 'r', n::text,"
        "  now() - CASE WHEN n = 1 THEN interval '23 hours' ELSE interval '25 hours' END,"
        "  sha256('') FROM generate_series(1, %d) n",
        IDEMPOTENCY_PIECE + 3);
    sql(text);
    ck_ok(db_idempotency_purge(db, &n));
    ck_assert_uint_eq(n, IDEMPOTENCY_PIECE);
    ck_ok(db_idempotency_purge(db, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(number("SELECT count(*) FROM idempotency"), 1);
}
END_TEST

START_TEST(keys_that_are_taken_together_are_each_its_own_call_s)
{
    uint8_t clients[2][ACCOUNT_ID_LEN] = {{1}, {2}};
    struct db_idempotency all[4];
    const struct db_idempotency *calls[4];
    bool other[4];

    for (size_t i = 0; i < 4; i++) {
        all[i] = (struct db_idempotency){
            .client_id = clients[i / 2], .route = "r", .key = i % 2 == 0 ? "b" : "a"};
        calls[i] = &all[i];
    }
    sql("INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(rpad(n, 32, '0'), 'hex'), 1, 2, sha256('') FROM unnest(ARRAY['01', '02']) n");
    ck_ok(db_idempotency_take_all(db, calls, 0, other));
    ck_ok(db_idempotency_take_all(db, calls, 3, other));
    for (size_t i = 0; i < 3; i++)
        ck_assert(!other[i]);
    ck_assert_int_eq(number("SELECT count(*) FROM idempotency"), 3);
    all[1].fingerprint[0] = 1; /* another call than that of before */
    ck_ok(db_idempotency_take_all(db, calls, 4, other));
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(other[i], i == 1);
    ck_assert_int_eq(number("SELECT count(*) FROM idempotency"), 4);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_organizations_events_are_found_by_its_index_and_all_by_their_number);
    tcase_add_test(tcase, events_are_listed_of_one_organization_or_of_all);
    tcase_add_test(tcase, old_answers_of_calls_are_forgotten_in_pieces);
    tcase_add_test(tcase, keys_that_are_taken_together_are_each_its_own_call_s);
}

int main(void)
{
    return run_suite("db_audit", add);
}
