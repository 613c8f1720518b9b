#include "base/text.h"
#include "db/id_pac.h"
#include "tests/integration/db_fixture.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All devices have a code with this hash. */
#define HASH 0xaa
#define N_RACERS 4
#define N_RACED 40

static struct db *db;
static struct db_claimant claimant;
static int64_t module_id, product_id;

static int64_t number(const char *what)
{
    char sql[400];

    (void)snprintf(sql, sizeof(sql), "SELECT %s", what);
    return pg_number(cluster, database, sql);
}

static void run(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void run(const char *fmt, ...)
{
    char sql[1200];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(sql, sizeof(sql), fmt, args);
    va_end(args);
    ck_assert_msg(pg_sql(cluster, database, sql) == 0, "%s", sql);
}

/* Devices from 1 on, ordered by "maker" for its module, and personalized; and "builder", who has a
 * product of that module, and asks. */
static void begin(uint32_t n)
{
    make_devices(1, n, LW_MAC_1_0_3);
    run("UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive',"
        " ownership_epoch = 0, credential = 'personalized';"
        "INSERT INTO claim_code (dev_eui, generation, hash, weak, origin)"
        " SELECT dev_eui, 1, decode(repeat('aa', 32), 'hex'), false, 'given' FROM device"
        " ORDER BY dev_eui;"
        "INSERT INTO organization (name) VALUES ('builder');"
        "INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('07', 16), 'hex'), id, 4, decode(repeat('00', 32), 'hex')"
        " FROM organization WHERE name = 'builder';"
        "INSERT INTO certificate (number, kind, organization_id, name)"
        " SELECT 'M_0000_0000_00', 'module', id, 'module' FROM organization WHERE name = 'maker';"
        "INSERT INTO certificate (number, kind, organization_id, name, module_id)"
        " SELECT 'P_0000_0000_00', 'product', o.id, 'product', c.id FROM organization o, certificate c"
        " WHERE o.name = 'builder';");
    run("INSERT INTO batch_order (batch_id, module_id, device_kind, n, join_eui, mac_version,"
        " delivery, public_key, key_digest, code_length, state, asked_by, request_id)"
        " SELECT b.id, c.id, 'lorawan', 1, '\\x0000000000000001', '1.0.3', 'jwe', 'PEM', sha256('PEM'), 16,"
        " 'requested', decode(repeat('07', 16), 'hex'), 'test' FROM batch b, certificate c"
        " WHERE c.kind = 'module'");
    module_id = number("id FROM certificate WHERE kind = 'module'");
    product_id = number("id FROM certificate WHERE kind = 'product'");
    db = open_as("cradle_activation");
    claimant = (struct db_claimant){
        .organization_id = number("id FROM organization WHERE name = 'builder'"),
        .request_id = "test"};
    memset(claimant.client_id, 7, sizeof(claimant.client_id));
}

static void as_maker(void)
{
    claimant.organization_id = number("id FROM organization WHERE name = 'maker'");
}

static void end(void)
{
    db_close(db);
    db = NULL;
}

static struct db_id_pac line_of(uint32_t device, uint8_t hash)
{
    struct db_id_pac line = {.dev_eui = eui_of(device), .generation = 1};

    memset(line.hash, hash, sizeof(line.hash));
    return line;
}

static int settle_of(struct db *with, int64_t certificate_id, struct db_id_pac *lines, size_t n)
{
    int r = db_begin(with);

    if (r == 0)
        r = db_id_pac_settle(with, &claimant, certificate_id, DB_ID_PAC_BURST, lines, n);
    return r == 0 ? db_commit(with) : r;
}

static enum db_id_pac_outcome settle(int64_t certificate_id, struct db_id_pac *line)
{
    ck_ok(settle_of(db, certificate_id, line, 1));
    return line->outcome;
}

static enum db_id_pac_outcome try_it(uint32_t device, uint8_t hash)
{
    struct db_id_pac line = line_of(device, hash);

    return settle(product_id, &line);
}

#define ACTIVABLE "count(*) FROM device WHERE credential = 'activable'"

/* What is done to the device, and what its line comes to then, with the right code. */
static const struct {
    const char *what;
    enum db_id_pac_outcome outcome;
} reasons[] = {
    {"UPDATE device SET name = name", ID_PAC_HANDED_OVER},
    {"UPDATE device SET credential = 'generated'", ID_PAC_HANDED_OVER},
    {"UPDATE device SET credential = 'delivered'", ID_PAC_HANDED_OVER},
    {"UPDATE device SET ownership = 'claimed', owner_id = organization_id", ID_PAC_ACTIVABLE},
    {"UPDATE device SET trust = 'suspect'", ID_PAC_HANDED_OVER},
    {"UPDATE device SET credential = 'ordered'", ID_PAC_ORDERED},
    {"UPDATE device SET credential = 'scrapped'", ID_PAC_SCRAPPED},
    {"UPDATE device SET trust = 'quarantined'", ID_PAC_QUARANTINED},
    {"UPDATE device SET credential = 'activable'", ID_PAC_ELSEWHERE},
    {"UPDATE device SET credential = 'activable', certificate_id = (SELECT id FROM certificate"
     " WHERE kind = 'module')",
        ID_PAC_ELSEWHERE},
    {"UPDATE device SET credential = 'activable', certificate_id = (SELECT id FROM certificate"
     " WHERE kind = 'product')",
        ID_PAC_EXISTS},
    {"DELETE FROM claim_code", ID_PAC_NO_CODE},
    {"UPDATE claim_code SET hash = sha256('')", ID_PAC_CODE},
    {"UPDATE claim_code SET generation = 2", ID_PAC_RACED},
    {"UPDATE claim_code SET weak = true; INSERT INTO claim_limit (scope, subject, due, n_wrong)"
     " SELECT 2, dev_eui, now(), 20 FROM device",
        ID_PAC_LOCKED},
    {"DELETE FROM batch_order", ID_PAC_MODULE}, /* the maker has brought it in, for himself */
    {"DELETE FROM batch_order; UPDATE batch SET organization_id = (SELECT id FROM organization"
     " WHERE name = 'builder')",
        ID_PAC_HANDED_OVER},
    {"UPDATE certificate SET module_id = NULL", ID_PAC_MODULE},
    {"DELETE FROM claim_code; DELETE FROM device_join; DELETE FROM device_key; DELETE FROM device",
        ID_PAC_UNKNOWN},
};

START_TEST(what_a_line_comes_to_follows_from_its_device)
{
    struct db_id_pac line;
    bool changes;

    begin(1);
    run("%s", reasons[_i].what);
    line = line_of(1, HASH);
    ck_assert_int_eq(settle(product_id, &line), reasons[_i].outcome);
    changes = reasons[_i].outcome <= ID_PAC_HANDED_OVER;
    ck_assert_int_eq(line.batch_id != 0, changes);
    ck_assert_int_eq(number(ACTIVABLE " AND certificate_id = (SELECT id FROM certificate"
                                      " WHERE kind = 'product')"),
        changes || reasons[_i].outcome == ID_PAC_EXISTS);
    ck_assert_int_eq(number("count(*) FROM audit_event WHERE action = 'device.hand-over'"),
        reasons[_i].outcome == ID_PAC_HANDED_OVER ? 2 : 0);
    ck_assert_int_eq(number("count(*) FROM device d JOIN organization o ON o.id = d.organization_id"
                            " WHERE o.name = 'builder'"),
        reasons[_i].outcome == ID_PAC_HANDED_OVER);
    /* Wrong or not his: counted. What his own certificate says of right ones is not. */
    ck_assert_int_eq(number("count(*) FROM claim_limit WHERE scope = 1"),
        reasons[_i].outcome >= ID_PAC_UNKNOWN && !line.told);
    ck_assert_int_eq(
        number("count(*) FROM claim_event"), reasons[_i].outcome >= ID_PAC_UNKNOWN && !line.told);
    end();
}
END_TEST

START_TEST(whoever_has_a_device_is_told_and_a_stranger_is_not)
{
    struct db_id_pac line;

    begin(2);
    line = line_of(1, 0);
    ck_assert_int_eq(settle(product_id, &line), ID_PAC_CODE);
    ck_assert(!line.told);
    ck_assert_int_eq(number("count(*) FROM claim_limit WHERE scope IN (1, 2, 3)"), 3);
    as_maker();
    line = line_of(2, 0);
    ck_assert_int_eq(settle(module_id, &line), ID_PAC_CODE);
    ck_assert(line.told);
    ck_assert_int_eq(number("count(*) FROM claim_limit WHERE scope = 1"), 1);
    ck_assert_int_eq(number("count(*) FROM claim_limit WHERE scope IN (2, 3)"), 4);
    ck_assert_int_eq(number("count(*) FROM claim_event"), 1);
    run("UPDATE device SET organization_id = (SELECT id FROM organization WHERE name = 'builder')");
    line = line_of(2, HASH);
    ck_assert_int_eq(settle(module_id, &line), ID_PAC_PRODUCT);
    ck_assert(!line.told); /* he ordered it, and has handed it over */
    end();
}
END_TEST

START_TEST(a_label_says_its_pac_whoever_has_renewed_the_code_since)
{
    struct db_id_pac line;
    int64_t wait_s;
    size_t allowance;

    begin(2);
    run("UPDATE claim_code SET origin = 'made', made_by = sha256('call') WHERE dev_eui ="
        " (SELECT dev_eui FROM device ORDER BY 1 LIMIT 1)");
    run("UPDATE claim_code SET generation = 2, hash = sha256('a'), origin = 'claimed',"
        " made_by = sha256('x')");
    run("UPDATE claim_code SET generation = 3, hash = sha256('b'), made_by = sha256('y')");
    for (uint32_t device = 1; device <= 2; device++) {
        line = line_of(device, HASH);
        line.generation = 0;
        ck_ok(db_id_pac_load(db, &claimant, &line, 1, &wait_s, &allowance));
        ck_assert_uint_eq(line.generation, 1);
        ck_assert_int_eq(line.is_made, device == 1);
        ck_assert_int_eq(settle(product_id, &line), ID_PAC_HANDED_OVER);
    }
    ck_assert_int_eq(number("count(*) FROM claim_code WHERE pac_hash IS NULL"), 0);
    end();
}
END_TEST

START_TEST(a_hand_over_ends_what_its_former_maker_let_the_device_do)
{
    static const char *const windows = "count(*) FROM device WHERE test_net_id IS NOT NULL";

    begin(3);
    run("UPDATE device SET test_net_id = '\\x000013', test_max_joins = 3, test_opened_at = now(),"
        " test_until = now() + interval '1 day'");
    ck_assert_int_eq(try_it(1, HASH), ID_PAC_HANDED_OVER);
    ck_assert_int_eq(number(windows), 2);
    run("UPDATE device SET organization_id = (SELECT id FROM organization WHERE name = 'builder')"
        " WHERE credential <> 'activable' AND right(encode(dev_eui, 'hex'), 1) = '2'");
    ck_assert_int_eq(number(windows), 1);
    run("UPDATE certificate SET organization_id = (SELECT id FROM organization WHERE name = 'maker')");
    as_maker();
    ck_assert_int_eq(try_it(3, HASH), ID_PAC_ACTIVABLE);
    ck_assert_int_eq(number(windows), 1); /* it is still his */
    end();
}
END_TEST

START_TEST(nothing_is_looked_at_behind_as_many_wrong_ones_as_are_allowed)
{
    struct db_id_pac lines[6];
    int64_t wait_s;
    size_t allowance;

    begin(6);
    for (uint32_t i = 0; i < 6; i++)
        lines[i] = line_of(6 - i, i == 1 || i == 3 ? 0 : HASH);
    ck_ok(db_begin(db));
    ck_ok(db_id_pac_settle(db, &claimant, product_id, 2, lines, 6));
    ck_ok(db_commit(db));
    ck_assert_int_eq(lines[0].outcome, ID_PAC_HANDED_OVER);
    ck_assert_int_eq(lines[1].outcome, ID_PAC_CODE);
    ck_assert_int_eq(lines[2].outcome, ID_PAC_HANDED_OVER);
    ck_assert_int_eq(lines[3].outcome, ID_PAC_CODE);
    ck_assert_int_eq(lines[4].outcome, ID_PAC_HELD);
    ck_assert_int_eq(lines[5].outcome, ID_PAC_HELD);
    ck_assert_int_eq(number(ACTIVABLE), 2);
    ck_ok(db_id_pac_load(db, &claimant, lines, 1, &wait_s, &allowance));
    ck_assert_int_eq(wait_s, 0);
    ck_assert_uint_eq(allowance, DB_ID_PAC_BURST - 2);
    for (int i = 2; i < DB_ID_PAC_BURST; i++)
        (void)try_it(3, 0);
    ck_ok(db_id_pac_load(db, &claimant, lines, 1, &wait_s, &allowance));
    ck_assert_int_gt(wait_s, 0);
    ck_assert_int_le(wait_s, DB_CLAIM_CLIENT_S);
    end();
}
END_TEST

START_TEST(a_revoked_certificate_makes_nothing_activable)
{
    struct db_id_pac line;

    begin(1);
    run("UPDATE certificate SET revoked_at = now()");
    line = line_of(1, HASH);
    ck_ok(db_begin(db));
    ck_assert_int_eq(db_id_pac_settle(db, &claimant, product_id, 1, &line, 1), 1);
    ck_ok(db_commit(db));
    ck_assert_int_eq(number(ACTIVABLE), 0);
    end();
}
END_TEST

struct racer {
    pthread_t thread;
    struct db *db;
    int64_t certificate_id;
    struct db_id_pac lines[N_RACED];
    int result;
};

/* Where nothing may be asserted. What changed meanwhile is tried again. */
static void *race(void *arg)
{
    struct racer *racer = arg;
    bool raced = true;

    while (raced && racer->result == 0) {
        racer->result = settle_of(racer->db, racer->certificate_id, racer->lines, N_RACED);
        raced = false;
        for (size_t i = 0; i < N_RACED; i++)
            raced |= racer->lines[i].outcome == ID_PAC_RACED;
    }
    return NULL;
}

static size_t race_all(struct racer *racers, int64_t certificate_id, bool apart)
{
    size_t n_made = 0;

    for (uint32_t i = 0; i < N_RACERS; i++) {
        racers[i] =
            (struct racer){.db = open_as("cradle_activation"), .certificate_id = certificate_id};
        for (uint32_t k = 0; k < N_RACED; k++) {
            uint32_t at = i % 2 == 0 ? k : N_RACED - 1 - k;

            racers[i].lines[k] = line_of(1 + at + (apart ? i * N_RACED : 0), HASH);
        }
    }
    for (int i = 0; i < N_RACERS; i++)
        ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (int i = 0; i < N_RACERS; i++) {
        ck_assert_int_eq(pthread_join(racers[i].thread, NULL), 0);
        ck_assert_int_eq(racers[i].result, 0);
        for (size_t k = 0; k < N_RACED; k++)
            n_made += racers[i].lines[k].outcome <= ID_PAC_HANDED_OVER;
        db_close(racers[i].db);
    }
    return n_made;
}

START_TEST(of_lists_at_once_each_device_is_made_activable_by_one)
{
    static struct racer racers[N_RACERS];

    begin(N_RACED);
    ck_assert_uint_eq(race_all(racers, product_id, false), N_RACED);
    ck_assert_int_eq(number(ACTIVABLE), N_RACED);
    ck_assert_int_eq(
        number("count(*) FROM audit_event WHERE action = 'device.hand-over'"), 2 * N_RACED);
    end();
}
END_TEST

START_TEST(a_quota_of_prototypes_holds_over_lists_at_once)
{
    static struct racer racers[N_RACERS];

    begin(N_RACERS * N_RACED);
    as_maker();
    run("UPDATE certificate SET revoked_at = now() WHERE kind = 'product';"
        "UPDATE certificate SET prototype_quota = 2 * %d + 5 WHERE kind = 'module'",
        N_RACED);
    ck_assert_uint_eq(race_all(racers, module_id, true), 2 * N_RACED + 5);
    ck_assert_int_eq(number(ACTIVABLE), 2 * N_RACED + 5);
    ck_assert_int_eq(
        number("n_prototypes FROM certificate WHERE kind = 'module'"), 2 * N_RACED + 5);
    for (size_t i = 0; i < N_RACERS; i++)
        for (size_t k = 0; k < N_RACED; k++)
            ck_assert(racers[i].lines[k].outcome == ID_PAC_ACTIVABLE ||
                      racers[i].lines[k].outcome == ID_PAC_QUOTA);
    end();
}
END_TEST

/* Of one that is refused, as it was run. */
static char *explain(uint32_t device)
{
    struct text sql = {0}, plan = {0};
    const struct eui64 eui = eui_of(device);
    char hex[EUI64_TEXT_LEN + 1];
    PGresult *result;

    ck_ok(db_prepare(db, DB_ID_PAC_SETTLE));
    text_addf(&sql,
        "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE id_pac_settle("
        "ARRAY['\\x%s']::bytea[], ARRAY[1], ARRAY[decode(repeat('00', 32), 'hex')], ARRAY[true],"
        " 5, %" PRId64 ", %" PRId64 ")",
        eui64_format(&eui, hex), product_id, claimant.organization_id);
    result = PQexec(db->conn, sql.data);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); i++)
        text_addf(&plan, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    text_done(&sql);
    return plan.data;
}

/* 1 has another code, 2 is quarantined, 3 is scrapped, 4 is activable under another certificate, 5
 * has no code, 7 is not here, 8 is of a file that somebody else has brought in. */
START_TEST(what_is_refused_costs_a_stranger_the_same_whatever_the_reason)
{
    char *first = NULL;

    begin(6);
    make_devices(8, 2, LW_MAC_1_0_3);
    run("INSERT INTO claim_code (dev_eui, generation, hash, weak, origin)"
        " SELECT dev_eui, 1, sha256(dev_eui), false, 'given' FROM device ON CONFLICT DO NOTHING;"
        "UPDATE device SET trust = 'quarantined' WHERE right(encode(dev_eui, 'hex'), 1) = '2';"
        "UPDATE device SET credential = 'scrapped' WHERE right(encode(dev_eui, 'hex'), 1) = '3';"
        "UPDATE device SET credential = 'activable', certificate_id = %" PRId64
        " WHERE right(encode(dev_eui, 'hex'), 1) = '4';"
        "DELETE FROM claim_code WHERE right(encode(dev_eui, 'hex'), 1) = '5';"
        "INSERT INTO batch (organization_id, format) SELECT organization_id, 'csv' FROM batch;"
        "INSERT INTO batch_order (batch_id, module_id, device_kind, n, join_eui, mac_version,"
        "  delivery, public_key, key_digest, code_length, state, asked_by, request_id)"
        " SELECT (SELECT max(id) FROM batch), module_id, device_kind, n, join_eui, mac_version,"
        "  delivery, public_key, key_digest, code_length, state, asked_by, request_id FROM batch_order",
        module_id);
    for (const char *const *t = (const char *const[]){"device", "claim_code", "batch",
             "batch_order", "certificate", NULL};
         *t != NULL; t++)
        run("VACUUM (FULL, ANALYZE) %s", *t);
    free(explain(1)); /* the first time marks rows as seen by all */
    free(explain(9));
    for (uint32_t device = 1; device <= 8; device++) {
        char *plan = explain(device);

        if (first != NULL)
            ck_assert_msg(
                strcmp(first, plan) == 0, "%u: %.1500s\nis not\n%.1500s", device, first, plan);
        free(first);
        first = plan;
    }
    ck_assert_ptr_nonnull(strstr(first, "Buffers: shared hit="));
    ck_assert_ptr_null(strstr(first, "Seq Scan on device"));
    free(first);
    end();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_loop_test(tcase, what_a_line_comes_to_follows_from_its_device, 0,
        (int)(sizeof(reasons) / sizeof(reasons[0])));
    tcase_add_test(tcase, whoever_has_a_device_is_told_and_a_stranger_is_not);
    tcase_add_test(tcase, a_label_says_its_pac_whoever_has_renewed_the_code_since);
    tcase_add_test(tcase, a_hand_over_ends_what_its_former_maker_let_the_device_do);
    tcase_add_test(tcase, nothing_is_looked_at_behind_as_many_wrong_ones_as_are_allowed);
    tcase_add_test(tcase, a_revoked_certificate_makes_nothing_activable);
    tcase_add_test(tcase, of_lists_at_once_each_device_is_made_activable_by_one);
    tcase_add_test(tcase, a_quota_of_prototypes_holds_over_lists_at_once);
    tcase_add_test(tcase, what_is_refused_costs_a_stranger_the_same_whatever_the_reason);
}

int main(void)
{
    return run_suite("db id_pac", add);
}
