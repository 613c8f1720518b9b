#include "db/report.h"

#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <string.h>

static struct db *db;

static void setup(void)
{
    db = open_as("cradle_activation");
    ck_assert_int_eq(pg_sql(cluster, database,
                         "INSERT INTO organization (name) VALUES ('a'), ('b');"
                         "INSERT INTO client (id, organization_id, roles, secret_hash)"
                         " SELECT decode(repeat('0' || id, 16), 'hex'), id, 2, sha256('')"
                         "  FROM organization"),
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

/* A job of organization 1 with `rows` rows of a report, that moved on last `hours` ago. */
static void job(const char *kind, const char *state, unsigned hours, unsigned rows)
{
    char text[1000];

    (void)snprintf(text, sizeof(text),
        "WITH j AS (INSERT INTO job (organization_id, client_id, kind, move, state, fingerprint,"
        "  lease_until, n_kept, created_at, changed_at)"
        " SELECT 1, '\\x01010101010101010101010101010101', '%s',"
        "  CASE '%s' WHEN 'move' THEN 'suspend' END, '%s', sha256(''),"
        "  at, %u, at, at FROM (SELECT now() - interval '%u hours' AS at) t RETURNING id)"
        "INSERT INTO job_row (job_id, line, outcome, lints)"
        " SELECT j.id, n, 'refused', 1 FROM j, generate_series(1, %u) n",
        kind, kind, state, rows, hours, rows);
    sql(text);
}

static int64_t kept(int64_t organization)
{
    int64_t n = -1;

    ck_ok(db_report_kept(db, organization, &n));
    return n;
}

static size_t expire(void)
{
    size_t n;

    ck_ok(db_report_expire(db, &n));
    return n;
}

static size_t purge(void)
{
    size_t n;

    ck_ok(db_report_purge(db, &n));
    return n;
}

START_TEST(what_is_kept_is_told_by_the_jobs_and_by_organization)
{
    job("import", "done", 0, 3);
    job("dry_run", "running", 0, 4);
    ck_assert_int_eq(kept(1), 7);
    ck_assert_int_eq(kept(2), 0);
}
END_TEST

static const struct {
    const char *kind, *state;
    unsigned hours;
    bool is_over;
    const char *state_then;
} ages[] = {
    {"dry_run", "done", 23, false, "done"},
    {"dry_run", "done", 25, true, "done"},
    {"import", "done", 29 * 24, false, "done"},
    {"import", "done", 31 * 24, true, "done"},
    {"import", "cancelled", 31 * 24, true, "cancelled"},
    {"import", "interrupted", 31 * 24, true, "failed"},
    {"import", "running", 31 * 24, true, "failed"},
    {"export", "done", 31 * 24, true, "done"},
    {"export", "running", 31 * 24, false, "running"},
    {"export", "waiting", 31 * 24, false, "waiting"},
    {"move", "done", 31 * 24, true, "done"},
    {"move", "running", 31 * 24, false, "running"},
    {"move", "waiting", 31 * 24, false, "waiting"},
};

START_TEST(a_report_is_given_until_its_time_is_over)
{
    char text[200];

    job(ages[_i].kind, ages[_i].state, ages[_i].hours, 1);
    ck_assert_uint_eq(expire(), ages[_i].is_over);
    ck_assert_uint_eq(expire(), 0);
    (void)snprintf(
        text, sizeof(text), "SELECT count(*) FROM job WHERE state = '%s'", ages[_i].state_then);
    ck_assert_int_eq(number(text), 1);
    ck_assert_int_eq(number("SELECT count(*) FROM audit_event WHERE action = 'import.end'"
                            " AND detail->>'state' = 'failed'"),
        strcmp(ages[_i].state, ages[_i].state_then) != 0);
    while (purge() > 0)
        ;
    ck_assert_int_eq(number("SELECT count(*) FROM job_row"), !ages[_i].is_over);
    ck_assert_int_eq(number("SELECT count(*) FROM job"), 1);
}
END_TEST

START_TEST(one_that_is_worked_on_or_moved_on_lately_stays)
{
    job("import", "running", 31 * 24, 1);
    job("import", "interrupted", 31 * 24, 1);
    sql("UPDATE job SET lease_until = now() + interval '1 minute' WHERE state = 'running';"
        "UPDATE job SET changed_at = now() WHERE state = 'interrupted'");
    ck_assert_uint_eq(expire(), 0);
}
END_TEST

START_TEST(rows_are_deleted_in_pieces_and_the_numbers_follow)
{
    job("import", "done", 31 * 24, DB_REPORT_PIECE + 10);
    job("import", "done", 31 * 24, 5);
    job("import", "done", 1, 6);
    ck_assert_uint_eq(expire(), 2);
    ck_assert_uint_gt(purge(), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM job_row"), 10 + 5 + 6);
    while (purge() > 0)
        ;
    ck_assert_int_eq(number("SELECT count(*) FROM job_row"), 6);
    ck_assert_int_eq(kept(1), 6);
    ck_assert_int_eq(number("SELECT count(*) FROM job"), 3);
}
END_TEST

START_TEST(a_number_that_is_wrong_is_put_right)
{
    job("import", "done", 31 * 24, 5);
    job("import", "done", 31 * 24, 5);
    sql("UPDATE job SET n_kept = CASE WHEN id = 1 THEN 2 ELSE 900 END");
    ck_assert_uint_eq(expire(), 2);
    for (int i = 0; i < 4; i++)
        (void)purge();
    ck_assert_int_eq(number("SELECT count(*) FROM job_row"), 0);
    ck_assert_int_eq(kept(1), 0);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_kept_is_told_by_the_jobs_and_by_organization);
    tcase_add_loop_test(
        tcase, a_report_is_given_until_its_time_is_over, 0, (int)(sizeof(ages) / sizeof(ages[0])));
    tcase_add_test(tcase, one_that_is_worked_on_or_moved_on_lately_stays);
    tcase_add_test(tcase, rows_are_deleted_in_pieces_and_the_numbers_follow);
    tcase_add_test(tcase, a_number_that_is_wrong_is_put_right);
}

int main(void)
{
    return run_suite("db_report", add);
}
