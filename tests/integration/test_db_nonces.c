/* Random DevNonces: a list in the hot row, and pages for what leaves it. */
#include "tests/integration/db_fixture.h"

#include "base/error.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define N_STEPS 800
#define N_DEVICES 8
#define N_JOIN_EUIS 2
#define N_EPOCHS 4
#define N_NONCES 65536
#define N_RECENT 32 /* DevNonces of a list */
#define N_SHARED 16 /* devices of both servers */
#define N_ROUNDS 100

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

/* Every DevNonce of a list at its own place of a page, and the first and last bit of one. */
START_TEST(a_list_goes_to_the_pages_that_are_there_and_takes_nothing_from_them)
{
    static const char pages[] = "SELECT count(*) FROM dev_nonce_page WHERE bit_count(bits) = 2 AND"
                                " get_bit(bits, newest) = 1 AND octet_length(bits) = 256";

    make_devices(1, 2, LW_MAC_1_0_3);
    for (uint16_t page = 0; page < N_RECENT; page++)
        join_with(1, (uint16_t)(page * 2048), 1);
    for (uint16_t page = 0; page < N_RECENT; page++)
        join_with(1, (uint16_t)(page * 2048 + 2047), 1);
    ck_assert_int_eq(n_pages(), N_RECENT);
    ck_assert_int_eq(pg_number(cluster, database, pages), 0);
    join_with(1, 1000, 1);
    ck_assert_int_eq(n_pages(), N_RECENT);
    ck_assert_int_eq(pg_number(cluster, database, pages), N_RECENT);
    ck_assert_int_eq(n_dev_nonces(), 2 * N_RECENT + 1);
    for (unsigned i = 0; i < N_RECENT; i++) {
        ck_assert(load_one(join, 1, (uint16_t)(i * 2048)).dev_nonce_used);
        ck_assert(load_one(join, 1, (uint16_t)(i * 2048 + 2047)).dev_nonce_used);
        ck_assert(!load_one(join, 1, (uint16_t)(i * 2048 + 1)).dev_nonce_used);
        ck_assert(!load_one(join, 1, (uint16_t)(i * 2048 + 2046)).dev_nonce_used);
        ck_assert(!load_one(join, 2, (uint16_t)(i * 2048)).dev_nonce_used);
    }
}
END_TEST

/* A naive memory: one byte for each DevNonce of each device, JoinEUI and epoch. */
struct model {
    uint8_t used[N_DEVICES][N_JOIN_EUIS][N_EPOCHS][N_NONCES];
    unsigned join_eui[N_DEVICES], epoch[N_DEVICES];
    int64_t n;
    unsigned n_seen;
};

static uint8_t *used_of(struct model *m, unsigned device, uint16_t nonce)
{
    return &m->used[device][m->join_eui[device]][m->epoch[device]][nonce];
}

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

static uint32_t next_random(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

/* Of few DevNonces in turn with all of them: so some come again soon, and others late. */
static uint16_t draw(uint32_t *random)
{
    uint32_t drawn = next_random(random);

    return (uint16_t)(drawn % 4 == 0 ? drawn >> 4 : (drawn >> 4) % 200);
}

/** One batch: a DevNonce each of some devices, the unused ones committed, some of them too late. */
static void join_some(struct model *m, uint32_t *random)
{
    struct db_join_key keys[N_DEVICES];
    struct db_join_row rows[N_DEVICES];
    struct db_join_commit commits[N_DEVICES];
    unsigned devices[N_DEVICES];
    bool won[N_DEVICES], late[N_DEVICES];
    uint32_t chosen = next_random(random) % ((1u << N_DEVICES) - 1) + 1;
    size_t n = 0, n_commits = 0;

    for (unsigned device = 0; device < N_DEVICES; device++) {
        if ((chosen >> device & 1) == 0)
            continue;
        devices[n] = device;
        keys[n++] = (struct db_join_key){.dev_eui = eui_of(device), .dev_nonce = draw(random)};
    }
    ck_ok(db_join_load(join, keys, n, rows));
    for (size_t i = 0; i < n; i++) {
        const uint8_t *used = used_of(m, devices[i], keys[i].dev_nonce);

        ck_assert_msg(rows[i].dev_nonce_used == *used, "DevNonce %u of device %u is %sused",
            keys[i].dev_nonce, devices[i], *used ? "" : "not ");
        m->n_seen += *used;
        if (*used)
            continue;
        late[n_commits] = next_random(random) % 11 == 0;
        devices[n_commits] = devices[i];
        commits[n_commits] = commit_of(&rows[i], keys[i].dev_nonce, false);
        commits[n_commits].old_join_nonce += late[n_commits];
        n_commits++;
    }
    if (n_commits == 0)
        return;
    ck_ok(db_join_commit(join, commits, n_commits, won));
    for (size_t i = 0; i < n_commits; i++) {
        ck_assert(won[i] == !late[i]);
        *used_of(m, devices[i], commits[i].dev_nonce) |= won[i];
        m->n += won[i];
    }
}

/** Asks for every DevNonce of a device. */
static void compare_whole_memory(struct model *m, unsigned device)
{
    struct db_join_key keys[DB_JOIN_BATCH_MAX];
    struct db_join_row rows[DB_JOIN_BATCH_MAX];

    for (uint32_t first = 0; first < N_NONCES; first += DB_JOIN_BATCH_MAX) {
        for (uint32_t i = 0; i < DB_JOIN_BATCH_MAX; i++)
            keys[i] =
                (struct db_join_key){.dev_eui = eui_of(device), .dev_nonce = (uint16_t)(first + i)};
        ck_ok(db_join_load(join, keys, DB_JOIN_BATCH_MAX, rows));
        for (uint32_t i = 0; i < DB_JOIN_BATCH_MAX; i++)
            ck_assert_uint_eq(rows[i].dev_nonce_used, *used_of(m, device, keys[i].dev_nonce));
    }
}

START_TEST(the_memory_is_that_of_a_naive_one)
{
    struct model *m = calloc(1, sizeof(*m));
    uint32_t random = 1;

    ck_assert_ptr_nonnull(m);
    make_devices(0, N_DEVICES, LW_MAC_1_0_3);
    for (unsigned device = 0; device < N_DEVICES; device++)
        change_device(m, device, false);
    for (unsigned step = 0; step < N_STEPS; step++) {
        join_some(m, &random);
        if (step % 20 == 19)
            change_device(m, next_random(&random) % N_DEVICES, step % 120 == 119);
    }
    ck_assert_uint_gt(m->n_seen, 100);
    ck_assert_int_gt(n_pages(), N_RECENT);
    ck_assert_int_eq(n_dev_nonces(), m->n);
    compare_whole_memory(m, 0);
    free(m);
}
END_TEST

/* A join server that has batches of all devices, in the order of its own, and goes on after every
 * race that it loses. */
struct server {
    struct db *db;
    pthread_t thread;
    bool backwards;
    unsigned n_won;
    int result;
    char why[ERROR_TEXT_MAX];
};

static void *serve(void *arg)
{
    struct server *s = arg;
    struct db_join_key keys[N_SHARED];
    struct db_join_row rows[N_SHARED];
    struct db_join_commit commits[N_SHARED];
    bool won[N_SHARED];

    for (uint32_t round = 0; s->result == 0 && round < N_ROUNDS; round++) {
        size_t n = 0;

        for (uint32_t i = 0; i < N_SHARED; i++)
            keys[i] = (struct db_join_key){.dev_eui = eui_of(s->backwards ? N_SHARED - 1 - i : i),
                /* pages are met in another order by the other one */
                .dev_nonce = (uint16_t)((s->backwards ? N_ROUNDS - round : round) * 509)};
        s->result = db_join_load(s->db, keys, N_SHARED, rows);
        for (size_t i = 0; s->result == 0 && i < N_SHARED; i++)
            if (!rows[i].dev_nonce_used)
                commits[n++] = commit_of(&rows[i], keys[i].dev_nonce, false);
        if (s->result == 0 && n > 0)
            s->result = db_join_commit(s->db, commits, n, won);
        for (size_t i = 0; s->result == 0 && i < n; i++)
            s->n_won += won[i];
    }
    if (s->result < 0)
        (void)snprintf(s->why, sizeof(s->why), "%s", error_text());
    return NULL;
}

START_TEST(two_servers_whose_lists_go_to_pages_at_once_wait_for_each_other)
{
    struct server servers[2] = {{.backwards = false}, {.backwards = true}};
    unsigned n_won = 0;

    make_devices(0, N_SHARED, LW_MAC_1_0_3);
    for (uint32_t device = 0; device < N_SHARED; device++)
        join_with(device, (uint16_t)(60000 + device), N_RECENT - 1);
    for (int i = 0; i < 2; i++) {
        servers[i].db = open_as("cradle_join");
        ck_assert_int_eq(pthread_create(&servers[i].thread, NULL, serve, &servers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(servers[i].thread, NULL);
        n_won += servers[i].n_won;
        db_close(servers[i].db);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_msg(servers[i].result == 0, "%s", servers[i].why);
    ck_assert_uint_gt(n_won, N_SHARED * N_RECENT);
    ck_assert_int_eq(n_dev_nonces(), n_won + N_SHARED * (N_RECENT - 1));
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT sum(join_nonce) FROM device_join"), n_dev_nonces());
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
    tcase_add_test(tcase, a_list_goes_to_the_pages_that_are_there_and_takes_nothing_from_them);
    tcase_add_test(tcase, the_memory_is_that_of_a_naive_one);
    tcase_add_test(tcase, two_servers_whose_lists_go_to_pages_at_once_wait_for_each_other);
}

int main(void)
{
    return run_suite("db_nonces", add);
}
