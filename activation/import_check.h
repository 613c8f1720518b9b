/* What can be said about a file's rows only by looking at all of them, or at the directory of peers
 * and routes: repeated DevEUIs, shared keys, weak keys, unknown peers, JoinEUIs of others. Sets
 * faults and warnings in the rows. */
#pragma once

#include "activation/import_rows.h"
#include "db/directory.h"

/** Pure but for memory and randomness: keys are compared by salted digests that are wiped. */
int import_check(struct import_file *file, const struct db_directory *directory) MUST_CHECK;

/** True when some network server of the directory may speak for the NetID. */
bool import_home_known(const struct db_directory *directory, const struct net_id *net_id);
/** True when the directory has the application server. */
bool import_as_known(const struct db_directory *directory, const char *as_id);
/** True when a route of the directory covers the JoinEUI. */
bool import_join_eui_routed(const struct db_directory *directory, const struct eui64 *join_eui);
