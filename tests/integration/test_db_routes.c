/* Routes of JoinEUIs and the partners that they go to: what the join server is told of them, what
 * the database refuses, and whose JoinEUIs are where devices come in. */
#include "db/account.h"
#include "db/batch.h"
#include "db/join_route.h"
#include "db/peer.h"
#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000
#define N_RANDOM 120

static struct db *activation, *join;

static void setup(void)
{
    activation = open_as("cradle_activation");
    join = open_as("cradle_join");
}

static void teardown(void)
{
    db_close(activation);
    db_close(join);
}

static struct db_partner partner(const char *name)
{
    struct db_partner p = {.url = "https://js.example/",
        .timeout_ms = PARTNER_TIMEOUT_DEFAULT_MS,
        .max_in_flight = PARTNER_IN_FLIGHT_DEFAULT};

    (void)snprintf(p.name, sizeof(p.name), "%s", name);
    return p;
}

static struct eui64 eui(uint64_t v)
{
    struct eui64 e;

    for (int i = 0; i < 8; i++)
        e.bytes[i] = (uint8_t)(v >> (56 - 8 * i));
    return e;
}

static int64_t number(const char *sql)
{
    return pg_number(cluster, database, sql);
}

START_TEST(the_directory_has_what_was_said_of_a_partner)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_partner first = partner("first"), second = partner("second");
    char anchor[] = "an anchor", crl[] = "a list";

    first.is_async = first.is_1_1 = true;
    memset(first.token_hash, 7, sizeof(first.token_hash));
    (void)snprintf(first.san, sizeof(first.san), "urn:first");
    (void)snprintf(first.credential, sizeof(first.credential), "js");
    first.trust_anchor = anchor;
    first.crl = crl;
    first.net_ids[0] = (struct net_id){{0, 0, 0x24}};
    first.net_ids[1] = (struct net_id){{0, 0, 0x13}};
    first.n_net_ids = 2;
    ck_ok(db_partner_add(activation, &first));
    ck_ok(db_partner_add(activation, &second));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_partners, 2);
    ck_assert_int_eq(d.partners[0].id, first.id);
    ck_assert_str_eq(d.partners[0].name, "first");
    ck_assert_str_eq(d.partners[0].url, "https://js.example/");
    ck_assert_str_eq(d.partners[0].credential, "js");
    ck_assert(d.partners[0].is_1_1 && d.partners[0].is_async);
    ck_assert_uint_eq(d.partners[0].n_net_ids, 2);
    ck_assert_mem_eq(d.partners[0].token_hash, first.token_hash, TOKEN_HASH_LEN);
    ck_assert_str_eq(d.partners[0].san, "urn:first");
    ck_assert_str_eq(d.partners[0].trust_anchor, "an anchor");
    ck_assert_str_eq(d.partners[0].crl, "a list");
    ck_assert(db_partner_takes(&d.partners[0], &first.net_ids[0]));
    ck_assert(!db_partner_takes(&d.partners[0], &(struct net_id){{0, 0, 1}}));
    ck_assert_str_eq(d.partners[1].name, "second");
    ck_assert(!d.partners[1].is_1_1 && !d.partners[1].is_async);
    ck_assert_uint_eq(d.partners[1].timeout_ms, PARTNER_TIMEOUT_DEFAULT_MS);
    ck_assert_uint_eq(d.partners[1].max_in_flight, PARTNER_IN_FLIGHT_DEFAULT);
    ck_assert_ptr_null(d.partners[1].trust_anchor);
    ck_assert(db_partner_takes(&d.partners[1], &(struct net_id){{0, 0, 1}}));
}
END_TEST

START_TEST(a_partner_that_a_route_names_stays)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_partner p = partner("one");
    struct db_join_route route = {.prefix = {{0x70}}, .prefix_len = 8, .kind = DB_ROUTE_PARTNER};
    struct eui64 prefix;
    unsigned bits;

    ck_ok(db_partner_add(activation, &p));
    ck_ok(db_partner_hold(activation, "one", &route.partner_id));
    ck_assert_int_eq(route.partner_id, p.id);
    ck_ok(db_join_route_add(activation, &route, NULL));
    ck_assert_int_eq(db_partner_revoke(activation, "one", &prefix, &bits), DB_PARTNER_HAS_ROUTE);
    ck_assert_uint_eq(prefix.bytes[0], 0x70);
    ck_assert_uint_eq(bits, 8);
    ck_assert_int_ne(pg_sql(cluster, database, "UPDATE partner SET revoked_at = now()"), 0);
    route.kind = DB_ROUTE_DNS;
    route.partner_id = 0;
    ck_ok(db_join_route_set(activation, &route));
    ck_ok(db_partner_revoke(activation, "one", &prefix, &bits));
    ck_assert_int_eq(db_partner_revoke(activation, "one", &prefix, &bits), DB_PARTNER_UNKNOWN);
    ck_assert_int_eq(db_partner_hold(activation, "one", &route.partner_id), 1);
    /* For good. */
    ck_assert_int_ne(pg_sql(cluster, database, "UPDATE partner SET revoked_at = NULL"), 0);
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_partners, 0);
    ck_assert_int_eq(d.routes[0].kind, DB_ROUTE_DNS);
}
END_TEST

START_TEST(a_route_of_kind_partner_has_one_and_no_other_has)
{
    struct db_partner p = partner("one");

    ck_ok(db_partner_add(activation, &p));
    ck_assert_int_ne(pg_sql(cluster, database,
                         "INSERT INTO join_route (prefix, prefix_len, kind)"
                         " VALUES ('\\x0000000000000000', 0, 'partner')"),
        0);
    ck_assert_int_ne(pg_sql(cluster, database,
                         "INSERT INTO join_route (prefix, prefix_len, kind, partner_id)"
                         " SELECT '\\x0000000000000000', 0, 'dns', id FROM partner"),
        0);
    ck_assert_int_eq(number("SELECT count(*) FROM join_route"), 0);
}
END_TEST

START_TEST(a_san_is_of_a_peer_or_of_a_partner)
{
    struct db_partner p = partner("one");
    struct db_peer peer = {.kind = PEER_NETWORK_SERVER, .name = "ns", .token_hash = {1}};
    char anchor[] = "an anchor";

    p.is_async = true;
    p.token_hash[0] = 2;
    (void)snprintf(p.san, sizeof(p.san), "urn:x");
    (void)snprintf(peer.san, sizeof(peer.san), "urn:x");
    p.trust_anchor = peer.trust_anchor = anchor;
    ck_ok(db_peer_add(activation, &peer));
    ck_assert_int_eq(db_partner_add(activation, &p), 1);
    ck_ok(db_peer_revoke(activation, PEER_NETWORK_SERVER, "ns"));
    ck_ok(db_partner_add(activation, &p));
    ck_assert_int_eq(db_peer_add(activation, &peer), 1);
    peer.san[0] = '\0';
    peer.trust_anchor = NULL;
    peer.token_hash[0] = 3;
    ck_ok(db_peer_add(activation, &peer));
    (void)snprintf(peer.san, sizeof(peer.san), "urn:x");
    peer.trust_anchor = anchor;
    ck_assert_int_eq(db_peer_set_trust(activation, &peer), DB_PEER_SAN_TAKEN);
    ck_assert_int_ne(pg_sql(cluster, database,
                         "UPDATE peer SET san = 'urn:x', trust_anchor = 'a'"
                         " WHERE revoked_at IS NULL"),
        0);
}
END_TEST

START_TEST(every_change_is_announced)
{
    struct db_partner p = partner("one");
    struct db_join_route route = {.prefix_len = 0};
    struct eui64 prefix;
    unsigned bits;

    ck_ok(db_directory_listen(join));
    ck_ok(db_partner_add(activation, &p));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    p.timeout_ms = PARTNER_TIMEOUT_MIN_MS;
    p.net_ids[0] = (struct net_id){{0, 0, 0x13}};
    p.n_net_ids = 1;
    ck_ok(db_partner_set(activation, &p, false));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_join_route_add(activation, &route, NULL));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    route.kind = DB_ROUTE_REFUSE;
    ck_ok(db_join_route_set(activation, &route));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_partner_revoke(activation, "one", &prefix, &bits));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_assert_int_eq(db_directory_wait(join, 0), 0);
}
END_TEST

/* Two ways to find a route: they say the same. */
START_TEST(the_database_finds_the_route_that_the_table_finds)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    uint64_t state = 88172645463325252u;

    for (int i = 0; i < N_RANDOM; i++) {
        struct db_join_route route = {.kind = i % 3 == 0 ? DB_ROUTE_REFUSE : DB_ROUTE_LOCAL};

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        route.prefix_len = (unsigned)(state % 65);
        /* Long runs of the same bits, so that they nest. */
        route.prefix = eui(i % 2 == 0 ? state & 0xFF00000000000003 : state | 0x00FFFFFFFFFFFFF0);
        ck_assert_int_ge(db_join_route_add(activation, &route, NULL), 0);
    }
    ck_ok(db_directory_load(join, &d));
    for (size_t i = 0; i < d.n_routes; i++) {
        uint64_t first = eui64_to_u64(&d.routes[i].prefix);
        const uint64_t asked[] = {first, first - 1, first | 1, ~first};

        for (size_t k = 0; k < sizeof(asked) / sizeof(asked[0]); k++) {
            struct eui64 join_eui = eui(asked[k]);
            const struct db_join_route *expected = db_directory_route(&d, &join_eui);
            struct db_route_entry found, owned;
            int r = db_join_route_longest(activation, &join_eui, &found, &owned);

            ck_assert_int_eq(r, expected == NULL);
            if (expected != NULL)
                ck_assert_mem_eq(&found.route, expected, sizeof(*expected));
        }
    }
}
END_TEST

/* Rows with JoinEUIs in the range 70.., beside it, and of one device that is here. */
static void make_rows(struct db_batch_row rows[static 4])
{
    static const uint64_t join_euis[4] = {
        0x7000000000000001, 0x7100000000000001, 0x7000000000000001, 0x7080000000000001};

    for (uint32_t i = 0; i < 4; i++)
        rows[i] = (struct db_batch_row){.record = {.dev_eui = eui_of(100 + i),
                                            .join_eui = eui(join_euis[i]),
                                            .mac_version = LW_MAC_1_0_2,
                                            .credential = CREDENTIAL_ACTIVABLE},
            .line = (int64_t)i + 1,
            .last_dev_nonce = DEVICE_NO_NONCE,
            .app = {.sealed = {.kek_label = "store-device.1", .blob_len = 24}}};
}

START_TEST(devices_of_a_range_are_made_by_its_organization_alone)
{
    static const enum db_batch_outcome of_other[4] = {
        DB_BATCH_NOT_ITS_JOIN_EUI, DB_BATCH_CREATED, DB_BATCH_NOT_ITS_JOIN_EUI, DB_BATCH_CREATED};
    struct db_client owner = {.id = {1}, .organization = "owner"};
    struct db_client other = {.id = {2}, .organization = "other"};
    struct db_join_route range = {.prefix = {{0x70}}, .prefix_len = 8};
    struct db_join_route inner = {.prefix = {{0x70, 0x80}}, .prefix_len = 9};
    struct db_batch_row rows[4];
    enum db_batch_outcome outcomes[4];
    int64_t batch = 0;

    ck_ok(db_client_add(activation, &owner));
    ck_ok(db_client_add(activation, &other));
    range.organization_id = owner.organization_id;
    inner.organization_id = other.organization_id;
    ck_ok(db_join_route_add(activation, &range, NULL));
    ck_ok(db_join_route_add(activation, &inner, NULL));
    make_rows(rows);
    ck_ok(db_batch_begin(activation, other.organization_id, "csv", &batch));
    ck_ok(db_batch_foresee(activation, other.organization_id, rows, 4, outcomes));
    ck_assert_mem_eq(outcomes, of_other, sizeof(outcomes));
    ck_ok(db_batch_insert(activation, batch, other.organization_id, rows, 4, outcomes));
    ck_assert_mem_eq(outcomes, of_other, sizeof(outcomes));
    ck_assert_int_eq(number("SELECT count(*) FROM device"), 2);
    /* Nothing but what it may not: a chunk of those alone makes none. */
    ck_ok(db_batch_insert(activation, batch, other.organization_id, rows, 1, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_NOT_ITS_JOIN_EUI);
    ck_ok(db_batch_begin(activation, owner.organization_id, "csv", &batch));
    ck_ok(db_batch_insert(activation, batch, owner.organization_id, rows, 1, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_CREATED);
    /* What is here stays what it was. */
    ck_ok(db_batch_foresee(activation, other.organization_id, rows + 1, 1, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_EXISTS);
    range.prefix_len = 4;
    ck_ok(db_join_route_add(activation, &range, NULL));
    ck_ok(db_batch_foresee(activation, other.organization_id, rows + 1, 1, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_EXISTS);
}
END_TEST

/* Whoever makes devices holds off whoever would give their range away, and the other way round. */
START_TEST(a_range_gets_its_owner_before_or_behind_a_chunk_and_not_within)
{
    ck_ok(db_begin(activation));
    ck_ok(db_join_eui_owners_hold(activation));
    ck_assert_int_eq(number("SELECT pg_try_advisory_lock(hashtextextended('owners of JoinEUIs', 0))"
                            "::int"),
        0);
    ck_assert_int_eq(number("SELECT pg_try_advisory_lock_shared("
                            "hashtextextended('owners of JoinEUIs', 0))::int"),
        1);
    ck_ok(db_commit(activation));
}
END_TEST

static int set_owner(struct db *db, const struct db_join_route *route)
{
    return db_join_route_set(db, route);
}

static int add_owner(struct db *db, const struct db_join_route *route)
{
    return db_join_route_add(db, route, NULL);
}

START_TEST(whatever_gives_a_range_another_owner_holds_off_chunks)
{
    static int (*const changes[])(struct db *, const struct db_join_route *) = {
        add_owner, set_owner, db_join_route_remove};
    struct db_client owner = {.id = {1}, .organization = "owner"};
    struct db_join_route range = {.prefix = {{0x70}}, .prefix_len = 8};

    ck_ok(db_client_add(activation, &owner));
    range.organization_id = owner.organization_id;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        ck_ok(db_begin(activation));
        ck_ok(changes[i](activation, &range));
        ck_assert_int_eq(number("SELECT pg_try_advisory_lock_shared("
                                "hashtextextended('owners of JoinEUIs', 0))::int"),
            0);
        ck_ok(db_commit(activation));
    }
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_directory_has_what_was_said_of_a_partner);
    tcase_add_test(tcase, a_partner_that_a_route_names_stays);
    tcase_add_test(tcase, a_route_of_kind_partner_has_one_and_no_other_has);
    tcase_add_test(tcase, a_san_is_of_a_peer_or_of_a_partner);
    tcase_add_test(tcase, every_change_is_announced);
    tcase_add_test(tcase, the_database_finds_the_route_that_the_table_finds);
    tcase_add_test(tcase, devices_of_a_range_are_made_by_its_organization_alone);
    tcase_add_test(tcase, a_range_gets_its_owner_before_or_behind_a_chunk_and_not_within);
    tcase_add_test(tcase, whatever_gives_a_range_another_owner_holds_off_chunks);
}

int main(void)
{
    return run_suite("db routes", add);
}
