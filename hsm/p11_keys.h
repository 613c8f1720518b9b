/* The token keys keyd works with: made by the ceremony, found by label at start. Inside hsm/ only.
 */
#pragma once

#include "base/sealed.h"
#include "hsm/p11_token.h"

#define P11_LABEL_DEVICE "store-device."        /* and a version: seals device keys */
#define P11_LABEL_EXPORT "store-device-export." /* the same key; opens them to be wrapped out */
#define P11_LABEL_KEK "store-kek."              /* and a version: seals peers' KEKs */
/* The same keys; they open what is to be sealed anew, and are there while that goes on. */
#define P11_LABEL_REWRAP_DEVICE "rewrap-device."
#define P11_LABEL_REWRAP_KEK "rewrap-kek."
#define P11_LABEL_ESCROW "escrow.1" /* wraps storage KEKs for the operator's escrow file */
/* A data object: the version that it names opens, and does not seal yet. */
#define P11_LABEL_PENDING "pending."
#define P11_LABEL_TAG "tag."   /* and a version; HMAC: binds a sealed blob to its row */
#define P11_LABEL_CODE "code." /* and a version; HMAC: claim codes */
/* HMAC: fingerprints of device keys. What tag.1 gives for it, made before that may go. */
#define P11_LABEL_FINGERPRINT "fingerprint.1"
#define P11_LABEL_TOKEN "token.1"       /* HMAC: access tokens */
#define P11_LABEL_EXCHANGE "exchange.1" /* RSA-3072: peers send us their KEKs */
#define P11_LABEL_AUDIT "audit.1"       /* EC P-256: audit checkpoints */

#define P11_STORE_VERSIONS_MAX 16
#define P11_STORE_VERSION_MAX 9999u

/** The versions of one key. What a storage KEK sealed names its version, and so does what a tag or
 * code key hashed; new ones get the highest. */
struct p11_store {
    struct p11_store_kek {
        char label[SEALED_LABEL_MAX + 1];
        unsigned version;
        CK_OBJECT_HANDLE handle;
        bool pending; /* opens, and does not seal yet */
        bool copied;  /* the handle is that of a copy of ours */
    } keks[P11_STORE_VERSIONS_MAX];
    size_t n;
};

struct p11_keys {
    struct p11_store device;
    struct p11_store kek;
    struct p11_store export;        /* none on a token whose keys cannot be exported */
    struct p11_store rewrap_device; /* both: none but while keys are sealed anew */
    struct p11_store rewrap_kek;
    struct p11_store tag;
    struct p11_store code;
    CK_OBJECT_HANDLE fingerprint; /* CK_INVALID_HANDLE: what tag.1 gives */
    CK_OBJECT_HANDLE token;
    CK_OBJECT_HANDLE exchange;
    bool fingerprint_copied;
    bool in_place; /* a copy would be faster, and the token makes none */
};

/** Finds them all, where they are. ERROR_CONFIG names what is missing or there twice. */
int p11_keys_find(struct p11_token *token, struct p11_keys *ret) MUST_CHECK;
/** Whether each join needs the key of this label: what p11_keys_copy() copies. */
bool p11_key_is_copied(const char *label);
/** Where the token's profile says so, copies the keys that each join needs into the anchor session
 * and puts the copies in their places; they keep the unwrap template, can do what their key is for
 * alone and cannot be modified. A key that is locked stays where it is: `in_place`. */
int p11_keys_copy(struct p11_token *token, struct p11_keys *keys) MUST_CHECK;
/** NULL when the token has no such version. */
const struct p11_store_kek *p11_store_find(const struct p11_store *store, const char *label);
const struct p11_store_kek *p11_store_version_find(const struct p11_store *store, unsigned version);
/** Destroys the copies, and nothing of the token. */
void p11_keys_drop(struct p11_token *token, struct p11_keys *keys);
/** Whether both hold the same versions, in the same states. */
bool p11_keys_same(const struct p11_keys *a, const struct p11_keys *b);
/** The highest version that may seal; a found store has at least one. */
const struct p11_store_kek *p11_store_newest(const struct p11_store *store);
/** The version in a label like "store-device.12"; 0 when the label is another. */
unsigned p11_store_version(const char *label, const char *prefix);

/** What tag.1 gives for the key of fingerprints. ERROR_CONFIG: it has gone. The caller wipes it. */
int p11_fingerprint_value(
    struct p11_token *token, const struct p11_keys *keys, uint8_t out[static KEYED_LEN]) MUST_CHECK;

/** Calls `found` for each token object of a class, with its label ("" when none). */
int p11_objects_walk(struct p11_token *token, CK_OBJECT_CLASS class,
    int (*found)(void *context, CK_OBJECT_HANDLE handle, const char *label), void *context);
