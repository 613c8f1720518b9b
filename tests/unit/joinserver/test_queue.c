#include "joinserver/queue.h"

#include "base/clock.h"
#include "tests/support/suite.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define N_WORK 200

static struct join_work *put_of(
    struct join_queue *q, int64_t peer, uint8_t device, int64_t deadline_ms)
{
    struct join_work *w = join_work_take(q, peer);

    ck_assert_ptr_nonnull(w);
    w->request.dev_eui = (struct eui64){{0, 0, 0, 0, 0, 0, 0, device}};
    w->deadline_ms = deadline_ms;
    ck_assert(join_queue_put(q, w));
    return w;
}

static struct join_work *put(struct join_queue *q, uint8_t device, int64_t deadline_ms)
{
    return put_of(q, 1, device, deadline_ms);
}

START_TEST(a_device_is_in_one_hand_at_a_time_and_keeps_its_order)
{
    struct join_queue *q;
    struct join_work *batch[64], *first, *second;

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    first = put(q, 1, 0);
    second = put(q, 1, 0);
    put(q, 2, 0);
    ck_assert_uint_eq(join_queue_take(q, batch, 64), 2);
    ck_assert_ptr_eq(batch[0], first);
    ck_assert_uint_eq(batch[1]->request.dev_eui.bytes[7], 2);
    ck_assert_uint_eq(join_queue_waiting(q), 1);
    put(q, 3, 0); /* another worker gets this, and not the second of a device that is in hand */
    ck_assert_uint_eq(join_queue_take(q, &batch[2], 62), 1);
    ck_assert_uint_eq(batch[2]->request.dev_eui.bytes[7], 3);
    join_work_give(q, batch, 1);
    ck_assert_uint_eq(join_queue_take(q, batch, 64), 1);
    ck_assert_ptr_eq(batch[0], second);
    join_queue_free(q);
}
END_TEST

START_TEST(each_peer_has_its_turn_however_much_another_has_waiting)
{
    static const int64_t turns[] = {1, 2, 3, 1, 2};
    struct join_queue *q;
    struct join_work *batch[64];

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    for (uint8_t i = 0; i < 100; i++)
        put_of(q, 1, i, 0);
    put_of(q, 2, 200, 0);
    put_of(q, 2, 201, 0);
    put_of(q, 3, 202, 0);
    ck_assert_uint_eq(join_queue_take(q, batch, 5), 5);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(batch[i]->peer_id, turns[i]);
    ck_assert_uint_eq(join_queue_take(q, batch, 64), 64);
    ck_assert_uint_eq(join_queue_take(q, batch, 64), 34);
    join_queue_free(q);
}
END_TEST

START_TEST(turns_go_on_from_batch_to_batch)
{
    struct join_queue *q;
    struct join_work *batch[1];

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    for (uint8_t i = 0; i < 10; i++) {
        put_of(q, 1, i, 0);
        put_of(q, 2, (uint8_t)(100 + i), 0);
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_uint_eq(join_queue_take(q, batch, 1), 1);
        ck_assert_int_eq(batch[0]->peer_id, 1 + i % 2);
    }
    join_queue_free(q);
}
END_TEST

START_TEST(a_batch_is_bounded_and_the_rest_waits)
{
    struct join_queue *q;
    struct join_work *batch[64];

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    for (uint8_t i = 0; i < 100; i++)
        put(q, i, 0);
    ck_assert_uint_eq(join_queue_take(q, batch, 64), 64);
    ck_assert_uint_eq(join_queue_take(q, batch, 64), 36);
    join_queue_free(q);
}
END_TEST

START_TEST(the_pool_bounds_what_waits)
{
    struct join_queue *q;

    ck_assert_int_eq(join_queue_new(2, 3, 0, &q), 0);
    for (uint8_t i = 0; i < 3; i++)
        put_of(q, i, i, 0);
    ck_assert_ptr_null(join_work_take(q, 9));
    join_queue_free(q);
}
END_TEST

START_TEST(one_peer_leaves_a_quarter_of_the_pool_to_the_others)
{
    struct join_queue *q;
    struct join_work *work[6];

    ck_assert_int_eq(join_queue_new(1, 8, 0, &q), 0);
    for (int i = 0; i < 6; i++)
        ck_assert_ptr_nonnull(work[i] = join_work_take(q, 7));
    ck_assert(!join_queue_has_place(q, 7));
    ck_assert_ptr_null(join_work_take(q, 7));
    ck_assert(join_queue_has_place(q, 8));
    ck_assert_ptr_nonnull(join_work_take(q, 8));
    join_work_give(q, work, 1);
    ck_assert(join_queue_has_place(q, 7));
    ck_assert_ptr_nonnull(join_work_take(q, 7));
    join_queue_free(q);
}
END_TEST

START_TEST(many_greedy_peers_leave_places_to_one_that_has_none)
{
    struct join_queue *q;
    unsigned n = 0;
    bool any = true;

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    while (any) {
        any = false;
        for (int64_t peer = 1; peer <= 8; peer++)
            if (join_work_take(q, peer) != NULL) {
                any = true;
                n++;
            }
    }
    ck_assert_uint_ge(n, N_WORK * 24 / 25 - 8);
    ck_assert_ptr_nonnull(join_work_take(q, 9));
    join_queue_free(q);
}
END_TEST

#define N_MANY 4000

START_TEST(a_flood_for_a_device_keeps_no_other_peer_from_it)
{
    struct join_queue *q;
    struct join_work *batch[4];
    bool other_had_it = false;
    uint8_t next = 10;

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    put_of(q, 1, 1, 0);
    put_of(q, 1, 1, 0);
    put_of(q, 2, 1, 0);
    put_of(q, 3, next++, 0);
    put_of(q, 3, next++, 0);
    for (int i = 0; i < 4 && !other_had_it; i++) {
        size_t n = join_queue_take(q, batch, 2);

        for (size_t k = 0; k < n; k++)
            other_had_it |= batch[k]->peer_id == 2;
        join_work_give(q, batch, n);
        put_of(q, 1, 1, 0);
        put_of(q, 3, next++, 0);
    }
    ck_assert(other_had_it);
    join_queue_free(q);
}
END_TEST

START_TEST(who_would_wait_too_long_is_refused_and_others_are_not)
{
    struct join_queue *q;
    struct join_work *batch[64], *taken;
    unsigned n = 0;

    /* At no pace that a clock can tell is a thousand requests in a millisecond. */
    ck_assert_int_eq(join_queue_new(1, N_MANY, 1, &q), 0);
    for (int i = 0; i < 100; i++) {
        put_of(q, 1, (uint8_t)i, 0);
        ck_assert_uint_eq(join_queue_take(q, batch, 64), 1);
        ck_assert_int_eq(nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL), 0);
        join_work_give(q, batch, 1);
    }
    while (join_queue_has_place(q, 1)) {
        ck_assert_ptr_nonnull(taken = join_work_take(q, 1));
        taken->request.dev_eui = (struct eui64){{1, 0, 0, 0, 0, 0, (uint8_t)(n >> 8), (uint8_t)n}};
        ck_assert(join_queue_put(q, taken));
        n++;
    }
    ck_assert_uint_lt(n, N_MANY / 2);
    ck_assert_ptr_null(join_work_take(q, 1));
    ck_assert(join_queue_has_place(q, 2));
    ck_assert_ptr_nonnull(join_work_take(q, 2));
    join_queue_free(q);
}
END_TEST

START_TEST(a_closed_queue_takes_nothing_more)
{
    struct join_queue *q;
    struct join_work *late;

    ck_assert_int_eq(join_queue_new(1, 8, 0, &q), 0);
    late = join_work_take(q, 1);
    join_queue_close(q);
    ck_assert(!join_queue_put(q, late));
    ck_assert_uint_eq(join_queue_waiting(q), 0);
    join_queue_free(q);
}
END_TEST

START_TEST(expired_work_is_taken_from_the_middle_and_the_end)
{
    struct join_queue *q;
    struct join_work *batch[64], *expired;

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    put(q, 1, 100);
    put(q, 2, 10);
    put(q, 3, 100);
    put(q, 4, 10);
    expired = join_queue_sweep(q, 10);
    ck_assert_ptr_nonnull(expired);
    ck_assert_ptr_nonnull(expired->next);
    ck_assert_ptr_null(expired->next->next);
    put(q, 5, 100); /* the end of the queue is still the end */
    ck_assert_uint_eq(join_queue_take(q, batch, 64), 3);
    ck_assert_uint_eq(batch[0]->request.dev_eui.bytes[7], 1);
    ck_assert_uint_eq(batch[1]->request.dev_eui.bytes[7], 3);
    ck_assert_uint_eq(batch[2]->request.dev_eui.bytes[7], 5);
    join_queue_free(q);
}
END_TEST

START_TEST(work_that_lost_a_race_goes_first)
{
    struct join_queue *q;
    struct join_work *batch[1], *loser;

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    loser = put(q, 1, 0);
    ck_assert_uint_eq(join_queue_take(q, batch, 1), 1);
    put(q, 2, 0);
    join_queue_put_back(q, loser);
    ck_assert_uint_eq(join_queue_take(q, batch, 1), 1);
    ck_assert_ptr_eq(batch[0], loser);
    join_queue_put_back(q, loser);
    ck_assert_uint_eq(join_queue_take(q, batch, 1), 1);
    ck_assert_uint_eq(join_queue_take(q, batch, 1), 1);
    join_queue_put_back(q, batch[0]); /* into an empty queue */
    put(q, 3, 0);
    ck_assert_uint_eq(join_queue_waiting(q), 2);
    join_queue_free(q);
}
END_TEST

struct taking {
    struct join_queue *q;
    size_t n;
};

/* A worker that takes all there is, one by one, until the queue is closed. */
static void *take_all(void *arg)
{
    struct taking *taking = arg;
    struct join_work *batch[1];

    while (join_queue_take(taking->q, batch, 1) > 0) {
        join_work_give(taking->q, batch, 1);
        taking->n++;
    }
    return NULL;
}

START_TEST(what_is_put_is_taken_whoever_sleeps)
{
    struct taking taking[3];
    pthread_t threads[3];
    struct join_queue *q;
    size_t n = 0;

    ck_assert_int_eq(join_queue_new(3, N_WORK, 0, &q), 0);
    for (int i = 0; i < 3; i++) {
        taking[i] = (struct taking){.q = q};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_all, &taking[i]), 0);
    }
    for (unsigned i = 0; i < 20000; i++) {
        struct join_work *w;

        while ((w = join_work_take(q, 1)) == NULL)
            sched_yield();
        w->request.dev_eui = (struct eui64){{0, 0, 0, 0, 0, 0, 0, (uint8_t)(i % 5)}};
        ck_assert(join_queue_put(q, w));
    }
    while (join_queue_waiting(q) > 0)
        sched_yield();
    join_queue_close(q);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        n += taking[i].n;
    }
    ck_assert_uint_eq(n, 20000);
    join_queue_free(q);
}
END_TEST

/* Without the sweeper: a worker that sleeps with less than a quarter of a batch waiting is woken
 * by what comes on top of it, long before half a batch waits. */
START_TEST(a_quarter_of_a_batch_is_worth_another_worker)
{
    struct taking taking = {0};
    struct join_work *held[1];
    struct join_queue *q;
    pthread_t thread;

    ck_assert_int_eq(join_queue_new(2, N_WORK, 0, &q), 0);
    taking.q = q;
    put(q, 0, 0);
    ck_assert_uint_eq(join_queue_take(q, held, 1), 1);
    put(q, 1, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_all, &taking), 0);
    while (join_queue_waiting(q) > 0)
        sched_yield();
    for (uint8_t i = 1; i < 32; i++)
        put(q, i, 0);
    while (join_queue_waiting(q) >= 16)
        sched_yield();
    join_queue_close(q);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(taking.n, 32);
    join_queue_free(q);
}
END_TEST

START_TEST(work_behind_a_stuck_worker_is_taken_by_another)
{
    struct taking taking = {0};
    struct join_work *stuck[1];
    struct join_queue *q;
    pthread_t thread;

    ck_assert_int_eq(join_queue_new(2, N_WORK, 0, &q), 0);
    taking.q = q;
    put(q, 1, INT64_MAX);
    ck_assert_uint_eq(join_queue_take(q, stuck, 1), 1); /* and it never comes back */
    put(q, 2, INT64_MAX);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_all, &taking), 0);
    while (join_queue_waiting(q) > 0)
        sched_yield();
    put(q, 3, INT64_MAX);
    while (join_queue_waiting(q) > 0) {
        ck_assert_ptr_null(join_queue_sweep(q, clock_monotonic_ms()));
        sched_yield();
    }
    join_queue_close(q);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(taking.n, 2);
    join_queue_free(q);
}
END_TEST

static void *close_soon(void *arg)
{
    join_queue_close(arg);
    return NULL;
}

START_TEST(closing_wakes_a_waiting_worker)
{
    struct join_queue *q;
    struct join_work *batch[1];
    pthread_t thread;

    ck_assert_int_eq(join_queue_new(1, N_WORK, 0, &q), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, close_soon, q), 0);
    ck_assert_uint_eq(join_queue_take(q, batch, 1), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    join_queue_free(q);
}
END_TEST

SUITE_MAIN("joinserver queue", 10, work_behind_a_stuck_worker_is_taken_by_another,
    a_quarter_of_a_batch_is_worth_another_worker, a_flood_for_a_device_keeps_no_other_peer_from_it,
    a_device_is_in_one_hand_at_a_time_and_keeps_its_order,
    each_peer_has_its_turn_however_much_another_has_waiting, turns_go_on_from_batch_to_batch,
    a_batch_is_bounded_and_the_rest_waits, the_pool_bounds_what_waits,
    one_peer_leaves_a_quarter_of_the_pool_to_the_others,
    many_greedy_peers_leave_places_to_one_that_has_none,
    who_would_wait_too_long_is_refused_and_others_are_not, a_closed_queue_takes_nothing_more,
    expired_work_is_taken_from_the_middle_and_the_end, work_that_lost_a_race_goes_first,
    what_is_put_is_taken_whoever_sleeps, closing_wakes_a_waiting_worker)
