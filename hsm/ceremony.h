/* The key ceremony: makes what the token must hold before the first keyd can start. Runs in the
 * `cradle` command, which is the only program besides cradle-keyd that links the PKCS#11 side. */
#pragma once

#include "base/text.h"

struct hsm_ceremony {
    const char *uri;               /* RFC 7512, with module-path, token and pin-source */
    const char *lock_file;         /* the one the keyds use */
    const char *exchange_key_path; /* the public exchange key is written here as PEM */
    const char *audit_key_path;    /* export: the public audit key; each may be NULL then */
    bool exportable_keys;          /* init: make the twin; who owns keyd's session can take keys */
};

/** Makes store-device.1 (with `exportable_keys` and its twin store-device-export.1), store-kek.1,
 * tag.1, code.1, exchange.1, token.1 and audit.1, each private, sensitive and not extractable, the
 * storage KEKs with disjoint unwrap templates; closes the module, opens it again and compares the
 * key check values; adds a line an object to `report`. Refuses (ERROR_CONFIG) when any of them is
 * there already, or when the file for the exchange key cannot be made. On ERROR_SYSTEM with a
 * report the keys are made and the file is not: export it. ERROR_PIN: the PIN was refused; nothing
 * was tried twice. */
int hsm_ceremony_init(const struct hsm_ceremony *ceremony, struct text *report);
/** Writes the public keys of the token that are wanted as PEM. ERROR_CONFIG when the token does not
 * hold one. */
int hsm_ceremony_export(const struct hsm_ceremony *ceremony);
/** Writes label, kind and key check value of each object that is there, and the label of each that
 * is not: then ERROR_CONFIG, with the report. The twin may be absent. */
int hsm_ceremony_list(const struct hsm_ceremony *ceremony, struct text *report);
