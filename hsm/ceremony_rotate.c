/* Versions of keys: made, let seal, opened to be sealed anew, destroyed. */
#include "hsm/ceremony.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/secret.h"
#include "hsm/ceremony_keys.h"
#include "hsm/p11_keys.h"
#include "hsm/p11_ops.h"
#include "hsm/token_files.h"
#include <stdio.h>
#include <string.h>

static const struct family {
    const char *word;
    const char *prefix;
    const char *twin;  /* what opens a version's keys to be sealed anew; NULL: it opens nothing */
    const char *state; /* of a version that was made */
    const char *active;
    const char *gone;
} families[HSM_N_FAMILIES] = {
    [HSM_FAMILY_DEVICE] = {"device", P11_LABEL_DEVICE, P11_LABEL_REWRAP_DEVICE,
        "opens, and does not seal yet", "seals from now on", "what it sealed cannot be opened"},
    [HSM_FAMILY_KEK] = {"kek", P11_LABEL_KEK, P11_LABEL_REWRAP_KEK, "opens, and does not seal yet",
        "seals from now on", "what it sealed cannot be opened"},
    [HSM_FAMILY_TAG] = {"tag", P11_LABEL_TAG, NULL, "checks, and does not make tags yet",
        "makes tags from now on", "a key with a tag of it cannot be used"},
    [HSM_FAMILY_CODE] = {"code", P11_LABEL_CODE, NULL, "checks, and does not hash new codes yet",
        "hashes new codes from now on", "a code that it hashed is right for nobody"},
};

const char *hsm_family_word(enum hsm_family family)
{
    return families[family].word;
}

bool hsm_family_parse(const char *word, enum hsm_family *ret)
{
    for (int i = 0; i < HSM_N_FAMILIES; i++) {
        if (strcmp(families[i].word, word) != 0)
            continue;
        *ret = (enum hsm_family)i;
        return true;
    }
    return false;
}

bool hsm_family_is_store(enum hsm_family family)
{
    return families[family].twin != NULL;
}

#define LABEL_MAX 64

/** An open token, under its lock. */
struct session {
    struct token_setting setting;
    struct p11_token token;
    struct p11_keys keys;
    int lock;
};

static void session_end(struct session *s)
{
    p11_token_close(&s->token);
    cleanup_close(&s->lock);
    token_setting_restore(&s->setting);
}

static int session_begin(struct session *s, const struct hsm_ceremony *ceremony)
{
    int r = token_setting_change(ceremony->softhsm_conf, &s->setting);

    if (r == 0)
        r = p11_lock(ceremony->lock_file, &s->lock);
    if (r == 0)
        r = p11_token_open(&s->token, ceremony->uri, true, s->lock);
    return r < 0 ? r : p11_keys_find(&s->token, &s->keys);
}

/* SoftHSM writes its files without fsync; and what a fresh opening shows is what is there. */
static int session_again(struct session *s, const struct hsm_ceremony *ceremony)
{
    p11_token_close(&s->token);
    sync();
    int r = p11_token_open(&s->token, ceremony->uri, false, s->lock);

    return r < 0 ? r : p11_keys_find(&s->token, &s->keys);
}

static const struct p11_store *store_of(const struct session *s, enum hsm_family family)
{
    const struct p11_store *const stores[HSM_N_FAMILIES] = {
        [HSM_FAMILY_DEVICE] = &s->keys.device,
        [HSM_FAMILY_KEK] = &s->keys.kek,
        [HSM_FAMILY_TAG] = &s->keys.tag,
        [HSM_FAMILY_CODE] = &s->keys.code,
    };

    return stores[family];
}

void hsm_family_label(
    enum hsm_family family, unsigned version, char ret[static HSM_FAMILY_LABEL_MAX])
{
    (void)snprintf(ret, HSM_FAMILY_LABEL_MAX, "%s%u", families[family].prefix, version);
}

/* --- objects ---------------------------------------------------------------------------------- */

/* Of what is not there, nothing. */
static int destroy(struct p11_token *token, CK_OBJECT_CLASS class, const char *label)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    int r = ceremony_find(token, class, label, &handle);

    if (r != 0)
        return r < 0 ? r : 0;
    return p11_destroy(token, &handle);
}

static void mark_label(const char *label, char ret[static LABEL_MAX])
{
    (void)snprintf(ret, LABEL_MAX, P11_LABEL_PENDING "%s", label);
}

static int mark_pending(struct p11_token *token, const char *label)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    char mark[LABEL_MAX];
    CK_ATTRIBUTE attributes[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_LABEL, mark, 0},
    };
    CK_RV rv;

    mark_label(label, mark);
    attributes[3].ulValueLen = strlen(mark);
    rv = token->f->C_CreateObject(token->anchor, attributes, 4, &made);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_CreateObject (a mark)");
}

static int check_value(
    struct p11_token *token, const char *label, uint8_t ret[static CEREMONY_KCV_LEN])
{
    const struct ceremony_object *row = ceremony_object_find(CKO_SECRET_KEY, label);
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    int r = ceremony_find(token, CKO_SECRET_KEY, label, &handle);

    if (r != 0 || row == NULL)
        return r < 0 ? r : error_set(ERROR_HSM, "the token does not show %s", label);
    return row->check(token, handle, ret);
}

static void report_version(
    const char *label, const char *state, const uint8_t *kcv, struct text *report)
{
    char hex[2 * CEREMONY_KCV_LEN + 1];

    text_addf(
        report, "%-22s check value %s; %s\n", label, hex_encode(kcv, CEREMONY_KCV_LEN, hex), state);
}

/* --- a new version ---------------------------------------------------------------------------- */

static int next_version(const struct p11_store *store, unsigned *ret)
{
    unsigned highest = 0;

    for (size_t i = 0; i < store->n; i++) {
        if (store->keks[i].pending)
            return error_set(ERROR_CONFIG,
                "%s is there and does not seal yet: activate it, or retire it first",
                store->keks[i].label);
        if (store->keks[i].version > highest)
            highest = store->keks[i].version;
    }
    if (store->n >= P11_STORE_VERSIONS_MAX || highest >= P11_STORE_VERSION_MAX)
        return error_set(
            ERROR_CONFIG, "the token holds %zu versions: retire old ones first", store->n);
    *ret = highest + 1;
    return 0;
}

/* Fingerprints outlive the version of the tag key that they come of. */
static int keep_fingerprints(struct session *s)
{
    uint8_t value[KEYED_LEN];
    int r;

    if (s->keys.fingerprint != CK_INVALID_HANDLE)
        return 0;
    r = p11_fingerprint_value(&s->token, &s->keys, value);
    if (r == 0)
        r = ceremony_make_fingerprint(&s->token, value);
    secret_wipe(value, sizeof(value));
    return r;
}

static int make_hash_version(struct session *s, enum hsm_family family, const char *label,
    uint8_t kcv[static CEREMONY_KCV_LEN])
{
    int r = family == HSM_FAMILY_TAG ? keep_fingerprints(s) : 0;

    if (r == 0)
        r = mark_pending(&s->token, label);
    if (r == 0)
        r = ceremony_make_hmac(&s->token, label);
    return r < 0 ? r : check_value(&s->token, label, kcv);
}

/* The mark first: a keyd that looks in between must not seal under it. */
static int make_store_version(struct session *s, const struct hsm_ceremony *ceremony,
    enum hsm_family family, const char *label, uint8_t kcv[static CEREMONY_KCV_LEN])
{
    const struct p11_store_kek *newest = p11_store_newest(store_of(s, family));
    const struct ceremony_object *row = ceremony_object_find(CKO_SECRET_KEY, label);
    const bool exportable = family == HSM_FAMILY_DEVICE &&
                            p11_store_version_find(&s->keys.export, newest->version) != NULL;
    CK_OBJECT_HANDLE escrow = CK_INVALID_HANDLE;
    int r = 0;

    if (ceremony->escrow_path != NULL)
        r = ceremony_find(&s->token, CKO_SECRET_KEY, P11_LABEL_ESCROW, &escrow);
    if (r > 0)
        r = ceremony_make_escrow(&s->token);
    if (r == 0)
        r = mark_pending(&s->token, label);
    if (r == 0)
        r = ceremony_make_store(&s->token, row, label, ceremony->escrow_path, exportable);
    return r < 0 ? r : check_value(&s->token, label, kcv);
}

static int make_version(struct session *s, const struct hsm_ceremony *ceremony,
    enum hsm_family family, const char *label, uint8_t kcv[static CEREMONY_KCV_LEN])
{
    return hsm_family_is_store(family) ? make_store_version(s, ceremony, family, label, kcv)
                                       : make_hash_version(s, family, label, kcv);
}

static int destroy_version(struct session *s, enum hsm_family family, unsigned version)
{
    char label[LABEL_MAX];
    int r = 0;

    (void)snprintf(label, sizeof(label), "%s%u", families[family].prefix, version);
    r = destroy(&s->token, CKO_SECRET_KEY, label);
    if (r == 0 && hsm_family_is_store(family)) {
        (void)snprintf(label, sizeof(label), "%s%u", families[family].twin, version);
        r = destroy(&s->token, CKO_SECRET_KEY, label);
    }
    (void)snprintf(label, sizeof(label), P11_LABEL_EXPORT "%u", version);
    if (r == 0 && family == HSM_FAMILY_DEVICE)
        r = destroy(&s->token, CKO_SECRET_KEY, label);
    (void)snprintf(
        label, sizeof(label), P11_LABEL_PENDING "%s%u", families[family].prefix, version);
    return r < 0 ? r : destroy(&s->token, CKO_DATA, label);
}

int hsm_ceremony_rotate(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned *ret_version, struct text *report)
{
    CLEANUP(session_end) struct session s = {.lock = -1};
    uint8_t made[CEREMONY_KCV_LEN], again[CEREMONY_KCV_LEN];
    char label[HSM_FAMILY_LABEL_MAX];
    unsigned version = 0;
    int r = session_begin(&s, ceremony);

    if (r == 0)
        r = next_version(store_of(&s, family), &version);
    if (r < 0)
        return r;
    hsm_family_label(family, version, label);
    r = make_version(&s, ceremony, family, label, made);
    if (r < 0) {
        char text[ERROR_TEXT_MAX];

        (void)snprintf(text, sizeof(text), "%s", error_text());
        (void)destroy_version(&s, family, version);
        return error_set(r, "%s", text);
    }
    r = session_again(&s, ceremony);
    if (r == 0)
        r = check_value(&s.token, label, again);
    if (r == 0 && memcmp(made, again, sizeof(made)) != 0)
        r = error_set(ERROR_HSM,
            "after opening the token again, %s is another key: do not activate it", label);
    if (r < 0)
        return r;
    report_version(label,
        ceremony->escrow_path != NULL || !hsm_family_is_store(family)
            ? families[family].state
            : "opens, and does not seal yet; not in an escrow file: what it will seal stays under it",
        again, report);
    *ret_version = version;
    return 0;
}

/* --- the other acts --------------------------------------------------------------------------- */

static int must_have(const struct session *s, enum hsm_family family, unsigned version,
    const struct p11_store_kek **ret)
{
    *ret = p11_store_version_find(store_of(s, family), version);
    return *ret != NULL ? 0
                        : error_set(ERROR_CONFIG, "the token holds no %s%u",
                              families[family].prefix, version);
}

int hsm_ceremony_activate(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned version, struct text *report)
{
    CLEANUP(session_end) struct session s = {.lock = -1};
    const struct p11_store_kek *kek = NULL;
    uint8_t kcv[CEREMONY_KCV_LEN];
    char mark[LABEL_MAX], label[HSM_FAMILY_LABEL_MAX];
    int r = session_begin(&s, ceremony);

    if (r == 0)
        r = must_have(&s, family, version, &kek);
    if (r < 0)
        return r;
    if (kek == NULL || !kek->pending)
        return 1;
    hsm_family_label(family, version, label);
    mark_label(label, mark);
    r = destroy(&s.token, CKO_DATA, mark);
    if (r == 0)
        r = session_again(&s, ceremony);
    if (r == 0)
        r = check_value(&s.token, label, kcv);
    if (r == 0)
        report_version(label, families[family].active, kcv, report);
    return r;
}

int hsm_ceremony_open(const struct hsm_ceremony *ceremony, enum hsm_family family, unsigned version,
    struct text *report)
{
    CLEANUP(session_end) struct session s = {.lock = -1};
    const struct p11_store_kek *kek = NULL;
    const struct p11_store *twins;
    uint8_t kcv[CEREMONY_KCV_LEN];
    char twin[LABEL_MAX];
    int r = 0;

    if (!hsm_family_is_store(family))
        return error_set(
            ERROR_CONFIG, "%s keys open nothing: there is none to open", families[family].word);
    r = session_begin(&s, ceremony);
    if (r == 0)
        r = must_have(&s, family, version, &kek);
    if (r < 0)
        return r;
    (void)snprintf(twin, sizeof(twin), "%s%u", families[family].twin, version);
    twins = family == HSM_FAMILY_DEVICE ? &s.keys.rewrap_device : &s.keys.rewrap_kek;
    if (p11_store_find(twins, twin) != NULL)
        return 1;
    r = ceremony_make_twin(&s.token, ceremony->escrow_path, kek->label, twin);
    if (r == 0)
        r = session_again(&s, ceremony);
    if (r == 0)
        r = check_value(&s.token, twin, kcv);
    if (r == 0)
        report_version(twin, "there until `cradle hsm close`", kcv, report);
    return r;
}

int hsm_ceremony_close(const struct hsm_ceremony *ceremony, struct text *report)
{
    CLEANUP(session_end) struct session s = {.lock = -1};
    int r = session_begin(&s, ceremony);
    const struct p11_store *const stores[] = {&s.keys.rewrap_device, &s.keys.rewrap_kek};

    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        for (size_t k = 0; r == 0 && k < stores[i]->n; k++) {
            r = destroy(&s.token, CKO_SECRET_KEY, stores[i]->keks[k].label);
            if (r == 0)
                text_addf(report, "%s is gone\n", stores[i]->keks[k].label);
        }
    }
    if (r == 0)
        r = session_again(&s, ceremony);
    if (r == 0 && s.keys.rewrap_device.n + s.keys.rewrap_kek.n > 0)
        r = error_set(ERROR_HSM, "after opening the token again, what was destroyed is there");
    return r;
}

static int may_go(const struct session *s, enum hsm_family family, const struct p11_store_kek *kek)
{
    if (p11_store_newest(store_of(s, family)) == kek)
        return error_set(ERROR_CONFIG, "%s %s: activate another version first", kek->label,
            hsm_family_is_store(family) ? "seals new keys" : "makes what is new");
    if (family == HSM_FAMILY_TAG && s->keys.fingerprint == CK_INVALID_HANDLE)
        return error_set(ERROR_CONFIG,
            "the token holds no %s, and cannot do without %s: rotate the tag key once more, or "
            "copy it from the first token",
            P11_LABEL_FINGERPRINT, kek->label);
    return 0;
}

int hsm_ceremony_retire(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned version, struct text *report)
{
    CLEANUP(session_end) struct session s = {.lock = -1};
    const struct p11_store_kek *kek;
    char label[HSM_FAMILY_LABEL_MAX], hex[2 * CEREMONY_KCV_LEN + 1];
    uint8_t kcv[CEREMONY_KCV_LEN];
    int r = session_begin(&s, ceremony);

    if (r < 0)
        return r;
    kek = p11_store_version_find(store_of(&s, family), version);
    if (kek == NULL) { /* what a retirement that was killed has left */
        r = destroy_version(&s, family, version);
        return r < 0 ? r : 1;
    }
    r = may_go(&s, family, kek);
    hsm_family_label(family, version, label);
    if (r == 0)
        r = check_value(&s.token, label, kcv);
    if (r == 0)
        r = destroy_version(&s, family, version);
    if (r == 0)
        r = session_again(&s, ceremony);
    if (r == 0 && p11_store_version_find(store_of(&s, family), version) != NULL)
        r = error_set(ERROR_HSM, "after opening the token again, what was destroyed is there");
    if (r == 0)
        text_addf(report, "%s (check value %s) is gone: %s\n", label,
            hex_encode(kcv, sizeof(kcv), hex), families[family].gone);
    return r;
}

int hsm_ceremony_may_retire(const struct hsm_ceremony *ceremony, enum hsm_family family,
    unsigned version, bool *ret_never_sealed)
{
    CLEANUP(session_end) struct session s = {.lock = -1};
    const struct p11_store_kek *kek;
    int r = session_begin(&s, ceremony);

    if (r < 0)
        return r;
    kek = p11_store_version_find(store_of(&s, family), version);
    *ret_never_sealed = kek != NULL && kek->pending;
    return kek != NULL ? may_go(&s, family, kek) : 1;
}
