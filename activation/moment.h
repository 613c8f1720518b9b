/* Moments in bodies: RFC 3339. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ACT_MOMENT_MAX 24 /* characters */

/** "2027-01-31T00:00:00Z": UTC, whole seconds, of the years 1970 to 9999, and a day that there is.
 * *ret_s: seconds since 1970. */
bool act_moment_parse(const char *text, int64_t *ret_s);
