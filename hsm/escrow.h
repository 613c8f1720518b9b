/* The operator's escrow file: a line "LABEL HEX" a storage KEK, the value wrapped (RFC 3394) under
 * the token's escrow key. It opens nothing without the token and its PIN. Inside hsm/ only. */
#pragma once

#include "base/cleanup.h"
#include <stddef.h>
#include <stdint.h>

/** Adds or replaces a line; the file is whole at any time, and on the disk when this returns. */
int escrow_write(const char *path, const char *label, const uint8_t *blob, size_t len) MUST_CHECK;
/** ERROR_CONFIG: no such file, or no such line. */
int escrow_read(
    const char *path, const char *label, uint8_t *ret, size_t max, size_t *ret_len) MUST_CHECK;
