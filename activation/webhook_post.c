#include "activation/webhook_post.h"

#include "activation/worker.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/text.h"
#include <assert.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_S 60
#define HOUR_S (60 * MINUTE_S)

static const int64_t pauses_s[] = {5, 30, MINUTE_S, 5 * MINUTE_S, 15 * MINUTE_S, HOUR_S, 3 * HOUR_S,
    6 * HOUR_S, 12 * HOUR_S, 24 * HOUR_S, 24 * HOUR_S};
_Static_assert(sizeof(pauses_s) / sizeof(pauses_s[0]) == ACT_WEBHOOK_TRIES_MAX - 1,
    "a pause after each try but the last");

int64_t act_webhook_pause_s(unsigned n_tries)
{
    assert(n_tries >= 1 && n_tries < ACT_WEBHOOK_TRIES_MAX);
    return pauses_s[n_tries - 1];
}

void act_webhook_secret_wipe(struct act_webhook_secret *secret)
{
    secret_wipe(secret, sizeof(*secret));
}

int act_webhook_secret_get(struct keyd_channel *keyd, const uint8_t id[static ACCOUNT_ID_LEN],
    uint32_t generation, struct act_webhook_secret *ret)
{
    struct keyd_webhook webhook = {.generation = generation};
    uint8_t secret[1][KEYD_HASH_LEN];
    const size_t prefix_len = strlen(ACT_WEBHOOK_SECRET_PREFIX);
    int r;

    _Static_assert(
        KEYD_WEBHOOK_ID_LEN == ACCOUNT_ID_LEN, "a webhook's id is what its secret is of");
    memcpy(webhook.id, id, sizeof(webhook.id));
    r = keyd_webhook_secrets(
        keyd, &webhook, 1, secret, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r == 0) {
        memcpy(ret->text, ACT_WEBHOOK_SECRET_PREFIX, prefix_len);
        (void)hex_encode(secret[0], sizeof(secret[0]), ret->text + prefix_len);
    }
    secret_wipe(secret, sizeof(secret));
    return r;
}

int act_webhook_sign(const struct act_webhook_secret *secret, int64_t unix_s, const char *body,
    char ret[static ACT_WEBHOOK_SIGNATURE_MAX])
{
    CLEANUP(text_done) struct text input = {0};
    uint8_t mac[KEYD_HASH_LEN];
    char mac_text[2 * KEYD_HASH_LEN + 1];
    unsigned len = 0;

    text_addf(&input, "%" PRId64 ".%s", unix_s, body);
    if (input.failed ||
        HMAC(EVP_sha256(), secret->text, (int)strlen(secret->text), (const uint8_t *)input.data,
            input.len, mac, &len) == NULL ||
        len != sizeof(mac))
        return error_set(ERROR_SYSTEM, "a delivery cannot be signed");
    (void)snprintf(ret, ACT_WEBHOOK_SIGNATURE_MAX, "t=%" PRId64 ",v1=%s", unix_s,
        hex_encode(mac, sizeof(mac), mac_text));
    return 0;
}

static const char *fault_of(const struct api_post *post)
{
    switch (post->outcome) {
    case API_POST_ANSWERED:
        if (post->status >= 200 && post->status < 300)
            return NULL;
        return post->status >= 300 && post->status < 400
                   ? "it was answered with a redirect, which is not followed"
                   : "it was answered with another status than 2xx";
    case API_POST_UNREACHABLE:
        return "no connection, or it broke";
    case API_POST_TIMEOUT:
        return "no answer in time";
    case API_POST_UNTRUSTED:
        return "the certificate of the receiver is not good";
    case API_POST_NOT_PUBLIC:
        return "the host has no public address";
    case API_POST_FAILED:
    case API_POST_STOPPED:
        break;
    }
    return "this service failed";
}

struct db_delivery_result act_webhook_judge(const struct api_post *post, unsigned n_tries)
{
    struct db_delivery_result result = {.state = DELIVERY_DELIVERED, .fault = fault_of(post)};

    if (post->outcome == API_POST_ANSWERED)
        result.status = post->status;
    if (result.fault == NULL)
        return result;
    if (post->outcome == API_POST_STOPPED)
        return (struct db_delivery_result){.state = DELIVERY_WAITING, .untried = true};
    result.state = n_tries < ACT_WEBHOOK_TRIES_MAX ? DELIVERY_WAITING : DELIVERY_DEAD;
    if (result.state == DELIVERY_WAITING)
        result.again_s = act_webhook_pause_s(n_tries);
    return result;
}
