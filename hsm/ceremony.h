/* The key ceremony: makes what the token must hold before the first keyd can start. Runs in the
 * `cradle` command, which is the only program besides cradle-keyd that links the PKCS#11 side. */
#pragma once

#include "base/text.h"

#define HSM_FAMILY_LABEL_MAX 32

struct hsm_ceremony {
    const char *uri;               /* RFC 7512, with module-path, token and pin-source */
    const char *lock_file;         /* the one the keyds use */
    const char *exchange_key_path; /* the public exchange key is written here as PEM */
    const char *audit_key_path;    /* export: the public audit key; each may be NULL then */
    /* The operator's file of storage KEKs, each wrapped under a key that never leaves the token; or
     * NULL: what they seal cannot be sealed anew under another version. */
    const char *escrow_path;
    bool exportable_keys;     /* init: make the twin; who owns keyd's session can take keys */
    const char *softhsm_conf; /* versions: SOFTHSM2_CONF of this token; NULL: as it is */
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

/* --- versions of keys (docs/keys.md) -----------------------------------------------------------
 */

enum hsm_family {
    HSM_FAMILY_DEVICE,
    HSM_FAMILY_KEK,
    HSM_FAMILY_TAG,
    HSM_FAMILY_CODE,
    HSM_N_FAMILIES
};
/** The word for one on a command line; NULL: it has none. */
const char *hsm_family_word(enum hsm_family family);
bool hsm_family_parse(const char *word, enum hsm_family *ret);
/** Whether versions of it can be opened and closed: storage KEKs; the others open nothing. */
bool hsm_family_is_store(enum hsm_family family);

/** Makes the next version of a family, which opens (or checks) and does not seal yet; with tag.2
 * comes fingerprint.1, of what tag.1 gave for it. The token is opened again and check values
 * compared, as at init. An export twin is made where the newest version has one. *ret_version tells
 * its number. ERROR_CONFIG: a version is pending, or there are too many. */
int hsm_ceremony_rotate(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned *ret_version, struct text *report);
/** From now on that version seals. Outcome 1: it did so already. ERROR_CONFIG: it is not there. */
int hsm_ceremony_activate(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned version, struct text *report);
/** Opens that version's value from the escrow file, as a key that opens what it sealed to be sealed
 * again. Outcome 1: it is there already. While it is there, whoever has keyd's session can take
 * keys out. */
int hsm_ceremony_open(const struct hsm_ceremony *ceremony, enum hsm_family family, unsigned version,
    struct text *report);
/** Destroys what hsm_ceremony_open() made, of all versions. */
int hsm_ceremony_close(const struct hsm_ceremony *ceremony, struct text *report);
/** Destroys a version and its twins: what it sealed cannot be opened any more. Outcome 1: it is not
 * there. ERROR_CONFIG: it seals. The caller has seen that nothing is sealed under it. */
int hsm_ceremony_retire(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned version, struct text *report);
/** Whether this token could do without that version, and whether it was never let seal; nothing is
 * changed. The outcomes of hsm_ceremony_retire(). */
int hsm_ceremony_may_retire(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned version, bool *ret_never_sealed);
/** Its label. */
void hsm_family_label(
    enum hsm_family family, unsigned version, char ret[static HSM_FAMILY_LABEL_MAX]);
