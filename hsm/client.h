/* The key processes of a service, and the acts that can be asked of them.
 *
 * A service opens one pool. The pool execs `n_processes` cradle-keyd, each behind socketpairs,
 * starts them again when they die, and replaces each before it reaches its operation or memory
 * limit: the new one is ready before the old one gets no more work. A channel belongs to one
 * thread; the pool itself may be asked from any. A call on a channel whose keyd dies is sent once
 * more, to its successor: no verb changes anything, so nothing can happen twice. What two processes
 * died of is not shown to a third (ERROR_HSM).
 *
 * Of two tokens with the same keys (by their check values) the first serves. Where it fails the
 * second does, and a message whose items it failed is sent again; once the first has been well
 * for a while, it serves again. A token with other keys, or one that refused its PIN, never
 * serves. */
#pragma once

#include "base/audit_form.h"
#include "base/custody_form.h"
#include "base/sealed.h"
#include "base/secret.h"
#include "base/text.h"
#include "lorawan/frame.h"

#define KEYD_BATCH_MAX 64 /* items of one message */
#define KEYD_KEKS_MAX 128 /* peers' KEKs named by one message */
#define KEYD_NO_KEK 0xFF
/* In the place of a KEK's index: the keys leave in clear; see plain_keys. */
#define KEYD_PLAIN 0xFE
#define KEYD_SESSIONS_MAX 3
#define KEYD_CODE_MAX 32  /* characters of a claim code */
#define KEYD_TOKEN_MAX 64 /* bytes of an access token's body */
#define KEYD_HASH_LEN 32
#define KEYD_WEBHOOK_ID_LEN 16
#define KEYD_BATCH_ID_LEN 16
#define KEYD_RANDOM_MAX 32 /* bytes of an item */
#define KEYD_OAEP_LEN 384  /* RSA-3072 */
#define KEYD_FINGERPRINT_LEN 16
/* A key process seals under what was the newest version so long ago at most: it has seen since then
 * that it still is, or answers KEYD_HSM_FAILED. Above LOOK_MS of hsm/keyd_refresh.c. */
#define KEYD_BEHIND_MS 12000
#define KEYD_KCV_LEN 3 /* key check value: first bytes of the CMAC of 16 zero bytes */

struct keyd_pool;
struct keyd_channel;

/** What a key process can be asked. */
enum keyd_verb {
    KEYD_VERB_JOIN = 1,
    KEYD_VERB_ADOPT_KEY,
    KEYD_VERB_ADOPT_KEK,
    KEYD_VERB_HASH_CODE,
    KEYD_VERB_HASH_TOKEN,
    KEYD_VERB_SELF_TEST,
    KEYD_VERB_APP_S_KEY,
    KEYD_VERB_RANDOM,
    KEYD_VERB_EXPORT_KEY,
    KEYD_VERB_MAKE_KEK,
    KEYD_VERB_SIGN_CHECKPOINT,
    KEYD_VERB_AUDIT_KEY,
    KEYD_VERB_WEBHOOK_SECRET,
    KEYD_VERB_SIGN_CUSTODY,
    KEYD_VERB_MAKE_KEY,
    KEYD_VERB_DELIVERY_KEY,
    KEYD_VERB_REWRAP_KEY,
    KEYD_VERB_REWRAP_KEK,
};
#define KEYD_N_VERBS 18
#define KEYD_MAY(verb) (1u << (verb))

/* What each service needs of its keyds, and no more. */
#define KEYD_VERBS_OF_JOINSERVER                                                                   \
    (KEYD_MAY(KEYD_VERB_JOIN) | KEYD_MAY(KEYD_VERB_APP_S_KEY) | KEYD_MAY(KEYD_VERB_SELF_TEST))
#define KEYD_VERBS_OF_ACTIVATION                                                                   \
    (KEYD_MAY(KEYD_VERB_ADOPT_KEY) | KEYD_MAY(KEYD_VERB_ADOPT_KEK) |                               \
        KEYD_MAY(KEYD_VERB_MAKE_KEK) | KEYD_MAY(KEYD_VERB_HASH_CODE) |                             \
        KEYD_MAY(KEYD_VERB_HASH_TOKEN) | KEYD_MAY(KEYD_VERB_SELF_TEST) |                           \
        KEYD_MAY(KEYD_VERB_RANDOM) | KEYD_MAY(KEYD_VERB_SIGN_CHECKPOINT) |                         \
        KEYD_MAY(KEYD_VERB_AUDIT_KEY) | KEYD_MAY(KEYD_VERB_WEBHOOK_SECRET) |                       \
        KEYD_MAY(KEYD_VERB_SIGN_CUSTODY) | KEYD_MAY(KEYD_VERB_MAKE_KEY) |                          \
        KEYD_MAY(KEYD_VERB_DELIVERY_KEY) | KEYD_MAY(KEYD_VERB_REWRAP_KEY) |                        \
        KEYD_MAY(KEYD_VERB_REWRAP_KEK))

/** A second token with the same keys, for when the first one fails. */
struct keyd_second_token {
    const char *uri;          /* NULL or "": there is none */
    const char *lock_file;    /* a lock of its own: one that hangs must not hold up the other */
    const char *softhsm_conf; /* SOFTHSM2_CONF of its key processes; NULL or "": this service's */
};

struct keyd_pool_config {
    /* Path of a cradle-keyd-host's socket: it starts the keyds, as a user of its own, with a
     * program, URI and lock file of its own. NULL or "": they are started here. */
    const char *socket;
    const char *host_user;   /* whose that socket must be, or root's; NULL or "": anybody's */
    const char *program;     /* path of cradle-keyd; this and the next two without a socket only */
    const char *uri;         /* RFC 7512: module-path and token, and pin-source (file:...) */
    const char *lock_file;   /* held over C_Initialize..C_Login by every keyd on this token */
    unsigned verbs;          /* KEYD_MAY(...) of each that this service needs; another ends keyd */
    unsigned n_processes;    /* 0: one per core */
    unsigned n_channels;     /* threads that will call; channel i is served by process i % n */
    unsigned max_operations; /* a keyd is replaced after so many items; 0: the default */
    unsigned max_memory_mib; /* or when its resident memory exceeds this; 0: the default */
    /* Whether session keys may leave in clear where KEYD_PLAIN asks for it; it is told to keyd when
     * it starts. Without it that is KEYD_BAD_INPUT, whatever the service says later. */
    bool plain_keys;
    struct keyd_second_token second;
};

/** Starts the first keyd, waits until it is ready, then the others. ERROR_PIN and ERROR_CONFIG are
 * final: do not try again. */
int keyd_pool_open(const struct keyd_pool_config *config, struct keyd_pool **ret);
/** Closes the channels, which ends every keyd, and waits for them. NULL is fine. */
void keyd_pool_close(struct keyd_pool *pool);
struct keyd_channel *keyd_pool_channel(struct keyd_pool *pool, unsigned index);
/** True once the token has refused the PIN: no key process will be started again. The service ends
 * with ERROR_PIN. */
bool keyd_pool_stopped(struct keyd_pool *pool);
/** True while every process is up and none has stopped for good. */
bool keyd_pool_healthy(struct keyd_pool *pool);
/** Prometheus lines: starts, deaths, recycles, operations. */
void keyd_pool_metrics(struct keyd_pool *pool, struct text *out);
/** Which token serves, counted from 1; 0 where there is but one. */
unsigned keyd_pool_token(struct keyd_pool *pool);
/** One line for the log at start: token, quirk profile, derivation strategy, memory locked. */
const char *keyd_pool_describe(struct keyd_pool *pool);
/** Process ids now serving, for tests and operators; returns how many were written. */
unsigned keyd_pool_pids(struct keyd_pool *pool, int *ret_pids, unsigned n_max);

/* What an item of a batch came to. A call returns 0 and a status an item, or a negative code when
 * the whole message failed (ERROR_DEADLINE, ERROR_HSM, ERROR_PIN). */
enum keyd_status {
    KEYD_OK = 0,
    KEYD_MIC_FAILED = 1,
    KEYD_TAG_REFUSED = 2,     /* sealed device key altered, moved, or of another type */
    KEYD_KEK_TAG_REFUSED = 3, /* the same of a peer's KEK */
    KEYD_KEK_UNKNOWN = 4,     /* the token has no storage KEK of that label, or no such tag key */
    KEYD_BAD_INPUT = 5,       /* an OAEP text that does not open, a length that cannot be */
    KEYD_HSM_FAILED = 6,      /* the token failed: try later, nothing was learnt */
    /* the token was made without a key that opens this one for export, or lacks a mechanism */
    KEYD_CANNOT_EXPORT = 7,
    KEYD_NO_AUDIT_KEY = 8, /* the token holds no key that signs checkpoints */
};
#define KEYD_STATUS_LAST KEYD_NO_AUDIT_KEY
const char *keyd_status_text(enum keyd_status status);

/* --- answer a join or a rejoin -------------------------------------------------------------- */

/** A session whose SNwkSIntKey may have made the MIC of a Rejoin-Request of type 0 or 2 (LoRaWAN
 * 1.1 6.2.4.1). Its key is derived again from these numbers by the 1.1 block. */
struct keyd_session {
    bool present;
    bool plan;           /* answer the rejoin that this session proves; else only verify it */
    uint32_t join_nonce; /* of the session */
    uint16_t nonce;      /* its DevNonce, or the RJcount it was made by */
};

/** One Join-Request or Rejoin-Request to verify and, with `plan`, to answer (LoRaWAN 1.1 6.2).
 * Without `plan` only tag and MIC are checked.
 *
 *   frame           MIC by                         accept: MIC by, encrypted by
 *   Join-Request    NWK where has_nwk, else APP    OptNeg=0: that key; OptNeg=1: JSIntKey; that key
 *   rejoin 0, 2     SNwkSIntKey of a session       JSIntKey, JSEncKey
 *   rejoin 1        JSIntKey                       JSIntKey, JSEncKey
 *
 * OptNeg of accept.dl_settings chooses the scheme of a join. OptNeg=1 needs `has_nwk`; a rejoin
 * needs `has_nwk` in any case and OptNeg=1 in its plan. RJcount stands in the place of DevNonce. Of
 * types 0 and 2 the sessions are tried in turn; the first that proves the MIC decides whether
 * there is an answer. `explain`: of a Join-Request whose MIC is wrong, every likely mistake is
 * tried, at the cost of up to four MACs and one opened key more, the same whichever it is.
 * KEYD_BAD_INPUT: what is not such a frame, or of another device, or (type 1) of another JoinEUI.
 */
struct keyd_join_request {
    struct eui64 dev_eui;
    struct eui64 join_eui; /* of the record: the tag binds it, and 1.1 derives with it */
    /* The device uses another JoinEUI than its record has: 1.1 derives with that. */
    bool has_air_join_eui;
    struct eui64 air_join_eui;
    struct sealed_key app;
    bool has_nwk;
    struct sealed_key nwk;
    uint8_t frame[LW_REJOIN_MAX];
    uint8_t frame_len; /* LW_JOIN_REQUEST_LEN, LW_REJOIN_LEN_0_2 or LW_REJOIN_LEN_1 */
    struct keyd_session sessions[KEYD_SESSIONS_MAX]; /* of types 0 and 2; else not looked at */
    bool explain;                                    /* of a Join-Request; else not looked at */
    bool plan;
    struct lw_join_accept accept;
    uint8_t ns_kek; /* index into the message's KEKs, or KEYD_PLAIN. A KEK must be of
                       accept.net_id: its peer is the NetID, or an NSID of it */
    uint8_t as_kek;
};

#define KEYD_WRAPPED_LEN 24 /* RFC 3394 of a 16-byte key */

/** A 16-byte session key on its way to whoever may have it: KEYD_WRAPPED_LEN bytes under a KEK, or
 * AES_KEY_LEN in clear, where KEYD_PLAIN asked for it: wipe it then. 0: not filled. */
struct keyd_envelope {
    uint8_t len;
    uint8_t bytes[KEYD_WRAPPED_LEN];
};

struct keyd_join_reply {
    enum keyd_status status;
    enum lw_mic_mistake mistake; /* of KEYD_MIC_FAILED, where it was to be explained */
    uint8_t session;             /* index of the one that proved the MIC of a rejoin 0 or 2 */
    uint8_t phy_payload_len;     /* 17 or 33; 0 without plan */
    uint8_t phy_payload[LW_JOIN_ACCEPT_MAX];
    bool opt_neg;                   /* which of the network keys are filled */
    struct keyd_envelope nwk_s_key; /* OptNeg=0 */
    struct keyd_envelope f_nwk_s_int_key, s_nwk_s_int_key, nwk_s_enc_key; /* OptNeg=1 */
    struct keyd_envelope app_s_key;
};

int keyd_answer_joins(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_join_request *requests, size_t n_requests,
    struct keyd_join_reply *replies, int64_t deadline_ms);

/* --- derive an AppSKey again ---------------------------------------------------------------- */

/** The numbers of a session that was answered before, and the record it was answered from. OptNeg=0
 * derives from NWK where has_nwk, else from APP; OptNeg=1 needs `has_nwk` and derives from APP. */
struct keyd_app_s_key_request {
    struct eui64 dev_eui;
    struct eui64 join_eui; /* of the record: the tag binds it, and 1.1 derives with it */
    /* The device uses another JoinEUI than its record has: 1.1 derives with that. */
    bool has_air_join_eui;
    struct eui64 air_join_eui;
    struct sealed_key app;
    bool has_nwk;
    struct sealed_key nwk;
    bool opt_neg;
    uint32_t join_nonce; /* 24 bits */
    uint16_t nonce;      /* DevNonce, or the RJcount of a rejoin */
    struct net_id net_id;
    uint8_t as_kek; /* filled by the call */
};

struct keyd_app_s_key_reply {
    enum keyd_status status;
    struct keyd_envelope app_s_key;
};

/** Derives one AppSKey and wraps it under `as_kek`, which is of an application server; NULL: it
 * leaves in clear (see plain_keys). `request` names everything but the KEK's index. */
int keyd_derive_app_s_key(struct keyd_channel *channel, const struct sealed_kek *as_kek,
    const struct keyd_app_s_key_request *request, struct keyd_app_s_key_reply *reply,
    int64_t deadline_ms);

/* --- adopt keys ----------------------------------------------------------------------------- */

/** How a root key comes to us. */
enum keyd_key_form {
    KEYD_FORM_CLEAR = 0, /* AES_KEY_LEN bytes */
    KEYD_FORM_WRAPPED,   /* KEYD_WRAPPED_LEN bytes: RFC 3394 under a KEK of class TRANSPORT */
    KEYD_FORM_SEALED,    /* KEYD_OAEP_LEN bytes: RSAES-OAEP to the exchange key, as of a KEK */
};

/** Seals one root key for its row. A wrapped or sealed key is opened in the HSM and is in clear
 * nowhere else. The caller wipes `key`. */
struct keyd_adopt_request {
    struct eui64 dev_eui;
    struct eui64 join_eui;
    enum key_slot slot;
    enum keyd_key_form form;
    uint8_t transport_kek; /* of KEYD_FORM_WRAPPED: index into the message's KEKs */
    union {
        struct secret_key key;
        uint8_t wrapped[KEYD_WRAPPED_LEN];
        uint8_t sealed[KEYD_OAEP_LEN];
    };
};

/* KEYD_BAD_INPUT: a text that does not open, or no key of 16 bytes in it; a KEK of another class.
 * KEYD_KEK_TAG_REFUSED, KEYD_KEK_UNKNOWN: the transport KEK. None of them touches other items. */
struct keyd_adopt_reply {
    enum keyd_status status;
    struct sealed_key sealed;
    uint8_t kcv[KEYD_KCV_LEN];
    uint8_t fingerprint[KEYD_FINGERPRINT_LEN]; /* of the key alone: see base/sealed.h */
};

/** Items of every form may stand in one message. ERROR_INPUT: an item that cannot be (slot, form,
 * or an index beyond `n_keks`). A sealed key costs about 3 ms of CPU (RSA-3072) and
 * one that does not open 9, another 50 to 60 us: mind the deadline of a full message. */
int keyd_adopt_device_keys(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_adopt_request *requests, size_t n_requests,
    struct keyd_adopt_reply *replies, int64_t deadline_ms);

/** Opens a peer's KEK that was encrypted to the exchange key (RSAES-OAEP, SHA-1, MGF1-SHA-1, empty
 * label) inside the HSM and seals it for its row. `kek` names everything but the key, which is
 * filled on success. `key_len` 16, 24 or 32. */
int keyd_adopt_kek(struct keyd_channel *channel, const uint8_t oaep[static KEYD_OAEP_LEN],
    unsigned key_len, struct sealed_kek *kek, uint8_t ret_kcv[static KEYD_KCV_LEN],
    enum keyd_status *ret_status, int64_t deadline_ms);

/* --- sealed to a public key ------------------------------------------------------------------ */

#define KEYD_RSA_MIN 256        /* bytes of a modulus: RSA-2048, its highest bit set */
#define KEYD_RSA_MAX 1024       /* RSA-8192 */
#define KEYD_EXPORT_RSA_MAX 512 /* RSA-4096: a full batch of keys sealed to one fits a frame */
#define KEYD_RSA_EXPONENT_MAX 8

/** An RSA public key: big-endian numbers without leading zeros, as BN_bn2bin() gives them. */
struct keyd_public_key {
    uint16_t modulus_len;
    uint8_t modulus[KEYD_RSA_MAX];
    uint8_t exponent_len;
    uint8_t exponent[KEYD_RSA_EXPONENT_MAX];
};

/** Whether it can be one: a modulus of KEYD_RSA_MIN to `modulus_max` bytes, both numbers odd, the
 * exponent at least 3. */
bool keyd_public_key_valid(const struct keyd_public_key *key, size_t modulus_max);

/* --- a KEK made here -------------------------------------------------------------------------- */

/** What nobody but the owner of a public key can open: RSAES-OAEP (SHA-1, MGF1-SHA-1, empty label)
 * of the KEK's bytes. */
struct keyd_made_kek {
    uint8_t kcv[KEYD_KCV_LEN];
    uint16_t len; /* of the modulus */
    uint8_t text[KEYD_RSA_MAX];
};

/** Makes a peer's KEK in the HSM, seals it for its row as keyd_adopt_kek() does, and encrypts it to
 * `to`. `kek` names everything but the key, which is filled on success. `key_len` 16, 24 or 32.
 * ERROR_INPUT: `to` is not valid. Asked twice, it makes two. */
int keyd_make_kek(struct keyd_channel *channel, const struct keyd_public_key *to, unsigned key_len,
    struct sealed_kek *kek, struct keyd_made_kek *ret, enum keyd_status *ret_status,
    int64_t deadline_ms);

/* --- a root key made here --------------------------------------------------------------------- */

/** How a new root key leaves for the one whose devices it is for. */
enum keyd_made_form {
    KEYD_MADE_WRAPPED = 0, /* RFC 3394 under the transport KEK */
    /* As id_key.bin has it: blocks under AES-128, each by itself, which nothing protects against
     * being changed or swapped. The transport KEK must be of 16 bytes. */
    KEYD_MADE_RECORD,
};

/** Whose key is to be made. Of a Sigfox credential `dev_eui` is four zero bytes and the id,
 * big-endian, `join_eui` eight zero bytes, and `slot` KEY_SLOT_APP; all of it stands in the tag. */
struct keyd_make_request {
    struct eui64 dev_eui;
    struct eui64 join_eui;
    enum key_slot slot;
    bool is_sigfox;
    enum keyd_made_form form;
    uint8_t transport_kek; /* index into the message's KEKs: one of class TRANSPORT */
};

/** The blocks of a device's record in id_key.bin, each one AES-128-ECB block under the transport
 * KEK. keyd makes all of them, from nothing but the names in the request. A record of a Sigfox
 * credential is identifier and key; of a device identifier, key of KEY_SLOT_APP, and key of
 * KEY_SLOT_NWK or, where there is none, `no_key`. */
struct keyd_record {
    /* Of KEY_SLOT_APP alone. is_sigfox: the id, little-endian, and 12 zero bytes; else DevEUI and
     * JoinEUI, both little-endian. */
    uint8_t identifier[AES_KEY_LEN];
    uint8_t key[AES_KEY_LEN];
    uint8_t no_key[AES_KEY_LEN]; /* 16 zero bytes; of KEY_SLOT_APP alone, and not of Sigfox */
};

/* KEYD_BAD_INPUT: a KEK of another class; one of another length than the form needs; what is no
 * Sigfox credential's name. KEYD_KEK_TAG_REFUSED, KEYD_KEK_UNKNOWN: the transport KEK.
 * KEYD_CANNOT_EXPORT: the token does not wrap in the form of a record. None of them touches other
 * items. What is not of the form asked for, and all of a refused item, is zeros. */
struct keyd_make_reply {
    enum keyd_status status;
    struct sealed_key sealed;
    uint8_t kcv[KEYD_KCV_LEN];
    uint8_t fingerprint[KEYD_FINGERPRINT_LEN]; /* as of an adopted key */
    uint8_t wrapped[KEYD_WRAPPED_LEN];         /* KEYD_MADE_WRAPPED */
    struct keyd_record record;                 /* KEYD_MADE_RECORD */
};

/** Makes up to KEYD_BATCH_MAX root keys by the HSM's generator, seals each for its row as adoption
 * does, and wraps it under the transport KEK that its item names: in clear it is nowhere. Nothing
 * is kept: asked twice, it makes two, and a key whose row is not written is gone. ERROR_INPUT: an
 * item that cannot be (slot, form, or an index beyond `n_keks`). */
int keyd_make_device_keys(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_make_request *requests, size_t n_requests,
    struct keyd_make_reply *replies, int64_t deadline_ms);

/** What the code key makes, and which version of it did. */
struct keyd_code_hash {
    uint8_t hash[KEYD_HASH_LEN];
    uint16_t version;
};

/** HMAC-SHA-256 with a version of the code key (0: the newest) over "delivery-v1" | the batch's
 * public id: the key that the records of its delivery are sealed with (AES-256-GCM), which is
 * stored nowhere and the same whenever it is asked for. What it opens are keys that are wrapped
 * once more. `ret->version` is that of the code key, the newest where the token does not hold the
 * one that was asked for. The caller wipes `ret`. */
int keyd_delivery_key(struct keyd_channel *channel, const uint8_t batch[static KEYD_BATCH_ID_LEN],
    unsigned version, struct keyd_code_hash *ret, int64_t deadline_ms);

/* --- export ---------------------------------------------------------------------------------- */

/** One root key as its row has it. */
struct keyd_export_request {
    struct eui64 dev_eui;
    struct eui64 join_eui;
    enum key_slot slot;
    struct sealed_key key;
};

/* KEYD_TAG_REFUSED, KEYD_KEK_UNKNOWN as at a join; KEYD_CANNOT_EXPORT. None touches other items. */
struct keyd_export_reply {
    enum keyd_status status;
    uint16_t len; /* of the modulus; 0 when refused */
    uint8_t text[KEYD_EXPORT_RSA_MAX];
};

/** Encrypts up to KEYD_BATCH_MAX root keys to `to` (RSAES-OAEP, SHA-1, MGF1-SHA-1, empty label: the
 * 16 bytes of the key), inside the HSM. Whoever has the private key then has them for ever: mark
 * the devices before the answer leaves. ERROR_INPUT: `to` is not valid, or has more than
 * KEYD_EXPORT_RSA_MAX bytes. */
int keyd_export_keys(struct keyd_channel *channel, const struct keyd_public_key *to,
    const struct keyd_export_request *requests, size_t n_requests,
    struct keyd_export_reply *replies, int64_t deadline_ms);

/* --- sealing anew ----------------------------------------------------------------------------- */

/** One root key as its row has it. */
struct keyd_rewrap_key_request {
    struct eui64 dev_eui;
    struct eui64 join_eui;
    enum key_slot slot;
    struct sealed_key key;
};

/* KEYD_TAG_REFUSED (of a KEK KEYD_KEK_TAG_REFUSED), KEYD_KEK_UNKNOWN as at a join;
 * KEYD_CANNOT_EXPORT: the token holds no key that opens this one to be sealed again. None touches
 * other items. */
struct keyd_rewrap_reply {
    enum keyd_status status;
    bool changed;                      /* false: it is under the newest versions already */
    struct sealed_key sealed;          /* where it changed */
    char newest[SEALED_LABEL_MAX + 1]; /* what seals now, where nothing changed, */
    uint16_t newest_tag;               /* and the version that makes tags */
};

/** Opens up to KEYD_BATCH_MAX root keys, after their tags were checked, and seals them for the same
 * rows under the newest version of the storage KEK, all in the HSM, with a tag of the newest
 * version of the tag key. What cannot be opened keeps its blob and gets its new tag all the same.
 */
int keyd_rewrap_keys(struct keyd_channel *channel, const struct keyd_rewrap_key_request *requests,
    size_t n, struct keyd_rewrap_reply *replies, int64_t deadline_ms);
/** The same of peers' KEKs. One message has one `newest`. */
int keyd_rewrap_keks(struct keyd_channel *channel, const struct sealed_kek *keks, size_t n,
    struct keyd_rewrap_reply *replies, int64_t deadline_ms);
/** What seals now, of the token. */
struct keyd_newest {
    char device[SEALED_LABEL_MAX + 1]; /* labels: of device keys, */
    char kek[SEALED_LABEL_MAX + 1];    /* and of peers' KEKs */
    uint16_t tag, code;                /* versions of the tag key and of the code key */
};
int keyd_newest(struct keyd_channel *channel, struct keyd_newest *ret, int64_t deadline_ms);

/* --- keyed hashes --------------------------------------------------------------------------- */

/** A claim code of a device, and how often it was made anew. */
struct keyd_claim_code {
    struct eui64 dev_eui;
    uint32_t generation;
    uint16_t version; /* of the code key; 0: the newest */
    uint8_t code_len;
    char code[KEYD_CODE_MAX]; /* no NUL */
};

/** HMAC-SHA-256 with the code key over "claim-v1" | DevEUI | generation | code, of up to
 * KEYD_BATCH_MAX codes: all, or an error (ERROR_HSM, where the token failed one). Of a version that
 * the token does not hold it is the newest's hash, and says so: no row has it. The caller wipes
 * `codes`. */
int keyd_hash_claim_codes(struct keyd_channel *channel, const struct keyd_claim_code *codes,
    size_t n_codes, struct keyd_code_hash *ret, int64_t deadline_ms);

/** HMAC-SHA-256 with the token key over "token-v1" | body: checks up to KEYD_BATCH_MAX access
 * tokens, whose bodies have the same length. All, or an error. */
int keyd_hash_tokens(struct keyd_channel *channel, const uint8_t *const *bodies, size_t body_len,
    size_t n, uint8_t (*ret_hashes)[KEYD_HASH_LEN], int64_t deadline_ms);
/** The same of one: signs or checks it. */
int keyd_hash_token(struct keyd_channel *channel, const uint8_t *body, size_t body_len,
    uint8_t ret_hash[static KEYD_HASH_LEN], int64_t deadline_ms);

/** Whose secret is meant. Nothing in it is of a caller's choice but which webhook, and the how
 * manieth secret of it. */
struct keyd_webhook {
    uint8_t id[KEYD_WEBHOOK_ID_LEN];
    uint32_t generation; /* from 1 */
};

/** HMAC-SHA-256 with the token key over "webhook-v1" | id | generation: the secrets that up to
 * KEYD_BATCH_MAX webhooks sign with, which are stored nowhere. All, or an error. The caller wipes
 * `ret_secrets`. */
int keyd_webhook_secrets(struct keyd_channel *channel, const struct keyd_webhook *webhooks,
    size_t n, uint8_t (*ret_secrets)[KEYD_HASH_LEN], int64_t deadline_ms);

/* --- random bytes ---------------------------------------------------------------------------- */

/** Fills `n_items` times `len` bytes at `ret` from the HSM's generator: up to KEYD_BATCH_MAX items
 * of up to KEYD_RANDOM_MAX bytes; all, or an error. The caller wipes what is to stay secret. */
int keyd_random(
    struct keyd_channel *channel, uint8_t *ret, size_t len, size_t n_items, int64_t deadline_ms);

/** A known-answer wrap, derivation and tag on the live token: the only honest health check. */
int keyd_self_test(struct keyd_channel *channel, int64_t deadline_ms);

/* --- audit ------------------------------------------------------------------------------------ */

/** Signs a checkpoint, whose bytes keyd makes itself, and whose time is its own: *checkpoint gets
 * it. KEYD_BAD_INPUT for what can be none, KEYD_NO_AUDIT_KEY. */
int keyd_sign_checkpoint(struct keyd_channel *channel, struct audit_checkpoint *checkpoint,
    uint8_t ret_signature[static AUDIT_SIGNATURE_LEN], enum keyd_status *ret_status,
    int64_t deadline_ms);
/** The public half of the key that signs them: a point of P-256. KEYD_NO_AUDIT_KEY. */
int keyd_audit_key(struct keyd_channel *channel, uint8_t ret_point[static AUDIT_POINT_LEN],
    enum keyd_status *ret_status, int64_t deadline_ms);

/** Signs a statement of this type and document (base/custody_form.h) with the same key, and with
 * keyd's own time, which *ret_time gets. KEYD_BAD_INPUT for what can be none, KEYD_NO_AUDIT_KEY. */
int keyd_sign_custody(struct keyd_channel *channel, enum custody_type type, const char *document,
    size_t len, uint64_t *ret_time, uint8_t ret_signature[static AUDIT_SIGNATURE_LEN],
    enum keyd_status *ret_status, int64_t deadline_ms);
