/* Sealing anew, as a service asks for it. */
#include "hsm/ask.h"

#include <assert.h>
#include <string.h>

/* What cannot be sent was not made by keyd: its tag cannot be right. */
int keyd_rewrap_keys(struct keyd_channel *channel, const struct keyd_rewrap_key_request *requests,
    size_t n, struct keyd_rewrap_reply *replies, int64_t deadline_ms)
{
    static const struct sealed_key unsendable = {.kek_label = "-", .blob_len = 24};
    struct keyd_rewrap_key_request sent[KEYD_BATCH_MAX];
    int r;

    assert(n <= KEYD_BATCH_MAX);
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        sent[i] = requests[i];
        if (!keyd_sealed_key_valid(&requests[i].key))
            sent[i].key = unsendable;
    }
    r = keyd_ask(channel, KEYD_VERB_REWRAP_KEY, NULL, 0, sent, n, deadline_ms);
    if (r == 0)
        memcpy(replies, channel->reply.rewraps, n * sizeof(*replies));
    return r;
}

int keyd_rewrap_keks(struct keyd_channel *channel, const struct sealed_kek *keks, size_t n,
    struct keyd_rewrap_reply *replies, int64_t deadline_ms)
{
    static const struct sealed_kek unsendable = {.peer_kind = PEER_ORGANIZATION,
        .peer_id = "-",
        .kek_class = KEK_CLASS_TRANSPORT,
        .label = "-",
        .key = {.kek_label = "-", .blob_len = 24}};
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
