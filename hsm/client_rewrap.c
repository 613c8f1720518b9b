/* Sealing anew, as a service asks for it. */
#include "hsm/ask.h"

#include <assert.h>
#include <string.h>

/* In the place of what cannot be sent: that was not made by keyd, and its tag cannot be right. */
static const struct sealed_kek unsendable = {.peer_kind = PEER_ORGANIZATION,
    .peer_id = "-",
    .kek_class = KEK_CLASS_TRANSPORT,
    .label = "-",
    .key = {.kek_label = "-", .blob_len = 24, .tag_version = 1}};

int keyd_rewrap_keys(struct keyd_channel *channel, const struct keyd_rewrap_key_request *requests,
    size_t n, struct keyd_rewrap_reply *replies, int64_t deadline_ms)
{
    struct keyd_rewrap_key_request sent[KEYD_BATCH_MAX];
    int r;

    assert(n <= KEYD_BATCH_MAX);
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        sent[i] = requests[i];
        if (!keyd_sealed_key_valid(&requests[i].key))
            sent[i].key = unsendable.key;
    }
    r = keyd_ask(channel, KEYD_VERB_REWRAP_KEY, NULL, 0, sent, n, deadline_ms);
    if (r == 0)
        memcpy(replies, channel->reply.rewraps, n * sizeof(*replies));
    return r;
}

int keyd_rewrap_keks(struct keyd_channel *channel, const struct sealed_kek *keks, size_t n,
    struct keyd_rewrap_reply *replies, int64_t deadline_ms)
{
    struct sealed_kek sent[KEYD_BATCH_MAX];
    int r;

    assert(n <= KEYD_BATCH_MAX);
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        sent[i] = keyd_sealed_kek_valid(&keks[i]) ? keks[i] : unsendable;
    r = keyd_ask(channel, KEYD_VERB_REWRAP_KEK, NULL, 0, sent, n, deadline_ms);
    if (r == 0)
        memcpy(replies, channel->reply.rewraps, n * sizeof(*replies));
    return r;
}

/* By keys that nobody has. */
int keyd_newest(struct keyd_channel *channel, struct keyd_newest *ret, int64_t deadline_ms)
{
    const struct keyd_rewrap_key_request nobody = {.slot = KEY_SLOT_APP, .key = unsendable.key};
    const struct keyd_claim_code no_code = {.code_len = 0};
    struct keyd_rewrap_reply device, kek;
    struct keyd_code_hash code;
    int r = keyd_rewrap_keys(channel, &nobody, 1, &device, deadline_ms);

    if (r == 0)
        r = keyd_rewrap_keks(channel, &unsendable, 1, &kek, deadline_ms);
    if (r == 0)
        r = keyd_hash_claim_codes(channel, &no_code, 1, &code, deadline_ms);
    if (r < 0)
        return r;
    if (device.status == KEYD_HSM_FAILED || kek.status == KEYD_HSM_FAILED)
        return error_set(ERROR_HSM, "key process: %s", keyd_status_text(KEYD_HSM_FAILED));
    memcpy(ret->device, device.newest, sizeof(device.newest));
    memcpy(ret->kek, kek.newest, sizeof(kek.newest));
    ret->tag = kek.newest_tag;
    ret->code = code.version;
    return 0;
}
