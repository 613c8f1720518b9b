#include "db/statement.h"

static const struct db_statement *const statements[DB_N_STATEMENTS] = {
    [DB_CHECK] = &db_check_statement,
    [DB_MIGRATIONS] = &db_migrations_statement,
    [DB_JOIN_LOAD] = &db_join_load_statement,
    [DB_JOIN_COMMIT] = &db_join_commit_statement,
    [DB_JOIN_END_OTHER] = &db_join_end_other_statement,
    [DB_JOIN_RESOLVE] = &db_join_resolve_statement,
    [DB_JOIN_SETTLE] = &db_join_settle_statement,
    [DB_JOIN_SESSION] = &db_join_session_statement,
    [DB_JOIN_REFUSALS] = &db_join_refusals_statement,
    [DB_JOIN_PARTITIONS] = &db_join_partitions_statement,
    [DB_DIRECTORY_PEERS] = &db_directory_peers_statement,
    [DB_DIRECTORY_NS_IDS] = &db_directory_ns_ids_statement,
    [DB_DIRECTORY_KEKS] = &db_directory_keks_statement,
    [DB_DIRECTORY_ROUTES] = &db_directory_routes_statement,
    [DB_PEER_ADD] = &db_peer_add_statement,
    [DB_PEER_SET_TRUST] = &db_peer_set_trust_statement,
    [DB_PEER_SET] = &db_peer_set_statement,
    [DB_KEK_ADD] = &db_kek_add_statement,
    [DB_KEK_RETIRE] = &db_kek_retire_statement,
    [DB_KEK_MAKE_CURRENT] = &db_kek_make_current_statement,
    [DB_ROUTE_ADD] = &db_route_add_statement,
    [DB_PEER_LIST] = &db_peer_list_statement,
    [DB_PEER_REVOKE] = &db_peer_revoke_statement,
    [DB_KEK_LIST] = &db_kek_list_statement,
    [DB_KEK_FIND] = &db_kek_find_statement,
    [DB_KEK_REMOVE] = &db_kek_remove_statement,
    [DB_ROUTE_LIST] = &db_route_list_statement,
    [DB_ROUTE_REMOVE] = &db_route_remove_statement,
    [DB_CLIENT_ADD] = &db_client_add_statement,
    [DB_CLIENT_FIND] = &db_client_find_statement,
    [DB_BATCH_BEGIN] = &db_batch_begin_statement,
    [DB_BATCH_INSERT] = &db_batch_insert_statement,
    [DB_BATCH_FINISH] = &db_batch_finish_statement,
};

const struct db_statement *db_statement_at(enum db_statement_id id)
{
    return statements[id];
}
