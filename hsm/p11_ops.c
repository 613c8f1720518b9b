#include "hsm/p11_ops.h"

#include "base/error.h"

struct use_row {
    bool generic; /* secret, not AES */
    bool sensitive, extractable, sign, derive, decrypt, encrypt, wrap, unwrap, verify;
};

static const struct use_row uses[P11_N_USES] = {
    [P11_USE_DEVICE] = {.sensitive = true, .sign = true, .derive = true, .decrypt = true},
    [P11_USE_PEER] = {.sensitive = true, .wrap = true},
    [P11_USE_TRANSPORT] = {.sensitive = true, .wrap = true, .unwrap = true},
    [P11_USE_SESSION] = {.sensitive = true, .extractable = true},
    [P11_USE_CLEAR] = {.extractable = true},
    [P11_USE_MIC] = {.sensitive = true, .sign = true},
    [P11_USE_JS_ENC] = {.sensitive = true, .decrypt = true},
    [P11_USE_ADOPT_KEY] = {.sensitive = true, .extractable = true, .sign = true},
    [P11_USE_ADOPT_KEK] = {.sensitive = true, .extractable = true, .sign = true},
    [P11_USE_EXPORT] = {.sensitive = true, .extractable = true},
    [P11_USE_HMAC] = {.generic = true, .sensitive = true, .sign = true},
    [P11_USE_KNOWN] = {.extractable = true,
        .sign = true,
        .derive = true,
        .decrypt = true,
        .wrap = true,
        .unwrap = true},
};

#define TEMPLATE_MAX 16

struct p11_template {
    CK_ATTRIBUTE attributes[TEMPLATE_MAX];
    CK_ULONG n;
    CK_ULONG value_len;
};

static const CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
static const CK_OBJECT_CLASS secret_key_class = CKO_SECRET_KEY;
static const CK_KEY_TYPE aes_type = CKK_AES, generic_type = CKK_GENERIC_SECRET;

static void add(struct p11_template *t, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
    t->attributes[t->n++] = (CK_ATTRIBUTE){type, p11_in(value), len};
}

static void add_flag(struct p11_template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    add(t, type, value ? &yes : &no, sizeof(CK_BBOOL));
}

static void template_fill(struct p11_template *t, enum p11_use use)
{
    const struct use_row *row = &uses[use];

    t->n = 0;
    add(t, CKA_CLASS, &secret_key_class, sizeof(secret_key_class));
    add(t, CKA_KEY_TYPE, row->generic ? &generic_type : &aes_type, sizeof(aes_type));
    add_flag(t, CKA_TOKEN, false);
    add_flag(t, CKA_PRIVATE, false);
    add_flag(t, CKA_SENSITIVE, row->sensitive);
    add_flag(t, CKA_EXTRACTABLE, row->extractable);
    add_flag(t, CKA_SIGN, row->sign);
    add_flag(t, CKA_DERIVE, row->derive);
    add_flag(t, CKA_DECRYPT, row->decrypt);
    add_flag(t, CKA_ENCRYPT, row->encrypt);
    add_flag(t, CKA_WRAP, row->wrap);
    add_flag(t, CKA_UNWRAP, row->unwrap);
    add_flag(t, CKA_VERIFY, row->verify);
}

/* Once false, an attribute that is set after it is refused: it comes last. Without it, whoever has
 * a session could give an opened key another use. */
static void template_seal(struct p11_template *t)
{
    add_flag(t, CKA_MODIFIABLE, false);
}

static void add_value_len(struct p11_template *t, size_t len)
{
    t->value_len = len;
    add(t, CKA_VALUE_LEN, &t->value_len, sizeof(t->value_len));
}

void p11_restriction_fill(struct p11_restriction *restriction, enum p11_use use)
{
    struct p11_template t = {.n = 0};

    restriction->n = 0;
    template_fill(&t, use);
    template_seal(&t);
    for (CK_ULONG i = 0; i < t.n; i++) {
        CK_ATTRIBUTE *a = &t.attributes[i];

        if (a->type == CKA_CLASS || a->type == CKA_KEY_TYPE || a->type == CKA_TOKEN ||
            a->type == CKA_PRIVATE || (a->type == CKA_UNWRAP && use == P11_USE_PEER))
            continue;
        restriction->values[restriction->n] = *(CK_BBOOL *)a->pValue;
        restriction->attributes[restriction->n] =
            (CK_ATTRIBUTE){a->type, &restriction->values[restriction->n], sizeof(CK_BBOOL)};
        restriction->n++;
    }
}

static int create(struct p11_token *token, CK_SESSION_HANDLE session, enum p11_use use,
    const uint8_t *key, size_t len, CK_OBJECT_HANDLE *ret)
{
    struct p11_template t = {.n = 0};
    CK_RV rv;

    template_fill(&t, use);
    add(&t, CKA_VALUE, key, len);
    template_seal(&t);
    rv = token->f->C_CreateObject(session, t.attributes, t.n, ret);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_CreateObject");
}

int p11_create(struct p11_token *token, enum p11_use use, const uint8_t *key, size_t len,
    CK_OBJECT_HANDLE *ret)
{
    return create(token, token->work, use, key, len, ret);
}

int p11_generate(struct p11_token *token, enum p11_use use, size_t len, CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    struct p11_template t = {.n = 0};
    CK_RV rv;

    template_fill(&t, use);
    add_value_len(&t, len);
    template_seal(&t);
    rv = token->f->C_GenerateKey(token->work, &mechanism, t.attributes, t.n, ret);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_GenerateKey");
}

int p11_create_hmac(struct p11_token *token, const uint8_t *key, size_t len, CK_OBJECT_HANDLE *ret)
{
    return create(token, token->anchor, P11_USE_HMAC, key, len, ret);
}

int p11_unwrap(struct p11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE kek,
    enum p11_use use, const uint8_t *blob, size_t len, CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM mechanism = {token->quirks->key_wrap, NULL, 0};
    struct p11_template t = {.n = 0};
    CK_RV rv;

    template_fill(&t, use);
    if (token->quirks->value_len_in_unwrap)
        add_value_len(&t, len - 8);
    template_seal(&t);
    rv = token->f->C_UnwrapKey(session, &mechanism, kek, p11_in(blob), len, t.attributes, t.n, ret);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_UnwrapKey");
}

int p11_unwrap_oaep(struct p11_token *token, CK_OBJECT_HANDLE private_key, enum p11_use use,
    const uint8_t *text, size_t len, CK_OBJECT_HANDLE *ret)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep)};
    struct p11_template t = {.n = 0};
    CK_RV rv;

    template_fill(&t, use);
    template_seal(&t);
    rv = token->f->C_UnwrapKey(
        token->work, &mechanism, private_key, p11_in(text), len, t.attributes, t.n, ret);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_UnwrapKey (OAEP)");
}

int p11_create_rsa_public(struct p11_token *token, const uint8_t *modulus, size_t modulus_len,
    const uint8_t *exponent, size_t exponent_len, CK_OBJECT_HANDLE *ret)
{
    static const CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    static const CK_KEY_TYPE type = CKK_RSA;
    struct p11_template t = {.n = 0};
    CK_RV rv;

    add(&t, CKA_CLASS, &class, sizeof(class));
    add(&t, CKA_KEY_TYPE, &type, sizeof(type));
    add_flag(&t, CKA_TOKEN, false);
    add_flag(&t, CKA_PRIVATE, false);
    add_flag(&t, CKA_WRAP, true);
    add_flag(&t, CKA_ENCRYPT, false);
    add_flag(&t, CKA_VERIFY, false);
    add(&t, CKA_MODULUS, modulus, modulus_len);
    add(&t, CKA_PUBLIC_EXPONENT, exponent, exponent_len);
    template_seal(&t);
    rv = token->f->C_CreateObject(token->anchor, t.attributes, t.n, ret);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_CreateObject (public key)");
}

int p11_wrap_oaep(struct p11_token *token, CK_OBJECT_HANDLE public_key, CK_OBJECT_HANDLE key,
    uint8_t *out, size_t *len)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep)};
    CK_ULONG got = *len;
    CK_RV rv = token->f->C_WrapKey(token->work, &mechanism, public_key, key, out, &got);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_WrapKey (OAEP)");
    *len = got;
    return 0;
}

int p11_wrap(struct p11_token *token, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
    uint8_t out[static P11_WRAPPED_MAX], size_t *ret_len)
{
    CK_MECHANISM mechanism = {token->quirks->key_wrap, NULL, 0};
    CK_ULONG len = P11_WRAPPED_MAX;
    CK_RV rv = token->f->C_WrapKey(token->work, &mechanism, kek, key, out, &len);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_WrapKey");
    *ret_len = len;
    return 0;
}

int p11_wrap_block(
    struct p11_token *token, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key, uint8_t out[static 16])
{
    uint8_t iv[16] = {0};
    CK_MECHANISM mechanism = {CKM_AES_CBC, iv, sizeof(iv)};
    CK_ULONG len = 16;
    CK_RV rv = token->f->C_WrapKey(token->work, &mechanism, kek, key, out, &len);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_WrapKey (CBC)");
    if (len != 16)
        return p11_failed(token, CKR_GENERAL_ERROR, "C_WrapKey (CBC, its length)");
    return 0;
}

static int sign(struct p11_token *token, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key,
    const uint8_t *in, size_t len, uint8_t *out, size_t out_len)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_ULONG got = out_len;
    CK_RV rv = token->f->C_SignInit(token->work, &mechanism, key);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_SignInit");
    rv = token->f->C_Sign(token->work, p11_in(in), len, out, &got);
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_Sign");
    if (got != out_len)
        return p11_failed(token, CKR_GENERAL_ERROR, "C_Sign (its length)");
    return 0;
}

int p11_cmac(struct p11_token *token, CK_OBJECT_HANDLE key, const uint8_t *in, size_t len,
    uint8_t out[static 16])
{
    return sign(token, CKM_AES_CMAC, key, in, len, out, 16);
}

int p11_hmac(struct p11_token *token, CK_OBJECT_HANDLE key, const uint8_t *in, size_t len,
    uint8_t out[static 32])
{
    return sign(token, CKM_SHA256_HMAC, key, in, len, out, 32);
}

int p11_ecb_decrypt(
    struct p11_token *token, CK_OBJECT_HANDLE key, const uint8_t *in, size_t len, uint8_t *out)
{
    CK_MECHANISM mechanism = {CKM_AES_ECB, NULL, 0};
    CK_ULONG got = len;
    CK_RV rv = token->f->C_DecryptInit(token->work, &mechanism, key);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_DecryptInit");
    rv = token->f->C_Decrypt(token->work, p11_in(in), len, out, &got);
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_Decrypt");
    if (got != len)
        return p11_failed(token, CKR_GENERAL_ERROR, "C_Decrypt (its length)");
    return 0;
}

int p11_random(struct p11_token *token, uint8_t *out, size_t len)
{
    CK_RV rv = token->f->C_GenerateRandom(token->work, out, len);

    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_GenerateRandom");
}

int p11_derive(struct p11_token *token, CK_OBJECT_HANDLE base, enum p11_use use,
    const uint8_t block[static 16], CK_OBJECT_HANDLE *ret)
{
    CK_KEY_DERIVATION_STRING_DATA data = {p11_in(block), 16};
    CK_MECHANISM mechanism = {CKM_AES_ECB_ENCRYPT_DATA, &data, sizeof(data)};
    struct p11_template t = {.n = 0};
    CK_RV rv;

    template_fill(&t, use);
    add_value_len(&t, 16);
    template_seal(&t);
    rv = token->f->C_DeriveKey(token->work, &mechanism, base, t.attributes, t.n, ret);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_DeriveKey");
}

int p11_read_clear(struct p11_token *token, CK_OBJECT_HANDLE key, uint8_t out[static 16])
{
    CK_ATTRIBUTE wanted = {CKA_VALUE, out, 16};
    CK_RV rv = token->f->C_GetAttributeValue(token->work, key, &wanted, 1);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_GetAttributeValue (CKA_VALUE)");
    if (wanted.ulValueLen != 16)
        return p11_failed(token, CKR_GENERAL_ERROR, "C_GetAttributeValue (its length)");
    return 0;
}

int p11_destroy(struct p11_token *token, CK_OBJECT_HANDLE *handle)
{
    CK_OBJECT_HANDLE gone = *handle;
    CK_RV rv;

    if (gone == CK_INVALID_HANDLE)
        return 0;
    *handle = CK_INVALID_HANDLE;
    rv = token->f->C_DestroyObject(token->work, gone);
    return rv == CKR_OK ? 0 : p11_failed(token, rv, "C_DestroyObject");
}
