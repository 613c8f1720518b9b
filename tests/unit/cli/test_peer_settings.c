#include "cli/peer_settings.h"

#include "base/error.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

static int option_of(enum peer_kind kind, const char *name)
{
    struct option options[CLI_PEER_OPTIONS_MAX];
    size_t n = cli_peer_options(kind, options);

    for (size_t i = 0; i < n; i++)
        if (strcmp(options[i].name, name) == 0)
            return options[i].val;
    return '?';
}

static int take(struct db_peer *peer, unsigned *set, const char *name, const char *value)
{
    return cli_peer_option_take(option_of(peer->kind, name), value, peer, set);
}

START_TEST(each_kind_has_the_options_that_mean_something_for_it)
{
    static const struct {
        const char *name;
        bool ns, as, takes_value;
    } cases[] = {
        {"ns-id", true, false, true},
        {"no-ns-id", true, false, false},
        {"allow-plain-keys", true, false, true},
        {"app-s-key", true, true, true},
        {"session-key-id", true, false, true},
        {"answer-url", true, true, true},
        {"answer-credential", true, true, true},
    };
    struct option options[CLI_PEER_OPTIONS_MAX];
    size_t n_ns = 0, n_as = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg((option_of(PEER_NETWORK_SERVER, cases[i].name) != '?') == cases[i].ns, "%s",
            cases[i].name);
        ck_assert_msg((option_of(PEER_APPLICATION_SERVER, cases[i].name) != '?') == cases[i].as,
            "%s", cases[i].name);
        n_ns += cases[i].ns;
        n_as += cases[i].as;
    }
    ck_assert_uint_eq(cli_peer_options(PEER_NETWORK_SERVER, options), n_ns);
    for (size_t i = 0; i < n_ns; i++)
        for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
            if (strcmp(options[i].name, cases[c].name) == 0)
                ck_assert_int_eq(options[i].has_arg, cases[c].takes_value ? 1 : 0);
    ck_assert_uint_eq(cli_peer_options(PEER_APPLICATION_SERVER, options), n_as);
}
END_TEST

START_TEST(a_word_sets_its_member_and_no_other)
{
    struct db_peer peer = {.kind = PEER_NETWORK_SERVER};
    unsigned set = 0;

    ck_assert_int_eq(take(&peer, &set, "allow-plain-keys", "yes"), 0);
    ck_assert(peer.allow_plain_keys && !peer.app_s_key_plain && !peer.session_key_id_omit);
    ck_assert_uint_eq(set, DB_PEER_ALLOW_PLAIN_KEYS);
    ck_assert_int_eq(take(&peer, &set, "app-s-key", "plain"), 0);
    ck_assert_int_eq(take(&peer, &set, "session-key-id", "omit"), 0);
    ck_assert(peer.app_s_key_plain && peer.session_key_id_omit);
    ck_assert_int_eq(take(&peer, &set, "allow-plain-keys", "no"), 0);
    ck_assert_int_eq(take(&peer, &set, "app-s-key", "wrapped"), 0);
    ck_assert_int_eq(take(&peer, &set, "session-key-id", "send"), 0);
    ck_assert(!peer.allow_plain_keys && !peer.app_s_key_plain && !peer.session_key_id_omit);
    ck_assert_uint_eq(
        set, DB_PEER_ALLOW_PLAIN_KEYS | DB_PEER_APP_S_KEY_PLAIN | DB_PEER_SESSION_KEY_ID_OMIT);
}
END_TEST

START_TEST(what_is_not_meant_is_refused_and_sets_nothing)
{
    static const struct {
        const char *option, *value;
    } cases[] = {
        {"allow-plain-keys", "true"},
        {"allow-plain-keys", ""},
        {"app-s-key", "yes"},
        {"app-s-key", "Plain"},
        {"session-key-id", "none"},
        {"ns-id", "70b3d57ed000000"},
        {"ns-id", "70b3d57ed00000010"},
        {"ns-id", "000013/70b3d57ed0000001"},
        {"ns-id", ""},
        {"answer-url", ""},
        {"answer-url", "host.example/x"},
        {"answer-url", "ftp://host.example"},
        {"answer-url", "http://"},
        {"answer-url", "http://host.example/"},
        {"answer-url", "http://localhost/"},
        {"answer-url", "http://10.0.0.1/"},
        {"answer-url", "HTTPS://host.example/"},
        {"answer-url", "https://host.example:99999/"},
        {"answer-url", "https:///path"},
        {"answer-url", "https://:443/"},
        {"answer-url", "https://user:secret@host.example/"},
        {"answer-url", "https://host.example/#x"},
        {"answer-url", "https://host.example/a b"},
        {"answer-url", "https://host.example/\""},
        {"answer-url", "https://host.example/\n"},
        {"answer-url", "https://h\xc3\xb6st.example/"},
        {"answer-credential", ""},
        {"answer-credential", ".hidden"},
        {"answer-credential", ".."},
        {"answer-credential", "a/b"},
        {"answer-credential", "a b"},
        {"answer-credential", "ns.crt"},
        {"answer-credential", "ns.key"},
        {"answer-credential", "ns.ca"},
        {"answer-credential", "ns.header"},
        {"answer-credential", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct db_peer peer = {.kind = PEER_NETWORK_SERVER}, none = peer;
        unsigned set = 0;

        ck_assert_msg(take(&peer, &set, cases[i].option, cases[i].value) == ERROR_INPUT, "%s %s",
            cases[i].option, cases[i].value);
        ck_assert_uint_eq(set, 0);
        ck_assert_mem_eq(&peer, &none, sizeof(peer));
    }
}
END_TEST

START_TEST(an_answer_url_has_a_host_and_a_length)
{
    static const char *const good[] = {"http://127.0.0.1", "http://127.0.0.1:9/",
        "http://[::1]:8090/", "https://host.example", "https://[::1]:8443/x",
        "https://host.example:443/lrwan/join?x=1&y=%20@z"};
    struct db_peer peer = {.kind = PEER_APPLICATION_SERVER};
    char url[PEER_URL_MAX + 2] = "https://";
    unsigned set = 0;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(take(&peer, &set, "answer-url", good[i]), 0);
        ck_assert_str_eq(peer.answer_url, good[i]);
    }
    memset(url + strlen(url), 'a', PEER_URL_MAX - strlen(url));
    ck_assert_int_eq(take(&peer, &set, "answer-url", url), 0);
    url[PEER_URL_MAX] = 'a';
    ck_assert_int_eq(take(&peer, &set, "answer-url", url), ERROR_INPUT);
    ck_assert_int_eq(take(&peer, &set, "answer-credential", "ns-1.header_2"), 0);
    ck_assert_str_eq(peer.answer_credential, "ns-1.header_2");
    ck_assert_int_eq(take(&peer, &set, "answer-url", "none"), 0);
    ck_assert_int_eq(take(&peer, &set, "answer-credential", "none"), 0);
    ck_assert_str_eq(peer.answer_url, "");
    ck_assert_str_eq(peer.answer_credential, "");
    ck_assert_uint_eq(set, DB_PEER_ANSWER_URL | DB_PEER_ANSWER_CREDENTIAL);
}
END_TEST

START_TEST(ns_ids_are_a_set_or_none)
{
    struct db_peer peer = {.kind = PEER_NETWORK_SERVER}, none = peer;
    char ns_id[EUI64_TEXT_LEN + 1];
    unsigned set = 0, other = 0;

    ck_assert_int_eq(take(&peer, &set, "ns-id", "70B3D57ED0000001"), 0);
    ck_assert_int_eq(take(&peer, &set, "ns-id", "70b3d57ed0000001"), ERROR_INPUT);
    ck_assert_int_eq(take(&peer, &set, "no-ns-id", NULL), ERROR_INPUT);
    ck_assert_uint_eq(peer.n_ns_ids, 1);
    for (unsigned i = 1; i < PEER_NS_IDS_MAX; i++) {
        (void)snprintf(ns_id, sizeof(ns_id), "%016x", i);
        ck_assert_int_eq(take(&peer, &set, "ns-id", ns_id), 0);
    }
    ck_assert_int_eq(take(&peer, &set, "ns-id", "ffffffffffffffff"), ERROR_INPUT);
    ck_assert_uint_eq(peer.n_ns_ids, PEER_NS_IDS_MAX);
    ck_assert_int_eq(take(&none, &other, "no-ns-id", NULL), 0);
    ck_assert_uint_eq(other, DB_PEER_NS_IDS);
    ck_assert_int_eq(take(&none, &other, "ns-id", "70b3d57ed0000001"), ERROR_INPUT);
    ck_assert_uint_eq(none.n_ns_ids, 0);
}
END_TEST

START_TEST(another_option_is_left_to_the_verb)
{
    struct db_peer peer = {.kind = PEER_NETWORK_SERVER};
    unsigned set = 0;

    ck_assert_int_eq(cli_peer_option_take('n', "x", &peer, &set), CLI_PEER_NO_OPTION);
    ck_assert_int_eq(cli_peer_option_take('?', NULL, &peer, &set), CLI_PEER_NO_OPTION);
    ck_assert_int_eq(cli_peer_option_take(100000, "x", &peer, &set), CLI_PEER_NO_OPTION);
    ck_assert_uint_eq(set, 0);
}
END_TEST

START_TEST(settings_are_shown_in_the_words_they_are_given_in)
{
    CLEANUP(text_done) struct text out = {0};
    struct db_peer peer = {.kind = PEER_NETWORK_SERVER,
        .allow_plain_keys = true,
        .answer_url = "https://h/",
        .n_ns_ids = 1};

    cli_peer_settings_write(&out, &peer, ~0u);
    ck_assert_str_eq(out.data,
        ",\"allow_plain_keys\":\"yes\",\"app_s_key\":\"wrapped\",\"session_key_id\":\"send\","
        "\"answer_url\":\"https://h/\",\"answer_credential\":\"none\"");
    text_clear(&out);
    cli_peer_settings_write(&out, &peer, DB_PEER_APP_S_KEY_PLAIN | DB_PEER_NS_IDS);
    ck_assert_str_eq(out.data, ",\"app_s_key\":\"wrapped\"");
    text_clear(&out);
    peer.kind = PEER_APPLICATION_SERVER;
    peer.app_s_key_plain = true;
    cli_peer_settings_write(&out, &peer, ~0u);
    ck_assert_str_eq(out.data,
        ",\"app_s_key\":\"plain\",\"answer_url\":\"https://h/\",\"answer_credential\":\"none\"");
}
END_TEST

SUITE_MAIN("cli peer_settings", 10, each_kind_has_the_options_that_mean_something_for_it,
    a_word_sets_its_member_and_no_other, what_is_not_meant_is_refused_and_sets_nothing,
    an_answer_url_has_a_host_and_a_length, ns_ids_are_a_set_or_none,
    another_option_is_left_to_the_verb, settings_are_shown_in_the_words_they_are_given_in)
