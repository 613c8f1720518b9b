/* Root keys that are made here, for a maker who builds devices with them, and the keys that their
 * deliveries are sealed with. */
#include "hsm/keyd.h"

#include "base/bytes.h"
#include "base/error.h"
#include <string.h>

/* No claim code's input begins like this, which is "claim-v1", a DevEUI and more: no verb that is
 * asked for one makes the other. */
#define HASH_PREFIX_DELIVERY "delivery-v1"
#define INPUT_LEN (sizeof(HASH_PREFIX_DELIVERY) - 1 + KEYD_BATCH_ID_LEN)

#define SIGFOX_ID_LEN 4
#define SIGFOX_ID_AT (sizeof(struct eui64) - SIGFOX_ID_LEN) /* zeros before it */

/* --- root keys -------------------------------------------------------------------------------- */

static bool is_sigfox_name(const struct keyd_make_request *q)
{
    static const struct eui64 zeros;

    return q->slot == KEY_SLOT_APP && memcmp(&q->join_eui, &zeros, sizeof(zeros)) == 0 &&
           memcmp(&q->dev_eui, &zeros, SIGFOX_ID_AT) == 0;
}

static bool is_possible(const struct keyd_make_request *q, const struct sealed_kek *kek)
{
    return (!q->is_sigfox || is_sigfox_name(q)) &&
           (q->form != KEYD_MADE_RECORD || kek->key.blob_len == AES_KEY_LEN + 8);
}

static void write_reversed(struct bytes_writer *w, const uint8_t *bytes, size_t len)
{
    while (len > 0)
        bytes_write_u8(w, bytes[--len]);
}

/* How a record begins. Of a Sigfox credential what follows its id is zeros, as `block` is. */
static void write_identifier(const struct keyd_make_request *q, uint8_t block[static AES_KEY_LEN])
{
    struct bytes_writer w = bytes_writer_over(block, AES_KEY_LEN);

    if (q->is_sigfox) {
        write_reversed(&w, q->dev_eui.bytes + SIGFOX_ID_AT, SIGFOX_ID_LEN);
        return;
    }
    write_reversed(&w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    write_reversed(&w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
}

/* A transport KEK can wrap and not encrypt: a block that is no key's is made one for a moment. */
static int wrap_block(struct keyd *keyd, CK_OBJECT_HANDLE kek,
    const uint8_t block[static AES_KEY_LEN], uint8_t out[static AES_KEY_LEN])
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    int r = p11_create(&keyd->token, P11_USE_SESSION, block, AES_KEY_LEN, &key), gone;

    if (r == 0)
        r = p11_wrap_block(&keyd->token, kek, key, out);
    gone = p11_destroy(&keyd->token, &key);
    return r == 0 ? gone : r;
}

static int wrap_record(struct keyd *keyd, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
    const struct keyd_make_request *q, struct keyd_record *ret)
{
    static const uint8_t zeros[AES_KEY_LEN];
    uint8_t identifier[AES_KEY_LEN] = {0};
    int r = p11_wrap_block(&keyd->token, kek, key, ret->key);

    if (r < 0 && keyd->token.last_rv == CKR_MECHANISM_INVALID)
        return KEYD_CANNOT_EXPORT; /* no probe asks for it: who delivers no records needs none */
    if (r < 0 || q->slot != KEY_SLOT_APP)
        return r;
    write_identifier(q, identifier);
    r = wrap_block(keyd, kek, identifier, ret->identifier);
    return r == 0 && !q->is_sigfox ? wrap_block(keyd, kek, zeros, ret->no_key) : r;
}

static int wrap_key(struct keyd *keyd, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
    uint8_t ret[static KEYD_WRAPPED_LEN])
{
    uint8_t wrapped[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = p11_wrap(&keyd->token, kek, key, wrapped, &len);

    if (r < 0)
        return r;
    if (len != KEYD_WRAPPED_LEN)
        return p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (its length)");
    memcpy(ret, wrapped, KEYD_WRAPPED_LEN);
    return 0;
}

/* With the new key in the token: what stays here of it, and what leaves. */
static int seal_twice(struct keyd *keyd, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
    const struct keyd_make_request *q, struct keyd_make_reply *reply)
{
    struct keyd_sealed_root root = {0};
    int r = keyd_seal_root(keyd, key, &q->dev_eui, &q->join_eui, q->slot, &root);

    if (r > 0) /* we made it, and of the right length */
        return p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_GenerateKey (its length)");
    if (r < 0)
        return r;
    reply->sealed = root.sealed;
    memcpy(reply->kcv, root.kcv, sizeof(reply->kcv));
    memcpy(reply->fingerprint, root.fingerprint, sizeof(reply->fingerprint));
    return q->form == KEYD_MADE_RECORD ? wrap_record(keyd, kek, key, q, &reply->record)
                                       : wrap_key(keyd, kek, key, reply->wrapped);
}

int keyd_make_root(struct keyd *keyd, const struct sealed_kek *keks,
    const struct keyd_make_request *request, struct keyd_make_reply *reply)
{
    const struct sealed_kek *sealed = &keks[request->transport_kek];
    CK_OBJECT_HANDLE kek = CK_INVALID_HANDLE, key = CK_INVALID_HANDLE;
    int r, gone;

    /* The KEK first: what its blob says of its length is true where its tag is. */
    r = keyd_open_kek(keyd, sealed, KEK_CLASS_TRANSPORT, &kek);
    if (r == 0 && !is_possible(request, sealed))
        r = KEYD_BAD_INPUT;
    if (r == 0)
        r = p11_generate(&keyd->token, P11_USE_ADOPT_KEY, AES_KEY_LEN, &key);
    if (r == 0)
        r = seal_twice(keyd, kek, key, request, reply);
    gone = p11_destroy(&keyd->token, &key);
    return r == 0 ? gone : r;
}

/* --- deliveries ------------------------------------------------------------------------------- */

int keyd_delivery_hash(
    struct keyd *keyd, const struct keyd_delivery_request *q, struct keyd_hash_reply *reply)
{
    const struct p11_store_kek *key = keyd_code_key(keyd, q->version);
    uint8_t input[INPUT_LEN];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write(&w, HASH_PREFIX_DELIVERY, strlen(HASH_PREFIX_DELIVERY));
    bytes_write(&w, q->batch, sizeof(q->batch));
    if (w.failed)
        return error_set(ERROR_INTERNAL, "a batch's id does not fit its hash");
    reply->version = (uint16_t)key->version;
    return p11_hmac(&keyd->token, key->handle, input, w.len, reply->hash);
}
