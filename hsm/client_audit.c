/* The calls of the audit. */
#include "hsm/ask.h"

#include <string.h>

int keyd_sign_checkpoint(struct keyd_channel *channel, struct audit_checkpoint *checkpoint,
    uint8_t ret_signature[static AUDIT_SIGNATURE_LEN], enum keyd_status *ret_status,
    int64_t deadline_ms)
{
    const struct keyd_sign_reply *reply = &channel->reply.signed_checkpoint;
    int r = keyd_ask(channel, KEYD_VERB_SIGN_CHECKPOINT, NULL, 0, checkpoint, 1, deadline_ms);

    if (r < 0)
        return r;
    *ret_status = reply->status;
    if (reply->status == KEYD_OK) {
        checkpoint->time = reply->time;
        memcpy(ret_signature, reply->signature, AUDIT_SIGNATURE_LEN);
    }
    return 0;
}

int keyd_audit_key(struct keyd_channel *channel, uint8_t ret_point[static AUDIT_POINT_LEN],
    enum keyd_status *ret_status, int64_t deadline_ms)
{
    const struct keyd_audit_key_reply *reply = &channel->reply.audit_key;
    int r = keyd_ask(channel, KEYD_VERB_AUDIT_KEY, NULL, 0, NULL, 1, deadline_ms);

    if (r < 0)
        return r;
    *ret_status = reply->status;
    if (reply->status == KEYD_OK)
        memcpy(ret_point, reply->point, AUDIT_POINT_LEN);
    return 0;
}
