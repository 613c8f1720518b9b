#include "activation/token.h"

#include "base/bytes.h"
#include <string.h>

#define BODY_TEXT_LEN 44
#define HASH_TEXT_LEN 43
#define BITS_OF_DIGIT 6

static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *base64url_encode(const uint8_t *bytes, size_t len, char *out)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        n_bits += 8;
        while (n_bits >= BITS_OF_DIGIT) {
            n_bits -= BITS_OF_DIGIT;
            *out++ = base64url_digits[bits >> n_bits & 0x3F];
        }
    }
    if (n_bits > 0)
        *out++ = base64url_digits[bits << (BITS_OF_DIGIT - n_bits) & 0x3F];
    return out;
}

/* Strict: every digit known, and no bit set behind the last byte, so that one token has one text.
 */
static bool base64url_decode(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;

    for (size_t i = 0; i < text_len; i++) {
        const char *digit = text[i] != '\0' ? strchr(base64url_digits, text[i]) : NULL;

        if (digit == NULL)
            return false;
        bits = bits << BITS_OF_DIGIT | (uint32_t)(digit - base64url_digits);
        n_bits += BITS_OF_DIGIT;
        if (n_bits >= 8) {
            if (n == len)
                return false;
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return n == len && (bits & ((1u << n_bits) - 1)) == 0;
}

void act_token_body(const struct act_token *token, uint8_t out[static ACT_TOKEN_BODY_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, ACT_TOKEN_BODY_LEN);

    bytes_write_u8(&w, ACT_TOKEN_VERSION);
    bytes_write(&w, token->client_id, sizeof(token->client_id));
    bytes_write_u64_be(&w, (uint64_t)token->expires_unix_s);
    bytes_write(&w, token->random, sizeof(token->random));
}

void act_token_format(const uint8_t body[static ACT_TOKEN_BODY_LEN],
    const uint8_t hash[static ACT_TOKEN_HASH_LEN], char out[static ACT_TOKEN_TEXT_LEN + 1])
{
    char *end = base64url_encode(body, ACT_TOKEN_BODY_LEN, out);

    *end++ = '.';
    end = base64url_encode(hash, ACT_TOKEN_HASH_LEN, end);
    *end = '\0';
}

bool act_token_parse(const char *text, uint8_t ret_body[static ACT_TOKEN_BODY_LEN],
    uint8_t ret_hash[static ACT_TOKEN_HASH_LEN], struct act_token *ret)
{
    struct bytes_reader r = bytes_reader_over(ret_body, ACT_TOKEN_BODY_LEN);
    struct act_token token;
    uint64_t expires;

    if (strnlen(text, ACT_TOKEN_TEXT_LEN + 1) != ACT_TOKEN_TEXT_LEN || text[BODY_TEXT_LEN] != '.' ||
        !base64url_decode(text, BODY_TEXT_LEN, ret_body, ACT_TOKEN_BODY_LEN) ||
        !base64url_decode(text + BODY_TEXT_LEN + 1, HASH_TEXT_LEN, ret_hash, ACT_TOKEN_HASH_LEN))
        return false;
    if (bytes_read_u8(&r) != ACT_TOKEN_VERSION)
        return false;
    bytes_read(&r, token.client_id, sizeof(token.client_id));
    expires = bytes_read_u64_be(&r);
    bytes_read(&r, token.random, sizeof(token.random));
    if (!bytes_reader_done(&r) || expires > INT64_MAX)
        return false;
    token.expires_unix_s = (int64_t)expires;
    *ret = token;
    return true;
}

bool act_token_is_timely(const struct act_token *token, int64_t now_unix_s, unsigned lifetime_s)
{
    return token->expires_unix_s > now_unix_s &&
           token->expires_unix_s - now_unix_s <= (int64_t)lifetime_s + ACT_TOKEN_SKEW_S;
}
