#include "joinserver/queue.h"
#include "tests/support/suite.h"

#include <pthread.h>

#define N_WORK 200

static struct join_work *put(struct join_queues *q, uint8_t device, int64_t deadline_ms)
{
    static int64_t peer; /* another each time: no share is met by accident */
    struct join_work *w = join_work_take(q, peer++);

    ck_assert_ptr_nonnull(w);
    w->request.dev_eui = (struct eui64){{0, 0, 0, 0, 0, 0, 0, device}};
    w->deadline_ms = deadline_ms;
    ck_assert(join_queue_put(q, w));
    return w;
}

START_TEST(a_device_is_at_most_once_in_a_batch_and_keeps_its_order)
{
    struct join_queues *q;
    struct join_work *batch[64], *first, *second;

    ck_assert_int_eq(join_queues_new(1, N_WORK, &q), 0);
    first = put(q, 1, 0);
    second = put(q, 1, 0);
    put(q, 2, 0);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 64), 2);
    ck_assert_ptr_eq(batch[0], first);
    ck_assert_uint_eq(batch[1]->request.dev_eui.bytes[7], 2);
    ck_assert_uint_eq(join_queues_waiting(q), 1);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 64), 1);
    ck_assert_ptr_eq(batch[0], second);
    join_queues_free(q);
}
END_TEST

START_TEST(a_batch_is_bounded_and_the_rest_waits)
{
    struct join_queues *q;
    struct join_work *batch[64];

    ck_assert_int_eq(join_queues_new(1, N_WORK, &q), 0);
    for (uint8_t i = 0; i < 100; i++)
        put(q, i, 0);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 64), 64);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 64), 36);
    join_queues_free(q);
}
END_TEST

START_TEST(a_device_always_goes_to_the_same_queue)
{
    struct join_queues *q;
    struct join_work *batch[64];
    size_t n = 0;

    ck_assert_int_eq(join_queues_new(3, N_WORK, &q), 0);
    for (int i = 0; i < 10; i++)
        put(q, 77, 0);
    join_queues_close(q);
    for (unsigned index = 0; index < 3; index++)
        while (join_queue_take(q, index, batch, 64) > 0)
            n += 1 + (index << 8);
    ck_assert_uint_eq(n & 0xFF, 10);
    ck_assert_uint_eq((n >> 8) % 10, 0); /* all ten of one index */
    join_queues_free(q);
}
END_TEST

START_TEST(the_pool_bounds_what_waits)
{
    struct join_queues *q;

    ck_assert_int_eq(join_queues_new(2, 3, &q), 0);
    for (uint8_t i = 0; i < 3; i++)
        put(q, i, 0);
    ck_assert_ptr_null(join_work_take(q, 9));
    join_queues_free(q);
}
END_TEST

START_TEST(one_peer_leaves_a_quarter_of_the_pool_to_the_others)
{
    struct join_queues *q;
    struct join_work *work[6];

    ck_assert_int_eq(join_queues_new(1, 8, &q), 0);
    for (int i = 0; i < 6; i++)
        ck_assert_ptr_nonnull(work[i] = join_work_take(q, 7));
    ck_assert_ptr_null(join_work_take(q, 7));
    ck_assert_ptr_nonnull(join_work_take(q, 8));
    join_work_give(q, work[0]);
    ck_assert_ptr_nonnull(join_work_take(q, 7));
    join_queues_free(q);
}
END_TEST

START_TEST(a_closed_queue_takes_nothing_more)
{
    struct join_queues *q;
    struct join_work *late;

    ck_assert_int_eq(join_queues_new(1, 8, &q), 0);
    late = join_work_take(q, 1);
    join_queues_close(q);
    ck_assert(!join_queue_put(q, late));
    ck_assert_uint_eq(join_queues_waiting(q), 0);
    join_queues_free(q);
}
END_TEST

START_TEST(expired_work_is_taken_from_the_middle_and_the_end)
{
    struct join_queues *q;
    struct join_work *batch[64], *expired;

    ck_assert_int_eq(join_queues_new(1, N_WORK, &q), 0);
    put(q, 1, 100);
    put(q, 2, 10);
    put(q, 3, 100);
    put(q, 4, 10);
    expired = join_queue_take_expired(q, 10);
    ck_assert_ptr_nonnull(expired);
    ck_assert_ptr_nonnull(expired->next);
    ck_assert_ptr_null(expired->next->next);
    put(q, 5, 100); /* the end of the queue is still the end */
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 64), 3);
    ck_assert_uint_eq(batch[0]->request.dev_eui.bytes[7], 1);
    ck_assert_uint_eq(batch[1]->request.dev_eui.bytes[7], 3);
    ck_assert_uint_eq(batch[2]->request.dev_eui.bytes[7], 5);
    join_queues_free(q);
}
END_TEST

START_TEST(work_that_lost_a_race_goes_first)
{
    struct join_queues *q;
    struct join_work *batch[1], *loser;

    ck_assert_int_eq(join_queues_new(1, N_WORK, &q), 0);
    loser = put(q, 1, 0);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 1), 1);
    put(q, 2, 0);
    join_queue_put_back(q, 0, loser);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 1), 1);
    ck_assert_ptr_eq(batch[0], loser);
    join_queue_put_back(q, 0, loser);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 1), 1);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 1), 1);
    join_queue_put_back(q, 0, batch[0]); /* into an empty queue */
    put(q, 3, 0);
    ck_assert_uint_eq(join_queues_waiting(q), 2);
    join_queues_free(q);
}
END_TEST

static void *close_soon(void *arg)
{
    join_queues_close(arg);
    return NULL;
}

START_TEST(closing_wakes_a_waiting_worker)
{
    struct join_queues *q;
    struct join_work *batch[1];
    pthread_t thread;

    ck_assert_int_eq(join_queues_new(1, N_WORK, &q), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, close_soon, q), 0);
    ck_assert_uint_eq(join_queue_take(q, 0, batch, 1), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    join_queues_free(q);
}
END_TEST

SUITE_MAIN("joinserver queue", 10, a_device_is_at_most_once_in_a_batch_and_keeps_its_order,
    a_batch_is_bounded_and_the_rest_waits, a_device_always_goes_to_the_same_queue,
    the_pool_bounds_what_waits, one_peer_leaves_a_quarter_of_the_pool_to_the_others,
    a_closed_queue_takes_nothing_more, expired_work_is_taken_from_the_middle_and_the_end,
    work_that_lost_a_race_goes_first, closing_wakes_a_waiting_worker)
