#include "joinserver/loop_limit.h"
#include "tests/support/suite.h"

#define NOW INT64_C(1000000)
#define BURST 3
#define INTERVAL_S 10
#define INTERVAL_MS (INTERVAL_S * 1000)
#define PEER 7
#define OTHER_PEER 8

static struct loop_limit limit; /* each test is a process of its own */

static struct eui64 device(unsigned number)
{
    return (struct eui64){
        {2, 0, 0, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

/* Of the request with this number. */
static bool is_reached(unsigned number, int64_t peer_id, uint8_t request, int64_t now_ms)
{
    struct eui64 dev_eui = device(number);
    uint8_t fingerprint[JOIN_FINGERPRINT_LEN] = {request};

    return loop_limit_is_reached(&limit, &dev_eui, peer_id, fingerprint, now_ms);
}

static void join(unsigned number, uint8_t request, int64_t now_ms)
{
    struct eui64 dev_eui = device(number);
    uint8_t fingerprint[JOIN_FINGERPRINT_LEN] = {request};

    loop_limit_joined(&limit, &dev_eui, PEER, fingerprint, now_ms);
}

START_TEST(a_burst_is_free_and_then_one_join_an_interval)
{
    loop_limit_init(&limit, BURST, INTERVAL_S);
    for (uint8_t i = 1; i <= BURST; i++) {
        ck_assert(!is_reached(1, PEER, i, NOW));
        join(1, i, NOW);
    }
    ck_assert(is_reached(1, PEER, 100, NOW));
    ck_assert(!is_reached(2, PEER, 100, NOW));
    ck_assert(is_reached(1, PEER, 100, NOW + INTERVAL_MS - 1));
    ck_assert(!is_reached(1, PEER, 100, NOW + INTERVAL_MS));
    join(1, 100, NOW + INTERVAL_MS);
    ck_assert(is_reached(1, PEER, 101, NOW + INTERVAL_MS));
    ck_assert(!is_reached(1, PEER, 101, NOW + 2 * INTERVAL_MS));
}
END_TEST

START_TEST(who_rests_has_the_whole_burst_again)
{
    const int64_t later = NOW + (BURST + 5) * INTERVAL_MS;

    loop_limit_init(&limit, BURST, INTERVAL_S);
    for (uint8_t i = 1; i <= BURST; i++)
        join(1, i, NOW);
    for (uint8_t i = 1; i <= BURST; i++) {
        ck_assert(!is_reached(1, PEER, 100, later));
        join(1, i, later);
    }
    ck_assert(is_reached(1, PEER, 100, later));
}
END_TEST

START_TEST(the_join_that_was_accepted_last_may_be_asked_for_again)
{
    loop_limit_init(&limit, BURST, INTERVAL_S);
    for (uint8_t i = 1; i <= BURST; i++)
        join(1, i, NOW);
    ck_assert(!is_reached(1, PEER, BURST, NOW));
    ck_assert(is_reached(1, PEER, 1, NOW));
}
END_TEST

START_TEST(another_peer_is_told_nothing)
{
    loop_limit_init(&limit, BURST, INTERVAL_S);
    for (uint8_t i = 1; i <= BURST; i++)
        join(1, i, NOW);
    ck_assert(is_reached(1, PEER, 100, NOW));
    ck_assert(!is_reached(1, OTHER_PEER, 100, NOW));
}
END_TEST

START_TEST(a_full_table_keeps_the_device_that_loops)
{
    loop_limit_init(&limit, BURST, INTERVAL_S);
    for (uint8_t i = 1; i <= BURST; i++)
        join(0, i, NOW);
    for (unsigned i = 1; i < 20 * LOOP_LIMIT_SETS * LOOP_LIMIT_WAYS; i++)
        join(i, 1, NOW);
    ck_assert(is_reached(0, PEER, 100, NOW));
}
END_TEST

START_TEST(a_burst_of_0_is_no_limit)
{
    loop_limit_init(&limit, 0, INTERVAL_S);
    for (uint8_t i = 1; i <= 100; i++)
        join(1, i, NOW);
    ck_assert(!is_reached(1, PEER, 200, NOW));
}
END_TEST

SUITE_MAIN("joinserver loop_limit", 10, a_burst_is_free_and_then_one_join_an_interval,
    who_rests_has_the_whole_burst_again, the_join_that_was_accepted_last_may_be_asked_for_again,
    another_peer_is_told_nothing, a_full_table_keeps_the_device_that_loops,
    a_burst_of_0_is_no_limit)
