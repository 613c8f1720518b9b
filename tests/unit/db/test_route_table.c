#include "db/route_table.h"

#include "base/error.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define N_ROUNDS 300
#define N_ROUTES_MAX 200
#define N_QUESTIONS 400

static uint64_t state;

/* xorshift64*: the same routes in every run. */
static uint64_t draw(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(2685821657736338717);
}

static struct eui64 eui(uint64_t v)
{
    struct eui64 e;

    for (int i = 0; i < 8; i++)
        e.bytes[i] = (uint8_t)(v >> (56 - 8 * i));
    return e;
}

static struct db_join_route route(uint64_t prefix, unsigned bits)
{
    return (struct db_join_route){.prefix = eui(prefix), .prefix_len = bits};
}

static bool has(const struct db_join_route *r, uint64_t v)
{
    return r->prefix_len == 0 || (v ^ eui64_to_u64(&r->prefix)) >> (64 - r->prefix_len) == 0;
}

/* What the table is held to. */
static const struct db_join_route *naive(
    const struct db_join_route *routes, size_t n, uint64_t join_eui)
{
    const struct db_join_route *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (has(&routes[i], join_eui) && (best == NULL || routes[i].prefix_len > best->prefix_len))
            best = &routes[i];
    return best;
}

static bool is_there(const struct db_join_route *routes, size_t n, const struct db_join_route *one)
{
    for (size_t i = 0; i < n; i++)
        if (routes[i].prefix_len == one->prefix_len && has(one, eui64_to_u64(&routes[i].prefix)))
            return true;
    return false;
}

static void ask(const struct db_route_table *table, const struct db_join_route *routes, size_t n,
    uint64_t join_eui)
{
    struct eui64 asked = eui(join_eui);
    const struct db_join_route *found = db_route_table_find(table, &asked),
                               *expected = naive(routes, n, join_eui);

    ck_assert_int_eq(found == NULL, expected == NULL);
    if (found != NULL)
        ck_assert_int_eq(found->partner_id, expected->partner_id);
}

/* Each bound of each route, what stands beside it, and some at random. */
static void compare(const struct db_join_route *routes, size_t n)
{
    struct db_route_table *table;

    ck_assert_int_eq(db_route_table_build(routes, n, &table), 0);
    for (size_t i = 0; i < n; i++) {
        uint64_t rest = routes[i].prefix_len == 0
                            ? UINT64_MAX
                            : (UINT64_C(1) << (64 - routes[i].prefix_len)) - 1;
        uint64_t first = eui64_to_u64(&routes[i].prefix) & ~rest, last = first | rest;

        ask(table, routes, n, first);
        ask(table, routes, n, last);
        ask(table, routes, n, first - 1);
        ask(table, routes, n, last + 1);
        ask(table, routes, n, first + (draw() & rest));
    }
    for (int i = 0; i < N_QUESTIONS; i++)
        ask(table, routes, n, draw());
    ask(table, routes, n, 0);
    ask(table, routes, n, UINT64_MAX);
    db_route_table_free(table);
}

/* One more, with a name of its own, unless the same prefix is there. */
static size_t add(struct db_join_route *routes, size_t n, struct db_join_route one)
{
    if (is_there(routes, n, &one))
        return n;
    one.partner_id = (int64_t)n + 1;
    routes[n] = one;
    return n + 1;
}

static void shuffle(struct db_join_route *routes, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = draw() % i;
        struct db_join_route other = routes[k];

        routes[k] = routes[i - 1];
        routes[i - 1] = other;
    }
}

START_TEST(random_prefixes_are_found_as_by_looking_at_each)
{
    struct db_join_route routes[N_ROUTES_MAX];

    state = 1;
    for (int round = 0; round < N_ROUNDS; round++) {
        size_t n = 0, wanted = draw() % N_ROUTES_MAX;
        /* Few distinct bits, so that they nest and touch. */
        uint64_t mask = draw() & draw() & draw();

        for (size_t i = 0; i < wanted; i++)
            n = add(routes, n, route(draw() & mask, (unsigned)(draw() % 65)));
        compare(routes, n);
    }
}
END_TEST

START_TEST(nested_prefixes_of_all_lengths_are_found_as_by_looking_at_each)
{
    static const uint64_t ends[] = {0, UINT64_MAX, UINT64_C(0xAAAAAAAAAAAAAAAA),
        UINT64_C(0x5555555555555555), UINT64_C(0x7FFFFFFFFFFFFFFF), UINT64_C(0x8000000000000000)};
    struct db_join_route routes[N_ROUTES_MAX];

    state = 2;
    for (size_t e = 0; e < sizeof(ends) / sizeof(ends[0]); e++)
        for (unsigned step = 1; step < 8; step++) {
            size_t n = 0;

            for (unsigned bits = 0; bits <= JOIN_ROUTE_BITS_MAX; bits += step) {
                n = add(routes, n, route(ends[e], bits));
                /* The brother of each: the last bit that counts is another. */
                if (bits > 0)
                    n = add(routes, n, route(ends[e] ^ UINT64_C(1) << (64 - bits), bits));
            }
            for (int times = 0; times < 3; times++) {
                shuffle(routes, n);
                compare(routes, n);
            }
        }
}
END_TEST

START_TEST(neighbours_that_touch_are_told_apart)
{
    struct db_join_route routes[N_ROUTES_MAX];
    size_t n = 0;

    state = 3;
    /* All of a /8 in pieces of /14, and the whole of the line behind them. */
    for (uint64_t i = 0; i < 64; i++)
        n = add(routes, n, route(UINT64_C(0xFF) << 56 | i << 50, 14));
    n = add(routes, n, route(UINT64_C(0xFF) << 56, 8));
    n = add(routes, n, route(0, 0));
    compare(routes, n);
    shuffle(routes, n);
    compare(routes, n);
}
END_TEST

START_TEST(no_routes_is_no_route)
{
    struct db_route_table *table;
    struct eui64 any = eui(UINT64_MAX);

    ck_assert_ptr_null(db_route_table_find(NULL, &any));
    ck_assert_int_eq(db_route_table_build(NULL, 0, &table), 0);
    ck_assert_ptr_null(db_route_table_find(table, &any));
    db_route_table_free(table);
    db_route_table_free(NULL);
}
END_TEST

START_TEST(a_prefix_that_is_there_twice_is_there_once)
{
    struct db_join_route routes[N_ROUTES_MAX];
    struct db_route_table *table;
    struct eui64 any = eui(UINT64_C(0x70B3D57ED0000001));

    for (size_t i = 0; i < N_ROUTES_MAX; i++)
        routes[i] = route(UINT64_C(0x70B3D50000000000), 24);
    ck_assert_int_eq(db_route_table_build(routes, N_ROUTES_MAX, &table), 0);
    ck_assert_ptr_nonnull(db_route_table_find(table, &any));
    db_route_table_free(table);
}
END_TEST

START_TEST(every_kind_has_a_name_of_its_own)
{
    enum db_route_kind kind;

    for (int i = 0; i < N_DB_ROUTE_KINDS; i++) {
        ck_assert(db_route_kind_parse(db_route_kind_name((enum db_route_kind)i), &kind));
        ck_assert_int_eq((int)kind, i);
    }
    ck_assert(!db_route_kind_parse("", &kind));
    ck_assert(!db_route_kind_parse("Local", &kind));
}
END_TEST

START_TEST(two_kinds_are_answered_here)
{
    struct db_join_route one = {0};

    ck_assert(!db_route_is_local(NULL));
    for (int i = 0; i < N_DB_ROUTE_KINDS; i++) {
        one.kind = (enum db_route_kind)i;
        ck_assert_int_eq(db_route_is_local(&one), i == DB_ROUTE_LOCAL || i == DB_ROUTE_LOCAL_ANY);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route table");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, random_prefixes_are_found_as_by_looking_at_each);
    tcase_add_test(tcase, nested_prefixes_of_all_lengths_are_found_as_by_looking_at_each);
    tcase_add_test(tcase, neighbours_that_touch_are_told_apart);
    tcase_add_test(tcase, no_routes_is_no_route);
    tcase_add_test(tcase, a_prefix_that_is_there_twice_is_there_once);
    tcase_add_test(tcase, every_kind_has_a_name_of_its_own);
    tcase_add_test(tcase, two_kinds_are_answered_here);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
