#include "db/job.h"

#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <string.h>

static struct db *one, *two;
static const uint8_t client[ACCOUNT_ID_LEN] = {7};
static const uint8_t digest[DB_JOB_DIGEST_LEN] = {1, 2, 3};
static const struct db_job_counts counts = {.created = 2, .refused = 1};

static int64_t number(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

static void setup(void)
{
    one = open_as("cradle_activation");
    two = open_as("cradle_activation");
    make_devices(1, 1, LW_MAC_1_0_3);
    sql("INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT '\\x07000000000000000000000000000000', min(organization_id), 2, sha256('')"
        " FROM device");
}

static void teardown(void)
{
    db_close(one);
    db_close(two);
}

static int try_take(struct db *db, const char *key, struct db_job *ret, int64_t *ret_busy_s)
{
    const struct db_job_call call = {
        .organization_id = number("SELECT min(organization_id) FROM device"),
        .client_id = client,
        .key = key,
        .format = "csv"};
    int r;

    ck_ok(db_begin(db));
    r = db_job_take(db, &call, ret, ret_busy_s);
    if (r == 0)
        ck_ok(db_commit(db));
    else
        db_rollback(db);
    return r;
}

static struct db_job take(struct db *db, const char *key)
{
    struct db_job job;
    int64_t busy_s;

    ck_ok(try_take(db, key, &job, &busy_s));
    return job;
}

static void end_lease(void)
{
    sql("UPDATE job SET lease_until = now() - interval '1 second'");
}

static int end(struct db *db, struct db_job *job, enum db_job_state state)
{
    return db_job_end(db, job, state, NULL, state == JOB_DONE ? digest : NULL);
}

static enum db_job_state state_of(const struct db_job *job)
{
    struct db_job now;

    ck_ok(db_job_find(one, job->id, &now));
    return now.state;
}

START_TEST(who_comes_within_the_lease_hears_how_long_it_lasts)
{
    struct db_job job = take(one, "k"), other;
    int64_t busy_s = 0;

    ck_assert_int_eq(job.turn, 1);
    ck_assert(!job.has_digest);
    ck_assert_int_eq(try_take(two, "k", &other, &busy_s), DB_JOB_BUSY);
    ck_assert(busy_s > DB_JOB_LEASE_S / 2 && busy_s <= DB_JOB_LEASE_S);
}
END_TEST

/* Neither moves it on, nor ends it, nor holds it, however the other one stands. */
START_TEST(who_was_overtaken_changes_nothing)
{
    static const enum db_job_state states[] = {
        JOB_INTERRUPTED, JOB_FAILED, JOB_CANCELLED, JOB_DONE};
    struct db_job old = take(one, "k"), new;

    ck_ok(db_job_advance(one, &old, 5, digest, &counts));
    end_lease();
    new = take(two, "k");
    ck_assert_int_eq(new.turn, old.turn + 1);
    ck_assert_int_eq(new.line, 5);
    ck_assert(new.has_digest);
    ck_assert_mem_eq(new.digest, digest, sizeof(digest));
    ck_assert_int_eq(db_job_advance(one, &old, 9, digest, &counts), 1);
    ck_assert_int_eq(db_job_renew(one, &old), 1);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        ck_assert_int_eq(end(one, &old, states[i]), 1);
    ck_assert_int_eq(state_of(&new), JOB_RUNNING);
    ck_ok(db_job_advance(two, &new, 9, digest, &counts));
    ck_ok(end(two, &new, JOB_DONE));
    ck_assert_int_eq(state_of(&new), JOB_DONE);
    ck_assert_int_eq(number("SELECT n_created FROM job"), 4);
}
END_TEST

START_TEST(one_that_is_renewed_is_not_taken)
{
    struct db_job job = take(one, "k"), other;
    int64_t busy_s;

    end_lease();
    ck_ok(db_job_renew(one, &job));
    ck_assert_int_eq(try_take(two, "k", &other, &busy_s), DB_JOB_BUSY);
    ck_assert(!job.cancel_wanted);
    ck_ok(db_job_cancel(two, &job));
    ck_ok(db_job_renew(one, &job));
    ck_assert(job.cancel_wanted);
}
END_TEST

START_TEST(one_that_failed_begins_again_and_one_that_ended_stays)
{
    struct db_job job = take(one, "k");

    ck_ok(db_job_end(one, &job, JOB_FAILED, "line 1: no", NULL));
    job = take(one, "k");
    ck_assert_int_eq(job.state, JOB_RUNNING);
    ck_assert_int_eq(job.line, 0);
    ck_assert_int_eq(job.turn, 2);
    ck_assert_str_eq(job.fault, "line 1: no");
    ck_assert_int_eq(number("SELECT count(*) FROM job WHERE fault IS NULL"), 1);
    ck_ok(end(one, &job, JOB_DONE));
    job = take(one, "k");
    ck_assert_int_eq(job.state, JOB_DONE);
    ck_assert_int_eq(job.turn, 2);
    ck_assert_mem_eq(job.digest, digest, sizeof(digest));
}
END_TEST

START_TEST(one_that_failed_behind_its_first_line_is_over)
{
    struct db_job job = take(one, "k"), again;
    int64_t busy_s;

    ck_ok(db_job_advance(one, &job, 5, digest, &counts));
    ck_ok(db_job_end(one, &job, JOB_FAILED, "too much", NULL));
    ck_assert_int_eq(try_take(one, "k", &again, &busy_s), DB_JOB_OVER);
    ck_assert_str_eq(again.fault, "too much");
    job = take(one, "l");
    ck_ok(end(one, &job, JOB_INTERRUPTED));
    sql("UPDATE job SET report_deleted_at = now() WHERE idempotency_key = 'l'");
    ck_assert_int_eq(try_take(one, "l", &again, &busy_s), DB_JOB_OVER);
}
END_TEST

START_TEST(one_that_is_to_be_cancelled_is_not_interrupted_but_may_be_done)
{
    struct db_job job = take(one, "k");

    ck_ok(db_job_cancel(two, &job));
    ck_ok(end(one, &job, JOB_INTERRUPTED));
    ck_assert_int_eq(job.state, JOB_CANCELLED);
    ck_assert_int_eq(state_of(&job), JOB_CANCELLED);
    job = take(one, "l");
    ck_ok(db_job_cancel(two, &job));
    ck_ok(end(one, &job, JOB_DONE));
    ck_assert_int_eq(state_of(&job), JOB_DONE);
}
END_TEST

START_TEST(one_whose_worker_has_gone_is_cancelled_at_once)
{
    struct db_job job = take(one, "k");

    ck_ok(db_job_cancel(two, &job));
    ck_assert_int_eq(state_of(&job), JOB_RUNNING);
    end_lease();
    ck_ok(db_job_cancel(two, &job));
    ck_assert_int_eq(state_of(&job), JOB_CANCELLED);
    ck_assert_int_eq(db_job_cancel(two, &job), 1);
    ck_assert_int_eq(db_job_advance(one, &job, 3, digest, &counts), 1);
    ck_assert_int_eq(end(one, &job, JOB_DONE), 1);
}
END_TEST

START_TEST(a_sweep_interrupts_what_nobody_works_on)
{
    struct db_job dead = take(one, "dead"), unwanted = take(one, "unwanted"), alive;

    ck_ok(db_job_advance(one, &dead, 5, digest, &counts));
    ck_ok(db_job_cancel(two, &unwanted));
    end_lease();
    alive = take(one, "alive");
    ck_ok(db_job_sweep(two));
    ck_ok(db_job_sweep(two));
    ck_assert_int_eq(state_of(&dead), JOB_INTERRUPTED);
    ck_assert_int_eq(state_of(&unwanted), JOB_CANCELLED);
    ck_assert_int_eq(state_of(&alive), JOB_RUNNING);
    ck_assert_int_eq(number("SELECT count(*) FROM audit_event"), 2);
    ck_assert_int_eq(number("SELECT count(*) FROM audit_event e JOIN job j"
                            " ON e.object = encode(j.public_id, 'hex')"
                            " WHERE e.action = 'import.interrupt' AND e.client_id IS NULL"
                            " AND e.detail->>'state' = j.state"
                            " AND (e.detail->>'line')::int = j.line"
                            " AND (e.detail->>'created')::int = j.n_created"),
        2);
    ck_assert_int_eq(number("SELECT count(DISTINCT request_id) FROM audit_event"), 2);
    ck_assert_int_eq(end(one, &dead, JOB_DONE), 1);
    dead = take(two, "dead");
    ck_assert_int_eq(dead.line, 5);
}
END_TEST

START_TEST(without_a_key_no_digest_is_kept)
{
    struct db_job job = take(one, NULL);

    ck_ok(db_job_advance(one, &job, 5, digest, &counts));
    ck_ok(end(one, &job, JOB_DONE));
    ck_assert_int_eq(number("SELECT count(*) FROM job WHERE digest IS NULL AND line = 5"), 1);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, who_comes_within_the_lease_hears_how_long_it_lasts);
    tcase_add_test(tcase, who_was_overtaken_changes_nothing);
    tcase_add_test(tcase, one_that_is_renewed_is_not_taken);
    tcase_add_test(tcase, one_that_failed_begins_again_and_one_that_ended_stays);
    tcase_add_test(tcase, without_a_key_no_digest_is_kept);
    tcase_add_test(tcase, one_that_failed_behind_its_first_line_is_over);
    tcase_add_test(tcase, one_that_is_to_be_cancelled_is_not_interrupted_but_may_be_done);
    tcase_add_test(tcase, one_whose_worker_has_gone_is_cancelled_at_once);
    tcase_add_test(tcase, a_sweep_interrupts_what_nobody_works_on);
}

int main(void)
{
    return run_suite("db-job", add_tests);
}
