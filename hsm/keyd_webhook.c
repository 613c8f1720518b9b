#include "base/bytes.h"
#include "base/error.h"
#include "hsm/keyd.h"
#include <string.h>

/* No access token's input begins like this, which is "token-v1" and a body: no verb that is asked
 * for one makes the other. */
#define HASH_PREFIX_WEBHOOK "webhook-v1"
#define INPUT_LEN (sizeof(HASH_PREFIX_WEBHOOK) - 1 + KEYD_WEBHOOK_ID_LEN + 4)

int keyd_webhook_secret(
    struct keyd *keyd, const struct keyd_webhook *q, struct keyd_hash_reply *reply)
{
    uint8_t input[INPUT_LEN];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write(&w, HASH_PREFIX_WEBHOOK, strlen(HASH_PREFIX_WEBHOOK));
    bytes_write(&w, q->id, sizeof(q->id));
    bytes_write_u32_be(&w, q->generation);
    if (w.failed)
        return error_set(ERROR_INTERNAL, "a webhook's name does not fit its hash");
    return p11_hmac(&keyd->token, keyd->keys.token, input, w.len, reply->hash);
}
