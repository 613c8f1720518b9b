/* What webhooks are told of that no transaction writes deliveries of, and what is deleted of the
 * outbox. Role cradle_activation. */
#pragma once

#include "db/db.h"

#define DB_WEBHOOK_DAYS 30 /* how long a delivery is kept */
#define DB_WEBHOOK_ROWS_MAX                                                                        \
    20000                      /* of one organization; beyond them the oldest go, dead ones first */
#define DB_WEBHOOK_PIECE 1000  /* rows of one statement that deletes */
#define DB_WEBHOOK_TOLD_S 3600 /* between two deliveries that a device's code is tried wrongly */

/** Looks for what no transaction writes deliveries of: codes that were tried wrongly, and first
 * joins. Cheap where nobody wants to hear of it. Any number of services may do it at once. */
#define DB_WEBHOOK_LOOK_MAX 500 /* devices of one look */
int db_webhook_look(struct db *db);
/** Deletes a piece of what is too old, too much, or of webhooks that are gone. *ret_n: how many. */
int db_webhook_purge(struct db *db, size_t *ret_n);
