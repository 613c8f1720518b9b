/* The objects of the ceremony, a row each, and their check values. Inside hsm/ only. */
#pragma once

#include "base/keyed.h"
#include "hsm/p11_token.h"

#define CEREMONY_KCV_LEN 3
#define CEREMONY_N_OBJECTS 10

struct ceremony_object {
    const char *label;
    const char *kind;   /* for the report */
    const char *method; /* how its check value is made */
    CK_OBJECT_CLASS class;
    const char *absent; /* of what a token may lack: what that means; else NULL */
    /* NULL: another row makes it with its own. */
    int (*make)(struct p11_token *token, const struct ceremony_object *object);
    /* Instead of `make` where keys may be exported; NULL: no difference. */
    int (*make_exportable)(struct p11_token *token, const struct ceremony_object *object);
    /* The first bytes of something that only this key gives and that tells nothing about it. */
    int (*check)(
        struct p11_token *token, CK_OBJECT_HANDLE handle, uint8_t ret[static CEREMONY_KCV_LEN]);
};

extern const struct ceremony_object ceremony_objects[CEREMONY_N_OBJECTS];

/** The key that the operator's escrow file is wrapped under: it opens storage KEKs that can only
 * open and seal, and nothing else. */
int ceremony_make_escrow(struct p11_token *token) MUST_CHECK;
/** Makes the version of a storage KEK that `label` names, `row` being that of its first. With
 * `escrow_path` its value goes into that file too, wrapped under the token's escrow key, before
 * there is a key of the token; `exportable` makes the export twin of a device KEK with it. */
int ceremony_make_store(struct p11_token *token, const struct ceremony_object *row,
    const char *label, const char *escrow_path, bool exportable) MUST_CHECK;
/** Makes a key for HMAC: a version of the tag or the code key. */
int ceremony_make_hmac(struct p11_token *token, const char *label) MUST_CHECK;
/** Makes fingerprint.1 of the value that tag.1 gives, which is in this process for a moment, as it
 * is in each key process that adopts keys. */
int ceremony_make_fingerprint(
    struct p11_token *token, const uint8_t value[static KEYED_LEN]) MUST_CHECK;
/** Opens the escrow file's value of `store_label` as a key with the label `twin_label` that opens
 * what the store sealed to be wrapped again. ERROR_CONFIG: not in the file; not that key. */
int ceremony_make_twin(struct p11_token *token, const char *escrow_path, const char *store_label,
    const char *twin_label) MUST_CHECK;
/** The one token object of a class and label. Outcome 1: there is none. */
int ceremony_find(struct p11_token *token, CK_OBJECT_CLASS class, const char *label,
    CK_OBJECT_HANDLE *ret) MUST_CHECK;
/** How an object of that label is made and checked: its row, or for another version of a storage
 * KEK the row of the first; NULL when it is none of ours. */
const struct ceremony_object *ceremony_object_find(CK_OBJECT_CLASS class, const char *label);
