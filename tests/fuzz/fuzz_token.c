/* Any text as an access token: one token has one text. The other way round, any bytes make a text
 * that is read as them, unless they are of another version or time. */
#include "activation/token.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define NOW 1700000000
#define LIFETIME 3600

static void check_read(const char *text)
{
    uint8_t body[ACT_TOKEN_BODY_LEN], again[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    char written[ACT_TOKEN_TEXT_LEN + 1];
    struct act_token token;

    if (!act_token_parse(text, body, hash, &token))
        return;
    act_token_format(body, hash, written);
    FUZZ_HOLDS(strcmp(written, text) == 0);
    act_token_body(&token, again);
    FUZZ_HOLDS(memcmp(body, again, sizeof(body)) == 0);
    FUZZ_HOLDS(token.expires_unix_s >= 0);
    FUZZ_HOLDS(!act_token_is_timely(&token, NOW, LIFETIME) || token.expires_unix_s > NOW);
}

static void check_written(const uint8_t *data, size_t size)
{
    uint8_t body[ACT_TOKEN_BODY_LEN] = {0}, hash[ACT_TOKEN_HASH_LEN] = {0};
    uint8_t read_body[ACT_TOKEN_BODY_LEN], read_hash[ACT_TOKEN_HASH_LEN];
    const size_t n = size < sizeof(body) ? size : sizeof(body);
    char text[ACT_TOKEN_TEXT_LEN + 1];
    struct act_token token;

    memcpy(body, data, n);
    memcpy(hash, data + n, size - n < sizeof(hash) ? size - n : sizeof(hash));
    act_token_format(body, hash, text);
    FUZZ_HOLDS(strlen(text) == ACT_TOKEN_TEXT_LEN);
    if (!act_token_parse(text, read_body, read_hash, &token)) {
        FUZZ_HOLDS(body[0] != ACT_TOKEN_VERSION || body[1 + ACT_TOKEN_CLIENT_LEN] >= 0x80);
        return;
    }
    FUZZ_HOLDS(memcmp(body, read_body, sizeof(body)) == 0);
    FUZZ_HOLDS(memcmp(hash, read_hash, sizeof(hash)) == 0);
    check_read(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    FUZZ_HOLDS(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    check_read(text);
    free(text);
    check_written(data, size);
    return 0;
}
