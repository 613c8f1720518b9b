/* Sealing anew under the newest version of a storage KEK: by a twin of the old version, which opens
 * a key for nothing but to be wrapped; and tags by the newest version of the tag key. */
#include "hsm/keyd.h"

#include "hsm/tag.h"
#include <string.h>

/* The key that opens what `store` sealed, to be wrapped again. */
static const struct p11_store_kek *find_twin(
    const struct p11_keys *keys, const struct p11_store *stores, unsigned version)
{
    const struct p11_store_kek *twin;

    if (stores == &keys->kek)
        return p11_store_version_find(&keys->rewrap_kek, version);
    twin = p11_store_version_find(&keys->rewrap_device, version);
    return twin != NULL ? twin : p11_store_version_find(&keys->export, version);
}

/* Outcome KEYD_OK with `ret` empty: it is under the newest already. */
static int reseal(struct keyd *keyd, const struct p11_store *stores, const struct sealed_key *old,
    struct sealed_key *ret)
{
    const struct p11_store_kek *store = p11_store_find(stores, old->kek_label);
    const struct p11_store_kek *newest = p11_store_newest(stores), *twin;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    uint8_t wrapped[P11_WRAPPED_MAX];
    size_t len = 0;
    int r, gone;

    if (store == NULL)
        return KEYD_KEK_UNKNOWN;
    if (store->version >= newest->version)
        return 0;
    twin = find_twin(&keyd->keys, stores, store->version);
    if (twin == NULL)
        return KEYD_CANNOT_EXPORT;
    r = p11_unwrap(&keyd->token, keyd->token.work, twin->handle, P11_USE_EXPORT, old->blob,
        old->blob_len, &key);
    if (r == 0)
        r = p11_wrap(&keyd->token, newest->handle, key, wrapped, &len);
    gone = p11_destroy(&keyd->token, &key);
    if (r == 0)
        r = gone;
    if (r < 0)
        return r;
    if (len != old->blob_len)
        return p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (its length)");
    *ret = (struct sealed_key){.blob_len = (uint8_t)len};
    memcpy(ret->kek_label, newest->label, sizeof(ret->kek_label));
    memcpy(ret->blob, wrapped, len);
    return 0;
}

/* What cannot be sealed anew, or need not be, keeps its blob; an old tag is made anew all the same,
 * so that no version of the tag key waits for a storage KEK that cannot be opened. */
static int choose(struct keyd *keyd, const struct p11_store *stores, const struct sealed_key *old,
    struct sealed_key *ret)
{
    int r = reseal(keyd, stores, old, ret);

    if ((r != 0 && r != KEYD_CANNOT_EXPORT) || ret->blob_len > 0)
        return r;
    if (old->tag_version >= p11_store_newest(&keyd->keys.tag)->version)
        return r;
    *ret = *old;
    return 0;
}

int keyd_rewrap_key(struct keyd *keyd, const struct keyd_rewrap_key_request *request,
    struct keyd_rewrap_reply *reply)
{
    uint8_t input[HSM_TAG_INPUT_MAX];
    struct sealed_key fresh = {0};
    int r = keyd_check_device_tag(
        keyd, &request->dev_eui, &request->join_eui, request->slot, &request->key);

    if (r == 0)
        r = choose(keyd, &keyd->keys.device, &request->key, &fresh);
    if (r != 0 || fresh.blob_len == 0)
        return r;
    r = keyd_make_tag(keyd, input,
        hsm_tag_input_device(&request->dev_eui, &request->join_eui, request->slot, &fresh, input),
        &fresh);
    if (r == 0)
        *reply = (struct keyd_rewrap_reply){.changed = true, .sealed = fresh};
    return r;
}

int keyd_rewrap_kek(
    struct keyd *keyd, const struct sealed_kek *kek, struct keyd_rewrap_reply *reply)
{
    uint8_t input[HSM_TAG_INPUT_MAX];
    struct sealed_kek fresh = *kek;
    int r = keyd_check_kek_tag(keyd, kek);

    fresh.key = (struct sealed_key){0};
    if (r == 0)
        r = choose(keyd, &keyd->keys.kek, &kek->key, &fresh.key);
    if (r != 0 || fresh.key.blob_len == 0)
        return r;
    r = keyd_make_tag(keyd, input, hsm_tag_input_kek(&fresh, input), &fresh.key);
    if (r == 0)
        *reply = (struct keyd_rewrap_reply){.changed = true, .sealed = fresh.key};
    return r;
}
