/* How a delivery is signed, and what a post came to. See docs/webhooks.md. */
#pragma once

#include "api/client.h"
#include "db/delivery.h"
#include "hsm/client.h"

#define ACT_WEBHOOK_TRIES_MAX 12 /* in just under three days; then it is dead */

/** Seconds before the next try after `n_tries` that failed, 1 to ACT_WEBHOOK_TRIES_MAX - 1. */
int64_t act_webhook_pause_s(unsigned n_tries);

/** The secret that a webhook's posts are signed with, as its owner has it: its bytes as text are
 * the key. Wiped when it leaves scope: CLEANUP(act_webhook_secret_wipe). */
#define ACT_WEBHOOK_SECRET_PREFIX "whsec_"
#define ACT_WEBHOOK_SECRET_LEN (sizeof(ACT_WEBHOOK_SECRET_PREFIX) - 1 + (size_t)2 * KEYD_HASH_LEN)
struct act_webhook_secret {
    char text[ACT_WEBHOOK_SECRET_LEN + 1];
};
void act_webhook_secret_wipe(struct act_webhook_secret *secret);
/** Has keyd derive it. */
int act_webhook_secret_get(struct keyd_channel *keyd, const uint8_t id[static ACCOUNT_ID_LEN],
    uint32_t generation, struct act_webhook_secret *ret) MUST_CHECK;

/** The value of Cradle-Signature: "t=<seconds>,v1=<hex>", HMAC-SHA-256 over "<seconds>.<body>". */
#define ACT_WEBHOOK_SIGNATURE_MAX 100
int act_webhook_sign(const struct act_webhook_secret *secret, int64_t unix_s, const char *body,
    char ret[static ACT_WEBHOOK_SIGNATURE_MAX]) MUST_CHECK;

/** What becomes of a delivery whose `n_tries`th post ended like this. Nothing that was heard is in
 * it but the status. */
struct db_delivery_result act_webhook_judge(const struct api_post *post, unsigned n_tries);
