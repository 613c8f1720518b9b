/* Claims as application servers see them: which are looked at, what is kept of them, and a release
 * that is of what was read. */
#include "db/ttjs.h"

#include "base/text.h"
#include "db/account.h"
#include "db/connection.h"
#include "device/moves.h"
#include "tests/integration/db_fixture.h"
#include <string.h>

#define AS "a-cluster"
#define SAN "cluster.example"
#define N_DEVICES 3
#define OF_FIRST " WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui LIMIT 1)"

static struct db *db;
static struct db_claimant claimant;
static struct db_ttjs_claim claims[N_DEVICES];

static void load(void)
{
    struct eui64 dev_euis[N_DEVICES];

    for (uint32_t i = 0; i < N_DEVICES; i++)
        dev_euis[i] = eui_of(i + 1);
    ck_ok(db_ttjs_load(db, claimant.organization_id, dev_euis, N_DEVICES, claims));
}

/* Devices 1 to 3 are the organization's, for its application server; the first one has a code. */
static void begin(void)
{
    struct db_code code = {.dev_eui = eui_of(1), .generation = 4};

    make_devices(1, N_DEVICES, LW_MAC_1_0_3);
    pg_sql(cluster, database, "UPDATE device SET as_id = '" AS "', name = 'attic'");
    db = open_as("cradle_activation");
    ck_ok(db_code_give(db, &code, 1));
    claimant = (struct db_claimant){
        .organization_id = pg_number(cluster, database, "SELECT max(id) FROM organization"),
        .request_id = "test"};
    memset(claimant.client_id, 7, sizeof(claimant.client_id));
    pg_sql(cluster, database,
        "INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT decode(repeat('07', 16), 'hex'), max(id), 32, decode(repeat('00', 32), 'hex')"
        " FROM organization");
    load();
}

static void end(void)
{
    db_close(db);
    db = NULL;
}

/* As it was read; commits what is whole. */
static int release(const char *as_id, bool done[static N_DEVICES])
{
    struct device_record after[N_DEVICES];
    struct db_code codes[N_DEVICES] = {{.generation = 0}};
    int r;

    for (size_t i = 0; i < N_DEVICES; i++) {
        after[i] = claims[i].record;
        device_move_make(MOVE_RELEASE, &after[i]);
        codes[i].generation = claims[i].generation + 1;
    }
    ck_ok(db_begin(db));
    r = db_ttjs_release(db, &claimant, as_id, claims, after, codes, N_DEVICES, done);
    ck_assert_msg(r >= 0, "%s", error_text());
    if (r > 0)
        db_rollback(db);
    else
        ck_ok(db_commit(db));
    return r;
}

static int64_t n_of(const char *sql)
{
    return pg_number(cluster, database, sql);
}

START_TEST(devices_are_released_with_codes_and_events_of_their_own)
{
    bool done[N_DEVICES];

    begin();
    ck_assert_int_eq(release(AS, done), 0);
    ck_assert(done[0] && done[1] && done[2]);
    ck_assert_int_eq(n_of("SELECT count(*) FROM device WHERE ownership = 'unowned' AND"
                          " service = 'inactive' AND owner_id IS NULL AND home_net_id IS NULL AND"
                          " as_id IS NULL AND name IS NULL AND ownership_epoch = 2"),
        N_DEVICES);
    ck_assert_int_eq(n_of("SELECT sum(generation) FROM claim_code WHERE origin = 'claimed' AND"
                          " released_by = (SELECT max(id) FROM organization)"),
        5 + 1 + 1); /* two had no code */
    ck_assert_int_eq(n_of("SELECT count(*) FROM audit_event WHERE action = 'device.release'"), 3);
    ck_assert_int_eq(release(AS, done), 0);
    ck_assert(!done[0] && !done[1] && !done[2]);
    load();
    ck_assert(!claims[0].is_here);
    end();
}
END_TEST

START_TEST(only_what_is_as_it_was_read_is_released)
{
    static const char *const meanwhile[] = {
        "UPDATE device SET ownership_epoch = ownership_epoch + 1" OF_FIRST,
        "UPDATE device SET trust = 'quarantined'" OF_FIRST,
        "UPDATE device SET ownership = 'offered'" OF_FIRST,
        "UPDATE device SET as_id = 'another'" OF_FIRST,
        "WITH o AS (INSERT INTO organization (name) VALUES ('another') RETURNING id)"
        " UPDATE device SET owner_id = o.id FROM o" OF_FIRST,
    };
    bool done[N_DEVICES];

    begin();
    ck_assert_int_eq(pg_sql(cluster, database, meanwhile[_i]), 0);
    ck_assert_int_eq(release(AS, done), 0);
    ck_assert(!done[0] && done[1] && done[2]);
    ck_assert_int_eq(n_of("SELECT generation FROM claim_code ORDER BY dev_eui LIMIT 1"), 4);
    ck_assert_int_eq(n_of("SELECT count(*) FROM audit_event WHERE action = 'device.release'"), 2);
    end();
}
END_TEST

START_TEST(nothing_is_released_with_a_code_of_before)
{
    bool done[N_DEVICES];

    begin();
    ck_assert_int_eq(release("another", done), 0);
    ck_assert(!done[0] && !done[1] && !done[2]);
    pg_sql(cluster, database, "UPDATE claim_code SET generation = 5");
    ck_assert_int_eq(release(AS, done), 1);
    ck_assert_int_eq(n_of("SELECT count(*) FROM device WHERE owner_id IS NULL"), 0);
    load();
    ck_assert_int_eq(release(AS, done), 0);
    ck_assert_int_eq(n_of("SELECT max(generation) FROM claim_code"), 6);
    end();
}
END_TEST

static bool reissue(void)
{
    struct db_code code = {.dev_eui = eui_of(1), .generation = claims[0].generation + 1};
    bool done = false;

    ck_ok(db_ttjs_reissue(db, &claimant, AS, &code, 1, &done));
    return done;
}

/* Loads, and says which are known as released by the claimant: a bit each. */
static unsigned released(void)
{
    unsigned bits = 0;

    load();
    ck_ok(db_ttjs_load_released(db, &claimant, claims, N_DEVICES));
    for (unsigned i = 0; i < N_DEVICES; i++)
        bits |= (claims[i].is_released ? 1U : 0) << i;
    return bits;
}

START_TEST(a_release_is_known_again_until_somebody_has_the_device_or_its_code)
{
    static const char *const meanwhile[] = {
        "UPDATE claim_code SET released_at = now() - interval '25 hours'" OF_FIRST,
        "UPDATE claim_code SET made_by = sha256('rotate-code')" OF_FIRST,
        "WITH o AS (INSERT INTO organization (name) VALUES ('another') RETURNING id)"
        " UPDATE claim_code SET released_by = o.id FROM o" OF_FIRST,
        "UPDATE device SET ownership = 'claimed', owner_id = organization_id" OF_FIRST,
        "UPDATE device SET credential = 'scrapped'" OF_FIRST,
    };
    bool done[N_DEVICES];

    begin();
    memset(claimant.call, 5, sizeof(claimant.call));
    ck_assert_uint_eq(released(), 0);
    ck_assert_int_eq(release(AS, done), 0);
    ck_assert_uint_eq(released(), 7);
    ck_assert_uint_eq(claims[0].generation, 5);
    ck_assert(reissue());
    ck_assert(!reissue()); /* of a code that is not the one that was read */
    ck_assert_uint_eq(released(), 7);
    ck_assert_uint_eq(claims[0].generation, 6);
    ck_assert_int_eq(
        n_of("SELECT count(*) FROM audit_event WHERE action = 'device.reissue-code'"), 1);
    memset(claimant.call, 6, sizeof(claimant.call)); /* another client */
    ck_assert_uint_eq(released(), 0);
    ck_assert(!reissue());
    memset(claimant.call, 5, sizeof(claimant.call));
    ck_assert_int_eq(pg_sql(cluster, database,
                         "CREATE TABLE device_then AS SELECT * FROM device;"
                         "CREATE TABLE code_then AS SELECT * FROM claim_code"),
        0);
    for (size_t i = 0; i < sizeof(meanwhile) / sizeof(meanwhile[0]); i++) {
        ck_assert_int_eq(pg_sql(cluster, database, meanwhile[i]), 0);
        ck_assert_msg(released() == 6, "%s", meanwhile[i]);
        ck_assert_int_eq(
            pg_sql(cluster, database,
                "UPDATE device d SET ownership = t.ownership, owner_id = t.owner_id,"
                "  credential = t.credential FROM device_then t WHERE t.dev_eui = d.dev_eui;"
                "UPDATE claim_code c SET released_at = t.released_at, made_by = t.made_by,"
                "  released_by = t.released_by FROM code_then t WHERE t.dev_eui = c.dev_eui"),
            0);
        ck_assert_uint_eq(released(), 7);
    }
    end();
}
END_TEST

START_TEST(what_a_claim_said_counts_while_that_claim_does)
{
    struct db_ttjs_terms terms = {.has_home_ns_id = true, .home_ns_id = eui_of(9)};
    struct db_claim claim = {.dev_eui = eui_of(1)};

    begin();
    ck_assert(claims[0].is_here && claims[0].terms.locked && !claims[0].terms.has_home_ns_id);
    claim.ownership_epoch = claims[0].record.ownership_epoch;
    claim.home_net_id = claims[0].record.home_net_id;
    ck_ok(db_ttjs_keep(db, &claim, &terms));
    load();
    ck_assert(!claims[0].terms.locked && claims[0].terms.has_home_ns_id);
    ck_assert_mem_eq(&claims[0].terms.home_ns_id, &terms.home_ns_id, sizeof(terms.home_ns_id));
    ck_assert(claims[1].terms.locked);
    pg_sql(cluster, database, "UPDATE device SET home_net_id = '\\x000099'");
    load();
    ck_assert(claims[0].terms.locked && !claims[0].terms.has_home_ns_id);
    memcpy(claim.home_net_id.bytes, "\0\0\x99", 3);
    ck_ok(db_ttjs_keep(db, &claim, &terms)); /* in the place of the one before */
    load();
    ck_assert(!claims[0].terms.locked);
    pg_sql(cluster, database, "UPDATE device SET ownership_epoch = ownership_epoch + 1");
    load();
    ck_assert(claims[0].terms.locked && !claims[0].terms.has_home_ns_id);
    end();
}
END_TEST

START_TEST(an_nsid_fits_a_network_that_has_it_or_none)
{
    static const struct net_id with = {{0, 0, 0x77}}, without = {{0, 0, 0x78}};
    const struct eui64 own = eui_of(1), other = eui_of(2);
    bool fits;

    begin();
    pg_sql(cluster, database,
        "WITH p AS (INSERT INTO peer (kind, name) VALUES ('network_server', 'n') RETURNING id),"
        " s AS (INSERT INTO peer_ns_id SELECT p.id, d.dev_eui FROM p, (SELECT dev_eui FROM device"
        "  ORDER BY dev_eui LIMIT 1) d)"
        " INSERT INTO peer_net_id SELECT id, '\\x000077' FROM p");
    ck_ok(db_ttjs_ns_id_fits(db, &with, &own, &fits));
    ck_assert(fits);
    ck_ok(db_ttjs_ns_id_fits(db, &with, &other, &fits));
    ck_assert(!fits);
    ck_ok(db_ttjs_ns_id_fits(db, &without, &other, &fits));
    ck_assert(fits);
    end();
}
END_TEST

/* What of a certificate's holder there is: 0 nothing, 1 a peer, 2 a client. */
static int holder(void)
{
    CLEANUP(db_certificate_holder_done) struct db_certificate_holder found = {0};
    int r = db_certificate_holder_find(db, SAN, &found);

    ck_assert_msg(r >= 0, "%s", error_text());
    if (r > 0)
        return 0;
    ck_assert_str_eq(found.trust_anchor, "PEM");
    ck_assert_ptr_null(found.crl);
    if (!found.is_client)
        return 1;
    ck_assert_str_eq(found.client.as_id, AS);
    ck_assert_int_eq(found.client.organization_id, claimant.organization_id);
    ck_assert_uint_eq(found.client.roles, ROLE_APPLICATION_SERVER);
    return 2;
}

START_TEST(a_certificate_s_holder_is_a_client_while_all_of_it_is_good)
{
    struct db_client client = {.id = {1}, .roles = ROLE_APPLICATION_SERVER, .as_id = AS};

    begin();
    client.organization_id = claimant.organization_id;
    ck_assert_int_eq(holder(), 0);
    ck_assert_int_eq(db_organization_client_add(db, &client), DB_CLIENT_NO_PEER);
    pg_sql(cluster, database,
        "INSERT INTO peer (kind, name, san, trust_anchor)"
        " VALUES ('application_server', '" AS "', '" SAN "', 'PEM')");
    ck_assert_int_eq(holder(), 1);
    ck_ok(db_organization_client_add(db, &client));
    ck_assert_int_eq(holder(), 2);
    client.id[0] = 2;
    ck_assert_int_eq(db_organization_client_add(db, &client), DB_CLIENT_PEER_TAKEN);
    client.id[0] = 1;
    ck_ok(db_organization_client_revoke(db, client.organization_id, client.id));
    ck_assert_int_eq(holder(), 1);
    client.id[0] = 2;
    ck_ok(db_organization_client_add(db, &client));
    ck_assert_int_eq(holder(), 2);
    pg_sql(cluster, database, "UPDATE peer SET revoked_at = now()");
    ck_assert_int_eq(holder(), 0);
    /* Its successor is another peer, which nobody has made a client. */
    pg_sql(cluster, database,
        "INSERT INTO peer (kind, name, san, trust_anchor)"
        " VALUES ('application_server', '" AS "', '" SAN "', 'PEM')");
    ck_assert_int_eq(holder(), 1);
    end();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, devices_are_released_with_codes_and_events_of_their_own);
    tcase_add_loop_test(tcase, only_what_is_as_it_was_read_is_released, 0, 5);
    tcase_add_test(tcase, nothing_is_released_with_a_code_of_before);
    tcase_add_test(tcase, a_release_is_known_again_until_somebody_has_the_device_or_its_code);
    tcase_add_test(tcase, what_a_claim_said_counts_while_that_claim_does);
    tcase_add_test(tcase, an_nsid_fits_a_network_that_has_it_or_none);
    tcase_add_test(tcase, a_certificate_s_holder_is_a_client_while_all_of_it_is_good);
}

int main(void)
{
    return run_suite("db ttjs", add);
}
