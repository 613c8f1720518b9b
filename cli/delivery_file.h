/* delivery.jwe, as a maker's bench opens it: the manifest that the service's HSM has signed, and
 * the records with their keys and claim codes. In constant memory, however long it is. */
#pragma once

#include "activation/delivery_record.h"
#include "base/audit_key.h"
#include "base/secret.h"
#include <stdio.h>

/** A device with its secrets: wipe it. */
struct delivery_opened {
    uint32_t line;
    const struct delivery_shape *shape;
    struct eui64 dev_eui;
    struct secret_key app_key, nwk_key; /* the latter where shape->has_nwk */
    char code[DELIVERY_CODE_MAX + 1];
};

/** Takes a device; not 0: it is enough. */
typedef int (*delivery_device)(void *context, const struct delivery_opened *device);
/** Reads one from a file that can be read again, with the maker's private key and the service's
 * public one: first all of it, to see that it is whole and was signed so, then once more for
 * `take`. `line` 0: every device; else that one. ERROR_INPUT says what is wrong, or that there is
 * no such line. */
int delivery_file_open(FILE *file, const char *private_pem, const struct audit_key *audit_key,
    int64_t line, delivery_device take, void *context) MUST_CHECK;
