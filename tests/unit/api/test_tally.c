#include "api/tally.h"
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define N_KEYS 300
#define SECRET 0x9e3779b97f4a7c15u
#define N_STEPS 20000

static struct tally tally;

static void setup(void)
{
    ck_assert_int_eq(tally_init(&tally, N_KEYS, SECRET), 0);
}

static void teardown(void)
{
    tally_done(&tally);
}

START_TEST(a_key_has_its_limit_and_another_key_its_own)
{
    for (int i = 0; i < 3; i++)
        ck_assert(tally_take(&tally, 7, 3));
    ck_assert(!tally_take(&tally, 7, 3));
    ck_assert_uint_eq(tally_count(&tally, 7), 3);
    ck_assert(tally_take(&tally, 8, 3));
    tally_give(&tally, 7);
    ck_assert(tally_take(&tally, 7, 3));
    ck_assert(!tally_take(&tally, 7, 3));
    ck_assert_uint_eq(tally.n_keys, 2);
}
END_TEST

START_TEST(a_limit_of_0_is_none)
{
    for (uint32_t i = 0; i < 5000; i++)
        ck_assert(tally_take(&tally, 1, 0));
    ck_assert_uint_eq(tally_count(&tally, 1), 5000);
}
END_TEST

START_TEST(there_is_room_for_so_many_keys_and_no_more)
{
    for (uint64_t key = 0; key < N_KEYS; key++)
        ck_assert(tally_take(&tally, key << 32, 1));
    ck_assert(!tally_take(&tally, 1, 1));
    ck_assert_uint_eq(tally_count(&tally, 1), 0);
    tally_give(&tally, (uint64_t)(N_KEYS - 1) << 32);
    ck_assert(tally_take(&tally, 1, 1));
    ck_assert_uint_eq(tally.n_keys, N_KEYS);
}
END_TEST

/* Compared with plain counters, over keys that share buckets (there are more of them). */
START_TEST(counts_are_exact_over_many_takes_and_gives)
{
    uint32_t counts[2 * N_KEYS] = {0}, keys = 0, random = 1;

    for (int step = 0; step < N_STEPS; step++) {
        uint64_t key;

        random = random * 1664525 + 1013904223;
        key = (random >> 8) % (2 * N_KEYS);
        if ((random >> 7 & 1) != 0 && counts[key] > 0) {
            tally_give(&tally, key);
            keys -= --counts[key] == 0;
        } else {
            bool fits = counts[key] > 0 ? counts[key] < 4 : keys < N_KEYS;

            ck_assert(tally_take(&tally, key, 4) == fits);
            keys += fits && counts[key]++ == 0;
        }
        ck_assert_uint_eq(tally_count(&tally, key), counts[key]);
        ck_assert_uint_eq(tally.n_keys, keys);
    }
    for (uint64_t key = 0; key < 2 * N_KEYS; key++)
        for (; counts[key] > 0; counts[key]--)
            tally_give(&tally, key);
    ck_assert_uint_eq(tally.n_keys, 0);
}
END_TEST

static uint64_t key_of(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = 1};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = 2};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return tally_key_of_address((const struct sockaddr *)&v4);
    ck_assert_int_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return tally_key_of_address((const struct sockaddr *)&v6);
}

static const struct {
    const char *a, *b;
    bool same;
} addresses[] = {
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"192.0.2.1", "193.0.2.1", false},
    {"192.0.2.1", "::ffff:192.0.2.1", true},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
    {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
    {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
    {"2001:db8:1:2::1", "2002:db8:1:2::1", false},
    {"::1", "127.0.0.1", false},
    {"255.255.255.255", "0.0.0.0", false},
};

START_TEST(an_address_is_an_ipv4_one_or_the_64_of_an_ipv6_one)
{
    ck_assert_msg((key_of(addresses[_i].a) == key_of(addresses[_i].b)) == addresses[_i].same,
        "%s %s", addresses[_i].a, addresses[_i].b);
}
END_TEST

static const struct {
    const char *a, *b;
    bool same;
} networks[] = {
    {"192.0.2.1", "192.0.2.254", true},
    {"192.0.2.1", "192.0.3.1", false},
    {"192.0.2.1", "::ffff:192.0.2.7", true},
    {"2001:db8:1:2::1", "2001:db8:1:2::ff", true},
    {"2001:db8:1:200::1", "2001:db8:1:2ff::1", false},
};

START_TEST(a_network_is_the_24_of_an_ipv4_address_or_a_64)
{
    ck_assert_msg((tally_network_of_key(key_of(networks[_i].a)) ==
                      tally_network_of_key(key_of(networks[_i].b))) == networks[_i].same,
        "%s %s", networks[_i].a, networks[_i].b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tally");
    TCase *tc = tcase_create("tally");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_key_has_its_limit_and_another_key_its_own);
    tcase_add_test(tc, a_limit_of_0_is_none);
    tcase_add_test(tc, there_is_room_for_so_many_keys_and_no_more);
    tcase_add_test(tc, counts_are_exact_over_many_takes_and_gives);
    tcase_add_loop_test(tc, an_address_is_an_ipv4_one_or_the_64_of_an_ipv6_one, 0,
        (int)(sizeof(addresses) / sizeof(addresses[0])));
    tcase_add_loop_test(tc, a_network_is_the_24_of_an_ipv4_address_or_a_64, 0,
        (int)(sizeof(networks) / sizeof(networks[0])));
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
