/* Routes as the operator makes, lists and changes them (role cradle_activation), and whose JoinEUIs
 * are. */
#pragma once

#include "db/account.h"
#include "db/directory.h"

struct db_route_entry {
    struct db_join_route route;
    char partner[PEER_ID_MAX + 1];        /* its name; "" without one */
    uint8_t organization[ACCOUNT_ID_LEN]; /* for the world, where route.organization_id says one */
    char created[DB_TIME_TEXT_LEN + 1];
};
struct db_route_list {
    struct db_route_entry *entries;
    size_t n;
};
/** By prefix, at most `n_max` behind `after` (NULL: from the first). Release with
 * db_route_list_done. */
int db_route_list_load(
    struct db *db, const struct db_join_route *after, size_t n_max, struct db_route_list *ret);
void db_route_list_done(struct db_route_list *list);
/** The route with this prefix. Outcome 1: none. */
int db_join_route_find(
    struct db *db, const struct db_join_route *route, struct db_route_entry *ret);
/** The longest route of a JoinEUI, which decides, and the longest that has an organization: whose
 * it is. What is not there has no `created`. Outcome 1: no route. */
int db_join_route_longest(struct db *db, const struct eui64 *join_eui, struct db_route_entry *ret,
    struct db_route_entry *ret_owned);

/* Changes, in a transaction of the caller where partner or organization are named: the partner is
 * held (db_partner_hold), and who brings devices in at the same moment is waited for. */
/** `ret_created` may be NULL. Outcome 1: a route of this prefix is there. */
int db_join_route_add(
    struct db *db, const struct db_join_route *route, char ret_created[DB_TIME_TEXT_LEN + 1]);
/** Holds the route with this prefix, before anything of it is read that is to change. Outcome 1:
 * none. */
int db_join_route_lock(struct db *db, const struct db_join_route *route);
/** Another kind, partner and organization for the route with this prefix. Outcome 1: none. */
int db_join_route_set(struct db *db, const struct db_join_route *route);
/** Outcome 1: no such route. */
int db_join_route_remove(struct db *db, const struct db_join_route *route);

/** Whether some network server may speak for the network. */
int db_net_id_is_spoken(struct db *db, const struct net_id *net_id, bool *ret);

/** Until the transaction that is open ends no range of JoinEUIs gets another owner. */
int db_join_eui_owners_hold(struct db *db);
/** Of each JoinEUI whether it is in a range of another organization's. */
int db_join_euis_of_others(
    struct db *db, int64_t organization_id, const struct eui64 *join_euis, size_t n, bool *ret);
