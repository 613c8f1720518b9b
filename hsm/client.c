/* The calls of a join server. */
#include "hsm/ask.h"

#include "hsm/frame_items.h"
#include <assert.h>
#include <string.h>

const char *keyd_status_text(enum keyd_status status)
{
    static const char *const texts[] = {
        [KEYD_OK] = "ok",
        [KEYD_MIC_FAILED] = "the MIC is wrong",
        [KEYD_TAG_REFUSED] = "the sealed device key was altered or moved",
        [KEYD_KEK_TAG_REFUSED] = "the sealed KEK was altered or moved",
        [KEYD_KEK_UNKNOWN] = "the token does not hold the storage KEK or the tag key",
        [KEYD_BAD_INPUT] = "the input cannot be used",
        [KEYD_HSM_FAILED] = "the HSM failed",
        [KEYD_CANNOT_EXPORT] = "this token cannot export",
        [KEYD_NO_AUDIT_KEY] = "the token holds no audit key",
    };

    if ((int)status < 0 || status > KEYD_STATUS_LAST)
        return "unknown";
    return texts[status];
}

/* --- joins ------------------------------------------------------------------------------------ */

/* Of a KEK of the message, and not what stands in the place of one. */
static bool is_index(uint8_t kek)
{
    return kek != KEYD_NO_KEK && kek != KEYD_PLAIN;
}

/* What cannot be put into a frame was not made by keyd, so its tag cannot be right: the answer is
 * the one keyd would give, and the rest of the batch goes on without it. */
static bool refuse_unsendable(const struct keyd_join_request *request,
    const struct sealed_kek *const *keks, size_t n_keks, enum keyd_status *ret)
{
    const uint8_t indexes[] = {request->ns_kek, request->as_kek};

    if (!keyd_sealed_key_valid(&request->app) ||
        (request->has_nwk && !keyd_sealed_key_valid(&request->nwk))) {
        *ret = KEYD_TAG_REFUSED;
        return true;
    }
    if (!keyd_frame_len_valid(request->frame_len)) {
        *ret = KEYD_BAD_INPUT;
        return true;
    }
    for (size_t i = 0; i < KEYD_SESSIONS_MAX; i++) {
        if (request->frame_len == LW_REJOIN_LEN_0_2 && request->sessions[i].present &&
            request->sessions[i].join_nonce > LW_JOIN_NONCE_MAX) {
            *ret = KEYD_BAD_INPUT;
            return true;
        }
    }
    if (!request->plan)
        return false;
    if (request->accept.join_nonce > LW_JOIN_NONCE_MAX) {
        *ret = KEYD_BAD_INPUT;
        return true;
    }
    for (size_t i = 0; i < sizeof(indexes); i++) {
        if (!is_index(indexes[i]))
            continue;
        if (indexes[i] >= n_keks) {
            *ret = KEYD_BAD_INPUT;
            return true;
        }
        if (!keyd_sealed_kek_valid(keks[indexes[i]])) {
            *ret = KEYD_KEK_TAG_REFUSED;
            return true;
        }
    }
    return false;
}

/* The rarer way, for a batch that holds something unsendable. */
static int answer_sendable(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_join_request *requests, size_t n_requests,
    struct keyd_join_reply *replies, int64_t deadline_ms)
{
    CLEANUP(cleanup_free) struct keyd_join_request *sent = calloc(n_requests, sizeof(*sent));
    const struct sealed_kek *good_keks[KEYD_KEKS_MAX];
    uint8_t kek_index[KEYD_KEKS_MAX];
    size_t place[KEYD_BATCH_MAX], n_sent = 0, n_good = 0;
    int r;

    if (sent == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    for (size_t i = 0; i < n_keks; i++) {
        kek_index[i] = (uint8_t)n_good;
        if (keyd_sealed_kek_valid(keks[i]))
            good_keks[n_good++] = keks[i];
    }
    for (size_t i = 0; i < n_requests; i++) {
        enum keyd_status status = KEYD_OK;

        replies[i] = (struct keyd_join_reply){0};
        if (refuse_unsendable(&requests[i], keks, n_keks, &status)) {
            replies[i].status = status;
            continue;
        }
        sent[n_sent] = requests[i];
        if (requests[i].plan && is_index(requests[i].ns_kek))
            sent[n_sent].ns_kek = kek_index[requests[i].ns_kek];
        if (requests[i].plan && is_index(requests[i].as_kek))
            sent[n_sent].as_kek = kek_index[requests[i].as_kek];
        place[n_sent++] = i;
    }
    if (n_sent == 0)
        return 0;
    r = keyd_ask(channel, KEYD_VERB_JOIN, good_keks, n_good, sent, n_sent, deadline_ms);
    for (size_t i = 0; r == 0 && i < n_sent; i++)
        replies[place[i]] = channel->reply.joins[i];
    if (r == 0)
        keyd_forget(channel);
    return r;
}

int keyd_answer_joins(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_join_request *requests, size_t n_requests,
    struct keyd_join_reply *replies, int64_t deadline_ms)
{
    bool sendable = true;
    int r;

    assert(n_keks <= KEYD_KEKS_MAX && n_requests <= KEYD_BATCH_MAX);
    if (n_requests == 0)
        return 0;
    for (size_t i = 0; i < n_requests; i++) {
        enum keyd_status ignored;

        sendable = sendable && !refuse_unsendable(&requests[i], keks, n_keks, &ignored);
    }
    for (size_t i = 0; i < n_keks; i++)
        sendable = sendable && keyd_sealed_kek_valid(keks[i]);
    if (!sendable)
        return answer_sendable(channel, keks, n_keks, requests, n_requests, replies, deadline_ms);
    r = keyd_ask(channel, KEYD_VERB_JOIN, keks, n_keks, requests, n_requests, deadline_ms);
    if (r == 0) {
        memcpy(replies, channel->reply.joins, n_requests * sizeof(*replies));
        keyd_forget(channel);
    }
    return r;
}

/* --- an AppSKey again ------------------------------------------------------------------------- */

int keyd_derive_app_s_key(struct keyd_channel *channel, const struct sealed_kek *as_kek,
    const struct keyd_app_s_key_request *request, struct keyd_app_s_key_reply *reply,
    int64_t deadline_ms)
{
    struct keyd_app_s_key_request sent = *request;
    int r;

    *reply = (struct keyd_app_s_key_reply){0};
    sent.as_kek = as_kek != NULL ? 0 : KEYD_PLAIN;
    /* As with joins: what cannot be sent was not made by keyd. */
    if (!keyd_sealed_key_valid(&sent.app) || (sent.has_nwk && !keyd_sealed_key_valid(&sent.nwk)))
        reply->status = KEYD_TAG_REFUSED;
    else if (as_kek != NULL && !keyd_sealed_kek_valid(as_kek))
        reply->status = KEYD_KEK_TAG_REFUSED;
    else if (sent.join_nonce > LW_JOIN_NONCE_MAX)
        reply->status = KEYD_BAD_INPUT;
    if (reply->status != KEYD_OK)
        return 0;
    r = keyd_ask(channel, KEYD_VERB_APP_S_KEY, &as_kek, as_kek != NULL, &sent, 1, deadline_ms);
    if (r == 0) {
        *reply = channel->reply.app_s_key;
        keyd_forget(channel);
    }
    return r;
}
