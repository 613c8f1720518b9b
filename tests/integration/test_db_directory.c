#include "db/account.h"
#include "db/join_route.h"
#include "db/peer.h"
#include "tests/integration/db_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000

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

static struct db_peer ns_peer(const char *name, uint8_t token)
{
    struct db_peer peer = {.kind = PEER_NETWORK_SERVER,
        .net_ids = {{{0, 0, 0x13}}, {{0, 0, 0x12}}, {{0, 0, 0x13}}},
        .n_net_ids = 3};

    (void)snprintf(peer.name, sizeof(peer.name), "%s", name);
    memset(peer.token_hash, token, sizeof(peer.token_hash));
    return peer;
}

static struct sealed_kek ns_kek(const char *label)
{
    struct sealed_kek kek = {.peer_kind = PEER_NETWORK_SERVER,
        .peer_id = "000013",
        .kek_class = KEK_CLASS_NS,
        .key = {.kek_label = "store-kek.1", .blob_len = 40}};

    (void)snprintf(kek.label, sizeof(kek.label), "%s", label);
    memset(kek.key.blob, 7, kek.key.blob_len);
    memset(kek.key.tag, 8, sizeof(kek.key.tag));
    kek.key.tag_version = 2;
    return kek;
}

/* Zeros when there is none of this peer and label. */
static void id_of(const struct sealed_kek *kek, uint8_t ret[static KEK_ID_LEN])
{
    CLEANUP(db_kek_list_done) struct db_kek_list list = {0};

    memset(ret, 0, KEK_ID_LEN);
    ck_ok(db_kek_list_load(activation, 0, 100, &list));
    for (size_t i = 0; i < list.n; i++)
        if (strcmp(list.entries[i].peer_id, kek->peer_id) == 0 &&
            strcmp(list.entries[i].label, kek->label) == 0)
            memcpy(ret, list.entries[i].id, KEK_ID_LEN);
}

static int use_kek(const struct sealed_kek *kek)
{
    uint8_t id[KEK_ID_LEN];

    id_of(kek, id);
    return db_kek_use(activation, id);
}

static int revoke_kek(const struct sealed_kek *kek, bool last)
{
    uint8_t id[KEK_ID_LEN];

    id_of(kek, id);
    return db_kek_revoke(activation, id, last);
}

START_TEST(directory_gives_back_what_was_added)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_peer ns = ns_peer("ns-demo", 1);
    char anchor[] = "an anchor", crl[] = "a list";
    struct db_peer as = {.kind = PEER_APPLICATION_SERVER,
        .name = "demo-as",
        .token_hash = {2},
        .san = "as.example",
        .trust_anchor = anchor,
        .crl = crl};
    struct sealed_kek kek = ns_kek("ns-000013");
    struct db_join_route route = {.prefix = {{0x70, 0xb3, 0xd5, 0xff}}, .prefix_len = 36};

    ck_ok(db_peer_add(activation, &ns));
    ck_ok(db_peer_add(activation, &as));
    ck_ok(db_kek_add(activation, &kek, NULL));
    ck_ok(db_join_route_add(activation, &route, NULL));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_peers, 2);
    ck_assert_int_eq(d.peers[0].kind, PEER_NETWORK_SERVER);
    ck_assert_str_eq(d.peers[0].name, "ns-demo");
    ck_assert_uint_eq(d.peers[0].n_net_ids, 2);
    ck_assert_uint_eq(d.peers[0].net_ids[0].bytes[2], 0x12);
    ck_assert_uint_eq(d.peers[0].net_ids[1].bytes[2], 0x13);
    ck_assert_mem_eq(d.peers[0].token_hash, ns.token_hash, TOKEN_HASH_LEN);
    ck_assert_int_eq(d.peers[1].kind, PEER_APPLICATION_SERVER);
    ck_assert_uint_eq(d.peers[1].n_net_ids, 0);
    ck_assert_str_eq(d.peers[0].san, "");
    ck_assert_ptr_null(d.peers[0].trust_anchor);
    ck_assert_ptr_null(d.peers[0].crl);
    ck_assert_str_eq(d.peers[1].san, "as.example");
    ck_assert_str_eq(d.peers[1].trust_anchor, "an anchor");
    ck_assert_str_eq(d.peers[1].crl, "a list");
    ck_assert_uint_eq(d.n_keks, 1);
    ck_assert_mem_eq(&d.keks[0], &kek, sizeof(kek));
    ck_assert_uint_eq(d.n_routes, 1);
    ck_assert_uint_eq(d.routes[0].prefix_len, 36);
    ck_assert_mem_eq(&d.routes[0].prefix, "\x70\xb3\xd5\xff\0\0\0\0", 8);
}
END_TEST

START_TEST(duplicate_is_the_outcome_1_and_changes_nothing)
{
    struct db_peer ns = ns_peer("ns-demo", 1);
    struct db_peer same_token = ns_peer("ns-other", 1);
    struct db_peer with_san = ns_peer("ns-third", 3), same_san = ns_peer("ns-fourth", 4);
    char anchor[] = "an anchor";
    struct sealed_kek kek = ns_kek("ns-000013");
    struct db_join_route route = {.prefix = {{0x70}}, .prefix_len = 4};
    /* The same prefix: only its first four bits count. */
    struct db_join_route same_route = {.prefix = {{0x7f, 1}}, .prefix_len = 4};

    (void)snprintf(with_san.san, sizeof(with_san.san), "urn:x");
    (void)snprintf(same_san.san, sizeof(same_san.san), "urn:x");
    with_san.trust_anchor = same_san.trust_anchor = anchor;
    ck_ok(db_peer_add(activation, &ns));
    ck_assert_int_eq(db_peer_add(activation, &ns), 1);
    ck_assert_int_eq(db_peer_add(activation, &same_token), 1);
    ck_ok(db_peer_add(activation, &with_san));
    ck_assert_int_eq(db_peer_add(activation, &same_san), 1);
    ck_ok(db_kek_add(activation, &kek, NULL));
    ck_assert_int_eq(db_kek_add(activation, &kek, NULL), 1);
    ck_ok(db_join_route_add(activation, &route, NULL));
    ck_assert_int_eq(db_join_route_add(activation, &same_route, NULL), 1);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM peer"), 2);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM kek WHERE is_current"), 1);
}
END_TEST

START_TEST(trust_is_replaced_whole)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_peer ns = ns_peer("ns-demo", 1), stranger = ns_peer("ns-nobody", 2);
    char anchor[] = "an anchor", other[] = "another", crl[] = "a list";

    ck_ok(db_peer_add(activation, &ns));
    (void)snprintf(ns.san, sizeof(ns.san), "urn:x");
    ns.trust_anchor = anchor;
    ns.crl = crl;
    ck_ok(db_peer_set_trust(activation, &ns));
    (void)snprintf(ns.san, sizeof(ns.san), "urn:y");
    ns.trust_anchor = other;
    ns.crl = NULL;
    ck_ok(db_peer_set_trust(activation, &ns));
    ck_assert_int_eq(db_peer_set_trust(activation, &stranger), DB_PEER_UNKNOWN);
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_peers, 1);
    ck_assert_str_eq(d.peers[0].san, "urn:y");
    ck_assert_str_eq(d.peers[0].trust_anchor, "another");
    ck_assert_ptr_null(d.peers[0].crl);
}
END_TEST

START_TEST(a_san_that_is_anothers_is_an_outcome_and_no_error)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_peer first = ns_peer("ns-1", 1), second = ns_peer("ns-2", 2);
    char anchor[] = "an anchor";

    (void)snprintf(first.san, sizeof(first.san), "urn:x");
    first.trust_anchor = anchor;
    ck_ok(db_peer_add(activation, &first));
    ck_ok(db_peer_add(activation, &second));
    memcpy(second.san, first.san, sizeof(second.san));
    second.trust_anchor = anchor;
    ck_ok(db_begin(activation));
    ck_assert_int_eq(db_peer_set_trust(activation, &second), DB_PEER_SAN_TAKEN);
    second.session_key_id_omit = true;
    ck_ok(db_peer_set(activation, &second, DB_PEER_SESSION_KEY_ID_OMIT));
    ck_ok(db_commit(activation));
    ck_ok(db_peer_revoke(activation, PEER_NETWORK_SERVER, "ns-1"));
    ck_ok(db_peer_set_trust(activation, &second));
    second.san[0] = '\0';
    second.trust_anchor = NULL;
    ck_ok(db_peer_set_trust(activation, &second));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_peers, 1);
    ck_assert(d.peers[0].session_key_id_omit);
    ck_assert_str_eq(d.peers[0].san, "");
    ck_assert_ptr_null(d.peers[0].trust_anchor);
}
END_TEST

START_TEST(net_ids_are_replaced_whole_or_stay)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_peer ns = ns_peer("ns-demo", 1);

    ck_ok(db_peer_add(activation, &ns));
    ns.n_net_ids = 1;
    ns.net_ids[0] = (struct net_id){{0, 0, 0x77}};
    ck_ok(db_peer_set(activation, &ns, DB_PEER_SESSION_KEY_ID_OMIT));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.peers[0].n_net_ids, 2);
    ck_ok(db_peer_set(activation, &ns, DB_PEER_NET_IDS));
    db_directory_done(&d);
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.peers[0].n_net_ids, 1);
    ck_assert_uint_eq(d.peers[0].net_ids[0].bytes[2], 0x77);
}
END_TEST

START_TEST(a_peer_is_found_good_before_revoked)
{
    CLEANUP(db_peer_entry_done) struct db_peer_entry entry = {0};
    CLEANUP(db_peer_list_done) struct db_peer_list list = {0};
    struct db_peer ns = ns_peer("ns-demo", 1);
    char anchor[] = "an anchor", crl[] = "a list";
    int64_t first;

    ck_assert_int_eq(db_peer_find(activation, PEER_NETWORK_SERVER, "ns-demo", &entry), 1);
    ck_ok(db_peer_add(activation, &ns));
    ck_ok(db_peer_revoke(activation, PEER_NETWORK_SERVER, "ns-demo"));
    ck_ok(db_peer_find(activation, PEER_NETWORK_SERVER, "ns-demo", &entry));
    ck_assert_str_ne(entry.revoked, "");
    db_peer_entry_done(&entry);
    memset(ns.token_hash, 2, sizeof(ns.token_hash));
    (void)snprintf(ns.san, sizeof(ns.san), "urn:x");
    ns.trust_anchor = anchor;
    ns.crl = crl;
    ck_ok(db_peer_add(activation, &ns));
    ck_ok(db_peer_find(activation, PEER_NETWORK_SERVER, "ns-demo", &entry));
    ck_assert_str_eq(entry.revoked, "");
    ck_assert_str_eq(entry.peer.trust_anchor, "an anchor");
    ck_assert_str_eq(entry.peer.crl, "a list");
    ck_assert_str_eq(entry.net_ids, "000012,000013");
    ck_assert_int_eq(
        db_peer_find(activation, PEER_APPLICATION_SERVER, "ns-demo", &(struct db_peer_entry){0}),
        1);
    ck_ok(db_peer_list_load(activation, PEER_NETWORK_SERVER, 0, 1, &list));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_lt(list.entries[0].peer.id, entry.peer.id);
    first = list.entries[0].peer.id;
    db_peer_list_done(&list);
    ck_ok(db_peer_list_load(activation, PEER_NETWORK_SERVER, first, 5, &list));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_eq(list.entries[0].peer.id, entry.peer.id);
}
END_TEST

START_TEST(a_kek_is_found_by_its_id_and_added_within_a_transaction)
{
    struct sealed_kek first = ns_kek("ns-1"), second = ns_kek("ns-2");
    struct db_kek_entry entry;
    uint8_t id[KEK_ID_LEN], gone[KEK_ID_LEN];

    ck_ok(db_kek_add(activation, &first, id));
    ck_ok(db_begin(activation));
    ck_ok(db_kek_add(activation, &second, gone));
    ck_ok(db_kek_find(activation, gone, &entry));
    ck_assert(entry.is_current);
    db_rollback(activation);
    ck_assert_int_eq(db_kek_find(activation, gone, &entry), 1);
    ck_ok(db_kek_find(activation, id, &entry));
    ck_assert(entry.is_current);
    ck_assert_int_eq(entry.peer_kind, PEER_NETWORK_SERVER);
    ck_assert_str_eq(entry.peer_id, "000013");
    ck_assert_str_eq(entry.label, "ns-1");
    ck_assert_mem_eq(entry.id, id, sizeof(id));
}
END_TEST

START_TEST(a_spare_kek_is_current_only_where_there_is_none)
{
    struct sealed_kek first = ns_kek("ns-1"), second = ns_kek("ns-2"), other = ns_kek("ns-1");
    struct db_kek_entry entry;
    uint8_t id[KEK_ID_LEN], later[KEK_ID_LEN], of_other[KEK_ID_LEN];

    memcpy(other.peer_id, "000014", 7);
    ck_ok(db_kek_add_spare(activation, &first, id));
    ck_ok(db_kek_find(activation, id, &entry));
    ck_assert(entry.is_current);
    ck_ok(db_kek_add_spare(activation, &second, later));
    ck_assert_int_eq(db_kek_add_spare(activation, &second, later), 1);
    ck_ok(db_kek_find(activation, id, &entry));
    ck_assert(entry.is_current);
    ck_ok(db_kek_find(activation, later, &entry));
    ck_assert(!entry.is_current);
    ck_ok(db_kek_add_spare(activation, &other, of_other)); /* another peer's first */
    ck_ok(db_kek_find(activation, of_other, &entry));
    ck_assert(entry.is_current);
    ck_ok(db_kek_use(activation, later));
    ck_ok(db_kek_find(activation, later, &entry));
    ck_assert(entry.is_current);
    ck_ok(db_kek_find(activation, id, &entry));
    ck_assert(!entry.is_current);
}
END_TEST

START_TEST(routes_are_listed_behind_one)
{
    CLEANUP(db_route_list_done) struct db_route_list list = {0};
    struct db_join_route routes[] = {{.prefix = {{0x70}}, .prefix_len = 4},
        {.prefix = {{0x70}}, .prefix_len = 8}, {.prefix = {{0x80}}, .prefix_len = 1}};
    char created[DB_TIME_TEXT_LEN + 1];

    for (size_t i = 0; i < 3; i++)
        ck_ok(db_join_route_add(activation, &routes[i], created));
    ck_assert_uint_eq(strlen(created), DB_TIME_TEXT_LEN);
    ck_ok(db_route_list_load(activation, &routes[0], 1, &list));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_uint_eq(list.entries[0].route.prefix_len, 8);
    db_route_list_done(&list);
    ck_ok(db_route_list_load(activation, &routes[1], 5, &list));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_uint_eq(list.entries[0].route.prefix_len, 1);
}
END_TEST

static const struct eui64 first_ns_id = {{0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1}};
static const struct eui64 second_ns_id = {{0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 2}};

START_TEST(settings_of_a_new_peer_come_back)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    CLEANUP(db_peer_list_done) struct db_peer_list list = {0};
    struct db_peer plain = ns_peer("ns-plain", 1), second = ns_peer("ns-second", 2);

    second.n_ns_ids = 2;
    second.ns_ids[0] = second_ns_id;
    second.ns_ids[1] = first_ns_id;
    second.allow_plain_keys = second.app_s_key_plain = second.session_key_id_omit = true;
    (void)snprintf(second.answer_url, sizeof(second.answer_url), "https://ns.example/");
    (void)snprintf(second.answer_credential, sizeof(second.answer_credential), "ns");
    ck_ok(db_peer_add(activation, &plain));
    ck_ok(db_peer_add(activation, &second));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_peers, 2);
    ck_assert_uint_eq(d.peers[0].n_ns_ids, 0);
    ck_assert(!d.peers[0].allow_plain_keys && !d.peers[0].app_s_key_plain &&
              !d.peers[0].session_key_id_omit);
    ck_assert_str_eq(d.peers[0].answer_url, "");
    ck_assert_str_eq(d.peers[0].answer_credential, "");
    ck_assert_uint_eq(d.peers[1].n_ns_ids, 2);
    ck_assert_mem_eq(&d.peers[1].ns_ids[0], &first_ns_id, sizeof(first_ns_id));
    ck_assert_mem_eq(&d.peers[1].ns_ids[1], &second_ns_id, sizeof(second_ns_id));
    ck_assert(d.peers[1].allow_plain_keys && d.peers[1].app_s_key_plain &&
              d.peers[1].session_key_id_omit);
    ck_assert_str_eq(d.peers[1].answer_url, "https://ns.example/");
    ck_assert_str_eq(d.peers[1].answer_credential, "ns");
    ck_ok(db_peer_list_load(activation, PEER_NETWORK_SERVER, 0, 100, &list));
    ck_assert_uint_eq(list.n, 2);
    ck_assert_ptr_null(list.entries[0].ns_ids);
    ck_assert_str_eq(list.entries[1].ns_ids, "70b3d57ed0000001,70b3d57ed0000002");
    ck_assert(list.entries[1].peer.allow_plain_keys && list.entries[1].peer.app_s_key_plain &&
              list.entries[1].peer.session_key_id_omit);
    ck_assert_str_eq(list.entries[1].peer.answer_url, "https://ns.example/");
    ck_assert_str_eq(list.entries[1].peer.answer_credential, "ns");
    ck_assert_int_eq(list.entries[1].peer.kind, PEER_NETWORK_SERVER);
}
END_TEST

START_TEST(a_setting_is_changed_and_the_others_stay)
{
    CLEANUP(db_directory_done) struct db_directory before = {0};
    CLEANUP(db_directory_done) struct db_directory after = {0};
    struct db_peer ns = ns_peer("ns-demo", 1), bystander = ns_peer("ns-other", 2), change = ns;

    ns.n_ns_ids = bystander.n_ns_ids = 1;
    ns.ns_ids[0] = bystander.ns_ids[0] = first_ns_id;
    ns.app_s_key_plain = true;
    (void)snprintf(ns.answer_url, sizeof(ns.answer_url), "https://ns.example/");
    ck_ok(db_peer_add(activation, &ns));
    ck_ok(db_peer_add(activation, &bystander));
    change.allow_plain_keys = true;
    ck_ok(db_peer_set(activation, &change, DB_PEER_ALLOW_PLAIN_KEYS));
    ck_ok(db_directory_load(join, &before));
    ck_assert(before.peers[0].allow_plain_keys && before.peers[0].app_s_key_plain &&
              !before.peers[0].session_key_id_omit);
    ck_assert_str_eq(before.peers[0].answer_url, "https://ns.example/");
    ck_assert_uint_eq(before.peers[0].n_ns_ids, 1);
    /* The new set shares one with the old one. */
    change.n_ns_ids = 2;
    change.ns_ids[0] = second_ns_id;
    change.ns_ids[1] = first_ns_id;
    ck_ok(db_peer_set(activation, &change, DB_PEER_NS_IDS));
    change.n_ns_ids = 1;
    change.session_key_id_omit = true;
    ck_ok(db_peer_set(activation, &change,
        DB_PEER_NS_IDS | DB_PEER_APP_S_KEY_PLAIN | DB_PEER_SESSION_KEY_ID_OMIT));
    ck_ok(db_directory_load(join, &after));
    ck_assert(after.peers[0].allow_plain_keys && !after.peers[0].app_s_key_plain &&
              after.peers[0].session_key_id_omit);
    ck_assert_uint_eq(after.peers[0].n_ns_ids, 1);
    ck_assert_mem_eq(&after.peers[0].ns_ids[0], &second_ns_id, sizeof(second_ns_id));
    ck_assert(!after.peers[1].allow_plain_keys && !after.peers[1].session_key_id_omit);
    ck_assert_uint_eq(after.peers[1].n_ns_ids, 1);
    ck_assert_mem_eq(&after.peers[1].ns_ids[0], &first_ns_id, sizeof(first_ns_id));
    change.n_ns_ids = 0;
    ck_ok(db_peer_set(activation, &change, DB_PEER_NS_IDS));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM peer_ns_id"), 1);
}
END_TEST

START_TEST(an_answer_credential_goes_with_its_url)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    CLEANUP(db_directory_done) struct db_directory none = {0};
    struct db_peer ns = ns_peer("ns-demo", 1), stranger = ns_peer("ns-nobody", 2);

    ck_ok(db_peer_add(activation, &ns));
    (void)snprintf(ns.answer_credential, sizeof(ns.answer_credential), "ns");
    ns.allow_plain_keys = true;
    ns.n_ns_ids = 1;
    /* All or nothing. */
    ck_assert_int_eq(db_peer_set(activation, &ns,
                         DB_PEER_ANSWER_CREDENTIAL | DB_PEER_ALLOW_PLAIN_KEYS | DB_PEER_NS_IDS),
        DB_PEER_HAS_NO_URL);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT count(*) FROM peer WHERE allow_plain_keys"), 0);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM peer_ns_id"), 0);
    ck_assert_int_eq(db_peer_set(activation, &stranger, DB_PEER_ALLOW_PLAIN_KEYS), DB_PEER_UNKNOWN);
    (void)snprintf(ns.answer_url, sizeof(ns.answer_url), "https://ns.example/");
    ck_ok(db_peer_set(activation, &ns, DB_PEER_ANSWER_URL | DB_PEER_ANSWER_CREDENTIAL));
    (void)snprintf(ns.answer_credential, sizeof(ns.answer_credential), "other");
    ck_ok(db_peer_set(activation, &ns, DB_PEER_ANSWER_CREDENTIAL));
    ck_ok(db_directory_load(join, &d));
    ck_assert_str_eq(d.peers[0].answer_url, "https://ns.example/");
    ck_assert_str_eq(d.peers[0].answer_credential, "other");
    ns.answer_url[0] = '\0';
    ck_ok(db_peer_set(activation, &ns, DB_PEER_ANSWER_URL));
    ck_ok(db_directory_load(join, &none));
    ck_assert_str_eq(none.peers[0].answer_url, "");
    ck_assert_str_eq(none.peers[0].answer_credential, "");
    ck_ok(db_peer_revoke(activation, PEER_NETWORK_SERVER, "ns-demo"));
    ck_assert_int_eq(db_peer_set(activation, &ns, DB_PEER_ALLOW_PLAIN_KEYS), DB_PEER_UNKNOWN);
}
END_TEST

START_TEST(a_surplus_of_ns_ids_is_left_out_and_nothing_else)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_peer ns = ns_peer("ns-demo", 1), second = ns_peer("ns-second", 2);

    second.n_ns_ids = 1;
    second.ns_ids[0] = first_ns_id;
    ck_ok(db_peer_add(activation, &ns));
    ck_ok(db_peer_add(activation, &second));
    pg_sql(cluster, database,
        "INSERT INTO peer_ns_id SELECT id, int8send(n) FROM peer, generate_series(1, 65) n"
        " WHERE name = 'ns-demo'");
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_peers, 2);
    ck_assert_uint_eq(d.peers[0].n_ns_ids, PEER_NS_IDS_MAX);
    ck_assert_uint_eq(d.peers[1].n_ns_ids, 1);
}
END_TEST

START_TEST(a_network_server_has_a_kek_beside_its_networks)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct sealed_kek net = ns_kek("ns-1"), own = ns_kek("ns-1");

    (void)snprintf(own.peer_id, sizeof(own.peer_id), "000013/70b3d57ed0000001");
    ck_ok(db_kek_add(activation, &net, NULL));
    ck_ok(db_kek_add(activation, &own, NULL));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_keks, 2);
    ck_assert_str_eq(d.keks[1].peer_id, own.peer_id);
    ck_assert_int_eq(revoke_kek(&own, false), DB_KEK_IS_CURRENT);
}
END_TEST

START_TEST(newest_kek_is_current_and_the_older_stays)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct sealed_kek first = ns_kek("ns-1"), second = ns_kek("ns-2");

    ck_ok(db_kek_add(activation, &first, NULL));
    ck_ok(db_kek_add(activation, &second, NULL));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_keks, 1);
    ck_assert_str_eq(d.keks[0].label, "ns-2");
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM kek"), 2);
}
END_TEST

START_TEST(revoked_peer_is_not_in_the_directory)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    struct db_peer ns = ns_peer("ns-demo", 1);

    ck_ok(db_peer_add(activation, &ns));
    pg_sql(cluster, database, "UPDATE peer SET revoked_at = now()");
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_peers, 0);
}
END_TEST

START_TEST(revoked_is_for_good_and_the_name_is_free_for_a_successor)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    CLEANUP(db_peer_list_done) struct db_peer_list list = {0};
    struct db_peer first = ns_peer("ns-demo", 1), second = ns_peer("ns-demo", 2);
    char anchor[] = "an anchor", sqlstate[6];

    (void)snprintf(first.san, sizeof(first.san), "urn:x");
    (void)snprintf(second.san, sizeof(second.san), "urn:x");
    first.trust_anchor = second.trust_anchor = anchor;
    ck_ok(db_peer_add(activation, &first));
    ck_assert_int_eq(db_peer_add(activation, &second), 1);
    ck_assert_int_eq(db_peer_revoke(activation, PEER_APPLICATION_SERVER, "ns-demo"), 1);
    ck_ok(db_peer_revoke(activation, PEER_NETWORK_SERVER, "ns-demo"));
    ck_assert_int_eq(db_peer_revoke(activation, PEER_NETWORK_SERVER, "ns-demo"), 1);
    pg_try(cluster, database, "cradle_activation", "UPDATE peer SET revoked_at = NULL", sqlstate);
    ck_assert_str_eq(sqlstate, "23514");
    /* Its token stays refused, whoever would bring it. */
    memset(second.token_hash, 1, sizeof(second.token_hash));
    ck_assert_int_eq(db_peer_add(activation, &second), 1);
    memset(second.token_hash, 2, sizeof(second.token_hash));
    ck_ok(db_peer_add(activation, &second));
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_peers, 1);
    ck_assert_uint_eq(d.peers[0].token_hash[0], 2);
    ck_ok(db_peer_list_load(activation, PEER_NETWORK_SERVER, 0, 100, &list));
    ck_assert_uint_eq(list.n, 2);
    ck_assert_str_eq(list.entries[0].peer.name, "ns-demo");
    ck_assert_str_eq(list.entries[0].net_ids, "000012,000013");
    ck_assert_str_eq(list.entries[0].peer.san, "urn:x");
    ck_assert_uint_eq(strlen(list.entries[0].created), DB_TIME_TEXT_LEN);
    ck_assert_uint_eq(strlen(list.entries[0].revoked), DB_TIME_TEXT_LEN);
    ck_assert_str_eq(list.entries[1].revoked, "");
}
END_TEST

START_TEST(another_kek_can_be_made_current)
{
    CLEANUP(db_directory_done) struct db_directory d = {0};
    CLEANUP(db_kek_list_done) struct db_kek_list list = {0};
    struct sealed_kek first = ns_kek("ns-1"), second = ns_kek("ns-2"), none = ns_kek("ns-3");

    ck_ok(db_kek_add(activation, &first, NULL));
    ck_ok(db_kek_add(activation, &second, NULL));
    ck_ok(use_kek(&first));
    ck_ok(use_kek(&first));
    ck_assert_int_eq(use_kek(&none), 1);
    ck_ok(db_directory_load(join, &d));
    ck_assert_uint_eq(d.n_keks, 1);
    ck_assert_str_eq(d.keks[0].label, "ns-1");
    ck_ok(db_kek_list_load(activation, 0, 100, &list));
    ck_assert_uint_eq(list.n, 2);
    ck_assert_str_eq(list.entries[0].peer_id, "000013");
    ck_assert_int_eq(list.entries[0].kek_class, KEK_CLASS_NS);
    ck_assert_str_eq(list.entries[0].label, "ns-1");
    ck_assert(list.entries[0].is_current);
    ck_assert(!list.entries[1].is_current);
    ck_assert_uint_eq(strlen(list.entries[1].created), DB_TIME_TEXT_LEN);
}
END_TEST

START_TEST(current_kek_is_not_removed)
{
    struct sealed_kek first = ns_kek("ns-1"), second = ns_kek("ns-2"), other = ns_kek("ns-1");

    (void)snprintf(other.peer_id, sizeof(other.peer_id), "000024");
    ck_ok(db_kek_add(activation, &first, NULL));
    ck_ok(db_kek_add(activation, &other, NULL));
    ck_assert_int_eq(revoke_kek(&first, false), DB_KEK_IS_CURRENT);
    ck_ok(db_kek_add(activation, &second, NULL));
    ck_assert_int_eq(revoke_kek(&second, false), DB_KEK_IS_CURRENT);
    ck_ok(revoke_kek(&first, false));
    ck_assert_int_eq(revoke_kek(&first, false), DB_KEK_UNKNOWN);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM kek"), 2);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT count(*) FROM kek WHERE peer_id = '000024'"), 1);
}
END_TEST

START_TEST(a_kek_of_the_same_label_is_another)
{
    struct sealed_kek first = ns_kek("ns-1"), second = ns_kek("ns-2");
    uint8_t gone[KEK_ID_LEN], id[KEK_ID_LEN];

    ck_ok(db_kek_add(activation, &first, gone));
    ck_ok(db_kek_add(activation, &second, NULL));
    ck_ok(db_kek_revoke(activation, gone, false));
    ck_ok(db_kek_add(activation, &first, id));
    ck_ok(use_kek(&second));
    ck_assert_int_eq(db_kek_use(activation, gone), 1);
    ck_assert_int_eq(db_kek_revoke(activation, gone, false), DB_KEK_UNKNOWN);
    ck_ok(db_kek_revoke(activation, id, false));
}
END_TEST

START_TEST(the_last_kek_is_removed_when_it_is_asked_for_as_such)
{
    struct sealed_kek first = ns_kek("ns-1"), second = ns_kek("ns-2"), other = ns_kek("ns-1");

    (void)snprintf(other.peer_id, sizeof(other.peer_id), "000024");
    ck_ok(db_kek_add(activation, &other, NULL));
    ck_ok(db_kek_add(activation, &first, NULL));
    ck_ok(db_kek_add(activation, &second, NULL));
    ck_assert_int_eq(revoke_kek(&second, true), DB_KEK_IS_CURRENT);
    ck_ok(revoke_kek(&first, true));
    ck_ok(revoke_kek(&second, true));
    ck_assert_int_eq(revoke_kek(&second, true), DB_KEK_UNKNOWN);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT count(*) FROM kek WHERE peer_id = '000024'"), 1);
}
END_TEST

START_TEST(route_is_removed_however_its_prefix_is_written)
{
    CLEANUP(db_route_list_done) struct db_route_list list = {0};
    struct db_join_route route = {.prefix = {{0x70}}, .prefix_len = 4};
    struct db_join_route longer = {.prefix = {{0x70}}, .prefix_len = 8};
    struct db_join_route same_route = {.prefix = {{0x7f, 1}}, .prefix_len = 4};

    ck_ok(db_join_route_add(activation, &route, NULL));
    ck_ok(db_join_route_add(activation, &longer, NULL));
    ck_ok(db_join_route_remove(activation, &same_route));
    ck_assert_int_eq(db_join_route_remove(activation, &same_route), 1);
    ck_ok(db_route_list_load(activation, NULL, 100, &list));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_uint_eq(list.entries[0].route.prefix.bytes[0], 0x70);
    ck_assert_uint_eq(list.entries[0].route.prefix_len, 8);
    ck_assert_uint_eq(strlen(list.entries[0].created), DB_TIME_TEXT_LEN);
}
END_TEST

START_TEST(every_change_of_the_directory_is_announced)
{
    struct db_peer ns = ns_peer("ns-demo", 1);
    struct sealed_kek kek = ns_kek("ns-1");
    struct db_join_route route = {.prefix_len = 0};

    ck_ok(db_directory_listen(join));
    ck_assert_int_eq(db_directory_wait(join, 0), 0);
    ck_ok(db_peer_add(activation, &ns));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_kek_add(activation, &kek, NULL));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_join_route_add(activation, &route, NULL));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    kek = ns_kek("ns-2");
    ck_ok(db_kek_add(activation, &kek, NULL));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    kek = ns_kek("ns-1");
    ck_ok(use_kek(&kek));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_join_route_remove(activation, &route));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ns.session_key_id_omit = true;
    ck_ok(db_peer_set(activation, &ns, DB_PEER_SESSION_KEY_ID_OMIT));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_peer_set(activation, &ns, DB_PEER_NS_IDS));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_peer_revoke(activation, PEER_NETWORK_SERVER, "ns-demo"));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    pg_sql(cluster, database, "DELETE FROM peer_net_id");
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_assert_int_eq(db_directory_wait(join, 0), 0);
}
END_TEST

START_TEST(listener_that_lost_its_connection_listens_again_and_looks)
{
    struct db_join_route route = {.prefix_len = 8};

    ck_ok(db_directory_listen(join));
    pg_sql(cluster, database,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'cradle_join'");
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), ERROR_DB);
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_join_route_add(activation, &route, NULL));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, directory_gives_back_what_was_added);
    tcase_add_test(tcase, duplicate_is_the_outcome_1_and_changes_nothing);
    tcase_add_test(tcase, a_san_that_is_anothers_is_an_outcome_and_no_error);
    tcase_add_test(tcase, net_ids_are_replaced_whole_or_stay);
    tcase_add_test(tcase, a_peer_is_found_good_before_revoked);
    tcase_add_test(tcase, a_kek_is_found_by_its_id_and_added_within_a_transaction);
    tcase_add_test(tcase, a_spare_kek_is_current_only_where_there_is_none);
    tcase_add_test(tcase, routes_are_listed_behind_one);
    tcase_add_test(tcase, trust_is_replaced_whole);
    tcase_add_test(tcase, settings_of_a_new_peer_come_back);
    tcase_add_test(tcase, a_setting_is_changed_and_the_others_stay);
    tcase_add_test(tcase, an_answer_credential_goes_with_its_url);
    tcase_add_test(tcase, a_surplus_of_ns_ids_is_left_out_and_nothing_else);
    tcase_add_test(tcase, a_network_server_has_a_kek_beside_its_networks);
    tcase_add_test(tcase, newest_kek_is_current_and_the_older_stays);
    tcase_add_test(tcase, revoked_peer_is_not_in_the_directory);
    tcase_add_test(tcase, revoked_is_for_good_and_the_name_is_free_for_a_successor);
    tcase_add_test(tcase, another_kek_can_be_made_current);
    tcase_add_test(tcase, current_kek_is_not_removed);
    tcase_add_test(tcase, a_kek_of_the_same_label_is_another);
    tcase_add_test(tcase, the_last_kek_is_removed_when_it_is_asked_for_as_such);
    tcase_add_test(tcase, route_is_removed_however_its_prefix_is_written);
    tcase_add_test(tcase, every_change_of_the_directory_is_announced);
    tcase_add_test(tcase, listener_that_lost_its_connection_listens_again_and_looks);
}

int main(void)
{
    return run_suite("db directory", add);
}
