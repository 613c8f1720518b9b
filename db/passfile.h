/* A password file that a service manager hands over. Private to db/.
 *
 * Where systemd can mount no file system of their own for credentials, it gives them to the
 * service's user by an access list. The list's mask stands where others have the rights of the
 * group, and libpq reads no password file that the group may read. So it gets a copy, in memory,
 * that is its owner's alone. */
#pragma once

#include "base/cleanup.h"

#define DB_PASSFILE_PATH_LEN 32

/** Of the file that the conninfo names, if that lies in $CREDENTIALS_DIRECTORY: a descriptor of the
 * copy. -1: there is none, and libpq reads what is named itself. ERROR_SYSTEM. */
int db_passfile_open(const char *conninfo, int *ret_fd) MUST_CHECK;
/** What libpq is told in the place of the file's name; writes and returns `out`. */
const char *db_passfile_path(int fd, char out[static DB_PASSFILE_PATH_LEN]);
