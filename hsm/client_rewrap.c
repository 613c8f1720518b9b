/* Sealing anew, as a service asks for it. */
#include "hsm/ask.h"

#include <assert.h>
#include <string.h>

/* In the place of what cannot be sent: that was not made by keyd, and its tag cannot be right. */
static const struct sealed_kek unsendable = {.peer_kind = PEER_ORGANIZATION,
    .peer_id = "-",
    .kek_class = KEK_CLASS_TRANSPORT,
    .label = "-",
    .key = {.kek_label = "-", .blob_len = 24}};

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
int keyd_newest(struct keyd_channel *channel, char ret_device[static SEALED_LABEL_MAX + 1],
    char ret_kek[static SEALED_LABEL_MAX + 1], int64_t deadline_ms)
{
    const struct keyd_rewrap_key_request nobody = {.slot = KEY_SLOT_APP, .key = unsendable.key};
    struct keyd_rewrap_reply device, kek;
    int r = keyd_rewrap_keys(channel, &nobody, 1, &device, deadline_ms);

    if (r == 0)
        r = keyd_rewrap_keks(channel, &unsendable, 1, &kek, deadline_ms);
    if (r < 0)
        return r;
    memcpy(ret_device, device.newest, sizeof(device.newest));
    memcpy(ret_kek, kek.newest, sizeof(kek.newest));
    return 0;
}
