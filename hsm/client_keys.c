/* The calls of an activation service and of `cradle`. */
#include "hsm/ask.h"

#include <assert.h>
#include <string.h>

/* --- adoption --------------------------------------------------------------------------------- */

/* In the place of a KEK that cannot be sent. Nothing has its tag, so what names it is refused as
 * what names a damaged one is, and the others are served. */
static const struct sealed_kek unsendable_kek = {
    .peer_kind = PEER_ORGANIZATION,
    .peer_id = "-",
    .kek_class = KEK_CLASS_TRANSPORT,
    .label = "-",
    .key = {.kek_label = "-", .blob_len = 24, .tag_version = 1},
};

static void replace_unsendable(const struct sealed_kek *const *keks, size_t n_keks,
    const struct sealed_kek *ret[static KEYD_KEKS_MAX])
{
    for (size_t i = 0; i < n_keks; i++)
        ret[i] = keyd_sealed_kek_valid(keks[i]) ? keks[i] : &unsendable_kek;
}

int keyd_adopt_device_keys(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_adopt_request *requests, size_t n_requests,
    struct keyd_adopt_reply *replies, int64_t deadline_ms)
{
    const struct sealed_kek *sent[KEYD_KEKS_MAX];
    int r;

    assert(n_keks <= KEYD_KEKS_MAX && n_requests <= KEYD_BATCH_MAX);
    if (n_requests == 0)
        return 0;
    replace_unsendable(keks, n_keks, sent);
    r = keyd_ask(channel, KEYD_VERB_ADOPT_KEY, sent, n_keks, requests, n_requests, deadline_ms);
    secret_wipe(channel->request_frame, sizeof(channel->request_frame));
    if (r == 0)
        memcpy(replies, channel->reply.adopts, n_requests * sizeof(*replies));
    return r;
}

int keyd_adopt_kek(struct keyd_channel *channel, const uint8_t oaep[static KEYD_OAEP_LEN],
    unsigned key_len, struct sealed_kek *kek, uint8_t ret_kcv[static KEYD_KCV_LEN],
    enum keyd_status *ret_status, int64_t deadline_ms)
{
    struct keyd_adopt_kek_request request = {.key_len = (uint8_t)key_len, .kek = *kek};
    const struct keyd_adopt_kek_reply *reply = &channel->reply.adopt_kek;
    int r;

    if (key_len > UINT8_MAX)
        return error_set(ERROR_INPUT, "a KEK has 16, 24 or 32 bytes");
    memcpy(request.oaep, oaep, sizeof(request.oaep));
    r = keyd_ask(channel, KEYD_VERB_ADOPT_KEK, NULL, 0, &request, 1, deadline_ms);
    if (r < 0)
        return r;
    *ret_status = reply->status;
    if (reply->status == KEYD_OK) {
        kek->key = reply->sealed;
        memcpy(ret_kcv, reply->kcv, KEYD_KCV_LEN);
    }
    return 0;
}

/* --- a KEK made here -------------------------------------------------------------------------- */

int keyd_make_kek(struct keyd_channel *channel, const struct keyd_public_key *to, unsigned key_len,
    struct sealed_kek *kek, struct keyd_made_kek *ret, enum keyd_status *ret_status,
    int64_t deadline_ms)
{
    struct keyd_make_kek_request request = {.to = *to, .key_len = (uint8_t)key_len, .kek = *kek};
    const struct keyd_make_kek_reply *reply = &channel->reply.make_kek;
    int r;

    if (!keyd_public_key_valid(to, KEYD_RSA_MAX))
        return error_set(ERROR_INPUT, "not an RSA public key of 2048 to 8192 bits");
    if (key_len > UINT8_MAX)
        return error_set(ERROR_INPUT, "a KEK has 16, 24 or 32 bytes");
    r = keyd_ask(channel, KEYD_VERB_MAKE_KEK, NULL, 0, &request, 1, deadline_ms);
    if (r < 0)
        return r;
    if (reply->status == KEYD_OK && reply->made.len != to->modulus_len)
        return error_set(ERROR_HSM, "the key process sealed a KEK to another public key");
    *ret_status = reply->status;
    if (reply->status == KEYD_OK) {
        kek->key = reply->sealed;
        *ret = reply->made;
    }
    return 0;
}

/* --- a root key made here --------------------------------------------------------------------- */

int keyd_make_device_keys(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_make_request *requests, size_t n_requests,
    struct keyd_make_reply *replies, int64_t deadline_ms)
{
    const struct sealed_kek *sent[KEYD_KEKS_MAX];
    int r;

    assert(n_keks <= KEYD_KEKS_MAX && n_requests <= KEYD_BATCH_MAX);
    if (n_requests == 0)
        return 0;
    replace_unsendable(keks, n_keks, sent);
    r = keyd_ask(channel, KEYD_VERB_MAKE_KEY, sent, n_keks, requests, n_requests, deadline_ms);
    if (r == 0)
        memcpy(replies, channel->reply.makes, n_requests * sizeof(*replies));
    return r;
}

/* --- export ----------------------------------------------------------------------------------- */

int keyd_export_keys(struct keyd_channel *channel, const struct keyd_public_key *to,
    const struct keyd_export_request *requests, size_t n_requests,
    struct keyd_export_reply *replies, int64_t deadline_ms)
{
    static const struct sealed_key unsendable_key = {
        .kek_label = "-", .blob_len = 24, .tag_version = 1};
    struct keyd_export_message message;
    int r;

    assert(n_requests <= KEYD_BATCH_MAX);
    if (!keyd_public_key_valid(to, KEYD_EXPORT_RSA_MAX))
        return error_set(ERROR_INPUT, "not an RSA public key of 2048 to 4096 bits");
    if (n_requests == 0)
        return 0;
    message.to = *to;
    for (size_t i = 0; i < n_requests; i++) {
        message.items[i] = requests[i];
        if (!keyd_sealed_key_valid(&requests[i].key))
            message.items[i].key = unsendable_key;
    }
    r = keyd_ask(channel, KEYD_VERB_EXPORT_KEY, NULL, 0, &message, n_requests, deadline_ms);
    if (r == 0)
        memcpy(replies, channel->reply.exports, n_requests * sizeof(*replies));
    return r;
}

/* Of acts that come whole or not at all. */
static int item_failed(enum keyd_status status)
{
    return error_set(ERROR_HSM, "key process: %s", keyd_status_text(status));
}

/* --- keyed hashes ----------------------------------------------------------------------------- */

/* The hashes of items that were asked for: all, or an error. */
static int take_hashes(struct keyd_channel *channel, size_t n, uint8_t (*ret_hashes)[KEYD_HASH_LEN])
{
    for (size_t i = 0; i < n; i++) {
        const struct keyd_hash_reply *reply = &channel->reply.hashes[i];

        if (reply->status != KEYD_OK)
            return item_failed(reply->status);
        memcpy(ret_hashes[i], reply->hash, KEYD_HASH_LEN);
    }
    return 0;
}

static int take_code_hashes(struct keyd_channel *channel, size_t n, struct keyd_code_hash *ret)
{
    for (size_t i = 0; i < n; i++) {
        const struct keyd_hash_reply *reply = &channel->reply.hashes[i];

        if (reply->status != KEYD_OK)
            return item_failed(reply->status);
        memcpy(ret[i].hash, reply->hash, KEYD_HASH_LEN);
        ret[i].version = reply->version;
    }
    return 0;
}

int keyd_hash_claim_codes(struct keyd_channel *channel, const struct keyd_claim_code *codes,
    size_t n_codes, struct keyd_code_hash *ret, int64_t deadline_ms)
{
    int r;

    assert(n_codes <= KEYD_BATCH_MAX);
    if (n_codes == 0)
        return 0;
    r = keyd_ask(channel, KEYD_VERB_HASH_CODE, NULL, 0, codes, n_codes, deadline_ms);
    secret_wipe(channel->request_frame, sizeof(channel->request_frame));
    return r < 0 ? r : take_code_hashes(channel, n_codes, ret);
}

int keyd_hash_tokens(struct keyd_channel *channel, const uint8_t *const *bodies, size_t body_len,
    size_t n, uint8_t (*ret_hashes)[KEYD_HASH_LEN], int64_t deadline_ms)
{
    struct keyd_token_request requests[KEYD_BATCH_MAX];
    int r;

    assert(n <= KEYD_BATCH_MAX);
    if (n == 0)
        return 0;
    if (body_len > KEYD_TOKEN_MAX)
        return error_set(ERROR_INPUT, "a token's body has at most %d bytes", KEYD_TOKEN_MAX);
    for (size_t i = 0; i < n; i++) {
        requests[i] = (struct keyd_token_request){.body_len = (uint8_t)body_len};
        memcpy(requests[i].body, bodies[i], body_len);
    }
    r = keyd_ask(channel, KEYD_VERB_HASH_TOKEN, NULL, 0, requests, n, deadline_ms);
    return r < 0 ? r : take_hashes(channel, n, ret_hashes);
}

int keyd_hash_token(struct keyd_channel *channel, const uint8_t *body, size_t body_len,
    uint8_t ret_hash[static KEYD_HASH_LEN], int64_t deadline_ms)
{
    uint8_t hashes[1][KEYD_HASH_LEN];
    int r = keyd_hash_tokens(channel, &body, body_len, 1, hashes, deadline_ms);

    if (r == 0)
        memcpy(ret_hash, hashes[0], KEYD_HASH_LEN);
    return r;
}

int keyd_delivery_key(struct keyd_channel *channel, const uint8_t batch[static KEYD_BATCH_ID_LEN],
    unsigned version, struct keyd_code_hash *ret, int64_t deadline_ms)
{
    struct keyd_delivery_request request = {.version = (uint16_t)version};
    int r;

    memcpy(request.batch, batch, sizeof(request.batch));
    r = keyd_ask(channel, KEYD_VERB_DELIVERY_KEY, NULL, 0, &request, 1, deadline_ms);
    if (r == 0)
        r = take_code_hashes(channel, 1, ret);
    keyd_forget(channel);
    return r;
}

int keyd_self_test(struct keyd_channel *channel, int64_t deadline_ms)
{
    int r = keyd_ask(channel, KEYD_VERB_SELF_TEST, NULL, 0, NULL, 1, deadline_ms);

    if (r < 0)
        return r;
    return channel->reply.hashes[0].status == KEYD_OK
               ? 0
               : item_failed(channel->reply.hashes[0].status);
}

/* --- random bytes ----------------------------------------------------------------------------- */

int keyd_random(
    struct keyd_channel *channel, uint8_t *ret, size_t len, size_t n_items, int64_t deadline_ms)
{
    struct keyd_random_request requests[KEYD_BATCH_MAX];
    int r;

    assert(n_items <= KEYD_BATCH_MAX && len >= 1 && len <= KEYD_RANDOM_MAX);
    if (n_items == 0)
        return 0;
    for (size_t i = 0; i < n_items; i++)
        requests[i].len = (uint8_t)len;
    r = keyd_ask(channel, KEYD_VERB_RANDOM, NULL, 0, requests, n_items, deadline_ms);
    for (size_t i = 0; r == 0 && i < n_items; i++) {
        const struct keyd_random_reply *reply = &channel->reply.randoms[i];

        if (reply->status != KEYD_OK || reply->len != len)
            r = item_failed(reply->status != KEYD_OK ? reply->status : KEYD_HSM_FAILED);
        else
            memcpy(ret + i * len, reply->bytes, len);
    }
    keyd_forget(channel);
    return r;
}
