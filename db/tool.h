/* PostgreSQL's own programs (pg_dump and the like), run for a backup. */
#pragma once

#include "base/cleanup.h"

/** Runs a program found by PATH and waits for it; what it has to say goes to standard error. The
 * connection is told in its environment: an argument list, which everybody may read, would show a
 * password. `conninfo` NULL: it needs none. ERROR_CONFIG when the program is not there or the
 * connection string is none; ERROR_DB when it failed. */
int db_tool_run(const char *conninfo, const char *const argv[]) MUST_CHECK;
