#include "activation/operator_check.h"

#include "base/error.h"
#include "tests/support/suite.h"
#include <string.h>

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
        {"0x20-63-5F-00-00-00-01-01/64", 0x20635f0000000101, 64},
        {"20:63:5f/24", 0x20635f0000000000, 24},
        {"20 635f/24", 0x20635f0000000000, 24},
        {"0X635f/16", 0x635f000000000000, 16},
        {"0x8/1", 0x8000000000000000, 1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct db_join_route route;

        ck_assert_msg(act_route_parse(cases[i].text, '/', &route), "%s", cases[i].text);
        ck_assert_uint_eq(eui64_to_u64(&route.prefix), cases[i].prefix);
        ck_assert_uint_eq(route.prefix_len, cases[i].bits);
    }
}
END_TEST

START_TEST(a_route_in_a_path_has_a_hyphen_before_its_bits)
{
    struct db_join_route route;

    ck_assert(act_route_parse("20635f0000000000-24", '-', &route));
    ck_assert_uint_eq(route.prefix_len, 24);
    ck_assert(act_route_parse("20-63-5f-24", '-', &route));
    ck_assert_uint_eq(eui64_to_u64(&route.prefix), 0x20635f0000000000);
    ck_assert(!act_route_parse("20635f0000000000/24", '-', &route));
}
END_TEST

START_TEST(a_route_that_is_not_meant_is_refused)
{
    static const char *const cases[] = {"", "/", "20635f", "20635f/", "/24", "20635f/65",
        "20635f/-1", "20635f/24x", "20635f/ 24", "20635g/24", "20635f00000000000/24", "20635f/23",
        "1/0", "20 63 /16", "2 063/16", "-2063/16", "20--63/16", "0x/0", "x20/8", "20 63/15",
        "20635f/99999999999"};
    struct db_join_route route;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(!act_route_parse(cases[i], '/', &route), "%s", cases[i]);
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

    ck_assert(act_network_parse("000A13", &net_id, &has_ns_id, &ns_id));
    ck_assert(!has_ns_id);
    ck_assert_mem_eq(net_id.bytes, "\x00\x0a\x13", sizeof(net_id.bytes));
    ck_assert(act_network_parse("000013/70B3D57ED0000001", &net_id, &has_ns_id, &ns_id));
    ck_assert(has_ns_id);
    ck_assert_uint_eq(eui64_to_u64(&ns_id), 0x70b3d57ed0000001);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(!act_network_parse(wrong[i], &net_id, &has_ns_id, &ns_id), "%s", wrong[i]);
}
END_TEST

START_TEST(aes_keys_have_three_lengths)
{
    for (unsigned length = 0; length < 40; length++)
        ck_assert_int_eq(
            act_key_length_valid(length), length == 16 || length == 24 || length == 32);
}
END_TEST

START_TEST(names_that_stand_in_paths_have_no_slash_and_are_no_dots)
{
    static const char *const wrong[] = {"", "a/b", "/", ".", "..", "a\n"};

    ck_assert(act_peer_name_valid("Home & away ..."));
    ck_assert(act_as_id_valid("as:home?1#%"));
    ck_assert(!act_as_id_valid("as home"));
    ck_assert(!act_as_id_valid("as\"home"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_msg(!act_peer_name_valid(wrong[i]), "%s", wrong[i]);
        ck_assert_msg(!act_as_id_valid(wrong[i]), "%s", wrong[i]);
    }
}
END_TEST

START_TEST(an_answer_url_is_one_that_the_join_server_posts_to)
{
    static const char *const good[] = {"https://h", "https://[::1]:8443/x", "http://127.0.0.1:9/",
        "https://host.example:443/lrwan/join?x=1&y=%20@z"};
    static const char *const wrong[] = {"", "none", "http://host.example/", "http://localhost/",
        "HTTPS://h/", "https:///path", "https://h:99999/", "https://", "ftp://h/", "https://u:p@h/",
        "https://h/#f", "https://h/ x", "https://h/\"", "https://:443/"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(act_answer_url_check(good[i]) == 0, "%s", good[i]);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(act_answer_url_check(wrong[i]) == ERROR_INPUT, "%s", wrong[i]);
}
END_TEST

START_TEST(a_credential_has_the_name_of_its_files_without_their_endings)
{
    static const char *const wrong[] = {
        "", ".", "../x", "a/b", ".hidden", "a b", "ns.crt", "ns.key", "ns.ca", "ns.header"};

    ck_assert_int_eq(act_answer_credential_check("ns-1.header_2"), 0);
    ck_assert_int_eq(act_answer_credential_check("header"), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(act_answer_credential_check(wrong[i]) == ERROR_INPUT, "%s", wrong[i]);
}
END_TEST

START_TEST(a_choice_has_two_words)
{
    bool value = true;

    ck_assert(act_peer_word_parse(PEER_CHOICE_APP_S_KEY, "wrapped", &value) && !value);
    ck_assert(act_peer_word_parse(PEER_CHOICE_APP_S_KEY, "plain", &value) && value);
    ck_assert(act_peer_word_parse(PEER_CHOICE_SESSION_KEY_ID, "omit", &value) && value);
    ck_assert(!act_peer_word_parse(PEER_CHOICE_SESSION_KEY_ID, "plain", &value));
    ck_assert(!act_peer_word_parse(PEER_CHOICE_SESSION_KEY_ID, "", &value));
}
END_TEST

START_TEST(names_have_a_length_and_no_control_characters)
{
    ck_assert(act_name_valid("Näherei & Söhne", 100));
    ck_assert(act_name_valid("abc", 3));
    ck_assert(!act_name_valid("abcd", 3));
    ck_assert(!act_name_valid("", 3));
    ck_assert(!act_name_valid("a\nb", 3));
    ck_assert(!act_name_valid("a\x7f", 3));
}
END_TEST

START_TEST(names_are_utf8)
{
    static const char *const wrong[] = {"\xff", "\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80", "\xe2\x82"};

    ck_assert(act_name_valid("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 20));
    ck_assert(act_name_valid("\xf4\x8f\xbf\xbf", 20));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(!act_name_valid(wrong[i], 20), "%zu", i);
}
END_TEST

START_TEST(what_is_quoted_in_part_stays_utf8)
{
    char url[200] = "ftp://";

    /* Of the two beginnings one has a character across the place of the cut. */
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(url);

        url[n++] = 'x';
        for (int k = 0; k < 40; k++, n += 2)
            memcpy(url + n, "\xc3\xa4", 2);
        url[n] = '\0';
        ck_assert_int_eq(act_answer_url_check(url), ERROR_INPUT);
        ck_assert_msg(act_name_valid(error_text(), ERROR_TEXT_MAX), "%s", error_text());
        ck_assert_int_eq(act_answer_credential_check(url), ERROR_INPUT);
        ck_assert_msg(act_name_valid(error_text(), ERROR_TEXT_MAX), "%s", error_text());
        url[7] = '\0';
    }
}
END_TEST

SUITE_MAIN("operator_check", 10, a_route_in_a_path_has_a_hyphen_before_its_bits,
    routes_are_read_with_their_bits, a_route_that_is_not_meant_is_refused,
    a_network_is_a_net_id_and_may_name_one_of_its_servers, aes_keys_have_three_lengths,
    names_that_stand_in_paths_have_no_slash_and_are_no_dots,
    an_answer_url_is_one_that_the_join_server_posts_to,
    a_credential_has_the_name_of_its_files_without_their_endings, a_choice_has_two_words,
    names_have_a_length_and_no_control_characters, names_are_utf8,
    what_is_quoted_in_part_stays_utf8)
