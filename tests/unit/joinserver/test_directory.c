#include "joinserver/directory.h"

#include "tests/support/suite.h"

static const struct eui64 first = {{0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1}};
static const struct eui64 second = {{0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 2}};
static const struct net_id home = {{0, 0, 0x13}}, other = {{0, 0, 0x24}};

START_TEST(a_network_server_speaks_for_its_net_ids_alone)
{
    const struct db_peer ns = {.kind = PEER_NETWORK_SERVER, .net_ids = {home}, .n_net_ids = 1};
    const struct db_peer as = {.kind = PEER_APPLICATION_SERVER, .net_ids = {home}, .n_net_ids = 1};

    ck_assert(join_directory_may_speak(&ns, &home));
    ck_assert(!join_directory_may_speak(&ns, &other));
    ck_assert(!join_directory_may_speak(&as, &home));
}
END_TEST

START_TEST(who_has_ns_ids_speaks_as_one_of_them_and_who_has_none_as_any)
{
    const struct db_peer none = {.kind = PEER_NETWORK_SERVER};
    const struct db_peer one = {.kind = PEER_NETWORK_SERVER, .ns_ids = {first}, .n_ns_ids = 1};
    const struct db_peer both = {
        .kind = PEER_NETWORK_SERVER, .ns_ids = {first, second}, .n_ns_ids = 2};

    ck_assert(join_directory_may_speak_as(&none, &first));
    ck_assert(join_directory_may_speak_as(&one, &first));
    ck_assert(!join_directory_may_speak_as(&one, &second));
    ck_assert(join_directory_may_speak_as(&both, &second));
}
END_TEST

START_TEST(an_ns_id_is_a_peers_own_only_when_it_is_listed)
{
    const struct db_peer none = {.kind = PEER_NETWORK_SERVER};
    const struct db_peer one = {.kind = PEER_NETWORK_SERVER, .ns_ids = {first}, .n_ns_ids = 1};

    ck_assert(!db_peer_has_ns_id(&none, &first));
    ck_assert(db_peer_has_ns_id(&one, &first));
    ck_assert(!db_peer_has_ns_id(&one, &second));
}
END_TEST

START_TEST(a_kek_is_kept_under_the_net_id_and_the_ns_id)
{
    char id[PEER_ID_MAX + 1];

    db_kek_peer_id(&home, NULL, id);
    ck_assert_str_eq(id, "000013");
    db_kek_peer_id(&home, &first, id);
    ck_assert_str_eq(id, "000013/70b3d57ed0000001");
}
END_TEST

SUITE_MAIN("joinserver directory", 4, a_network_server_speaks_for_its_net_ids_alone,
    who_has_ns_ids_speaks_as_one_of_them_and_who_has_none_as_any,
    an_ns_id_is_a_peers_own_only_when_it_is_listed, a_kek_is_kept_under_the_net_id_and_the_ns_id)
