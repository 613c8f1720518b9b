/* Keys on their way out, under a public key of their owner's: root keys that are exported, and KEKs
 * that are made here. */
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

/* `out` has as many bytes as the modulus. */
static int wrap_out(struct keyd *keyd, CK_OBJECT_HANDLE target, CK_OBJECT_HANDLE key,
    uint16_t modulus_len, uint8_t *out, uint16_t *ret_len)
{
    size_t len = modulus_len;
    int r = p11_wrap_oaep(&keyd->token, target, key, out, &len);

    if (r < 0)
        return r;
    if (len != modulus_len)
        return p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (OAEP, its length)");
    *ret_len = modulus_len;
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
        r = wrap_out(keyd, keyd->export_target, key, to->modulus_len, reply->text, &reply->len);
    if (r != 0) {
        (void)p11_destroy(&keyd->token, &key);
        return r;
    }
    return p11_destroy(&keyd->token, &key);
}

/* --- a KEK made here -------------------------------------------------------------------------- */

/* With the new key in the token: both of its sealed forms. */
static int seal_twice(struct keyd *keyd, const struct keyd_make_kek_request *request,
    CK_OBJECT_HANDLE target, CK_OBJECT_HANDLE key, struct keyd_make_kek_reply *reply)
{
    struct sealed_kek kek = request->kek;
    int r = keyd_seal_kek(keyd, key, request->key_len, &kek, reply->made.kcv);

    if (r > 0) /* we made it, and of the right length */
        return p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_GenerateKey (its length)");
    if (r == 0)
        r = wrap_out(
            keyd, target, key, request->to.modulus_len, reply->made.text, &reply->made.len);
    if (r == 0)
        reply->sealed = kek.key;
    return r;
}

int keyd_make_peer_kek(struct keyd *keyd, const struct keyd_make_kek_request *request,
    struct keyd_make_kek_reply *reply)
{
    struct p11_token *token = &keyd->token;
    const struct keyd_public_key *to = &request->to;
    CK_OBJECT_HANDLE target = CK_INVALID_HANDLE, key = CK_INVALID_HANDLE;
    int r, gone;

    if (!keyd_kek_kind_agrees(&request->kek))
        return KEYD_BAD_INPUT;
    /* The next one is for somebody else: unlike that of an export it is not kept. */
    r = p11_create_rsa_public(
        token, to->modulus, to->modulus_len, to->exponent, to->exponent_len, &target);
    if (r == 0)
        r = p11_generate(token, P11_USE_ADOPT_KEK, request->key_len, &key);
    if (r == 0)
        r = seal_twice(keyd, request, target, key, reply);
    /* Both, whatever became of the other; an answer means that they are gone. */
    gone = p11_destroy(token, &key);
    if (r == 0)
        r = gone;
    gone = p11_destroy(token, &target);
    return r == 0 ? gone : r;
}
