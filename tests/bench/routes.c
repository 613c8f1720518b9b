/* cradle-bench-routes: what it costs to find the route of a JoinEUI, and to make a table. No
 * service, no database: the table of the directory alone. */
#include "base/clock.h"
#include "base/error.h"
#include "db/route_table.h"
#include <stdio.h>
#include <stdlib.h>

#define QUESTIONS 1048576
#define NESTED_BITS_MIN 8
#define NS_A_US 1000.0

static uint64_t state = 1;

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

/* Flat: ranges of 40 bits beside each other, as makers have. Nested: each within ones before it. */
static void fill(struct db_join_route *routes, size_t n, bool nested)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t prefix = draw();
        unsigned bits = 40;

        if (nested && i > 0) {
            const struct db_join_route *outer = &routes[draw() % i];

            bits =
                NESTED_BITS_MIN + (unsigned)(draw() % (JOIN_ROUTE_BITS_MAX + 1 - NESTED_BITS_MIN));
            if (outer->prefix_len > 0 && outer->prefix_len < JOIN_ROUTE_BITS_MAX)
                prefix = (eui64_to_u64(&outer->prefix) & ~(UINT64_MAX >> outer->prefix_len)) |
                         (prefix & UINT64_MAX >> outer->prefix_len);
        }
        routes[i] = (struct db_join_route){.prefix = eui(prefix), .prefix_len = bits};
    }
}

/* In ranges that are there: the others end a search no sooner. */
static void ask_for(struct eui64 *questions, const struct db_join_route *routes, size_t n)
{
    for (size_t i = 0; i < QUESTIONS; i++) {
        const struct db_join_route *route = &routes[draw() % n];
        uint64_t rest =
            route->prefix_len == JOIN_ROUTE_BITS_MAX ? 0 : UINT64_MAX >> route->prefix_len;

        questions[i] = eui((eui64_to_u64(&route->prefix) & ~rest) | (draw() & rest));
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Prints a member of the result: medians of the rounds. */
static int measure(const char *name, bool nested, size_t n, size_t rounds,
    struct db_join_route *routes, struct eui64 *questions, double *ns)
{
    struct db_route_table *table = NULL;
    int64_t begin_us;
    double build_ms;
    size_t found = 0;
    int r;

    fill(routes, n, nested);
    ask_for(questions, routes, n);
    begin_us = clock_monotonic_us();
    if ((r = db_route_table_build(routes, n, &table)) < 0)
        return r;
    build_ms = (double)(clock_monotonic_us() - begin_us) / 1000;
    for (size_t round = 0; round < rounds; round++) {
        begin_us = clock_monotonic_us();
        for (size_t i = 0; i < QUESTIONS; i++)
            found += db_route_table_find(table, &questions[i]) != NULL;
        ns[round] = (double)(clock_monotonic_us() - begin_us) * NS_A_US / QUESTIONS;
    }
    db_route_table_free(table);
    if (found != rounds * QUESTIONS)
        return error_set(ERROR_INTERNAL, "a JoinEUI of a route was not found");
    qsort(ns, rounds, sizeof(*ns), compare);
    printf("\"%s_ns\":%.1f,\"%s_worst_round_ns\":%.1f,\"%s_build_ms\":%.1f", name, ns[rounds / 2],
        name, ns[rounds - 1], name, build_ms);
    return 0;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    struct db_join_route *routes = calloc(n + 1, sizeof(*routes));
    struct eui64 *questions = calloc(QUESTIONS, sizeof(*questions));
    double *ns = calloc(rounds + 1, sizeof(*ns));
    int r = 1;

    if (n > 0 && rounds > 0 && routes != NULL && questions != NULL && ns != NULL) {
        printf("{");
        r = measure("flat", false, n, rounds, routes, questions, ns);
        printf(",");
        if (r == 0)
            r = measure("nested", true, n, rounds, routes, questions, ns);
        printf("}\n");
    } else {
        (void)fputs("usage: cradle-bench-routes ROUTES ROUNDS\n", stderr);
    }
    if (r < 0)
        (void)fprintf(stderr, "cradle-bench-routes: %s\n", error_text());
    free(routes);
    free(questions);
    free(ns);
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
