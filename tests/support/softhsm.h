/* A private SoftHSM token in a folder of its own, with the key ceremony done, for integration
 * tests. Sets SOFTHSM2_CONF in this process, which the keyds inherit. The PKCS#11 module is only
 * ever loaded in child processes: Check forks, and a fork after C_Initialize is not a fresh
 * process. */
#pragma once

#include "base/cleanup.h"
#include <limits.h>
#include <stdbool.h>

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define SOFTHSM_PIN "7391-test"

struct softhsm {
    char dir[128];
    char uri[512];       /* with the right PIN */
    char uri_wrong[544]; /* the same with a wrong one */
    char lock_file[160];
    char exchange_pem[160];
};

/** Makes the folder, the token and, if asked, the ceremony's keys. ERROR_SYSTEM or the ceremony's.
 */
int softhsm_make(struct softhsm *hsm, bool ceremony);
/** The URI of the token behind another module. */
void softhsm_uri(const struct softhsm *hsm, const char *module, char *out, size_t size);
/** The path of the ceremony's escrow file. */
void softhsm_escrow(const struct softhsm *hsm, char ret[static PATH_MAX]);
/** Runs the ceremony in a child; its outcome comes back, with the sentence of an error. */
int softhsm_ceremony(const struct softhsm *hsm);
void softhsm_remove(struct softhsm *hsm);
