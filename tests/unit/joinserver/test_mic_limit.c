#include "joinserver/mic_limit.h"
#include "tests/support/suite.h"

#define NOW INT64_C(1000000)

static struct mic_limit limit = {
    .lock = PTHREAD_MUTEX_INITIALIZER}; /* each test is a process of its own */

static struct eui64 device(unsigned number)
{
    return (struct eui64){
        {2, 0, 0, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

static void fail_times(const struct eui64 *dev_eui, int n, int64_t now_ms)
{
    for (int i = 0; i < n; i++)
        mic_limit_failed(&limit, dev_eui, now_ms);
}

START_TEST(sixty_wrong_mics_a_minute_are_all_checked_and_no_more)
{
    struct eui64 one = device(1), other = device(2);

    ck_assert(!mic_limit_is_reached(&limit, &one, NOW));
    fail_times(&one, MIC_FAILURES_MAX - 1, NOW);
    ck_assert(!mic_limit_is_reached(&limit, &one, NOW));
    fail_times(&one, 1, NOW);
    ck_assert(mic_limit_is_reached(&limit, &one, NOW));
    ck_assert(!mic_limit_is_reached(&limit, &other, NOW));
}
END_TEST

START_TEST(another_minute_begins_anew)
{
    struct eui64 one = device(1);

    fail_times(&one, MIC_FAILURES_MAX, NOW);
    ck_assert(mic_limit_is_reached(&limit, &one, NOW + MIC_WINDOW_MS - 1));
    ck_assert(!mic_limit_is_reached(&limit, &one, NOW + MIC_WINDOW_MS));
    fail_times(&one, 1, NOW + MIC_WINDOW_MS);
    ck_assert(!mic_limit_is_reached(&limit, &one, NOW + MIC_WINDOW_MS));
    fail_times(&one, MIC_FAILURES_MAX - 1, NOW + MIC_WINDOW_MS);
    ck_assert(mic_limit_is_reached(&limit, &one, NOW + MIC_WINDOW_MS));
}
END_TEST

START_TEST(a_full_table_keeps_the_device_that_fails_most)
{
    struct eui64 one = device(0);

    fail_times(&one, MIC_FAILURES_MAX, NOW);
    for (unsigned i = 1; i < 20 * MIC_LIMIT_SETS * MIC_LIMIT_WAYS; i++) {
        struct eui64 other = device(i);

        fail_times(&other, 1, NOW);
    }
    ck_assert(mic_limit_is_reached(&limit, &one, NOW));
}
END_TEST

SUITE_MAIN("joinserver mic_limit", 4, sixty_wrong_mics_a_minute_are_all_checked_and_no_more,
    another_minute_begins_anew, a_full_table_keeps_the_device_that_fails_most)
