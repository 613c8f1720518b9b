#include "api/reach.h"

#include "api/client.h"
#include "base/error.h"
#include "tests/support/suite.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define HOST_MAX 80

/* The first and the last of each range, and the public ones next to them. */
static const struct {
    const char *text;
    bool is_public;
} cases[] = {
    {"0.0.0.0", false},
    {"0.255.255.255", false},
    {"1.0.0.0", true},
    {"9.255.255.255", true},
    {"10.0.0.0", false},
    {"10.255.255.255", false},
    {"11.0.0.0", true},
    {"100.63.255.255", true},
    {"100.64.0.0", false},
    {"100.127.255.255", false},
    {"100.128.0.0", true},
    {"126.255.255.255", true},
    {"127.0.0.1", false},
    {"127.255.255.255", false},
    {"128.0.0.0", true},
    {"169.253.255.255", true},
    {"169.254.169.254", false},
    {"169.255.0.0", true},
    {"172.15.255.255", true},
    {"172.16.0.0", false},
    {"172.31.255.255", false},
    {"172.32.0.0", true},
    {"191.255.255.255", true},
    {"192.0.0.1", false},
    {"192.0.1.0", true},
    {"192.0.2.255", false},
    {"192.0.3.0", true},
    {"192.88.99.1", false},
    {"192.167.255.255", true},
    {"192.168.0.0", false},
    {"192.168.255.255", false},
    {"192.169.0.0", true},
    {"198.17.255.255", true},
    {"198.18.0.0", false},
    {"198.19.255.255", false},
    {"198.20.0.0", true},
    {"198.51.100.1", false},
    {"203.0.113.1", false},
    {"203.0.114.0", true},
    {"223.255.255.255", true},
    {"224.0.0.0", false},
    {"239.255.255.255", false},
    {"240.0.0.0", false},
    {"255.255.255.255", false},
    {"::", false},
    {"::1", false},
    {"::2", false},
    {"::8.8.8.8", false},
    {"::ffff:127.0.0.1", false},
    {"::ffff:10.1.2.3", false},
    {"::ffff:8.8.8.8", true},
    {"64:ff9b::7f00:1", false},
    {"64:ff9b::a9fe:a9fe", false},
    {"64:ff9b::808:808", true},
    {"64:ff9b:1::808:808", false},
    {"100::1", false},
    {"1fff:ffff::1", false},
    {"2001::1", false},
    {"2001:1ff:ffff::1", false},
    {"2001:200::1", true},
    {"2001:db7:ffff::1", true},
    {"2001:db8::1", false},
    {"2001:db9::1", true},
    {"2002:7f00:1::1", false},
    {"2002:c0a8:101::1", false},
    {"2002:808:808::1", true},
    {"2606:4700::1111", true},
    {"3ffe::1", true},
    {"3fff::1", false},
    {"3fff:1000::1", true},
    {"4000::1", false},
    {"fbff::1", false},
    {"fc00::1", false},
    {"fdff::1", false},
    {"fe80::1", false},
    {"fec0::1", false},
    {"ff02::1", false},
};

START_TEST(only_addresses_that_anybody_may_have_are_public)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sockaddr_storage address = {0};
        struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
        bool is_v4 = inet_pton(AF_INET, cases[i].text, &v4->sin_addr) == 1;
        char host[HOST_MAX];

        address.ss_family = is_v4 ? AF_INET : AF_INET6;
        if (!is_v4)
            ck_assert_int_eq(inet_pton(AF_INET6, cases[i].text, &v6->sin6_addr), 1);
        ck_assert_msg(api_address_is_public((struct sockaddr *)&address) == cases[i].is_public,
            "%s", cases[i].text);
        (void)snprintf(host, sizeof(host), is_v4 ? "%s" : "[%s]", cases[i].text);
        ck_assert_msg(api_host_may_be_public(host) == cases[i].is_public, "%s", host);
        (void)snprintf(
            host, sizeof(host), is_v4 ? "https://%s:8443/x" : "https://[%s]:8443/x", cases[i].text);
        ck_assert_msg((api_client_check_public_url(host) == 0) == cases[i].is_public, "%s", host);
    }
}
END_TEST

START_TEST(other_families_are_not_public)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};

    ck_assert(!api_address_is_public((struct sockaddr *)&local));
}
END_TEST

START_TEST(no_spelling_of_a_private_address_is_taken)
{
    static const char *const bad[] = {"https://127.1/", "https://0x7f000001/",
        "https://2130706433/", "https://0177.0.0.1/", "https://[::ffff:7f00:1]/",
        "https://[fe80::1%25lo]/", "https://%31%32%37.0.0.1/", "http://8.8.8.8/",
        "http://127.0.0.1/", "http://ns.example/", "https://u:p@ns.example/", "ftp://8.8.8.8/"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(api_client_check_public_url(bad[i]) == ERROR_INPUT, "%s is taken", bad[i]);
    ck_assert_int_eq(api_client_check_public_url("https://ns.example/hook?key=1"), 0);
}
END_TEST

SUITE_MAIN("api-reach", 10, only_addresses_that_anybody_may_have_are_public,
    other_families_are_not_public, no_spelling_of_a_private_address_is_taken)
