#include "hsm/keyd.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include <string.h>

#define HASH_PREFIX_CODE "claim-v1"
#define HASH_PREFIX_TOKEN "token-v1"
#define HASH_INPUT_MAX 128
#define SHA256_LAST_MAX 55 /* bytes that one last block takes */

_Static_assert(
    sizeof(HASH_PREFIX_CODE) - 1 + sizeof(struct eui64) + 4 + KEYD_CODE_MAX <= SHA256_LAST_MAX,
    "a code costs the same however long it is");

int keyd_init(struct keyd *keyd)
{
    const int64_t began_ms = clock_monotonic_ms();
    int r = p11_probe_mechanisms(&keyd->token);

    if (r == 0)
        r = p11_keys_find(&keyd->token, &keyd->keys);
    if (r == 0)
        r = p11_keys_copy(&keyd->token, &keyd->keys);
    if (r == 0)
        r = p11_probe_keys(&keyd->token, &keyd->keys, &keyd->known);
    if (r == 0 && keyd->plain_keys)
        r = p11_probe_clear(&keyd->token);
    if (r == 0 && keyd->token.lost)
        return error_set(ERROR_HSM, "HSM: the token went away during start");
    keyd->seen_ms = began_ms;
    return r;
}

const struct p11_store_kek *keyd_code_key(struct keyd *keyd, unsigned version)
{
    const struct p11_store *store = &keyd->keys.code;
    const struct p11_store_kek *key = p11_store_version_find(store, version);

    if (version > 0 && key == NULL)
        keyd->unknown = true;
    return key != NULL ? key : p11_store_newest(store);
}

static int hash_code(
    struct keyd *keyd, const struct keyd_claim_code *q, struct keyd_hash_reply *reply)
{
    const struct p11_store_kek *key = keyd_code_key(keyd, q->version);
    uint8_t input[HASH_INPUT_MAX];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write(&w, HASH_PREFIX_CODE, strlen(HASH_PREFIX_CODE));
    bytes_write(&w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write_u32_be(&w, q->generation);
    bytes_write(&w, q->code, q->code_len);
    if (w.failed)
        return error_set(ERROR_INTERNAL, "a claim code does not fit its hash");
    reply->version = (uint16_t)key->version;
    return p11_hmac(&keyd->token, key->handle, input, w.len, reply->hash);
}

static int hash_token(
    struct keyd *keyd, const struct keyd_token_request *q, struct keyd_hash_reply *reply)
{
    uint8_t input[HASH_INPUT_MAX];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write(&w, HASH_PREFIX_TOKEN, strlen(HASH_PREFIX_TOKEN));
    bytes_write(&w, q->body, q->body_len);
    if (w.failed)
        return error_set(ERROR_INTERNAL, "a token does not fit its hash");
    return p11_hmac(&keyd->token, keyd->keys.token, input, w.len, reply->hash);
}

static int make_random(
    struct keyd *keyd, const struct keyd_random_request *q, struct keyd_random_reply *reply)
{
    reply->len = q->len;
    return p11_random(&keyd->token, reply->bytes, q->len);
}

/* The token failed an item. A new work session ends what was half done; where the handles are gone,
 * or it fails again and again, this process ends after its answer and a fresh one finds everything.
 */
static void recover(struct keyd *keyd)
{
    if (keyd->give_way)
        return;
    log_warn("%s", error_text());
    keyd->failures++;
    if (!keyd->token.lost && p11_token_reset_work(&keyd->token) < 0)
        keyd->token.lost = true;
    if (keyd->token.lost || keyd->failures >= KEYD_FAILURES_MAX)
        keyd->give_way = true;
}

/* What an item came to, as its status; a failed item's answer is zeros. */
static enum keyd_status settle(struct keyd *keyd, int r, void *reply, size_t len)
{
    keyd->operations++;
    if (r == 0 && !keyd->token.lost) {
        keyd->failures = 0;
        return KEYD_OK;
    }
    memset(reply, 0, len);
    if (keyd->outdated) /* the token was not asked */
        return KEYD_HSM_FAILED;
    if (r == KEYD_KEK_UNKNOWN)
        keyd->unknown = true;
    if (r > 0 && !keyd->token.lost)
        return (enum keyd_status)r;
    recover(keyd);
    return KEYD_HSM_FAILED;
}

#define SETTLE(keyd, act, answer)                                                                  \
    ((answer)->status = settle((keyd), (keyd)->give_way || (keyd)->outdated ? ERROR_HSM : (act),   \
         (answer), sizeof(*(answer))))

static void name_newest(
    const struct keyd *keyd, const struct p11_store *store, struct keyd_rewrap_reply *reply)
{
    memcpy(reply->newest, p11_store_newest(store)->label, sizeof(reply->newest));
    reply->newest_tag = (uint16_t)p11_store_newest(&keyd->keys.tag)->version;
}

/* Why a MIC is wrong is all that is told of an item that came to nothing. */
static void serve_join(struct keyd *keyd, const struct keyd_request *request,
    const struct keyd_join_request *item, struct keyd_join_reply *reply)
{
    enum lw_mic_mistake mistake = LW_MIC_NO_MISTAKE;

    SETTLE(keyd, keyd_join(keyd, request->keks, request->n_keks, item, reply, &mistake), reply);
    if (reply->status == KEYD_MIC_FAILED)
        reply->mistake = mistake;
}

static void serve_item(
    struct keyd *keyd, const struct keyd_request *request, struct keyd_reply *reply, size_t i)
{
    switch (request->verb) {
    case KEYD_VERB_JOIN:
        serve_join(keyd, request, &request->joins[i], &reply->joins[i]);
        break;
    case KEYD_VERB_ADOPT_KEY:
        SETTLE(keyd, keyd_adopt_key(keyd, request->keks, &request->adopts[i], &reply->adopts[i]),
            &reply->adopts[i]);
        break;
    case KEYD_VERB_ADOPT_KEK:
        SETTLE(
            keyd, keyd_adopt_peer(keyd, &request->adopt_kek, &reply->adopt_kek), &reply->adopt_kek);
        break;
    case KEYD_VERB_HASH_CODE:
        SETTLE(keyd, hash_code(keyd, &request->codes[i], &reply->hashes[i]), &reply->hashes[i]);
        break;
    case KEYD_VERB_HASH_TOKEN:
        SETTLE(keyd, hash_token(keyd, &request->tokens[i], &reply->hashes[i]), &reply->hashes[i]);
        break;
    case KEYD_VERB_SELF_TEST:
        SETTLE(keyd, p11_self_test(&keyd->token, &keyd->keys, &keyd->known), &reply->hashes[i]);
        break;
    case KEYD_VERB_APP_S_KEY:
        SETTLE(keyd,
            keyd_app_s_key(
                keyd, request->keks, request->n_keks, &request->app_s_key, &reply->app_s_key),
            &reply->app_s_key);
        break;
    case KEYD_VERB_RANDOM:
        SETTLE(
            keyd, make_random(keyd, &request->randoms[i], &reply->randoms[i]), &reply->randoms[i]);
        break;
    case KEYD_VERB_WEBHOOK_SECRET:
        SETTLE(keyd, keyd_webhook_secret(keyd, &request->webhooks[i], &reply->hashes[i]),
            &reply->hashes[i]);
        break;
    case KEYD_VERB_MAKE_KEY:
        SETTLE(keyd, keyd_make_root(keyd, request->keks, &request->makes[i], &reply->makes[i]),
            &reply->makes[i]);
        break;
    case KEYD_VERB_DELIVERY_KEY:
        SETTLE(keyd, keyd_delivery_hash(keyd, &request->delivery, &reply->hashes[i]),
            &reply->hashes[i]);
        break;
    case KEYD_VERB_MAKE_KEK:
        SETTLE(
            keyd, keyd_make_peer_kek(keyd, &request->make_kek, &reply->make_kek), &reply->make_kek);
        break;
    case KEYD_VERB_EXPORT_KEY:
        SETTLE(keyd,
            keyd_export_key(
                keyd, &request->export.to, &request->export.items[i], &reply->exports[i]),
            &reply->exports[i]);
        break;
    case KEYD_VERB_REWRAP_KEY:
        SETTLE(keyd, keyd_rewrap_key(keyd, &request->rewrap_keys[i], &reply->rewraps[i]),
            &reply->rewraps[i]);
        name_newest(keyd, &keyd->keys.device, &reply->rewraps[i]);
        break;
    case KEYD_VERB_REWRAP_KEK:
        SETTLE(keyd, keyd_rewrap_kek(keyd, &request->rewrap_keks[i], &reply->rewraps[i]),
            &reply->rewraps[i]);
        name_newest(keyd, &keyd->keys.kek, &reply->rewraps[i]);
        break;
    case KEYD_VERB_SIGN_CHECKPOINT:
        SETTLE(keyd, keyd_sign(keyd, &request->checkpoint, &reply->signed_checkpoint),
            &reply->signed_checkpoint);
        break;
    case KEYD_VERB_SIGN_CUSTODY:
        SETTLE(keyd, keyd_sign_statement(keyd, &request->custody, &reply->signed_checkpoint),
            &reply->signed_checkpoint);
        break;
    case KEYD_VERB_AUDIT_KEY:
        SETTLE(keyd, keyd_show_audit_key(keyd, &reply->audit_key), &reply->audit_key);
        break;
    }
}

/* Whether the newest version of a family seals, tags or hashes for it. */
static bool uses_newest(enum keyd_verb verb)
{
    static const unsigned verbs = KEYD_MAY(KEYD_VERB_ADOPT_KEY) | KEYD_MAY(KEYD_VERB_ADOPT_KEK) |
                                  KEYD_MAY(KEYD_VERB_MAKE_KEY) | KEYD_MAY(KEYD_VERB_MAKE_KEK) |
                                  KEYD_MAY(KEYD_VERB_HASH_CODE) | KEYD_MAY(KEYD_VERB_DELIVERY_KEY) |
                                  KEYD_MAY(KEYD_VERB_REWRAP_KEY) | KEYD_MAY(KEYD_VERB_REWRAP_KEK);

    return (verbs & KEYD_MAY(verb)) != 0;
}

/* A look that failed is a failure of the token like any other. */
static void must_know_newest(struct keyd *keyd)
{
    const int r = keyd->give_way ? 0 : keyd_refresh_newest(keyd);

    keyd->outdated = r != 0;
    if (r < 0)
        recover(keyd);
}

void keyd_serve(struct keyd *keyd, const struct keyd_request *request, struct keyd_reply *reply)
{
    *reply = (struct keyd_reply){
        .verb = request->verb, .sequence = request->sequence, .n_items = request->n_items};
    keyd_refresh_due(keyd);
    keyd->outdated = false;
    if (uses_newest(request->verb))
        must_know_newest(keyd);
    for (size_t i = 0; i < request->n_items; i++) {
        serve_item(keyd, request, reply, i);
        if (keyd_refresh_asked(keyd))
            serve_item(keyd, request, reply, i);
    }
    reply->operations = keyd->operations;
}
