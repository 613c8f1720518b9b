/* Tags, and peers' KEKs opened. */
#include "hsm/keyd.h"

#include "base/secret.h"
#include "hsm/tag.h"
#include <string.h>

int keyd_make_tag(struct keyd *keyd, const uint8_t *input, size_t len, struct sealed_key *key)
{
    const struct p11_store_kek *newest = p11_store_newest(&keyd->keys.tag);

    key->tag_version = (uint16_t)newest->version;
    return p11_hmac(&keyd->token, newest->handle, input, len, key->tag);
}

static int check_tag(struct keyd *keyd, const uint8_t *input, size_t len,
    const struct sealed_key *key, enum keyd_status refusal)
{
    const struct p11_store_kek *version = p11_store_version_find(&keyd->keys.tag, key->tag_version);
    uint8_t tag[SEALED_TAG_LEN];
    int r;

    if (version == NULL)
        return KEYD_KEK_UNKNOWN;
    r = p11_hmac(&keyd->token, version->handle, input, len, tag);
    if (r < 0)
        return r;
    return secret_equal(tag, key->tag, sizeof(tag)) ? 0 : (int)refusal;
}

int keyd_check_device_tag(struct keyd *keyd, const struct eui64 *dev_eui,
    const struct eui64 *join_eui, enum key_slot slot, const struct sealed_key *key)
{
    uint8_t input[HSM_TAG_INPUT_MAX];
    const size_t len = hsm_tag_input_device(dev_eui, join_eui, slot, key, input);

    return check_tag(keyd, input, len, key, KEYD_TAG_REFUSED);
}

int keyd_check_kek_tag(struct keyd *keyd, const struct sealed_kek *kek)
{
    uint8_t input[HSM_TAG_INPUT_MAX];
    const size_t len = hsm_tag_input_kek(kek, input);

    return check_tag(keyd, input, len, &kek->key, KEYD_KEK_TAG_REFUSED);
}

/* --- peers' KEKs ------------------------------------------------------------------------------ */

/* Field by field: the padding of a struct is nobody's. */
static bool same_kek(const struct sealed_kek *a, const struct sealed_kek *b)
{
    return memcmp(a->key.tag, b->key.tag, sizeof(a->key.tag)) == 0 &&
           a->key.tag_version == b->key.tag_version && a->peer_kind == b->peer_kind &&
           a->kek_class == b->kek_class && strcmp(a->peer_id, b->peer_id) == 0 &&
           strcmp(a->label, b->label) == 0 && strcmp(a->key.kek_label, b->key.kek_label) == 0 &&
           a->key.blob_len == b->key.blob_len &&
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
bool keyd_kek_kind_agrees(const struct sealed_kek *kek)
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
    const struct p11_store_kek *store;
    int r = keyd_check_kek_tag(keyd, kek);

    if (r != 0)
        return r;
    if (!keyd_kek_kind_agrees(kek))
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
