/* Random DevNonces: a list in the hot row, and pages for what leaves it. */
#include "tests/integration/db_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define N_STEPS 2500
#define N_DEVICES 2
#define N_JOIN_EUIS 2
#define N_EPOCHS 4
#define N_NONCES 65536
#define N_RECENT 32 /* DevNonces of a list */

static struct db *join;

static void setup(void)
{
    join = open_as("cradle_join");
}

static void teardown(void)
{
    db_close(join);
    join = NULL;
}

static bool commit_one(const struct db_join_commit *c)
{
    bool won = false;

    ck_ok(db_join_commit(join, c, 1, &won));
    return won;
}

/** Joins with DevNonces from `first` on, none of which was used before. */
static void join_with(uint32_t device, uint16_t first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct db_join_row row = load_one(join, device, (uint16_t)(first + i));
        struct db_join_commit c = commit_of(&row, (uint16_t)(first + i), false);

        ck_assert(!row.dev_nonce_used);
        ck_assert(commit_one(&c));
    }
}

static int64_t n_pages(void)
{
    return pg_number(cluster, database, "SELECT count(*) FROM dev_nonce_page");
}

START_TEST(a_device_that_has_drawn_few_has_no_page)
{
    make_devices(1, 1, LW_MAC_1_0_3);
    join_with(1, 0, N_RECENT);
    ck_assert_int_eq(n_pages(), 0);
    ck_assert_int_eq(n_dev_nonces(), N_RECENT);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT has_pages::int FROM device_join"), 0);
    join_with(1, N_RECENT, 1);
    ck_assert_int_eq(n_pages(), 1);
    ck_assert_int_eq(n_dev_nonces(), N_RECENT + 1);
    for (uint16_t nonce = 0; nonce <= N_RECENT; nonce++)
        ck_assert(load_one(join, 1, nonce).dev_nonce_used);
    ck_assert(!load_one(join, 1, N_RECENT + 1).dev_nonce_used);
}
END_TEST

START_TEST(every_page_boundary_is_remembered_and_its_neighbours_are_free)
{
    static const uint16_t nonces[] = {0, 2047, 2048, 4095, 4096, 63487, 63488, 65535};
    static const uint16_t free_nonces[] = {1, 2046, 2049, 4094, 4097, 63486, 63489, 65534};

    make_devices(1, 2, LW_MAC_1_0_3);
    for (size_t i = 0; i < sizeof(nonces) / sizeof(*nonces); i++)
        join_with(1, nonces[i], 1);
    for (int in_pages = 0; in_pages <= 1; in_pages++) {
        for (size_t i = 0; i < sizeof(nonces) / sizeof(*nonces); i++) {
            ck_assert(load_one(join, 1, nonces[i]).dev_nonce_used);
            ck_assert(!load_one(join, 1, free_nonces[i]).dev_nonce_used);
            ck_assert(!load_one(join, 2, nonces[i]).dev_nonce_used);
        }
        if (!in_pages)
            join_with(1, 5000, N_RECENT);
    }
    ck_assert_int_eq(n_pages(), 5);
    ck_assert_int_eq(n_dev_nonces(), 8 + N_RECENT);
    ck_assert_int_eq(load_one(join, 1, 7).state.last_dev_nonce, DEVICE_NO_NONCE);
}
END_TEST

START_TEST(dev_nonce_of_another_join_eui_is_free)
{
    make_devices(1, 1, LW_MAC_1_0_3);
    join_with(1, 77, 1);
    pg_sql(cluster, database, "UPDATE device SET join_eui = '\\x0000000000000002'");
    join_with(1, 77, 1);
    pg_sql(cluster, database, "UPDATE device SET join_eui = '\\x70b3d5ff00000001'");
    ck_assert(load_one(join, 1, 77).dev_nonce_used);
    ck_assert(!load_one(join, 1, 78).dev_nonce_used);
}
END_TEST

START_TEST(a_loser_leaves_the_memory_alone)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_3);
    join_with(1, 0, N_RECENT);
    row = load_one(join, 1, 500);
    c = commit_of(&row, 500, false);
    c.old_join_nonce--;
    ck_assert(!commit_one(&c));
    ck_assert(!load_one(join, 1, 500).dev_nonce_used);
    ck_assert_int_eq(n_dev_nonces(), N_RECENT);
    ck_assert_int_eq(n_pages(), 0);
}
END_TEST

START_TEST(what_counts_neither_reads_nor_writes_a_list)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_3);
    join_with(1, 9, 1);
    pg_sql(cluster, database, "UPDATE device SET mac_version = '1.0.4'");
    row = load_one(join, 1, 10);
    c = commit_of(&row, 10, true);
    ck_assert(commit_one(&c));
    ck_assert_int_eq(n_dev_nonces(), 1);
    pg_sql(cluster, database, "UPDATE device SET mac_version = '1.0.3'");
    ck_assert(load_one(join, 1, 9).dev_nonce_used);
    ck_assert(!load_one(join, 1, 10).dev_nonce_used);
}
END_TEST

START_TEST(a_list_goes_to_no_page_unseen)
{
    make_devices(1, 1, LW_MAC_1_0_3);
    join_with(1, 9, 1);
    ck_assert_int_lt(pg_sql(cluster, database, "UPDATE device_join SET recent_nonces = ''"), 0);
    ck_assert(load_one(join, 1, 9).dev_nonce_used);
    ck_assert_int_eq(
        pg_sql(cluster, database, "UPDATE device_join SET recent_nonces = '', has_pages = true"),
        0);
    ck_assert(load_one(join, 1, 9).dev_nonce_used);
}
END_TEST

/* A naive memory: one byte for each DevNonce of each device, JoinEUI and epoch. */
struct model {
    uint8_t used[N_DEVICES][N_JOIN_EUIS][N_EPOCHS][N_NONCES];
    unsigned join_eui[N_DEVICES], epoch[N_DEVICES];
    int64_t n;
};

static void change_device(struct model *m, unsigned device, bool reset)
{
    char sql[160];

    if (reset && m->epoch[device] == N_EPOCHS - 1)
        return;
    if (reset)
        m->epoch[device]++;
    else
        m->join_eui[device] = (m->join_eui[device] + 1) % N_JOIN_EUIS;
    (void)snprintf(sql, sizeof(sql),
        "UPDATE device SET nonce_epoch = %u, join_eui = '\\x%016x' WHERE dev_eui = (SELECT dev_eui"
        " FROM device ORDER BY dev_eui OFFSET %u LIMIT 1)",
        m->epoch[device], m->join_eui[device] + 1, device);
    ck_assert_int_eq(pg_sql(cluster, database, sql), 0);
}

/* Of few DevNonces in turn with all of them: so some come again soon, and others late. */
static uint16_t draw(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return (uint16_t)(*random >> 30 == 0 ? *random >> 8 : (*random >> 16) % 200);
}

START_TEST(the_memory_is_that_of_a_naive_one)
{
    struct model *m = calloc(1, sizeof(*m));
    uint32_t random = 1;
    unsigned n_seen = 0;

    ck_assert_ptr_nonnull(m);
    make_devices(0, N_DEVICES, LW_MAC_1_0_3);
    for (unsigned device = 0; device < N_DEVICES; device++)
        change_device(m, device, false);
    for (unsigned step = 0; step < N_STEPS; step++) {
        uint16_t nonce = draw(&random);
        unsigned device = random % 7 < 5;
        uint8_t *used = &m->used[device][m->join_eui[device]][m->epoch[device]][nonce];
        struct db_join_row row = load_one(join, device, nonce);
        struct db_join_commit c = commit_of(&row, nonce, false);

        ck_assert_msg(row.dev_nonce_used == *used, "step %u: DevNonce %u of device %u is %sused",
            step, nonce, device, *used ? "" : "not ");
        n_seen += *used;
        if (!*used) {
            bool stale = step % 11 == 0;

            c.old_join_nonce += stale;
            ck_assert(commit_one(&c) == !stale);
            *used = !stale;
            m->n += !stale;
        }
        if (step % 90 == 89)
            change_device(m, device, step % 540 == 539);
    }
    ck_assert_uint_gt(n_seen, 100);
    ck_assert_int_gt(n_pages(), 0);
    ck_assert_int_eq(n_dev_nonces(), m->n);
    free(m);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_device_that_has_drawn_few_has_no_page);
    tcase_add_test(tcase, every_page_boundary_is_remembered_and_its_neighbours_are_free);
    tcase_add_test(tcase, dev_nonce_of_another_join_eui_is_free);
    tcase_add_test(tcase, a_loser_leaves_the_memory_alone);
    tcase_add_test(tcase, what_counts_neither_reads_nor_writes_a_list);
    tcase_add_test(tcase, a_list_goes_to_no_page_unseen);
    tcase_add_test(tcase, the_memory_is_that_of_a_naive_one);
}

int main(void)
{
    return run_suite("db_nonces", add);
}
