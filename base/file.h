/* Files that are there whole or not at all. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

/** Writes all of it: a disk that fills takes a part first, and says only then that it is full.
 * False: errno says why. */
bool file_write_all(int fd, const void *bytes, size_t len) MUST_CHECK;
