/* The text of an access token: base64url(body) "." base64url(hash), without padding (RFC 4648 5).
 * The body names the client and the end of its time; the hash is made by keyd with a key that never
 * leaves the token (keyd_hash_token). Pure: who may use it is activation/auth.h's business. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACT_TOKEN_VERSION 1
#define ACT_TOKEN_SKEW_S 60 /* between the clocks of processes that issue tokens */
#define ACT_TOKEN_CLIENT_LEN 16
#define ACT_TOKEN_RANDOM_LEN 8
/* version(1) | client id(16) | expiry in Unix seconds(8, big-endian) | random(8) */
#define ACT_TOKEN_BODY_LEN (1 + ACT_TOKEN_CLIENT_LEN + 8 + ACT_TOKEN_RANDOM_LEN)
#define ACT_TOKEN_HASH_LEN 32
#define ACT_TOKEN_TEXT_LEN (44 + 1 + 43)

struct act_token {
    uint8_t client_id[ACT_TOKEN_CLIENT_LEN];
    int64_t expires_unix_s;
    uint8_t random[ACT_TOKEN_RANDOM_LEN]; /* two tokens of one second differ */
};

void act_token_body(const struct act_token *token, uint8_t out[static ACT_TOKEN_BODY_LEN]);
/** Writes ACT_TOKEN_TEXT_LEN characters and a NUL. */
void act_token_format(const uint8_t body[static ACT_TOKEN_BODY_LEN],
    const uint8_t hash[static ACT_TOKEN_HASH_LEN], char out[static ACT_TOKEN_TEXT_LEN + 1]);
/** True when a token of this lifetime may have been made by now: its time is not over, and does not
 * end later than that of one made this moment by a clock ACT_TOKEN_SKEW_S ahead of ours. What it
 * says of itself, before the hash is known to be right. */
bool act_token_is_timely(const struct act_token *token, int64_t now_unix_s, unsigned lifetime_s);
/** False when the text is not exactly what act_token_format writes: length, alphabet, spare bits,
 * version. Says nothing about whether the hash is right. */
bool act_token_parse(const char *text, uint8_t ret_body[static ACT_TOKEN_BODY_LEN],
    uint8_t ret_hash[static ACT_TOKEN_HASH_LEN], struct act_token *ret) MUST_CHECK;
