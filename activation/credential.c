#include "activation/credential.h"

#include "base/aes.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/secret.h"

void act_secret_wipe(struct act_secret *secret)
{
    secret_wipe(secret, sizeof(*secret));
}

void act_secret_hash(const char *text, size_t len, uint8_t ret_hash[static ACT_SECRET_HASH_LEN])
{
    digest_sha256(text, len, ret_hash);
}

int act_secret_make(struct act_secret *ret_secret, uint8_t ret_hash[static ACT_SECRET_HASH_LEN])
{
    uint8_t bytes[ACT_SECRET_BYTES];
    int r;

    if ((r = random_bytes(bytes, sizeof(bytes))) < 0)
        return r;
    (void)hex_encode(bytes, sizeof(bytes), ret_secret->text);
    secret_wipe(bytes, sizeof(bytes));
    act_secret_hash(ret_secret->text, ACT_SECRET_TEXT_LEN, ret_hash);
    return 0;
}
