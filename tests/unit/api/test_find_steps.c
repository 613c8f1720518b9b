#include "api/find_steps.h"

#include "base/error.h"
#include "tests/support/dns_records.h"
#include "tests/support/suite.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))
#define START "start.example"
#define TTL 300
#define DRAWS 30000
#define ASKED_MAX 4096

/* A zone: what is asked for by name and type, and its records as a function makes them. */
struct entry {
    const char *name;
    enum dns_type type;
    enum dns_outcome outcome;
    void (*make)(struct dns_records *to);
    bool insecure;
    unsigned ttl;
};

static struct find_steps steps;
static uint32_t next_random;
static char asked[ASKED_MAX];

/* The seam: always the same part of the range, or a small generator. */
static uint32_t draw_fixed(void *context, uint32_t below)
{
    (void)context;
    return next_random < below ? next_random : below - 1;
}

static uint32_t draw_many(void *context, uint32_t below)
{
    uint64_t *state = context;

    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((*state >> 33) % below);
}

static struct find_rules usual(void)
{
    return (struct find_rules){
        .max_steps = FIND_STEPS_USUAL, .allow_private = true, .random = draw_fixed};
}

static void walk(const struct find_rules *rules, const struct entry *zone, size_t n)
{
    static struct dns_records records;
    struct find_question question;

    asked[0] = '\0';
    find_steps_begin(&steps, rules, START);
    while (find_steps_next(&steps, &question)) {
        struct find_answer answer = {.outcome = DNS_NONE, .secure = true, .ttl = TTL};
        const size_t len = strlen(asked);

        (void)snprintf(asked + len, sizeof(asked) - len, "%s %s;", dns_type_name(question.type),
            question.name);
        for (size_t i = 0; i < n; i++) {
            if (strcmp(zone[i].name, question.name) != 0 || zone[i].type != question.type)
                continue;
            memset(&records, 0, sizeof(records));
            if (zone[i].make != NULL) {
                zone[i].make(&records);
                answer = dns_found(&records, zone[i].ttl > 0 ? zone[i].ttl : TTL);
            }
            answer.outcome = zone[i].outcome;
            answer.secure = !zone[i].insecure;
        }
        find_steps_take(&steps, &answer);
    }
    ck_assert_uint_le(steps.n_steps, rules->max_steps);
    ck_assert((steps.n_targets > 0) == (steps.outcome == DNS_FOUND));
    ck_assert((steps.why[0] != '\0') == (steps.outcome != DNS_FOUND));
}

#define WALK(rules, ...)                                                                           \
    do {                                                                                           \
        const struct entry zone[] = {__VA_ARGS__};                                                 \
                                                                                                   \
        walk((rules), zone, N_OF(zone));                                                           \
    } while (0)

static void expect_url(size_t target, const char *url)
{
    char got[FIND_URL_MAX];

    ck_assert_uint_gt(steps.n_targets, target);
    ck_assert_str_eq(find_target_url(&steps.targets[target], got), url);
}

static void a_private(struct dns_records *to)
{
    dns_add_bytes(to, "\x0a\0\0\1", 4);
}

static void a_loopback(struct dns_records *to)
{
    dns_add_bytes(to, "\x7f\0\0\1", 4);
}

static void a_public(struct dns_records *to)
{
    dns_add_bytes(to, "\x08\x08\x08\x08", 4);
}

static void a_mixed(struct dns_records *to)
{
    a_private(to);
    a_public(to);
}

static void aaaa_loopback(struct dns_records *to)
{
    dns_add_bytes(to, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
}

static void a_many(struct dns_records *to)
{
    for (size_t i = 0; i < 3 * FIND_ADDRESSES_MAX; i++)
        a_public(to);
}

static void naptr_srv(struct dns_records *to)
{
    dns_add_naptr(to, 10, 10, "S", "LWNS", "", "_lwns._tcp.example");
}

static void naptr_http(struct dns_records *to)
{
    dns_add_naptr(to, 10, 10, "A", "LWN", "", "a.example");
}

static void srv_two(struct dns_records *to)
{
    dns_add_srv(to, 20, 0, 8443, "b.example");
    dns_add_srv(to, 10, 0, 443, "a.example");
}

START_TEST(names_are_made_as_ts002_says)
{
    static const struct eui64 join_eui = {{0x00, 0x00, 0x5E, 0x10, 0x00, 0x00, 0x00, 0x2F}};
    static const struct net_id net_id = {{0x00, 0x05, 0x0A}};
    char name[FIND_NAME_MAX + 1], suffix[FIND_NAME_MAX + 2];

    ck_assert_int_eq(find_name_of_join_eui(&join_eui, "JOINEUIS.LORA-ALLIANCE.ORG", name), 0);
    ck_assert_str_eq(name, "f.2.0.0.0.0.0.0.0.1.e.5.0.0.0.0.joineuis.lora-alliance.org");
    ck_assert_int_eq(find_name_of_join_eui(&join_eui, ".joineuis.lora-alliance.org.", name), 0);
    ck_assert_str_eq(name, "f.2.0.0.0.0.0.0.0.1.e.5.0.0.0.0.joineuis.lora-alliance.org");
    ck_assert_int_eq(find_name_of_net_id(&net_id, "netids.lora-alliance.org", name), 0);
    ck_assert_str_eq(name, "00050a.netids.lora-alliance.org");
    ck_assert_int_eq(find_name_of_net_id(&net_id, "", name), ERROR_INPUT);
    ck_assert_int_eq(find_name_of_net_id(&net_id, "a..b", name), ERROR_INPUT);
    ck_assert_int_eq(find_name_of_net_id(&net_id, "a b", name), ERROR_INPUT);
    memset(suffix, 'a', sizeof(suffix));
    suffix[sizeof(suffix) - 1] = '\0';
    ck_assert_int_eq(find_name_of_net_id(&net_id, suffix, name), ERROR_INPUT);
}
END_TEST

START_TEST(a_naptr_leads_by_srv_to_addresses_in_order)
{
    const struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_srv},
        {"_lwns._tcp.example", DNS_SRV, DNS_FOUND, srv_two},
        {"a.example", DNS_A, DNS_FOUND, a_public, .ttl = 7},
        {"b.example", DNS_AAAA, DNS_FOUND, aaaa_loopback});
    ck_assert_str_eq(asked,
        "NAPTR start.example;SRV _lwns._tcp.example;A a.example;AAAA a.example;A b.example;AAAA b.example;");
    ck_assert_uint_eq(steps.n_targets, 2);
    expect_url(0, "https://a.example/");
    expect_url(1, "https://b.example:8443/");
    ck_assert_uint_eq(steps.ttl, 7);
    ck_assert(steps.secure);
}
END_TEST

START_TEST(the_simple_form_takes_the_addresses_of_the_name)
{
    struct find_rules rules = usual();

    rules.address_only = true;
    WALK(&rules, {START, DNS_A, DNS_FOUND, a_public},
        {START, DNS_AAAA, DNS_FOUND, aaaa_loopback, .insecure = true});
    ck_assert_str_eq(asked, "A start.example;AAAA start.example;");
    expect_url(0, "https://" START "/");
    ck_assert_uint_eq(steps.targets[0].n_addresses, 2);
    ck_assert(!steps.secure);
    WALK(&rules, {"other.example", DNS_A, DNS_FOUND, a_public});
    ck_assert_int_eq(steps.outcome, DNS_NONE);
}
END_TEST

static void naptr_order(struct dns_records *to)
{
    dns_add_naptr(to, 20, 1, "A", "LWNS", "", "never.example");
    dns_add_naptr(to, 10, 30, "A", "LWNS", "", "third.example");
    dns_add_naptr(to, 1, 1, "A", "SIP", "", "other.example");
    dns_add_naptr(to, 10, 20, "A", "LWN", "", "second.example");
    dns_add_naptr(to, 10, 20, "A", "LWNS", "", "first.example");
}

/* RFC 3403 4.1: preferences are tried one after the other, another order is not looked at. */
START_TEST(the_lowest_order_counts_and_preferences_follow)
{
    const struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_order},
        {"never.example", DNS_A, DNS_FOUND, a_public});
    ck_assert_str_eq(asked,
        "NAPTR start.example;A first.example;AAAA first.example;A second.example;AAAA second.example;"
        "A third.example;AAAA third.example;");
    ck_assert_int_eq(steps.outcome, DNS_NONE);
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_order},
        {"first.example", DNS_A, DNS_FAILED, NULL}, {"third.example", DNS_A, DNS_FOUND, a_public});
    expect_url(0, "https://third.example/");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_order},
        {"first.example", DNS_A, DNS_FOUND, a_public},
        {"third.example", DNS_A, DNS_FOUND, a_public});
    ck_assert_uint_eq(steps.n_targets, 1);
    expect_url(0, "https://first.example/");
}
END_TEST

static void naptr_url(struct dns_records *to)
{
    dns_add_naptr(to, 1, 1, "U", "LWNS", "!.*!https://u.example:8443/join!", "");
}

static void naptr_uri(struct dns_records *to)
{
    dns_add_naptr(to, 1, 1, "U", "LWNS", "", "uri.example");
}

static void uri_two(struct dns_records *to)
{
    dns_add_uri(to, 2, 0, "https://b.example/b");
    dns_add_uri(to, 1, 0, "http://c.example/c"); /* the service was https */
    dns_add_uri(to, 1, 0, "https://a.example/a");
}

START_TEST(urls_come_from_expressions_and_uri_records)
{
    const struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_url},
        {"u.example", DNS_A, DNS_FOUND, a_public});
    expect_url(0, "https://u.example:8443/join");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_uri},
        {"uri.example", DNS_URI, DNS_FOUND, uri_two}, {"a.example", DNS_A, DNS_FOUND, a_public},
        {"b.example", DNS_A, DNS_FOUND, a_public}, {"c.example", DNS_A, DNS_FOUND, a_loopback});
    ck_assert_uint_eq(steps.n_targets, 2);
    expect_url(0, "https://a.example/a");
    expect_url(1, "https://b.example/b");
}
END_TEST

static void naptr_loop(struct dns_records *to)
{
    dns_add_naptr(to, 1, 1, "", "LWNS", "", START);
}

START_TEST(a_loop_ends_at_the_limit_of_steps)
{
    const struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_loop});
    ck_assert_int_eq(steps.outcome, DNS_FAILED);
    ck_assert_uint_eq(steps.n_steps, FIND_STEPS_USUAL);
    ck_assert_ptr_nonnull(strstr(steps.why, "dns.max_steps"));
}
END_TEST

static void srv_many(struct dns_records *to)
{
    for (int i = 0; i < FIND_RECORDS_MAX + 1; i++)
        dns_add_srv(to, 1, 1, 443, "a.example");
}

static void srv_most(struct dns_records *to)
{
    for (int i = 0; i < FIND_RECORDS_MAX; i++)
        dns_add_srv(to, 1, 1, (unsigned)i + 1, "a.example");
}

static void naptr_wide_loop(struct dns_records *to)
{
    for (int i = 0; i < FIND_RECORDS_MAX; i++)
        naptr_loop(to);
}

START_TEST(too_many_records_are_refused_and_targets_and_addresses_bounded)
{
    struct find_rules rules = usual();

    rules.max_steps = FIND_STEPS_MAX;
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_srv},
        {"_lwns._tcp.example", DNS_SRV, DNS_FOUND, srv_many},
        {"a.example", DNS_A, DNS_FOUND, a_public});
    ck_assert_int_eq(steps.outcome, DNS_REFUSED);
    ck_assert_ptr_nonnull(strstr(steps.why, "too many records"));
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_srv},
        {"_lwns._tcp.example", DNS_SRV, DNS_FOUND, srv_most},
        {"a.example", DNS_A, DNS_FOUND, a_many});
    ck_assert_uint_eq(steps.n_targets, FIND_TARGETS_MAX);
    ck_assert_uint_eq(steps.targets[0].n_addresses, FIND_ADDRESSES_MAX);
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_wide_loop});
    ck_assert_int_eq(steps.outcome, DNS_REFUSED);
}
END_TEST

START_TEST(a_bogus_answer_ends_it_whatever_else_there_is)
{
    const struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_order},
        {"first.example", DNS_A, DNS_BOGUS, a_public},
        {"second.example", DNS_A, DNS_FOUND, a_loopback},
        {"third.example", DNS_A, DNS_FOUND, a_public});
    ck_assert_str_eq(asked, "NAPTR start.example;A first.example;");
    ck_assert_int_eq(steps.outcome, DNS_BOGUS);
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_srv},
        {"_lwns._tcp.example", DNS_SRV, DNS_FOUND, srv_two},
        {"a.example", DNS_A, DNS_FOUND, a_public}, {"b.example", DNS_A, DNS_BOGUS, NULL});
    ck_assert_int_eq(steps.outcome, DNS_BOGUS);
}
END_TEST

START_TEST(no_answer_in_time_ends_it_with_what_there_is)
{
    const struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_TIMEOUT, NULL});
    ck_assert_int_eq(steps.outcome, DNS_TIMEOUT);
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_order},
        {"first.example", DNS_A, DNS_TIMEOUT, NULL});
    ck_assert_int_eq(steps.outcome, DNS_TIMEOUT);
    ck_assert_uint_eq(steps.n_steps, 2);
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_order},
        {"first.example", DNS_A, DNS_FOUND, a_public},
        {"first.example", DNS_AAAA, DNS_TIMEOUT, NULL});
    expect_url(0, "https://first.example/");
}
END_TEST

START_TEST(addresses_that_are_not_public_are_used_where_that_is_allowed)
{
    struct find_rules rules = usual();

    rules.allow_private = false;
    rules.address_only = true;
    WALK(&rules, {START, DNS_A, DNS_FOUND, a_private});
    ck_assert_int_eq(steps.outcome, DNS_REFUSED);
    WALK(&rules, {START, DNS_AAAA, DNS_FOUND, aaaa_loopback});
    ck_assert_int_eq(steps.outcome, DNS_REFUSED);
    WALK(&rules, {START, DNS_A, DNS_FOUND, a_mixed});
    ck_assert_uint_eq(steps.targets[0].n_addresses, 1);
    ck_assert(dns_address_is_public(&steps.targets[0].addresses[0]));
    rules.allow_private = true;
    WALK(&rules, {START, DNS_A, DNS_FOUND, a_mixed});
    ck_assert_uint_eq(steps.targets[0].n_addresses, 2);
}
END_TEST

START_TEST(http_goes_to_loopback_only)
{
    struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_http},
        {"a.example", DNS_A, DNS_FOUND, a_public});
    ck_assert_int_eq(steps.outcome, DNS_REFUSED);
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_http},
        {"a.example", DNS_A, DNS_FOUND, a_private});
    ck_assert_int_eq(steps.outcome, DNS_REFUSED);
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_http},
        {"a.example", DNS_A, DNS_FOUND, a_loopback});
    expect_url(0, "http://127.0.0.1/");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_http},
        {"a.example", DNS_AAAA, DNS_FOUND, aaaa_loopback});
    expect_url(0, "http://[::1]/");
    rules.allow_private = false;
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_http},
        {"a.example", DNS_A, DNS_FOUND, a_loopback});
    ck_assert_int_eq(steps.outcome, DNS_REFUSED);
}
END_TEST

static void a_malformed(struct dns_records *to)
{
    dns_add_bytes(to, "\x7f\0\0", 3);
}

static void naptr_malformed(struct dns_records *to)
{
    dns_add_bytes(to, "\0\1\0\1\1S\4LWNS", 10);
}

static void naptr_neither(struct dns_records *to)
{
    dns_add_bytes(to, "\0\1\0\1\1S\4LWNS\0", 13);
}

static void naptr_to_an_address(struct dns_records *to)
{
    static const char rdata[] = "\0\1\0\1\1U\4LWNS\x16!.*!https://192.0.2.1!";

    dns_add_bytes(to, rdata, sizeof(rdata));
}

static void srv_without_port(struct dns_records *to)
{
    dns_add_srv(to, 0, 0, 0, "a.example");
}

static void srv_nobody(struct dns_records *to)
{
    dns_add_srv(to, 0, 0, 0, "");
}

START_TEST(malformed_records_and_services_that_are_not_there_are_told)
{
    const struct find_rules rules = usual();

    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_malformed});
    ck_assert_int_eq(steps.outcome, DNS_FAILED);
    ck_assert_str_eq(steps.why, "NAPTR of start.example: malformed: it is cut short");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_neither});
    ck_assert_str_eq(steps.why,
        "NAPTR of start.example: malformed: one of expression and replacement is to be there");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_to_an_address});
    ck_assert_str_eq(steps.why,
        "NAPTR of start.example: malformed: its expression is not taken, or the URL in it");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_srv},
        {"_lwns._tcp.example", DNS_SRV, DNS_FOUND, srv_without_port});
    ck_assert_str_eq(
        steps.why, "SRV of _lwns._tcp.example: malformed: its target is no name, or its port is 0");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_http},
        {"a.example", DNS_A, DNS_FOUND, a_malformed});
    ck_assert_int_eq(steps.outcome, DNS_FAILED);
    ck_assert_str_eq(steps.why, "A of a.example: malformed: it has another length");
    WALK(&rules, {START, DNS_NAPTR, DNS_FOUND, naptr_srv},
        {"_lwns._tcp.example", DNS_SRV, DNS_FOUND, srv_nobody});
    ck_assert_int_eq(steps.outcome, DNS_NONE);
    WALK(&rules, {START, DNS_NAPTR, DNS_FAILED, NULL});
    ck_assert_int_eq(steps.outcome, DNS_FAILED);
}
END_TEST

static void srv_weights(struct dns_records *to)
{
    dns_add_srv(to, 5, 60, 1, "a.example");
    dns_add_srv(to, 5, 30, 2, "a.example");
    dns_add_srv(to, 5, 0, 3, "a.example");
    dns_add_srv(to, 5, 10, 4, "a.example");
    dns_add_srv(to, 4, 0, 5, "a.example");
}

#define WALK_WEIGHTS(rules)                                                                        \
    WALK(rules, {START, DNS_NAPTR, DNS_FOUND, naptr_srv},                                          \
        {"_lwns._tcp.example", DNS_SRV, DNS_FOUND, srv_weights},                                   \
        {"a.example", DNS_A, DNS_FOUND, a_public})

/* RFC 2782: priorities first; then a number from 0 to the sum, those of weight 0 first in line. */
START_TEST(weights_are_drawn_with_the_seam)
{
    static const struct {
        uint32_t random;
        unsigned second;
    } cases[] = {{0, 3}, {1, 1}, {60, 1}, {61, 2}, {90, 2}, {91, 4}, {100, 4}};
    struct find_rules rules = usual();
    unsigned n_second[6] = {0};
    uint64_t state = 1;

    for (size_t i = 0; i < N_OF(cases); i++) {
        next_random = cases[i].random;
        WALK_WEIGHTS(&rules);
        ck_assert_uint_eq(steps.targets[0].url.port, 5);
        ck_assert_msg(steps.targets[1].url.port == cases[i].second, "%u: %u", cases[i].random,
            steps.targets[1].url.port);
    }
    rules.random = draw_many;
    rules.random_context = &state;
    for (int i = 0; i < DRAWS; i++) {
        WALK_WEIGHTS(&rules);
        n_second[steps.targets[1].url.port]++;
    }
    ck_assert_uint_eq(n_second[5], 0);
    /* 60, 30, 1 and 10 of 101, each within a fifth of 10; the generator is the same in each run. */
    ck_assert_int_lt(abs((int)n_second[1] - DRAWS * 60 / 101), DRAWS / 50);
    ck_assert_int_lt(abs((int)n_second[2] - DRAWS * 30 / 101), DRAWS / 50);
    ck_assert_int_lt(abs((int)n_second[4] - DRAWS * 10 / 101), DRAWS / 50);
    ck_assert_int_lt(abs((int)n_second[3] - DRAWS * 1 / 101), DRAWS / 50);
}
END_TEST

SUITE_MAIN("api-find-steps", 30, names_are_made_as_ts002_says,
    a_naptr_leads_by_srv_to_addresses_in_order, the_simple_form_takes_the_addresses_of_the_name,
    the_lowest_order_counts_and_preferences_follow, urls_come_from_expressions_and_uri_records,
    a_loop_ends_at_the_limit_of_steps,
    too_many_records_are_refused_and_targets_and_addresses_bounded,
    a_bogus_answer_ends_it_whatever_else_there_is, no_answer_in_time_ends_it_with_what_there_is,
    addresses_that_are_not_public_are_used_where_that_is_allowed, http_goes_to_loopback_only,
    malformed_records_and_services_that_are_not_there_are_told, weights_are_drawn_with_the_seam)
