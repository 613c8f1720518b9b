/* Export: root keys on their way out, under a key of their owner's. */
#include "hsm/keyd.h"

#include <string.h>

static bool same_key(const struct keyd_public_key *a, const struct keyd_public_key *b)
{
    return a->modulus_len == b->modulus_len && a->exponent_len == b->exponent_len &&
           memcmp(a->modulus, b->modulus, a->modulus_len) == 0 &&
           memcmp(a->exponent, b->exponent, a->exponent_len) == 0;
}

/* One is kept: a message has one, and many messages have the same. */
static int need_target(struct keyd *keyd, const struct keyd_public_key *to)
{
    int r;

    if (keyd->export_target != CK_INVALID_HANDLE && same_key(&keyd->export_to, to))
        return 0;
    r = p11_destroy(&keyd->token, &keyd->export_target);
    if (r == 0)
        r = p11_create_rsa_public(&keyd->token, to->modulus, to->modulus_len, to->exponent,
            to->exponent_len, &keyd->export_target);
    if (r == 0)
        keyd->export_to = *to;
    return r;
}

static int wrap_out(
    struct keyd *keyd, CK_OBJECT_HANDLE key, size_t modulus_len, struct keyd_export_reply *reply)
{
    size_t len = sizeof(reply->text);
    int r = p11_wrap_oaep(&keyd->token, keyd->export_target, key, reply->text, &len);

    if (r < 0)
        return r;
    if (len != modulus_len)
        return p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (OAEP, its length)");
    reply->len = (uint16_t)len;
    return 0;
}

int keyd_export_key(struct keyd *keyd, const struct keyd_public_key *to,
    const struct keyd_export_request *request, struct keyd_export_reply *reply)
{
    const struct sealed_key *sealed = &request->key;
    const struct p11_store_kek *store, *twin;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    int r =
        keyd_check_device_tag(keyd, &request->dev_eui, &request->join_eui, request->slot, sealed);

    if (r != 0)
        return r;
    store = p11_store_find(&keyd->keys.device, sealed->kek_label);
    if (store == NULL)
        return KEYD_KEK_UNKNOWN;
    twin = p11_store_version_find(&keyd->keys.export, store->version);
    if (twin == NULL)
        return KEYD_CANNOT_EXPORT;
    r = need_target(keyd, to);
    if (r == 0)
        r = p11_unwrap(&keyd->token, keyd->token.work, twin->handle, P11_USE_EXPORT, sealed->blob,
            sealed->blob_len, &key);
    if (r == 0)
        r = wrap_out(keyd, key, to->modulus_len, reply);
    if (r != 0) {
        (void)p11_destroy(&keyd->token, &key);
        return r;
    }
    return p11_destroy(&keyd->token, &key);
}
