/* Sealing and opening: tags, peers' KEKs, adoption. */
#include "hsm/keyd.h"

#include "base/secret.h"
#include "hsm/tag.h"
#include <string.h>

static const uint8_t zero_block[16];

static int make_tag(
    struct keyd *keyd, const uint8_t *input, size_t len, uint8_t tag[static SEALED_TAG_LEN])
{
    return p11_hmac(&keyd->token, keyd->keys.tag, input, len, tag);
}

int keyd_check_device_tag(struct keyd *keyd, const struct eui64 *dev_eui,
    const struct eui64 *join_eui, enum key_slot slot, const struct sealed_key *key)
{
    uint8_t input[HSM_TAG_INPUT_MAX], tag[SEALED_TAG_LEN];
    size_t len = hsm_tag_input_device(dev_eui, join_eui, slot, key, input);
    int r = make_tag(keyd, input, len, tag);

    if (r < 0)
        return r;
    return secret_equal(tag, key->tag, sizeof(tag)) ? 0 : KEYD_TAG_REFUSED;
}

/* --- peers' KEKs ------------------------------------------------------------------------------ */

/* Field by field: the padding of a struct is nobody's. */
static bool same_kek(const struct sealed_kek *a, const struct sealed_kek *b)
{
    return memcmp(a->key.tag, b->key.tag, sizeof(a->key.tag)) == 0 &&
           a->peer_kind == b->peer_kind && a->kek_class == b->kek_class &&
           strcmp(a->peer_id, b->peer_id) == 0 && strcmp(a->label, b->label) == 0 &&
           strcmp(a->key.kek_label, b->key.kek_label) == 0 && a->key.blob_len == b->key.blob_len &&
           memcmp(a->key.blob, b->key.blob, a->key.blob_len) == 0;
}

static struct keyd_open_kek *find_open(struct keyd *keyd, const struct sealed_kek *kek)
{
    for (size_t i = 0; i < keyd->n_keks; i++) {
        if (same_kek(&keyd->keks[i].sealed, kek))
            return &keyd->keks[i];
    }
    return NULL;
}

/* A fresh place, or the one unused for longest. */
static struct keyd_open_kek *make_place(struct keyd *keyd)
{
    struct keyd_open_kek *oldest = &keyd->keks[0];

    if (keyd->n_keks < KEYD_KEK_CACHE)
        return &keyd->keks[keyd->n_keks++];
    for (size_t i = 1; i < keyd->n_keks; i++) {
        if (keyd->keks[i].last_used < oldest->last_used)
            oldest = &keyd->keks[i];
    }
    return oldest;
}

/* A KEK serves the one purpose that its peer can have for it. */
static bool kind_agrees(const struct sealed_kek *kek)
{
    static const enum peer_kind kinds[] = {
        [KEK_CLASS_NS] = PEER_NETWORK_SERVER,
        [KEK_CLASS_AS] = PEER_APPLICATION_SERVER,
        [KEK_CLASS_TRANSPORT] = PEER_ORGANIZATION,
    };

    return kek->peer_kind == kinds[kek->kek_class]; /* the decoder has checked both */
}

static int unseal_kek(struct keyd *keyd, const struct sealed_kek *kek, CK_OBJECT_HANDLE *ret)
{
    uint8_t input[HSM_TAG_INPUT_MAX], tag[SEALED_TAG_LEN];
    const struct p11_store_kek *store;
    int r = make_tag(keyd, input, hsm_tag_input_kek(kek, input), tag);

    if (r < 0)
        return r;
    if (!secret_equal(tag, kek->key.tag, sizeof(tag)))
        return KEYD_KEK_TAG_REFUSED;
    if (!kind_agrees(kek))
        return KEYD_BAD_INPUT;
    store = p11_store_find(&keyd->keys.kek, kek->key.kek_label);
    if (store == NULL)
        return KEYD_KEK_UNKNOWN;
    return p11_unwrap(&keyd->token, keyd->token.anchor, store->handle,
        kek->kek_class == KEK_CLASS_TRANSPORT ? P11_USE_TRANSPORT : P11_USE_PEER, kek->key.blob,
        kek->key.blob_len, ret);
}

int keyd_open_kek(
    struct keyd *keyd, const struct sealed_kek *kek, enum kek_class wanted, CK_OBJECT_HANDLE *ret)
{
    struct keyd_open_kek *place = find_open(keyd, kek);

    if (place == NULL) {
        CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
        int r = unseal_kek(keyd, kek, &opened);

        if (r != 0)
            return r;
        place = make_place(keyd);
        r = p11_destroy(&keyd->token, &place->handle);
        *place = (struct keyd_open_kek){.sealed = *kek, .handle = opened};
        if (r < 0)
            return r;
    }
    place->last_used = ++keyd->clock;
    if (kek->kek_class != wanted)
        return KEYD_BAD_INPUT;
    *ret = place->handle;
    return 0;
}

/* --- adoption --------------------------------------------------------------------------------- */

static int check_value(struct keyd *keyd, CK_OBJECT_HANDLE key, uint8_t ret[static KEYD_KCV_LEN])
{
    uint8_t mac[16];
    int r = p11_cmac(&keyd->token, key, zero_block, sizeof(zero_block), mac);

    if (r == 0)
        memcpy(ret, mac, KEYD_KCV_LEN);
    return r;
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

int keyd_adopt_key(
    struct keyd *keyd, const struct keyd_adopt_request *request, struct keyd_adopt_reply *reply)
{
    uint8_t input[HSM_TAG_INPUT_MAX];
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    int r = p11_create(
        &keyd->token, P11_USE_ADOPT_KEY, request->key.bytes, sizeof(request->key.bytes), &key);

    if (r == 0)
        r = check_value(keyd, key, reply->kcv);
    if (r == 0)
        r = seal(keyd, &keyd->keys.device, key, &reply->sealed);
    if (r == 0 && reply->sealed.blob_len != AES_KEY_LEN + 8)
        r = p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (its length)");
    if (r == 0)
        r = make_tag(keyd, input,
            hsm_tag_input_device(
                &request->dev_eui, &request->join_eui, request->slot, &reply->sealed, input),
            reply->sealed.tag);
    if (r < 0) {
        (void)p11_destroy(&keyd->token, &key);
        return r;
    }
    return p11_destroy(&keyd->token, &key);
}

/* SoftHSM answers a text that does not open and a failing token with the same code. A text that we
 * made tells them apart: where that one opens, and the other still does not, the text is at fault.
 */
static int open_exchange(struct keyd *keyd, const uint8_t *text, CK_OBJECT_HANDLE *ret)
{
    struct p11_token *token = &keyd->token;
    int r =
        p11_unwrap_oaep(token, keyd->keys.exchange, P11_USE_ADOPT_KEK, text, KEYD_OAEP_LEN, ret);

    if (r == 0 || token->lost)
        return r;
    r = p11_exchange_test(token, &keyd->keys, &keyd->known);
    if (r < 0)
        return r;
    r = p11_unwrap_oaep(token, keyd->keys.exchange, P11_USE_ADOPT_KEK, text, KEYD_OAEP_LEN, ret);
    return r == 0 || token->lost ? r : KEYD_BAD_INPUT;
}

/* An RSA text may hold a key of any length, and SoftHSM makes an "AES key" of it, fills it up with
 * zeros when it wraps it, and refuses it first where it is used. */
static bool is_length_refusal(CK_RV rv)
{
    return rv == CKR_KEY_SIZE_RANGE || rv == CKR_BUFFER_TOO_SMALL || rv == CKR_MECHANISM_INVALID;
}

static int seal_of_length(struct keyd *keyd, CK_OBJECT_HANDLE key, size_t key_len,
    struct sealed_key *ret, uint8_t kcv[static KEYD_KCV_LEN])
{
    int r = check_value(keyd, key, kcv);

    if (r == 0)
        r = seal(keyd, &keyd->keys.kek, key, ret);
    if (r < 0)
        return is_length_refusal(keyd->token.last_rv) ? KEYD_BAD_INPUT : r;
    return ret->blob_len == key_len + 8 ? 0 : KEYD_BAD_INPUT;
}

int keyd_adopt_peer(struct keyd *keyd, const struct keyd_adopt_kek_request *request,
    struct keyd_adopt_kek_reply *reply)
{
    struct sealed_kek kek = request->kek;
    uint8_t input[HSM_TAG_INPUT_MAX];
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    int r = kind_agrees(&kek) ? open_exchange(keyd, request->oaep, &key) : KEYD_BAD_INPUT;

    if (r == 0)
        r = seal_of_length(keyd, key, request->key_len, &kek.key, reply->kcv);
    if (r == 0)
        r = make_tag(keyd, input, hsm_tag_input_kek(&kek, input), kek.key.tag);
    if (r != 0) {
        (void)p11_destroy(&keyd->token, &key);
        return r;
    }
    reply->sealed = kek.key;
    return p11_destroy(&keyd->token, &key);
}
