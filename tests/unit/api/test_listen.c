#include "api/listen.h"
#include "base/error.h"
#include "tests/support/suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

typedef bool (*question)(const struct api_networks *networks, const struct sockaddr *address);

static bool ask(question q, const char *networks, const char *address)
{
    struct api_networks parsed;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    ck_assert_msg(api_networks_parse(networks, &parsed) == 0, "%s", error_text());
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return q(&parsed, (const struct sockaddr *)&v4);
    ck_assert_int_eq(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return q(&parsed, (const struct sockaddr *)&v6);
}

static bool has(const char *networks, const char *address)
{
    return ask(api_networks_have, networks, address);
}

static bool admits(const char *networks, const char *address)
{
    return ask(api_networks_admit, networks, address);
}

START_TEST(a_listener_with_proxies_takes_them_and_its_own_host_only)
{
    ck_assert(admits("10.0.0.0/8", "10.0.0.1"));
    ck_assert(!admits("10.0.0.0/8", "192.0.2.1"));
    ck_assert(admits("10.0.0.0/8", "127.0.0.5"));
    ck_assert(admits("10.0.0.0/8", "::1"));
    ck_assert(!admits("10.0.0.0/8", "::2"));
    ck_assert(admits("", "192.0.2.1")); /* such a listener is bound to loopback, or has TLS */
}
END_TEST

START_TEST(an_address_is_in_a_network_by_its_first_bits)
{
    ck_assert(has("10.0.0.0/8", "10.255.0.1"));
    ck_assert(!has("10.0.0.0/8", "11.0.0.1"));
    ck_assert(has("192.168.4.0/22", "192.168.7.255"));
    ck_assert(!has("192.168.4.0/22", "192.168.8.0"));
    ck_assert(has("192.0.2.7", "192.0.2.7"));
    ck_assert(!has("192.0.2.7", "192.0.2.6"));
    ck_assert(has("fd00::/9", "fd7f::1"));
    ck_assert(!has("fd00::/9", "fd80::1"));
    ck_assert(has("0.0.0.0/0", "203.0.113.9"));
    ck_assert(!has("0.0.0.0/0", "2001:db8::1"));
    ck_assert(has("::/0", "203.0.113.9"));
}
END_TEST

START_TEST(an_ipv4_address_is_the_same_when_it_is_written_as_ipv6)
{
    ck_assert(has("10.0.0.0/8", "::ffff:10.1.2.3"));
    ck_assert(has("::ffff:10.0.0.0/104", "10.1.2.3"));
}
END_TEST

START_TEST(there_may_be_several_and_none)
{
    ck_assert(has("10.0.0.0/8, fd00::/8", "fd01::1"));
    ck_assert(has("10.0.0.0/8,fd00::/8 ", "10.0.0.1"));
    ck_assert(!has("", "10.0.0.1"));
    ck_assert(!has(NULL, "10.0.0.1"));
    ck_assert(!has(" , ", "10.0.0.1"));
}
END_TEST

START_TEST(what_is_no_network_is_named)
{
    static const char *const wrong[] = {"10.0.0.0/33", "10.1.0.0/8", "10.0.0/8", "fd00::/129",
        "fd00::1/64", "10.0.0.0/", "10.0.0.0/8x", "10.0.0.0/-1", "proxy", "/8", "10.0.0.0/8/8",
        "10.0.0.0/ 8", "10.0.0.0/+8", "1111:2222:3333:4444:5555:6666:7777:8888/1280"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct api_networks parsed;

        ck_assert_msg(api_networks_parse(wrong[i], &parsed) == ERROR_CONFIG, "%s", wrong[i]);
        ck_assert_ptr_nonnull(strstr(error_text(), "is not a network"));
    }
}
END_TEST

START_TEST(there_is_a_limit)
{
    CLEANUP(text_done) struct text text = {0};
    struct api_networks parsed;

    for (int i = 0; i < API_NETWORKS_MAX; i++)
        text_add(&text, "10.0.0.0/8,");
    ck_assert_int_eq(api_networks_parse(text.data, &parsed), 0);
    text_add(&text, "10.0.0.0/8");
    ck_assert_int_eq(api_networks_parse(text.data, &parsed), ERROR_CONFIG);
}
END_TEST

SUITE_MAIN("api listen", 4, an_address_is_in_a_network_by_its_first_bits,
    an_ipv4_address_is_the_same_when_it_is_written_as_ipv6, there_may_be_several_and_none,
    a_listener_with_proxies_takes_them_and_its_own_host_only, what_is_no_network_is_named,
    there_is_a_limit)
