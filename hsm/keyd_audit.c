/* What is signed in the token: audit checkpoints, and statements of custody and of deliveries,
 * whose bytes are made here, and nothing else. */
#include "hsm/keyd.h"

#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include <string.h>

/* Not at the start: a join server has no use for it, and a token may lack it. One that is not of
 * P-256 is none. */
static int need_key(struct keyd *keyd)
{
    int r;

    if (keyd->audit_key.private_key != CK_INVALID_HANDLE)
        return 0;
    r = p11_audit_find(&keyd->token, &keyd->audit_key);
    return r > 0 || r == ERROR_CONFIG ? (int)KEYD_NO_AUDIT_KEY : r;
}

int keyd_sign(
    struct keyd *keyd, const struct audit_checkpoint *checkpoint, struct keyd_sign_reply *reply)
{
    struct audit_checkpoint of_now = *checkpoint;
    uint8_t bytes[AUDIT_CHECKPOINT_LEN], hash[MERKLE_HASH_LEN];
    int r;

    if (!audit_checkpoint_valid(checkpoint))
        return KEYD_BAD_INPUT;
    if ((r = need_key(keyd)) != 0)
        return r;
    /* The asker does not say when: nothing can be dated back. */
    of_now.time = (uint64_t)clock_unix_s();
    audit_checkpoint_write(&of_now, bytes);
    digest_sha256(bytes, sizeof(bytes), hash);
    reply->time = of_now.time;
    return p11_audit_sign(&keyd->token, &keyd->audit_key, hash, reply->signature);
}

int keyd_sign_statement(
    struct keyd *keyd, const struct keyd_custody_request *q, struct keyd_sign_reply *reply)
{
    CLEANUP(text_done) struct text input = {0};
    uint8_t hash[MERKLE_HASH_LEN];
    uint64_t now;
    int r;

    if (!custody_document_valid(q->document, q->len))
        return KEYD_BAD_INPUT;
    if ((r = need_key(keyd)) != 0)
        return r;
    now = (uint64_t)clock_unix_s();
    custody_input_write(q->type, now, q->document, q->len, &input);
    if (input.failed)
        return error_set(ERROR_SYSTEM, "out of memory for a signed statement");
    digest_sha256(input.data, input.len, hash);
    reply->time = now;
    return p11_audit_sign(&keyd->token, &keyd->audit_key, hash, reply->signature);
}

int keyd_show_audit_key(struct keyd *keyd, struct keyd_audit_key_reply *reply)
{
    int r = need_key(keyd);

    if (r == 0)
        memcpy(reply->point, keyd->audit_key.encoded + P11_POINT_HEAD_LEN, sizeof(reply->point));
    return r;
}
