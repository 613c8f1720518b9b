/* An order as its row says it, for the statements that give one. Private to db/. */
#pragma once

#include "db/connection.h"
#include "db/order.h"

/* Of batch_order o, certificate m (its module) and eui_block e (its block, where it has one). */
#define DB_ORDER_TIMES                                                                             \
    DB_UTC("o.decided_at")                                                                         \
    ", " DB_UTC("o.ready_at") ", " DB_UTC("o.delivered_at") ", " DB_UTC(                           \
        "o.files_until") ", " DB_UTC("o.files_deleted_at")
#define DB_ORDER_COLUMNS                                                                           \
    "m.number, o.module_id, o.device_kind, o.n, e.public_id, o.first, o.join_eui, o.mac_version,"  \
    " o.profile_id, o.delivery, o.code_length, o.state, o.asked_by, o.decided_by, o.reason,"       \
    " " DB_ORDER_TIMES ", o.key_digest"
#define DB_ORDER_N_COLUMNS 21
#define DB_ORDER_JOINS                                                                             \
    " batch_order o ON o.batch_id = b.id LEFT JOIN certificate m ON m.id = o.module_id"            \
    " LEFT JOIN eui_block e ON e.id = coalesce(o.block_id, o.wanted_block_id)"

/** Reads DB_ORDER_COLUMNS, the first of which is `column`. */
void db_order_read(struct db_rows *rows, size_t row, int column, struct db_order *ret);
