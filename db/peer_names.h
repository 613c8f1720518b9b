/* What the tables of peers and KEKs call things, and how they are named to them. Private to db/. */
#pragma once

#include "db/directory.h"
#include "db/params.h"
#include "db/rows.h"

const char *db_peer_kind_name(enum peer_kind kind);
/** A name that is none fails the rows. */
enum peer_kind db_row_peer_kind(struct db_rows *rows, size_t row, int column);
enum kek_class db_row_kek_class(struct db_rows *rows, size_t row, int column);

/** Three parameters: peer kind, peer id and class. */
void db_param_kek_peer(struct db_params *p, const struct sealed_kek *kek);
/** Two parameters: prefix, with the bits that do not count at zero, and its length. */
void db_param_route(struct db_params *p, const struct db_join_route *route);
/** Three more: kind, partner and organization. */
void db_param_route_target(struct db_params *p, const struct db_join_route *route);
/** From five columns: what the two write. */
void db_row_route(struct db_rows *rows, size_t row, int column, struct db_join_route *ret);
