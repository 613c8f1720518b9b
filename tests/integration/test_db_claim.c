#include "db/claim.h"

#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Device 1 is anybody's who knows its code, which has this hash. */
#define HASH 0xaa
#define NEW_HASH 0xbb

static struct db *db;
static struct db_claimant claimant;

static void begin(void)
{
    struct db_code code = {.dev_eui = eui_of(1), .generation = 1};

    make_devices(1, 2, LW_MAC_1_0_3);
    pg_sql(cluster, database,
        "UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive'");
    db = open_as("cradle_activation");
    memset(code.hash, HASH, sizeof(code.hash));
    ck_ok(db_code_give(db, &code, 1));
    claimant = (struct db_claimant){
        .organization_id = pg_number(cluster, database, "SELECT max(id) FROM organization"),
        .request_id = "test"};
    memset(claimant.client_id, 7, sizeof(claimant.client_id));
    pg_sql(cluster, database,
        "INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('07', 16), 'hex'), max(id), 8, decode(repeat('00', 32), 'hex')"
        " FROM organization");
}

static void end(void)
{
    db_close(db);
    db = NULL;
}

static struct db_claim claim_of(uint32_t number, uint8_t hash)
{
    struct db_claim claim = {.dev_eui = eui_of(number), .generation = 1};

    memset(claim.hash, hash, sizeof(claim.hash));
    memset(claim.new_hash, NEW_HASH, sizeof(claim.new_hash));
    return claim;
}

static enum db_claim_outcome settle(struct db_claim claim)
{
    ck_ok(db_begin(db));
    ck_ok(db_claim_settle(db, &claimant, &claim, 1));
    ck_ok(db_commit(db));
    return claim.outcome;
}

/* How long this claimant waits with a device, and how many wrong ones he has left. */
static int64_t wait_of(uint32_t number, size_t *ret_allowance)
{
    struct db_claim claim = claim_of(number, 0);
    int64_t wait_s;

    ck_ok(db_claim_load(db, &claimant, &claim, 1, &wait_s, ret_allowance));
    return wait_s > claim.wait_s ? wait_s : claim.wait_s;
}

static int64_t limits(const char *condition)
{
    char sql[200];

    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM claim_limit WHERE %s", condition);
    return pg_number(cluster, database, sql);
}

START_TEST(what_waited_behind_another_claim_has_lost)
{
    struct db *other;
    struct db_claim first = claim_of(1, HASH);
    char *row;

    begin();
    other = open_as("cradle_activation");
    ck_ok(db_begin(other));
    ck_ok(db_claim_settle(other, &claimant, &first, 1));
    ck_assert_int_eq(first.outcome, CLAIM_CLAIMED);
    ck_assert_uint_eq(first.ownership_epoch, 2);
    db_rollback(other);
    ck_assert_int_eq(settle(claim_of(1, HASH)), CLAIM_CLAIMED); /* a rolled back one has not won */
    ck_assert_int_eq(settle(claim_of(1, HASH)), CLAIM_AGAIN);   /* of this call, at an old code */
    claimant.call[0] = 1;
    ck_assert_int_eq(settle(claim_of(1, HASH)), CLAIM_OWN);
    row =
        pg_text(cluster, database, "SELECT string_agg(outcome, ' ' ORDER BY id) FROM claim_event");
    ck_assert_str_eq(row, "claimed again own \n");
    free(row);
    ck_assert_int_eq(limits("true"), 0); /* none of these was wrong */
    db_close(other);
    end();
}
END_TEST

START_TEST(wrong_ones_fill_the_buckets_and_time_empties_them)
{
    size_t allowance;

    begin();
    ck_assert_int_eq(wait_of(1, &allowance), 0);
    ck_assert_uint_eq(allowance, DB_CLAIM_CLIENT_BURST);
    for (size_t left = DB_CLAIM_CLIENT_BURST; left > 0; left--) {
        ck_assert_int_eq(wait_of(1, &allowance), 0);
        ck_assert_uint_eq(allowance, left);
        ck_assert_int_eq(settle(claim_of(1, 0)), CLAIM_CODE);
    }
    ck_assert_int_gt(wait_of(2, &allowance), 0);
    ck_assert_int_le(wait_of(2, &allowance), DB_CLAIM_CLIENT_S);
    ck_assert_int_gt(
        wait_of(1, &allowance), DB_CLAIM_DEVICE_S - 60); /* his own device waits longer */
    pg_sql(cluster, database, "UPDATE claim_limit SET due = now() WHERE scope = 1");
    ck_assert_int_eq(wait_of(2, &allowance), 0);
    ck_assert_int_gt(wait_of(1, &allowance), 0);
    pg_sql(cluster, database, "UPDATE claim_limit SET due = now() WHERE scope = 3");
    ck_assert_int_eq(wait_of(1, &allowance), 0); /* who has not tried it lately is not held up */
    end();
}
END_TEST

START_TEST(what_is_forgiven_is_forgotten_but_not_of_weak_codes)
{
    size_t n;

    begin();
    ck_assert_int_eq(settle(claim_of(1, 0)), CLAIM_CODE);
    ck_assert_int_eq(settle(claim_of(9, 0)), CLAIM_UNKNOWN);
    ck_assert_int_eq(limits("true"), 5);
    ck_ok(db_claim_purge(db, &n));
    ck_assert_uint_eq(n, 0);
    pg_sql(cluster, database,
        "UPDATE claim_limit SET due = now() - interval '1 s'; UPDATE claim_code SET weak = true");
    ck_ok(db_claim_purge(db, &n));
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(limits("scope = 2 AND n_wrong = 1"), 1);
    pg_sql(cluster, database,
        "UPDATE claim_event SET at = at - interval '91 days' WHERE outcome = 'code'");
    ck_ok(db_claim_purge(db, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM claim_event"), 1);
    end();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, what_waited_behind_another_claim_has_lost);
    tcase_add_test(tcase, wrong_ones_fill_the_buckets_and_time_empties_them);
    tcase_add_test(tcase, what_is_forgiven_is_forgotten_but_not_of_weak_codes);
}

int main(void)
{
    return run_suite("db claim", add);
}
