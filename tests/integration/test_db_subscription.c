#include "db/claim.h"
#include "db/subscription.h"

#include "db/connection.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_DEVICES 250 /* more than two pieces */
#define N_RACERS 12
#define N_PLACES 5
#define N_OTHERS 5000 /* devices of somebody else */
#define N_PAGES 60    /* that a piece of two devices may look at */
#define HASH 0xaa
#define YEAR_S (365 * (int64_t)86400)

static struct db *db;
static int64_t owner;
static struct db_subscription subscription;

static int64_t number_of(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

/* Devices that the owner has, and a subscription that began just now. */
static void begin(uint32_t n_devices, uint32_t n_places)
{
    make_devices(1, n_devices, LW_MAC_1_0_3);
    owner = number_of("SELECT max(id) FROM organization");
    db = open_as("cradle_activation");
    subscription = (struct db_subscription){.organization_id = owner,
        .seller_id = owner,
        .name = "fleet",
        .ends_s = number_of("SELECT extract(epoch FROM now())::int8") + YEAR_S,
        .n_places = n_places,
        .notice_days = 14};
    ck_ok(db_subscription_add(db, &subscription));
    ck_assert_int_eq(subscription.state, SUBSCRIPTION_RUNNING);
}

static void end(void)
{
    db_close(db);
    db = NULL;
}

static int take(struct db *with, uint32_t number)
{
    const struct eui64 dev_eui = eui_of(number);
    size_t n_suspended;
    int r = db_begin(with);

    if (r == 0)
        r = db_subscription_take(with, &dev_eui, owner, subscription.row_id);
    if (r == 0)
        r = db_subscription_settle(with, &dev_eui, 1, "test", &n_suspended);
    if (r == 0)
        return db_commit(with);
    db_rollback(with);
    return r;
}

static struct db_subscription_done work(void)
{
    struct db_subscription_done done = {0};
    int more;

    do
        ck_assert_int_ge(more = db_subscription_work(db, &done), 0);
    while (more > 0);
    return done;
}

/* Time passes: the rows' times are moved back. */
static void pass(const char *interval)
{
    char text[300];

    (void)snprintf(text, sizeof(text),
        "UPDATE subscription SET starts_at = starts_at - interval '%s', ends_at = ends_at -"
        " interval '%s', notice_at = notice_at - interval '%s', due_at = due_at - interval '%s'",
        interval, interval, interval, interval);
    sql(text);
}

static int64_t n_of(const char *service)
{
    char text[100];

    (void)snprintf(text, sizeof(text), "SELECT count(*) FROM device WHERE service = '%s'", service);
    return number_of(text);
}

static int64_t n_events(const char *action)
{
    char text[100];

    (void)snprintf(
        text, sizeof(text), "SELECT count(*) FROM audit_event WHERE action = '%s'", action);
    return number_of(text);
}

static int change(const struct db_subscription_change *what)
{
    struct db_subscription now;

    return db_subscription_set(db, subscription.row_id, what, &now);
}

/* --- places ----------------------------------------------------------------------------------- */

struct racer {
    pthread_t thread;
    pthread_barrier_t *start;
    struct db *db;
    uint32_t number;
    int result;
    struct db_claim claim;
};

static void *race_to_take(void *arg)
{
    struct racer *r = arg;

    pthread_barrier_wait(r->start);
    r->result = take(r->db, r->number);
    return NULL;
}

static void run_race(struct racer *racers, void *(*race)(void *))
{
    pthread_barrier_t start;

    pthread_barrier_init(&start, NULL, N_RACERS);
    for (uint32_t i = 0; i < N_RACERS; i++) {
        racers[i].db = open_as("cradle_activation");
        ck_ok(db_check(racers[i].db));
        racers[i].number = i + 1;
        racers[i].start = &start;
        ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < N_RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        db_close(racers[i].db);
    }
    pthread_barrier_destroy(&start);
}

START_TEST(of_many_at_once_as_many_get_a_place_as_there_are)
{
    static struct racer racers[N_RACERS];
    unsigned n_taken = 0;

    begin(N_RACERS, N_PLACES);
    run_race(racers, race_to_take);
    for (unsigned i = 0; i < N_RACERS; i++) {
        ck_assert_int_ge(racers[i].result, 0);
        n_taken += racers[i].result == 0;
    }
    ck_assert_uint_eq(n_taken, N_PLACES);
    ck_assert_int_eq(number_of("SELECT n_used FROM subscription"), N_PLACES);
    ck_assert_int_eq(number_of("SELECT count(*) FROM device_entitlement"), N_PLACES);
    end();
}
END_TEST

START_TEST(a_place_is_taken_once_and_free_again_when_its_device_changes_hands)
{
    static const char *const ways[] = {
        "UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive',"
        " ownership_epoch = ownership_epoch + 1",
        "UPDATE device SET credential = 'scrapped', service = 'inactive'"};
    const struct eui64 dev_eui = eui_of(1);

    begin(2, 1);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        sql("UPDATE device SET credential = 'activable', ownership = 'claimed', owner_id ="
            " organization_id");
        ck_ok(take(db, 1));
        ck_ok(take(db, 1)); /* its own */
        ck_assert_int_eq(take(db, 2), 1);
        sql(ways[i]);
        ck_assert_int_eq(number_of("SELECT n_used FROM subscription"), 0);
        ck_assert_int_eq(take(db, 1), 2);
    }
    sql("UPDATE device SET credential = 'activable'");
    ck_ok(take(db, 1));
    ck_assert_int_eq(db_subscription_give_back(db, &dev_eui, owner + 1), 1);
    ck_ok(db_subscription_give_back(db, &dev_eui, owner));
    ck_assert_int_eq(db_subscription_give_back(db, &dev_eui, owner), 1);
    ck_ok(take(db, 2));
    ck_assert_int_eq(change(&(struct db_subscription_change){.n_places = &(uint32_t){100}}), 0);
    ck_ok(take(db, 1));
    ck_assert_int_eq(change(&(struct db_subscription_change){.n_places = &(uint32_t){1}}), 1);
    end();
}
END_TEST

/* --- claims ----------------------------------------------------------------------------------- */

static struct db_claimant claimant;

/* All devices are anybody's who knows their codes, which have this hash. */
static void set_up_claims(uint32_t n)
{
    claimant = (struct db_claimant){.organization_id = owner, .request_id = "test"};
    memset(claimant.client_id, 7, sizeof(claimant.client_id));
    sql("UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive';"
        "INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('07', 16), 'hex'), max(id), 8, decode(repeat('00', 32), 'hex')"
        " FROM organization");
    for (uint32_t i = 1; i <= n; i++) {
        struct db_code code = {.dev_eui = eui_of(i), .generation = 1};

        memset(code.hash, HASH, sizeof(code.hash));
        ck_ok(db_code_give(db, &code, 1));
    }
}

static struct db_claim claim_of(uint32_t number, uint8_t hash)
{
    struct db_claim claim = {.claimant = &claimant,
        .allowance = DB_CLAIM_CHUNK_MAX,
        .dev_eui = eui_of(number),
        .generation = 1,
        .has_subscription = true};

    memset(claim.hash, hash, sizeof(claim.hash));
    memset(claim.new_hash, 0xbb, sizeof(claim.new_hash));
    memcpy(claim.subscription, subscription.id, sizeof(claim.subscription));
    return claim;
}

START_TEST(without_a_place_a_right_claim_changes_nothing)
{
    struct db_claim claims[4];

    begin(4, 2);
    set_up_claims(4);
    for (uint32_t i = 0; i < 4; i++)
        claims[i] = claim_of(i + 1, i == 1 ? 0 : HASH);
    ck_ok(db_begin(db));
    ck_ok(db_claim_settle(db, claims, 4, true));
    ck_ok(db_commit(db));
    ck_assert_int_eq(claims[0].outcome, CLAIM_CLAIMED);
    ck_assert_int_eq(claims[1].outcome, CLAIM_CODE); /* takes no place */
    ck_assert_int_eq(claims[2].outcome, CLAIM_CLAIMED);
    ck_assert_int_eq(claims[3].outcome, CLAIM_NO_PLACE);
    ck_assert_int_eq(number_of("SELECT count(*) FROM device WHERE owner_id IS NOT NULL"), 2);
    ck_assert_int_eq(number_of("SELECT count(*) FROM claim_code WHERE generation = 1"), 2);
    ck_assert_int_eq(number_of("SELECT n_used FROM subscription"), 2);
    ck_assert_int_eq(number_of("SELECT n_wrong FROM claim_limit WHERE scope = 1"), 1);
    ck_assert_int_eq(number_of("SELECT count(*) FROM claim_event WHERE outcome = 'no-place'"), 1);
    end();
}
END_TEST

START_TEST(a_subscription_is_asked_for_before_any_code)
{
    struct db_claim claim;

    begin(3, 1);
    ck_ok(take(db, 3));
    set_up_claims(2);
    sql("UPDATE device SET owner_id = organization_id, ownership = 'claimed' WHERE dev_eui ="
        " (SELECT dev_eui FROM device_entitlement)");
    for (uint32_t i = 1; i <= 4; i++) { /* with a code, without, holding it, unknown */
        claim = claim_of(i, HASH);
        ck_ok(db_claim_load(db, &claim, 1));
        ck_assert_int_eq(claim.place, i == 3 ? PLACE_FREE : PLACE_FULL);
    }
    sql("UPDATE subscription SET n_places = 2");
    ck_ok(db_claim_load(db, &claim, 1));
    ck_assert_int_eq(claim.place, PLACE_FREE);
    pass("366 days");
    ck_ok(db_claim_load(db, &claim, 1));
    ck_assert_int_eq(claim.place, PLACE_ENDED);
    claimant.organization_id =
        number_of("INSERT INTO organization (name) VALUES ('another') RETURNING id");
    ck_ok(db_claim_load(db, &claim, 1));
    ck_assert_int_eq(claim.place, PLACE_UNKNOWN);
    end();
}
END_TEST

static void *race_to_claim(void *arg)
{
    struct racer *r = arg;

    pthread_barrier_wait(r->start);
    r->result = db_begin(r->db);
    if (r->result == 0)
        r->result = db_claim_settle(r->db, &r->claim, 1, true);
    if (r->result == 0)
        r->result = db_commit(r->db);
    return NULL;
}

START_TEST(of_many_claims_at_once_as_many_come_through_as_there_are_places)
{
    static struct racer racers[N_RACERS];
    unsigned n_claimed = 0;

    begin(N_RACERS, N_PLACES);
    set_up_claims(N_RACERS);
    for (uint32_t i = 0; i < N_RACERS; i++) {
        racers[i].claim = claim_of(i + 1, HASH);
    }
    run_race(racers, race_to_claim);
    for (unsigned i = 0; i < N_RACERS; i++) {
        ck_assert_int_eq(racers[i].result, 0);
        n_claimed += racers[i].claim.outcome == CLAIM_CLAIMED;
        ck_assert(
            racers[i].claim.outcome == CLAIM_CLAIMED || racers[i].claim.outcome == CLAIM_NO_PLACE);
    }
    ck_assert_uint_eq(n_claimed, N_PLACES);
    ck_assert_int_eq(number_of("SELECT count(*) FROM device WHERE owner_id IS NOT NULL"), N_PLACES);
    ck_assert_int_eq(number_of("SELECT n_used FROM subscription"), N_PLACES);
    end();
}
END_TEST

struct both {
    pthread_t thread;
    struct db *db;
    struct db_claim claims[2];
    int result;
};

static void *claim_both(void *arg)
{
    struct both *b = arg;

    b->result = db_begin(b->db);
    if (b->result == 0)
        b->result = db_claim_settle(b->db, b->claims, 2, true);
    if (b->result == 0)
        b->result = db_commit(b->db);
    return NULL;
}

static const char *hex_of(uint32_t number)
{
    static char hex[EUI64_TEXT_LEN + 1];
    const struct eui64 eui = eui_of(number);

    return eui64_format(&eui, hex);
}

/* Places are taken in the order of subscriptions, and each brings its device's hot row. */
START_TEST(whatever_subscriptions_claims_want_hot_rows_are_locked_in_the_order_of_deveuis)
{
    struct db_subscription second;
    struct both both = {.result = -1};
    struct db *first_row;
    char text[120];

    begin(2, 2);
    second = subscription;
    ck_ok(db_subscription_add(db, &second));
    set_up_claims(2);
    both.db = open_as("cradle_activation");
    both.claims[0] = claim_of(1, HASH);
    memcpy(both.claims[0].subscription, second.id, sizeof(second.id));
    both.claims[1] = claim_of(2, HASH);
    first_row = open_as("cradle_activation");
    ck_ok(db_begin(first_row));
    (void)snprintf(
        text, sizeof(text), "SELECT device_joins_hold(ARRAY['\\x%s'::bytea])", hex_of(1));
    ck_ok(db_exec(first_row, text, false));
    ck_assert_int_eq(pthread_create(&both.thread, NULL, claim_both, &both), 0);
    wait_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
               " AND query LIKE 'WITH seen%'");
    (void)snprintf(text, sizeof(text),
        "SELECT FROM device_join WHERE dev_eui = '\\x%s' FOR UPDATE NOWAIT", hex_of(2));
    sql(text); /* it has not come so far */
    db_rollback(first_row);
    pthread_join(both.thread, NULL);
    ck_ok(both.result);
    ck_assert_int_eq(both.claims[0].outcome, CLAIM_CLAIMED);
    ck_assert_int_eq(both.claims[1].outcome, CLAIM_CLAIMED);
    db_close(first_row);
    db_close(both.db);
    end();
}
END_TEST

/* --- time ------------------------------------------------------------------------------------- */

START_TEST(of_an_end_is_told_once_and_again_of_another)
{
    int64_t later;

    begin(1, 1);
    ck_assert_uint_eq(work().n_noticed, 0);
    pass("350 days");
    ck_assert_uint_eq(work().n_noticed, 0);
    pass("2 days");
    ck_assert_uint_eq(work().n_noticed, 1);
    ck_assert_uint_eq(work().n_noticed, 0);
    ck_ok(change(&(struct db_subscription_change){.notice_days = &(uint32_t){30}, .name = "x"}));
    ck_assert_uint_eq(work().n_noticed, 0);
    later = number_of("SELECT extract(epoch FROM now())::int8") + 20 * (int64_t)86400;
    ck_ok(change(&(struct db_subscription_change){.ends_s = &later}));
    ck_assert_uint_eq(work().n_noticed, 1);
    ck_assert_int_eq(n_events("subscription.notice"), 2);
    end();
}
END_TEST

START_TEST(what_renews_is_extended_by_whole_terms_and_suspends_nothing)
{
    struct db_subscription_done done;

    begin(1, 1);
    ck_ok(take(db, 1));
    ck_ok(change(&(struct db_subscription_change){.renews = &(bool){true}}));
    pass("800 days"); /* nobody has looked for more than two terms */
    done = work();
    ck_assert_uint_eq(done.n_renewed, 1);
    ck_assert_uint_eq(done.n_suspended + done.n_ended, 0);
    ck_assert_int_eq(number_of("SELECT round(extract(epoch FROM ends_at - starts_at) / 86400)::int8"
                               " FROM subscription"),
        3 * 365);
    ck_assert_int_eq(number_of("SELECT (ends_at > now())::int FROM subscription"), 1);
    ck_assert_uint_eq(work().n_renewed, 0);
    end();
}
END_TEST

START_TEST(the_end_suspends_its_devices_and_another_end_resumes_those_that_nobody_else_suspended)
{
    const struct eui64 second = eui_of(2);
    struct db_subscription_done done;
    int64_t later;

    begin(4, 3);
    for (uint32_t i = 1; i <= 3; i++)
        ck_ok(take(db, i));
    sql("UPDATE device SET service = 'suspended' WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY 1 LIMIT 1)");
    pass("366 days");
    done = work();
    ck_assert_uint_eq(done.n_ended, 1);
    ck_assert_uint_eq(done.n_suspended, 2); /* the fourth holds none, and needs none */
    ck_assert_int_eq(n_of("suspended"), 3);
    ck_assert_int_eq(n_events("device.suspend"), 2);
    ck_assert_int_eq(number_of("SELECT sum(gate_rev)::int8 FROM device_join"), 3);
    later = number_of("SELECT extract(epoch FROM ends_at)::int8 FROM subscription");
    ck_ok(change(&(struct db_subscription_change){.ends_s = &later})); /* the end that it has */
    ck_assert_uint_eq(work().n_ended, 0);
    ck_ok(db_subscription_hand_over(db, &second, 1));
    later = number_of("SELECT extract(epoch FROM now())::int8") + 100 * (int64_t)86400;
    ck_ok(change(&(struct db_subscription_change){.ends_s = &later}));
    done = work();
    ck_assert_uint_eq(done.n_resumed, 1);
    ck_assert_int_eq(n_of("suspended"), 2);
    ck_assert_int_eq(number_of("SELECT count(*) FROM device WHERE suspended_by IS NOT NULL"), 0);
    ck_ok(change(&(struct db_subscription_change){.name = "only its name"}));
    ck_assert_uint_eq(work().n_resumed, 0);
    end();
}
END_TEST

START_TEST(an_end_is_acted_upon_once_however_often_it_breaks_off)
{
    struct db_subscription_done done = {0};

    begin(N_DEVICES, N_DEVICES);
    sql("INSERT INTO device_entitlement (dev_eui, subscription_id)"
        " SELECT dev_eui, (SELECT id FROM subscription) FROM device");
    pass("366 days");
    for (int i = 0; i < 4; i++) { /* a service that dies before its commit */
        struct db *dying = open_as("cradle_activation");

        ck_ok(db_begin(dying));
        ck_assert_int_eq(db_subscription_work(dying, &done), i < 3);
        db_close(dying);
        wait_until("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                   " AND usename = 'cradle_activation'"); /* what it had locked is free */
        done = (struct db_subscription_done){0};
        ck_assert_int_eq(db_subscription_work(db, &done), i < 3);
    }
    ck_assert_uint_eq(work().n_suspended, 0);
    ck_assert_int_eq(n_of("suspended"), N_DEVICES);
    ck_assert_int_eq(n_events("device.suspend"), N_DEVICES);
    ck_assert_int_eq(n_events("subscription.end"), 1);
    ck_assert_int_eq(n_events("subscription.notice"), 1);
    end();
}
END_TEST

START_TEST(no_end_comes_before_its_notice)
{
    struct db_subscription_done done = {0};
    struct db *other;

    begin(1, 1);
    sql("UPDATE subscription SET due_at = now(), notice_at = now() + interval '1 hour'");
    ck_assert_uint_eq(work().n_ended, 0);
    sql("UPDATE subscription SET notice_at = now()");
    other = open_as("cradle_activation");
    ck_ok(db_begin(other)); /* which has the notice in its hands, and fails */
    ck_assert_int_ge(db_subscription_work(other, &done), 0);
    ck_assert_uint_eq(done.n_noticed, 1);
    ck_assert_uint_eq(work().n_ended, 0);
    db_rollback(other);
    done = work();
    ck_assert_uint_eq(done.n_noticed, 1);
    ck_assert_uint_eq(done.n_ended, 1);
    db_close(other);
    end();
}
END_TEST

static void *race_to_work(void *arg)
{
    struct racer *r = arg;
    struct db_subscription_done done = {0};

    pthread_barrier_wait(r->start);
    do
        r->result = db_subscription_work(r->db, &done);
    while (r->result > 0);
    return NULL;
}

START_TEST(many_services_at_once_do_it_once)
{
    static struct racer racers[N_RACERS];

    begin(N_DEVICES, N_DEVICES);
    sql("INSERT INTO device_entitlement (dev_eui, subscription_id)"
        " SELECT dev_eui, (SELECT id FROM subscription) FROM device");
    pass("366 days");
    run_race(racers, race_to_work);
    for (unsigned i = 0; i < N_RACERS; i++)
        ck_assert_int_eq(racers[i].result, 0);
    (void)work(); /* what the others held when one of them looked */
    ck_assert_int_eq(n_of("suspended"), N_DEVICES);
    ck_assert_int_eq(n_events("device.suspend"), N_DEVICES);
    ck_assert_int_eq(n_events("subscription.end"), 1);
    ck_assert_int_eq(n_events("subscription.notice"), 1);
    end();
}
END_TEST

START_TEST(where_devices_need_one_those_without_are_suspended_until_they_do_not)
{
    struct db_organization organization;

    begin(N_DEVICES, N_DEVICES);
    ck_ok(take(db, 1));
    ck_ok(db_organization_set(db, owner,
        &(struct db_organization_change){.subscription_required = &(bool){true}}, &organization));
    ck_assert_uint_eq(work().n_suspended, N_DEVICES - 1);
    ck_ok(take(db, 2)); /* at once */
    ck_assert_int_eq(n_of("suspended"), N_DEVICES - 2);
    ck_ok(db_organization_set(db, owner,
        &(struct db_organization_change){.subscription_required = &(bool){false}}, &organization));
    ck_assert_uint_eq(work().n_resumed, N_DEVICES - 2);
    ck_assert_int_eq(n_of("suspended"), 0);
    end();
}
END_TEST

static void *need_them(void *arg)
{
    struct racer *r = arg;
    struct db_organization organization;

    r->result = db_organization_set(r->db, owner,
        &(struct db_organization_change){.subscription_required = &(bool){true}}, &organization);
    return NULL;
}

static struct db_claim claim_without(uint32_t number)
{
    struct db_claim claim = claim_of(number, HASH);

    claim.has_subscription = false;
    ck_ok(db_begin(db));
    ck_ok(db_claim_settle(db, &claim, 1, true));
    ck_assert_int_eq(claim.outcome, CLAIM_CLAIMED);
    return claim;
}

START_TEST(no_claim_slips_past_that_subscriptions_come_to_be_needed)
{
    struct racer other = {.result = -1};

    begin(2, 1);
    set_up_claims(2);
    other.db = open_as("cradle_activation");
    (void)claim_without(1); /* before it */
    ck_assert_int_eq(pthread_create(&other.thread, NULL, need_them, &other), 0);
    wait_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
               " AND query LIKE 'UPDATE organization%'");
    ck_ok(db_commit(db));
    pthread_join(other.thread, NULL);
    ck_ok(other.result);
    ck_assert_uint_eq(work().n_suspended, 1);
    (void)claim_without(2); /* behind it, and at once */
    ck_ok(db_commit(db));
    ck_assert_int_eq(n_of("suspended"), 2);
    db_close(other.db);
    end();
}
END_TEST

/* By the time of the transaction that takes it, it runs for an hour more. */
START_TEST(what_has_ended_is_not_taken_by_a_transaction_that_began_before)
{
    const struct eui64 dev_eui = eui_of(1);
    struct db_subscription_done done = {0};
    size_t n_suspended;
    struct db *other;

    begin(1, 1);
    other = open_as("cradle_activation");
    ck_ok(db_begin(db));
    ck_ok(db_subscription_settle(db, &dev_eui, 1, "test", &n_suspended));
    sql("UPDATE subscription SET ends_at = now() + interval '1 hour', due_at = now(),"
        " notice_at = now()");
    ck_assert_int_ge(db_subscription_work(other, &done), 0);
    ck_assert_uint_eq(done.n_ended, 1);
    ck_assert_int_eq(db_subscription_take(db, &dev_eui, owner, subscription.row_id), 1);
    db_rollback(db);
    db_close(other);
    end();
}
END_TEST

/* Pages that a statement looks at, as the session runs it. */
static int64_t n_pages(const char *statement)
{
    char text[200];
    const char *hit, *read;
    int64_t n;
    PGresult *result;

    (void)snprintf(text, sizeof(text),
        "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) %s", statement);
    result = PQexec(db->conn, text);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    ck_assert_int_ge(PQntuples(result), 2);
    hit = strstr(PQgetvalue(result, 1, 0), " hit=");
    read = strstr(PQgetvalue(result, 1, 0), " read=");
    ck_assert_ptr_nonnull(hit);
    n = strtoll(hit + strlen(" hit="), NULL, 10);
    n += read != NULL ? strtoll(read + strlen(" read="), NULL, 10) : 0;
    PQclear(result);
    return n;
}

/* clang-format off */
/* Of somebody else, by whichever of both that can be told. */
static void others_devices(void)
{
    sql("INSERT INTO organization (name) VALUES ('other')");
    sql("INSERT INTO device (dev_eui, join_eui, mac_version, organization_id, credential, owner_id,"
        "  ownership)"
        " SELECT int8send(g + (1::int8 << 40)), '\\x70b3d5ff00000001', '1.0.3', o.id, 'activable', o.id, 'claimed'"
        " FROM generate_series(1, " DB_DECIMAL(N_OTHERS) ") g, organization o"
        " WHERE o.name = 'other'");
    sql("INSERT INTO subscription (organization_id, seller_id, name, starts_at, ends_at, term_s,"
        "  n_places, renewal, notice_days)"
        " SELECT id, id, 'other', now(), now() + interval '1 year', 86400, " DB_DECIMAL(N_OTHERS) ","
        "  'none', 0 FROM organization WHERE name = 'other'");
    /* Counting them one by one takes its time, and is not what this is about. */
    sql("ALTER TABLE device_entitlement DISABLE TRIGGER entitlement_counted;"
        "INSERT INTO device_entitlement (dev_eui, subscription_id)"
        " SELECT d.dev_eui, s.id FROM device d, subscription s"
        " WHERE s.name = 'other' AND d.owner_id = s.organization_id");
    sql("ANALYZE");
}
/* clang-format on */

static const struct {
    const char *begin, *run;
} walks[] = {
    {"UPDATE subscription SET walk = '' WHERE name = 'fleet'",
        "SELECT ret_walked FROM subscription_walk(3)"},
    {"UPDATE organization SET subscription_walk = ''"
     " WHERE id = (SELECT organization_id FROM subscription WHERE name = 'fleet')",
        "SELECT ret_walked FROM organization_walk(3)"},
};
#define N_WALKS (sizeof(walks) / sizeof(walks[0]))

/* Whole, and what the session's first reads of the catalog does not count. */
static int64_t n_pages_of_walk(size_t walk)
{
    int64_t n = 0;

    for (int i = 0; i < 2; i++) {
        sql(walks[walk].begin);
        n = n_pages(walks[walk].run);
        ck_assert_int_eq(number_of("SELECT count(*) FROM subscription s, organization o"
                                   " WHERE s.walk IS NOT NULL OR o.subscription_walk IS NOT NULL"),
            0);
    }
    return n;
}

/* A table that is vacuumed or analyzed between two runs of a statement makes the session read the
 * catalog anew, and plan anew: 100 to 600 pages. We do that ourselves, where it belongs. */
static void autovacuum_ends(void)
{
    sql("ALTER SYSTEM SET autovacuum = off");
    sql("SELECT pg_reload_conf()");
    wait_until("SELECT (count(*) = 0)::int FROM pg_stat_activity"
               " WHERE backend_type IN ('autovacuum launcher', 'autovacuum worker')");
}

static void autovacuum_goes_on(void)
{
    sql("ALTER SYSTEM RESET autovacuum");
    sql("SELECT pg_reload_conf()");
}

START_TEST(a_piece_of_a_walk_reads_its_own_devices_and_no_others)
{
    autovacuum_ends();
    begin(2, 2);
    ck_ok(take(db, 1));
    ck_ok(take(db, 2));
    (void)n_pages_of_walk((size_t)_i);
    others_devices();
    /* By the plan of when next to nothing was there, and by one of its own time. */
    ck_assert_int_le(n_pages_of_walk((size_t)_i), N_PAGES);
    db_drop(db);
    ck_ok(db_exec(db, "SELECT 1", false));
    ck_assert_int_le(n_pages_of_walk((size_t)_i), N_PAGES);
    end();
    autovacuum_goes_on();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, of_many_at_once_as_many_get_a_place_as_there_are);
    tcase_add_test(tcase, a_place_is_taken_once_and_free_again_when_its_device_changes_hands);
    tcase_add_test(tcase, without_a_place_a_right_claim_changes_nothing);
    tcase_add_test(tcase, a_subscription_is_asked_for_before_any_code);
    tcase_add_test(tcase, of_many_claims_at_once_as_many_come_through_as_there_are_places);
    tcase_add_test(
        tcase, whatever_subscriptions_claims_want_hot_rows_are_locked_in_the_order_of_deveuis);
    tcase_add_test(tcase, of_an_end_is_told_once_and_again_of_another);
    tcase_add_test(tcase, what_renews_is_extended_by_whole_terms_and_suspends_nothing);
    tcase_add_test(tcase,
        the_end_suspends_its_devices_and_another_end_resumes_those_that_nobody_else_suspended);
    tcase_add_test(tcase, an_end_is_acted_upon_once_however_often_it_breaks_off);
    tcase_add_test(tcase, no_end_comes_before_its_notice);
    tcase_add_test(tcase, many_services_at_once_do_it_once);
    tcase_add_test(tcase, where_devices_need_one_those_without_are_suspended_until_they_do_not);
    tcase_add_test(tcase, no_claim_slips_past_that_subscriptions_come_to_be_needed);
    tcase_add_test(tcase, what_has_ended_is_not_taken_by_a_transaction_that_began_before);
    tcase_add_loop_test(
        tcase, a_piece_of_a_walk_reads_its_own_devices_and_no_others, 0, (int)N_WALKS);
}

int main(void)
{
    return run_suite("db subscription", add);
}
