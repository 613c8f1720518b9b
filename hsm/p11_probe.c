#include "hsm/p11_probe.h"

#include "base/error.h"
#include "base/secret.h"
#include "hsm/p11_exchange.h"
#include <openssl/rsa.h>
#include <string.h>

/* Published vectors. RFC 4493 and SP 800-38A F.1 share this key and this first block. */
static const uint8_t nist_key[16] = {
    0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
static const uint8_t nist_block[16] = {
    0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a};
static const uint8_t nist_cipher[16] = {
    0x3a, 0xd7, 0x7b, 0xb4, 0x0d, 0x7a, 0x36, 0x60, 0xa8, 0x9e, 0xca, 0xf3, 0x24, 0x66, 0xef, 0x97};
static const uint8_t nist_cmac[16] = {
    0x07, 0x0a, 0x16, 0xb4, 0x6b, 0x4d, 0x41, 0x44, 0xf7, 0x9b, 0xdd, 0x9d, 0xd0, 0x4a, 0x28, 0x7c};
/* RFC 3394 4.3: 128 bits of key data under a 256-bit KEK. */
static const uint8_t wrap_kek[32] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
    0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19,
    0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};
static const uint8_t wrap_key[16] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
static const uint8_t wrap_out[24] = {0x64, 0xe8, 0xc3, 0xf9, 0xce, 0x0f, 0x5b, 0xa2, 0x63, 0xe9,
    0x77, 0x79, 0x05, 0x81, 0x8a, 0x2a, 0x93, 0xc8, 0x19, 0x1e, 0x7d, 0x6e, 0x8a, 0xe7};

static const char tag_text[] = "cradle self-test";

static int wrong(struct p11_token *token, const char *what)
{
    token->last_rv = CKR_OK;
    return error_set(ERROR_HSM, "HSM: known-answer test: %s gives something else", what);
}

static int ask_mechanisms(struct p11_token *token)
{
    const struct {
        CK_MECHANISM_TYPE type;
        CK_FLAGS flags;
        const char *name;
        const char *why;
    } needed[] = {
        {token->quirks->key_wrap, CKF_WRAP | CKF_UNWRAP, "AES key wrap", "open a sealed key"},
        {CKM_AES_CMAC, CKF_SIGN, "CKM_AES_CMAC", "check a MIC"},
        {CKM_AES_ECB, CKF_DECRYPT, "CKM_AES_ECB", "protect a Join-Accept"},
        {CKM_AES_ECB_ENCRYPT_DATA, CKF_DERIVE, "CKM_AES_ECB_ENCRYPT_DATA",
            "derive a session key without showing it to this process"},
        {CKM_SHA256_HMAC, CKF_SIGN, "CKM_SHA256_HMAC", "tag a sealed key"},
        {CKM_RSA_PKCS_OAEP, CKF_UNWRAP, "CKM_RSA_PKCS_OAEP", "receive a peer's KEK"},
        {CKM_AES_KEY_GEN, CKF_GENERATE, "CKM_AES_KEY_GEN", "make a peer's KEK"},
    };

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        CK_MECHANISM_INFO info;
        CK_RV rv = token->f->C_GetMechanismInfo(token->slot, needed[i].type, &info);

        if (rv != CKR_OK && rv != CKR_MECHANISM_INVALID)
            return p11_failed(token, rv, "C_GetMechanismInfo");
        if (rv != CKR_OK || (info.flags & needed[i].flags) != needed[i].flags)
            return error_set(ERROR_CONFIG, "this token has no %s: Cradle cannot %s on it",
                needed[i].name, needed[i].why);
    }
    return 0;
}

struct known_keys {
    struct p11_token *token;
    CK_OBJECT_HANDLE nist, kek, data, derived, opened;
};

static void destroy_known(struct known_keys *k)
{
    (void)p11_destroy(k->token, &k->nist);
    (void)p11_destroy(k->token, &k->kek);
    (void)p11_destroy(k->token, &k->data);
    (void)p11_destroy(k->token, &k->derived);
    (void)p11_destroy(k->token, &k->opened);
}

int p11_probe_mechanisms(struct p11_token *token)
{
    CLEANUP(destroy_known) struct known_keys k = {.token = token};
    uint8_t out[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = ask_mechanisms(token);

    if (r == 0)
        r = p11_create(token, P11_USE_KNOWN, nist_key, sizeof(nist_key), &k.nist);
    if (r == 0)
        r = p11_create(token, P11_USE_KNOWN, wrap_kek, sizeof(wrap_kek), &k.kek);
    if (r == 0)
        r = p11_create(token, P11_USE_KNOWN, wrap_key, sizeof(wrap_key), &k.data);
    if (r == 0)
        r = p11_cmac(token, k.nist, nist_block, sizeof(nist_block), out);
    if (r < 0)
        return r;
    if (memcmp(out, nist_cmac, sizeof(nist_cmac)) != 0)
        return wrong(token, "CMAC");
    r = p11_ecb_decrypt(token, k.nist, nist_cipher, sizeof(nist_cipher), out);
    if (r < 0)
        return r;
    if (memcmp(out, nist_block, sizeof(nist_block)) != 0)
        return wrong(token, "ECB decryption");
    r = p11_wrap(token, k.kek, k.data, out, &len);
    if (r < 0)
        return r;
    if (len != sizeof(wrap_out) || memcmp(out, wrap_out, sizeof(wrap_out)) != 0)
        return wrong(token, "AES key wrap");
    r = p11_unwrap(
        token, token->work, k.kek, P11_USE_DEVICE, wrap_out, sizeof(wrap_out), &k.opened);
    /* What was derived cannot be read; wrapped under a known key it can be compared. */
    if (r == 0)
        r = p11_derive(token, k.nist, P11_USE_SESSION, nist_block, &k.derived);
    if (r == 0)
        r = p11_destroy(token, &k.data);
    if (r == 0)
        r = p11_create(token, P11_USE_KNOWN, nist_cipher, sizeof(nist_cipher), &k.data);
    if (r == 0)
        r = p11_wrap(token, k.kek, k.derived, out, &len);
    if (r == 0) {
        uint8_t expected[P11_WRAPPED_MAX];
        size_t expected_len = 0;

        r = p11_wrap(token, k.kek, k.data, expected, &expected_len);
        if (r == 0 && (len != expected_len || memcmp(out, expected, len) != 0))
            return wrong(token, "derivation by CKM_AES_ECB_ENCRYPT_DATA");
    }
    return r;
}

/* A storage KEK whose unwrap template is missing or not enforced opens a device key as a KEK, or as
 * a key that can be read: such a token is refused. */
static int try_store(struct p11_token *token, const struct p11_store_kek *kek, enum p11_use right,
    enum p11_use wrong_use, CK_OBJECT_HANDLE known, struct p11_known *ret)
{
    uint8_t blob[P11_WRAPPED_MAX];
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
    size_t len = 0;
    int r = p11_wrap(token, kek->handle, known, blob, &len);

    if (r == 0)
        r = p11_unwrap(token, token->work, kek->handle, right, blob, len, &opened);
    if (r == 0)
        r = p11_destroy(token, &opened);
    if (r < 0)
        return r;
    if (p11_unwrap(token, token->work, kek->handle, wrong_use, blob, len, &opened) == 0 ||
        p11_unwrap(token, token->work, kek->handle, P11_USE_KNOWN, blob, len, &opened) == 0) {
        (void)p11_destroy(token, &opened);
        return error_set(ERROR_CONFIG,
            "%s opens keys for uses it must refuse: its unwrap template is missing or not enforced",
            kek->label);
    }
    if (ret != NULL) {
        memcpy(ret->wrapped, blob, len);
        ret->wrapped_len = len;
    }
    return 0;
}

static int encrypt_known(struct p11_token *token, CK_OBJECT_HANDLE handle, struct p11_known *ret)
{
    CLEANUP(p11_pkey_free) EVP_PKEY *pkey = NULL;
    CLEANUP(p11_pkey_ctx_free) EVP_PKEY_CTX *ctx = NULL;
    size_t len = sizeof(ret->oaep);
    int r = p11_exchange_read(token, handle, &pkey);

    if (r < 0)
        return r;
    if (EVP_PKEY_get_size(pkey) != P11_OAEP_LEN)
        return error_set(ERROR_CONFIG, "the token's exchange key is not RSA-3072");
    ctx = EVP_PKEY_CTX_new(pkey, NULL);
    if (ctx == NULL || EVP_PKEY_encrypt_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_encrypt(ctx, ret->oaep, &len, wrap_key, sizeof(wrap_key)) != 1)
        return error_set(ERROR_INTERNAL, "OpenSSL cannot encrypt to the exchange key");
    return 0;
}

int p11_exchange_test(
    struct p11_token *token, const struct p11_keys *keys, const struct p11_known *known)
{
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
    int r = p11_unwrap_oaep(
        token, keys->exchange, P11_USE_ADOPT_KEK, known->oaep, sizeof(known->oaep), &opened);

    return r < 0 ? r : p11_destroy(token, &opened);
}

int p11_transport_test(struct p11_token *token, CK_OBJECT_HANDLE kek)
{
    CLEANUP(destroy_known) struct known_keys k = {.token = token};
    uint8_t blob[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = p11_create(token, P11_USE_KNOWN, nist_key, sizeof(nist_key), &k.nist);

    if (r == 0)
        r = p11_wrap(token, kek, k.nist, blob, &len);
    return r < 0 ? r : p11_unwrap(token, token->work, kek, P11_USE_ADOPT_KEY, blob, len, &k.opened);
}

/* What opens for any use could be read by whoever has a session. */
static int try_exchange(
    struct p11_token *token, const struct p11_keys *keys, const struct p11_known *known)
{
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
    int r = p11_exchange_test(token, keys, known);

    if (r < 0)
        return r;
    if (p11_unwrap_oaep(
            token, keys->exchange, P11_USE_KNOWN, known->oaep, sizeof(known->oaep), &opened) < 0)
        return 0;
    (void)p11_destroy(token, &opened);
    return error_set(ERROR_CONFIG,
        "%s opens keys for uses it must refuse: its unwrap template is missing or not enforced",
        P11_LABEL_EXCHANGE);
}

static int refuse_modifiable(struct p11_token *token, CK_OBJECT_HANDLE handle, const char *label)
{
    CK_BBOOL modifiable = CK_TRUE;
    CK_ATTRIBUTE wanted = {CKA_MODIFIABLE, &modifiable, sizeof(modifiable)};
    CK_RV rv = token->f->C_GetAttributeValue(token->anchor, handle, &wanted, 1);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_GetAttributeValue (CKA_MODIFIABLE)");
    return modifiable == CK_FALSE
               ? 0
               : error_set(ERROR_CONFIG,
                     "%s can be modified: whoever has a session could give it another use", label);
}

static int refuse_all_modifiable(struct p11_token *token, const struct p11_keys *keys)
{
    const struct {
        CK_OBJECT_HANDLE handle;
        const char *label;
    } singles[] = {
        {keys->token, P11_LABEL_TOKEN},
        {keys->fingerprint, P11_LABEL_FINGERPRINT},
        {keys->exchange, P11_LABEL_EXCHANGE},
    };
    const struct p11_store *const stores[] = {&keys->device, &keys->kek, &keys->export,
        &keys->rewrap_device, &keys->rewrap_kek, &keys->tag, &keys->code};
    int r = 0;

    for (size_t s = 0; s < sizeof(stores) / sizeof(stores[0]); s++) {
        for (size_t i = 0; r == 0 && i < stores[s]->n; i++)
            r = refuse_modifiable(token, stores[s]->keks[i].handle, stores[s]->keks[i].label);
    }
    for (size_t i = 0; r == 0 && i < sizeof(singles) / sizeof(singles[0]); i++) {
        if (singles[i].handle != CK_INVALID_HANDLE)
            r = refuse_modifiable(token, singles[i].handle, singles[i].label);
    }
    return r;
}

/* What opens keys to be wrapped out opens them for nothing else, and is the key that sealed them.
 */
static int try_twin(struct p11_token *token, const struct p11_store *stores, enum p11_use opens,
    const struct p11_store_kek *twin, CK_OBJECT_HANDLE known)
{
    const struct p11_store_kek *store = p11_store_version_find(stores, twin->version);
    struct p11_known by_twin, by_store;
    int r = try_store(token, twin, P11_USE_EXPORT, P11_USE_DEVICE, known, &by_twin);

    if (r == 0)
        r = try_store(token, twin, P11_USE_EXPORT, P11_USE_ADOPT_KEY, known, NULL);
    if (r < 0 || store == NULL)
        return r;
    r = try_store(token, store, opens, P11_USE_EXPORT, known, &by_store);
    if (r == 0 && (by_twin.wrapped_len != by_store.wrapped_len ||
                      memcmp(by_twin.wrapped, by_store.wrapped, by_twin.wrapped_len) != 0))
        return error_set(ERROR_CONFIG, "%s and %s are not the same key", twin->label, store->label);
    return r;
}

static int try_all_twins(
    struct p11_token *token, const struct p11_keys *keys, CK_OBJECT_HANDLE known)
{
    const struct {
        const struct p11_store *twins, *stores;
        enum p11_use opens; /* what the store opens keys for */
    } rows[] = {
        {&keys->export, &keys->device, P11_USE_DEVICE},
        {&keys->rewrap_device, &keys->device, P11_USE_DEVICE},
        {&keys->rewrap_kek, &keys->kek, P11_USE_PEER},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t t = 0; r == 0 && t < rows[i].twins->n; t++)
            r = try_twin(token, rows[i].stores, rows[i].opens, &rows[i].twins->keks[t], known);
    }
    return r;
}

int p11_probe_keys(struct p11_token *token, const struct p11_keys *keys, struct p11_known *ret)
{
    CK_OBJECT_HANDLE known = CK_INVALID_HANDLE;
    int r = refuse_all_modifiable(token, keys);

    if (r == 0)
        r = p11_create(token, P11_USE_KNOWN, nist_key, sizeof(nist_key), &known);
    for (size_t i = 0; r == 0 && i < keys->device.n; i++)
        r = try_store(token, &keys->device.keks[i], P11_USE_DEVICE, P11_USE_PEER, known, NULL);
    for (size_t i = 0; r == 0 && i < keys->device.n; i++)
        r = try_store(token, &keys->device.keks[i], P11_USE_DEVICE, P11_USE_EXPORT, known, NULL);
    for (size_t i = 0; r == 0 && i < keys->kek.n; i++)
        r = try_store(token, &keys->kek.keks[i], P11_USE_PEER, P11_USE_DEVICE, known, NULL);
    if (r == 0)
        r = try_all_twins(token, keys, known);
    if (r == 0)
        r = try_store(
            token, p11_store_newest(&keys->device), P11_USE_DEVICE, P11_USE_PEER, known, ret);
    if (r == 0)
        r = p11_destroy(token, &known);
    if (r == 0)
        r = p11_hmac(token, p11_store_newest(&keys->tag)->handle, (const uint8_t *)tag_text,
            sizeof(tag_text), ret->tag);
    if (r == 0)
        r = encrypt_known(token, keys->exchange, ret);
    if (r == 0)
        r = try_exchange(token, keys, ret);
    return r < 0 ? r : p11_self_test(token, keys, ret);
}

int p11_probe_clear(struct p11_token *token)
{
    CLEANUP(destroy_known) struct known_keys k = {.token = token};
    uint8_t out[16];
    int r = p11_create(token, P11_USE_DEVICE, nist_key, sizeof(nist_key), &k.nist);

    if (r == 0)
        r = p11_derive(token, k.nist, P11_USE_CLEAR, nist_block, &k.derived);
    if (r == 0)
        r = p11_read_clear(token, k.derived, out);
    if (r < 0)
        return r;
    return memcmp(out, nist_cipher, sizeof(out)) == 0 ? 0 : wrong(token, "derivation in clear");
}

int p11_self_test(
    struct p11_token *token, const struct p11_keys *keys, const struct p11_known *known)
{
    CLEANUP(destroy_known) struct known_keys k = {.token = token};
    const CK_OBJECT_HANDLE kek = p11_store_newest(&keys->device)->handle;
    uint8_t out[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = p11_create(token, P11_USE_KNOWN, nist_key, sizeof(nist_key), &k.nist);

    if (r == 0)
        r = p11_wrap(token, kek, k.nist, out, &len);
    if (r < 0)
        return r;
    if (len != known->wrapped_len || memcmp(out, known->wrapped, len) != 0)
        return wrong(token, "wrapping under the storage KEK");
    r = p11_unwrap(token, token->work, kek, P11_USE_DEVICE, out, len, &k.opened);
    if (r == 0)
        r = p11_cmac(token, k.opened, nist_block, sizeof(nist_block), out);
    if (r < 0)
        return r;
    if (memcmp(out, nist_cmac, sizeof(nist_cmac)) != 0)
        return wrong(token, "the CMAC of an opened key");
    r = p11_derive(token, k.opened, P11_USE_SESSION, nist_block, &k.derived);
    if (r == 0)
        r = p11_hmac(token, p11_store_newest(&keys->tag)->handle, (const uint8_t *)tag_text,
            sizeof(tag_text), out);
    if (r < 0)
        return r;
    if (!secret_equal(out, known->tag, sizeof(known->tag)))
        return wrong(token, "the tag key");
    return 0;
}
