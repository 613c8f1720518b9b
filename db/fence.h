/* The fence before a version of a key that is to be destroyed: once it is up, no row can come to
 * need that version, whoever sealed it and however long ago (migration 0039, docs/keys.md). So rows
 * are counted once, behind it, and nobody is waited for. Role cradle_owner. */
#pragma once

#include "db/rewrap.h"

#define DB_FENCE_TRY_MS 300 /* for those who are storing; who comes meanwhile waits no longer */
#define DB_FENCE_TRY_MAX_MS 1200 /* of a later try */
#define DB_FENCE_WAIT_MS 30000   /* of all tries */

/** Puts it up before `key` ("store-device.1", "tag.1", "code.1"), as soon as each transaction that
 * stores anything sealed has ended. ERROR_DB also when there was no such moment in
 * DB_FENCE_WAIT_MS; it names who stores. One that is up stays. */
int db_fence_raise(struct db *db, const char *key);
/** What needs `key` behind its fence, as db_rewrap_uses(): if nothing does, nothing ever will, and
 * the fence stays; else it is taken away, for rows that are there may have to be written. ERROR_DB
 * also when somebody else took it away meanwhile. */
int db_fence_uses(struct db *db, const char *key,
    struct db_rewrap_use ret[static DB_REWRAP_USES_MAX], size_t *ret_n);
