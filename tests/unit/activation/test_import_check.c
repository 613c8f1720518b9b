#include "activation/import_check.h"

#include "tests/support/suite.h"
#include <string.h>

static struct db_peer peers[] = {
    {.kind = PEER_NETWORK_SERVER,
        .name = "ns",
        .net_ids = {{{0, 0, 0x13}}, {{0, 0, 0x24}}},
        .n_net_ids = 2},
    {.kind = PEER_APPLICATION_SERVER, .name = "demo-as"},
};
static struct db_join_route routes[] = {
    {.prefix = {{0x20, 0x63, 0x5f, 0, 0, 0, 0, 0}}, .prefix_len = 24},
    {.prefix = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}}, .prefix_len = 64},
};
static const struct db_directory directory = {
    .peers = peers, .n_peers = 2, .routes = routes, .n_routes = 2};

static struct import_row *add(struct import_file *file, uint8_t dev_eui, uint8_t key)
{
    struct import_row *row = import_file_add(file, (unsigned)file->n_rows + 1);

    ck_assert_ptr_nonnull(row);
    row->has_dev_eui = row->has_join_eui = row->has_app = row->has_mac_version = true;
    row->dev_eui.bytes[7] = dev_eui;
    row->join_eui = routes[0].prefix;
    row->app.bytes[0] = key;
    row->app.bytes[15] = (uint8_t)~key;
    return row;
}

START_TEST(routes_cover_by_their_leading_bits)
{
    static const struct {
        struct eui64 join_eui;
        bool routed;
    } cases[] = {
        {{{0x20, 0x63, 0x5f, 1, 2, 3, 4, 5}}, true},
        {{{0x20, 0x63, 0x5e, 1, 2, 3, 4, 5}}, false},
        {{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}}, true},
        {{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, false},
    };
    struct db_join_route all = {.prefix_len = 0};
    struct db_directory open = {.routes = &all, .n_routes = 1};
    struct db_directory empty = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(import_join_eui_routed(&directory, &cases[i].join_eui), cases[i].routed);
        ck_assert(import_join_eui_routed(&open, &cases[i].join_eui));
        ck_assert(!import_join_eui_routed(&empty, &cases[i].join_eui));
    }
}
END_TEST

static struct eui64 eui_of(uint64_t number)
{
    struct eui64 eui;

    for (unsigned i = 0; i < sizeof(eui.bytes); i++)
        eui.bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    return eui;
}

START_TEST(every_length_of_a_prefix_counts_just_its_own_bits)
{
    const uint64_t prefix = 0xa5c3f00f12345678;

    for (unsigned len = 0; len <= 64; len++) {
        struct db_join_route route = {.prefix_len = len};
        struct db_directory one = {.routes = &route, .n_routes = 1};

        /* Also a prefix with bits set behind its length. */
        route.prefix = eui_of(prefix);
        for (unsigned bit = 0; bit < 64; bit++) {
            struct eui64 join_eui = eui_of(prefix ^ UINT64_C(1) << (63 - bit));

            ck_assert_msg(import_join_eui_routed(&one, &join_eui) == (bit >= len), "/%u and bit %u",
                len, bit);
        }
        ck_assert(import_join_eui_routed(&one, &route.prefix));
    }
}
END_TEST

START_TEST(only_peers_of_the_right_kind_are_known)
{
    ck_assert(import_home_known(&directory, &(struct net_id){{0, 0, 0x24}}));
    ck_assert(!import_home_known(&directory, &(struct net_id){{0, 0, 0}}));
    ck_assert(import_as_known(&directory, "demo-as"));
    ck_assert(!import_as_known(&directory, "ns"));
    ck_assert(!import_as_known(&directory, "demo"));
}
END_TEST

START_TEST(a_repeated_dev_eui_is_refused_from_its_second_sound_row_on)
{
    struct import_file file = {0};

    add(&file, 7, 1)->fault = IMPORT_FAULT_JOIN_EUI;
    (void)add(&file, 7, 2);
    (void)add(&file, 8, 3);
    (void)add(&file, 7, 4);
    (void)add(&file, 7, 5);
    ck_assert_int_eq(import_check(&file, &directory), 0);
    ck_assert_int_eq(file.rows[0].fault, IMPORT_FAULT_JOIN_EUI);
    ck_assert_int_eq(file.rows[1].fault, IMPORT_FAULT_NONE);
    ck_assert_int_eq(file.rows[2].fault, IMPORT_FAULT_NONE);
    ck_assert_int_eq(file.rows[3].fault, IMPORT_FAULT_REPEATED_DEV_EUI);
    ck_assert_int_eq(file.rows[4].fault, IMPORT_FAULT_REPEATED_DEV_EUI);
    import_file_done(&file);
}
END_TEST

START_TEST(rows_sharing_a_key_are_warned_of_in_either_slot)
{
    struct import_file file = {0};
    struct import_row *row;

    (void)add(&file, 1, 10);
    (void)add(&file, 2, 20);
    row = add(&file, 3, 30);
    row->has_nwk = true;
    row->nwk = file.rows[0].app;
    (void)add(&file, 4, 40);
    ck_assert_int_eq(import_check(&file, &directory), 0);
    ck_assert_uint_eq(file.n_groups, 1);
    ck_assert_uint_eq(file.group_ends[0], 2);
    ck_assert_uint_eq(file.group_rows[0], 0);
    ck_assert_uint_eq(file.group_rows[1], 2);
    for (size_t i = 0; i < file.n_rows; i++) {
        ck_assert_int_eq(file.rows[i].fault, IMPORT_FAULT_NONE);
        ck_assert_uint_eq(
            file.rows[i].warnings, i == 0 || i == 2 ? 1u << IMPORT_WARN_DUPLICATE_KEY : 0);
    }
    import_file_done(&file);
}
END_TEST

START_TEST(refused_rows_do_not_share_keys)
{
    struct import_file file = {0};

    (void)add(&file, 1, 10);
    (void)add(&file, 1, 10);
    ck_assert_int_eq(import_check(&file, &directory), 0);
    ck_assert_uint_eq(file.n_groups, 0);
    ck_assert_uint_eq(file.rows[0].warnings, 0);
    import_file_done(&file);
}
END_TEST

START_TEST(zero_and_repeated_bytes_are_weak)
{
    struct import_file file = {0};

    memset(add(&file, 1, 0)->app.bytes, 0, AES_KEY_LEN);
    memset(add(&file, 2, 0)->app.bytes, 0xA5, AES_KEY_LEN);
    (void)add(&file, 3, 1);
    add(&file, 4, 2)->has_nwk = true;
    ck_assert_int_eq(import_check(&file, &directory), 0);
    ck_assert(file.rows[0].warnings & 1u << IMPORT_WARN_WEAK_KEY);
    ck_assert(file.rows[1].warnings & 1u << IMPORT_WARN_WEAK_KEY);
    ck_assert(!(file.rows[2].warnings & 1u << IMPORT_WARN_WEAK_KEY));
    ck_assert(file.rows[3].warnings & 1u << IMPORT_WARN_WEAK_KEY);
    import_file_done(&file);
}
END_TEST

START_TEST(unknown_peers_refuse_the_row_and_a_foreign_join_eui_does_not)
{
    struct import_file file = {0};
    struct import_row *row;

    row = add(&file, 1, 1);
    row->has_home_net_id = true;
    memcpy(row->as_id, "demo-as", sizeof("demo-as"));
    row = add(&file, 2, 2);
    row->has_home_net_id = true;
    row->home_net_id.bytes[2] = 0x13;
    memcpy(row->as_id, "nobody", sizeof("nobody"));
    row = add(&file, 3, 3);
    row->has_home_net_id = true;
    row->home_net_id.bytes[2] = 0x13;
    memcpy(row->as_id, "demo-as", sizeof("demo-as"));
    row->join_eui.bytes[0] = 0x21;
    ck_assert_int_eq(import_check(&file, &directory), 0);
    ck_assert_int_eq(file.rows[0].fault, IMPORT_FAULT_UNKNOWN_HOME);
    ck_assert_int_eq(file.rows[1].fault, IMPORT_FAULT_UNKNOWN_AS);
    ck_assert_int_eq(file.rows[2].fault, IMPORT_FAULT_NONE);
    ck_assert_uint_eq(file.rows[2].warnings, 1u << IMPORT_WARN_NOT_ROUTED);
    import_file_done(&file);
}
END_TEST

SUITE_MAIN("import_check", 10, routes_cover_by_their_leading_bits,
    every_length_of_a_prefix_counts_just_its_own_bits, only_peers_of_the_right_kind_are_known,
    a_repeated_dev_eui_is_refused_from_its_second_sound_row_on,
    rows_sharing_a_key_are_warned_of_in_either_slot, refused_rows_do_not_share_keys,
    zero_and_repeated_bytes_are_weak, unknown_peers_refuse_the_row_and_a_foreign_join_eui_does_not)
