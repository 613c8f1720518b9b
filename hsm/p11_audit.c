#include "hsm/p11_audit.h"

#include "base/error.h"
#include "hsm/p11_keys.h"
#include <string.h>

#define DER_OCTET_STRING 0x04
#define POINT_NOT_COMPRESSED 0x04

struct search {
    struct p11_token *token;
    struct p11_audit_key key;
    bool has_public;
};

static int twice(void)
{
    return error_set(ERROR_CONFIG, "the token holds two objects labelled %s", P11_LABEL_AUDIT);
}

static int found_private(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct search *search = context;

    if (strcmp(label, P11_LABEL_AUDIT) != 0)
        return 0;
    if (search->key.private_key != CK_INVALID_HANDLE)
        return twice();
    search->key.private_key = handle;
    return 0;
}

static int found_public(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct search *search = context;
    uint8_t *encoded = search->key.encoded;
    CK_ATTRIBUTE wanted = {CKA_EC_POINT, encoded, sizeof(search->key.encoded)};
    CK_RV rv;

    if (strcmp(label, P11_LABEL_AUDIT) != 0)
        return 0;
    if (search->has_public)
        return twice();
    rv = search->token->f->C_GetAttributeValue(search->token->anchor, handle, &wanted, 1);
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL)
        return p11_failed(search->token, rv, "C_GetAttributeValue (audit key)");
    if (rv != CKR_OK || wanted.ulValueLen != sizeof(search->key.encoded) ||
        encoded[0] != DER_OCTET_STRING || encoded[1] != AUDIT_POINT_LEN ||
        encoded[2] != POINT_NOT_COMPRESSED)
        return error_set(ERROR_CONFIG, "%s is not a key of P-256", P11_LABEL_AUDIT);
    search->has_public = true;
    return 0;
}

int p11_audit_find(struct p11_token *token, struct p11_audit_key *ret)
{
    struct search search = {.token = token};
    int r = p11_objects_walk(token, CKO_PRIVATE_KEY, found_private, &search);

    if (r == 0)
        r = p11_objects_walk(token, CKO_PUBLIC_KEY, found_public, &search);
    if (r < 0)
        return r;
    if (search.key.private_key == CK_INVALID_HANDLE || !search.has_public)
        return 1;
    *ret = search.key;
    return 0;
}

int p11_audit_sign(struct p11_token *token, const struct p11_audit_key *key,
    const uint8_t hash[static MERKLE_HASH_LEN], uint8_t ret[static AUDIT_SIGNATURE_LEN])
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_ULONG len = AUDIT_SIGNATURE_LEN;
    CK_RV rv = token->f->C_SignInit(token->work, &mechanism, key->private_key);

    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_SignInit (audit key)");
    rv = token->f->C_Sign(token->work, p11_in(hash), MERKLE_HASH_LEN, ret, &len);
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_Sign (audit key)");
    if (len != AUDIT_SIGNATURE_LEN)
        return p11_failed(token, CKR_GENERAL_ERROR, "C_Sign (its length)");
    return 0;
}
