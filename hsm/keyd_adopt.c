/* Adoption: keys on their way in. */
#include "hsm/keyd.h"

#include "hsm/tag.h"
#include <string.h>

/* --- opening what came ------------------------------------------------------------------------ */

/** A text, and the key that opens it. */
struct opening {
    CK_OBJECT_HANDLE transport_kek; /* CK_INVALID_HANDLE: the exchange key opens it */
    const uint8_t *text;            /* KEYD_WRAPPED_LEN or KEYD_OAEP_LEN bytes */
    enum p11_use use;
};

static int try_opening(struct keyd *keyd, const struct opening *o, CK_OBJECT_HANDLE *ret)
{
    struct p11_token *token = &keyd->token;

    if (o->transport_kek == CK_INVALID_HANDLE)
        return p11_unwrap_oaep(token, keyd->keys.exchange, o->use, o->text, KEYD_OAEP_LEN, ret);
    return p11_unwrap(token, token->work, o->transport_kek, o->use, o->text, KEYD_WRAPPED_LEN, ret);
}

/* SoftHSM answers a text that does not open and a failing token with the same code. A text that we
 * made tells them apart: where that one opens, and the other still does not, the text is at fault,
 * and the token has not failed. */
static int open_text(struct keyd *keyd, const struct opening *o, CK_OBJECT_HANDLE *ret)
{
    struct p11_token *token = &keyd->token;
    int r = try_opening(keyd, o, ret);

    if (r == 0 || token->lost)
        return r;
    r = o->transport_kek == CK_INVALID_HANDLE ? p11_exchange_test(token, &keyd->keys, &keyd->known)
                                              : p11_transport_test(token, o->transport_kek);
    if (r < 0)
        return r;
    r = try_opening(keyd, o, ret);
    return r == 0 || token->lost ? r : KEYD_BAD_INPUT;
}

/* An RSA text may hold a key of any length, and SoftHSM makes an "AES key" of it, fills it up with
 * zeros when it wraps it, and refuses it first where it is used. */
static bool is_length_refusal(CK_RV rv)
{
    return rv == CKR_KEY_SIZE_RANGE || rv == CKR_BUFFER_TOO_SMALL || rv == CKR_MECHANISM_INVALID;
}

/* --- sealing ---------------------------------------------------------------------------------- */

/* Of 16 zero bytes: its beginning is the check value, and a fingerprint is made of it. */
static int check_mac(struct keyd *keyd, CK_OBJECT_HANDLE key, uint8_t ret[static 16])
{
    static const uint8_t zero_block[16];

    return p11_cmac(&keyd->token, key, zero_block, sizeof(zero_block), ret);
}

/* Wraps under the newest version of a storage KEK; the tag is the caller's. */
static int seal(
    struct keyd *keyd, const struct p11_store *store, CK_OBJECT_HANDLE key, struct sealed_key *ret)
{
    const struct p11_store_kek *kek = p11_store_newest(store);
    uint8_t wrapped[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = p11_wrap(&keyd->token, kek->handle, key, wrapped, &len);

    if (r < 0)
        return r;
    if (len > SEALED_BLOB_MAX)
        return p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (its length)");
    *ret = (struct sealed_key){.blob_len = (uint8_t)len};
    memcpy(ret->kek_label, kek->label, sizeof(ret->kek_label));
    memcpy(ret->blob, wrapped, len);
    return 0;
}

/* A key of another length than the one that was said is what came, not the token's fault. */
static int seal_of_length(struct keyd *keyd, const struct p11_store *store, CK_OBJECT_HANDLE key,
    size_t key_len, struct sealed_key *ret, uint8_t mac[static 16])
{
    int r = check_mac(keyd, key, mac);

    if (r == 0)
        r = seal(keyd, store, key, ret);
    if (r < 0)
        return is_length_refusal(keyd->token.last_rv) ? KEYD_BAD_INPUT : r;
    return ret->blob_len == key_len + 8 ? 0 : KEYD_BAD_INPUT;
}

/* --- a device's key --------------------------------------------------------------------------- */

static int bring_in(struct keyd *keyd, const struct sealed_kek *keks,
    const struct keyd_adopt_request *request, CK_OBJECT_HANDLE *ret)
{
    struct opening o = {.text = request->sealed, .use = P11_USE_ADOPT_KEY};
    int r = 0;

    if (request->form == KEYD_FORM_CLEAR)
        return p11_create(
            &keyd->token, P11_USE_ADOPT_KEY, request->key.bytes, sizeof(request->key.bytes), ret);
    if (request->form == KEYD_FORM_WRAPPED) {
        o.text = request->wrapped;
        r = keyd_open_kek(
            keyd, &keks[request->transport_kek], KEK_CLASS_TRANSPORT, &o.transport_kek);
    }
    return r != 0 ? r : open_text(keyd, &o, ret);
}

/* The token's, or what tag.1 gives: made when the first key comes, for a keyd that adopts none
 * needs none. Both are the same key. */
static int need_fingerprint_key(struct keyd *keyd, CK_OBJECT_HANDLE *ret)
{
    uint8_t key[KEYED_LEN];
    int r = 0;

    *ret = keyd->keys.fingerprint;
    if (*ret != CK_INVALID_HANDLE)
        return 0;
    if (keyd->fingerprint_key == CK_INVALID_HANDLE) {
        r = p11_fingerprint_value(&keyd->token, &keyd->keys, key);
        if (r == 0)
            r = p11_create_hmac(&keyd->token, key, sizeof(key), &keyd->fingerprint_key);
        secret_wipe(key, sizeof(key));
    }
    *ret = keyd->fingerprint_key;
    return r;
}

static int make_fingerprint(
    struct keyd *keyd, const uint8_t mac[static 16], uint8_t ret[static KEYD_FINGERPRINT_LEN])
{
    CK_OBJECT_HANDLE key;
    uint8_t whole[32];
    int r = need_fingerprint_key(keyd, &key);

    if (r == 0)
        r = p11_hmac(&keyd->token, key, mac, 16, whole);
    if (r == 0)
        memcpy(ret, whole, KEYD_FINGERPRINT_LEN);
    return r;
}

int keyd_seal_root(struct keyd *keyd, CK_OBJECT_HANDLE key, const struct eui64 *dev_eui,
    const struct eui64 *join_eui, enum key_slot slot, struct keyd_sealed_root *ret)
{
    uint8_t input[HSM_TAG_INPUT_MAX], mac[16];
    int r = seal_of_length(keyd, &keyd->keys.device, key, AES_KEY_LEN, &ret->sealed, mac);

    if (r == 0)
        r = keyd_make_tag(keyd, input,
            hsm_tag_input_device(dev_eui, join_eui, slot, &ret->sealed, input), &ret->sealed);
    if (r == 0)
        r = make_fingerprint(keyd, mac, ret->fingerprint);
    if (r == 0)
        memcpy(ret->kcv, mac, KEYD_KCV_LEN);
    return r;
}

int keyd_adopt_key(struct keyd *keyd, const struct sealed_kek *keks,
    const struct keyd_adopt_request *request, struct keyd_adopt_reply *reply)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    struct keyd_sealed_root root = {0};
    int r = bring_in(keyd, keks, request, &key);

    if (r == 0)
        r = keyd_seal_root(keyd, key, &request->dev_eui, &request->join_eui, request->slot, &root);
    if (r > 0 && request->form == KEYD_FORM_CLEAR) /* we made it, and of the right length */
        r = p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (its length)");
    if (r != 0) {
        (void)p11_destroy(&keyd->token, &key);
        return r;
    }
    reply->sealed = root.sealed;
    memcpy(reply->kcv, root.kcv, sizeof(reply->kcv));
    memcpy(reply->fingerprint, root.fingerprint, sizeof(reply->fingerprint));
    return p11_destroy(&keyd->token, &key);
}

/* --- a peer's KEK ----------------------------------------------------------------------------- */

int keyd_seal_kek(struct keyd *keyd, CK_OBJECT_HANDLE key, size_t key_len, struct sealed_kek *kek,
    uint8_t ret_kcv[static KEYD_KCV_LEN])
{
    uint8_t input[HSM_TAG_INPUT_MAX], mac[16];
    int r = seal_of_length(keyd, &keyd->keys.kek, key, key_len, &kek->key, mac);

    if (r == 0)
        r = keyd_make_tag(keyd, input, hsm_tag_input_kek(kek, input), &kek->key);
    if (r == 0)
        memcpy(ret_kcv, mac, KEYD_KCV_LEN);
    return r;
}

int keyd_adopt_peer(struct keyd *keyd, const struct keyd_adopt_kek_request *request,
    struct keyd_adopt_kek_reply *reply)
{
    const struct opening o = {.text = request->oaep, .use = P11_USE_ADOPT_KEK};
    struct sealed_kek kek = request->kek;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    int r = keyd_kek_kind_agrees(&kek) ? open_text(keyd, &o, &key) : KEYD_BAD_INPUT;

    if (r == 0)
        r = keyd_seal_kek(keyd, key, request->key_len, &kek, reply->kcv);
    if (r != 0) {
        (void)p11_destroy(&keyd->token, &key);
        return r;
    }
    reply->sealed = kek.key;
    return p11_destroy(&keyd->token, &key);
}
