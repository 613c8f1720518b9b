#include "hsm/ceremony_keys.h"

#include "base/aes.h"
#include "base/error.h"
#include "hsm/escrow.h"
#include "hsm/p11_audit.h"
#include "hsm/p11_exchange.h"
#include "hsm/p11_keys.h"
#include "hsm/p11_ops.h"
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define STORE_KEY_LEN 32
#define HMAC_KEY_LEN 32
#define EXCHANGE_BITS 3072
#define ATTRIBUTES_MAX 24

struct attributes {
    CK_ATTRIBUTE list[ATTRIBUTES_MAX];
    CK_ULONG n;
};

static const CK_BBOOL no = CK_FALSE, yes = CK_TRUE;

static void add(struct attributes *a, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    a->list[a->n++] = (CK_ATTRIBUTE){type, p11_in(value), len};
}

static void add_flag(struct attributes *a, CK_ATTRIBUTE_TYPE type, bool value)
{
    add(a, type, value ? &yes : &no, sizeof(CK_BBOOL));
}

/* A token object that never leaves: private, for SoftHSM writes others to its file in clear. */
static void add_hidden(struct attributes *a, const char *label)
{
    add_flag(a, CKA_TOKEN, true);
    add_flag(a, CKA_PRIVATE, true);
    add_flag(a, CKA_SENSITIVE, true);
    add_flag(a, CKA_EXTRACTABLE, false);
    add(a, CKA_LABEL, label, strlen(label));
    add(a, CKA_ID, label, strlen(label));
}

/* Comes last: what is set after it is refused when a key is unwrapped. */
static void add_lock(struct attributes *a)
{
    add_flag(a, CKA_MODIFIABLE, false);
}

/* But for what keyd works on copies of: only a key that can be modified can be copied. */
static void add_lock_of(struct attributes *a, const struct p11_token *token, const char *label)
{
    if (!token->quirks->works_on_copies || !p11_key_is_copied(label))
        add_lock(a);
}

static void add_uses(struct attributes *a, bool wrap, bool unwrap, bool sign)
{
    add_flag(a, CKA_WRAP, wrap);
    add_flag(a, CKA_UNWRAP, unwrap);
    add_flag(a, CKA_SIGN, sign);
    add_flag(a, CKA_VERIFY, false);
    add_flag(a, CKA_ENCRYPT, false);
    add_flag(a, CKA_DECRYPT, false);
    add_flag(a, CKA_DERIVE, false);
}

/* --- secret keys ------------------------------------------------------------------------------ */

static int generate(struct p11_token *token, CK_MECHANISM_TYPE type, struct attributes *a,
    const char *label, CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_RV rv = token->f->C_GenerateKey(token->anchor, &mechanism, a->list, a->n, ret);

    return rv == CKR_OK ? 0 : p11_failed(token, rv, label);
}

/* The unwrap template is what keeps a device key from being opened as a KEK, and a KEK as a device
 * key: whatever this key opens must agree with it. */
static void add_store(struct attributes *a, const char *label, struct p11_restriction *restriction)
{
    add_hidden(a, label);
    add_uses(a, true, true, false);
    add(a, CKA_UNWRAP_TEMPLATE, restriction->attributes, restriction->n * sizeof(CK_ATTRIBUTE));
}

static int generate_store(struct p11_token *token, const char *label, enum p11_use opens)
{
    const CK_ULONG len = STORE_KEY_LEN;
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct attributes a = {.n = 0};
    struct p11_restriction restriction;

    p11_restriction_fill(&restriction, opens);
    add_store(&a, label, &restriction);
    add(&a, CKA_VALUE_LEN, &len, sizeof(len));
    add_lock_of(&a, token, label);
    return generate(token, CKM_AES_KEY_GEN, &a, label, &made);
}

static int make_store_kek(struct p11_token *token, const struct ceremony_object *object)
{
    return generate_store(token, object->label, P11_USE_PEER);
}

static int make_store_device(struct p11_token *token, const struct ceremony_object *object)
{
    return generate_store(token, object->label, P11_USE_DEVICE);
}

/* --- a storage KEK and its twin --------------------------------------------------------------- */

/** A value on its way into two token objects: it leaves its session object under a KEK that never
 * leaves the token, and both are destroyed. */
struct courier {
    struct p11_token *token;
    CK_OBJECT_HANDLE value, kek;
    uint8_t blob[P11_WRAPPED_MAX];
    size_t len;
};

static void courier_end(struct courier *c)
{
    (void)p11_destroy(c->token, &c->value);
    (void)p11_destroy(c->token, &c->kek);
}

static int generate_passing(
    struct p11_token *token, bool value, const char *label, CK_OBJECT_HANDLE *ret)
{
    const CK_ULONG len = STORE_KEY_LEN;
    struct attributes a = {.n = 0};

    add_flag(&a, CKA_TOKEN, false);
    add_flag(&a, CKA_PRIVATE, true);
    add_flag(&a, CKA_SENSITIVE, true);
    add_flag(&a, CKA_EXTRACTABLE, value);
    add_uses(&a, !value, !value, false);
    add(&a, CKA_VALUE_LEN, &len, sizeof(len));
    add_lock(&a);
    return generate(token, CKM_AES_KEY_GEN, &a, label, ret);
}

static int courier_begin(struct courier *c, const char *label)
{
    int r = generate_passing(c->token, true, label, &c->value);

    if (r == 0)
        r = generate_passing(c->token, false, label, &c->kek);
    return r < 0 ? r : p11_wrap(c->token, c->kek, c->value, c->blob, &c->len);
}

static int courier_deliver(
    struct courier *c, const char *label, enum p11_use opens, CK_OBJECT_HANDLE *ret)
{
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static const CK_KEY_TYPE type = CKK_AES;
    const CK_ULONG len = STORE_KEY_LEN;
    CK_MECHANISM mechanism = {c->token->quirks->key_wrap, NULL, 0};
    struct attributes a = {.n = 0};
    struct p11_restriction restriction;
    CK_RV rv;

    p11_restriction_fill(&restriction, opens);
    add(&a, CKA_CLASS, &class, sizeof(class));
    add(&a, CKA_KEY_TYPE, &type, sizeof(type));
    if (c->token->quirks->value_len_in_unwrap)
        add(&a, CKA_VALUE_LEN, &len, sizeof(len));
    add_store(&a, label, &restriction);
    add_lock_of(&a, c->token, label);
    rv = c->token->f->C_UnwrapKey(
        c->token->anchor, &mechanism, c->kek, c->blob, c->len, a.list, a.n, ret);
    return rv == CKR_OK ? 0 : p11_failed(c->token, rv, label);
}

static int wrap_zeros(struct p11_token *token, CK_OBJECT_HANDLE kek,
    uint8_t blob[static P11_WRAPPED_MAX], size_t *ret_len)
{
    static const uint8_t zeros[16];
    CK_OBJECT_HANDLE known = CK_INVALID_HANDLE;
    int r = p11_create(token, P11_USE_KNOWN, zeros, sizeof(zeros), &known);

    if (r == 0)
        r = p11_wrap(token, kek, known, blob, ret_len);
    if (r < 0) {
        (void)p11_destroy(token, &known);
        return r;
    }
    return p11_destroy(token, &known);
}

static int must_be_twins(struct p11_token *token, CK_OBJECT_HANDLE one, CK_OBJECT_HANDLE other)
{
    uint8_t a[P11_WRAPPED_MAX], b[P11_WRAPPED_MAX];
    size_t a_len = 0, b_len = 0;
    int r = wrap_zeros(token, one, a, &a_len);

    if (r == 0)
        r = wrap_zeros(token, other, b, &b_len);
    if (r == 0 && (a_len != b_len || memcmp(a, b, a_len) != 0))
        return error_set(ERROR_HSM, "HSM: a key that was unwrapped twice is two keys");
    return r;
}

/* What seals device keys, and its twin that opens them to be wrapped out: one value with two unwrap
 * templates, and no template opens a key for both. The value never leaves the token in clear. */
static int make_store_twins(struct p11_token *token, const struct ceremony_object *object)
{
    CLEANUP(courier_end) struct courier c = {.token = token};
    CK_OBJECT_HANDLE store = CK_INVALID_HANDLE, twin = CK_INVALID_HANDLE;
    char label[SEALED_LABEL_MAX + 1];
    int r = courier_begin(&c, object->label);

    (void)snprintf(label, sizeof(label), P11_LABEL_EXPORT "%u",
        p11_store_version(object->label, P11_LABEL_DEVICE));
    if (r == 0)
        r = courier_deliver(&c, object->label, P11_USE_DEVICE, &store);
    if (r == 0)
        r = courier_deliver(&c, label, P11_USE_EXPORT, &twin);
    return r < 0 ? r : must_be_twins(token, store, twin);
}

/* --- storage KEKs that an escrow file has ------------------------------------------------------
 */

int ceremony_make_escrow(struct p11_token *token)
{
    const CK_ULONG len = STORE_KEY_LEN;
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct attributes a = {.n = 0};
    struct p11_restriction restriction;

    p11_restriction_fill(&restriction, P11_USE_TRANSPORT);
    add_store(&a, P11_LABEL_ESCROW, &restriction);
    add(&a, CKA_VALUE_LEN, &len, sizeof(len));
    add_lock(&a);
    return generate(token, CKM_AES_KEY_GEN, &a, P11_LABEL_ESCROW, &made);
}

struct wanted_object {
    const char *label;
    CK_OBJECT_HANDLE handle;
};

static int found_wanted(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct wanted_object *wanted = context;

    if (strcmp(label, wanted->label) != 0)
        return 0;
    if (wanted->handle != CK_INVALID_HANDLE)
        return error_set(ERROR_CONFIG, "the token holds two objects labelled %s", label);
    wanted->handle = handle;
    return 0;
}

int ceremony_find(
    struct p11_token *token, CK_OBJECT_CLASS class, const char *label, CK_OBJECT_HANDLE *ret)
{
    struct wanted_object wanted = {label, CK_INVALID_HANDLE};
    int r = p11_objects_walk(token, class, found_wanted, &wanted);

    if (r < 0)
        return r;
    *ret = wanted.handle;
    return wanted.handle == CK_INVALID_HANDLE ? 1 : 0;
}

static int find_escrow(struct p11_token *token, CK_OBJECT_HANDLE *ret)
{
    int r = ceremony_find(token, CKO_SECRET_KEY, P11_LABEL_ESCROW, ret);

    return r <= 0 ? r : error_set(ERROR_CONFIG, "the token holds no %s", P11_LABEL_ESCROW);
}

/* First the file, then the token: what stands in the file alone is written anew next time. */
static int escrow_value(struct courier *c, const char *label, const char *path)
{
    CK_OBJECT_HANDLE escrow = CK_INVALID_HANDLE;
    uint8_t blob[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = find_escrow(c->token, &escrow);

    if (r == 0)
        r = p11_wrap(c->token, escrow, c->value, blob, &len);
    return r < 0 ? r : escrow_write(path, label, blob, len);
}

int ceremony_make_store(struct p11_token *token, const struct ceremony_object *row,
    const char *label, const char *escrow_path, bool exportable)
{
    CLEANUP(courier_end) struct courier c = {.token = token};
    struct ceremony_object version = *row;
    const bool device = row->make_exportable != NULL;
    CK_OBJECT_HANDLE store = CK_INVALID_HANDLE, twin = CK_INVALID_HANDLE;
    char twin_label[SEALED_LABEL_MAX + 1];
    int r;

    version.label = label;
    if (escrow_path == NULL)
        return device && exportable ? version.make_exportable(token, &version)
                                    : version.make(token, &version);
    r = courier_begin(&c, label);
    if (r == 0)
        r = escrow_value(&c, label, escrow_path);
    if (r == 0)
        r = courier_deliver(&c, label, device ? P11_USE_DEVICE : P11_USE_PEER, &store);
    if (r < 0 || !device || !exportable)
        return r;
    (void)snprintf(twin_label, sizeof(twin_label), P11_LABEL_EXPORT "%u",
        p11_store_version(label, P11_LABEL_DEVICE));
    r = courier_deliver(&c, twin_label, P11_USE_EXPORT, &twin);
    return r < 0 ? r : must_be_twins(token, store, twin);
}

int ceremony_make_twin(struct p11_token *token, const char *escrow_path, const char *store_label,
    const char *twin_label)
{
    struct courier c = {.token = token};
    CK_OBJECT_HANDLE store = CK_INVALID_HANDLE, twin = CK_INVALID_HANDLE;
    int r = find_escrow(token, &c.kek);

    if (r == 0)
        r = ceremony_find(token, CKO_SECRET_KEY, store_label, &store);
    if (r > 0)
        return error_set(ERROR_CONFIG, "the token holds no %s", store_label);
    if (r == 0)
        r = escrow_read(escrow_path, store_label, c.blob, sizeof(c.blob), &c.len);
    if (r < 0)
        return r;
    if (courier_deliver(&c, twin_label, P11_USE_EXPORT, &twin) < 0)
        return error_set(ERROR_CONFIG,
            "%s does not open: the escrow file %s is of another token, or was changed", store_label,
            escrow_path);
    r = must_be_twins(token, store, twin);
    if (r < 0)
        (void)p11_destroy(token, &twin);
    return r;
}

/* --- the other secret keys -------------------------------------------------------------------- */

int ceremony_make_hmac(struct p11_token *token, const char *label)
{
    const CK_ULONG len = HMAC_KEY_LEN;
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct attributes a = {.n = 0};

    add_hidden(&a, label);
    add_uses(&a, false, false, true);
    add(&a, CKA_VALUE_LEN, &len, sizeof(len));
    add_lock_of(&a, token, label);
    return generate(token, CKM_GENERIC_SECRET_KEY_GEN, &a, label, &made);
}

static int make_hmac(struct p11_token *token, const struct ceremony_object *object)
{
    return ceremony_make_hmac(token, object->label);
}

int ceremony_make_fingerprint(struct p11_token *token, const uint8_t value[static KEYED_LEN])
{
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static const CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct attributes a = {.n = 0};
    CK_RV rv;

    add(&a, CKA_CLASS, &class, sizeof(class));
    add(&a, CKA_KEY_TYPE, &type, sizeof(type));
    add_hidden(&a, P11_LABEL_FINGERPRINT);
    add_uses(&a, false, false, true);
    add(&a, CKA_VALUE, value, KEYED_LEN);
    add_lock_of(&a, token, P11_LABEL_FINGERPRINT);
    rv = token->f->C_CreateObject(token->anchor, a.list, a.n, &made);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, P11_LABEL_FINGERPRINT);
}

/* A storage KEK can only wrap: so a key of zeros is wrapped, and the result hashed because it must
 * not be of use to anybody. */
static int check_store(
    struct p11_token *token, CK_OBJECT_HANDLE handle, uint8_t ret[static CEREMONY_KCV_LEN])
{
    uint8_t blob[P11_WRAPPED_MAX], hash[32];
    size_t len = 0;
    int r = wrap_zeros(token, handle, blob, &len);

    if (r < 0)
        return r;
    digest_sha256(blob, len, hash);
    memcpy(ret, hash, CEREMONY_KCV_LEN);
    return 0;
}

/* No tag, code or token input begins like this one. */
static int check_hmac(
    struct p11_token *token, CK_OBJECT_HANDLE handle, uint8_t ret[static CEREMONY_KCV_LEN])
{
    static const uint8_t zeros[16];
    uint8_t mac[32];
    int r = p11_hmac(token, handle, zeros, sizeof(zeros), mac);

    if (r == 0)
        memcpy(ret, mac, CEREMONY_KCV_LEN);
    return r;
}

/* --- key pairs -------------------------------------------------------------------------------- */

static int generate_pair(struct p11_token *token, CK_MECHANISM_TYPE type, struct attributes *public,
    struct attributes *private, const char *label)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_OBJECT_HANDLE public_handle = CK_INVALID_HANDLE, private_handle = CK_INVALID_HANDLE;
    CK_RV rv;

    add_flag(public, CKA_TOKEN, true);
    add_flag(public, CKA_PRIVATE, false);
    add(public, CKA_LABEL, label, strlen(label));
    add(public, CKA_ID, label, strlen(label));
    add_lock(public);
    add_lock(private);
    rv = token->f->C_GenerateKeyPair(token->anchor, &mechanism, public->list, public->n,
        private->list, private->n, &public_handle, &private_handle);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, label);
}

static void add_private_uses(struct attributes *a, bool unwrap, bool sign)
{
    add_flag(a, CKA_UNWRAP, unwrap);
    add_flag(a, CKA_SIGN, sign);
    add_flag(a, CKA_SIGN_RECOVER, false);
    add_flag(a, CKA_DECRYPT, false);
    add_flag(a, CKA_DERIVE, false);
}

static void add_public_uses(struct attributes *a, bool wrap, bool verify)
{
    add_flag(a, CKA_WRAP, wrap);
    add_flag(a, CKA_VERIFY, verify);
    add_flag(a, CKA_VERIFY_RECOVER, false);
    add_flag(a, CKA_ENCRYPT, false);
}

static int make_exchange(struct p11_token *token, const struct ceremony_object *object)
{
    static const uint8_t exponent[] = {0x01, 0x00, 0x01};
    const CK_ULONG bits = EXCHANGE_BITS;
    struct attributes public = {.n = 0}, private = {.n = 0};
    struct p11_restriction restriction;

    p11_restriction_fill(&restriction, P11_USE_ADOPT_KEK);
    add(&public, CKA_MODULUS_BITS, &bits, sizeof(bits));
    add(&public, CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent));
    add_public_uses(&public, true, false);
    add_hidden(&private, object->label);
    add_private_uses(&private, true, false);
    add(&private, CKA_UNWRAP_TEMPLATE, restriction.attributes,
        restriction.n * sizeof(CK_ATTRIBUTE));
    return generate_pair(token, CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &private, object->label);
}

static int make_audit(struct p11_token *token, const struct ceremony_object *object)
{
    /* DER of the object identifier of P-256 (prime256v1). */
    static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    struct attributes public = {.n = 0}, private = {.n = 0};

    add(&public, CKA_EC_PARAMS, p256, sizeof(p256));
    add_public_uses(&public, false, true);
    add_hidden(&private, object->label);
    add_private_uses(&private, false, true);
    return generate_pair(token, CKM_EC_KEY_PAIR_GEN, &public, &private, object->label);
}

static int check_exchange(
    struct p11_token *token, CK_OBJECT_HANDLE handle, uint8_t ret[static CEREMONY_KCV_LEN])
{
    CLEANUP(p11_pkey_free) EVP_PKEY *pkey = NULL;
    unsigned char *der = NULL;
    uint8_t hash[32];
    int len, r = p11_exchange_read(token, handle, &pkey);

    if (r < 0)
        return r;
    len = i2d_PUBKEY(pkey, &der);
    if (len <= 0)
        return error_set(ERROR_INTERNAL, "OpenSSL cannot write the exchange key");
    digest_sha256(der, (size_t)len, hash);
    OPENSSL_free(der);
    memcpy(ret, hash, CEREMONY_KCV_LEN);
    return 0;
}

static int check_audit(
    struct p11_token *token, CK_OBJECT_HANDLE handle, uint8_t ret[static CEREMONY_KCV_LEN])
{
    struct p11_audit_key key;
    uint8_t hash[32];
    int r = p11_audit_find(token, &key);

    (void)handle;
    if (r < 0)
        return r;
    if (r > 0)
        return error_set(ERROR_HSM, "the token holds no public half of %s", P11_LABEL_AUDIT);
    digest_sha256(key.encoded, sizeof(key.encoded), hash);
    memcpy(ret, hash, CEREMONY_KCV_LEN);
    return 0;
}

/* --- the table -------------------------------------------------------------------------------- */

#define METHOD_WRAP "SHA-256 of a wrapped key of zeros"
#define METHOD_HMAC "HMAC of 16 zero bytes"
#define METHOD_PUBLIC "SHA-256 of the public key"

enum { ROW_DEVICE, ROW_EXPORT, ROW_KEK, ROW_TAG, ROW_CODE };

const struct ceremony_object ceremony_objects[CEREMONY_N_OBJECTS] = {
    [ROW_DEVICE] = {.label = P11_LABEL_DEVICE "1",
        .kind = "AES-256, seals device keys",
        .method = METHOD_WRAP,
        .class = CKO_SECRET_KEY,
        .make = make_store_device,
        .make_exportable = make_store_twins,
        .check = check_store},
    [ROW_EXPORT] = {.label = P11_LABEL_EXPORT "1",
        .kind = "the same key, opens device keys for export",
        .method = METHOD_WRAP,
        .class = CKO_SECRET_KEY,
        .absent = "none: this token cannot export",
        .check = check_store},
    [ROW_KEK] = {.label = P11_LABEL_KEK "1",
        .kind = "AES-256, seals peers' KEKs",
        .method = METHOD_WRAP,
        .class = CKO_SECRET_KEY,
        .make = make_store_kek,
        .check = check_store},
    [ROW_TAG] = {.label = P11_LABEL_TAG "1",
        .kind = "HMAC-SHA-256, binds a sealed key to its row",
        .method = METHOD_HMAC,
        .class = CKO_SECRET_KEY,
        .make = make_hmac,
        .check = check_hmac},
    [ROW_CODE] = {.label = P11_LABEL_CODE "1",
        .kind = "HMAC-SHA-256, hashes claim codes",
        .method = METHOD_HMAC,
        .class = CKO_SECRET_KEY,
        .make = make_hmac,
        .check = check_hmac},
    {.label = P11_LABEL_TOKEN,
        .kind = "HMAC-SHA-256, signs access tokens",
        .method = METHOD_HMAC,
        .class = CKO_SECRET_KEY,
        .make = make_hmac,
        .check = check_hmac},
    {.label = P11_LABEL_EXCHANGE,
        .kind = "RSA-3072, receives KEKs and device keys",
        .method = METHOD_PUBLIC,
        .class = CKO_PRIVATE_KEY,
        .make = make_exchange,
        .check = check_exchange},
    {.label = P11_LABEL_AUDIT,
        .kind = "EC P-256, signs audit checkpoints",
        .method = METHOD_PUBLIC,
        .class = CKO_PRIVATE_KEY,
        .make = make_audit,
        .check = check_audit},
    {.label = P11_LABEL_ESCROW,
        .kind = "AES-256, wraps storage KEKs for the escrow file",
        .method = METHOD_WRAP,
        .class = CKO_SECRET_KEY,
        .absent = "none: what it seals now cannot be sealed anew",
        .check = check_store},
    {.label = P11_LABEL_FINGERPRINT,
        .kind = "HMAC-SHA-256, finds keys that devices share",
        .method = METHOD_HMAC,
        .class = CKO_SECRET_KEY,
        .absent = "none: it comes of tag.1",
        .check = check_hmac},
};

const struct ceremony_object *ceremony_object_find(CK_OBJECT_CLASS class, const char *label)
{
    static const struct {
        const char *prefix;
        size_t row;
    } versions[] = {{P11_LABEL_DEVICE, ROW_DEVICE}, {P11_LABEL_EXPORT, ROW_EXPORT},
        {P11_LABEL_KEK, ROW_KEK}, {P11_LABEL_REWRAP_DEVICE, ROW_EXPORT},
        {P11_LABEL_REWRAP_KEK, ROW_KEK}, {P11_LABEL_TAG, ROW_TAG}, {P11_LABEL_CODE, ROW_CODE}};

    for (size_t i = 0; i < CEREMONY_N_OBJECTS; i++) {
        if (ceremony_objects[i].class == class && strcmp(ceremony_objects[i].label, label) == 0)
            return &ceremony_objects[i];
    }
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (class == CKO_SECRET_KEY && p11_store_version(label, versions[i].prefix) > 0)
            return &ceremony_objects[versions[i].row];
    }
    return NULL;
}
