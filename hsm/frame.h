/* What a service and cradle-keyd say to each other: one message an act, over SOCK_SEQPACKET.
 *
 * A message is a header, then KEKs, then of one verb what its items share, then items, all of fixed
 * size and big-endian; nothing in it has
 * a length of its own, so a decoder has nothing to be talked into. Both sides check everything:
 * magic, version, verb, counts against the verb's row, total length, enums, flags, labels, padding.
 * Encoders and decoders are pure functions and total: any bytes give 0 or ERROR_INPUT.
 *
 *   request  magic "CKQ1" | verb 1 | n_keks 1 | n_items 1 | 0 | sequence 4 | total length 4
 *   reply    magic "CKR1" | verb 1 | 0        | n_items 1 | 0 | sequence 4 | total length 4
 *            | operations 4 | resident memory in KiB 4
 *   hello    magic "CKH1" | state 1 | 0 0 0 | text, NUL-padded to KEYD_HELLO_TEXT_MAX
 *
 * Before its hello a keyd that was asked to says which keys its token holds (hsm/key_list.h). */
#pragma once

#include "base/custody_form.h"
#include "hsm/client.h"

/* The greatest request is a full batch of joins with a full set of KEKs; 64 KiB holds it. */
#define KEYD_FRAME_MAX 65536
#define KEYD_HELLO_TEXT_MAX 256
#define KEYD_HELLO_LEN (8 + KEYD_HELLO_TEXT_MAX)

/* How cradle-keyd ends; the pool decides by it whether another is started. */
enum keyd_exit {
    KEYD_EXIT_OK = 0,          /* every channel was closed */
    KEYD_EXIT_PIN = 10,        /* the token refused the PIN: never start another one */
    KEYD_EXIT_CONFIG = 11,     /* a setting is wrong, or the token lacks what we need */
    KEYD_EXIT_HSM = 12,        /* the token failed at start */
    KEYD_EXIT_FRAME = 13,      /* a malformed frame came */
    KEYD_EXIT_TOKEN_LOST = 14, /* the token went away under us: a fresh process finds it again */
    KEYD_EXIT_INTERNAL = 15,
};

struct keyd_adopt_kek_request {
    uint8_t oaep[KEYD_OAEP_LEN];
    uint8_t key_len;
    struct sealed_kek kek; /* `key` is empty */
};

struct keyd_make_kek_request {
    struct keyd_public_key to;
    uint8_t key_len;
    struct sealed_kek kek; /* `key` is empty */
};

struct keyd_delivery_request {
    uint8_t batch[KEYD_BATCH_ID_LEN];
    uint16_t version; /* of the code key; 0: the newest */
};

struct keyd_token_request {
    uint8_t body_len;
    uint8_t body[KEYD_TOKEN_MAX];
};

struct keyd_random_request {
    uint8_t len; /* 1 to KEYD_RANDOM_MAX */
};

struct keyd_export_message {
    struct keyd_public_key to;
    struct keyd_export_request items[KEYD_BATCH_MAX];
};

struct keyd_adopt_kek_reply {
    enum keyd_status status;
    struct sealed_key sealed;
    uint8_t kcv[KEYD_KCV_LEN];
};

struct keyd_make_kek_reply {
    enum keyd_status status;
    struct sealed_key sealed;
    struct keyd_made_kek made;
};

struct keyd_hash_reply {
    enum keyd_status status;
    uint16_t version; /* of the code key, where that made it; else 0 */
    uint8_t hash[KEYD_HASH_LEN];
};

struct keyd_sign_reply {
    enum keyd_status status;
    uint64_t time;
    uint8_t signature[AUDIT_SIGNATURE_LEN];
};

struct keyd_custody_request {
    enum custody_type type;
    uint16_t len;
    char document[CUSTODY_DOCUMENT_MAX];
};

struct keyd_audit_key_reply {
    enum keyd_status status;
    uint8_t point[AUDIT_POINT_LEN];
};

struct keyd_random_reply {
    enum keyd_status status;
    uint8_t len; /* 0 when it failed */
    uint8_t bytes[KEYD_RANDOM_MAX];
};

/** A message as keyd sees it. Wipe it after use: adoption carries keys in clear. */
struct keyd_request {
    enum keyd_verb verb;
    uint32_t sequence;
    size_t n_keks;
    size_t n_items;
    struct sealed_kek keks[KEYD_KEKS_MAX];
    union {
        struct keyd_join_request joins[KEYD_BATCH_MAX];
        struct keyd_adopt_request adopts[KEYD_BATCH_MAX];
        struct keyd_make_request makes[KEYD_BATCH_MAX];
        struct keyd_delivery_request delivery;
        struct keyd_adopt_kek_request adopt_kek;
        struct keyd_make_kek_request make_kek;
        struct keyd_claim_code codes[KEYD_BATCH_MAX];
        struct keyd_token_request tokens[KEYD_BATCH_MAX];
        struct keyd_app_s_key_request app_s_key;
        struct keyd_random_request randoms[KEYD_BATCH_MAX];
        struct keyd_webhook webhooks[KEYD_BATCH_MAX];
        struct keyd_export_message export;
        struct keyd_rewrap_key_request rewrap_keys[KEYD_BATCH_MAX];
        struct sealed_kek rewrap_keks[KEYD_BATCH_MAX];
        struct audit_checkpoint checkpoint; /* without its time */
        struct keyd_custody_request custody;
    };
};

struct keyd_reply {
    enum keyd_verb verb;
    uint32_t sequence;
    size_t n_items;
    uint32_t operations; /* items served since start */
    uint32_t rss_kib;
    union {
        struct keyd_join_reply joins[KEYD_BATCH_MAX];
        struct keyd_adopt_reply adopts[KEYD_BATCH_MAX];
        struct keyd_make_reply makes[KEYD_BATCH_MAX];
        struct keyd_adopt_kek_reply adopt_kek;
        struct keyd_make_kek_reply make_kek;
        /* Both hash verbs, webhooks' secrets and delivery keys; the self-test uses the status of
         * the first alone. */
        struct keyd_hash_reply hashes[KEYD_BATCH_MAX];
        struct keyd_app_s_key_reply app_s_key;
        struct keyd_random_reply randoms[KEYD_BATCH_MAX];
        struct keyd_export_reply exports[KEYD_BATCH_MAX];
        struct keyd_rewrap_reply rewraps[KEYD_BATCH_MAX];
        struct keyd_sign_reply signed_checkpoint; /* also of a custody statement */
        struct keyd_audit_key_reply audit_key;
    };
};

/** What keyd says once on its first descriptor: ready, or why it must end. */
struct keyd_hello {
    enum keyd_exit state; /* KEYD_EXIT_OK: ready */
    char text[KEYD_HELLO_TEXT_MAX];
};

/** Verbs as keyd's command line has them: "join,self-test". Neither takes an empty set. */
#define KEYD_VERBS_TEXT_MAX 224
int keyd_verbs_format(unsigned verbs, char out[static KEYD_VERBS_TEXT_MAX]) MUST_CHECK;
int keyd_verbs_parse(const char *text, unsigned *ret_verbs) MUST_CHECK;

/** Whether a sealed key or KEK can be put into a frame. One that cannot (a label with a control
 * character, a length that no key has) was not made by keyd: its tag cannot be right. */
bool keyd_sealed_key_valid(const struct sealed_key *key);
bool keyd_sealed_kek_valid(const struct sealed_kek *kek);

/** Encoders take an array of KEK pointers because callers hold theirs in caches. `items` is an
 * array of the verb's items; of an export it is the keyd_export_message. ERROR_INPUT when the
 * request could not be decoded again. */
int keyd_request_encode(enum keyd_verb verb, uint32_t sequence,
    const struct sealed_kek *const *keks, size_t n_keks, const void *items, size_t n_items,
    uint8_t out[static KEYD_FRAME_MAX], size_t *ret_len) MUST_CHECK;
int keyd_request_decode(const uint8_t *data, size_t len, struct keyd_request *ret) MUST_CHECK;
int keyd_reply_encode(
    const struct keyd_reply *reply, uint8_t out[static KEYD_FRAME_MAX], size_t *ret_len) MUST_CHECK;
/** The client also checks verb, sequence and n_items against what it asked. */
int keyd_reply_decode(const uint8_t *data, size_t len, struct keyd_reply *ret) MUST_CHECK;
/** Whether a session key in clear, a webhook's secret, a delivery's key or random bytes are in it,
 * which may become a secret: then it and its frame are wiped after use. */
bool keyd_reply_holds_secrets(const struct keyd_reply *reply);
/** Whether the token failed one of the items of a reply that was decoded from this frame. */
bool keyd_reply_has_failure(const struct keyd_reply *reply, const uint8_t *frame);
void keyd_hello_encode(const struct keyd_hello *hello, uint8_t out[static KEYD_HELLO_LEN]);
int keyd_hello_decode(const uint8_t *data, size_t len, struct keyd_hello *ret) MUST_CHECK;
