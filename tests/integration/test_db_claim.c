#include "db/claim.h"
#include "db/device_change.h"

#include "base/text.h"
#include "db/connection.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
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
    struct db_claim claim = {.claimant = &claimant,
        .allowance = DB_CLAIM_CLIENT_BURST,
        .dev_eui = eui_of(number),
        .generation = 1};

    memset(claim.hash, hash, sizeof(claim.hash));
    memset(claim.new_hash, NEW_HASH, sizeof(claim.new_hash));
    return claim;
}

static enum db_claim_outcome settle(struct db_claim claim)
{
    ck_ok(db_begin(db));
    ck_ok(db_claim_settle(db, &claim, 1, true));
    ck_ok(db_commit(db));
    return claim.outcome;
}

/* How long this claimant waits with a device, and how many wrong ones he has left. */
static int64_t wait_of(uint32_t number, unsigned *ret_allowance)
{
    struct db_claim claim = claim_of(number, 0);

    ck_ok(db_claim_load(db, &claim, 1));
    *ret_allowance = claim.allowance;
    return claim.wait_s;
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
    ck_ok(db_claim_settle(other, &first, 1, true));
    ck_assert_int_eq(first.outcome, CLAIM_CLAIMED);
    ck_assert_uint_eq(first.ownership_epoch, 2);
    db_rollback(other);
    ck_assert_int_eq(settle(claim_of(1, HASH)), CLAIM_CLAIMED); /* a rolled back one has not won */
    ck_assert_int_eq(settle(claim_of(1, HASH)), CLAIM_AGAIN);   /* of this call, at an old code */
    claimant.call[0] = 1;
    ck_assert_int_eq(settle(claim_of(1, HASH)), CLAIM_OWN);
    row =
        pg_text(cluster, database, "SELECT string_agg(outcome, ' ' ORDER BY id) FROM claim_event");
    ck_assert_str_eq(row, "claimed \n"); /* the others were nothing new */
    free(row);
    ck_assert_int_eq(limits("true"), 0); /* none of these was wrong */
    db_close(other);
    end();
}
END_TEST

START_TEST(wrong_ones_fill_the_buckets_and_time_empties_them)
{
    unsigned allowance;

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

START_TEST(guessing_by_many_makes_each_wrong_one_dearer_and_nobody_waits_for_others)
{
    unsigned allowance;
    int64_t n;
    bool on;

    begin();
    pg_sql(cluster, database,
        "INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id, outcome, at)"
        " SELECT decode(lpad(to_hex(n), 16, '0'), 'hex'), 1, decode(repeat('09', 16), 'hex'), 'x',"
        "  (ARRAY['code', 'unknown', 'locked'])[1 + n % 3], now()"
        " FROM generate_series(1, " DB_DECIMAL(DB_CLAIM_ALARM_MAX) ") n");
    pg_sql(cluster, database,
        "INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id, outcome, at)"
        " SELECT dev_eui, 1, client_id, 'x', o, now()"
        " FROM claim_event, unnest(ARRAY['claimed', 'repeated', 'raced']) o LIMIT 100");
    ck_ok(db_claim_watch(db, &on, &n));
    ck_assert(!on);
    ck_assert_int_eq(n, DB_CLAIM_ALARM_MAX);
    ck_assert_int_eq(settle(claim_of(1, 0)), CLAIM_CODE); /* one too many */
    pg_sql(cluster, database, "DELETE FROM claim_limit");
    ck_ok(db_claim_watch(db, &on, &n));
    ck_assert(on);
    ck_assert_int_eq(wait_of(1, &allowance), 0); /* who has guessed nothing of late */
    ck_assert_uint_eq(allowance, 1);
    ck_assert_int_eq(settle(claim_of(1, 0)), CLAIM_CODE);
    ck_assert_int_gt(wait_of(2, &allowance), DB_CLAIM_CLIENT_S * (DB_CLAIM_ALARM_SLOWER - 1));
    claimant.client_id[0] = 8;
    ck_assert_int_eq(wait_of(2, &allowance), 0);
    claimant.client_id[0] = 7;
    pg_sql(cluster, database,
        "UPDATE claim_event SET at = now() - interval '1 day' WHERE request_id = 'x'");
    ck_ok(db_claim_watch(db, &on, &n));
    ck_assert(on); /* it lasts its time */
    pg_sql(cluster, database, "UPDATE claim_limit SET due = now() WHERE scope IN (1, 5)");
    ck_ok(db_claim_watch(db, &on, &n));
    ck_assert(!on);
    ck_assert_int_eq(wait_of(2, &allowance), 0);
    ck_assert_uint_eq(allowance, DB_CLAIM_CLIENT_BURST);
    end();
}
END_TEST

START_TEST(nobody_saves_up_guesses)
{
    unsigned allowance;

    begin();
    ck_assert_int_eq(settle(claim_of(1, 0)), CLAIM_CODE);
    pg_sql(cluster, database, "UPDATE claim_limit SET due = now() - interval '1 day'");
    for (int i = 0; i < DB_CLAIM_CLIENT_BURST; i++)
        ck_assert_int_eq(settle(claim_of(1, 0)), CLAIM_CODE);
    ck_assert_int_gt(wait_of(2, &allowance), 0);
    end();
}
END_TEST

/* Device 1 as it is, which the organization owns. */
static struct db_device owned(void)
{
    struct eui64 dev_eui = eui_of(1);
    struct db_device device;

    ck_assert_int_eq(settle(claim_of(1, HASH)), CLAIM_CLAIMED);
    ck_ok(db_device_find(db, &dev_eui, claimant.organization_id, &device));
    return device;
}

static int change(int64_t owner_id, const struct db_device *before, enum device_service service)
{
    struct device_record after = before->record;

    after.service = service;
    return db_device_change(db,
        &(struct db_device_change){.owner_id = owner_id,
            .new_owner_id = owner_id,
            .before = before,
            .after = &after,
            .name = before->name},
        1);
}

START_TEST(a_change_is_made_of_what_was_read_and_by_its_owner)
{
    static const char *const meanwhile[] = {"credential = 'personalized'", "ownership = 'offered'",
        "service = 'suspended'", "trust = 'suspect'", "ownership_epoch = ownership_epoch + 1",
        "nonce_epoch = nonce_epoch + 1", "home_net_id = '\\x000013'", "as_id = 'x'", "name = 'x'"};
    struct db_device device;
    char sql[200];

    begin();
    device = owned();
    ck_assert_int_eq(change(claimant.organization_id + 1, &device, SERVICE_SUSPENDED), 1);
    ck_assert_int_eq(change(0, &device, SERVICE_SUSPENDED), 1);
    for (size_t i = 0; i < sizeof(meanwhile) / sizeof(meanwhile[0]); i++) {
        (void)snprintf(
            sql, sizeof(sql), "UPDATE device SET %s WHERE owner_id IS NOT NULL", meanwhile[i]);
        ck_assert_int_eq(pg_sql(cluster, database, sql), 0);
        ck_assert_msg(
            change(claimant.organization_id, &device, SERVICE_INACTIVE) == 1, "%s", meanwhile[i]);
        ck_ok(db_device_find(db, &device.record.dev_eui, claimant.organization_id, &device));
    }
    ck_ok(change(claimant.organization_id, &device, SERVICE_ACTIVE));
    end();
}
END_TEST

START_TEST(a_code_is_renewed_of_the_generation_that_was_read)
{
    struct db_code code = {.dev_eui = eui_of(1)};
    struct db_code_standing standing;

    begin();
    (void)owned();
    ck_ok(db_code_standing(db, &code.dev_eui, claimant.organization_id, &standing));
    ck_assert_uint_eq(standing.generation, 2);
    for (uint32_t wrong = 1; wrong < 6; wrong++) {
        code.generation = wrong;
        if (wrong != 3)
            ck_assert_int_eq(
                db_code_renew(db, &code, 1, CODE_ROTATED, claimant.organization_id, claimant.call),
                1);
    }
    code.generation = 3;
    ck_ok(db_code_renew(db, &code, 1, CODE_ROTATED, claimant.organization_id, claimant.call));
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

/* --- claims of many at once ------------------------------------------------------------------- */

#define N_TOGETHER 10 /* devices that anybody gets who knows their code, which is HASH's */

static struct db_claimant
    others[2]; /* besides `claimant`: of an organization each, and a network */

static void begin_together(void)
{
    make_devices(3, N_TOGETHER - 2, LW_MAC_1_0_3);
    begin();
    for (uint32_t i = 2; i <= N_TOGETHER; i++) {
        struct db_code code = {.dev_eui = eui_of(i), .generation = 1};

        memset(code.hash, HASH, sizeof(code.hash));
        ck_ok(db_code_give(db, &code, 1));
    }
    for (uint8_t i = 0; i < 2; i++) {
        char sql[300];

        (void)snprintf(sql, sizeof(sql),
            "WITH made AS (INSERT INTO organization (name) VALUES ('other %d') RETURNING id)"
            " INSERT INTO client (id, organization_id, roles, secret_hash) SELECT"
            " decode(repeat('0%d', 16), 'hex'), id, 8, decode(repeat('00', 32), 'hex') FROM made",
            i, i + 1);
        ck_assert_int_eq(pg_sql(cluster, database, sql), 0);
        others[i] = (struct db_claimant){
            .organization_id = pg_number(cluster, database, "SELECT max(id) FROM organization"),
            .request_id = i == 0 ? "one" : "two",
            .has_network = true,
            .network = 42,
            .call = {[0] = (uint8_t)(i + 1)}};
        memset(others[i].client_id, i + 1, sizeof(others[i].client_id));
    }
}

static struct db_claim claim_by(const struct db_claimant *who, uint32_t number, uint8_t hash)
{
    struct db_claim claim = claim_of(number, hash);

    claim.claimant = who;
    return claim;
}

static void settle_all(struct db_claim *claims, size_t n, bool last)
{
    ck_ok(db_begin(db));
    ck_ok(db_claim_settle(db, claims, n, last));
    ck_ok(db_commit(db));
}

static int64_t events(const char *condition)
{
    char sql[200];

    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM claim_event WHERE %s", condition);
    return pg_number(cluster, database, sql);
}

static int64_t devices_of(const struct db_claimant *who)
{
    char sql[200];

    (void)snprintf(sql, sizeof(sql),
        "SELECT count(*) FROM device d JOIN audit_event a ON a.object = encode(d.dev_eui, 'hex')"
        " AND a.organization_id = d.owner_id AND a.request_id = '%s' WHERE d.owner_id = %lld",
        who->request_id, (long long)who->organization_id);
    return pg_number(cluster, database, sql);
}

START_TEST(claims_of_many_come_to_what_each_would_alone)
{
    begin_together();
    {
        struct db_claim claims[] = {
            claim_by(&others[1], 4, HASH),
            claim_by(&claimant, 1, HASH),
            claim_by(&others[0], 2, 0),
            claim_by(&others[0], 3, HASH),
            claim_by(&others[1], 99, HASH),
            claim_by(&others[0], 98, HASH),
        };

        settle_all(claims, 6, true);
        ck_assert_int_eq(claims[0].outcome, CLAIM_CLAIMED);
        ck_assert_int_eq(claims[1].outcome, CLAIM_CLAIMED);
        ck_assert_int_eq(claims[2].outcome, CLAIM_CODE);
        ck_assert_int_eq(claims[3].outcome, CLAIM_CLAIMED);
        ck_assert_int_eq(claims[4].outcome, CLAIM_UNKNOWN);
        ck_assert_int_eq(claims[5].outcome, CLAIM_UNKNOWN);
    }
    ck_assert_int_eq(devices_of(&claimant), 1);
    ck_assert_int_eq(devices_of(&others[0]), 1);
    ck_assert_int_eq(devices_of(&others[1]), 1);
    ck_assert_int_eq(
        events("request_id = 'one' AND client_id = decode(repeat('01', 16), 'hex')"), 3);
    ck_assert_int_eq(
        events("request_id = 'two' AND client_id = decode(repeat('02', 16), 'hex')"), 2);
    /* Each pays for his own alone; the network for both. */
    ck_assert_int_eq(limits("scope = 1 AND n_wrong = 2 AND get_byte(subject, 0) = 1"), 1);
    ck_assert_int_eq(limits("scope = 1 AND n_wrong = 1 AND get_byte(subject, 0) = 2"), 1);
    ck_assert_int_eq(limits("scope = 1"), 2);
    ck_assert_int_eq(limits("scope = 2 AND n_wrong = 1"), 3);
    ck_assert_int_eq(limits("scope = 3 AND n_wrong = 1"), 3);
    ck_assert_int_eq(limits("scope = 4 AND n_wrong = 3"), 1);
    end();
}
END_TEST

START_TEST(behind_as_many_wrong_ones_as_it_may_make_a_client_s_claims_are_not_looked_at)
{
    struct db_claim claims[N_TOGETHER];

    begin_together();
    claims[0] = claim_by(&others[0], 1, HASH); /* right: counts for nothing */
    claims[1] = claim_by(&others[0], 2, 0);
    claims[2] = claim_by(&others[1], 3, 0);
    claims[3] = claim_by(&others[0], 4, 0);
    claims[4] = claim_by(&others[0], 5, HASH); /* behind two wrong ones of two */
    claims[5] = claim_by(&others[0], 6, 0);
    claims[6] = claim_by(&others[1], 7, HASH);
    for (size_t i = 0; i < 7; i++)
        claims[i].allowance = 2;
    settle_all(claims, 7, true);
    ck_assert_int_eq(claims[0].outcome, CLAIM_CLAIMED);
    ck_assert_int_eq(claims[1].outcome, CLAIM_CODE);
    ck_assert_int_eq(claims[2].outcome, CLAIM_CODE);
    ck_assert_int_eq(claims[3].outcome, CLAIM_CODE);
    ck_assert_int_eq(claims[4].outcome, CLAIM_LIMITED);
    ck_assert_int_eq(claims[5].outcome, CLAIM_LIMITED);
    ck_assert_int_eq(claims[6].outcome, CLAIM_CLAIMED); /* another's limit is not his */
    ck_assert_int_eq(devices_of(&others[0]), 1);
    ck_assert_int_eq(events("true"), 5); /* what is not looked at is not recorded, nor counted */
    ck_assert_int_eq(limits("scope = 1 AND n_wrong = 2 AND get_byte(subject, 0) = 1"), 1);
    ck_assert_int_eq(limits("scope = 2"), 3);
    end();
}
END_TEST

START_TEST(who_was_too_slow_is_recorded_in_the_last_turn_alone)
{
    struct db_claim claims[2];

    begin_together();
    for (int last = 0; last < 2; last++) {
        claims[0] = claim_by(&others[0], 1, HASH);
        claims[0].generation = 7; /* as somebody's who had loaded another one */
        claims[1] = claim_by(&others[1], (uint32_t)(2 + last), HASH);
        settle_all(claims, 2, last);
        ck_assert_int_eq(claims[0].outcome, CLAIM_RACED);
        ck_assert_int_eq(claims[1].outcome, CLAIM_CLAIMED);
        ck_assert_int_eq(events("outcome = 'raced'"), last);
    }
    ck_assert_int_eq(limits("true"), 0);
    end();
}
END_TEST

START_TEST(what_is_loaded_together_is_each_claimant_s_own)
{
    struct db_claim claims[3];

    begin_together();
    for (int i = 0; i < DB_CLAIM_CLIENT_BURST; i++) {
        claims[0] = claim_by(&others[0], 90, 0);
        settle_all(claims, 1, true);
    }
    claims[0] = claim_by(&others[0], 1, 0);
    claims[1] = claim_by(&others[1], 2, 0);
    claims[2] = claim_by(&claimant, 90, 0); /* the device that another has tried */
    ck_ok(db_claim_load(db, claims, 3));
    ck_assert_int_gt(claims[0].wait_s, 0);
    ck_assert_int_eq(claims[1].wait_s, 0);
    ck_assert_int_eq(claims[2].wait_s, 0);
    ck_assert_uint_eq(claims[1].allowance, DB_CLAIM_CLIENT_BURST);
    end();
}
END_TEST

/* How a statement is found to work; freed by the caller. `how`: words of EXPLAIN. */
static char *explain(enum db_statement_id id, const char *how, const char *arguments)
{
    struct text sql = {0}, plan = {0};
    PGresult *result;

    ck_ok(db_prepare(db, id));
    text_addf(&sql, "EXPLAIN (%s) EXECUTE %s(%s)", how, db_statement_at(id)->name, arguments);
    result = PQexec(db->conn, sql.data);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); i++)
        text_addf(&plan, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    text_done(&sql);
    return plan.data;
}

static const struct {
    enum db_statement_id id;
    const char *before, *after; /* the DevEUI */
} costs[] = {
    {DB_CLAIM_LOAD, "ARRAY['\\x",
        "']::bytea[], ARRAY[NULL]::bytea[], ARRAY[NULL]::text[], ARRAY[NULL]::bytea[], ARRAY[0],"
        " ARRAY[decode(repeat('07', 16), 'hex')], ARRAY[NULL]::bytea[]"},
    {DB_CLAIM_SETTLE, "ARRAY['\\x",
        "']::bytea[], ARRAY[NULL]::bytea[], ARRAY[NULL]::text[], ARRAY[NULL]::bytea[], ARRAY[0],"
        " ARRAY[decode(repeat('07', 16), 'hex')], ARRAY[1], ARRAY[decode(repeat('00', 32), 'hex')],"
        " ARRAY[decode(repeat('bb', 32), 'hex')], ARRAY[decode(repeat('00', 32), 'hex')],"
        " ARRAY['test'], ARRAY[5], true"},
};

static char *explain_run(size_t statement, uint32_t number)
{
    const struct eui64 eui = eui_of(number);
    char hex[EUI64_TEXT_LEN + 1];
    struct text arguments = {0};
    char *plan;

    text_addf(&arguments, "%s%s%s", costs[statement].before, eui64_format(&eui, hex),
        costs[statement].after);
    plan = explain(costs[statement].id, "ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF",
        arguments.data);
    text_done(&arguments);
    return plan;
}

/* Device 1 has another code, 2 is quarantined, 3 is somebody's, 4 is not delivered yet, 5 has no
 * code, 7 is not here. 8 is there, for the neighbours. */
START_TEST(what_is_refused_costs_the_same_whatever_the_reason)
{
    char *first = NULL, *other;

    make_devices(3, 4, LW_MAC_1_0_3);
    make_devices(8, 1, LW_MAC_1_0_3);
    begin();
    pg_sql(cluster, database,
        "INSERT INTO claim_code (dev_eui, generation, hash, weak, origin)"
        " SELECT dev_eui, 1, sha256(dev_eui), false, 'given' FROM device ORDER BY dev_eui"
        " ON CONFLICT DO NOTHING");
    pg_sql(cluster, database,
        "WITH n AS (SELECT dev_eui, row_number() OVER (ORDER BY dev_eui) FROM device)"
        " UPDATE device d SET trust = CASE row_number WHEN 2 THEN 'quarantined' ELSE trust END,"
        "  credential = CASE row_number WHEN 4 THEN 'generated' ELSE credential END,"
        "  ownership = CASE row_number WHEN 3 THEN 'claimed' ELSE ownership END,"
        "  owner_id = CASE row_number WHEN 3 THEN organization_id END"
        " FROM n WHERE n.dev_eui = d.dev_eui");
    pg_sql(cluster, database,
        "DELETE FROM claim_code WHERE dev_eui IN (SELECT dev_eui FROM device ORDER BY dev_eui"
        " OFFSET 4 LIMIT 1)");
    pg_sql(cluster, database, "VACUUM (FULL, ANALYZE) device");
    pg_sql(cluster, database, "VACUUM (FULL, ANALYZE) claim_code");
    free(explain_run((size_t)_i, 1)); /* the first time marks rows as seen by all */
    free(explain_run((size_t)_i, 8));
    for (uint32_t number = 1; number <= 7; number++) {
        if (number == 6)
            continue; /* as 1 */
        other = explain_run((size_t)_i, number);
        if (first != NULL)
            ck_assert_msg(
                strcmp(first, other) == 0, "%u: %.1500s\nis not\n%.1500s", number, first, other);
        free(first);
        first = other;
    }
    ck_assert_ptr_nonnull(strstr(first, "Buffers: shared hit="));
    free(first);
    end();
}
END_TEST

/* Such a plan lasts while guesses fill the table. */
START_TEST(buckets_are_looked_up_by_their_whole_key_even_when_planned_on_an_empty_vacuumed_table)
{
    const struct {
        enum db_statement_id id;
        const char *nulls;
        unsigned n_buckets;
    } plans[] = {{DB_CLAIM_LOAD, "NULL, NULL, NULL, NULL, NULL, NULL, NULL", 5},
        {DB_CLAIM_SETTLE,
            "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL", 1}};

    begin();
    pg_sql(cluster, database, "VACUUM ANALYZE claim_limit");
    for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++) {
        char *plan = explain(plans[i].id, "COSTS OFF", plans[i].nulls);
        unsigned n = 0;

        for (const char *scan = plan; (scan = strstr(scan, "using claim_limit_pkey")) != NULL;
             n++) {
            scan = strstr(scan, "Index Cond: ");
            ck_assert_msg(scan != NULL && strstr(scan, "subject = ") != NULL &&
                              strstr(scan, "subject = ") < strchr(scan, '\n'),
                "%.3000s", plan);
        }
        ck_assert_msg(n == plans[i].n_buckets && !strstr(plan, "Seq Scan"), "%.3000s", plan);
        free(plan);
    }
    end();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_loop_test(tcase, what_is_refused_costs_the_same_whatever_the_reason, 0,
        sizeof(costs) / sizeof(*costs));
    tcase_add_test(tcase,
        buckets_are_looked_up_by_their_whole_key_even_when_planned_on_an_empty_vacuumed_table);
    tcase_add_test(tcase, what_waited_behind_another_claim_has_lost);
    tcase_add_test(tcase, wrong_ones_fill_the_buckets_and_time_empties_them);
    tcase_add_test(tcase, guessing_by_many_makes_each_wrong_one_dearer_and_nobody_waits_for_others);
    tcase_add_test(tcase, nobody_saves_up_guesses);
    tcase_add_test(tcase, claims_of_many_come_to_what_each_would_alone);
    tcase_add_test(
        tcase, behind_as_many_wrong_ones_as_it_may_make_a_client_s_claims_are_not_looked_at);
    tcase_add_test(tcase, who_was_too_slow_is_recorded_in_the_last_turn_alone);
    tcase_add_test(tcase, what_is_loaded_together_is_each_claimant_s_own);
    tcase_add_test(tcase, a_change_is_made_of_what_was_read_and_by_its_owner);
    tcase_add_test(tcase, a_code_is_renewed_of_the_generation_that_was_read);
    tcase_add_test(tcase, what_is_forgiven_is_forgotten_but_not_of_weak_codes);
}

int main(void)
{
    return run_suite("db claim", add);
}
