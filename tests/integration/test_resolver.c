/* The resolver and searches with it, against a real name server with signed zones. The name server
 * is a process, so no test forks. */
#include "api/find.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "tests/support/names.h"
#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define WATCHDOG_S 120
#define FAR_MS 100000
#define SHORT_MS 100
#define N_MANY 12
#define TEXT_MAX 64

#define ZONE(name, how, minimum) "zone " name " " how " " minimum "\n"
#define GOOD(address)                                                                              \
    ZONE("good.example", "signed", "3600")                                                         \
    "long 3600 A " address "\n"                                                                    \
    "short 1 A " address "\n"
#define HASTY(records) ZONE("hasty.example", "signed", "1") "short 1 A 198.51.100.1\n" records
#define LAZY(records) ZONE("lazy.example", "signed", "3600") records
#define ZONES                                                                                      \
    GOOD("198.51.100.1")                                                                           \
    HASTY("")                                                                                      \
    LAZY("")                                                                                       \
    ZONE("bogus.example", "bogus", "3600")                                                         \
    "a 3600 A 198.51.100.1\n" ZONE("plain.example", "plain",                                       \
        "3600") "a 3600 A 198.51.100.1\n" ZONE("broken.example", "broken", "3600")

static struct names *names;
static struct resolver *resolver;
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned n_done;
} ended = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* A look-up and what came of it. */
struct lookup {
    struct resolver_query query;
    enum dns_outcome outcome;
    bool secure, asks_again;
    unsigned ttl, n_done;
    char text[TEXT_MAX]; /* the first address, or why there is none */
};

static void note(struct resolver_query *query)
{
    struct lookup *lookup = query->context;
    const struct find_answer *answer = &query->answer;
    struct dns_address address;

    lookup->outcome = answer->outcome;
    lookup->secure = answer->secure;
    lookup->ttl = answer->ttl;
    if (answer->outcome == DNS_FOUND &&
        dns_read_address(answer->records[0], answer->lengths[0], &address) == DNS_READ_OK)
        (void)dns_address_format(&address, lookup->text);
    else
        (void)snprintf(
            lookup->text, sizeof(lookup->text), "%.63s", answer->why != NULL ? answer->why : "");
    if (lookup->n_done++ == 0 && lookup->asks_again) {
        resolver_ask(resolver, query);
        return;
    }
    (void)pthread_mutex_lock(&ended.lock);
    ended.n_done++;
    (void)pthread_cond_signal(&ended.changed);
    (void)pthread_mutex_unlock(&ended.lock);
}

static void wait_done(unsigned n)
{
    (void)pthread_mutex_lock(&ended.lock);
    while (ended.n_done < n)
        (void)pthread_cond_wait(&ended.changed, &ended.lock);
    ended.n_done -= n;
    (void)pthread_mutex_unlock(&ended.lock);
}

static void begin(struct lookup *lookup, const char *name, int64_t within_ms)
{
    *lookup = (struct lookup){.query = {.question.type = DNS_A,
                                  .deadline_ms = clock_monotonic_ms() + within_ms,
                                  .done = note,
                                  .context = lookup}};
    (void)snprintf(lookup->query.question.name, sizeof(lookup->query.question.name), "%s", name);
    resolver_ask(resolver, &lookup->query);
}

static struct lookup ask(const char *name)
{
    static struct lookup lookup;

    begin(&lookup, name, FAR_MS);
    wait_done(1);
    return lookup;
}

static struct resolver_config usual(void)
{
    return (struct resolver_config){.servers = names_address(names),
        .trust_anchor = names_trust_anchor(names),
        .max_lookups = 64,
        .cache_kib = 1024,
        .cache_max_ttl_s = 86400};
}

static void start(const struct resolver_config *config)
{
    ck_assert_msg(resolver_start(config, &resolver) == 0, "%s", error_text());
}

static void start_usual(void)
{
    const struct resolver_config config = usual();

    start(&config);
}

static void stop(void)
{
    resolver_stop(resolver);
    resolver = NULL;
}

static void start_names(void)
{
    names = names_start(ZONES);
}

static void stop_names(void)
{
    names_stop(names);
}

/* Takes questions and never answers. */
static int black_hole(char server[static TEXT_MAX])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(server, TEXT_MAX, "127.0.0.1@%u", ntohs(address.sin_port));
    return fd;
}

START_TEST(each_answer_has_its_outcome)
{
    struct lookup got = ask("long.good.example");

    ck_assert_int_eq(got.outcome, DNS_FOUND);
    ck_assert(got.secure);
    ck_assert_str_eq(got.text, "198.51.100.1");
    ck_assert(got.ttl > 3000 && got.ttl <= 3600);
    got = ask("nobody.good.example");
    ck_assert(got.outcome == DNS_NONE && got.secure);
    got = ask("a.plain.example");
    ck_assert(got.outcome == DNS_FOUND && !got.secure);
    got = ask("a.bogus.example");
    ck_assert_int_eq(got.outcome, DNS_BOGUS);
    ck_assert_str_ne(got.text, "");
    got = ask("a.broken.example"); /* SERVFAIL */
    ck_assert_int_eq(got.outcome, DNS_FAILED);
    got = ask("a.elsewhere.example"); /* REFUSED */
    ck_assert_int_eq(got.outcome, DNS_FAILED);
}
END_TEST

/* No test of the clock: what is believed for an hour stays, what is believed for a second goes, in
 * whatever time that takes. */
START_TEST(an_answer_is_believed_as_long_as_its_ttl_says)
{
    ck_assert_str_eq(ask("long.good.example").text, "198.51.100.1");
    ck_assert_str_eq(ask("short.good.example").text, "198.51.100.1");
    names_set(names, GOOD("198.51.100.2"));
    while (strcmp(ask("short.good.example").text, "198.51.100.2") != 0)
        continue;
    ck_assert_str_eq(ask("long.good.example").text, "198.51.100.1");
    stop();
    start_usual();
    ck_assert_str_eq(ask("long.good.example").text, "198.51.100.2");
    names_set(names, GOOD("198.51.100.1"));
}
END_TEST

START_TEST(that_there_is_nothing_is_believed_as_long_as_its_soa_says)
{
    ck_assert_int_eq(ask("new.lazy.example").outcome, DNS_NONE);
    ck_assert_int_eq(ask("new.hasty.example").outcome, DNS_NONE);
    names_set(names, HASTY("new 3600 A 198.51.100.3\n") LAZY("new 3600 A 198.51.100.3\n"));
    while (ask("new.hasty.example").outcome == DNS_NONE)
        continue;
    ck_assert_str_eq(ask("new.hasty.example").text, "198.51.100.3");
    ck_assert_int_eq(ask("new.lazy.example").outcome, DNS_NONE);
    names_set(names, HASTY("") LAZY(""));
}
END_TEST

START_TEST(no_answer_is_believed_longer_than_the_limit)
{
    struct resolver_config config = usual();

    stop();
    config.cache_max_ttl_s = 1;
    start(&config);
    ck_assert_str_eq(ask("long.good.example").text, "198.51.100.1");
    ck_assert_int_eq(ask("new.lazy.example").outcome, DNS_NONE);
    names_set(names, GOOD("198.51.100.2") LAZY("new 3600 A 198.51.100.3\n"));
    while (strcmp(ask("long.good.example").text, "198.51.100.2") != 0)
        continue;
    while (ask("new.lazy.example").outcome == DNS_NONE)
        continue;
    names_set(names, GOOD("198.51.100.1") LAZY(""));
}
END_TEST

START_TEST(without_a_trust_anchor_nothing_is_validated_and_with_the_setting_all_must_be)
{
    struct resolver_config config = usual();
    struct lookup got;

    stop();
    config.trust_anchor = "";
    start(&config);
    got = ask("a.bogus.example");
    ck_assert(got.outcome == DNS_FOUND && !got.secure);
    ck_assert_str_eq(got.text, "127.51.100.1");
    stop();
    config = usual();
    config.require_signed = true;
    start(&config);
    ck_assert_int_eq(ask("a.plain.example").outcome, DNS_BOGUS);
    ck_assert_int_eq(ask("nobody.plain.example").outcome, DNS_BOGUS);
    ck_assert_int_eq(ask("long.good.example").outcome, DNS_FOUND);
}
END_TEST

START_TEST(what_is_not_answered_in_time_ends_and_holds_up_nobody)
{
    static struct lookup lost[N_MANY];
    struct resolver_config config = usual();
    char server[TEXT_MAX], both[2 * TEXT_MAX];
    CLEANUP(cleanup_close) int fd = black_hole(server);

    (void)fd;
    stop();
    config.servers = server;
    start(&config);
    for (size_t i = 0; i < N_MANY; i++)
        begin(&lost[i], "a.plain.example", SHORT_MS);
    wait_done(N_MANY);
    for (size_t i = 0; i < N_MANY; i++) {
        ck_assert_int_eq(lost[i].outcome, DNS_TIMEOUT);
        ck_assert_int_ge(clock_monotonic_ms(), lost[i].query.deadline_ms);
    }
    stop();
    /* Beside one that answers it does no harm but that of the time it takes to find that out. */
    (void)snprintf(both, sizeof(both), "%s %s", server, names_address(names));
    config.servers = both;
    start(&config);
    ck_assert_int_eq(ask("a.plain.example").outcome, DNS_FOUND);
}
END_TEST

START_TEST(more_look_ups_than_allowed_fail_and_the_others_go_on)
{
    static struct lookup lookups[N_MANY];
    struct resolver_config config = usual();
    char server[TEXT_MAX];
    CLEANUP(cleanup_close) int fd = black_hole(server);
    unsigned n_failed = 0;

    (void)fd;
    stop();
    config.servers = server;
    config.max_lookups = N_MANY / 2;
    start(&config);
    for (size_t i = 0; i < N_MANY; i++)
        begin(&lookups[i], "a.plain.example", FAR_MS);
    wait_done(N_MANY / 2);
    stop(); /* ends the rest */
    wait_done(N_MANY / 2);
    for (size_t i = 0; i < N_MANY; i++) {
        ck_assert_int_eq(lookups[i].outcome, DNS_FAILED);
        n_failed += strcmp(lookups[i].text, "too many look-ups are on their way") == 0;
    }
    ck_assert_uint_eq(n_failed, N_MANY / 2);
    start_usual();
}
END_TEST

START_TEST(the_stop_ends_what_is_on_its_way_and_what_that_asks_for)
{
    static struct lookup lookup;
    struct resolver_config config = usual();
    char server[TEXT_MAX];
    CLEANUP(cleanup_close) int fd = black_hole(server);
    char byte;

    stop();
    config.servers = server;
    start(&config);
    begin(&lookup, "a.plain.example", FAR_MS);
    lookup.asks_again = true;
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 1); /* it is on its way */
    stop();
    wait_done(1);
    ck_assert_uint_eq(lookup.n_done, 2);
    ck_assert_str_eq(lookup.text, "the resolver stops");
    start_usual();
}
END_TEST

/* --- searches --- */

static void note_find(struct find *find)
{
    (void)find;
    (void)pthread_mutex_lock(&ended.lock);
    ended.n_done++;
    (void)pthread_cond_signal(&ended.changed);
    (void)pthread_mutex_unlock(&ended.lock);
}

START_TEST(many_searches_at_once_end_each_with_its_own)
{
    static const char *const outcomes[] = {"long.good", "nobody.good", "a.bogus", "a.broken"};
    static const enum dns_outcome expected[] = {DNS_FOUND, DNS_NONE, DNS_BOGUS, DNS_FAILED};
    static struct find finds[4 * N_MANY];
    struct find_settings settings = {.mode = strdup("address"),
        .servers = strdup(names_address(names)),
        .trust_anchor = strdup(names_trust_anchor(names)),
        .join_eui_suffix = strdup(FIND_JOIN_EUI_SUFFIX),
        .net_id_suffix = strdup(FIND_NET_ID_SUFFIX),
        .allow_private = true,
        .timeout_ms = FAR_MS,
        .max_lookups = 4 * N_MANY,
        .max_steps = FIND_STEPS_USUAL,
        .cache_kib = 1024,
        .cache_max_ttl_s = 86400};
    struct finder *finder = NULL;
    char name[TEXT_MAX];

    ck_assert_msg(finder_start(&settings, &finder) == 0, "%s", error_text());
    for (size_t i = 0; i < 4 * N_MANY; i++) {
        finds[i] = (struct find){.done = note_find};
        (void)snprintf(name, sizeof(name), "%s.example", outcomes[i % 4]);
        finder_ask(finder, &finds[i], name);
    }
    wait_done(4 * N_MANY);
    for (size_t i = 0; i < 4 * N_MANY; i++)
        ck_assert_msg(finds[i].steps.outcome == expected[i % 4], "%zu: %s %s", i,
            dns_outcome_name(finds[i].steps.outcome), finds[i].steps.why);
    finder_stop(finder);
    free(settings.mode);
    free(settings.servers);
    free(settings.trust_anchor);
    free(settings.join_eui_suffix);
    free(settings.net_id_suffix);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {each_answer_has_its_outcome,
        an_answer_is_believed_as_long_as_its_ttl_says,
        that_there_is_nothing_is_believed_as_long_as_its_soa_says,
        no_answer_is_believed_longer_than_the_limit,
        without_a_trust_anchor_nothing_is_validated_and_with_the_setting_all_must_be,
        what_is_not_answered_in_time_ends_and_holds_up_nobody,
        more_look_ups_than_allowed_fail_and_the_others_go_on,
        the_stop_ends_what_is_on_its_way_and_what_that_asks_for,
        many_searches_at_once_end_each_with_its_own};
    Suite *suite = suite_create("resolver");
    TCase *tcase = tcase_create("resolver");
    SRunner *runner;
    int failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)alarm(WATCHDOG_S);
    tcase_add_unchecked_fixture(tcase, start_names, stop_names);
    tcase_add_checked_fixture(tcase, start_usual, stop);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
