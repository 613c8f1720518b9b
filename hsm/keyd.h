/* Inside of cradle-keyd: its state and its verbs. One thread. */
#pragma once

#include "hsm/frame.h"
#include "hsm/p11_audit.h"
#include "hsm/p11_probe.h"

/* More than one message can name, so that a message never evicts its own. */
#define KEYD_KEK_CACHE 256
/* After so many failing items in a row the process gives way to a fresh one. */
#define KEYD_FAILURES_MAX 8

/** A peer's KEK that was opened once. Found again only by every byte of its sealed form. */
struct keyd_open_kek {
    struct sealed_kek sealed;
    CK_OBJECT_HANDLE handle;
    uint64_t last_used;
};

struct keyd {
    struct p11_token token;
    struct p11_keys keys;
    struct p11_known known;
    const char *lock_file;
    int64_t look_again_ms; /* when the token is looked through again */
    int64_t asked_ms;      /* when an item last had it looked through */
    int64_t seen_ms;       /* when its keys were seen to be those of here */
    bool outdated;         /* what is asked must not be sealed: seen too long ago */
    bool unknown;          /* an item named a version that is not known */
    bool plain_keys;       /* session keys may leave in clear */
    struct keyd_open_kek keks[KEYD_KEK_CACHE]; /* filled from the front */
    size_t n_keks;
    struct keyd_public_key export_to; /* the one that keys were last exported to */
    CK_OBJECT_HANDLE export_target;   /* CK_INVALID_HANDLE: none yet */
    CK_OBJECT_HANDLE fingerprint_key; /* CK_INVALID_HANDLE until it is needed */
    struct p11_audit_key audit_key;   /* looked for when it is needed */
    uint64_t clock;                   /* counts uses, for the cache */
    uint32_t operations;              /* items served */
    unsigned failures;                /* items in a row that the token failed */
    bool give_way; /* answer what is being answered, then end: a fresh process is the cure */
};

/** Finds the keys, runs the probe. The token is open and the start-up lock held. */
int keyd_init(struct keyd *keyd) MUST_CHECK;
/** Looks through the token where that is due: versions of storage KEKs come, begin to seal, and
 * go. Takes the start-up lock, and lets it be where somebody has it. What cannot be used leaves
 * everything as it was. */
void keyd_refresh_due(struct keyd *keyd);
/** Before something is sealed by the newest versions: looks, and waits for the lock, where that was
 * not done for KEYD_BEHIND_MS. Handles of this process outlive a version that is destroyed, so that
 * it would seal for nobody. Outcome 1: the token is being changed; that, or an error: ask again. */
int keyd_refresh_newest(struct keyd *keyd) MUST_CHECK;
/** The same as keyd_refresh_due() where an item named a version that is not known, every 50 ms at
 * most: its tag was right, so the version is in the token, or was. True: something is new, ask
 * again. Never inside of an item: handles that it holds may be gone afterwards. */
bool keyd_refresh_asked(struct keyd *keyd);
/** Answers every item; never fails as a whole. */
void keyd_serve(struct keyd *keyd, const struct keyd_request *request, struct keyd_reply *reply);

/* Inner steps return 0, an enum keyd_status above 0, or a negative error (the token failed). */

/** 0 when the tag of a sealed key is right, KEYD_TAG_REFUSED when not, KEYD_KEK_UNKNOWN when the
 * token has no such version of the tag key. One HMAC whatever the version, in constant time, and
 * before the key is opened: what fails afterwards is the token's fault. */
int keyd_check_device_tag(struct keyd *keyd, const struct eui64 *dev_eui,
    const struct eui64 *join_eui, enum key_slot slot, const struct sealed_key *key) MUST_CHECK;
/** Opens a peer's KEK of that class, or finds it opened. */
int keyd_open_kek(struct keyd *keyd, const struct sealed_kek *kek, enum kek_class wanted,
    CK_OBJECT_HANDLE *ret) MUST_CHECK;

/** Verifies a Join-Request or Rejoin-Request and, where it is planned, answers it. With
 * KEYD_MIC_FAILED, `ret_mistake` says what was found to explain it. */
int keyd_join(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks,
    const struct keyd_join_request *request, struct keyd_join_reply *reply,
    enum lw_mic_mistake *ret_mistake) MUST_CHECK;
/** Derives the AppSKey of a session that was answered before, by the same numbers. */
int keyd_app_s_key(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks,
    const struct keyd_app_s_key_request *request, struct keyd_app_s_key_reply *reply) MUST_CHECK;
/** The tag of a key, over an input that hsm/tag.h makes, by the newest version of the tag key. */
int keyd_make_tag(
    struct keyd *keyd, const uint8_t *input, size_t len, struct sealed_key *key) MUST_CHECK;
/** The same of a peer's KEK as keyd_check_device_tag(): KEYD_KEK_TAG_REFUSED. */
int keyd_check_kek_tag(struct keyd *keyd, const struct sealed_kek *kek) MUST_CHECK;
/** Whether a KEK is of the one class that its peer can have. */
bool keyd_kek_kind_agrees(const struct sealed_kek *kek);

/** Seals a peer's KEK under the newest storage KEK for kek's row, with its tag: `kek->key`. A key
 * of another length is KEYD_BAD_INPUT. */
int keyd_seal_kek(struct keyd *keyd, CK_OBJECT_HANDLE key, size_t key_len, struct sealed_kek *kek,
    uint8_t ret_kcv[static KEYD_KCV_LEN]) MUST_CHECK;
/** What a device's row has of a root key. */
struct keyd_sealed_root {
    struct sealed_key sealed;
    uint8_t kcv[KEYD_KCV_LEN];
    uint8_t fingerprint[KEYD_FINGERPRINT_LEN];
};
/** Seals a root key for its row, with its tag, check value and fingerprint. A key of another length
 * is KEYD_BAD_INPUT. */
int keyd_seal_root(struct keyd *keyd, CK_OBJECT_HANDLE key, const struct eui64 *dev_eui,
    const struct eui64 *join_eui, enum key_slot slot, struct keyd_sealed_root *ret) MUST_CHECK;
/** Opens a root key in the form it came in, seals it and makes its fingerprint. */
int keyd_adopt_key(struct keyd *keyd, const struct sealed_kek *keks,
    const struct keyd_adopt_request *request, struct keyd_adopt_reply *reply) MUST_CHECK;
int keyd_adopt_peer(struct keyd *keyd, const struct keyd_adopt_kek_request *request,
    struct keyd_adopt_kek_reply *reply) MUST_CHECK;
/** Makes a root key, seals it for its row and wraps it under a transport KEK. */
int keyd_make_root(struct keyd *keyd, const struct sealed_kek *keks,
    const struct keyd_make_request *request, struct keyd_make_reply *reply) MUST_CHECK;
/** A version of the code key (0: the newest), or the newest where that is not known: then it is
 * looked for after this item. */
const struct p11_store_kek *keyd_code_key(struct keyd *keyd, unsigned version);
/** The key that a batch's delivery is sealed with. */
int keyd_delivery_hash(struct keyd *keyd, const struct keyd_delivery_request *q,
    struct keyd_hash_reply *reply) MUST_CHECK;
/** The secret that a webhook signs with. */
int keyd_webhook_secret(
    struct keyd *keyd, const struct keyd_webhook *q, struct keyd_hash_reply *reply) MUST_CHECK;
/** Opens a root key as one that can only be wrapped out, and wraps it under a public key. */
int keyd_export_key(struct keyd *keyd, const struct keyd_public_key *to,
    const struct keyd_export_request *request, struct keyd_export_reply *reply) MUST_CHECK;
/** Seals a key anew under the newest version, with its tag, where it is not already. */
int keyd_rewrap_key(struct keyd *keyd, const struct keyd_rewrap_key_request *request,
    struct keyd_rewrap_reply *reply) MUST_CHECK;
int keyd_rewrap_kek(
    struct keyd *keyd, const struct sealed_kek *kek, struct keyd_rewrap_reply *reply) MUST_CHECK;
/** Makes a peer's KEK, seals it for its row and wraps it under a public key. */
int keyd_make_peer_kek(struct keyd *keyd, const struct keyd_make_kek_request *request,
    struct keyd_make_kek_reply *reply) MUST_CHECK;
/** Signs a checkpoint of now. */
int keyd_sign(struct keyd *keyd, const struct audit_checkpoint *checkpoint,
    struct keyd_sign_reply *reply) MUST_CHECK;
/** Signs a statement of now, of the type that is asked for. */
int keyd_sign_statement(struct keyd *keyd, const struct keyd_custody_request *q,
    struct keyd_sign_reply *reply) MUST_CHECK;
int keyd_show_audit_key(struct keyd *keyd, struct keyd_audit_key_reply *reply) MUST_CHECK;
