#include "activation/token_grant.h"

#include "activation/call.h"
#include "activation/credential.h"
#include "activation/form.h"
#include "activation/token.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <string.h>

#define CLIENT_ID_TEXT_LEN ((size_t)2 * ACCOUNT_ID_LEN)
#define FIELD_MAX 160 /* of a grant type, id or secret; ours are at most 64 */

/* RFC 6749 5.2 */
enum grant_error { INVALID_REQUEST, INVALID_CLIENT, UNSUPPORTED_GRANT_TYPE, N_GRANT_ERRORS };

static const struct {
    unsigned status;
    const char *name;
} grant_errors[N_GRANT_ERRORS] = {
    [INVALID_REQUEST] = {400, "invalid_request"},
    [INVALID_CLIENT] = {401, "invalid_client"},
    [UNSUPPORTED_GRANT_TYPE] = {400, "unsupported_grant_type"},
};

struct grant {
    char grant_type[FIELD_MAX];
    char client_id[FIELD_MAX];
    char client_secret[FIELD_MAX];
};

static void grant_wipe(struct grant *grant)
{
    secret_wipe(grant, sizeof(*grant));
}

static void forbid_storing(struct act_call *call)
{
    act_call_header(call, "Cache-Control", "no-store");
    act_call_header(call, "Pragma", "no-cache");
}

static unsigned refuse(struct act_call *call, enum grant_error error, const char *description)
{
    CLEANUP(text_done) struct text body = {0};

    metric_add(&call->worker->service->metrics.tokens[COUNT_TOKEN_REFUSED], 1);
    forbid_storing(call);
    if (error == INVALID_CLIENT)
        act_call_header(call, "WWW-Authenticate", "Basic realm=\"cradle\"");
    text_addf(&body, "{\"error\":\"%s\",\"error_description\":", grant_errors[error].name);
    text_add_json(&body, description);
    text_add(&body, "}\n");
    return act_call_answer(call, grant_errors[error].status, TYPE_JSON, &body);
}

/* Outcome 1: refused, with `ret_error` and `ret_description`. */
static int read_grant(const struct api_request *request, struct grant *grant,
    enum grant_error *ret_error, const char **ret_description)
{
    struct form_field fields[] = {
        {.name = "grant_type", .value = grant->grant_type, .size = FIELD_MAX},
        {.name = "client_id", .value = grant->client_id, .size = FIELD_MAX},
        {.name = "client_secret", .value = grant->client_secret, .size = FIELD_MAX},
    };
    size_t len;
    const char *body = api_request_body(request, &len);

    *ret_error = INVALID_REQUEST;
    *ret_description = "the body must be application/x-www-form-urlencoded";
    if (!form_is_type(api_request_header(request, "Content-Type")))
        return 1;
    *ret_description = "the form is malformed, too long, or has a field twice";
    if (form_read(body, len, fields, sizeof(fields) / sizeof(fields[0])) != FORM_OK)
        return 1;
    *ret_description = "grant_type is missing";
    if (!fields[0].present)
        return 1;
    if (api_request_header(request, "Authorization") != NULL) {
        *ret_description = "give the client's secret in one place only";
        if (fields[2].present)
            return 1;
        *ret_error = INVALID_CLIENT;
        *ret_description = "the Authorization header is not a valid HTTP Basic credential";
        if (!api_request_basic(
                request, grant->client_id, FIELD_MAX, grant->client_secret, FIELD_MAX))
            return 1;
    } else if (!fields[1].present || !fields[2].present) {
        *ret_error = INVALID_CLIENT;
        *ret_description = "client_id and client_secret are missing";
        return 1;
    }
    *ret_error = UNSUPPORTED_GRANT_TYPE;
    *ret_description = "only client_credentials is supported";
    return strcmp(grant->grant_type, "client_credentials") == 0 ? 0 : 1;
}

/* Outcome 1: not a client here, revoked, or a wrong secret: one answer, at one cost. */
static int check_client(struct act_worker *worker, const struct grant *grant, struct db_client *ret)
{
    struct db_client client = {0};
    uint8_t id[ACCOUNT_ID_LEN];
    uint8_t hash[ACT_SECRET_HASH_LEN];
    bool has_id, equal;
    int r;

    /* An id of another shape is looked up as zeros, which no client has. */
    has_id = hex_decode(grant->client_id, strlen(grant->client_id), id, sizeof(id));
    act_secret_hash(grant->client_secret, strlen(grant->client_secret), hash);
    r = db_client_find(worker->db, id, &client);
    if (r < 0)
        return r;
    equal = secret_equal(hash, client.secret_hash, sizeof(hash));
    *ret = client;
    return has_id && r == 0 && equal && !client.revoked ? 0 : 1;
}

static int make_token(struct act_worker *worker, const struct db_client *client,
    char out[static ACT_TOKEN_TEXT_LEN + 1])
{
    struct act_token token = {
        .expires_unix_s = clock_unix_s() + worker->service->settings.token_lifetime_s};
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[KEYD_HASH_LEN];
    int r;

    memcpy(token.client_id, client->id, sizeof(token.client_id));
    if ((r = random_bytes(token.random, sizeof(token.random))) < 0)
        return r;
    act_token_body(&token, body);
    if ((r = keyd_hash_token(worker->keyd, body, sizeof(body), hash,
             clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS)) < 0)
        return r;
    act_token_format(body, hash, out);
    act_token_table_note(
        &worker->service->tokens, out, &token, client->organization_id, clock_unix_s());
    return 0;
}

unsigned act_post_token(struct act_call *call)
{
    CLEANUP(grant_wipe) struct grant grant = {0};
    CLEANUP(text_done) struct text answer = {0};
    struct act_worker *worker = call->worker;
    char text[ACT_TOKEN_TEXT_LEN + 1];
    struct db_client client;
    enum grant_error error;
    const char *description;
    int r;

    if (read_grant(call->request, &grant, &error, &description) != 0)
        return refuse(call, error, description);
    if ((r = check_client(worker, &grant, &client)) < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return refuse(call, INVALID_CLIENT, "unknown client or wrong secret");
    if ((r = make_token(worker, &client, text)) < 0)
        return act_call_failed(call, r);
    metric_add(&worker->service->metrics.tokens[COUNT_TOKEN_ISSUED], 1);
    forbid_storing(call);
    text_addf(&answer, "{\"access_token\":\"%s\",\"token_type\":\"Bearer\",\"expires_in\":%u}\n",
        text, worker->service->settings.token_lifetime_s);
    return act_call_answer(call, 200, TYPE_JSON, &answer);
}
