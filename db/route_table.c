#include "db/route_table.h"

#include "base/error.h"
#include <stdlib.h>
#include <string.h>

#define NO_ROUTE UINT32_MAX

/* Nested prefixes cut the line of all EUIs into pieces, each with one route: at most two more
 * pieces for a route, and one binary search among numbers that stand side by side. */
struct db_route_table {
    struct db_join_route *routes; /* by prefix, a shorter one before those in it */
    uint64_t *starts;             /* of the pieces, rising; the first is 0 */
    uint32_t *route_of;           /* of each piece: a number in `routes`, or NO_ROUTE */
    size_t n;                     /* pieces */
};

static const char *const kind_names[N_DB_ROUTE_KINDS] = {
    [DB_ROUTE_LOCAL] = "local",
    [DB_ROUTE_LOCAL_ANY] = "local-any",
    [DB_ROUTE_PARTNER] = "partner",
    [DB_ROUTE_DNS] = "dns",
    [DB_ROUTE_REFUSE] = "refuse",
};

const char *db_route_kind_name(enum db_route_kind kind)
{
    return kind_names[kind];
}

bool db_route_kind_parse(const char *name, enum db_route_kind *ret)
{
    for (int i = 0; i < N_DB_ROUTE_KINDS; i++)
        if (strcmp(kind_names[i], name) == 0) {
            *ret = (enum db_route_kind)i;
            return true;
        }
    return false;
}

bool db_route_is_local(const struct db_join_route *route)
{
    return route != NULL && (route->kind == DB_ROUTE_LOCAL || route->kind == DB_ROUTE_LOCAL_ANY);
}

/* The bits behind the prefix: a shift by 64 is undefined. */
static uint64_t rest_of(const struct db_join_route *route)
{
    return route->prefix_len == 0 ? UINT64_MAX : ((uint64_t)1 << (64 - route->prefix_len)) - 1;
}

static uint64_t first_of(const struct db_join_route *route)
{
    return eui64_to_u64(&route->prefix) & ~rest_of(route);
}

static uint64_t last_of(const struct db_join_route *route)
{
    return first_of(route) | rest_of(route);
}

static int compare_routes(const void *a, const void *b)
{
    const struct db_join_route *x = a, *y = b;
    uint64_t first_x = first_of(x), first_y = first_of(y);

    if (first_x != first_y)
        return first_x < first_y ? -1 : 1;
    return x->prefix_len < y->prefix_len ? -1 : x->prefix_len > y->prefix_len;
}

/* From `start` on it is `route`. What would begin at the same place was of no length. */
static void add_piece(struct db_route_table *t, uint64_t start, uint32_t route)
{
    if (t->n > 0 && t->starts[t->n - 1] == start)
        t->n--;
    if (t->n > 0 && t->route_of[t->n - 1] == route)
        return;
    t->starts[t->n] = start;
    t->route_of[t->n++] = route;
}

/* Those that hold the one that begins are on a stack, the innermost on top. As prefixes nest, there
 * is one of each length at most. */
static void cut(struct db_route_table *t, size_t n_routes)
{
    uint32_t stack[JOIN_ROUTE_BITS_MAX + 1];
    size_t depth = 0;

    add_piece(t, 0, NO_ROUTE);
    for (size_t i = 0; i <= n_routes; i++) {
        while (depth > 0) {
            uint64_t last = last_of(&t->routes[stack[depth - 1]]);

            if (i < n_routes && last >= first_of(&t->routes[i]))
                break;
            depth--;
            if (last < UINT64_MAX)
                add_piece(t, last + 1, depth > 0 ? stack[depth - 1] : NO_ROUTE);
        }
        if (i == n_routes)
            break;
        add_piece(t, first_of(&t->routes[i]), (uint32_t)i);
        stack[depth++] = (uint32_t)i;
    }
}

/* A prefix that is there twice would have the stack grow: the first of the two is kept. */
static size_t drop_doubles(struct db_join_route *routes, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (kept == 0 || compare_routes(&routes[kept - 1], &routes[i]) != 0)
            routes[kept++] = routes[i];
    return kept;
}

int db_route_table_build(const struct db_join_route *routes, size_t n, struct db_route_table **ret)
{
    struct db_route_table *t = calloc(1, sizeof(*t));

    if (n >= NO_ROUTE / 2) {
        free(t);
        return error_set(ERROR_INTERNAL, "too many routes");
    }
    if (t != NULL) {
        t->routes = calloc(n + 1, sizeof(*t->routes));
        t->starts = calloc(2 * n + 1, sizeof(*t->starts));
        t->route_of = calloc(2 * n + 1, sizeof(*t->route_of));
    }
    if (t == NULL || t->routes == NULL || t->starts == NULL || t->route_of == NULL) {
        db_route_table_free(t);
        return error_set(ERROR_SYSTEM, "out of memory for the routes");
    }
    if (n > 0) {
        memcpy(t->routes, routes, n * sizeof(*routes));
        qsort(t->routes, n, sizeof(*t->routes), compare_routes);
    }
    cut(t, drop_doubles(t->routes, n));
    *ret = t;
    return 0;
}

void db_route_table_free(struct db_route_table *table)
{
    if (table == NULL)
        return;
    free(table->routes);
    free(table->starts);
    free(table->route_of);
    free(table);
}

const struct db_join_route *db_route_table_find(
    const struct db_route_table *table, const struct eui64 *join_eui)
{
    uint64_t v = eui64_to_u64(join_eui);
    size_t at = 0, left;

    if (table == NULL)
        return NULL;
    /* Halves without a branch that would be guessed wrong every other time. */
    for (left = table->n; left > 1; left -= left / 2)
        at += table->starts[at + left / 2] <= v ? left / 2 : 0;
    return table->route_of[at] == NO_ROUTE ? NULL : &table->routes[table->route_of[at]];
}
