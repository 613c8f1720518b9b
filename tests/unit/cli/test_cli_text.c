#include "cli/cli_text.h"

#include "tests/support/suite.h"

START_TEST(routes_are_read_with_their_bits)
{
    static const struct {
        const char *text;
        uint64_t prefix;
        unsigned bits;
    } cases[] = {
        {"20635f0000000000/24", 0x20635f0000000000, 24},
        {"20635F/24", 0x20635f0000000000, 24},
        {"0/0", 0, 0},
        {"8/1", 0x8000000000000000, 1},
        {"20635f0000000101/64", 0x20635f0000000101, 64},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct eui64 prefix;
        unsigned bits;

        ck_assert_msg(cli_route_parse(cases[i].text, &prefix, &bits), "%s", cases[i].text);
        ck_assert_uint_eq(eui64_to_u64(&prefix), cases[i].prefix);
        ck_assert_uint_eq(bits, cases[i].bits);
    }
}
END_TEST

START_TEST(a_route_that_is_not_meant_is_refused)
{
    static const char *const cases[] = {"", "/", "20635f", "20635f/", "/24", "20635f/65",
        "20635f/-1", "20635f/24x", "20635f/ 24", "20635g/24", "20635f00000000000/24", "20635f/23",
        "1/0", "0x635f/24", "20 63/16", "20635f/99999999999"};
    struct eui64 prefix;
    unsigned bits;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(!cli_route_parse(cases[i], &prefix, &bits), "%s", cases[i]);
}
END_TEST

START_TEST(a_network_is_a_net_id_and_may_name_one_of_its_servers)
{
    static const char *const wrong[] = {"", "/", "00001", "0000130", "000013/",
        "000013/70b3d57ed000000", "000013/70b3d57ed00000010", "000013/000013", "/70b3d57ed0000001",
        "000013/70b3d57ed0000001/1", "some as"};
    struct net_id net_id;
    struct eui64 ns_id = {0};
    bool has_ns_id;

    ck_assert(cli_network_parse("000A13", &net_id, &has_ns_id, &ns_id));
    ck_assert(!has_ns_id);
    ck_assert_mem_eq(net_id.bytes, "\x00\x0a\x13", sizeof(net_id.bytes));
    ck_assert(cli_network_parse("000013/70B3D57ED0000001", &net_id, &has_ns_id, &ns_id));
    ck_assert(has_ns_id);
    ck_assert_uint_eq(eui64_to_u64(&ns_id), 0x70b3d57ed0000001);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(!cli_network_parse(wrong[i], &net_id, &has_ns_id, &ns_id), "%s", wrong[i]);
}
END_TEST

START_TEST(aes_keys_have_three_lengths)
{
    static const char *const wrong[] = {"", "0", "8", "15", "17", "33", "128", "16 ", "0x10"};
    unsigned length;

    ck_assert(cli_key_length_parse("16", &length) && length == 16);
    ck_assert(cli_key_length_parse("24", &length) && length == 24);
    ck_assert(cli_key_length_parse("32", &length) && length == 32);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(!cli_key_length_parse(wrong[i], &length), "%s", wrong[i]);
}
END_TEST

START_TEST(names_have_a_length_and_no_control_characters)
{
    ck_assert(cli_name_valid("Näherei & Söhne", 100));
    ck_assert(cli_name_valid("abc", 3));
    ck_assert(!cli_name_valid("abcd", 3));
    ck_assert(!cli_name_valid("", 3));
    ck_assert(!cli_name_valid("a\nb", 3));
    ck_assert(!cli_name_valid("a\x7f", 3));
}
END_TEST

SUITE_MAIN("cli_text", 10, routes_are_read_with_their_bits, a_route_that_is_not_meant_is_refused,
    a_network_is_a_net_id_and_may_name_one_of_its_servers, aes_keys_have_three_lengths,
    names_have_a_length_and_no_control_characters)
