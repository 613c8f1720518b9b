#include "hsm/ask.h"

#include <assert.h>
#include <string.h>

int keyd_webhook_secrets(struct keyd_channel *channel, const struct keyd_webhook *webhooks,
    size_t n, uint8_t (*ret_secrets)[KEYD_HASH_LEN], int64_t deadline_ms)
{
    int r;

    assert(n <= KEYD_BATCH_MAX);
    if (n == 0)
        return 0;
    r = keyd_ask(channel, KEYD_VERB_WEBHOOK_SECRET, NULL, 0, webhooks, n, deadline_ms);
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct keyd_hash_reply *reply = &channel->reply.hashes[i];

        if (reply->status != KEYD_OK)
            r = error_set(ERROR_HSM, "key process: %s", keyd_status_text(reply->status));
        else
            memcpy(ret_secrets[i], reply->hash, KEYD_HASH_LEN);
    }
    keyd_forget(channel);
    return r;
}
