/* The migration runner. Role cradle_owner. */
#pragma once

#include "base/text.h"
#include "db/db.h"

/** Applies the migrations compiled into the program that the database does not have, each in one
 * transaction, under an advisory lock; refuses (ERROR_CONFIG, naming it) a migration whose checksum
 * changed and one this program does not know. A line for each goes to `report`. */
int db_migrate(struct db *db, struct text *report);
/** The number of the newest migration compiled in: what db_check wants to find. */
int db_migrate_newest(void);
