/* The calls of the audit. */
#include "hsm/ask.h"

#include "base/error.h"
#include <stdlib.h>
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

int keyd_sign_custody(struct keyd_channel *channel, enum custody_type type, const char *document,
    size_t len, uint64_t *ret_time, uint8_t ret_signature[static AUDIT_SIGNATURE_LEN],
    enum keyd_status *ret_status, int64_t deadline_ms)
{
    const struct keyd_sign_reply *reply = &channel->reply.signed_checkpoint;
    CLEANUP(cleanup_free) struct keyd_custody_request *request = calloc(1, sizeof(*request));
    int r;

    if (request == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a signed statement");
    if (len > sizeof(request->document))
        return error_set(ERROR_INTERNAL, "a signed statement of %zu bytes", len);
    request->type = type;
    request->len = (uint16_t)len;
    memcpy(request->document, document, len);
    if ((r = keyd_ask(channel, KEYD_VERB_SIGN_CUSTODY, NULL, 0, request, 1, deadline_ms)) < 0)
        return r;
    *ret_status = reply->status;
    if (reply->status == KEYD_OK) {
        *ret_time = reply->time;
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
