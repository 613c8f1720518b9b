/* The calls: a message out, a message back, sent again where the key process died. */
#include "hsm/pool.h"

#include "base/clock.h"
#include "hsm/frame_items.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define DEATHS_MAX 2 /* of key processes over one message */

const char *keyd_status_text(enum keyd_status status)
{
    static const char *const texts[] = {
        [KEYD_OK] = "ok",
        [KEYD_MIC_FAILED] = "the MIC is wrong",
        [KEYD_TAG_REFUSED] = "the sealed device key was altered or moved",
        [KEYD_KEK_TAG_REFUSED] = "the sealed KEK was altered or moved",
        [KEYD_KEK_UNKNOWN] = "the token does not hold the storage KEK",
        [KEYD_BAD_INPUT] = "the input cannot be used",
        [KEYD_HSM_FAILED] = "the HSM failed",
    };

    if ((int)status < 0 || status > KEYD_HSM_FAILED)
        return "unknown";
    return texts[status];
}

/* --- one message ------------------------------------------------------------------------------ */

/* 0 when `events` came, 1 when the deadline passed. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
    while (true) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = deadline_ms - clock_monotonic_ms();
        int n;

        if (left < 0)
            left = 0;
        n = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0)
            return 0;
        if (n == 0 && deadline_ms <= clock_monotonic_ms())
            return 1;
    }
}

static enum pool_call_end send_frame(int fd, const uint8_t *frame, size_t len, int64_t deadline_ms)
{
    while (send(fd, frame, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return POOL_CALL_BROKEN;
        if (wait_for(fd, POLLOUT, deadline_ms) != 0)
            return POOL_CALL_LATE;
    }
    return POOL_CALL_OK;
}

static enum pool_call_end receive_frame(
    int fd, uint8_t frame[static KEYD_FRAME_MAX], int64_t deadline_ms, size_t *ret_len)
{
    while (true) {
        ssize_t n;

        if (wait_for(fd, POLLIN, deadline_ms) != 0)
            return POOL_CALL_LATE;
        n = recv(fd, frame, KEYD_FRAME_MAX, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return POOL_CALL_BROKEN;
        *ret_len = (size_t)n;
        return (size_t)n > KEYD_FRAME_MAX ? POOL_CALL_WRONG : POOL_CALL_OK;
    }
}

static enum pool_call_end exchange(struct keyd_channel *channel, enum keyd_verb verb,
    size_t n_items, size_t request_len, int64_t deadline_ms)
{
    size_t len = 0;
    enum pool_call_end end =
        send_frame(channel->fd, channel->request_frame, request_len, deadline_ms);

    if (end == POOL_CALL_OK)
        end = receive_frame(channel->fd, channel->reply_frame, deadline_ms, &len);
    if (end != POOL_CALL_OK)
        return end;
    if (keyd_reply_decode(channel->reply_frame, len, &channel->reply) < 0 ||
        channel->reply.verb != verb || channel->reply.sequence != channel->sequence ||
        channel->reply.n_items != n_items) {
        /* Whatever it is, it may hold keys in clear. */
        secret_wipe(channel->reply_frame, sizeof(channel->reply_frame));
        secret_wipe(&channel->reply, sizeof(channel->reply));
        return POOL_CALL_WRONG;
    }
    return POOL_CALL_OK;
}

/* Asks until a key process has answered, the deadline passes or the message has cost too many of
 * them; the answer is channel->reply. */
static int ask(struct keyd_channel *channel, enum keyd_verb verb,
    const struct sealed_kek *const *keks, size_t n_keks, const void *items, size_t n_items,
    int64_t deadline_ms)
{
    size_t len = 0;
    unsigned deaths = 0;
    int r = keyd_request_encode(
        verb, ++channel->sequence, keks, n_keks, items, n_items, channel->request_frame, &len);

    while (r == 0) {
        enum pool_call_end end;

        r = pool_channel_take(channel, deadline_ms);
        if (r < 0)
            break;
        end = exchange(channel, verb, n_items, len, deadline_ms);
        pool_channel_give(channel, end, &channel->reply);
        if (end == POOL_CALL_OK)
            return 0;
        if (end == POOL_CALL_LATE)
            r = error_set(ERROR_DEADLINE, "the key process did not answer in time");
        else if (end == POOL_CALL_BROKEN && ++deaths == DEATHS_MAX)
            r = error_set(ERROR_HSM, "two key processes ended over the same message");
        else if (end == POOL_CALL_WRONG)
            r = error_set(ERROR_HSM, "the key process gave an answer that cannot be");
    }
    return r;
}

/* Keys in clear are in the caller's hands now, and nowhere else. */
static void forget_clear_keys(struct keyd_channel *channel)
{
    if (!keyd_reply_holds_clear_keys(&channel->reply))
        return;
    secret_wipe(channel->reply_frame, sizeof(channel->reply_frame));
    secret_wipe(&channel->reply, sizeof(channel->reply));
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
    r = ask(channel, KEYD_VERB_JOIN, good_keks, n_good, sent, n_sent, deadline_ms);
    for (size_t i = 0; r == 0 && i < n_sent; i++)
        replies[place[i]] = channel->reply.joins[i];
    if (r == 0)
        forget_clear_keys(channel);
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
    r = ask(channel, KEYD_VERB_JOIN, keks, n_keks, requests, n_requests, deadline_ms);
    if (r == 0) {
        memcpy(replies, channel->reply.joins, n_requests * sizeof(*replies));
        forget_clear_keys(channel);
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
    r = ask(channel, KEYD_VERB_APP_S_KEY, &as_kek, as_kek != NULL, &sent, 1, deadline_ms);
    if (r == 0) {
        *reply = channel->reply.app_s_key;
        forget_clear_keys(channel);
    }
    return r;
}

/* --- adoption --------------------------------------------------------------------------------- */

/* In the place of a KEK that cannot be sent. Nothing has its tag, so what names it is refused as
 * what names a damaged one is, and the others are served. */
static const struct sealed_kek unsendable_kek = {
    .peer_kind = PEER_ORGANIZATION,
    .peer_id = "-",
    .kek_class = KEK_CLASS_TRANSPORT,
    .label = "-",
    .key = {.kek_label = "-", .blob_len = 24},
};

int keyd_adopt_device_keys(struct keyd_channel *channel, const struct sealed_kek *const *keks,
    size_t n_keks, const struct keyd_adopt_request *requests, size_t n_requests,
    struct keyd_adopt_reply *replies, int64_t deadline_ms)
{
    const struct sealed_kek *sent[KEYD_KEKS_MAX];
    int r;

    assert(n_keks <= KEYD_KEKS_MAX && n_requests <= KEYD_BATCH_MAX);
    if (n_requests == 0)
        return 0;
    for (size_t i = 0; i < n_keks; i++)
        sent[i] = keyd_sealed_kek_valid(keks[i]) ? keks[i] : &unsendable_kek;
    r = ask(channel, KEYD_VERB_ADOPT_KEY, sent, n_keks, requests, n_requests, deadline_ms);
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
    r = ask(channel, KEYD_VERB_ADOPT_KEK, NULL, 0, &request, 1, deadline_ms);
    if (r < 0)
        return r;
    *ret_status = reply->status;
    if (reply->status == KEYD_OK) {
        kek->key = reply->sealed;
        memcpy(ret_kcv, reply->kcv, KEYD_KCV_LEN);
    }
    return 0;
}

/* --- keyed hashes ----------------------------------------------------------------------------- */

static int ask_hash(struct keyd_channel *channel, enum keyd_verb verb, const void *item,
    uint8_t *ret_hash, int64_t deadline_ms)
{
    const struct keyd_hash_reply *reply = &channel->reply.hash;
    int r = ask(channel, verb, NULL, 0, item, 1, deadline_ms);

    if (r < 0)
        return r;
    if (reply->status != KEYD_OK)
        return error_set(ERROR_HSM, "key process: %s", keyd_status_text(reply->status));
    if (ret_hash != NULL)
        memcpy(ret_hash, reply->hash, KEYD_HASH_LEN);
    return 0;
}

int keyd_hash_claim_code(struct keyd_channel *channel, const struct eui64 *dev_eui,
    uint32_t generation, const char *code, uint8_t ret_hash[static KEYD_HASH_LEN],
    int64_t deadline_ms)
{
    struct keyd_code_request request = {.dev_eui = *dev_eui, .generation = generation};
    const size_t len = strnlen(code, KEYD_CODE_MAX + 1);
    int r;

    if (len > KEYD_CODE_MAX)
        return error_set(ERROR_INPUT, "a claim code has at most %d characters", KEYD_CODE_MAX);
    request.code_len = (uint8_t)len;
    memcpy(request.code, code, len);
    r = ask_hash(channel, KEYD_VERB_HASH_CODE, &request, ret_hash, deadline_ms);
    secret_wipe(&request, sizeof(request));
    secret_wipe(channel->request_frame, sizeof(channel->request_frame));
    return r;
}

int keyd_hash_token(struct keyd_channel *channel, const uint8_t *body, size_t body_len,
    uint8_t ret_hash[static KEYD_HASH_LEN], int64_t deadline_ms)
{
    struct keyd_token_request request = {0};

    if (body_len > KEYD_TOKEN_MAX)
        return error_set(ERROR_INPUT, "a token's body has at most %d bytes", KEYD_TOKEN_MAX);
    request.body_len = (uint8_t)body_len;
    memcpy(request.body, body, body_len);
    return ask_hash(channel, KEYD_VERB_HASH_TOKEN, &request, ret_hash, deadline_ms);
}

int keyd_self_test(struct keyd_channel *channel, int64_t deadline_ms)
{
    return ask_hash(channel, KEYD_VERB_SELF_TEST, NULL, NULL, deadline_ms);
}
