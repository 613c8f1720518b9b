#include "activation/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include <string.h>

/* Names of one certificate that are looked up: anybody may show one with many. */
#define NAMES_MAX 8

enum act_bearing act_bears_token(
    struct act_service *service, const struct api_request *request, int64_t *ret_organization_id)
{
    const char *text = api_request_bearer(request);
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    int64_t now = clock_unix_s();
    struct act_token token;

    *ret_organization_id = 0;
    if (text == NULL || !act_token_parse(text, body, hash, &token))
        return BEARS_NONE;
    *ret_organization_id = act_token_table_knows(&service->tokens, text, now);
    if (*ret_organization_id != 0)
        return BEARS_KNOWN;
    return act_token_is_timely(&token, now, service->settings.token_lifetime_s) ? BEARS_UNKNOWN
                                                                                : BEARS_STALE;
}

/* Outcome 1: its hash or its time is wrong, or its client is gone or revoked. */
static int verify(struct act_worker *worker, const char *text, struct act_token *ret_token,
    struct db_client *ret_client)
{
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN], right_hash[KEYD_HASH_LEN];
    int r;

    if (!act_token_parse(text, body, hash, ret_token))
        return 1;
    r = keyd_hash_token(
        worker->keyd, body, sizeof(body), right_hash, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r < 0)
        return r;
    if (!secret_equal(hash, right_hash, sizeof(hash)) ||
        clock_unix_s() >= ret_token->expires_unix_s)
        return 1;
    if ((r = db_client_find(worker->db, ret_token->client_id, ret_client)) != 0)
        return r;
    return ret_client->revoked ? 1 : 0;
}

int act_authenticate(
    struct act_worker *worker, const struct api_request *request, struct act_caller *ret)
{
    struct act_token_table *known = &worker->service->tokens;
    const char *text = api_request_bearer(request);
    struct act_token token;
    struct db_client client;
    int r;

    if (text == NULL)
        return 1;
    r = verify(worker, text, &token, &client);
    if (r > 0)
        act_token_table_forget(known, text);
    if (r != 0)
        return r;
    act_token_table_note(known, text, &token, client.organization_id, clock_unix_s());
    *ret = (struct act_caller){
        .organization_id = client.organization_id,
        .claim_code_length = client.claim_code_length,
        .roles = client.roles,
    };
    memcpy(ret->client_id, client.id, sizeof(ret->client_id));
    memcpy(ret->organization_public_id, client.organization_public_id,
        sizeof(ret->organization_public_id));
    return 0;
}

struct look {
    struct db *db;
    struct db_certificate_holder found; /* of the name found last: trust_check takes one only */
    unsigned n;
    int failed;
};

static void look_done(struct look *look)
{
    db_certificate_holder_done(&look->found);
}

static bool find_trust(const char *san, void *context, struct api_trust *ret)
{
    struct look *look = context;
    struct db_certificate_holder holder = {0};
    int r = look->failed < 0 || look->n++ >= NAMES_MAX
                ? 1
                : db_certificate_holder_find(look->db, san, &holder);

    if (r != 0) {
        look->failed = r < 0 ? r : look->failed;
        db_certificate_holder_done(&holder);
        return false;
    }
    *ret = (struct api_trust){.anchors = holder.trust_anchor, .crls = holder.crl};
    holder.trust_anchor = holder.crl = NULL;
    db_certificate_holder_done(&look->found);
    look->found = holder;
    return true;
}

int act_authenticate_certificate(
    struct act_worker *worker, const struct api_request *request, struct act_caller *ret)
{
    CLEANUP(look_done) struct look look = {.db = worker->db};
    const struct db_client *client = &look.found.client;
    char san[API_SAN_MAX + 1];
    const char *fault;

    if (!api_request_has_certificate(request))
        return 1;
    fault = api_request_check_certificate(request, find_trust, &look, san);
    if (look.failed < 0)
        return look.failed;
    if (fault != NULL)
        return 1;
    if (!look.found.is_client) {
        log_info("request=%s a good certificate's peer is no client peer=%s",
            api_request_id(request), san);
        return 1;
    }
    *ret = (struct act_caller){.organization_id = client->organization_id,
        .claim_code_length = client->claim_code_length,
        .roles = client->roles};
    memcpy(ret->client_id, client->id, sizeof(ret->client_id));
    memcpy(ret->organization_public_id, client->organization_public_id,
        sizeof(ret->organization_public_id));
    memcpy(ret->as_id, client->as_id, sizeof(ret->as_id));
    return 0;
}
