#include "api/dns_rdata.h"

#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

#define RDATA_MAX 1024
#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static uint8_t rdata[RDATA_MAX];
static size_t rdata_len;

static void put(const void *bytes, size_t len)
{
    ck_assert_uint_le(rdata_len + len, sizeof(rdata));
    memcpy(rdata + rdata_len, bytes, len);
    rdata_len += len;
}

static void put_u16(unsigned v)
{
    put((const uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void put_string(const char *text)
{
    put((const uint8_t[]){(uint8_t)strlen(text)}, 1);
    put(text, strlen(text));
}

/* "a.b" as labels; "" is the root. */
static void put_name(const char *name)
{
    while (*name != '\0') {
        const size_t len = strcspn(name, ".");

        put((const uint8_t[]){(uint8_t)len}, 1);
        put(name, len);
        name += len + (name[len] == '.');
    }
    put("", 1);
}

static enum dns_read naptr(const char *flags, const char *service, const char *regexp,
    const char *target, struct dns_naptr *ret)
{
    memset(ret, 0, sizeof(*ret));
    rdata_len = 0;
    put_u16(100);
    put_u16(50);
    put_string(flags);
    put_string(service);
    put_string(regexp);
    put_name(target);
    return dns_read_naptr(rdata, rdata_len, ret);
}

START_TEST(a_naptr_says_what_follows_by_its_flag)
{
    static const struct {
        const char *flags, *service, *regexp, *target;
        enum dns_read read;
        enum dns_next next;
        bool https;
    } cases[] = {
        {"S", "LWNS", "", "_lwns._tcp.a.example", DNS_READ_OK, DNS_NEXT_SRV, true},
        {"s", "lwn", "", "a.example", DNS_READ_OK, DNS_NEXT_SRV, false},
        {"A", "LWNS", "", "a.example", DNS_READ_OK, DNS_NEXT_ADDRESS, true},
        {"U", "LWNS", "", "a.example", DNS_READ_OK, DNS_NEXT_URI, true},
        {"U", "LWNS", "!.*!https://a.example/!", "", DNS_READ_OK, DNS_NEXT_URL, true},
        {"u", "LWN", "/^.*$/http://a.example/", "", DNS_READ_MALFORMED, 0, false},
        {"u", "LWN", "!^.*$!http://a.example/!", "", DNS_READ_OK, DNS_NEXT_URL, false},
        {"", "LWNS", "", "a.example", DNS_READ_OK, DNS_NEXT_NAPTR, true},
        {"P", "LWNS", "", "a.example", DNS_READ_OK, DNS_NEXT_NAPTR, true},
        {"X", "LWNS", "", "a.example", DNS_READ_OTHER, 0, false},
        {"SA", "LWNS", "", "a.example", DNS_READ_OTHER, 0, false},
        {"S", "SIP+D2U", "", "a.example", DNS_READ_OTHER, 0, false},
        {"S", "LWNSX", "", "a.example", DNS_READ_OTHER, 0, false},
        {"S", "", "", "a.example", DNS_READ_OTHER, 0, false},
        /* A replacement or an expression, one of the two. */
        {"S", "LWNS", "", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWNS", "!.*!https://a.example/!", "a.example", DNS_READ_MALFORMED, 0, false},
        {"S", "LWNS", "!.*!https://a.example/!", "", DNS_READ_MALFORMED, 0, false},
        /* Expressions that do more than give a URL, or give none. */
        {"U", "LWNS", "!(.*)!https://\\1/!", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWNS", "!.*!https://a.example/!i", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWNS", "!.*!https://a.example/", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWNS", "!.*!", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWNS", "!", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWNS", "!.+!https://a.example/!", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWNS", "!.*!ftp://a.example/!", "", DNS_READ_MALFORMED, 0, false},
        /* The service says how, and the URL may not say otherwise. */
        {"U", "LWNS", "!.*!http://a.example/!", "", DNS_READ_MALFORMED, 0, false},
        {"U", "LWN", "!.*!https://a.example/!", "", DNS_READ_MALFORMED, 0, false},
        /* Names that are none. */
        {"S", "LWNS", "", "a b.example", DNS_READ_MALFORMED, 0, false},
        {"S", "LWNS", "", "a\n.example", DNS_READ_MALFORMED, 0, false},
        {"S", "LWNS", "", "a@.example", DNS_READ_MALFORMED, 0, false},
        {"S", "LWNS", "", "192.0.2.1", DNS_READ_MALFORMED, 0, false},
    };
    struct dns_naptr got;

    for (size_t i = 0; i < N_OF(cases); i++) {
        const enum dns_read read =
            naptr(cases[i].flags, cases[i].service, cases[i].regexp, cases[i].target, &got);

        ck_assert_msg(read == cases[i].read, "case %zu: %d", i, (int)read);
        if (read != DNS_READ_OK)
            continue;
        ck_assert_msg(got.next == cases[i].next && got.https == cases[i].https, "case %zu", i);
        ck_assert_uint_eq(got.order, 100);
        ck_assert_uint_eq(got.preference, 50);
        ck_assert_str_eq(got.target, cases[i].target);
        if (got.next == DNS_NEXT_URL)
            ck_assert_str_eq(got.url.host, "a.example");
    }
}
END_TEST

START_TEST(names_are_made_lower_case)
{
    struct dns_naptr got;

    ck_assert_int_eq(naptr("S", "LWNS", "", "_LWNS._TCP.A-b.Example", &got), DNS_READ_OK);
    ck_assert_str_eq(got.target, "_lwns._tcp.a-b.example");
}
END_TEST

START_TEST(every_beginning_of_a_record_is_malformed)
{
    struct dns_naptr got;
    struct dns_srv srv;
    size_t len;

    ck_assert_int_eq(naptr("S", "LWNS", "", "a.example", &got), DNS_READ_OK);
    for (size_t i = 0; i < rdata_len; i++)
        ck_assert_int_eq(dns_read_naptr(rdata, i, &got), DNS_READ_MALFORMED);
    put("x", 1);
    ck_assert_int_eq(dns_read_naptr(rdata, rdata_len, &got), DNS_READ_MALFORMED);

    rdata_len = 0;
    put_u16(1);
    put_u16(2);
    put_u16(443);
    put_name("a.example");
    len = rdata_len;
    ck_assert_int_eq(dns_read_srv(rdata, len, &srv), DNS_READ_OK);
    ck_assert(srv.priority == 1 && srv.weight == 2 && srv.port == 443);
    ck_assert_str_eq(srv.target, "a.example");
    for (size_t i = 0; i < len; i++)
        ck_assert_int_eq(dns_read_srv(rdata, i, &srv), DNS_READ_MALFORMED);
    put("x", 1);
    ck_assert_int_eq(dns_read_srv(rdata, rdata_len, &srv), DNS_READ_MALFORMED);
}
END_TEST

START_TEST(a_srv_without_a_target_or_port_is_told_from_one_with)
{
    struct dns_srv srv;

    rdata_len = 0;
    put("\0\0\0\0\0\0", 6);
    put_name("");
    ck_assert_int_eq(dns_read_srv(rdata, rdata_len, &srv), DNS_READ_OK);
    ck_assert_str_eq(srv.target, "");
    rdata_len = 6;
    put_name("a.example");
    ck_assert_int_eq(dns_read_srv(rdata, rdata_len, &srv), DNS_READ_MALFORMED);
}
END_TEST

/* A pointer of RFC 1035 4.1.4 has no place in RDATA that was taken out of its message, and a name
 * has 255 bytes at most. */
START_TEST(compressed_and_overlong_names_are_malformed)
{
    static const uint8_t pointer[] = {0, 1, 0, 2, 1, 187, 0xC0, 0x0C};
    struct dns_srv srv;

    ck_assert_int_eq(dns_read_srv(pointer, sizeof(pointer), &srv), DNS_READ_MALFORMED);
    for (size_t last = 61; last <= 62; last++) { /* 4 labels: 3 * 64 + 1 + last + 1 = 255, 256 */
        char label[64];

        rdata_len = 0;
        put_u16(1);
        put_u16(2);
        put_u16(443);
        memset(label, 'a', sizeof(label));
        for (int i = 0; i < 4; i++) {
            const uint8_t len = (uint8_t)(i < 3 ? 63 : last);

            put(&len, 1);
            put(label, len);
        }
        put("", 1);
        ck_assert_int_eq(
            dns_read_srv(rdata, rdata_len, &srv), last == 61 ? DNS_READ_OK : DNS_READ_MALFORMED);
    }
    ck_assert_uint_eq(strlen(srv.target), DNS_NAME_MAX);
}
END_TEST

START_TEST(a_url_is_split_and_what_is_none_is_refused)
{
    static const struct {
        const char *text, *host, *path;
        unsigned port;
        bool https;
    } good[] = {
        {"https://a.example", "a.example", "/", 443, true},
        {"HTTPS://A.example/", "a.example", "/", 443, true},
        {"https://a.example:8443/join/x?y=1", "a.example", "/join/x?y=1", 8443, true},
        {"https://a.example?y", "a.example", "/?y", 443, true},
        {"http://a.example", "a.example", "/", 80, false},
        {"http://a.example:1", "a.example", "/", 1, false},
        {"https://a_b.example:65535", "a_b.example", "/", 65535, true},
    };
    static const char *const bad[] = {"", "https:", "https://", "https:///x", "ftp://a.example/",
        "https://a.example:/", "https://a.example:0/", "https://a.example:65536/",
        "https://a.example:08443/", "https://a.example:84x/", "https://u@a.example/",
        "https://u:p@a.example/", "https://a.example/#x", "https://a.example/ x",
        "https://a.example/\nx", "https://192.0.2.1/", "https://[::1]/", "https://a..example/",
        "https://.a.example/", "https://a.example./", "https://127.1/", "https://1/",
        "https://a.example\\@b.example/", "https://a.example/\"x"};
    struct dns_url url;
    char longest[DNS_URL_MAX + 2];

    for (size_t i = 0; i < N_OF(good); i++) {
        ck_assert_msg(dns_read_url(good[i].text, strlen(good[i].text), &url) == DNS_READ_OK, "%s",
            good[i].text);
        ck_assert_str_eq(url.host, good[i].host);
        ck_assert_str_eq(url.path, good[i].path);
        ck_assert_uint_eq(url.port, good[i].port);
        ck_assert_int_eq(url.https, good[i].https);
    }
    for (size_t i = 0; i < N_OF(bad); i++)
        ck_assert_msg(
            dns_read_url(bad[i], strlen(bad[i]), &url) == DNS_READ_MALFORMED, "%s", bad[i]);
    ck_assert_int_eq(dns_read_url("https://a.example\0b", 19, &url), DNS_READ_MALFORMED);
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "https://a?", 10);
    ck_assert_int_eq(dns_read_url(longest, DNS_URL_MAX, &url), DNS_READ_OK);
    ck_assert_int_eq(dns_read_url(longest, DNS_URL_MAX + 1, &url), DNS_READ_MALFORMED);
}
END_TEST

START_TEST(a_uri_holds_a_url)
{
    struct dns_uri uri;

    rdata_len = 0;
    put_u16(3);
    put_u16(4);
    put("https://a.example:8443/x", 24);
    ck_assert_int_eq(dns_read_uri(rdata, rdata_len, &uri), DNS_READ_OK);
    ck_assert(uri.priority == 3 && uri.weight == 4 && uri.url.port == 8443);
    for (size_t i = 0; i < 13; i++)
        ck_assert_int_eq(dns_read_uri(rdata, i, &uri), DNS_READ_MALFORMED);
}
END_TEST

START_TEST(addresses_are_4_or_16_bytes)
{
    static const uint8_t bytes[17] = {127, 0, 0, 1};
    struct dns_address address;
    char text[DNS_ADDRESS_TEXT_MAX];

    for (size_t len = 0; len <= sizeof(bytes); len++)
        ck_assert_int_eq(dns_read_address(bytes, len, &address),
            len == 4 || len == 16 ? DNS_READ_OK : DNS_READ_MALFORMED);
    ck_assert_int_eq(dns_read_address(bytes, 4, &address), DNS_READ_OK);
    ck_assert_str_eq(dns_address_format(&address, text), "127.0.0.1");
    ck_assert(dns_address_is_loopback(&address) && !dns_address_is_public(&address));
    address = (struct dns_address){16, {[15] = 1}};
    ck_assert_str_eq(dns_address_format(&address, text), "::1");
    ck_assert(dns_address_is_loopback(&address) && !dns_address_is_public(&address));
    address = (struct dns_address){4, {8, 8, 8, 8}};
    ck_assert(!dns_address_is_loopback(&address) && dns_address_is_public(&address));
}
END_TEST

START_TEST(each_outcome_and_type_has_a_name_of_its_own)
{
    for (int i = 0; i < DNS_N_OUTCOMES; i++)
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(
                dns_outcome_name((enum dns_outcome)i), dns_outcome_name((enum dns_outcome)j));
    ck_assert_str_eq(dns_type_name(DNS_NAPTR), "NAPTR");
    ck_assert_str_eq(dns_type_name((enum dns_type)999), "?");
}
END_TEST

SUITE_MAIN("api-dns-rdata", 10, a_naptr_says_what_follows_by_its_flag, names_are_made_lower_case,
    every_beginning_of_a_record_is_malformed, a_srv_without_a_target_or_port_is_told_from_one_with,
    compressed_and_overlong_names_are_malformed, a_url_is_split_and_what_is_none_is_refused,
    a_uri_holds_a_url, addresses_are_4_or_16_bytes, each_outcome_and_type_has_a_name_of_its_own)
