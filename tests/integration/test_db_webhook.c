#include "db/webhook.h"

#include "base/clock.h"
#include "base/error.h"
#include "db/claim.h"
#include "db/delivery.h"
#include "db/webhook_look.h"
#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAKER "(SELECT min(id) FROM organization)"
#define OWNER "(SELECT max(id) FROM organization)"
#define ALL_EVENTS                                                                                 \
    ((unsigned)WEBHOOK_DEVICE_CLAIMED | (unsigned)WEBHOOK_CLAIM_REFUSED |                          \
        (unsigned)WEBHOOK_BATCH_DONE | (unsigned)WEBHOOK_FIRST_JOIN)
#define HASH 0xaa

static struct db *one, *two;
static int64_t maker, owner;
static struct db_delivery_task tasks[DB_WEBHOOK_TAKE_MAX], others[DB_WEBHOOK_TAKE_MAX];
static struct db_delivery list[8];

static int64_t number(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

/* Devices 1 to 3 of the maker, nobody's, with a code each; and an owner who has none yet. */
static void setup(void)
{
    struct db_code codes[3] = {{.dev_eui = eui_of(1), .generation = 1},
        {.dev_eui = eui_of(2), .generation = 1}, {.dev_eui = eui_of(3), .generation = 1}};

    make_devices(1, 3, LW_MAC_1_0_3);
    sql("UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive';"
        "INSERT INTO organization (name) VALUES ('owner');"
        "INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('07', 16), 'hex'), " OWNER ", 8, sha256('')");
    one = open_as("cradle_activation");
    two = open_as("cradle_activation");
    for (size_t i = 0; i < 3; i++)
        memset(codes[i].hash, HASH, sizeof(codes[i].hash));
    ck_ok(db_code_give(one, codes, 3));
    maker = number("SELECT " MAKER);
    owner = number("SELECT " OWNER);
}

static void teardown(void)
{
    db_close(one);
    db_close(two);
}

static struct db_webhook hook(int64_t organization, unsigned events)
{
    struct db_webhook w = {.url = "https://receiver.example/", .events = events, .active = true};

    ck_assert_int_eq(random_bytes(w.id, sizeof(w.id)), 0);
    ck_ok(db_webhook_add(one, organization, &w));
    return w;
}

static enum db_claim_outcome claim(uint32_t device, uint8_t hash)
{
    struct db_claimant claimant = {.organization_id = owner, .request_id = "test"};
    struct db_claim c = {
        .claimant = &claimant, .allowance = 1, .dev_eui = eui_of(device), .generation = 1};

    memset(claimant.client_id, 7, sizeof(claimant.client_id));
    memset(c.hash, hash, sizeof(c.hash));
    ck_ok(db_begin(one));
    ck_ok(db_claim_settle(one, &c, 1, true));
    ck_ok(db_commit(one));
    return c.outcome;
}

/* As if what has happened so far were old enough to be looked at. */
static void look(void)
{
    sql("UPDATE claim_event SET at = at - interval '10 s';"
        "UPDATE webhook_scan SET looked_until = looked_until - interval '10 s'");
    ck_ok(db_webhook_look(one));
}

static size_t take(struct db *db, struct db_delivery_task *ret)
{
    size_t n;

    ck_ok(db_delivery_take(db, ret, DB_WEBHOOK_TAKE_MAX, &n));
    return n;
}

static void fill(const struct db_webhook *w, unsigned n)
{
    char text[400];

    (void)snprintf(text, sizeof(text),
        "INSERT INTO webhook_delivery (webhook_id, organization_id, event_id, type, body)"
        " SELECT id, organization_id, public_id, 'batch.done', '{}' FROM webhook,"
        "  generate_series(1, %u) WHERE id = %lld",
        n, (long long)w->row_id);
    sql(text);
}

START_TEST(a_claim_tells_owner_and_maker_and_the_maker_not_whom)
{
    struct db_webhook of_owner = hook(owner, ALL_EVENTS), of_maker = hook(maker, ALL_EVENTS);
    size_t n;

    (void)hook(maker, WEBHOOK_BATCH_DONE);
    ck_assert_int_eq(claim(1, HASH), CLAIM_CLAIMED);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 2);
    ck_ok(db_delivery_list(one, of_owner.row_id, NULL, list, 8, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(list[0].type, "device.claimed");
    ck_assert_int_eq(list[0].state, DELIVERY_WAITING);
    ck_assert_ptr_nonnull(strstr(list[0].body, "\"ownership_epoch\": 2"));
    ck_ok(db_delivery_list(one, of_maker.row_id, NULL, list, 8, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_ptr_null(strstr(list[0].body, "ownership_epoch"));
    ck_assert_int_eq(
        number("SELECT count(*) FROM webhook_delivery d, organization o WHERE o.id = " OWNER
               " AND d.organization_id = " MAKER
               " AND position(encode(o.public_id, 'hex') IN d.body) > 0"),
        0);
}
END_TEST

START_TEST(what_is_rolled_back_is_not_told)
{
    struct db_claimant claimant = {.organization_id = owner, .request_id = "test"};
    struct db_claim c = {
        .claimant = &claimant, .allowance = 1, .dev_eui = eui_of(1), .generation = 1};

    (void)hook(owner, ALL_EVENTS);
    memset(claimant.client_id, 7, sizeof(claimant.client_id));
    memset(c.hash, HASH, sizeof(c.hash));
    ck_ok(db_begin(one));
    ck_ok(db_claim_settle(one, &c, 1, true));
    ck_assert_int_eq(c.outcome, CLAIM_CLAIMED);
    db_rollback(one);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 0);
}
END_TEST

START_TEST(an_inactive_webhook_is_not_told)
{
    struct db_webhook w = hook(owner, ALL_EVENTS);
    const bool inactive = false;

    ck_ok(db_webhook_set(one, w.row_id, &(struct db_webhook_change){.active = &inactive}, &w));
    ck_assert_int_eq(claim(1, HASH), CLAIM_CLAIMED);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 0);
    fill(&w, 1);
    ck_assert_uint_eq(take(one, tasks), 0);
}
END_TEST

START_TEST(wrong_codes_are_told_afterwards_once_an_hour_and_device)
{
    struct db_webhook w = hook(maker, ALL_EVENTS);
    size_t n;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(claim(1, 0), CLAIM_CODE);
    ck_assert_int_eq(claim(9, 0), CLAIM_UNKNOWN);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 0);
    look();
    ck_ok(db_delivery_list(one, w.row_id, NULL, list, 8, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(list[0].type, "claim.refused");
    ck_assert_ptr_nonnull(strstr(list[0].body, "\"attempts\": 3"));
    ck_assert_int_eq(claim(1, 0), CLAIM_CODE);
    look();
    look();
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 1);
    sql("UPDATE webhook_refused SET told_at = told_at - interval '1 hour'");
    look();
    ck_ok(db_delivery_list(one, w.row_id, NULL, list, 8, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert_ptr_nonnull(strstr(list[0].body, "\"attempts\": 1"));
    ck_assert_int_eq(
        claim(2, HASH), CLAIM_CLAIMED); /* by now the owner's affair, not the maker's */
    sql("UPDATE claim_event SET organization_id = 0; DELETE FROM webhook_delivery");
    sql("INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id, outcome)"
        " SELECT dev_eui, organization_id, client_id, 'r', 'taken' FROM claim_event"
        " WHERE outcome = 'claimed'");
    (void)hook(owner, ALL_EVENTS);
    look();
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery WHERE type = 'claim.refused'"
                            " AND organization_id = " OWNER),
        1);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 1);
}
END_TEST

START_TEST(an_attempt_whose_transaction_is_under_way_is_told_later)
{
    struct db_claimant claimant = {.organization_id = owner, .request_id = "test"};
    struct db_claim c = {
        .claimant = &claimant, .allowance = 1, .dev_eui = eui_of(1), .generation = 1};

    (void)hook(maker, ALL_EVENTS);
    memset(claimant.client_id, 7, sizeof(claimant.client_id));
    ck_ok(db_begin(two));
    ck_ok(db_claim_settle(two, &c, 1, true));
    sql("UPDATE webhook_scan SET looked_until = looked_until - interval '10 s'");
    ck_ok(db_webhook_look(one));
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_scan"
                            " WHERE looked_until >= (SELECT min(xact_start) FROM pg_stat_activity"
                            "  WHERE state = 'idle in transaction')"),
        0);
    ck_ok(db_commit(two));
    look();
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 1);
}
END_TEST

START_TEST(the_first_join_of_an_owner_is_told_once)
{
    struct db_webhook w = hook(owner, WEBHOOK_FIRST_JOIN);
    size_t n;

    ck_assert_int_eq(claim(1, HASH), CLAIM_CLAIMED);
    ck_ok(db_webhook_look(one));
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 0);
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, ownership_epoch)"
        " SELECT clock_timestamp(), dev_eui, 255, o, e FROM webhook_first_join,"
        "  (VALUES ('success', 1), ('MICFailed', 2)) v (o, e);"
        "UPDATE webhook_first_join SET due_at = now()");
    ck_ok(db_webhook_look(one));
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 0);
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, ownership_epoch)"
        " SELECT clock_timestamp(), dev_eui, 255, 'success', 2 FROM webhook_first_join"
        "  CROSS JOIN generate_series(1, 2);"
        "UPDATE webhook_first_join SET due_at = now()");
    ck_ok(db_webhook_look(one));
    ck_ok(db_webhook_look(one));
    ck_ok(db_delivery_list(one, w.row_id, NULL, list, 8, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(list[0].type, "device.first_join");
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_first_join"), 0);
}
END_TEST

START_TEST(a_delivery_is_one_services_until_its_lease_is_over)
{
    const struct db_delivery_result good = {.state = DELIVERY_DELIVERED, .status = 200};
    struct db_webhook w = hook(owner, ALL_EVENTS);
    size_t n;

    fill(&w, 1);
    ck_assert_uint_eq(take(one, tasks), 1);
    ck_assert_uint_eq(tasks[0].n_tries, 1);
    ck_assert_uint_eq(take(two, others), 0);
    ck_assert_int_eq(db_delivery_replay(two, w.row_id, tasks[0].id, list), DB_DELIVERY_BUSY);
    sql("UPDATE webhook_delivery SET due_at = now()");
    ck_assert_uint_eq(take(two, others), 1);
    ck_assert_mem_eq(others[0].id, tasks[0].id, ACCOUNT_ID_LEN);
    ck_assert_uint_eq(others[0].n_tries, 2);
    ck_assert_int_eq(db_delivery_settle(one, &tasks[0], &good), 1);
    ck_ok(db_delivery_settle(two, &others[0], &good));
    ck_assert_int_eq(db_delivery_settle(two, &others[0], &good), 1);
    ck_ok(db_delivery_list(one, w.row_id, NULL, list, 8, &n));
    ck_assert_int_eq(list[0].state, DELIVERY_DELIVERED);
    ck_assert_uint_eq(list[0].status, 200);
    ck_ok(db_delivery_replay(one, w.row_id, others[0].id, list));
    ck_assert_int_eq(list[0].state, DELIVERY_WAITING);
    ck_assert_uint_eq(list[0].n_tries, 0);
    ck_assert_uint_eq(take(one, tasks), 1);
    ck_assert_mem_eq(others[0].id, tasks[0].id, ACCOUNT_ID_LEN);
}
END_TEST

START_TEST(what_fails_waits_and_its_webhook_rests)
{
    const struct db_delivery_result bad = {
        .state = DELIVERY_WAITING, .again_s = 60, .status = 500, .fault = "no"};
    struct db_webhook w = hook(owner, ALL_EVENTS);

    fill(&w, 5);
    ck_assert_uint_eq(take(one, tasks), DB_WEBHOOK_AT_ONCE);
    ck_ok(db_delivery_settle(
        one, &tasks[0], &(struct db_delivery_result){.state = DELIVERY_WAITING, .untried = true}));
    ck_assert_int_eq(number("SELECT sum(n_failures) FROM webhook"), 0);
    ck_assert_uint_eq(take(one, others), 1);
    ck_assert_uint_eq(others[0].n_tries, 1);
    tasks[0] = others[0];
    ck_ok(db_delivery_settle(one, &tasks[0], &bad));
    ck_ok(db_delivery_settle(one, &tasks[1], &bad));
    ck_assert_uint_eq(take(one, tasks), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook WHERE n_failures = 2"
                            " AND rests_until BETWEEN now() AND now() + interval '2 s'"),
        1);
    sql("UPDATE webhook SET rests_until = now()");
    ck_assert_uint_eq(take(one, tasks), 1); /* one at a time, until one is taken */
    ck_assert_uint_eq(take(one, others), 0);
    ck_ok(db_delivery_settle(
        one, &tasks[0], &(struct db_delivery_result){.state = DELIVERY_DELIVERED, .status = 204}));
    ck_assert_uint_eq(take(one, tasks), DB_WEBHOOK_AT_ONCE);
    ck_ok(db_delivery_settle(
        one, &tasks[0], &(struct db_delivery_result){.state = DELIVERY_DEAD, .fault = "no"}));
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery WHERE state = 'dead'"), 1);
}
END_TEST

START_TEST(nobody_takes_all_places)
{
    struct db_webhook of_owner[5];
    struct db_webhook of_maker = hook(maker, ALL_EVENTS);
    unsigned n_of_maker = 0;
    size_t n;

    for (size_t i = 0; i < 5; i++) {
        of_owner[i] = hook(owner, ALL_EVENTS);
        fill(&of_owner[i], 10);
    }
    fill(&of_maker, 10);
    n = take(one, tasks);
    ck_assert_uint_eq(n, DB_WEBHOOK_AT_ONCE_OF_ALL + DB_WEBHOOK_AT_ONCE);
    for (size_t i = 0; i < n; i++)
        n_of_maker += tasks[i].webhook_row_id == of_maker.row_id;
    ck_assert_uint_eq(n_of_maker, DB_WEBHOOK_AT_ONCE);
    ck_assert_uint_eq(take(two, others), 0);
    /* Who was left out comes first. */
    ck_ok(db_delivery_settle(
        one, &tasks[0], &(struct db_delivery_result){.state = DELIVERY_DELIVERED, .status = 200}));
    ck_assert_uint_eq(take(two, others), 1);
}
END_TEST

START_TEST(what_is_old_or_too_much_is_deleted_dead_ones_first)
{
    struct db_webhook w = hook(owner, ALL_EVENTS);
    size_t n;

    fill(&w, DB_WEBHOOK_ROWS_MAX + 3);
    sql("UPDATE webhook_delivery SET state = 'dead' WHERE id IN"
        " (SELECT id FROM webhook_delivery ORDER BY id DESC LIMIT 2)");
    ck_ok(db_webhook_purge(one, &n));
    ck_assert_uint_eq(n, 3);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery WHERE state = 'dead'"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), DB_WEBHOOK_ROWS_MAX);
    sql("UPDATE webhook_delivery SET created_at = now() - interval '31 days' WHERE id IN"
        " (SELECT id FROM webhook_delivery ORDER BY id LIMIT 4)");
    ck_ok(db_webhook_purge(one, &n));
    ck_assert_uint_eq(n, 4);
    ck_ok(db_webhook_purge(one, &n));
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(webhooks_are_bounded_and_an_organizations_own)
{
    struct db_webhook w = {0}, found;

    for (int i = 0; i < DB_WEBHOOKS_MAX; i++)
        w = hook(owner, ALL_EVENTS);
    ck_assert_int_eq(db_webhook_find(one, maker, w.id, &found), 1);
    ck_ok(db_webhook_find(one, owner, w.id, &found));
    ck_assert_uint_eq(found.generation, 1);
    ck_ok(random_bytes(found.id, sizeof(found.id)));
    ck_assert_int_eq(db_webhook_add(one, owner, &found), 1);
    ck_ok(db_webhook_set(one, w.row_id, &(struct db_webhook_change){.new_secret = true}, &found));
    ck_assert_uint_eq(found.generation, 2);
    ck_assert_uint_eq(found.events, ALL_EVENTS);
    fill(&w, 2);
    ck_ok(db_begin(one));
    ck_ok(db_webhook_remove(one, w.row_id));
    ck_ok(db_commit(one));
    ck_assert_int_eq(number("SELECT count(*) FROM webhook_delivery"), 0);
    ck_assert_int_eq(db_webhook_remove(one, w.row_id), 1);
}
END_TEST

START_TEST(the_end_of_an_import_is_told)
{
    struct db_webhook w = hook(maker, WEBHOOK_BATCH_DONE);
    size_t n;

    sql("INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('08', 16), 'hex'), " MAKER ", 2, sha256('');"
        "INSERT INTO job (organization_id, client_id, kind, state, fingerprint, lease_until)"
        " SELECT " MAKER ", decode(repeat('08', 16), 'hex'), k, 'running', sha256(''), now()"
        " FROM unnest(ARRAY['import', 'dry_run']) k;"
        "UPDATE job SET state = 'interrupted'; UPDATE job SET state = 'running';"
        "UPDATE job SET state = 'done', n_created = 7; UPDATE job SET n_warned = 1");
    ck_ok(db_delivery_list(one, w.row_id, NULL, list, 8, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(list[0].type, "batch.done");
    ck_assert_ptr_nonnull(strstr(list[0].body, "\"created\": 7"));
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_claim_tells_owner_and_maker_and_the_maker_not_whom);
    tcase_add_test(tcase, what_is_rolled_back_is_not_told);
    tcase_add_test(tcase, an_inactive_webhook_is_not_told);
    tcase_add_test(tcase, wrong_codes_are_told_afterwards_once_an_hour_and_device);
    tcase_add_test(tcase, an_attempt_whose_transaction_is_under_way_is_told_later);
    tcase_add_test(tcase, the_first_join_of_an_owner_is_told_once);
    tcase_add_test(tcase, a_delivery_is_one_services_until_its_lease_is_over);
    tcase_add_test(tcase, what_fails_waits_and_its_webhook_rests);
    tcase_add_test(tcase, nobody_takes_all_places);
    tcase_add_test(tcase, what_is_old_or_too_much_is_deleted_dead_ones_first);
    tcase_add_test(tcase, webhooks_are_bounded_and_an_organizations_own);
    tcase_add_test(tcase, the_end_of_an_import_is_told);
}

int main(void)
{
    return run_suite("db-webhook", add);
}
