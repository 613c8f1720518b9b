#include "activation/auth.h"

#include "activation/token.h"
#include "base/clock.h"
#include <string.h>

bool act_bears_token(const struct api_request *request)
{
    const char *text = api_request_bearer(request);
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    struct act_token token;

    return text != NULL && act_token_parse(text, body, hash, &token);
}

int act_authenticate(
    struct act_worker *worker, const struct api_request *request, struct act_caller *ret)
{
    const char *text = api_request_bearer(request);
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN], right_hash[KEYD_HASH_LEN];
    struct act_token token;
    struct db_client client;
    int r;

    if (text == NULL || !act_token_parse(text, body, hash, &token))
        return 1;
    r = keyd_hash_token(
        worker->keyd, body, sizeof(body), right_hash, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r < 0)
        return r;
    if (!secret_equal(hash, right_hash, sizeof(hash)) || clock_unix_s() >= token.expires_unix_s)
        return 1;
    if ((r = db_client_find(worker->db, token.client_id, &client)) != 0)
        return r;
    if (client.revoked)
        return 1;
    *ret = (struct act_caller){
        .organization_id = client.organization_id,
        .roles = client.roles,
    };
    memcpy(ret->client_id, client.id, sizeof(ret->client_id));
    return 0;
}
