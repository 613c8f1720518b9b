/* Where a JoinEUI goes: the route with the longest prefix that it has. Pure. */
#pragma once

#include "base/eui.h"
#include <stddef.h>
#include <stdint.h>

#define JOIN_ROUTE_BITS_MAX 64

enum db_route_kind {
    DB_ROUTE_LOCAL,     /* answered here */
    DB_ROUTE_LOCAL_ANY, /* answered here; a device is found by its DevEUI, whatever its JoinEUI */
    DB_ROUTE_PARTNER,   /* carried to a partner */
    DB_ROUTE_DNS,       /* carried to the join server that DNS names */
    DB_ROUTE_REFUSE,
    N_DB_ROUTE_KINDS
};

struct db_join_route {
    struct eui64 prefix;
    unsigned prefix_len; /* bits, 0 (all) to JOIN_ROUTE_BITS_MAX; those behind do not count */
    enum db_route_kind kind;
    int64_t partner_id;      /* of DB_ROUTE_PARTNER, else 0 */
    int64_t organization_id; /* whose the JoinEUIs are, of the two local kinds; 0: nobody's */
};

/** "local", "local-any", "partner", "dns", "refuse". */
const char *db_route_kind_name(enum db_route_kind kind);
/** False when it is none of them. */
bool db_route_kind_parse(const char *name, enum db_route_kind *ret);
/** Whether what has this route is answered by us. `route` may be NULL: there is none. */
bool db_route_is_local(const struct db_join_route *route);

struct db_route_table;

/** Copies `n` routes in any order, none of them twice. Release with db_route_table_free. */
int db_route_table_build(const struct db_join_route *routes, size_t n, struct db_route_table **ret);
void db_route_table_free(struct db_route_table *table);
/** The longest prefix; NULL: none, or `table` is NULL. What is returned lives as long as the
 * table. */
const struct db_join_route *db_route_table_find(
    const struct db_route_table *table, const struct eui64 *join_eui);
